# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions: what must be carried, what a target does with it, whether it fits. Pure: no network, clock, files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from .._plan import Step
from .manifest import is_zstd
from .model import (
    Blob,
    Bundle,
    BundleImage,
    EngineFacts,
    Layer,
    StoredObject,
    TransferTarget,
    compute_chain_ids,
    get_digest_hex,
    sum_blob_sizes,
)
from .reference import ImagePlatform

# S3: a part has at least 5 MiB (but for the last) and at most 5 GiB, an upload at most 10,000 parts, a single PUT at
# most 5 GiB (facts: S3).
MIN_PART = 5 * 1024 * 1024
MAX_PARTS = 10_000
MAX_SINGLE_PUT = 5 * 1024**3


def list_missing_layers(image: BundleImage, chains: frozenset[str]) -> tuple[Layer, ...]:
    """The layers that must be carried to an engine that has these chain ids.

    A layer counts as present only where every layer below it matches too, which is what its chain id says.
    """
    present = 0
    for chain_id in compute_chain_ids(image.diff_ids):
        if chain_id not in chains:
            break
        present += 1
    return image.layers[present:]


@dataclass(frozen=True)
class BlobNeed:
    """A blob that somebody lacks, and who."""

    blob: Blob
    hosts: tuple[str, ...]


def list_blob_needs(bundle: Bundle, targets: Sequence[TransferTarget]) -> tuple[BlobNeed, ...]:
    """The union of what the targets lack, each blob once. Without targets, everything (they are not known yet)."""
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
    """What happens to one needed blob on its way into the store: C(put), C(replace) or C(none)."""

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
    """Decides for each needed blob by what the store holds under its key.

    Present means size and recorded checksum. C(corrupt) maps digests to the entity tag of an object whose content has
    failed its digest on a target: it is replaced once, that is, only while the store still holds that very object.
    """
    carries = []
    for need in needs:
        blob = need.blob
        seen = stored_objects.get(blob.digest)
        if seen is None:
            carries.append(BlobTransfer(blob, "put", "not in the store"))
        elif blob.digest in corrupt and corrupt[blob.digest] in (None, seen.etag):
            carries.append(BlobTransfer(blob, "replace", "the object failed its digest on a target"))
        elif seen.sha256 != get_digest_hex(blob.digest):
            carries.append(
                BlobTransfer(blob, "replace", f"the object's recorded checksum is {seen.sha256 or 'missing'}")
            )
        elif blob.size is not None and seen.size != blob.size:
            carries.append(BlobTransfer(blob, "replace", f"the object has {seen.size} bytes instead of {blob.size}"))
        else:
            carries.append(BlobTransfer(blob, "none", "in the store already, with the right size and checksum"))
    return tuple(carries)


@dataclass(frozen=True)
class UploadPart:
    """A piece of a blob that is sent with one request; C(number) is 0 for a blob sent whole."""

    number: int
    offset: int
    length: int


def split_into_parts(size: int, part_size: int) -> tuple[UploadPart, ...]:
    """The parts in which a blob is sent: one request up to C(part_size) bytes, else a multipart upload."""
    if size <= part_size and size <= MAX_SINGLE_PUT:
        return (UploadPart(0, 0, size),)
    length = min(max(part_size, MIN_PART, -(-size // MAX_PARTS)), MAX_SINGLE_PUT)
    return tuple(
        UploadPart(number, offset, min(length, size - offset))
        for number, offset in enumerate(range(0, size, length), start=1)
    )


@dataclass(frozen=True)
class ImagePlan:
    """What a target does for one image: C(none), C(tag) (it has the content under another name) or C(load)."""

    image: BundleImage
    action: str
    reason: str
    previous: Optional[str]
    blobs: tuple[Blob, ...]

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
    """Decides for each image by what the engine holds under its name and which layers it has."""
    plans = []
    digests = frozenset(image.config_digest for image in facts.images if image.config_digest)
    for image in bundle.images:
        holder = facts.find_image(image.tag)
        previous = (holder.config_digest or holder.engine_id) if holder else None
        if holder and holder.config_digest == image.config.digest:
            plans.append(ImagePlan(image, "none", "the name holds this image already", previous, ()))
            continue
        if image.config.digest in digests:
            plans.append(ImagePlan(image, "tag", "the image is here under another name", previous, ()))
            continue
        lacking = list_missing_layers(image, facts.chain_ids)
        reason = f"{len(lacking)} of {len(image.layers)} layers and the config are missing"
        kept = {layer.blob.digest for layer in image.layers} - {layer.blob.digest for layer in lacking}
        blobs = tuple(blob for blob in image.list_blobs() if blob.digest not in kept)
        plans.append(ImagePlan(image, "load", reason, previous, blobs))
    return tuple(plans)


def get_rejection_reason(plans: Sequence[ImagePlan], staged_bytes: int, facts: EngineFacts) -> Optional[str]:
    """Why an engine is certain not to take these images, or None. C(staged): bytes of their blobs that are there."""
    zstd = [
        plan.image.reference
        for plan in plans
        if plan.action == "load" and any(is_zstd(layer.blob.media_type) for layer in plan.image.layers)
    ]
    if zstd and not facts.zstd:
        return (
            f"{', '.join(zstd)} has zstd layers, which {facts.engine} {facts.version} cannot unpack (docker does since "
            "23). Build the image with gzip layers, or update the engine."
        )
    other = [plan.image for plan in _list_platform_mismatches(plans, facts) if not plan.image.platform_given]
    if other:
        images = ", ".join(f"{image.reference} is for {image.platform}" for image in other)
        return (
            f"{images}, and {facts.engine} on this host runs {facts.platform}. Name an image for {facts.platform}; "
            "hosts of several platforms need a run for each. To bring it here all the same, set its 'platform'."
        )
    lacking = "; ".join(str(shortage) for shortage in find_insufficient_space(plans, staged_bytes, facts))
    return f"too little disk: {lacking} (bytes). Make room, or put staging_dir on another disk." if lacking else None


def get_rejection_reasons(bundle: Bundle, targets: Iterable[TransferTarget]) -> dict[str, str]:
    """The targets whose engines are certain not to take the images, and why."""
    reasons = {
        # What a killed run has loaded ahead takes no more room.
        target.host: get_rejection_reason(
            plan_load(bundle, target.facts.include_preloaded(bundle.get_directory_name("loaded"))), 0, target.facts
        )
        for target in targets
    }
    return {name: reason for name, reason in reasons.items() if reason}


def get_load_warnings(plans: Sequence[ImagePlan], facts: EngineFacts) -> list[str]:
    """What is done because it was asked for, and may not be what was meant."""
    return [
        f"{plan.image.reference} is for {plan.image.platform}, as its 'platform' says, and {facts.engine} here runs "
        f"{facts.platform}: it may not start."
        for plan in _list_platform_mismatches(plans, facts)
        if plan.image.platform_given
    ]


def _list_platform_mismatches(plans: Sequence[ImagePlan], facts: EngineFacts) -> list[ImagePlan]:
    """What is to be loaded for another platform than the engine's."""
    own = ImagePlatform.parse_or_none(facts.platform)
    loads = [(plan, ImagePlatform.parse_or_none(plan.image.platform)) for plan in plans if plan.action == "load"]
    return [plan for plan, wanted in loads if own and wanted and wanted.contradicts(own)]


@dataclass(frozen=True)
class InsufficientSpace:
    """A file system on which the plan cannot fit."""

    path: str
    required_bytes: int
    free_bytes: int
    purpose: str

    def __str__(self) -> str:
        return f"{self.path} has {self.free_bytes} bytes free, {self.purpose} needs at least {self.required_bytes}"


def find_insufficient_space(
    plans: Iterable[ImagePlan], staged_bytes: int, facts: EngineFacts
) -> tuple[InsufficientSpace, ...]:
    """Where the load is certain to run out of space, by a lower bound: a refusal is always right.

    The staging folder holds every missing blob once. The engine unpacks the archive of one image and then its layers,
    which are at least as large as their compressed blobs (facts: docker load needs twice the image); then those of the
    next image, without the layers that earlier ones have brought.
    """
    loads = [plan for plan in plans if plan.action == "load"]
    held: dict[str, Blob] = {}
    peak = 0
    for plan in loads:
        archive = sum_blob_sizes(blob for blob in plan.blobs if blob.digest not in held)
        held.update({blob.digest: blob for blob in plan.blobs})
        peak = max(peak, sum_blob_sizes(held.values()) + archive)
    staging = max(0, sum_blob_sizes(held.values()) - staged_bytes)
    wanted: dict[int, tuple[str, int, int, list[str]]] = {}
    entries = [(facts.staging, staging, "staging")]
    if facts.root:
        entries.append((facts.root, peak, "the engine"))
    for disk, needed, purpose in entries:
        path, free, sum_needed, purposes = wanted.get(disk.device, (disk.path, disk.free_bytes, 0, []))
        wanted[disk.device] = (path, free, sum_needed + needed, [*purposes, purpose])
    return tuple(
        InsufficientSpace(path, needed, free, " and ".join(purposes))
        for path, free, needed, purposes in wanted.values()
        if needed > free
    )
