# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a target host does with a bundle: verify every blob, load, prove what the engine then has, and only then tag."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

from .ahead import remove_ahead
from .archive import LoadArchive
from .engine import Engine, EngineError, Progress
from .errors import ImageError, disk_words
from .model import Bundle, EngineFacts, Image, StoredImage
from .plan import plan_load
from .staging import Staging

_HASHES_AT_ONCE = 2


@dataclass(frozen=True)
class Loaded:
    """What became of one image: C(done), or what failed. C(corrupt) and C(missing) are digests of blobs."""

    tag: str
    done: bool
    error: Optional[str] = None
    corrupt: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def load_bundle(
    bundle: Bundle, engine: Engine, staging: Staging, progress: Progress, verified: Collection[str] = ()
) -> dict[str, Any]:
    """Loads image by image; one that fails leaves the others done. The outcome of each, by its name.

    C(verified): blobs whose digest this very process has just found right in the staging folder. What was loaded ahead
    is taken into account, and then removed; C(left): where it could not be.
    """
    loaded = []
    for image in bundle.images:
        began = time.monotonic()
        try:
            outcome = _load_image(image, engine, staging, progress, verified)
        except ImageError as error:
            outcome = Loaded(image.tag, False, str(error))
        except OSError as error:
            outcome = Loaded(image.tag, False, disk_words(error))
        loaded.append(replace(outcome, seconds=round(time.monotonic() - began, 1)))
    return {"loaded": [outcome.to_dict() for outcome in loaded], "left": remove_ahead(engine, staging)}


def _load_image(
    image: Image, engine: Engine, staging: Staging, progress: Progress, verified: Collection[str]
) -> Loaded:
    # The engine is asked again: an earlier image of this very bundle may have brought layers, or somebody took some.
    facts = engine.facts(str(staging.root))
    ahead = facts.with_ahead(staging.folder.name)
    try:
        return _load_lacking(image, engine, staging, progress, verified, ahead)
    except EngineError:
        if ahead.chain_ids == facts.chain_ids:
            raise
    # What was loaded ahead may have gone again: docker image prune removes images without a name.
    return _load_lacking(image, engine, staging, progress, verified, facts)


def _load_lacking(
    image: Image, engine: Engine, staging: Staging, progress: Progress, verified: Collection[str], facts: EngineFacts
) -> Loaded:
    plan = plan_load(Bundle((image,)), facts)[0]
    if plan.action == "none":
        return Loaded(image.tag, True)
    if plan.action == "load":
        missing = tuple(blob.digest for blob in plan.blobs if not staging.complete(blob.digest))
        if missing:
            return Loaded(image.tag, False, f"{len(missing)} blobs are needed that were not fetched", missing=missing)
        corrupt = _verify([blob.digest for blob in plan.blobs if blob.digest not in verified], staging, progress)
        if corrupt:
            return Loaded(image.tag, False, f"{len(corrupt)} blobs failed their digest, nothing was loaded", corrupt)
        engine.load(LoadArchive(image, {blob.digest: staging.path(blob.digest) for blob in plan.blobs}), progress)
    stored = engine.find(image.config.digest)
    problem = disproof(image, stored)
    if problem or stored is None:
        try:
            _remove_unproved(engine, facts, stored)
        except EngineError as error:
            problem = f"{problem}. It stays there without a name: {error}"
        return Loaded(image.tag, False, problem)
    engine.tag(stored, image.tag)
    named = engine.find(image.tag)
    problem = disproof(image, named)
    return Loaded(image.tag, problem is None, problem)


def disproof(image: Image, stored: Optional[StoredImage]) -> Optional[str]:
    """Why what the engine has is not the image, or None where it is: config digest and every diffID."""
    if stored is None:
        return f"the engine said nothing was wrong, but has no image {image.config.digest}"
    if stored.config_digest != image.config.digest:
        return f"the engine has the config {stored.config_digest} instead of {image.config.digest}"
    if stored.diff_ids != image.diff_ids:
        return f"the engine has other layers: {', '.join(stored.diff_ids)} instead of {', '.join(image.diff_ids)}"
    return None


def _verify(digests: Sequence[str], staging: Staging, progress: Progress) -> tuple[str, ...]:
    """The digests of the blobs that are not what they should be; those are taken away."""
    sizes = [staging.size(digest) for digest in digests]
    done, corrupt = 0, []
    with ThreadPoolExecutor(max_workers=_HASHES_AT_ONCE) as pool:
        for digest, size, intact in zip(digests, sizes, pool.map(staging.verify, digests)):
            if not intact:
                corrupt.append(digest)
            done += size
            progress("verifying", done, sum(sizes))
    return tuple(corrupt)


def _remove_unproved(engine: Engine, before: EngineFacts, stored: Optional[StoredImage]) -> None:
    """Takes away what the load left, unless it was there before or has got a name from somebody."""
    if stored is None or stored.names:
        return
    if all(image.engine_id != stored.engine_id for image in before.images):
        engine.remove(stored)
