# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that a program has saved: an OCI image layout, or an archive of C(docker save).

Where an archive is both, the layout counts: it has the manifests. In docker's own format only the content identifies a
layer: its diffID where it is not compressed, else the digest that is computed here.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Optional

from ..errors import ImageError
from ..model import DOCKER_CONFIG, DOCKER_LAYER, Blob, compute_digest, get_digest_hex
from .manifest import (
    CONFIG_LIMIT,
    INDEX_TYPES,
    MANIFEST_LIMIT,
    ImageManifest,
    IndexEntry,
    detect_media_type,
    load_json,
    parse_config,
    parse_index,
    parse_manifest,
    parse_platform,
)
from .reference import ImagePlatform, ImageReference, is_digest
from .tar_members import GZIP_MAGIC, ZSTD_MAGIC, FileRange, SavedFiles, open_saved_files

_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
# The registry that podman gives the short names of local builds.
_PODMAN_HOST = "localhost"
# Documents are read for each image.
_MAX_IMAGES = 5_000


@dataclass(frozen=True)
class LayoutEntry:
    """A manifest or an index of a layout. C(names) are full references, C(tags) are tags alone.

    C(platform) is None if index.json has none for it.
    """

    digest: str
    media_type: str
    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    platform: Optional[ImagePlatform] = None


@dataclass(frozen=True)
class DockerEntry:
    """An image that docker's manifest.json lists, by the names of the archive's members."""

    config: str
    layers: tuple[str, ...]
    names: tuple[str, ...]
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class DockerImage:
    """An image of docker's format: its config, and its layers with the names of their members."""

    config: bytes
    config_blob: Blob
    layers: tuple[Blob, ...]
    members: Mapping[str, str]


class SavedArchive:
    """An archive or a directory with images. It is read in ranges; nothing is extracted."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._files: SavedFiles = open_saved_files(path)
        self._docker_images: dict[DockerEntry, DockerImage] = {}
        self._manifests: dict[str, Optional[ImageManifest]] = {}
        self._member_digests: dict[str, str] = {}
        self._is_layout = self._files.get_size("index.json") is not None
        if not self._is_layout and self._files.get_size("manifest.json") is None:
            raise ImageError(
                f"archive_path: {path} has neither index.json nor manifest.json at its top, so it is no image. Save "
                "the image again. Where a directory was packed, pack what is in it (tar -C DIRECTORY .)."
            )

    @cached_property
    def entries(self) -> Sequence[LayoutEntry | DockerEntry]:
        """The images, in the order in which the archive lists them."""
        entries: Sequence[LayoutEntry | DockerEntry]
        if self._is_layout:
            entries = self._read_layout()
        elif self._single_manifest is not None:
            entries = [LayoutEntry(compute_digest(self._single_manifest), "")]
        else:
            entries = self._read_docker_entries()
        if not entries:
            raise ImageError(f"archive_path: {self.path} has no images. Save an image again.")
        return entries

    @cached_property
    def _single_manifest(self) -> Optional[bytes]:
        """The manifest of the format C(dir), in which skopeo and podman write an image without names."""
        if self._is_layout:
            return None
        data = self._read("manifest.json", MANIFEST_LIMIT)
        return data if isinstance(load_json(data, MANIFEST_LIMIT, f"manifest.json of {self.path}"), dict) else None

    def find(self, reference: ImageReference) -> Sequence[LayoutEntry | DockerEntry]:
        """Finds the entries of a name: several where each is for another platform.

        A short name also finds podman's C(localhost/) before it. A name without a registry's name in the archive is
        found by its tag. An archive with one image that has neither serves any name.
        """
        for name in _list_names(reference):
            if found := [entry for entry in self.entries if name in entry.names]:
                return list(
                    {entry.digest if isinstance(entry, LayoutEntry) else entry: entry for entry in found}.values()
                )
        unnamed = [entry for entry in self.entries if not entry.names]
        tagged = [entry for entry in unnamed if reference.tag in entry.tags]
        return tagged or (unnamed if len(self.entries) == 1 and not self.list_names() else [])

    def find_digest(self, digest: str) -> Optional[LayoutEntry]:
        """Finds the manifest or the index of this digest, also an image of an index."""
        layout_entries = [entry for entry in self.entries if isinstance(entry, LayoutEntry)]
        if found := next((entry for entry in layout_entries if entry.digest == digest), None):
            return found
        for entry in {entry.digest: entry for entry in layout_entries}.values():
            with suppress(ImageError):  # another image is refused when it is requested
                for image in self._read_index(entry):
                    if image.digest == digest and self.has_blob(digest):
                        return LayoutEntry(digest, "")
        return None

    def list_names(self) -> tuple[str, ...]:
        """Lists the names of all images in the archive."""
        return tuple(dict.fromkeys(name for entry in self.entries for name in (*entry.names, *entry.tags)))

    def list_platforms(self, entry: LayoutEntry | DockerEntry) -> tuple[ImagePlatform, ...]:
        """Lists the platforms of an entry; none where its documents are absent or damaged."""
        if isinstance(entry, LayoutEntry) and entry.platform:
            return (entry.platform,)
        with suppress(ImageError):
            if isinstance(entry, DockerEntry):
                return (parse_config(self._read(entry.config, CONFIG_LIMIT)).platform,)
            if images := self._read_index(entry):
                return tuple(image.platform for image in images if image.platform)
            manifest = parse_manifest(self.read_document(entry.digest, MANIFEST_LIMIT), entry.media_type)
            return (parse_config(self.read_document(manifest.config.digest, CONFIG_LIMIT)).platform,)
        return ()

    def _read_index(self, entry: LayoutEntry) -> Sequence[IndexEntry]:
        """Reads the images of an index; none of a manifest."""
        data = self.read_document(entry.digest, MANIFEST_LIMIT)
        if detect_media_type(data, entry.media_type) not in INDEX_TYPES:
            return ()
        return parse_index(data, entry.media_type).entries

    def has_blob(self, digest: str) -> bool:
        return self._find_member(digest) is not None

    def read_document(self, digest: str, limit: int) -> bytes:
        """Reads a manifest, an index or a config, and verifies its digest."""
        data = self._read(self._find_member(digest) or _format_blob_path(digest), limit)
        if compute_digest(data) != digest:
            raise self._make_damage_error(digest, compute_digest(data))
        return data

    def read_docker_image(self, entry: DockerEntry) -> DockerImage:
        """Reads an image of docker's format. Compressed layers are hashed, since nothing has their digests."""
        if entry in self._docker_images:
            return self._docker_images[entry]
        config = self._read(entry.config, CONFIG_LIMIT)
        digest, expected = compute_digest(config), _parse_digest(entry.config)
        if expected not in (None, digest):
            raise self._make_damage_error(str(expected), digest)
        diff_ids = parse_config(config, f"the config {entry.config} of {self.path}").diff_ids
        if len(diff_ids) != len(entry.layers):
            raise ImageError(
                f"archive_path: {self.path} lists {len(entry.layers)} layers in manifest.json, the config "
                f"{entry.config} has {len(diff_ids)} diffIDs. The archive is damaged: save the image again."
            )
        layers = tuple(self._identify_layer(name, diff_id) for name, diff_id in zip(entry.layers, diff_ids))
        members = {layer.digest: name for name, layer in zip(entry.layers, layers)}
        blob = Blob(digest, len(config), DOCKER_CONFIG)
        self._docker_images[entry] = DockerImage(config, blob, layers, {**members, digest: entry.config})
        return self._docker_images[entry]

    def get_blob_size(self, digest: str) -> Optional[int]:
        name = self._find_member(digest)
        return None if name is None else self._files.get_size(name)

    def open_blob(self, digest: str, start: int = 0, end: Optional[int] = None) -> FileRange:
        """Opens the bytes of a blob from C(start) to before C(end). The content is not verified: see C(verify)."""
        name = self._find_member(digest)
        if name is None:
            raise self.make_missing_error(digest)
        return self._files.open(name, start, end)

    def verify(self, digest: str) -> None:
        """Verifies a blob by its digest. Raises ImageError that names blob and file."""
        name = self._find_member(digest)
        if name is None:
            raise self.make_missing_error(digest)
        found = self._files.compute_digest(name)
        if found != digest:
            raise self._make_damage_error(digest, found)

    def make_missing_error(self, digest: str) -> ImageError:
        return ImageError(
            f"archive_path: {self.path} has no blob {digest}: the archive is incomplete or truncated. Save the image "
            "again."
        )

    def _find_member(self, digest: str) -> Optional[str]:
        """Finds the file of a blob. In docker's format it may have any name."""
        hexadecimal = get_digest_hex(digest)
        names = [_format_blob_path(digest)]
        if self._single_manifest is not None:
            own = ["manifest.json"] if compute_digest(self._single_manifest) == digest else []
            names = [*own, hexadecimal, f"{hexadecimal}.manifest.json"]
        if found := next((name for name in names if self._files.get_size(name) is not None), None):
            return found
        if self._is_layout or self._single_manifest is not None:
            return None
        for entry in self.entries:
            if isinstance(entry, DockerEntry):
                with suppress(ImageError):  # another image is refused when it is requested
                    if digest in (image := self.read_docker_image(entry)).members:
                        return image.members[digest]
        return None

    def _read_layout(self) -> Sequence[LayoutEntry | DockerEntry]:
        document = load_json(self._read("index.json", MANIFEST_LIMIT), MANIFEST_LIMIT, f"index.json of {self.path}")
        listed = (document.get("manifests") or []) if isinstance(document, dict) else None
        if not isinstance(listed, list):
            raise ImageError(f"archive_path: index.json of {self.path} lists no manifests. Save the image again.")
        self._check_count("index.json", listed)
        docker_entries = self._read_docker_entries()
        by_config = {digest: entry for entry in docker_entries if (digest := _parse_digest(entry.config))}
        entries = [
            self._parse_layout_entry(value, by_config)
            for value in listed
            if isinstance(value, dict) and is_digest(value.get("digest"))
        ]
        # Docker 25 leaves index.json empty where images are saved by their digests.
        return entries or docker_entries

    def _parse_layout_entry(
        self, value: Mapping[str, Any], by_config: Mapping[str, DockerEntry]
    ) -> LayoutEntry | DockerEntry:
        annotations, platform, media_type = (value.get(name) for name in ("annotations", "platform", "mediaType"))
        texts = [annotations.get(name) for name in _NAME_ANNOTATIONS] if isinstance(annotations, dict) else []
        found = [text for text in texts if isinstance(text, str) and text]
        entry = LayoutEntry(
            str(value["digest"]),
            media_type.lower() if isinstance(media_type, str) else "",
            _normalize_names(text for text in found if ":" in text or "/" in text),
            tuple(text for text in found if ":" not in text and "/" not in text),
            parse_platform(platform) if isinstance(platform, dict) else None,
        )
        manifest = self._read_manifest(entry) if by_config and entry.media_type not in INDEX_TYPES else None
        docker_entry = by_config.get(manifest.config.digest) if manifest else None
        if manifest is None or docker_entry is None:
            return entry
        # Some programs name images in manifest.json only.
        names = entry.names or docker_entry.names
        # The manifests of the first Docker 25 lack layers, or have them in another order
        # (docs/facts/image_transfer.md#archive-formats).
        layers = tuple(_format_blob_path(layer.digest) for layer in manifest.layers)
        if docker_entry.layers and docker_entry.layers != layers:
            return replace(docker_entry, names=names, tags=entry.tags)
        return replace(entry, names=names)

    def _read_manifest(self, entry: LayoutEntry) -> Optional[ImageManifest]:
        """Reads a manifest; None where it is absent or damaged: it is refused when it is requested."""
        if entry.digest not in self._manifests:
            self._manifests[entry.digest] = None
            with suppress(ImageError):
                data = self.read_document(entry.digest, MANIFEST_LIMIT)
                self._manifests[entry.digest] = parse_manifest(data, entry.media_type)
        return self._manifests[entry.digest]

    def _read_docker_entries(self) -> list[DockerEntry]:
        if self._files.get_size("manifest.json") is None:
            return []
        where = f"archive_path: manifest.json of {self.path}"
        document = load_json(self._read("manifest.json", MANIFEST_LIMIT), MANIFEST_LIMIT, where)
        if not isinstance(document, list):
            raise ImageError(f"{where} is no list of images. Save the image again.")
        self._check_count("manifest.json", document)
        entries = []
        for value in document:
            config, layers = (value.get("Config"), value.get("Layers")) if isinstance(value, dict) else (None, None)
            layers = [] if layers is None else layers
            if (
                not isinstance(config, str)
                or not isinstance(layers, list)
                or not all(isinstance(layer, str) for layer in layers)
            ):
                raise ImageError(f"{where} has an image without a config or layers. Save the image again.")
            tags = value.get("RepoTags")
            names = _normalize_names(tag for tag in (tags if isinstance(tags, list) else []) if isinstance(tag, str))
            entries.append(DockerEntry(_normalize_path(config), tuple(map(_normalize_path, layers)), names))
        return entries

    def _identify_layer(self, name: str, diff_id: str) -> Blob:
        size = self._files.get_size(name)
        if size is None:
            raise ImageError(
                f"archive_path: {self.path} has no {name}, which manifest.json lists for the layer {diff_id}: the "
                "archive is incomplete or truncated. Save the image again."
            )
        begin = self._files.read_begin(name)
        if not begin.startswith((GZIP_MAGIC, ZSTD_MAGIC)):
            return Blob(diff_id, size, DOCKER_LAYER)
        if name not in self._member_digests:
            self._member_digests[name] = self._files.compute_digest(name)
        is_gzip = begin.startswith(GZIP_MAGIC)
        media_type = DOCKER_LAYER + ".gzip" if is_gzip else "application/vnd.oci.image.layer.v1.tar+zstd"
        return Blob(self._member_digests[name], size, media_type)

    def _check_count(self, name: str, listed: Sequence[Any]) -> None:
        if len(listed) > _MAX_IMAGES:
            raise ImageError(
                f"archive_path: {name} of {self.path} lists {len(listed)} images, more than the limit of "
                f"{_MAX_IMAGES}. Save fewer at a time."
            )

    def _read(self, name: str, limit: int) -> bytes:
        size = self._files.get_size(name)
        if size is None:
            raise ImageError(
                f"archive_path: {self.path} has no {name}: the archive is incomplete or truncated. Save it again."
            )
        if size > limit:
            raise ImageError(
                f"archive_path: {name} of {self.path} has {size} bytes, more than the limit of {limit}. Save the image "
                "again."
            )
        with self._files.open(name) as file:
            return file.read(size)

    def _make_damage_error(self, digest: str, found: str) -> ImageError:
        return ImageError(
            f"archive_path: the blob {digest} in {self.path} is damaged: its content has the digest {found}. Copy or "
            "save the archive again."
        )


def _list_names(reference: ImageReference) -> tuple[str, ...]:
    name = f"{reference.name}:{reference.tag}"
    official = "docker.io/library/"
    return (name, f"{_PODMAN_HOST}/{name[len(official) :]}") if name.startswith(official) else (name,)


def _normalize_names(texts: Any) -> tuple[str, ...]:
    """Normalizes names as docker does. What is no name of an image is left out."""
    names: dict[str, None] = {}
    for text in texts:
        try:
            reference = ImageReference.parse(text)
        except ImageError:
            continue
        suffix = f":{reference.tag}" if reference.tag else f"@{reference.digest}"
        names[reference.name + suffix] = None
    return tuple(names)


def _normalize_path(path: str) -> str:
    return posixpath.normpath(path).lstrip("/")


def _parse_digest(path: str) -> Optional[str]:
    """Parses the digest in the name of a config: HEX.json, sha256:HEX, or blobs/sha256/HEX."""
    name = posixpath.basename(path)
    stem = name[: -len(".json")] if name.endswith(".json") else name
    digest = stem if stem.startswith("sha256:") else f"sha256:{stem}"
    return digest if is_digest(digest) else None


def _format_blob_path(digest: str) -> str:
    return f"blobs/sha256/{get_digest_hex(digest)}"
