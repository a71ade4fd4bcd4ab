# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers go to the engine while those above them are still on their way.

An engine loads images, not layers. So what has arrived goes there as an image of its own: the lowest layers, a config
that says nothing else, no name, and a label by which it is found again. The load of the image itself then lacks only
the rest; after it that image is removed, and the layers stay, since they have become the image's.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Callable, Optional, Protocol

from .archive import ImageArchive
from .engine import PRELOADED_LABEL, Engine, EngineError, ProgressCallback
from .errors import ImageError
from .model import DOCKER_CONFIG, Blob, Bundle, BundleImage, Layer
from .plan import list_missing_layers, plan_load
from .staging import Staging, is_staging_name

# An engine takes about a tenth of a second for an image, however small: less than this is not worth it.
MIN_PRELOAD_BYTES = 8 * 1024 * 1024
# After so long without a byte nobody sends any more. The first may take longer: the source pushes to other targets, or
# waits for an engine.
IDLE_TIMEOUT_SECONDS = 120.0
FIRST_BYTE_TIMEOUT_SECONDS = 900.0
_POLL_SECONDS = 0.1


class IncomingBlobs(Protocol):
    """Blobs that come into a staging folder."""

    def is_intact(self, digest: str) -> bool:
        """Whether this one is there, with its digest. Raises ImageError where it will not be."""

    def wait(self) -> None:
        """Waits a moment for more."""

    def has_ended(self) -> bool:
        """Whether no more comes, or what is there is for somebody else to load."""


class FetchedBlobs:
    """Blobs that other threads fetch. C(verified) gets those that are there."""

    def __init__(self, verified: Collection[str]) -> None:
        self._verified = verified
        self._ended = threading.Event()

    def end(self) -> None:
        self._ended.set()

    def is_intact(self, digest: str) -> bool:
        return digest in self._verified

    def wait(self) -> None:
        self._ended.wait(_POLL_SECONDS)

    def has_ended(self) -> bool:
        return self._ended.is_set()


class PushedBlobs:
    """Blobs that another process puts there. C(stopped): whether somebody has asked us to end."""

    def __init__(self, staging: Staging, digests: Collection[str], should_stop: Callable[[], bool]) -> None:
        self._staging = staging
        self._digests = digests
        self._should_stop = should_stop
        self._intact: set[str] = set()
        self._size, self._waited = 0, 0.0

    def is_intact(self, digest: str) -> bool:
        if digest not in self._intact and self._staging.is_complete(digest):
            if not self._staging.matches_digest(digest):
                raise ImageError(f"{digest} is damaged")
            self._intact.add(digest)
        return digest in self._intact

    def wait(self) -> None:
        time.sleep(_POLL_SECONDS)
        size = sum(map(self._staging.get_size, self._digests))
        self._size, self._waited = size, 0.0 if size != self._size else self._waited + _POLL_SECONDS

    def has_ended(self) -> bool:
        return self._should_stop() or self.has_timed_out()

    def has_timed_out(self) -> bool:
        """Whether nothing has come for long."""
        return self._waited > (IDLE_TIMEOUT_SECONDS if self._size else FIRST_BYTE_TIMEOUT_SECONDS)


def preload_layers(
    bundle: Bundle, engine: Engine, staging: Staging, incoming_blobs: IncomingBlobs, progress: ProgressCallback
) -> None:
    """Loads layers as they come, until all are there or no more comes. The images themselves are C(load_bundle)'s."""
    for image in bundle.images:
        facts = engine.read_facts(str(staging.root)).include_preloaded(staging.directory.name)
        if plan_load(Bundle((image,)), facts)[0].action != "load":
            continue
        missing = list(list_missing_layers(image, facts.chain_ids))
        while missing:
            if incoming_blobs.has_ended():
                return
            available = list(takewhile(lambda layer: incoming_blobs.is_intact(layer.blob.digest), missing))
            is_small = sum(staging.get_size(layer.blob.digest) for layer in available) < MIN_PRELOAD_BYTES
            if len(available) == len(missing) and (is_small or image is bundle.images[-1]):
                break
            if is_small:
                incoming_blobs.wait()
                continue
            engine.load(_build_archive(image, available, missing, staging), progress)
            del missing[: len(available)]


@contextmanager
def preload_in_background(
    bundle: Bundle, engine: Engine, staging: Staging, verified: Collection[str], progress: ProgressCallback
) -> Iterator[list[str]]:
    """Does that in a thread beside what is done meanwhile, which fetches blobs.

    Gives what failed, in words; it is done, or fails again, by the load that follows.
    """
    fetched = FetchedBlobs(verified)
    errors: list[str] = []

    def run_preload() -> None:
        try:
            preload_layers(bundle, engine, staging, fetched, progress)
        except ImageError as error:
            errors.append(str(error))
        except Exception as error:
            # In a thread nobody else would tell of a fault of ours.
            errors.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=run_preload)
    thread.start()
    try:
        yield errors
    finally:
        fetched.end()
        thread.join()


def remove_preloaded(engine: Engine, staging: Staging) -> Optional[str]:
    """Removes what was loaded ahead, for this transfer or for one whose folder is gone. What is left, in words."""
    try:
        for image, directory in engine.list_preloaded():
            # One that somebody has given a name is theirs.
            is_abandoned = is_staging_name(os.path.basename(directory)) and _is_missing(directory)
            if not image.names and (is_abandoned or directory == str(staging.directory)):
                engine.remove(image)
    except EngineError as error:
        return (
            f"Layers may be left that were loaded ahead (images without a name, with the label {PRELOADED_LABEL}); the "
            f"next transfer of these images to this host removes them: {error}"
        )
    return None


def _is_missing(directory: str) -> bool:
    try:
        os.stat(directory)
    except OSError as error:
        # Where we may not look it may be at work.
        return error.errno == errno.ENOENT
    return False


def _build_archive(
    image: BundleImage, available: Sequence[Layer], missing: Sequence[Layer], staging: Staging
) -> ImageArchive:
    """An archive of the image that ends with the last of C(here)."""
    layers = image.layers[: len(image.layers) - len(missing) + len(available)]
    operating_system, architecture, *variant = image.platform.split("/")
    config = json.dumps(
        {
            "os": operating_system,
            "architecture": architecture,
            **({"variant": variant[0]} if variant else {}),
            "config": {"Labels": {PRELOADED_LABEL: str(staging.directory)}},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }
    ).encode()
    digest = "sha256:" + hashlib.sha256(config).hexdigest()
    partial_image = BundleImage(
        image.reference, image.tag, image.platform, None, Blob(digest, len(config), DOCKER_CONFIG), layers
    )
    return ImageArchive(
        partial_image, {layer.blob.digest: staging.get_path(layer.blob.digest) for layer in available}, config
    )
