# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The push process on the source: it makes the key, waits for the targets' authorizations, pushes, and exits.

It runs from the phase prepare_push to the end of the push, so that the private key exists only in its memory. If the
controller was killed, the process times out, removes its staging directory and exits.
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

from ..errors import ImageError, format_disk_error
from ..model import Bundle
from ..staging import Staging, open_private
from ..worker import BackgroundJob, JobState

if TYPE_CHECKING:
    from ..blobs import BlobSource
    from ..ends.source import RequestedImage, StagedSource
    from ..growing_blobs import GrowingBlobs
    from ..progress import ProgressCallback
    from ..run_command import RunCommand
    from ..throttle import Throttle

# In this time the role runs state=authorized on all targets of a batch.
AUTHORIZATION_TIMEOUT_SECONDS = 120.0
_ERROR_READ_SECONDS = 5.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class EngineExport:
    """The images that an engine exports, and the C(digests) of the blobs to push."""

    source: StagedSource
    images: Sequence[RequestedImage]
    digests: Sequence[str]

    def begin(
        self, growing_blobs: GrowingBlobs, raise_if_stopped: Callable[[], None], progress: ProgressCallback
    ) -> None:
        """Starts the export in a thread of its own. It ends early when C(raise_if_stopped) raises."""

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
                # The reading threads must learn of a bug, too.
                growing_blobs.end(ImageError(f"unexpected {type(error).__name__}: {error}"))

        # A daemon thread: an engine that hangs must not keep this process alive.
        threading.Thread(target=run_export, daemon=True).start()


class PushSession:
    """The push of one run, identified by its token, so that two runs from one source do not interfere."""

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
        """Starts the push process and returns its public key. An engine's export starts before any authorization."""
        from ..blobs import BlobDescriptor
        from ..growing_blobs import GrowingBlobs
        from .ssh import EphemeralKey, PushAuthorization, choose_fast_ciphers, push

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
                # The lock keeps another run of the same images from removing exported blobs that are not sent yet.
                with blob_staging.hold_lock():
                    _write_atomically(self._public_key_path, key.public_key)
                    growing_blobs = GrowingBlobs(blob_staging, self._raise_if_stopped)
                    if isinstance(source, EngineExport):
                        source.begin(growing_blobs, self._raise_if_stopped, report_progress)
                    blob_source = growing_blobs if isinstance(source, EngineExport) else source
                    ciphers = choose_fast_ciphers(run)  # while the targets authorize the key
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
                self.remove()  # the error has been read, so the process need not wait
                raise ImageError(f"transport: the source cannot start the push: {state.error}")
            state = job.poll(_POLL_SECONDS)
        return self._public_key_path.read_text()

    def advance(self, authorizations: Sequence[Mapping[str, Any]], seconds: float, retry: bool = False) -> JobState:
        """Hands over the authorizations, once, and returns the state of the push.

        C(retry): the response to the same call was lost. If that response held the outcome, the outcome is lost too,
        and each target checks by itself what it has.
        """
        if not self._staging.exists():
            if retry:
                return JobState(self._token or "", "done", result={"pushed": []})
            raise ImageError(
                "transport: the push process on the source has exited, because the targets' authorizations did not "
                f"arrive within {AUTHORIZATION_TIMEOUT_SECONDS:.0f} seconds. Run again. With very many targets, use "
                "batches ('serial')."
            )
        if authorizations and not self._authorizations_path.exists():
            _write_atomically(self._authorizations_path, json.dumps(authorizations))
        return BackgroundJob(self._staging.directory).poll(seconds)

    def remove(self) -> None:
        """Requests the process to stop; it removes its staging directory. For a killed process, removes it here."""
        if not self._staging.exists():
            return
        if BackgroundJob(self._staging.directory).is_running():
            with suppress(FileNotFoundError):  # the process has just exited
                (self._staging.directory / "stop").touch(mode=0o600)
        else:
            self._staging.remove()

    def _raise_if_stopped(self) -> None:
        if self._is_stopped():
            raise ImageError("the controller cancelled the push")

    def _is_stopped(self) -> bool:
        return (self._staging.directory / "stop").exists()

    def _wait_for_authorizations(self) -> list[dict[str, Any]]:
        deadline = time.monotonic() + AUTHORIZATION_TIMEOUT_SECONDS
        while not self._authorizations_path.exists():
            if self._is_stopped() or time.monotonic() > deadline:
                raise ImageError(
                    f"the targets' authorizations did not arrive within {AUTHORIZATION_TIMEOUT_SECONDS:.0f} seconds"
                )
            time.sleep(_POLL_SECONDS)
        authorizations: list[dict[str, Any]] = json.loads(self._authorizations_path.read_text())
        return authorizations

    def _clean_up(self, blob_staging: Staging) -> None:
        """Keeps the outcome until the controller has read it or the timeout expires; then removes all files."""
        # Without a key, the call that started this process still has to read the error.
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
