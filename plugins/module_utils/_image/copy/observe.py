# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what source and destination have of an image, and what belongs to it. Sends GET and HEAD only."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Callable, Optional, Union

from ..ends.artifact_registry import ArtifactRegistry, ManifestPresence, ReferrerList
from ..ends.authorization import RegistryError
from ..errors import ImageError
from ..formats.artifact import (
    MAX_DEPTH,
    MAX_ENTRIES,
    MAX_REFERRERS,
    Artifact,
    ArtifactDescriptor,
    filter_index,
    get_fallback_tag,
)
from ..formats.manifest import CONFIG_LIMIT, INDEX_TYPES, parse_config
from ..formats.reference import ImagePlatform, ImageReference
from ..model import DOCKER_CONFIG
from .plan import MissingBlob, ObservedImage, ObservedTree
from .request import CopyRequest

# A signature of an SBOM of an image is the second; nobody needs more than some.
_MAX_REFERRER_DEPTH = 4
_MAX_OBSERVERS = 8
# Tags with which cosign attaches signatures, attestations and SBOMs.
_COSIGN_SUFFIXES = (".sig", ".att", ".sbom")
_IMAGE_CONFIG_TYPES = ("application/vnd.oci.image.config.v1+json", DOCKER_CONFIG)


@dataclass(frozen=True)
class CopySides:
    """The registries of an image, and the threads that read them."""

    source: ArtifactRegistry
    destination: ArtifactRegistry
    request: CopyRequest
    executor: Executor

    @property
    def source_path(self) -> str:
        return self.request.source.path

    @property
    def path(self) -> str:
        return self.request.destination.path


def observe_image(
    sides: CopySides, platforms: Optional[Sequence[ImagePlatform]] = None, with_referrers: bool = True
) -> ObservedImage:
    """Reads an image in both registries. An image that the destination has needs few requests."""
    request = sides.request
    name = request.destination.tag or request.destination.digest or ""
    present = sides.executor.submit(sides.destination.find_digest, sides.path, name)
    if not with_referrers and platforms is None and request.source.digest is None:
        digest = sides.source.find_digest(sides.source_path, str(request.source.tag))
        if digest is not None and digest == present.result():
            return ObservedImage(request.source, request.destination, digest, _make_present_tree(request, digest))
    named = _fetch_source(sides)
    tag_digest = present.result()
    root = named if platforms is None else _choose_platforms(sides, named, platforms)
    if request.destination.tag is None and root.digest != request.destination.digest:
        raise ImageError(
            f"platforms: {request.name} has another digest for some platforms, and no tag. Set a tag in to."
        )
    # What belongs to the image is listed in the meantime: both wait for registries most of the time.
    with ThreadPoolExecutor(1) as beside:
        listing = beside.submit(_list_attached, sides, root) if with_referrers else None
        presence = (
            ManifestPresence(True)
            if tag_digest == root.digest
            else sides.destination.find_presence(sides.path, root.digest)
        )
        is_missing = presence.is_repository_missing
        if tag_digest == root.digest:
            tree = _make_present_tree(request, root.digest)
        else:
            is_complete = presence.is_present
            tree = ObservedTree(root.digest, root) if is_complete else _observe_missing_tree(sides, root, is_missing)
            tree = replace(tree, tag=request.destination.tag or "", tag_digest=tag_digest)
        image = ObservedImage(request.source, request.destination, named.digest, tree, is_repository_missing=is_missing)
        if listing is None:
            return image
        collector = _ReferrerCollector(sides, is_missing)
        collector.collect(listing.result())
    return replace(image, attached=tuple(collector.trees), unreadable=tuple(collector.unreadable))


def _make_present_tree(request: CopyRequest, digest: str) -> ObservedTree:
    return ObservedTree(digest, tag=request.destination.tag or "", tag_digest=digest)


def _fetch_source(sides: CopySides) -> Artifact:
    reference: ImageReference = sides.request.source
    named = sides.source.fetch_artifact(sides.source_path, reference.tag or reference.digest or "")
    if reference.digest not in (None, named.digest):
        raise ImageError(
            f"{reference}: tag and digest disagree. In the registry the tag {reference.tag} has the digest "
            f"{named.digest}. Remove the wrong part: :{reference.tag} or @{reference.digest}."
        )
    return named


def _choose_platforms(sides: CopySides, named: Artifact, platforms: Sequence[ImagePlatform]) -> Artifact:
    """Chooses platforms. An artifact that is no image has none, and is copied whole."""
    where = str(sides.request.source)
    if named.media_type in INDEX_TYPES:
        chosen = filter_index(named, platforms, where)
        return chosen if isinstance(chosen, Artifact) else _fetch_child(sides, chosen)
    if named.config is not None and named.config.media_type in _IMAGE_CONFIG_TYPES:
        data = sides.source.fetch_small_blob(sides.source_path, named.config, CONFIG_LIMIT)
        found = parse_config(data, f"the config of {where}").platform
        if all(found.contradicts(platform) for platform in platforms):
            raise ImageError(
                f"platforms: {where} is for {found}, not for {', '.join(map(str, platforms))}. Set platforms to it, or "
                "to all."
            )
    return named


def _fetch_child(sides: CopySides, child: ArtifactDescriptor) -> Artifact:
    try:
        artifact = sides.source.fetch_artifact(sides.source_path, child.digest)
    except RegistryError as error:
        if error.status != 404:
            raise
        raise ImageError(
            f"{sides.request.source} lists the manifest {child.digest}, but the registry {sides.source.host} does not "
            f"have it: {error.service_error}. The source is incomplete: push the image again, or leave it out."
        ) from None
    if child.size not in (None, len(artifact.data)):
        raise ImageError(
            f"The manifest {child.digest} of {sides.request.source.name} has {len(artifact.data)} bytes, but its index "
            f"has {child.size} for it. It is damaged: push the image again."
        )
    return artifact


def _observe_tree(sides: CopySides, root: Artifact, is_repository_missing: bool = False) -> ObservedTree:
    """Finds the manifests and blobs below a manifest that the destination does not have."""
    if not is_repository_missing and sides.destination.find_digest(sides.path, root.digest) is not None:
        return ObservedTree(root.digest, root)
    return _observe_missing_tree(sides, root, is_repository_missing)


def _observe_missing_tree(sides: CopySides, root: Artifact, is_repository_missing: bool) -> ObservedTree:
    found: dict[str, Artifact] = {root.digest: root}
    visited, level = {root.digest}, [root]
    for depth in range(1, MAX_DEPTH + 1):
        children = {child.digest: child for parent in level for child in parent.children if child.digest not in visited}
        if not children:
            break
        visited |= set(children)
        _check_extent(sides, visited, depth)
        fetched = sides.executor.map(
            lambda child: _fetch_missing(sides, child, is_repository_missing), children.values()
        )
        level = [artifact for artifact in fetched if artifact is not None]
        found.update({artifact.digest: artifact for artifact in level})
    manifests = tuple(_sort_children_first(root, found, set()))
    needed = {blob.digest: blob for manifest in manifests for blob in manifest.blobs}
    own = [blob for blob in needed.values() if not blob.is_nondistributable]
    sized = sides.executor.map(lambda blob: _find_missing_blob(sides, blob, is_repository_missing), own)
    blobs = tuple(blob for blob in sized if blob is not None)
    return ObservedTree(
        root.digest,
        root,
        manifests,
        blobs,
        frozenset(blob.digest for blob in own) - {blob.digest for blob in blobs},
        nondistributable_blobs=len(needed) - len(own),
    )


def _check_extent(sides: CopySides, visited: Collection[str], depth: int = 1) -> None:
    if depth == MAX_DEPTH or len(visited) > MAX_ENTRIES:
        raise ImageError(
            f"{sides.request.source}: its indexes have more than {MAX_ENTRIES} entries, or are nested more than "
            f"{MAX_DEPTH} times. Copy its images one by one."
        )


def _sort_children_first(root: Artifact, found: dict[str, Artifact], visited: set[str]) -> Iterator[Artifact]:
    visited.add(root.digest)
    for child in root.children:
        if child.digest in found and child.digest not in visited:
            yield from _sort_children_first(found[child.digest], found, visited)
    yield root


def _fetch_missing(sides: CopySides, child: ArtifactDescriptor, is_repository_missing: bool) -> Optional[Artifact]:
    if not is_repository_missing and sides.destination.find_digest(sides.path, child.digest) is not None:
        return None
    return _fetch_child(sides, child)


def _find_missing_blob(
    sides: CopySides, blob: ArtifactDescriptor, is_repository_missing: bool
) -> Optional[MissingBlob]:
    if not is_repository_missing and sides.destination.has_blob(sides.path, blob.digest):
        return None
    if blob.size is not None:
        return MissingBlob(blob.digest, blob.size)
    size = sides.source.find_blob_size(sides.source_path, blob.digest)
    if size is None:
        raise ImageError(
            f"Neither the manifest nor the registry {sides.source.host} has the size of the blob {blob.digest}. Push "
            "the image again."
        )
    return MissingBlob(blob.digest, size)


# -- what belongs to an image


def _iter_subjects(sides: CopySides, root: Artifact) -> Iterator[str]:
    """Yields the digests of an image's manifests. Only indexes within an index have to be read for that."""
    level, visited = [root], {root.digest}
    yield root.digest
    for _depth in range(1, MAX_DEPTH):
        children = {child.digest: child for parent in level for child in parent.children if child.digest not in visited}
        visited |= set(children)
        _check_extent(sides, visited)
        yield from children
        nested = [child for child in children.values() if child.is_index]
        level = list(sides.executor.map(lambda child: _fetch_child(sides, child), nested))


@dataclass(frozen=True)
class _AttachedList:
    """What belongs to manifests in the source: their referrers, and tags of cosign."""

    lists: Mapping[str, ReferrerList]
    tags: Sequence[str]


def _list_attached(sides: CopySides, root: Artifact) -> _AttachedList:
    return _list_source(sides, list(_iter_subjects(sides, root)))


def _list_source(sides: CopySides, subjects: Sequence[str]) -> _AttachedList:
    """Lists the referrers in the source, and the tags of cosign."""
    if len(subjects) > MAX_REFERRERS:
        raise _make_referrers_error(sides)
    source, path = sides.source, sides.source_path
    cosign = [get_fallback_tag(digest) + suffix for digest in subjects for suffix in _COSIGN_SUFFIXES]
    fallback = {get_fallback_tag(digest): digest for digest in subjects}
    first_listing = sides.executor.submit(source.list_referrers, path, subjects[0])
    tags = source.find_tags(path, [*cosign, *fallback], sides.executor.map)
    first = first_listing.result()
    others = [digest for digest in subjects[1:] if first.has_api or get_fallback_tag(digest) in tags]
    lists = sides.executor.map(lambda digest: source.list_referrers(path, digest), others)
    return _AttachedList({subjects[0]: first, **dict(zip(others, lists))}, [tag for tag in cosign if tag in tags])


def _make_referrers_error(sides: CopySides) -> ImageError:
    return ImageError(
        f"{sides.request.source} has more than {MAX_REFERRERS} referrers, or manifests with referrers. Set "
        "referrers=false for it."
    )


class _ReferrerCollector:
    """Collects what refers to manifests, and what refers to that, as far as the destination does not have it."""

    def __init__(self, sides: CopySides, is_repository_missing: bool) -> None:
        self.trees: list[ObservedTree] = []
        self.unreadable: list[tuple[str, str]] = []
        self._sides = sides
        self._is_missing = is_repository_missing
        self._visited: set[str] = set()

    def collect(self, attached: _AttachedList) -> None:
        """Collects what was listed, and what is listed for that in turn."""
        for depth in range(_MAX_REFERRER_DEPTH):
            level = [digest for digest in self._collect_level(attached) if digest not in self._visited]
            if not level or depth + 1 == _MAX_REFERRER_DEPTH:
                return
            attached = _list_source(self._sides, list(dict.fromkeys(level)))

    def _collect_level(self, attached: _AttachedList) -> list[str]:
        """Collects the referrers of some manifests, and returns the digests of these referrers."""
        self._visited.update(attached.lists)
        found = {subject: listed.referrers for subject, listed in attached.lists.items() if listed.referrers}
        if sum(map(len, found.values())) > MAX_REFERRERS:
            raise _make_referrers_error(self._sides)
        present = self._sides.executor.map(self._list_present, found)
        jobs = [(tag, partial(self._observe_tag, tag)) for tag in attached.tags]
        for (subject, referrers), there in zip(found.items(), present):
            listed = {entry.digest for entry in there.referrers}
            jobs += [
                (entry.digest, partial(self._observe_referrer, subject, entry, there.has_api))
                for entry in referrers
                if entry.digest not in listed
            ]
        with ThreadPoolExecutor(_MAX_OBSERVERS) as observers:
            for (name, _observe), tree in zip(jobs, observers.map(lambda job: _attempt(job[1]), jobs)):
                if isinstance(tree, ImageError):
                    self.unreadable.append((name, str(tree)))
                elif tree is not None:
                    self.trees.append(tree)
        return [entry.digest for referrers in found.values() for entry in referrers]

    def _list_present(self, subject: str) -> ReferrerList:
        # Of a repository that does not exist, nobody knows whether it will have the API. Most do.
        sides = self._sides
        return ReferrerList((), True) if self._is_missing else sides.destination.list_referrers(sides.path, subject)

    def _observe_tag(self, tag: str) -> Optional[ObservedTree]:
        sides = self._sides
        tag_digest = None if self._is_missing else sides.destination.find_digest(sides.path, tag)
        artifact = sides.source.fetch_artifact(sides.source_path, tag)
        if artifact.digest == tag_digest:
            return None
        return replace(_observe_tree(sides, artifact, self._is_missing), tag=tag, tag_digest=tag_digest)

    def _observe_referrer(self, subject: str, entry: ArtifactDescriptor, has_api: bool) -> Optional[ObservedTree]:
        artifact = _fetch_child(self._sides, entry)
        if artifact.subject != subject:
            raise ImageError(
                f"The manifest {entry.digest} is listed as a referrer of {subject}, but refers to "
                f"{artifact.subject or 'nothing'}. The list in the source is damaged."
            )
        tree = _observe_tree(self._sides, artifact, self._is_missing)
        return replace(tree, subject=subject, has_referrers_api=has_api)


def _attempt(observe: Callable[[], Optional[ObservedTree]]) -> Union[ObservedTree, ImageError, None]:
    try:
        return observe()
    except ImageError as error:
        return error
