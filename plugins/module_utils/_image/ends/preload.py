# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preloads layers into the engine while the layers above them are still in transit.

An engine loads images, not layers. So the layers that have arrived are loaded as a partial image without a name: the
lowest layers, and a config with these layers only. The partial image is found again by a label. The load of the image
itself then needs only the other layers. After that load, the partial image is removed. Its layers stay, because they
belong to the image.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Callable, Optional, Protocol

from ..errors import ImageError
from ..formats.archive import ImageArchive
from ..model import DOCKER_CONFIG, Blob, Bundle, BundleImage, Layer, compute_digest
from ..plan import list_missing_layers, plan_load
from ..progress import ProgressCallback
from ..staging import Staging, is_staging_name
from .engine import PRELOADED_LABEL, Engine, EngineError

# An engine takes about 0.1 s for an image of any size, so a smaller preload saves no time.
MIN_PRELOAD_BYTES = 8 * 1024 * 1024
# After this time without a byte, the sender is gone. The first byte may take longer: the source pushes to other targets
# first, or waits for its engine.
IDLE_TIMEOUT_SECONDS = 120.0
FIRST_BYTE_TIMEOUT_SECONDS = 900.0
_POLL_SECONDS = 0.1


class IncomingBlobs(Protocol):
    """Blobs that arrive in a staging directory."""

    def is_intact(self, digest: str) -> bool:
        """Whether this blob has arrived and matches its digest. Raises ImageError where it is damaged."""

    def wait(self) -> None:
        """Waits a moment for more bytes."""

    def has_ended(self) -> bool:
        """Whether no more blobs arrive, or another process loads them."""


class FetchedBlobs:
    """Blobs that other threads fetch. They add the digest of each verified blob to C(verified)."""

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
    """Blobs that another process receives. C(should_stop): whether this process was requested to stop."""

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
        """Whether no byte arrived within the timeout."""
        return self._waited > (IDLE_TIMEOUT_SECONDS if self._size else FIRST_BYTE_TIMEOUT_SECONDS)


def preload_layers(
    bundle: Bundle, engine: Engine, staging: Staging, incoming_blobs: IncomingBlobs, progress: ProgressCallback
) -> None:
    """Loads layers as they arrive, until all are loaded or no more arrive. C(load_bundle) loads the images."""
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
    """Preloads layers in a thread while the caller fetches blobs.

    Yields the list of error messages. The load that follows loads these layers again, or fails with the same error.
    """
    fetched = FetchedBlobs(verified)
    errors: list[str] = []

    def run_preload() -> None:
        try:
            preload_layers(bundle, engine, staging, fetched, progress)
        except ImageError as error:
            errors.append(str(error))
        except Exception as error:
            # A bug in this thread must reach the result, because nobody reads the thread's own exception.
            errors.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=run_preload)
    thread.start()
    try:
        yield errors
    finally:
        fetched.end()
        thread.join()


def remove_preloaded(engine: Engine, staging: Staging) -> Optional[str]:
    """Removes preloaded layers of this transfer, and of transfers whose staging directory is gone.

    Returns an error message where something could not be removed.
    """
    try:
        for image, directory in engine.list_preloaded():
            # A partial image that an operator has named belongs to that operator.
            is_abandoned = is_staging_name(os.path.basename(directory)) and _is_missing(directory)
            if not image.names and (is_abandoned or directory == str(staging.directory)):
                engine.remove(image)
    except EngineError as error:
        return (
            f"Preloaded layers may remain on this host (images without a name, with the label {PRELOADED_LABEL}). "
            f"The next transfer of these images to this host removes them. The removal failed: {error}"
        )
    return None


def _is_missing(directory: str) -> bool:
    try:
        os.stat(directory)
    except OSError as error:
        # A directory that this user cannot read may belong to a running transfer.
        return error.errno == errno.ENOENT
    return False


def _build_archive(
    image: BundleImage, available: Sequence[Layer], missing: Sequence[Layer], staging: Staging
) -> ImageArchive:
    """Builds an archive of the image that ends with the last layer of C(available)."""
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
    digest = compute_digest(config)
    partial_image = BundleImage(
        image.reference, image.tag, image.platform, None, Blob(digest, len(config), DOCKER_CONFIG), layers
    )
    paths = {layer.blob.digest: staging.get_path(layer.blob.digest) for layer in available}
    return ImageArchive(partial_image, paths, str(staging.directory), config)
