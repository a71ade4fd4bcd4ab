# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a source host has of the wanted images: the bundle, and the bytes behind it."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from .archive import stage_saved
from .errors import ImageError
from .manifest import MANIFEST_TYPES
from .model import DOCKER_CONFIG, DOCKER_LAYER, Blob, Bundle, Image, Layer, StoredImage
from .reference import Platform, Reference
from .registry import Registry, find_credentials
from .transfer import BlobSource

if TYPE_CHECKING:
    from .arrivals import Arrivals
    from .engine import Engine, Progress
    from .http import Client, Readable
    from .run import Run
    from .staging import Staging
    from .transfer import Transfer

_DEFAULT_LOGINS = "~/.docker/config.json"


@dataclass(frozen=True)
class WantedImage:
    """One entry of the option C(images). C(tag) is the name that the image gets on targets.

    C(platform_given): the entry names its platform; else C(platform) only chooses among several.
    """

    reference: Reference
    platform: Optional[Platform]
    tag: str
    platform_given: bool = False

    @classmethod
    def parse(cls, entry: Mapping[str, Any], default: Optional[str] = None) -> WantedImage:
        reference = Reference.parse(str(entry["name"]))
        tag_as = entry.get("tag_as")
        given = Reference.parse(str(tag_as)) if tag_as else reference
        if given.tagged is None:
            raise ImageError(
                f"images: {reference} names a digest only, and an engine that loads an image keeps no registry digest. "
                "Give tag_as, the name that the image shall have on the targets."
            )
        if tag_as and given.digest:
            raise ImageError(f"images: tag_as {tag_as!r} must be a name and a tag, without a digest.")
        asked = entry.get("platform")
        platform = asked or default
        return cls(reference, Platform.parse(str(platform)) if platform else None, given.tagged, bool(asked))


def parse_wanted(
    entries: Sequence[Mapping[str, Any]], default_platform: Optional[str] = None
) -> tuple[WantedImage, ...]:
    """All entries, or one error that names every bad one. C(default_platform): of entries that name none."""
    if not entries:
        raise ImageError("images: is empty. Name at least one image.")
    wanted, problems = [], []
    for entry in entries:
        try:
            wanted.append(WantedImage.parse(entry, default_platform))
        except ImageError as error:
            problems.append(str(error))
    tags = [image.tag for image in wanted]
    problems += [
        f"images: two entries would get the name {tag} on the targets. Give one of them another tag_as."
        for tag in sorted(set(tags))
        if tags.count(tag) > 1
    ]
    if problems:
        raise ImageError(" ".join(problems))
    return tuple(wanted)


@dataclass(frozen=True)
class Login:
    """How to reach registries: the options of the module that say so."""

    username: Optional[str] = None
    password: Optional[str] = field(default=None, repr=False)
    config_path: Optional[str] = None
    plain_http: bool = False


@dataclass(frozen=True)
class Offer:
    """What a source can give: the bundle, and estimated bytes of blobs whose size it cannot know beforehand."""

    bundle: Bundle
    estimates: Mapping[str, int]


class RegistrySource(BlobSource):
    """Images as their registries have them; no engine takes part."""

    def __init__(self, client: Client, login: Login, run: Optional[Run] = None) -> None:
        """C(run) runs the credential helpers that a login may name."""
        self._client = client
        self._login = login
        self._run = run
        self._registries: dict[str, Registry] = {}

    def offer(self, wanted: Sequence[WantedImage]) -> Offer:
        hosts = sorted({image.reference.host for image in wanted})
        if self._login.username and len(hosts) > 1:
            raise ImageError(
                f"registry_username: would be offered to {' and '.join(hosts)}. Use registry_config_path, which has a "
                "login for each registry, or name the images of one registry at a time."
            )
        return Offer(Bundle(tuple(_all(self._image, wanted))), {})

    @contextmanager
    def open(self, transfer: Transfer) -> Iterator[Readable]:
        reference = Reference.parse(transfer.reference)
        registry = self._registry(reference.host)
        if transfer.media_type in MANIFEST_TYPES:
            manifest = registry.resolve(Reference(reference.host, reference.path, None, transfer.digest)).manifest
            yield io.BytesIO(manifest)
            return
        end = transfer.offset + transfer.length if transfer.number else None
        with registry.open_blob(reference.path, transfer.digest, transfer.offset, end) as reader:
            yield reader

    def _registry(self, host: str) -> Registry:
        if host not in self._registries:
            path = self._login.config_path
            if path is None and os.path.exists(os.path.expanduser(_DEFAULT_LOGINS)):
                path = _DEFAULT_LOGINS
            credentials = find_credentials(host, self._login.username, self._login.password, path, self._run)
            self._registries[host] = Registry(self._client, host, self._login.plain_http, credentials)
        return self._registries[host]

    def _image(self, wanted: WantedImage) -> Image:
        registry = self._registry(wanted.reference.host)
        resolved = registry.resolve(wanted.reference, wanted.platform, must_match=wanted.platform_given)
        return Image(
            reference=wanted.reference.familiar,
            tag=wanted.tag,
            platform=str(resolved.platform),
            manifest=resolved.manifest_blob,
            config=resolved.config_blob,
            layers=tuple(Layer(blob, diff_id) for blob, diff_id in zip(resolved.layers, resolved.diff_ids)),
            platform_given=wanted.platform_given,
        )


class EngineSource:
    """Images that exist in an engine on the source only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def offer(self, wanted: Sequence[WantedImage]) -> Offer:
        estimates: dict[str, int] = {}

        def image(entry: WantedImage) -> Image:
            stored = self._stored(entry)
            for diff_id, size in zip(stored.diff_ids, self._engine.layer_sizes(stored)):
                # Where the engine tells no layer's size, an equal share of the whole is the nearest guess.
                estimates[diff_id] = size if size is not None else stored.size // len(stored.diff_ids)
            return _as_image(entry, stored)

        return Offer(Bundle(tuple(_all(image, wanted))), estimates)

    def stage(
        self,
        wanted: Sequence[WantedImage],
        digests: Collection[str],
        staging: Staging,
        progress: Progress,
        arrivals: Optional[Arrivals] = None,
    ) -> None:
        """Has the engine write its archives, and keeps the blobs with these digests."""
        for entry in wanted:
            self._stage_image(entry, digests, staging, progress, arrivals)

    def _stage_image(
        self,
        entry: WantedImage,
        digests: Collection[str],
        staging: Staging,
        progress: Progress,
        arrivals: Optional[Arrivals],
    ) -> None:
        stored = self._stored(entry)
        stage_saved(
            lambda: self._engine.export(stored),
            staging,
            {str(stored.config_digest), *stored.diff_ids} & set(digests),
            lambda done: progress(f"reading {entry.reference} from the engine", done, max(done, stored.size)),
            arrivals,
        )

    def _stored(self, entry: WantedImage) -> StoredImage:
        reference = entry.reference
        stored = self._engine.find(reference.familiar)
        if stored is None:
            raise ImageError(
                f"images: the engine on the source has no {reference}. See its images there, or use source=registry."
            )
        if reference.tag and reference.digest:
            # An engine resolves such a reference by its digest alone.
            tagged = self._engine.find(str(reference.tagged))
            if tagged is None or tagged.engine_id != stored.engine_id:
                raise ImageError(
                    f"images: {reference} names two images: the engine on the source has {reference.digest}, but "
                    f"{reference.tagged} is {'another one' if tagged else 'not there'}. Leave out the one that you do "
                    "not mean."
                )
        if entry.platform_given and entry.platform and Platform.parse(stored.platform).contradicts(entry.platform):
            raise ImageError(
                f"images: {reference} is there for {stored.platform}, not for {entry.platform}. Leave platform out, or "
                "use source=registry."
            )
        return stored


def _as_image(entry: WantedImage, stored: StoredImage) -> Image:
    if stored.config_digest is None:
        raise ImageError(
            f"images: the engine does not tell the config digest of {entry.reference}; use source=registry."
        )
    return Image(
        reference=entry.reference.familiar,
        tag=entry.tag,
        platform=stored.platform,
        manifest=None,
        config=Blob(stored.config_digest, None, DOCKER_CONFIG),
        # What an engine saves are its own layers, not compressed: so their digest is the diffID.
        layers=tuple(Layer(Blob(diff_id, None, DOCKER_LAYER), diff_id) for diff_id in stored.diff_ids),
        platform_given=entry.platform_given,
    )


def _all(make: Any, wanted: Sequence[WantedImage]) -> list[Image]:
    """All images, or one error that names every one that is not to be had: before anything is written."""
    images, problems = [], []
    for entry in wanted:
        try:
            images.append(make(entry))
        except ImageError as error:
            problems.append(str(error))
    if problems:
        raise ImageError(" ".join(problems))
    return images
