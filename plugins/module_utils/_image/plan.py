# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans a transfer: what to transfer, what a target does, whether it fits. Pure: no network, clock or files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from .._plan import Step
from .errors import ImageError
from .formats.manifest import is_zstd
from .formats.reference import ImagePlatform, ImageReference
from .model import (
    ArchiveState,
    Blob,
    Bundle,
    BundleImage,
    EngineFacts,
    Layer,
    StoredImage,
    StoredObject,
    TransferTarget,
    compute_chain_ids,
    get_digest_hex,
    sum_blob_sizes,
)

# S3: a part has 5 MiB to 5 GiB (the last may be smaller), an upload at most 10,000 parts, a single PUT at most 5 GiB
# (docs/facts/image_transfer.md#s3).
MIN_PART = 5 * 1024 * 1024
MAX_PARTS = 10_000
MAX_SINGLE_PUT = 5 * 1024**3
# The names of an archive's parts end with three digits.
MIN_ARCHIVE_PART = 1024 * 1024
MAX_ARCHIVE_PARTS = 1000
PRESENT_ELSEWHERE = "the image is present under another name"


def list_missing_layers(image: BundleImage, chains: frozenset[str]) -> tuple[Layer, ...]:
    """Lists the layers that an engine with these chain ids is missing, and that must be transferred.

    A layer counts as present only if every layer below it matches too. Its chain id covers them
    (docs/facts/image_transfer.md#skipping-present-layers).
    """
    present = 0
    for chain_id in compute_chain_ids(image.diff_ids):
        if chain_id not in chains:
            break
        present += 1
    return image.layers[present:]


@dataclass(frozen=True)
class BlobNeed:
    """A blob, and the targets that are missing it."""

    blob: Blob
    hosts: tuple[str, ...]


def list_blob_needs(bundle: Bundle, targets: Sequence[TransferTarget]) -> tuple[BlobNeed, ...]:
    """Lists the blobs that any target is missing, each once. Without targets (not known yet), lists all blobs."""
    if not targets:
        return tuple(BlobNeed(blob, ()) for blob in bundle.list_blobs())
    hosts: dict[str, dict[str, None]] = {}
    blobs: dict[str, Blob] = {}
    for target in targets:
        for plan in plan_load(bundle, target.facts):
            for blob in plan.blobs:
                blobs[blob.digest] = blob
                hosts.setdefault(blob.digest, {})[target.host] = None
    return tuple(BlobNeed(blobs[digest], tuple(names)) for digest, names in hosts.items())


@dataclass(frozen=True)
class BlobTransfer:
    """The action for a blob on its way into the store: C(put), C(replace) or C(none)."""

    blob: Blob
    action: str
    reason: str

    def to_step(self) -> Optional[Step]:
        if self.action == "none":
            return None
        return Step(self.action, self.blob.digest, self.reason, after={"size": self.blob.size})


def plan_transfers(
    needs: Iterable[BlobNeed], stored_objects: Mapping[str, StoredObject], corrupt: Mapping[str, Optional[str]]
) -> tuple[BlobTransfer, ...]:
    """Plans the action for each needed blob, by the object that the store has under its key.

    Present means the right size and recorded checksum. C(corrupt) maps digests to the entity tag of an object whose
    content failed its digest on a target. It is replaced once: only while the store still has that very object.
    """
    transfers = []
    for need in needs:
        blob = need.blob
        stored = stored_objects.get(blob.digest)
        if stored is None:
            transfers.append(BlobTransfer(blob, "put", "not in the store"))
        elif blob.digest in corrupt and corrupt[blob.digest] in (None, stored.etag):
            transfers.append(BlobTransfer(blob, "replace", "the object failed its digest on a target"))
        elif stored.sha256 != get_digest_hex(blob.digest):
            transfers.append(
                BlobTransfer(blob, "replace", f"the object's recorded checksum is {stored.sha256 or 'missing'}")
            )
        elif blob.size is not None and stored.size != blob.size:
            transfers.append(
                BlobTransfer(blob, "replace", f"the object has {stored.size} bytes instead of {blob.size}")
            )
        else:
            transfers.append(BlobTransfer(blob, "none", "in the store already, with the right size and checksum"))
    return tuple(transfers)


@dataclass(frozen=True)
class UploadPart:
    """A part of a blob that one request sends; C(number) is 0 for a blob that is sent whole."""

    number: int
    offset: int
    length: int


def split_into_parts(size: int, part_size: int) -> tuple[UploadPart, ...]:
    """Splits a blob into upload parts: one request up to C(part_size) bytes, else a multipart upload."""
    if size <= part_size and size <= MAX_SINGLE_PUT:
        return (UploadPart(0, 0, size),)
    length = min(max(part_size, MIN_PART, -(-size // MAX_PARTS)), MAX_SINGLE_PUT)
    return tuple(
        UploadPart(number, offset, min(length, size - offset))
        for number, offset in enumerate(range(0, size, length), start=1)
    )


def split_archive(length: int, part_size: Optional[int]) -> tuple[int, ...]:
    """Splits an archive into the sizes of its files. Raises ImageError if these are too many."""
    if part_size is None:
        return (length,)
    count = -(-length // part_size)
    if count > MAX_ARCHIVE_PARTS:
        raise ImageError(
            f"target_archive_part_size: an archive of {length} bytes has {count} parts of {part_size} bytes, more than "
            f"the limit of {MAX_ARCHIVE_PARTS}. Set at least {-(-length // MAX_ARCHIVE_PARTS)}."
        )
    return tuple(min(part_size, length - begin) for begin in range(0, length, part_size))


@dataclass(frozen=True)
class ImagePlan:
    """The action of a target for an image: C(none), C(tag) (the content is present under another name) or C(load).

    An archive has C(write) instead of C(load).
    """

    image: BundleImage
    action: str
    reason: str
    previous: Optional[str]
    blobs: tuple[Blob, ...]

    @property
    def adds_content(self) -> bool:
        """Whether the target gets the image's content."""
        return self.action in ("load", "write")

    def to_step(self) -> Optional[Step]:
        if self.action == "none":
            return None
        return Step(
            self.action,
            self.image.tag,
            self.reason,
            before={"image": self.previous} if self.previous else None,
            after={"image": self.image.config.digest},
        )


def plan_load(bundle: Bundle, facts: EngineFacts) -> tuple[ImagePlan, ...]:
    """Plans the action for each image, by the image that has its name in the engine and the layers there."""
    if facts.archive:
        return _plan_archive(bundle, facts, facts.archive)
    return tuple(_plan_image(image, facts) for image in bundle.images)


def _plan_archive(bundle: Bundle, facts: EngineFacts, archive: ArchiveState) -> tuple[ImagePlan, ...]:
    """Plans an archive. It is written anew, with all images, where anything in it differs.

    Only the blobs that the archive lacks are transferred: the others are copied from it.
    """
    reasons = [_get_unarchived_reason(image, facts, archive) for image in bundle.images]
    others = {name for found in facts.images for name in found.names} - {image.tag for image in bundle.images}
    common = archive.problem or (f"it also has {', '.join(sorted(others))}" if others else None)
    if common is None and any(reasons):
        common = "another image changes"
    plans = []
    for image, reason in zip(bundle.images, reasons):
        holder = facts.find_image(image.tag)
        previous = holder.config_digest if holder else None
        if not reason and not common:
            plans.append(ImagePlan(image, "none", "the archive has this image already", previous, ()))
            continue
        blobs = tuple(blob for blob in image.list_archive_blobs() if blob.digest not in archive.blobs)
        reason = reason or f"the archive has this image, and is written anew: {common}"
        plans.append(ImagePlan(image, "write", reason, previous, blobs))
    return tuple(plans)


def _get_unarchived_reason(image: BundleImage, facts: EngineFacts, archive: ArchiveState) -> Optional[str]:
    """Why an archive does not have this image, or None."""
    found, named = facts.find_image(image.tag), image.named_blob
    if found is None:
        return "the archive does not have this image" if archive.exists else "there is no archive yet"
    if found.config_digest != image.config.digest:
        return "the archive has another image of this name"
    if named and found.engine_id != named.digest:
        return "the archive has this image with another manifest only"
    missing = [blob for blob in image.list_archive_blobs() if blob.digest not in archive.blobs]
    return f"the archive lacks {len(missing)} blobs of this image" if missing else None


def _plan_image(image: BundleImage, facts: EngineFacts) -> ImagePlan:
    holder = facts.find_image(image.tag)
    previous = (holder.config_digest or holder.engine_id) if holder else None
    kept_index = _get_index_to_keep(image, facts)
    index = (kept_index,) if kept_index and not _has_digest_name(image, kept_index, facts) else ()
    present = [found for found in facts.images if _is_present(image, found, facts)]
    if holder and any(holder is found for found in present):
        if not index:
            return ImagePlan(image, "none", "the name refers to this image already", previous, ())
        return ImagePlan(image, "tag", "the image is present, but not by its index's digest", previous, index)
    if present:
        is_incomplete = holder is not None and holder.engine_id in {found.engine_id for found in present}
        reason = "the image is present, but its name lacks labels" if is_incomplete else PRESENT_ELSEWHERE
        return ImagePlan(image, "tag", reason, previous, index)
    missing = list_missing_layers(image, facts.chain_ids)
    kept = {layer.blob.digest for layer in image.layers} - {layer.blob.digest for layer in missing}
    if image.index and not index:
        kept.add(image.index.digest)
    blobs = tuple(blob for blob in image.list_blobs() if blob.digest not in kept)
    reason = f"{len(missing)} of {len(image.layers)} layers and the config are missing"
    if any(found.config_digest == image.config.digest for found in facts.images):
        reason = "the image is present with another manifest only"
    return ImagePlan(image, "load", reason, previous, blobs)


def _get_index_to_keep(image: BundleImage, facts: EngineFacts) -> Optional[Blob]:
    """Gets the index by whose digest an engine should find the image. An engine keeps one for its platform only."""
    own, platform = ImagePlatform.parse_or_none(facts.platform), ImagePlatform.parse_or_none(image.platform)
    if not facts.keeps_digests or not image.manifest or not own or not platform or platform.contradicts(own):
        return None
    return image.index


def _has_digest_name(image: BundleImage, blob: Blob, facts: EngineFacts) -> bool:
    name = f"{ImageReference.parse(image.tag).familiar_name}@{blob.digest}"
    return any(name in found.digest_names for found in facts.images if _is_present(image, found, facts))


def _is_present(image: BundleImage, found: StoredImage, facts: EngineFacts) -> bool:
    """Whether this is the image, with the manifest by whose digest an engine that keeps digests should find it."""
    if found.config_digest != image.config.digest:
        return False
    return not facts.keeps_digests or not image.manifest or found.engine_id == image.manifest.digest


def get_rejection_reason(plans: Sequence[ImagePlan], staged_bytes: int, facts: EngineFacts) -> Optional[str]:
    """Why an engine cannot take these images, or None. C(staged_bytes): bytes of their blobs that are staged."""
    zstd = [
        plan.image.reference
        for plan in plans
        if plan.adds_content and any(is_zstd(layer.blob.media_type) for layer in plan.image.layers)
    ]
    if zstd and not facts.zstd:
        return (
            f"{', '.join(zstd)} has zstd layers, which {facts.engine} {facts.version} cannot unpack (docker can since "
            "23). Build the image with gzip layers, or update the engine."
        )
    other = [plan.image for plan in _list_platform_mismatches(plans, facts) if not plan.image.platform_given]
    if other:
        images = ", ".join(f"{image.reference} is for {image.platform}" for image in other)
        if facts.archive:
            return (
                f"{images}, and the archive is for {facts.platform}. Name an image for {facts.platform}, or set "
                "target_archive_platform. To keep this image anyway, set its 'platform'."
            )
        return (
            f"{images}, and {facts.engine} on this host runs {facts.platform}. Name an image for {facts.platform}; "
            "hosts of several platforms need a run for each. To load this image anyway, set its 'platform'."
        )
    if facts.archive and facts.archive.part_size and any(plan.adds_content for plan in plans):
        try:
            split_archive(_sum_archive_sizes(plans), facts.archive.part_size)
        except ImageError as error:
            return str(error)
    insufficient = "; ".join(str(space) for space in find_insufficient_space(plans, staged_bytes, facts))
    if not insufficient:
        return None
    return f"too little disk space: {insufficient} bytes. Free space, or set staging_dir to another disk."


def _sum_archive_sizes(plans: Iterable[ImagePlan]) -> int:
    """Sums the bytes of all blobs in an archive, a lower bound of its size."""
    blobs = {blob.digest: blob for plan in plans for blob in plan.image.list_archive_blobs()}
    return sum_blob_sizes(blobs.values())


def get_rejection_reasons(bundle: Bundle, targets: Iterable[TransferTarget]) -> dict[str, str]:
    """Lists the targets whose engines cannot take the images, and why."""
    reasons = {
        # The preloaded layers of a killed run need no more space.
        target.host: get_rejection_reason(
            plan_load(bundle, target.facts.include_preloaded(bundle.get_directory_name("loaded"))), 0, target.facts
        )
        for target in targets
    }
    return {name: reason for name, reason in reasons.items() if reason}


def get_load_warnings(plans: Sequence[ImagePlan], facts: EngineFacts) -> list[str]:
    """Warnings of images that are loaded for another platform because the operator named it."""
    if facts.archive:
        return []  # other hosts load it
    return [
        f"{plan.image.reference} may not start on this host: it is for {plan.image.platform}, as its 'platform' "
        f"requests, and {facts.engine} runs {facts.platform}."
        for plan in _list_platform_mismatches(plans, facts)
        if plan.image.platform_given
    ]


def _list_platform_mismatches(plans: Sequence[ImagePlan], facts: EngineFacts) -> list[ImagePlan]:
    """Lists the plans that load an image for another platform than the engine's."""
    own = ImagePlatform.parse_or_none(facts.platform)
    loads = [(plan, ImagePlatform.parse_or_none(plan.image.platform)) for plan in plans if plan.adds_content]
    return [plan for plan, platform in loads if own and platform and platform.contradicts(own)]


@dataclass(frozen=True)
class InsufficientSpace:
    """A file system with too little free space for the plan."""

    path: str
    required_bytes: int
    free_bytes: int
    purpose: str

    def __str__(self) -> str:
        return f"{self.path} has {self.free_bytes} bytes free, {self.purpose} needs at least {self.required_bytes}"


def find_insufficient_space(
    plans: Iterable[ImagePlan], staged_bytes: int, facts: EngineFacts
) -> tuple[InsufficientSpace, ...]:
    """Finds the file systems on which the load would run out of space, by a lower bound: no rejection is wrong.

    The staging directory holds every missing blob once. The engine unpacks the archive of an image and then its layers,
    which are at least as large as their compressed blobs. docker load needs twice the image
    (docs/facts/image_transfer.md#archive-formats). The next image needs only layers that no earlier image has.
    """
    loads = [plan for plan in plans if plan.adds_content]
    held: dict[str, Blob] = {}
    peak = 0
    for plan in loads:
        archive = sum_blob_sizes(blob for blob in plan.blobs if blob.digest not in held)
        held.update({blob.digest: blob for blob in plan.blobs})
        peak = max(peak, sum_blob_sizes(held.values()) + archive)
    if facts.archive:
        # The archive that it replaces stays until it is complete.
        peak = _sum_archive_sizes(loads)
    staging = max(0, sum_blob_sizes(held.values()) - staged_bytes)
    disks: dict[int, tuple[str, int, int, list[str]]] = {}
    entries = [(facts.staging, staging, "staging")]
    if facts.root:
        entries.append((facts.root, peak, "the archive" if facts.archive else "the engine"))
    for disk, required, purpose in entries:
        path, free, sum_required, purposes = disks.get(disk.device, (disk.path, disk.free_bytes, 0, []))
        disks[disk.device] = (path, free, sum_required + required, [*purposes, purpose])
    return tuple(
        InsufficientSpace(path, required, free, " and ".join(purposes))
        for path, free, required, purposes in disks.values()
        if required > free
    )
