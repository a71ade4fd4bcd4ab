# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sources of images, a registry or an engine: the bundle of the requested images, and its blobs."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Protocol

from ..blobs import BlobSource
from ..errors import ImageError
from ..formats.archive import stage_from_archive
from ..formats.manifest import INDEX_TYPES, MANIFEST_TYPES
from ..formats.reference import ImagePlatform, ImageReference
from ..model import Bundle, BundleImage, Layer, StoredImage
from .registry import Registry
from .registry_pool import RegistryLogin, RegistryPool

if TYPE_CHECKING:
    from ..blobs import TransferRequest
    from ..growing_blobs import GrowingBlobs
    from ..http.body import Readable
    from ..http.client import HttpClient
    from ..progress import ProgressCallback
    from ..run_command import RunCommand
    from ..staging import Staging
    from .engine import Engine, ExportedBlobs


@dataclass(frozen=True)
class RequestedImage:
    """An entry of the option C(images). C(tag) is the name of the image on targets.

    C(platform_given): the entry names its platform. Else C(platform) only chooses among several.
    """

    reference: ImageReference
    platform: Optional[ImagePlatform]
    tag: str
    platform_given: bool = False

    @classmethod
    def parse(cls, entry: Mapping[str, Any], default: Optional[str] = None) -> RequestedImage:
        reference = ImageReference.parse(str(entry["name"]))
        tag_as = entry.get("tag_as")
        given = ImageReference.parse(str(tag_as)) if tag_as else reference
        if given.tagged_name is None:
            raise ImageError(
                f"images: {reference} names a digest only, and an engine loads an image under a name with a tag. Set "
                "tag_as, the name of the image on the targets. containerd then finds it by the digest, too."
            )
        if tag_as and given.digest:
            raise ImageError(f"images: tag_as {tag_as!r} must be a name and a tag, without a digest.")
        own_platform = entry.get("platform")
        platform = own_platform or default
        return cls(
            reference, ImagePlatform.parse(str(platform)) if platform else None, given.tagged_name, bool(own_platform)
        )


def parse_requested_images(
    entries: Sequence[Mapping[str, Any]], default_platform: Optional[str] = None
) -> tuple[RequestedImage, ...]:
    """Parses all entries, or raises an error with every bad entry. C(default_platform) is for entries without one."""
    if not entries:
        raise ImageError("images: is empty. Name at least one image.")
    images, problems = [], []
    for entry in entries:
        try:
            images.append(RequestedImage.parse(entry, default_platform))
        except ImageError as error:
            problems.append(str(error))
    tags = [image.tag for image in images]
    problems += [
        f"images: two entries would get the name {tag} on the targets. Set another tag_as for one of them."
        for tag in sorted(set(tags))
        if tags.count(tag) > 1
    ]
    if problems:
        raise ImageError(" ".join(problems))
    return tuple(images)


@dataclass(frozen=True)
class SourceOffer:
    """The bundle of a source, and the estimated bytes of blobs whose size is unknown until the export."""

    bundle: Bundle
    estimates: Mapping[str, int]


class RegistrySource(BlobSource):
    """Images in their registries, without an engine."""

    def __init__(self, client: HttpClient, login: RegistryLogin, run: Optional[RunCommand] = None) -> None:
        """C(run) runs the credential helpers that a login may name."""
        self._login = login
        self._registries = RegistryPool(Registry, client, login, run)

    def make_offer(self, requested: Sequence[RequestedImage]) -> SourceOffer:
        self._login.check([image.reference for image in requested])
        return SourceOffer(Bundle(tuple(collect_images(self._resolve_image, requested))), {})

    @contextmanager
    def open(self, transfer: TransferRequest) -> Iterator[Readable]:
        reference = ImageReference.parse(transfer.reference)
        registry = self._registries.get(reference)
        if transfer.media_type in (*MANIFEST_TYPES, *INDEX_TYPES):
            named = ImageReference(reference.host, reference.path, None, transfer.digest)
            yield io.BytesIO(registry.fetch_document(named)[transfer.offset :])
            return
        end = transfer.offset + transfer.length if transfer.number else None
        with registry.open_blob(reference.path, transfer.digest, transfer.offset, end) as reader:
            yield reader

    def _resolve_image(self, requested: RequestedImage) -> BundleImage:
        registry = self._registries.get(requested.reference)
        resolved = registry.resolve(requested.reference, requested.platform, must_match=requested.platform_given)
        return BundleImage(
            reference=requested.reference.familiar_string,
            tag=requested.tag,
            platform=str(resolved.platform),
            manifest=resolved.manifest_blob,
            config=resolved.config_blob,
            layers=tuple(Layer(blob, diff_id) for blob, diff_id in zip(resolved.layers, resolved.diff_ids)),
            platform_given=requested.platform_given,
            index=resolved.index if resolved.is_index_usable else None,
        )


class StagedSource(Protocol):
    """A source whose blobs are written into the staging directory before they are sent."""

    def make_offer(self, requested: Sequence[RequestedImage]) -> SourceOffer:
        """Resolves the images; stages nothing."""

    def stage(
        self,
        requested: Sequence[RequestedImage],
        digests: Collection[str],
        staging: Staging,
        progress: ProgressCallback,
        growing_blobs: Optional[GrowingBlobs] = None,
    ) -> None:
        """Stages the blobs of these images with these digests."""


class EngineSource(StagedSource):
    """Images that only an engine on the source has."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def make_offer(self, requested: Sequence[RequestedImage]) -> SourceOffer:
        estimates: dict[str, int] = {}

        def resolve_image(entry: RequestedImage) -> BundleImage:
            stored = self._find_stored_image(entry)
            blobs = self._list_blobs(entry, stored)
            for layer, size in zip(blobs.layers, self._engine.estimate_layer_sizes(stored)):
                # Without the size of a layer, an equal share of the image is the best estimate.
                if layer.size is None:
                    estimates[layer.digest] = size if size is not None else stored.size // len(blobs.layers)
            return _to_bundle_image(entry, stored, blobs)

        return SourceOffer(Bundle(tuple(collect_images(resolve_image, requested))), estimates)

    def stage(
        self,
        requested: Sequence[RequestedImage],
        digests: Collection[str],
        staging: Staging,
        progress: ProgressCallback,
        growing_blobs: Optional[GrowingBlobs] = None,
    ) -> None:
        """Exports the images from the engine, and stages the blobs with these digests."""
        for entry in requested:
            self._stage_image(entry, digests, staging, progress, growing_blobs)

    def _stage_image(
        self,
        entry: RequestedImage,
        digests: Collection[str],
        staging: Staging,
        progress: ProgressCallback,
        growing_blobs: Optional[GrowingBlobs],
    ) -> None:
        stored = self._find_stored_image(entry)
        image = _to_bundle_image(entry, stored, self._list_blobs(entry, stored))
        stage_from_archive(
            lambda: self._engine.export(stored),
            staging,
            {blob.digest for blob in image.list_blobs()} & set(digests),
            lambda done: progress(f"reading {entry.reference} from the engine", done, max(done, stored.size)),
            growing_blobs,
        )

    def _list_blobs(self, entry: RequestedImage, stored: StoredImage) -> ExportedBlobs:
        if stored.config_digest is None:
            raise ImageError(
                f"images: the engine does not report the config digest of {entry.reference}. Use source=registry."
            )
        return self._engine.list_blobs(stored)

    def _find_stored_image(self, entry: RequestedImage) -> StoredImage:
        reference = entry.reference
        stored = self._engine.find(reference.familiar_string)
        if stored is None:
            raise ImageError(
                f"images: the engine on the source has no {reference}. List its images there, or use source=registry."
            )
        if reference.tag and reference.digest:
            # An engine resolves such a reference by its digest alone.
            tagged = self._engine.find(str(reference.tagged_name))
            if tagged is None or tagged.engine_id != stored.engine_id:
                raise ImageError(
                    f"images: {reference} names two images: the engine on the source has {reference.digest}, but "
                    f"{reference.tagged_name} is {'another image' if tagged else 'missing'}. Remove the wrong part of "
                    "the reference."
                )
        if entry.platform_given and entry.platform and ImagePlatform.parse(stored.platform).contradicts(entry.platform):
            raise ImageError(
                f"images: {reference} is for {stored.platform} in the engine, not for {entry.platform}. Omit platform, "
                "or use source=registry."
            )
        return stored


def _to_bundle_image(entry: RequestedImage, stored: StoredImage, blobs: ExportedBlobs) -> BundleImage:
    return BundleImage(
        reference=entry.reference.familiar_string,
        tag=entry.tag,
        platform=stored.platform,
        manifest=blobs.manifest,
        config=blobs.config,
        layers=tuple(Layer(blob, diff_id) for blob, diff_id in zip(blobs.layers, stored.diff_ids)),
        platform_given=entry.platform_given,
        index=stored.index,
    )


def collect_images(resolve_image: Any, requested: Sequence[RequestedImage]) -> list[BundleImage]:
    """Resolves all images, or raises an error that names every missing image, before anything is written."""
    images, problems = [], []
    for entry in requested:
        try:
            images.append(resolve_image(entry))
        except ImageError as error:
            problems.append(str(error))
    if problems:
        raise ImageError(" ".join(problems))
    return images
