# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that the bed builds byte for byte, without an engine: layers, configs, manifests, indexes.

The content is deterministic: the same recipe has the same digests with the same zlib. The cache stores blobs by their
digest. The registry's HTTP API takes them from there.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import http.client
import io
import json
import os
import random
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

from . import packages, paths, registry
from .hosts import Host
from .node import BedError, digest

MEBI = 1 << 20
CREATED = "2026-01-01T00:00:00Z"
DOCKER = {
    "manifest": "application/vnd.docker.distribution.manifest.v2+json",
    "index": "application/vnd.docker.distribution.manifest.list.v2+json",
    "config": "application/vnd.docker.container.image.v1+json",
    "layer": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
OCI = {
    "manifest": "application/vnd.oci.image.manifest.v1+json",
    "index": "application/vnd.oci.image.index.v1+json",
    "config": "application/vnd.oci.image.config.v1+json",
    "layer": "application/vnd.oci.image.layer.v1.tar+gzip",
}
APPLETS = ("sh", "cat", "echo", "ls", "sha256sum", "sleep", "true", "uname", "wget")


@dataclass(frozen=True)
class LayerRecipe:
    """A layer: BusyBox, or a mix of compressible and incompressible data."""

    name: str
    text_mib: int = 0
    random_mib: float = 0
    busybox: bool = False
    output: str | None = None  # what the entry point prints


@dataclass(frozen=True)
class Recipe:
    repository: str
    tag: str | None  # None: the image has a digest only
    layers: tuple[LayerRecipe, ...]
    media: str = "docker"
    architectures: tuple[str, ...] = ("amd64",)  # several: an index of that many images


BASE = LayerRecipe("base", busybox=True)
ARM64_BASE = LayerRecipe("arm64-base", text_mib=1)


def _app(tag: str) -> Recipe:
    own = LayerRecipe(f"app-{tag}", text_mib=2, random_mib=6, output=f"app {tag}")
    return Recipe("app", tag, (BASE, LayerRecipe("app-runtime", 22, 8), LayerRecipe("app-libraries", 10, 10), own))


def _big(tag: str) -> Recipe:
    own = LayerRecipe(f"big-{tag}", text_mib=18, random_mib=5.5, output=f"big {tag}")
    return Recipe("big", tag, (BASE, LayerRecipe("big-runtime", 180, 55.5), LayerRecipe("big-data", 162, 55.25), own))


RECIPES = {
    "app": (_app("v1"), _app("v2")),
    "big": (_big("v1"), _big("v2")),
    "pinned": (Recipe("pinned", None, (BASE, LayerRecipe("pinned", 1, 1, output="pinned"))),),
    "multi": (
        Recipe("multi", "v1", (BASE, LayerRecipe("multi", 1, 1, output="multi v1")), "docker", ("amd64", "arm64")),
        Recipe("multi-oci", "v1", (BASE, LayerRecipe("multi", 1, 1, output="multi v1")), "oci", ("amd64", "arm64")),
    ),
}
DEFAULT = ("app", "pinned", "multi")  # the images of `up`; "big" is for benchmarks


@dataclass(frozen=True)
class Layer:
    digest: str
    diff_id: str
    size: int
    raw_size: int
    media_type: str


@dataclass(frozen=True)
class Image:
    """An image for a platform, as the registry stores it."""

    repository: str
    tag: str | None
    architecture: str
    digest: str  # of the manifest
    manifest: bytes
    config_digest: str
    config: bytes
    layers: tuple[Layer, ...]
    media_type: str

    @property
    def _reference(self) -> str:
        return f"{self.repository}:{self.tag}" if self.tag else f"{self.repository}@{self.digest}"

    @property
    def ref(self) -> str:
        """The reference in the registry without auth."""
        return f"{registry.PLAIN}/{self._reference}"

    @property
    def auth_ref(self) -> str:
        """The same image in the registry with TLS and basic auth."""
        return f"{registry.AUTH}/{self._reference}"

    @property
    def pinned_ref(self) -> str:
        return f"{registry.PLAIN}/{self.repository}@{self.digest}"


@dataclass(frozen=True)
class Built:
    """The result of a recipe: images, and an index of them where there are several."""

    recipe: Recipe
    images: tuple[Image, ...]
    index: bytes | None
    index_media_type: str

    @property
    def digest(self) -> str:
        return sha256(self.index) if self.index is not None else self.images[0].digest


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Images:
    def __init__(self) -> None:
        self.directory = paths.cache() / "images"

    def ensure(self, name: str) -> list[Image]:
        """Build the images of this name ("app", "big", ...) and push them to the registries."""
        images: list[Image] = []
        for recipe in RECIPES[name]:
            built = self._build(recipe)
            self._push(built)
            images += built.images
        return images

    def get(self, reference: str, architecture: str = "amd64") -> Image:
        """Return the registry's image of this name: `app:v1`, `multi:v1`, `pinned`."""
        images = self._build(_recipe(reference)).images
        return next(image for image in images if image.architecture == architecture)

    def index_digest(self, reference: str) -> str:
        """Return the digest of a multi-platform index (`multi:v1`, `multi-oci:v1`)."""
        return self._build(_recipe(reference)).digest

    def blob(self, layer_or_config: str) -> Path:
        """Return the file of a blob in the cache, by its digest."""
        return self.directory / "blobs" / layer_or_config.replace(":", "/")

    def into_docker(self, host: Host, image: Image, tag: str | None = None) -> str:
        """Load the image into the host's engine only, under `tag`. Return its name there."""
        name = tag or f"{image.repository}:{image.tag or 'latest'}"
        command = ["docker", "-H", f"unix://{host.docker_socket}", "load", "--quiet"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as load:
            assert load.stdin is not None
            assert load.stdout is not None
            with tarfile.open(fileobj=load.stdin, mode="w|") as archive:
                files = [f"{layer.digest[7:]}.tar.gz" for layer in image.layers]
                config = f"{image.config_digest[7:]}.json"
                listing = json.dumps([{"Config": config, "RepoTags": [name], "Layers": files}]).encode()
                for path, data in ((config, image.config), ("manifest.json", listing)):
                    archive.addfile(_member(path, len(data)), io.BytesIO(data))
                for path, layer in zip(files, image.layers, strict=True):
                    with self.blob(layer.digest).open("rb") as blob:
                        archive.addfile(_member(path, layer.size), blob)
            load.stdin.close()
            output = load.stdout.read().decode(errors="replace")
        if load.returncode:
            raise BedError(f"docker load on {host.name} failed: {output}")
        return name

    # Building

    def _build(self, recipe: Recipe) -> Built:
        media = DOCKER if recipe.media == "docker" else OCI
        images = []
        for architecture in recipe.architectures:
            base = BASE if architecture == "amd64" else ARM64_BASE
            layers = [self._layer(base if layer is BASE else layer, media["layer"]) for layer in recipe.layers]
            images.append(self._image(recipe, architecture, layers, media))
        if len(images) == 1:
            return Built(recipe, tuple(images), None, "")
        index = {
            "schemaVersion": 2,
            "mediaType": media["index"],
            "manifests": [
                {
                    "mediaType": media["manifest"],
                    "digest": image.digest,
                    "size": len(image.manifest),
                    "platform": {"architecture": image.architecture, "os": "linux"},
                }
                for image in images
            ],
        }
        return Built(recipe, tuple(images), _json(index), media["index"])

    def _image(self, recipe: Recipe, architecture: str, layers: list[Layer], media: dict[str, str]) -> Image:
        config = _json(
            {
                "architecture": architecture,
                "os": "linux",
                "created": CREATED,
                "config": {"Entrypoint": ["/bin/sh", "/app/run"], "Env": ["PATH=/bin"], "WorkingDir": "/"},
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
                "history": [{"created": CREATED, "created_by": layer.name} for layer in recipe.layers],
            }
        )
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": media["manifest"],
                "config": {"mediaType": media["config"], "size": len(config), "digest": sha256(config)},
                "layers": [
                    {"mediaType": layer.media_type, "size": layer.size, "digest": layer.digest} for layer in layers
                ],
            }
        )
        return Image(
            repository=recipe.repository,
            tag=recipe.tag,
            architecture=architecture,
            digest=sha256(manifest),
            manifest=manifest,
            config_digest=sha256(config),
            config=config,
            layers=tuple(layers),
            media_type=media["manifest"],
        )

    def _layer(self, recipe: LayerRecipe, media_type: str) -> Layer:
        """Return the layer from the cache, or build it. The description marks it complete: it is written last."""
        description = self.directory / "layers" / f"{_layer_key(recipe)}.json"
        if not description.exists():
            description.parent.mkdir(parents=True, exist_ok=True)
            new = self.directory / "layers" / f"new-{os.getpid()}"
            raw, packed = Hashing(None), Hashing(new.open("wb"))
            with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=6, mtime=0) as zipped:
                raw.target = zipped
                with tarfile.open(fileobj=cast("IO[bytes]", raw), mode="w|") as archive:
                    for member, data in _content(recipe):
                        archive.addfile(member, io.BytesIO(data))
            assert packed.target is not None
            packed.target.close()
            blob = self.blob(packed.digest)
            blob.parent.mkdir(parents=True, exist_ok=True)
            new.rename(blob)
            described = {"digest": packed.digest, "diff_id": raw.digest, "size": packed.size, "raw_size": raw.size}
            new.write_text(json.dumps(described))
            new.rename(description)
        return Layer(**json.loads(description.read_text()), media_type=media_type)

    # Pushing

    def _push(self, built: Built) -> None:
        repository = built.recipe.repository
        client = Registry(registry.PLAIN)
        if client.has_manifest(repository, built.recipe.tag or built.digest, built.digest):
            return
        for image in built.images:
            for layer in image.layers:
                client.push_blob(repository, layer.digest, self.blob(layer.digest))
            client.push_bytes(repository, image.config_digest, image.config)
            own_tag = image.tag if built.index is None else None
            client.push_manifest(repository, own_tag or image.digest, image.media_type, image.manifest)
        if built.index is not None:
            client.push_manifest(repository, str(built.recipe.tag), built.index_media_type, built.index)


class Registry:
    """The calls of the registry's HTTP API that a push needs. Tests also read, tag and delete with them."""

    def __init__(self, address: str, user: str | None = None, password: str | None = None, ssl: Any = None) -> None:
        self.address = address
        self.ssl = ssl
        self.headers: dict[str, str] = {}
        if user:
            self.headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        if self.ssl:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(self.address, context=self.ssl)
        else:
            connection = http.client.HTTPConnection(self.address)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers={**self.headers, **named})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, answer

    def has_manifest(self, repository: str, reference: str, digest: str) -> bool:
        accept = ", ".join([*(DOCKER[k] for k in ("manifest", "index")), *(OCI[k] for k in ("manifest", "index"))])
        status, headers, _dummy = self.call("HEAD", f"/v2/{repository}/manifests/{reference}", Accept=accept)
        return status == 200 and headers.get("docker-content-digest") == digest

    def push_blob(self, repository: str, digest_: str, path: Path) -> None:
        with path.open("rb") as file:
            self._upload(repository, digest_, file, path.stat().st_size)

    def push_bytes(self, repository: str, digest_: str, data: bytes) -> None:
        self._upload(repository, digest_, io.BytesIO(data), len(data))

    def _upload(self, repository: str, digest_: str, body: IO[bytes], size: int) -> None:
        if self.call("HEAD", f"/v2/{repository}/blobs/{digest_}")[0] == 200:
            return
        status, headers, answer = self.call("POST", f"/v2/{repository}/blobs/uploads/")
        if status == 202:
            where = urlsplit(headers["location"])
            path = f"{where.path}?{where.query}&digest={digest_}" if where.query else f"{where.path}?digest={digest_}"
            status, _dummy, answer = self.call(
                "PUT", path, body, Content_Length=str(size), Content_Type="application/octet-stream"
            )
        if status != 201:
            raise BedError(f"pushing {digest_} to {self.address}/{repository}: {status} {answer!r}")

    def push_manifest(self, repository: str, reference: str, media_type: str, data: bytes) -> None:
        status, _dummy, answer = self.call(
            "PUT", f"/v2/{repository}/manifests/{reference}", data, Content_Type=media_type
        )
        if status != 201:
            raise BedError(f"pushing the manifest {reference} to {self.address}/{repository}: {status} {answer!r}")


class Hashing:
    """A writable file that hashes and counts the bytes."""

    def __init__(self, target: IO[bytes] | gzip.GzipFile | None) -> None:
        self.target = target
        self.size = 0
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        assert self.target is not None
        self._hash.update(data)
        self.size += len(data)
        return self.target.write(data)

    def flush(self) -> None:
        assert self.target is not None
        self.target.flush()

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()


def _recipe(reference: str) -> Recipe:
    name, _dummy, tag = reference.partition(":")
    for recipe in (recipe for recipes in RECIPES.values() for recipe in recipes):
        if (recipe.repository, recipe.tag or "") == (name, tag):
            return recipe
    raise KeyError(reference)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@functools.cache
def _layer_key(recipe: LayerRecipe) -> str:
    extra = sha256(packages.BUSYBOX.read_bytes()) if recipe.busybox else ""
    return f"{recipe.name}-{digest(recipe.__dict__, extra, APPLETS)}"


def _member(name: str, size: int, mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, mode  # owner root, time 0: the same bytes whenever it is built
    return member


def _content(recipe: LayerRecipe) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    def directory(name: str) -> tuple[tarfile.TarInfo, bytes]:
        member = _member(name, 0, 0o755)
        member.type = tarfile.DIRTYPE
        return member, b""

    if recipe.busybox:
        for name in ("bin", "etc", "tmp", "dev", "proc", "sys"):
            yield directory(name)
        program = packages.BUSYBOX.read_bytes()
        yield _member("bin/busybox", len(program), 0o755), program
        for applet in APPLETS:
            link = _member(f"bin/{applet}", 0, 0o777)
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            yield link, b""
    yield directory("app")
    yield directory(f"app/{recipe.name}")
    rng = random.Random(recipe.name)  # noqa: S311 - content, not a secret
    for number in range(recipe.text_mib):
        block = " ".join(rng.choices(("layer", "chain", "digest", "tag", "manifest", "blob"), k=2000)).encode()
        text = (block * (MEBI // len(block) + 1))[:MEBI]
        yield _member(f"app/{recipe.name}/text-{number:03}", MEBI), text
    left = int(recipe.random_mib * MEBI)
    while left:
        size = min(left, 4 * MEBI)
        yield _member(f"app/{recipe.name}/data-{left:09}", size), rng.randbytes(size)
        left -= size
    if recipe.output:
        script = f'[ $# -eq 0 ] || exec "$@"\necho "{recipe.output}"\n'.encode()
        yield _member("app/run", len(script), 0o755), script
