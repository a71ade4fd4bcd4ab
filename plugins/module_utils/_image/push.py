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

from .errors import ImageError, format_disk_error
from .model import Bundle
from .staging import Staging, open_private
from .worker import BackgroundJob, JobState

if TYPE_CHECKING:
    from .engine import ProgressCallback
    from .growing_blobs import GrowingBlobs
    from .run_command import RunCommand
    from .source import EngineSource, RequestedImage
    from .throttle import Throttle
    from .transfer import BlobSource

# The role asks all targets of a batch for permission in between; a minute or two is long for that.
AUTHORIZATION_TIMEOUT_SECONDS = 120.0
_ERROR_READ_SECONDS = 5.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class EngineExport:
    """What an engine is to write, and C(digests) of that which are wanted."""

    source: EngineSource
    images: Sequence[RequestedImage]
    digests: Sequence[str]

    def begin(
        self, growing_blobs: GrowingBlobs, raise_if_stopped: Callable[[], None], progress: ProgressCallback
    ) -> None:
        """Has the engine write in a thread of its own, as long as C(check) does not raise."""

        def report_progress(activity: str, bytes_done: int, bytes_total: int) -> None:
            raise_if_stopped()
            progress(activity, bytes_done, bytes_total)

        def run_export() -> None:
            try:
                self.source.stage(self.images, self.digests, growing_blobs.staging, report_progress, growing_blobs)
                growing_blobs.end()
            except ImageError as error:
                growing_blobs.end(error)
            except OSError as error:
                growing_blobs.end(ImageError(f"on the source: {format_disk_error(error)}"))
            except Exception as error:
                # Whoever waits must learn of a fault of ours, too.
                growing_blobs.end(ImageError(f"unexpected {type(error).__name__}: {error}"))

        # An engine that says nothing must not keep this process from ending.
        threading.Thread(target=run_export, daemon=True).start()


class PushSession:
    """One run's push, named by its token; two runs from one source do not meet."""

    def __init__(self, root: str, token: Optional[str]) -> None:
        if not token or not re.fullmatch(r"[0-9a-f]{32}", token):
            raise ImageError("work.token: is missing.")
        self._token = token
        self._staging = Staging(root, f"push-{token}")
        self._public_key_path = self._staging.directory / "key.public"
        self._authorizations_path = self._staging.directory / "authorizations.json"

    def start(
        self,
        bundle: Bundle,
        source: Union[BlobSource, EngineExport],
        blob_staging: Staging,
        throttle: Throttle,
        run: RunCommand,
    ) -> str:
        """Starts the process and returns its public key. It has an engine write at once, before there is a grant."""
        from .growing_blobs import GrowingBlobs
        from .ssh import EphemeralKey, PushAuthorization, choose_fast_ciphers, push
        from .transfer import BlobDescriptor

        blobs = {
            blob.digest: BlobDescriptor(blob.digest, blob.size, blob.media_type, image.reference)
            for image in bundle.images
            for blob in image.list_blobs()
        }

        job = BackgroundJob(self._staging.directory)

        def run_push(report_state: ProgressCallback) -> dict[str, Any]:
            report_watched = job.add_idle_timeout(report_state)

            def report_progress(activity: str, bytes_done: int, bytes_total: int) -> None:
                self._raise_if_stopped()
                report_watched(activity, bytes_done, bytes_total)

            key = EphemeralKey(self._staging.directory, run)
            try:
                # What was exported must stay until it has been read, whatever another run of the same images removes.
                with blob_staging.hold_lock():
                    _write_atomically(self._public_key_path, key.public_key)
                    growing_blobs = GrowingBlobs(blob_staging, self._raise_if_stopped)
                    if isinstance(source, EngineExport):
                        source.begin(growing_blobs, self._raise_if_stopped, report_progress)
                    blob_source = growing_blobs if isinstance(source, EngineExport) else source
                    ciphers = choose_fast_ciphers(run)  # while the targets are asked for permission
                    authorizations = [PushAuthorization.parse(entry) for entry in self._wait_for_authorizations()]
                    outcomes = push(
                        authorizations, blobs, blob_source, key, self._staging, throttle, report_progress, run, ciphers
                    )
                    staged_sizes = {
                        blob.digest: blob_staging.get_size(blob.digest)
                        for blob in bundle.list_blobs()
                        if blob.size is None
                    }
            finally:
                key.close()
            sizes = {digest: size for digest, size in staged_sizes.items() if blob_staging.is_complete(digest)}
            return {"pushed": [asdict(outcome) for outcome in outcomes], "sizes": sizes}

        self._staging.create()
        state = job.advance(self._token, run_push, 0, on_finish=lambda: self._clean_up(blob_staging))
        while not self._public_key_path.exists():
            if state.status != "running":
                self.remove()  # it has told why, and need not wait
                raise ImageError(f"transport: the source cannot begin: {state.error}")
            state = job.poll(_POLL_SECONDS)
        return self._public_key_path.read_text()

    def advance(self, authorizations: Sequence[Mapping[str, Any]], seconds: float, retry: bool = False) -> JobState:
        """Hands over the grants, once, and says how far the push is.

        C(again): the answer to this very call was lost. If it told the outcome, that is lost with it, and each target
        finds out for itself what it has.
        """
        if not self._staging.exists():
            if retry:
                return JobState(self._token or "", "done", result={"pushed": []})
            raise ImageError(
                f"The source waited {AUTHORIZATION_TIMEOUT_SECONDS:.0f} seconds for the targets' permission and has gone. Run again; "
                "with very many targets, in batches ('serial')."
            )
        if authorizations and not self._authorizations_path.exists():
            _write_atomically(self._authorizations_path, json.dumps(authorizations))
        return BackgroundJob(self._staging.directory).poll(seconds)

    def remove(self) -> None:
        """Ends the process at its next look; it takes the folder away. One that was killed cannot."""
        if not self._staging.exists():
            return
        if BackgroundJob(self._staging.directory).is_running():
            with suppress(FileNotFoundError):  # it has just gone by itself
                (self._staging.directory / "stop").touch(mode=0o600)
        else:
            self._staging.remove()

    def _raise_if_stopped(self) -> None:
        if self._is_stopped():
            raise ImageError("the controller has called the push off")

    def _is_stopped(self) -> bool:
        return (self._staging.directory / "stop").exists()

    def _wait_for_authorizations(self) -> list[dict[str, Any]]:
        deadline = time.monotonic() + AUTHORIZATION_TIMEOUT_SECONDS
        while not self._authorizations_path.exists():
            if self._is_stopped() or time.monotonic() > deadline:
                raise ImageError(f"the targets gave no permission within {AUTHORIZATION_TIMEOUT_SECONDS:.0f} seconds")
            time.sleep(_POLL_SECONDS)
        authorizations: list[dict[str, Any]] = json.loads(self._authorizations_path.read_text())
        return authorizations

    def _clean_up(self, blob_staging: Staging) -> None:
        """Keeps the outcome until it has been read, if anybody has come back at all; then leaves nothing."""
        # Without a key, the call that started this process is still to read why.
        timeout = (
            AUTHORIZATION_TIMEOUT_SECONDS
            if self._authorizations_path.exists()
            else 0.0
            if self._public_key_path.exists()
            else _ERROR_READ_SECONDS
        )
        deadline = time.monotonic() + timeout
        while not self._is_stopped() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        blob_staging.remove()
        self._staging.remove()


def _write_atomically(path: Path, text: str) -> None:
    temporary_path = path.with_suffix(".new")
    with open(temporary_path, "w", opener=open_private) as file:
        file.write(text)
    os.replace(temporary_path, path)
