# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Executes the plan of a copy: blobs, then manifests, then what belongs to an image, then its tag; and verifies it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Callable, Optional, Union

from ..ends.artifact_registry import ArtifactRegistry
from ..ends.registry_pool import RegistryPool
from ..ends.registry_push import DamagedBlobError, PushRegistry
from ..errors import ImageError
from ..formats.artifact import Artifact, get_fallback_tag
from ..formats.reference import ImageReference
from ..throttle import Throttle
from .plan import ImageCopyPlan, PlannedBlob, PlannedTree


@dataclass
class CopyOutcome:
    """What was written for an image. C(error) is the first failure; C(failed): referrers that were not copied.

    C(moved): how the tag of the source changed in the meantime.
    """

    transferred: list[PlannedBlob] = field(default_factory=list)
    mounted: list[PlannedBlob] = field(default_factory=list)
    pushed: list[str] = field(default_factory=list)
    referrers: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    error: str = ""
    moved: str = ""
    has_created: bool = False

    @property
    def has_written(self) -> bool:
        return bool(self.has_created or self.transferred or self.mounted or self.pushed or self.referrers)


@dataclass(frozen=True)
class _BlobResult:
    is_mounted: bool = False
    error: str = ""


class ImageCopier:
    """Copies images as planned. A failure of one leaves the others done.

    C(executor) transfers blobs and pushes manifests; C(waiters) wait for it, one for each repository.
    C(create_repository) returns whether it created it.
    """

    def __init__(
        self,
        sources: RegistryPool[ArtifactRegistry],
        destinations: RegistryPool[PushRegistry],
        executor: Executor,
        waiters: Executor,
        throttle: Throttle,
        create_repository: Callable[[ImageReference], bool] = lambda _destination: False,
    ) -> None:
        self._sources = sources
        self._destinations = destinations
        self._executor = executor
        self._waiters = waiters
        self._throttle = throttle
        self._create_repository = create_repository
        # By name: whether a repository was created, or why not.
        self._created: dict[str, Union[bool, ImageError]] = {}
        # By name and digest: the outcome of each blob, and the manifests that were pushed.
        self._blobs: dict[tuple[str, str], _BlobResult] = {}
        self._manifests: set[tuple[str, str]] = set()

    def apply(self, plans: Sequence[ImageCopyPlan]) -> list[CopyOutcome]:
        """Copies the blobs of all images, then their manifests: repositories beside each other, the images of one in
        order, since they may share manifests.
        """
        self._create_repositories(plans)
        jobs = [(plan, blob) for plan in plans if self._get_creation_error(plan) is None for blob in plan.blobs]
        for is_late in (False, True):
            self._copy_blobs([job for job in jobs if job[1].is_late == is_late])
        repositories: dict[str, list[ImageCopyPlan]] = {}
        for plan in plans:
            repositories.setdefault(plan.image.destination.name, []).append(plan)
        applied = self._waiters.map(lambda group: [self._apply_image(plan) for plan in group], repositories.values())
        outcomes = {
            id(plan): outcome
            for group, done in zip(repositories.values(), applied)
            for plan, outcome in zip(group, done)
        }
        return [outcomes[id(plan)] for plan in plans]

    def _create_repositories(self, plans: Sequence[ImageCopyPlan]) -> None:
        destinations = [plan.image.destination for plan in plans if plan.creates_repository]

        def create(destination: ImageReference) -> Union[bool, ImageError]:
            try:
                return self._create_repository(destination)
            except ImageError as error:
                return error

        for destination, created in zip(destinations, self._executor.map(create, destinations)):
            self._created[destination.name] = created

    def _get_creation_error(self, plan: ImageCopyPlan) -> Optional[ImageError]:
        created = self._created.get(plan.image.destination.name)
        return created if isinstance(created, ImageError) else None

    def _copy_blobs(self, jobs: Sequence[tuple[ImageCopyPlan, PlannedBlob]]) -> None:
        # Large blobs first, so that no thread is left alone with one at the end.
        ordered = sorted(jobs, key=lambda job: job[1].size, reverse=True)
        results = self._executor.map(lambda job: self._copy_blob(*job), ordered)
        for (plan, blob), result in zip(ordered, results):
            self._blobs[plan.image.destination.name, blob.digest] = result

    def _copy_blob(self, plan: ImageCopyPlan, blob: PlannedBlob) -> _BlobResult:
        source, destination = plan.image.source, plan.image.destination
        try:
            registry = self._sources.get(source)
            is_mounted = self._destinations.get(destination).upload_blob(
                destination.path,
                blob.digest,
                blob.size,
                lambda start: registry.open_blob(source.path, blob.digest, start),
                f"the blob {blob.digest} of {source.name}",
                blob.mount_from,
                self._throttle,
            )
        except ImageError as error:
            if plan.image.is_repository_missing and not isinstance(error, DamagedBlobError):
                # ECR may also close the connection (docs/facts/image_transfer.md#copies-between-registries).
                return _BlobResult(
                    error=f"{destination.name} does not exist, and the upload does not create it. {error}"
                )
            return _BlobResult(error=str(error))
        return _BlobResult(is_mounted)

    def _apply_image(self, plan: ImageCopyPlan) -> CopyOutcome:
        outcome = CopyOutcome(failed=list(plan.image.unreadable))
        creation_error = self._get_creation_error(plan)
        if creation_error is not None:
            outcome.error = str(creation_error)
            return outcome
        outcome.has_created = plan.creates_repository and self._created[plan.image.destination.name] is True
        for blob in plan.blobs:
            result = self._blobs[plan.image.destination.name, blob.digest]
            if not result.error:
                (outcome.mounted if result.is_mounted else outcome.transferred).append(blob)
        try:
            self._push_image(plan, outcome)
        except ImageError as error:
            outcome.error = str(error)
        return outcome

    def _push_image(self, plan: ImageCopyPlan, outcome: CopyOutcome) -> None:
        image, tree = plan.image, plan.tree
        root = tree.tree.root
        # What belongs to the image is there before its tag, so that who verifies signatures finds them.
        is_root_last = bool(tree.tree.tag) and not any(entry.has_work for entry in plan.attached)
        self._push_tree(plan, tree, outcome, without=root if is_root_last else None)
        for entry in plan.attached:
            name = entry.tree.tag or entry.tree.digest
            try:
                if self._push_attached(plan, entry, outcome):
                    outcome.referrers.append(name)
            except ImageError as error:
                outcome.failed.append((name, str(error)))
        if tree.moves_tag and root is not None:
            self._push(plan, root, outcome, tree.tree.tag)
        if tree.has_work:
            moved = self._executor.submit(self._describe_move, plan)
            self._verify(plan, tree.tree.tag or image.tree.digest, tree.tree.digest)
            outcome.moved = moved.result()

    def _push_attached(self, plan: ImageCopyPlan, entry: PlannedTree, outcome: CopyOutcome) -> bool:
        """Pushes a referrer, or a tag that belongs to the image. Returns whether there was anything to write."""
        tree, destination = entry.tree, plan.image.destination
        root = tree.root
        if root is None or not entry.has_work:
            return False
        if not entry.lists_referrer:
            self._push_tree(plan, entry, outcome, without=root)
            self._push(plan, root, outcome, tree.tag)
            self._verify(plan, tree.tag, tree.digest)
            return True
        self._push_tree(plan, entry, outcome, without=root)
        # Also where the manifest is there already: the registry reports whether it lists the referrer.
        if not self._push(plan, root, outcome):
            try:
                self._destinations.get(destination).update_fallback_tag(destination.path, tree.subject, root)
            except ImageError as error:
                raise ImageError(
                    f"The tag {get_fallback_tag(tree.subject)}, which lists the referrers, was not updated. {error}"
                ) from None
        return True

    def _push_tree(
        self, plan: ImageCopyPlan, entry: PlannedTree, outcome: CopyOutcome, without: Optional[Artifact] = None
    ) -> None:
        """Pushes the manifests of a tree, children before their indexes."""
        tree, name = entry.tree, plan.image.destination.name
        for blob in tree.blobs:
            result = self._blobs.get((name, blob.digest))
            if result is not None and result.error:
                raise ImageError(result.error)
        missing = [
            manifest
            for manifest in tree.manifests
            if (name, manifest.digest) not in self._manifests and (without is None or manifest.digest != without.digest)
        ]
        self._push_all(plan, (manifest for manifest in missing if not manifest.children), outcome)
        for index in (manifest for manifest in missing if manifest.children):
            self._push(plan, index, outcome)

    def _push_all(self, plan: ImageCopyPlan, manifests: Iterable[Artifact], outcome: CopyOutcome) -> None:
        for _listed in self._executor.map(partial(self._push, plan, outcome=outcome), manifests):
            pass

    def _push(self, plan: ImageCopyPlan, manifest: Artifact, outcome: CopyOutcome, tag: str = "") -> bool:
        destination = plan.image.destination
        is_listed = self._destinations.get(destination).push_manifest(destination.path, manifest, tag)
        self._manifests.add((destination.name, manifest.digest))
        outcome.pushed.append(tag or manifest.digest)
        return is_listed

    def _describe_move(self, plan: ImageCopyPlan) -> str:
        """Describes how the tag of the source changed since it was read. What was read is what was copied."""
        source = plan.image.source
        if source.tag is None:
            return ""
        try:
            digest = self._sources.get(source).find_digest(source.path, source.tag)
        except ImageError:  # the copy itself is complete
            return ""
        if digest == plan.image.source_digest:
            return ""
        return (
            f"The tag {source} changed during the copy, from {plan.image.source_digest} to {digest or 'none'}. The "
            "first was copied: run the copy again for the other."
        )

    def _verify(self, plan: ImageCopyPlan, name: str, digest: str) -> None:
        destination = plan.image.destination
        found = self._destinations.get(destination).find_digest(destination.path, name)
        if found != digest:
            raise ImageError(
                f"{destination.name}: after the copy, {name} has the digest {found or 'none'}, not {digest}. Another "
                "writer may have moved it: run the copy again."
            )
