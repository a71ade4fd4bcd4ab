# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images with odd manifests, indexes and configs: what docker makes of each, and what the collection must.

docker 20.10.24 was given each of them (docs/facts/image_transfer.md#odd-manifests).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .builders import digest_of, tar_of

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
NONDISTRIBUTABLE_DOCKER_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
AMD = {"os": "linux", "architecture": "amd64"}


class _LeftOut:
    """Stands for a field that a document does not have."""

    def __repr__(self) -> str:
        return "left out"


LEFT_OUT = _LeftOut()


def make_tar(name: str) -> bytes:
    """A layer of one small file, the same bytes each time."""
    return tar_of([(name, f"content of {name}\n".encode())])


@dataclass
class OddStore:
    """The content of a registry: blobs by digest, and manifests by digest and by tag, each with its Content-Type."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)

    def add_blob(self, data: bytes, media_type: Any) -> dict[str, Any]:
        self.blobs[digest_of(data)] = data
        return _leave_out({"mediaType": media_type, "digest": digest_of(data), "size": len(data)})

    def add_manifest(self, document: Any, content_type: str, tag: str = "") -> dict[str, Any]:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.manifests[digest_of(data)] = data, content_type
        if tag:
            self.manifests[tag] = data, content_type
        return {"mediaType": content_type, "digest": digest_of(data), "size": len(data)}

    def add_image(
        self,
        tag: str = "",
        *,
        name: str = "file",
        config: dict[str, Any] | None = None,
        config_fields: dict[str, Any] | None = None,
        layer_fields: dict[str, Any] | None = None,
        config_type: Any = OCI_CONFIG,
        content_type: str = OCI_MANIFEST,
        tars: list[bytes] | None = None,
        compress: Callable[[bytes], bytes] = lambda tar: gzip.compress(tar, mtime=0),
        layer_type: Any = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """Adds an image of one layer. Fields replace those of the manifest, the config and the descriptors."""
        tars = [make_tar(name)] if tars is None else tars
        media_type = OCI_LAYER if content_type == OCI_MANIFEST else DOCKER_LAYER
        config_document = {
            **AMD,
            "config": {"Cmd": ["/x"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
            **(config or {}),
        }
        layers = [self.add_blob(compress(tar), layer_type or media_type) for tar in tars]
        document = {
            "schemaVersion": 2,
            "mediaType": content_type,
            "config": _leave_out(
                {
                    **self.add_blob(json.dumps(_leave_out(config_document)).encode(), config_type),
                    **(config_fields or {}),
                }
            ),
            "layers": [_leave_out({**layer, **(layer_fields or {})}) for layer in layers],
            **fields,
        }
        return self.add_manifest(_leave_out(document), content_type, tag)

    def add_index(self, tag: str, *entries: Any, content_type: str = OCI_INDEX, **fields: Any) -> dict[str, Any]:
        document = {"schemaVersion": 2, "mediaType": content_type, "manifests": list(entries), **fields}
        return self.add_manifest(_leave_out(document), content_type, tag)


def _leave_out(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not LEFT_OUT}


@dataclass(frozen=True)
class OddImage:
    """An odd image. C(problem) is a regular expression of the refusal, empty where the image is transferred.

    C(docker) is whether docker pulls it. docker is stricter with fields that it does not use, by the types of Go.
    """

    name: str
    add: Callable[[OddStore, str], Any]
    problem: str = ""
    docker: bool = True


def image(name: str, problem: str = "", docker: bool = True, **options: Any) -> OddImage:
    return OddImage(name, lambda store, tag: store.add_image(tag, **options), problem, docker)


def schema2(name: str, problem: str = "", docker: bool = True, **options: Any) -> OddImage:
    return image(name, problem, docker, **{"content_type": DOCKER_MANIFEST, "config_type": DOCKER_CONFIG, **options})


def index(
    name: str,
    *entries: Any,
    problem: str = "",
    docker: bool = True,
    chosen: dict[str, Any] | None = None,
    content_type: str = OCI_INDEX,
    last: bool = True,
    **fields: Any,
) -> OddImage:
    """An index with these entries and, at its end or at its beginning, an image for linux/amd64."""

    def add(store: OddStore, tag: str) -> None:
        own = _leave_out({**store.add_image(), "platform": AMD, **(chosen or {})})
        store.add_index(tag, *((*entries, own) if last else (own, *entries)), content_type=content_type, **fields)

    return OddImage(name, add, problem, docker)


def nested(store: OddStore, tag: str) -> None:
    inner = store.add_index("", {**store.add_image(), "platform": AMD})
    store.add_index(tag, {**inner, "platform": AMD})


def duplicates(store: OddStore, tag: str) -> None:
    entries = [{**store.add_image(name=name), "platform": AMD} for name in ("first", "second")]
    store.add_index(tag, *entries)


def variants(*names: Any) -> Callable[[OddStore, str], None]:
    def add(store: OddStore, tag: str) -> None:
        entries = [
            {**store.add_image(name=f"file-{name}"), "platform": _leave_out({**AMD, "variant": name})} for name in names
        ]
        store.add_index(tag, *entries)

    return add


def answered(name: str, content_type: str, kind: str = DOCKER_MANIFEST, **more: Any) -> OddImage:
    """An image whose manifest has another Content-Type in the response."""

    def add(store: OddStore, tag: str) -> None:
        store.add_image(tag, content_type=kind, config_type=DOCKER_CONFIG)
        store.manifests[tag] = store.manifests[tag][0], content_type

    return OddImage(name, add, **more)


def schema1(store: OddStore, tag: str) -> None:
    history = [{"v1Compatibility": "{}"}]
    document = {"schemaVersion": 1, "name": "app", "tag": tag, "fsLayers": [{"blobSum": D}], "history": history}
    store.add_manifest(document, SCHEMA1, tag)


D = "sha256:" + "d" * 64
OTHER = {"mediaType": OCI_MANIFEST, "digest": D, "size": 5, "platform": {"os": "linux", "architecture": "s390x"}}
NOTHING = {"type": "layers", "diff_ids": []}
TAR = make_tar("file")
LAYER, DIFF_ID = digest_of(gzip.compress(TAR, mtime=0)), digest_of(TAR)
PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar"
NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
ELSEWHERE = ["https://elsewhere.test/layer"]
PLUGIN = "application/vnd.docker.plugin.v1+json"
UNKNOWN = {"os": "unknown", "architecture": "unknown"}


def capitals(digest: str) -> str:
    return "sha256:" + digest.partition(":")[2].upper()


def other(**fields: Any) -> dict[str, Any]:
    return _leave_out({**OTHER, **fields})


def chosen(**fields: Any) -> dict[str, Any]:
    return {"chosen": {"platform": {**AMD, **fields}}}


CONFIGS = (
    *(
        kind(f"{name}, config of type {media_type!r}", config_type=media_type)
        for name, kind in (("OCI", image), ("schema 2", schema2))
        for media_type in (
            *(OCI_CONFIG, DOCKER_CONFIG, "application/octet-stream", "text/html", "application/json"),
            *("", None, LEFT_OUT),
        )
    ),
    *(
        image(f"artifact of type {media_type!r}", "is an artifact of type", False, config_type=media_type)
        for media_type in (
            "application/vnd.oci.empty.v1+json",
            "application/vnd.cncf.helm.config.v1+json",
        )
    ),
    schema2("plugin", "is an artifact of type", False, config_type=PLUGIN),
    image("plugin as OCI", "is an artifact of type", config_type=PLUGIN),
    image("config type 5", "mediaType is no text", False, config_type=5),
    *(image(f"config of size {size!r}", config_fields={"size": size}) for size in (LEFT_OUT, None, 0)),
    image("config of another size", "They are damaged", config_fields={"size": 5}),
    image("config of a negative size", "is no size in bytes", config_fields={"size": -1}),
    image("config with data and annotations", config_fields={"data": "e30=", "annotations": {"a": "b"}}),
    *(image(f"config with os {value!r}", config={"os": value}) for value in (LEFT_OUT, None, "")),
    *(
        image(f"config with architecture {value!r}", config={"architecture": value})
        for value in (LEFT_OUT, None, "", "x86_64", "amd 64")
    ),
    image("config without os and architecture", config={"os": LEFT_OUT, "architecture": LEFT_OUT}),
    image("config with variant null", config={"variant": None}),
    image("config with architecture 5", "architecture is no text", False, config={"architecture": 5}),
    image("config with history null", config={"history": None, "created": None, "config": None}),
    image("config with unknown fields", config={"moby.buildkit.cache.v0": "x", "unknown": [1]}),
    *(
        image(f"config with rootfs type {kind!r}", config={"rootfs": _leave_out({"type": kind, "diff_ids": [DIFF_ID]})})
        for kind in (LEFT_OUT, None, "layers+base")
    ),
    *(
        image(f"config with rootfs {value!r}", "rootfs is no JSON object", False, config={"rootfs": value})
        for value in (LEFT_OUT, None)
    ),
)

LAYERS = (
    *(
        kind(
            f"{name}, layers {value!r}, diffIDs {diff_ids}",
            layers=value,
            config={"rootfs": {**NOTHING, "diff_ids": diff_ids}},
        )
        for name, kind in (("OCI", image), ("schema 2", schema2))
        for value in (None, [], LEFT_OUT)
        for diff_ids in ([], None)
    ),
    image("layers null, but a diffID", "0 layers, the config 1 diffIDs", False, layers=None),
    image("fewer diffIDs than layers", "1 layers, the config 0 diffIDs", False, config={"rootfs": NOTHING}),
    image("same layer twice", tars=[TAR, TAR]),
    *(image(f"layer with urls {urls!r}", layer_fields={"urls": urls}) for urls in (ELSEWHERE, [], None)),
    schema2("schema 2, layer with urls", layer_fields={"urls": ELSEWHERE}),
    schema2(
        "foreign layer",
        "is a foreign layer",
        layer_type=NONDISTRIBUTABLE_DOCKER_LAYER,
        layer_fields={"urls": ELSEWHERE},
    ),
    image("nondistributable layer", "is a foreign layer", layer_type=NONDISTRIBUTABLE),
    image("encrypted layer", "is encrypted", layer_type=OCI_LAYER + "+encrypted"),
    *(
        kind(f"{name}, layer of type {media_type!r}", layer_fields={"mediaType": media_type})
        for name, kind in (("OCI", image), ("schema 2", schema2))
        for media_type in (
            *(LEFT_OUT, None, "", "application/octet-stream", OCI_LAYER, DOCKER_LAYER, PLAIN_LAYER),
            "application/vnd.docker.container.image.rootfs.diff+x-gtar",
            "Application/vnd.OCI.image.layer.v1.tar+gzip",
        )
    ),
    *(
        image(f"layer of type {media_type!r}", "no layer of a container image", False, layer_type=media_type)
        for media_type in ("application/x-gzip", "application/x-tar", "application/vnd.in-toto+json")
    ),
    image("layer of type 5", "mediaType is no text", False, layer_fields={"mediaType": 5}),
    image("uncompressed layer", compress=bytes, layer_type=PLAIN_LAYER),
    image("uncompressed layer with the type of gzip", compress=bytes),
    *(image(f"layer of size {size!r}", layer_fields={"size": size}) for size in (LEFT_OUT, None, 0)),
    image("layer of a negative size", "is no size in bytes", layer_fields={"size": -1}),
    *(
        image(f"layer of size {size!r}", "is no size in bytes", False, layer_fields={"size": size})
        for size in ("7", 7.5, True)
    ),
    image("layer without bytes", tars=[b""], compress=bytes, layer_type=PLAIN_LAYER),
    image("layer without content", tars=[b""]),
    image("layer with annotations null", layer_fields={"annotations": None, "data": "AAAA"}),
    image("layer with odd annotations", docker=False, layer_fields={"annotations": {"a": 5}, "platform": {"os": 5}}),
    image("layer digest in capitals", "is no sha256 digest", False, layer_fields={"digest": capitals(LAYER)}),
    image("layer digest of sha512", "is no sha256 digest", False, layer_fields={"digest": "sha512:" + "a" * 128}),
    image("diffID in capitals", "is no sha256 digest", False, config={"rootfs": {"diff_ids": [capitals(DIFF_ID)]}}),
)

MANIFESTS = (
    *(image(f"annotations {value!r}", docker=value is None, annotations=value) for value in ("x", {"a": 5}, None)),
    *(image(f"artifactType {value!r}", artifactType=value) for value in ("application/x", 5)),
    *(image(f"subject {value!r}", subject=value) for value in (other(), "x")),
    image("unknown fields", history=[1], fsLayers="x", signatures=None),
    *(image(f"mediaType {value!r}", mediaType=value) for value in (LEFT_OUT, None, "")),
    schema2("schema 2 without mediaType", docker=False, mediaType=LEFT_OUT),
    schema2("schema 2 with the type of OCI", "but the response has", False, mediaType=OCI_MANIFEST),
    image("OCI with the type of schema 2", "but the response has", False, mediaType=DOCKER_MANIFEST),
    *(image(f"schemaVersion {value!r}", schemaVersion=value) for value in (LEFT_OUT, None, 1, 3)),
    image("schemaVersion as text", docker=False, schemaVersion="2"),
    *(kind(f"{kind.__name__}, manifests null", manifests=None) for kind in (image, schema2)),
    *(
        image(f"manifests {value!r}", "an image and an index at once", False, manifests=value)
        for value in ([], [OTHER])
    ),
    schema2("schema 2 with manifests", "an image and an index at once", manifests=[OTHER]),
    OddImage("schema 1", schema1, "old schema 1", docker=False),
    answered("schema 2 as JSON", "application/json"),
    answered("schema 2 as text", "text/plain"),
    answered("schema 2 as bytes", "application/octet-stream"),
    answered("schema 2 as nothing", "", docker=False),
    answered("OCI with a charset", f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST),
    answered("schema 2 as schema 1", SCHEMA1),
)

# Fields of an entry that nobody chooses. docker reads the second ones into types of Go, and fails.
ODD_FIELDS: tuple[dict[str, Any], ...] = (
    *({"platform": LEFT_OUT}, {"platform": None}, {"platform": {}}),
    {"platform": {"os": "li nux", "architecture": "amd64"}},
    {"platform": {"os": "unknown", "architecture": "amd64"}},
    {"platform": {"os": "linux"}},
    {"platform": {"os": "linux", "architecture": "unknown"}},
    {"platform": {"os": "linux", "architecture": "arm64", "variant": "v8 x"}},
    {"platform": {"os": "linux", "architecture": "arm64", "variant": None}},
    {"platform": {"os": "windows", "architecture": "amd64", "os.version": "10.0.17763.1"}},
    {"platform": {"os": "linux", "architecture": "s390x", "features": None}},
    *({"size": LEFT_OUT}, {"size": None}, {"size": -5}),
    *({"digest": LEFT_OUT}, {"digest": None}, {"digest": "md5:12"}, {"digest": "sha512:" + "a" * 128}),
    *({"mediaType": LEFT_OUT}, {"mediaType": None}, {"mediaType": "application/x", "artifactType": "application/y"}),
    *({"artifactType": 5}, {"data": "AAAA"}),
)
ODDER_FIELDS: tuple[dict[str, Any], ...] = (
    *({"platform": "linux/amd64"}, {"platform": []}, {"platform": {"os": 5, "architecture": "amd64"}}),
    {"platform": {"os": "linux", "architecture": "arm64", "variant": 8}},
    {"platform": {"os": "windows", "architecture": "amd64", "os.features": "win32k"}},
    *({"size": "5"}, {"digest": 5}, {"mediaType": 5}, {"annotations": "x"}, {"annotations": {"a": 5}}, {"urls": "x"}),
)

INDEXES = (
    index("attestation first", other(platform=UNKNOWN)),
    index("attestation last", other(platform=UNKNOWN), last=False),
    *(index(f"entry {fields!r}", other(**fields)) for fields in ODD_FIELDS),
    *(index(f"entry {fields!r}", other(**fields), docker=False) for fields in ODDER_FIELDS),
    *(index(f"entry {entry!r}", entry, docker=entry is None) for entry in (None, "x", 5, [])),
    # docker reads an absent os as its own, and takes the first of a platform.
    *(
        index(
            f"entry of os {os!r}", other(platform=_leave_out({**AMD, "os": os})), problem="does not have", docker=False
        )
        for os in (None, LEFT_OUT)
    ),
    *(
        index(f"the image's entry {fields!r}", chosen=fields)
        for fields in (
            *({"mediaType": LEFT_OUT}, {"mediaType": "application/x"}, {"mediaType": DOCKER_MANIFEST}),
            *({"size": LEFT_OUT}, {"size": 0}, {"annotations": {"a": "b"}}),
        )
    ),
    index("the image's entry has another size", chosen={"size": 5}, problem="It is damaged"),
    *(
        index(f"no platform, {kind}", chosen={"platform": LEFT_OUT}, content_type=kind, docker=False)
        for kind in (OCI_INDEX, DOCKER_LIST)
    ),
    index("os.version and os.features", **chosen(**{"os.version": "6.1", "os.features": ["x"]})),
    *(index(f"variant {value!r}", **chosen(variant=value)) for value in ("v1", "")),
    index("variant 1", docker=False, **chosen(variant="1")),
    index("variant v2", problem="has no image for linux/amd64", docker=False, **chosen(variant="v2")),
    index("x86_64", **chosen(architecture="x86_64")),
    index("386", problem="has no image for linux/amd64", docker=False, **chosen(architecture="386")),
    *(
        index(f"index with {fields!r}", **fields)
        for fields in (
            *({"artifactType": "application/x"}, {"annotations": []}, {"subject": other()}),
            *({"mediaType": LEFT_OUT}, {"mediaType": None}, {"layers": None, "config": None}),
            {"schemaVersion": LEFT_OUT},
        )
    ),
    index("index with layers", problem="an image and an index at once", docker=False, layers=[]),
    index("index with a config", problem="an image and an index at once", docker=False, config={}),
    index("Docker list with a config", problem="at once", content_type=DOCKER_LIST, config={}),
    OddImage("index of nothing", lambda store, tag: store.add_index(tag), "Available are: none", False),
    OddImage("index of null", lambda store, tag: store.add_index(tag, manifests=None), "Available are: none", False),
    OddImage("index in an index", nested, "is an index, but an image is expected", False),
    OddImage("two of a platform", duplicates),
    OddImage("variants v2, none", variants("v2", LEFT_OUT)),
    OddImage("variants none, v2", variants(LEFT_OUT, "v2")),
    OddImage("variants v2, v1", variants("v2", "v1")),
    OddImage("variants v3, v2", variants("v3", "v2"), "has no image for linux/amd64", False),
)

IMAGES = (*CONFIGS, *LAYERS, *MANIFESTS, *INDEXES)
