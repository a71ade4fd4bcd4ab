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

from .archive import LoadArchive
from .engine import AHEAD_LABEL, Engine, EngineError, Progress
from .errors import ImageError
from .model import DOCKER_CONFIG, Blob, Bundle, Image, Layer
from .plan import lacking_layers, plan_load
from .staging import Staging, is_ours

# An engine takes about a tenth of a second for an image, however small: less than this is not worth it.
LEAST = 8 * 1024 * 1024
# After so long without a byte nobody sends any more. The first may take longer: the source pushes to other targets, or
# waits for an engine.
PATIENCE_SECONDS = 120.0
FIRST_SECONDS = 900.0
_LOOK_SECONDS = 0.1


class Arriving(Protocol):
    """Blobs that come into a staging folder."""

    def intact(self, digest: str) -> bool:
        """Whether this one is there, with its digest. Raises ImageError where it will not be."""

    def wait(self) -> None:
        """Waits a moment for more."""

    def ended(self) -> bool:
        """Whether no more comes, or what is there is for somebody else to load."""


class Fetched:
    """Blobs that other threads fetch. C(verified) gets those that are there."""

    def __init__(self, verified: Collection[str]) -> None:
        self._verified = verified
        self._ended = threading.Event()

    def end(self) -> None:
        self._ended.set()

    def intact(self, digest: str) -> bool:
        return digest in self._verified

    def wait(self) -> None:
        self._ended.wait(_LOOK_SECONDS)

    def ended(self) -> bool:
        return self._ended.is_set()


class Pushed:
    """Blobs that another process puts there. C(stopped): whether somebody has asked us to end."""

    def __init__(self, staging: Staging, digests: Collection[str], stopped: Callable[[], bool]) -> None:
        self._staging = staging
        self._digests = digests
        self._stopped = stopped
        self._intact: set[str] = set()
        self._size, self._waited = 0, 0.0

    def intact(self, digest: str) -> bool:
        if digest not in self._intact and self._staging.complete(digest):
            if not self._staging.matches(digest):
                raise ImageError(f"{digest} is damaged")
            self._intact.add(digest)
        return digest in self._intact

    def wait(self) -> None:
        time.sleep(_LOOK_SECONDS)
        size = sum(map(self._staging.size, self._digests))
        self._size, self._waited = size, 0.0 if size != self._size else self._waited + _LOOK_SECONDS

    def ended(self) -> bool:
        return self._stopped() or self.given_up()

    def given_up(self) -> bool:
        """Whether nothing has come for long."""
        return self._waited > (PATIENCE_SECONDS if self._size else FIRST_SECONDS)


def load_ahead(bundle: Bundle, engine: Engine, staging: Staging, arriving: Arriving, progress: Progress) -> None:
    """Loads layers as they come, until all are there or no more comes. The images themselves are C(load_bundle)'s."""
    for image in bundle.images:
        facts = engine.facts(str(staging.root)).with_ahead(staging.folder.name)
        if plan_load(Bundle((image,)), facts)[0].action != "load":
            continue
        lacking = list(lacking_layers(image, facts.chain_ids))
        while lacking:
            if arriving.ended():
                return
            here = list(takewhile(lambda layer: arriving.intact(layer.blob.digest), lacking))
            small = sum(staging.size(layer.blob.digest) for layer in here) < LEAST
            if len(here) == len(lacking) and (small or image is bundle.images[-1]):
                break
            if small:
                arriving.wait()
                continue
            engine.load(_archive(image, here, lacking, staging), progress)
            del lacking[: len(here)]


@contextmanager
def loading_ahead(
    bundle: Bundle, engine: Engine, staging: Staging, verified: Collection[str], progress: Progress
) -> Iterator[list[str]]:
    """Does that in a thread beside what is done meanwhile, which fetches blobs.

    Gives what failed, in words; it is done, or fails again, by the load that follows.
    """
    fetched = Fetched(verified)
    problems: list[str] = []

    def work() -> None:
        try:
            load_ahead(bundle, engine, staging, fetched, progress)
        except ImageError as error:
            problems.append(str(error))
        except Exception as error:
            # In a thread nobody else would tell of a fault of ours.
            problems.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield problems
    finally:
        fetched.end()
        thread.join()


def remove_ahead(engine: Engine, staging: Staging) -> Optional[str]:
    """Removes what was loaded ahead, for this transfer or for one whose folder is gone. What is left, in words."""
    try:
        for image, folder in engine.ahead():
            # One that somebody has given a name is theirs.
            abandoned = is_ours(os.path.basename(folder)) and _is_gone(folder)
            if not image.names and (abandoned or folder == str(staging.folder)):
                engine.remove(image)
    except EngineError as error:
        return (
            f"Layers may be left that were loaded ahead (images without a name, with the label {AHEAD_LABEL}); the "
            f"next transfer of these images to this host removes them: {error}"
        )
    return None


def _is_gone(folder: str) -> bool:
    try:
        os.stat(folder)
    except OSError as error:
        # Where we may not look it may be at work.
        return error.errno == errno.ENOENT
    return False


def _archive(image: Image, here: Sequence[Layer], lacking: Sequence[Layer], staging: Staging) -> LoadArchive:
    """An archive of the image that ends with the last of C(here)."""
    layers = image.layers[: len(image.layers) - len(lacking) + len(here)]
    system, architecture, *variant = image.platform.split("/")
    config = json.dumps(
        {
            "os": system,
            "architecture": architecture,
            **({"variant": variant[0]} if variant else {}),
            "config": {"Labels": {AHEAD_LABEL: str(staging.folder)}},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }
    ).encode()
    digest = "sha256:" + hashlib.sha256(config).hexdigest()
    part = Image(image.reference, image.tag, image.platform, None, Blob(digest, len(config), DOCKER_CONFIG), layers)
    return LoadArchive(part, {layer.blob.digest: staging.path(layer.blob.digest) for layer in here}, config)
