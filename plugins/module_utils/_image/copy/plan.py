# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a copy between registries: from what source and destination have, the writes in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ..._plan import Step
from ..formats.artifact import Artifact, get_fallback_tag
from ..formats.reference import ImageReference


@dataclass(frozen=True)
class MissingBlob:
    """A blob that the destination does not have."""

    digest: str
    size: int


@dataclass(frozen=True)
class ObservedTree:
    """A manifest and everything below it: an image, a referrer of one, or the manifest of a tag that belongs to one.

    C(manifests) and C(blobs) are those that the destination does not have, children before their indexes. C(root) is
    None if the destination needs nothing of it. C(tag_digest): what the tag names at the destination.
    C(subject): the manifest to which a referrer belongs, if the destination does not list the referrer yet.
    """

    digest: str
    root: Optional[Artifact] = None
    manifests: tuple[Artifact, ...] = ()
    blobs: tuple[MissingBlob, ...] = ()
    present_blobs: frozenset[str] = frozenset()
    nondistributable_blobs: int = 0
    tag: str = ""
    tag_digest: Optional[str] = None
    subject: str = ""
    has_referrers_api: bool = True


@dataclass(frozen=True)
class ObservedImage:
    """An image in both registries. C(source_digest) differs from the digest of C(tree) if platforms were left out."""

    source: ImageReference
    destination: ImageReference
    source_digest: str
    tree: ObservedTree
    attached: tuple[ObservedTree, ...] = ()
    # Referrers that cannot be copied, each with the reason.
    unreadable: tuple[tuple[str, str], ...] = ()
    is_repository_missing: bool = False
    # The settings of a repository that is created before the first write; None if none is.
    repository_settings: Optional[Mapping[str, Any]] = None


@dataclass(frozen=True)
class PlannedBlob:
    """A blob to mount or to upload. C(mount_from): a repository of the destination's registry, or empty.

    C(is_late): that repository gets the blob in this run.
    """

    digest: str
    size: int
    mount_from: str = ""
    is_late: bool = False


@dataclass(frozen=True)
class PlannedTree:
    """What to write for a tree. Blobs and manifests of earlier images of the run are not in it."""

    tree: ObservedTree
    blobs: tuple[PlannedBlob, ...] = ()
    manifests: tuple[Artifact, ...] = ()
    moves_tag: bool = False
    lists_referrer: bool = False

    @property
    def has_work(self) -> bool:
        return bool(self.blobs or self.manifests or self.moves_tag or self.lists_referrer)


@dataclass(frozen=True)
class ImageCopyPlan:
    """The writes for an image. The tag of the image is the last of them."""

    image: ObservedImage
    tree: PlannedTree
    attached: tuple[PlannedTree, ...]
    steps: tuple[Step, ...] = field(repr=False)
    creates_repository: bool = False

    @property
    def trees(self) -> tuple[PlannedTree, ...]:
        return (self.tree, *self.attached)

    @property
    def blobs(self) -> tuple[PlannedBlob, ...]:
        return tuple(blob for tree in self.trees for blob in tree.blobs)


class _ExpectedState:
    """What the destinations have, once the images before are copied."""

    def __init__(self) -> None:
        self.blobs: set[tuple[str, str]] = set()
        self.manifests: set[tuple[str, str]] = set()
        self.listed: set[tuple[str, str, str]] = set()
        self.repositories: set[str] = set()
        # By host and digest: a repository that has the blob, and whether it gets it in this run.
        self.homes: dict[tuple[str, str], tuple[str, bool]] = {}


def plan_copy(images: Sequence[ObservedImage]) -> tuple[ImageCopyPlan, ...]:
    """Plans all images, in their order. What several need is written once."""
    state = _ExpectedState()
    for image in images:
        for tree in (image.tree, *image.attached):
            for digest in sorted(tree.present_blobs):
                state.homes.setdefault((image.destination.host, digest), (image.destination.path, False))
            if image.source.host == image.destination.host:
                for blob in tree.blobs:
                    state.homes.setdefault((image.source.host, blob.digest), (image.source.path, False))
    return tuple(_plan_image(image, state) for image in images)


def _plan_image(image: ObservedImage, state: _ExpectedState) -> ImageCopyPlan:
    name = image.destination.name
    creates_repository = image.repository_settings is not None and name not in state.repositories
    state.repositories.add(name)
    tree = _plan_tree(image, image.tree, state)
    attached = tuple(_plan_tree(image, entry, state) for entry in image.attached)
    steps = _list_steps(image, tree, attached)
    if creates_repository:
        reason = "The registry does not have this repository."
        steps.insert(0, Step("create_repository", name, reason, after=dict(image.repository_settings or {})))
    return ImageCopyPlan(image, tree, attached, tuple(steps), creates_repository)


def _plan_tree(image: ObservedImage, tree: ObservedTree, state: _ExpectedState) -> PlannedTree:
    name = image.destination.name
    blobs = []
    for blob in tree.blobs:
        if (name, blob.digest) in state.blobs:
            continue
        state.blobs.add((name, blob.digest))
        mount_from, is_late = state.homes.get((image.destination.host, blob.digest), ("", False))
        if mount_from == image.destination.path:
            mount_from, is_late = "", False
        state.homes.setdefault((image.destination.host, blob.digest), (image.destination.path, True))
        blobs.append(PlannedBlob(blob.digest, blob.size, mount_from, is_late))
    manifests = [manifest for manifest in tree.manifests if (name, manifest.digest) not in state.manifests]
    state.manifests.update((name, manifest.digest) for manifest in manifests)
    listed = (name, tree.subject, tree.digest)
    lists_referrer = bool(tree.subject) and listed not in state.listed
    state.listed.add(listed)
    return PlannedTree(
        tree,
        tuple(blobs),
        tuple(manifests),
        moves_tag=bool(tree.tag) and tree.tag_digest != tree.digest,
        lists_referrer=lists_referrer,
    )


def _list_steps(image: ObservedImage, tree: PlannedTree, attached: Sequence[PlannedTree]) -> list[Step]:
    name = image.destination.name
    steps = []
    for entry in (tree, *attached):
        for blob in entry.blobs:
            after = {"size": blob.size, **({"mount_from": blob.mount_from} if blob.mount_from else {})}
            steps.append(
                Step("copy_blob", f"{name}@{blob.digest}", "The destination does not have this blob.", after=after)
            )
    for entry in (tree, *attached):
        for manifest in entry.manifests:
            after = {"media_type": manifest.media_type, "size": len(manifest.data)}
            reason = "The destination does not have this manifest."
            steps.append(Step("push_manifest", f"{name}@{manifest.digest}", reason, after=after))
    for entry in attached:
        if entry.lists_referrer and entry.tree.digest not in {manifest.digest for manifest in entry.tree.manifests}:
            reason = "The destination has this manifest, but does not list it as a referrer."
            steps.append(Step("push_manifest", f"{name}@{entry.tree.digest}", reason))
        if entry.lists_referrer and not entry.tree.has_referrers_api:
            steps.append(
                Step(
                    "update_referrers_tag",
                    f"{name}:{get_fallback_tag(entry.tree.subject)}",
                    "The destination has no referrers API, so this tag lists the referrers.",
                    after=entry.tree.digest,
                )
            )
    for entry in (*attached, tree):
        if entry.moves_tag:
            reason = (
                "The destination does not have this tag."
                if entry.tree.tag_digest is None
                else "The tag names another digest."
            )
            target = f"{name}:{entry.tree.tag}"
            steps.append(Step("push_tag", target, reason, entry.tree.tag_digest, entry.tree.digest))
    return steps
