# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process on the source that makes the key, waits for the targets' permission, pushes, and goes.

It lives from the offer to the end of the push, so that the key is in its memory only. When nobody comes back to it, for
the controller was killed, it goes by itself and takes its folder along.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from .errors import ImageError, disk_words
from .model import Bundle
from .staging import Staging, private_opener
from .worker import Job, JobState

if TYPE_CHECKING:
    from .arrivals import Arrivals
    from .engine import Progress
    from .run import Run
    from .source import EngineSource, WantedImage
    from .throttle import Throttle
    from .transfer import BlobSource

# The role asks all targets of a batch for permission in between; a minute or two is long for that.
WAIT_SECONDS = 120.0
_TELL_SECONDS = 5.0
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Export:
    """What an engine is to write, and C(digests) of that which are wanted."""

    source: EngineSource
    images: Sequence[WantedImage]
    digests: Sequence[str]

    def begin(self, arrivals: Arrivals, check: Callable[[], None], progress: Progress) -> None:
        """Has the engine write in a thread of its own, as long as C(check) does not raise."""

        def tell(doing: str, done: int, in_all: int) -> None:
            check()
            progress(doing, done, in_all)

        def work() -> None:
            try:
                self.source.stage(self.images, self.digests, arrivals.staging, tell, arrivals)
                arrivals.end()
            except ImageError as error:
                arrivals.end(error)
            except OSError as error:
                arrivals.end(ImageError(f"on the source: {disk_words(error)}"))
            except Exception as error:
                # Whoever waits must learn of a fault of ours, too.
                arrivals.end(ImageError(f"unexpected {type(error).__name__}: {error}"))

        # An engine that says nothing must not keep this process from ending.
        threading.Thread(target=work, daemon=True).start()


class PushFolder:
    """One run's push, named by its token; two runs from one source do not meet."""

    def __init__(self, root: str, token: Optional[str]) -> None:
        if not token or not re.fullmatch(r"[0-9a-f]{32}", token):
            raise ImageError("work.token: is missing.")
        self._token = token
        self._staging = Staging(root, f"push-{token}")
        self._public = self._staging.folder / "key.public"
        self._grants = self._staging.folder / "grants.json"

    def start(
        self,
        bundle: Bundle,
        source: Union[BlobSource, Export],
        blobs: Staging,
        throttle: Throttle,
        run: Run,
    ) -> str:
        """Starts the process and returns its public key. It has an engine write at once, before there is a grant."""
        from .arrivals import Arrivals
        from .ssh import EphemeralKey, Grant, push, quick_ciphers
        from .transfer import Piece

        pieces = {
            blob.digest: Piece(blob.digest, blob.size, blob.media_type, image.reference)
            for image in bundle.images
            for blob in image.blobs()
        }

        job = Job(self._staging.folder)

        def work(show: Progress) -> dict[str, Any]:
            watched = job.watched(show)

            def progress(doing: str, done: int, in_all: int) -> None:
                self._go_on()
                watched(doing, done, in_all)

            key = EphemeralKey(self._staging.folder, run)
            try:
                # What was exported must stay until it has been read, whatever another run of the same images removes.
                with blobs.in_use():
                    _publish(self._public, key.public)
                    arrivals = Arrivals(blobs, self._go_on)
                    if isinstance(source, Export):
                        source.begin(arrivals, self._go_on, progress)
                    giving = arrivals if isinstance(source, Export) else source
                    ciphers = quick_ciphers(run)  # while the targets are asked for permission
                    grants = [Grant.parse(entry) for entry in self._wait()]
                    pushed = push(grants, pieces, giving, key, self._staging, throttle, progress, run, ciphers)
                    known = {blob.digest: blobs.size(blob.digest) for blob in bundle.blobs() if blob.size is None}
            finally:
                key.close()
            sizes = {digest: size for digest, size in known.items() if blobs.complete(digest)}
            return {"pushed": [asdict(outcome) for outcome in pushed], "sizes": sizes}

        self._staging.create()
        state = job.advance(self._token, work, 0, afterwards=lambda: self._leave(blobs))
        while not self._public.exists():
            if state.state != "running":
                self.remove()  # it has told why, and need not wait
                raise ImageError(f"transport: the source cannot begin: {state.error}")
            state = job.poll(_LOOK_SECONDS)
        return self._public.read_text()

    def advance(self, grants: Sequence[Mapping[str, Any]], seconds: float, again: bool = False) -> JobState:
        """Hands over the grants, once, and says how far the push is.

        C(again): the answer to this very call was lost. If it told the outcome, that is lost with it, and each target
        finds out for itself what it has.
        """
        if not self._staging.exists():
            if again:
                return JobState(self._token or "", "done", result={"pushed": []})
            raise ImageError(
                f"The source waited {WAIT_SECONDS:.0f} seconds for the targets' permission and has gone. Run again; "
                "with very many targets, in batches ('serial')."
            )
        if grants and not self._grants.exists():
            _publish(self._grants, json.dumps(grants))
        return Job(self._staging.folder).poll(seconds)

    def remove(self) -> None:
        """Ends the process at its next look; it takes the folder away. One that was killed cannot."""
        if not self._staging.exists():
            return
        if Job(self._staging.folder).running():
            with suppress(FileNotFoundError):  # it has just gone by itself
                (self._staging.folder / "stop").touch(mode=0o600)
        else:
            self._staging.remove()

    def _go_on(self) -> None:
        if self._stopped():
            raise ImageError("the controller has called the push off")

    def _stopped(self) -> bool:
        return (self._staging.folder / "stop").exists()

    def _wait(self) -> list[dict[str, Any]]:
        deadline = time.monotonic() + WAIT_SECONDS
        while not self._grants.exists():
            if self._stopped() or time.monotonic() > deadline:
                raise ImageError(f"the targets gave no permission within {WAIT_SECONDS:.0f} seconds")
            time.sleep(_LOOK_SECONDS)
        grants: list[dict[str, Any]] = json.loads(self._grants.read_text())
        return grants

    def _leave(self, blobs: Staging) -> None:
        """Keeps the outcome until it has been read, if anybody has come back at all; then leaves nothing."""
        # Without a key, the call that started this process is still to read why.
        patience = WAIT_SECONDS if self._grants.exists() else 0.0 if self._public.exists() else _TELL_SECONDS
        deadline = time.monotonic() + patience
        while not self._stopped() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        blobs.remove()
        self._staging.remove()


def _publish(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    with open(new, "w", opener=private_opener) as file:
        file.write(text)
    os.replace(new, path)
