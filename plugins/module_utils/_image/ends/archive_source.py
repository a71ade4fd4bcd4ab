# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A saved image as a source: an archive, or a directory with an image layout."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Optional

from ..blobs import BlobSource
from ..errors import ImageError
from ..formats.archive import StagingError, stage_from_archive
from ..formats.gzip_stream import is_gzip
from ..formats.manifest import (
    CONFIG_LIMIT,
    INDEX_TYPES,
    MANIFEST_LIMIT,
    ImageConfig,
    check_layers,
    detect_media_type,
    find_index_image,
    parse_config,
    parse_index,
    parse_manifest,
)
from ..formats.reference import ImagePlatform, ImageReference
from ..formats.saved_archive import DockerEntry, LayoutEntry, SavedArchive
from ..formats.tar_members import open_uncompressed
from ..model import Blob, Bundle, BundleImage, Layer
from .registry import choose_entry
from .source import RequestedImage, SourceOffer, StagedSource, collect_images

if TYPE_CHECKING:
    from ..blobs import TransferRequest
    from ..growing_blobs import GrowingBlobs
    from ..http.body import Readable
    from ..progress import ProgressCallback
    from ..staging import Staging


def is_packed(path: Optional[str]) -> bool:
    """Whether an archive is compressed as a whole, so that its blobs cannot be read where they are."""
    return bool(path) and is_gzip(str(path))


class _SavedImages:
    """The images of an archive by their names."""

    def __init__(self, path: Optional[str]) -> None:
        if not path:
            raise ImageError("archive_path: is required with source=archive. Set it to a saved image on the source.")
        self._path = path

    @cached_property
    def _archive(self) -> SavedArchive:
        return SavedArchive(self._path)

    def make_offer(self, requested: Sequence[RequestedImage]) -> SourceOffer:
        return SourceOffer(Bundle(tuple(collect_images(self._resolve_image, requested))), {})

    def _resolve_image(self, requested: RequestedImage) -> BundleImage:
        entry = self._find_entry(requested)
        resolved = (
            self._resolve_docker(requested, entry)
            if isinstance(entry, DockerEntry)
            else self._resolve_layout(requested, entry)
        )
        own, platform = ImagePlatform.parse(resolved.platform), requested.platform
        is_index = isinstance(entry, LayoutEntry) and resolved.manifest and entry.digest != resolved.manifest.digest
        if platform and own.contradicts(platform) and (requested.platform_given or is_index):
            raise ImageError(
                f"images: {requested.reference} is for {own} in {self._path}, but {platform} is requested. Omit the "
                "platform, or name another archive."
            )
        return resolved

    def _find_entry(self, requested: RequestedImage) -> LayoutEntry | DockerEntry:
        reference = requested.reference
        if reference.tag is None:
            found = self._archive.find_digest(str(reference.digest))
            if found is None:
                raise ImageError(
                    f"images: {self._path} has neither a manifest nor an index of {reference}. Name an image by its "
                    f"tag: the names in it are {self._list_names()}."
                )
            return found
        entries = self._archive.find(reference)
        if not entries:
            raise ImageError(
                f"images: {self._path} has no {reference}. The names in it are: {self._list_names()}. Name one of "
                "these, and set tag_as to the name on the targets."
            )
        entry = entries[0] if len(entries) == 1 else self._choose_entry(entries, requested)
        if reference.digest and not (isinstance(entry, LayoutEntry) and entry.digest == reference.digest):
            raise self._make_digest_error(reference, entry)
        return entry

    def _choose_entry(
        self, entries: Sequence[LayoutEntry | DockerEntry], requested: RequestedImage
    ) -> LayoutEntry | DockerEntry:
        """Chooses the entry for the platform, where several have the requested name."""
        reference, platform = requested.reference, requested.platform or ImagePlatform.detect_host()
        platforms = [self._archive.list_platforms(entry) for entry in entries]
        matching = [entry for entry, own in zip(entries, platforms) if any(other.matches(platform) for other in own)]
        if len(matching) == 1:
            return matching[0]
        if not matching:
            available = ", ".join(dict.fromkeys(str(other) for own in platforms for other in own)) or "none"
            raise ImageError(
                f"images: {self._path} has no {reference} for {platform}. Available are: {available}. Choose one of "
                "these."
            )
        digests = [entry.digest for entry in matching if isinstance(entry, LayoutEntry)]
        raise ImageError(
            f"images: {self._path} has {len(matching)} images of the name {reference} for {platform}"
            + (f": {', '.join(digests)}. Name one of them as NAME@DIGEST, and set tag_as." if digests else ". Save it ")
            + ("" if digests else "again.")
        )

    def _make_digest_error(self, reference: ImageReference, entry: LayoutEntry | DockerEntry) -> ImageError:
        """Makes the error for a tag of another digest."""
        if isinstance(entry, DockerEntry):
            return ImageError(
                f"images: {reference} has a digest, but {self._path} is in docker's format, which has no manifests. "
                "Omit the digest, or save the image with ctr, or with skopeo in the format dir:."
            )
        is_child = entry.platform is None and self._archive.find_digest(str(reference.digest)) is not None
        return ImageError(
            f"images: {reference}: tag and digest disagree. In {self._path} the tag {reference.tag} has the digest "
            f"{entry.digest}. " + ("Remove the tag, and set tag_as." if is_child else "Remove the wrong one.")
        )

    def _list_names(self) -> str:
        return ", ".join(self._archive.list_names()) or "none"

    def _resolve_layout(self, requested: RequestedImage, entry: LayoutEntry) -> BundleImage:
        archive, digest, content_type, index = self._archive, entry.digest, entry.media_type, None
        where = f"the manifest {digest} of {self._path}"
        data = archive.read_document(digest, MANIFEST_LIMIT)
        if detect_media_type(data, content_type, where) in INDEX_TYPES:
            parsed = parse_index(data, content_type, where)
            platform = requested.platform or ImagePlatform.detect_host()
            chosen = choose_entry(parsed, platform, requested.reference)
            if find_index_image(parsed, platform) == chosen.digest:
                index = Blob(digest, len(data), parsed.media_type)
            digest, content_type = chosen.digest, ""
            if not archive.has_blob(digest):
                raise ImageError(
                    f"images: {self._path} lists {requested.reference} for {chosen.platform}, but has no manifest "
                    f"{digest} of it: it was saved for another platform. Choose that platform, or save the image again."
                )
            where, data = f"the manifest {digest} of {self._path}", archive.read_document(digest, MANIFEST_LIMIT)
            if chosen.size not in (None, len(data)):
                raise ImageError(
                    f"{where} has {len(data)} bytes, but the index has {chosen.size} for it. It is damaged: save the "
                    "image again."
                )
        manifest = parse_manifest(data, content_type, where)
        config_data = archive.read_document(manifest.config.digest, CONFIG_LIMIT)
        config = parse_config(config_data, f"the config {manifest.config.digest} of {self._path}")
        check_layers(manifest, config, str(requested.reference))
        return self._make_image(
            requested,
            Blob(digest, len(data), manifest.media_type),
            replace(manifest.config, size=len(config_data)),
            tuple(map(self._fill_size, manifest.layers)),
            config,
            index,
        )

    def _resolve_docker(self, requested: RequestedImage, entry: DockerEntry) -> BundleImage:
        image = self._archive.read_docker_image(entry)
        return self._make_image(requested, None, image.config_blob, image.layers, parse_config(image.config))

    @staticmethod
    def _make_image(
        requested: RequestedImage,
        manifest: Optional[Blob],
        config_blob: Blob,
        layers: Sequence[Blob],
        config: ImageConfig,
        index: Optional[Blob] = None,
    ) -> BundleImage:
        return BundleImage(
            reference=requested.reference.familiar_string,
            tag=requested.tag,
            platform=str(config.platform),
            manifest=manifest,
            config=config_blob,
            layers=tuple(Layer(blob, diff_id) for blob, diff_id in zip(layers, config.diff_ids)),
            platform_given=requested.platform_given,
            index=index,
        )

    def _fill_size(self, layer: Blob) -> Blob:
        """Fills in the size of a layer. One that is absent or has another size is refused before anything is sent."""
        size = self._archive.get_blob_size(layer.digest)
        if size is None:
            raise self._archive.make_missing_error(layer.digest)
        if layer.size not in (None, size):
            raise ImageError(
                f"archive_path: the layer {layer.digest} in {self._path} has {size} bytes, but its manifest has "
                f"{layer.size}. The archive is damaged: copy or save it again."
            )
        return replace(layer, size=size)


class ArchiveSource(_SavedImages, BlobSource):
    """Images of an archive. Its blobs are read where they are, so nothing is staged."""

    def __init__(self, path: Optional[str], verify: bool = False) -> None:
        """C(verify): verify each blob before its first byte is read. Without it, C(verify) was called before."""
        super().__init__(path)
        self._unverified = verify
        self._verified: set[str] = set()

    @contextmanager
    def open(self, transfer: TransferRequest) -> Iterator[Readable]:
        digest = transfer.digest
        if self._unverified and digest not in self._verified:
            self._archive.verify(digest)
            self._verified.add(digest)
        end = transfer.offset + transfer.length if transfer.number else None
        with self._archive.open_blob(digest, transfer.offset, end) as file:
            yield file

    def verify(self, digests: Collection[str], progress: ProgressCallback) -> dict[str, int]:
        """Verifies blobs and returns their sizes. Raises ImageError for the first that is damaged."""
        sizes = {digest: self._archive.get_blob_size(digest) or 0 for digest in digests}
        done = 0
        for digest in digests:
            progress("verifying the archive", done, sum(sizes.values()))
            self._archive.verify(digest)
            done += sizes[digest]
        return sizes


class PackedArchiveSource(_SavedImages, StagedSource):
    """Images of an archive that is compressed as a whole. The blobs that targets lack are staged, in one more read."""

    def __init__(self, path: Optional[str], sizes: Mapping[str, Optional[int]]) -> None:
        """C(sizes): those of the blobs by digest, which C(stage) needs."""
        super().__init__(path)
        self._sizes = sizes

    def stage(
        self,
        requested: Sequence[RequestedImage],
        digests: Collection[str],
        staging: Staging,
        progress: ProgressCallback,
        growing_blobs: Optional[GrowingBlobs] = None,
    ) -> None:
        """Stages the blobs with these digests."""
        try:
            stage_from_archive(
                lambda: open_uncompressed(self._path),
                staging,
                set(digests),
                lambda done: progress("uncompressing the archive", done, done),
                growing_blobs,
                {size for digest in digests if (size := self._sizes.get(digest)) is not None},
            )
        except StagingError as error:
            raise ImageError(
                f"archive_path: {self._path} {error.problem}: it is damaged, or was changed. Copy or save it again."
            ) from error
