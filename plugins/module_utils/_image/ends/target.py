# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads a bundle on a target: it verifies every blob, loads, verifies the image in the engine, and then tags it."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from ..errors import ImageError, format_disk_error
from ..formats.archive import ImageArchive
from ..formats.manifest import MANIFEST_LIMIT, find_index_image, parse_index
from ..formats.reference import ImagePlatform
from ..model import Bundle, BundleImage, EngineFacts, StoredImage
from ..plan import plan_load
from ..progress import ProgressCallback
from ..staging import Staging
from .engine import Engine, EngineError, KeptIndex
from .preload import remove_preloaded

_PARALLEL_HASHES = 2


@dataclass(frozen=True)
class LoadOutcome:
    """The outcome for an image: C(done), or the error. C(corrupt) and C(missing) are digests of blobs."""

    tag: str
    done: bool
    error: Optional[str] = None
    corrupt: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def load_bundle(
    bundle: Bundle, engine: Engine, staging: Staging, progress: ProgressCallback, verified: Collection[str] = ()
) -> dict[str, Any]:
    """Loads image by image and returns the outcome of each. A failure of one image does not stop the others.

    C(verified): blobs whose digest this process has just verified in the staging directory. Preloaded layers are used
    and then removed. C(cleanup_error) is the reason if they could not be removed.
    """
    loaded = []
    for image in bundle.images:
        began = time.monotonic()
        try:
            outcome = _load_image(image, engine, staging, progress, verified)
        except ImageError as error:
            outcome = LoadOutcome(image.tag, False, str(error))
        except OSError as error:
            outcome = LoadOutcome(image.tag, False, format_disk_error(error))
        loaded.append(replace(outcome, seconds=round(time.monotonic() - began, 1)))
    return {"loaded": [outcome.to_dict() for outcome in loaded], "cleanup_error": remove_preloaded(engine, staging)}


def _load_image(
    image: BundleImage, engine: Engine, staging: Staging, progress: ProgressCallback, verified: Collection[str]
) -> LoadOutcome:
    # Read again: an earlier image of this bundle may have added layers, or somebody may have removed some.
    facts = engine.read_facts(str(staging.root))
    facts_with_preloaded = facts.include_preloaded(staging.directory.name)
    try:
        return _load_missing(image, engine, staging, progress, verified, facts_with_preloaded)
    except EngineError:
        if facts_with_preloaded.chain_ids == facts.chain_ids:
            raise
    # Preloaded layers may have been removed: docker image prune removes images without a name.
    return _load_missing(image, engine, staging, progress, verified, facts)


def _load_missing(
    image: BundleImage,
    engine: Engine,
    staging: Staging,
    progress: ProgressCallback,
    verified: Collection[str],
    facts: EngineFacts,
) -> LoadOutcome:
    plan = plan_load(Bundle((image,)), facts)[0]
    if plan.action == "none":
        return LoadOutcome(image.tag, True)
    index = None
    if plan.blobs:
        missing = tuple(blob.digest for blob in plan.blobs if not staging.is_complete(blob.digest))
        if missing:
            return LoadOutcome(image.tag, False, f"{len(missing)} needed blobs were not fetched", missing=missing)
        corrupt = _verify_blobs([blob.digest for blob in plan.blobs if blob.digest not in verified], staging, progress)
        if corrupt:
            return LoadOutcome(
                image.tag, False, f"{len(corrupt)} blobs failed their digest, nothing was loaded", corrupt
            )
        paths = {blob.digest: staging.get_path(blob.digest) for blob in plan.blobs}
        if image.index and image.index.digest in paths:
            index = _read_index(image, paths.pop(image.index.digest), facts)
        if plan.action == "load":
            engine.load(ImageArchive(image, paths, str(staging.directory)), progress)
    keeps_manifest = facts.keeps_digests and image.manifest
    stored = engine.find(keeps_manifest.digest if keeps_manifest else image.config.digest)
    problem = get_mismatch_reason(image, stored)
    if problem or stored is None:
        try:
            _remove_unverified(engine, facts, stored)
        except EngineError as error:
            problem = f"{problem}. It remains in the engine without a name: {error}"
        return LoadOutcome(image.tag, False, problem)
    engine.tag(stored, image.tag, image.manifest.digest if image.manifest else None, index)
    named = engine.find(image.tag)
    problem = get_mismatch_reason(image, named)
    return LoadOutcome(image.tag, problem is None, problem)


def _read_index(image: BundleImage, path: Path, facts: EngineFacts) -> KeptIndex:
    """Reads the index of an image. Refuses one by whose digest the engine would find another image, or none."""
    with open(path, "rb") as file:
        data = file.read(MANIFEST_LIMIT + 1)
    where = f"the index {image.index and image.index.digest} of {image.reference}"
    index, platform = parse_index(data, image.index.media_type if image.index else "", where), facts.platform
    found = find_index_image(index, ImagePlatform.parse(platform))
    if image.manifest is None or found != image.manifest.digest:
        raise ImageError(
            f"{where} has {f'the image {found}' if found else 'no single image'} for {platform} of this host, and not "
            f"{image.manifest and image.manifest.digest}. Name the image itself by its digest, and set tag_as."
        )
    return KeptIndex(index.media_type, data)


def get_mismatch_reason(image: BundleImage, stored: Optional[StoredImage]) -> Optional[str]:
    """Compares config digest and every diffID with the image in the engine. Returns the difference, or None."""
    if stored is None:
        return f"the engine reported success, but has no image {image.config.digest}"
    if stored.config_digest != image.config.digest:
        return f"the engine has the config {stored.config_digest} instead of {image.config.digest}"
    if stored.diff_ids != image.diff_ids:
        return f"the engine has other layers: {', '.join(stored.diff_ids)} instead of {', '.join(image.diff_ids)}"
    return None


def _verify_blobs(digests: Sequence[str], staging: Staging, progress: ProgressCallback) -> tuple[str, ...]:
    """Verifies the blobs, removes the corrupt ones and returns their digests."""
    sizes = [staging.get_size(digest) for digest in digests]
    done, corrupt = 0, []
    with ThreadPoolExecutor(max_workers=_PARALLEL_HASHES) as pool:
        for digest, size, intact in zip(digests, sizes, pool.map(staging.verify, digests)):
            if not intact:
                corrupt.append(digest)
            done += size
            progress("verifying", done, sum(sizes))
    return tuple(corrupt)


def _remove_unverified(engine: Engine, before: EngineFacts, stored: Optional[StoredImage]) -> None:
    """Removes an image that failed its verification, unless it existed before or somebody has named it."""
    if stored is None or stored.names:
        return
    if all(image.engine_id != stored.engine_id for image in before.images):
        engine.remove(stored)
