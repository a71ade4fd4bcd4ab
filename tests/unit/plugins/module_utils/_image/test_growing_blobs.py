# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs that are sent while an engine exports them: in its order, to the last byte, and not if they are damaged."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image import growing_blobs
from ansible_collections.daytwo.aws.plugins.module_utils._image.blobs import BlobDescriptor, TransferRequest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.growing_blobs import GrowingBlobs
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging

DATA = b"0123456789"
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
OTHER = "sha256:" + "0" * 64


def nothing() -> None:
    pass


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Staging]:
    monkeypatch.setattr(growing_blobs, "_POLL_SECONDS", 0.01)
    made = Staging(str(tmp_path / "root"), "saved-" + "0" * 20)
    with made.hold_lock():
        yield made


def request(offset: int = 0) -> TransferRequest:
    return TransferRequest(DIGEST, "layer", 1, offset, len(DATA) - offset, "", {}, "app:v1")


def descriptor(digest: str, size: Optional[int] = None) -> BlobDescriptor:
    return BlobDescriptor(digest, size, "layer", "app:v1")


def write(staging: Staging, data: bytes) -> Path:
    path = staging.get_incoming_path()
    path.write_bytes(data)
    return path


def aside(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_blob_is_read_while_it_grows_and_its_last_byte_when_it_is_verified(staging: Staging) -> None:
    growing = GrowingBlobs(staging, nothing)
    path = write(staging, DATA[:4])
    growing.begin_blob(DIGEST, path, len(DATA))
    growing.grow_blob(DIGEST, 4)
    assert list(growing.iter_available([descriptor(DIGEST)])) == [descriptor(DIGEST, len(DATA))]
    with growing.open(request(1)) as reader:
        assert reader.read(100) == DATA[1:4]
        path.write_bytes(DATA)
        growing.grow_blob(DIGEST, len(DATA))
        assert reader.read(100) == DATA[4:-1], "all is written, but its digest is not known yet"
        last: list[bytes] = []
        thread = aside(lambda: last.append(reader.read(100)))
        thread.join(0.2)
        assert last == []
        path.replace(staging.get_path(DIGEST))
        growing.finish_blob(DIGEST)
        thread.join(10)
        assert last == [DATA[-1:]]
        assert reader.read(100) == b""
    with growing.open(request(8)) as reader:
        assert reader.read(100) == DATA[8:], "what is complete is read as it stands"


def test_content_of_another_digest_never_ends(staging: Staging) -> None:
    growing = GrowingBlobs(staging, nothing)
    path = write(staging, b"987654321x")
    growing.begin_blob(DIGEST, path, len(DATA))
    growing.grow_blob(DIGEST, len(DATA))
    with growing.open(request()) as reader:
        assert len(reader.read(100)) == len(DATA) - 1
        path.unlink()
        growing.finish_blob(DIGEST)
        with pytest.raises(ImageError, match=r"the source exported content that does not match this digest"):
            reader.read(100)


def test_a_published_blob_that_is_still_registered_as_growing_is_read(staging: Staging) -> None:
    """A small layer is written completely between its announcement and its opening."""
    growing = GrowingBlobs(staging, nothing)
    path = write(staging, DATA)
    growing.begin_blob(DIGEST, path, len(DATA))
    growing.grow_blob(DIGEST, len(DATA))
    path.replace(staging.get_path(DIGEST))
    with growing.open(request()) as reader:
        assert reader.read(100) == DATA[:-1]
        growing.finish_blob(DIGEST)
        assert reader.read(100) == DATA[-1:]


@pytest.mark.parametrize("settled", [False, True])
def test_a_blob_that_failed_its_digest_before_it_is_opened_is_reported(staging: Staging, settled: bool) -> None:
    growing = GrowingBlobs(staging, nothing)
    path = write(staging, b"987654321x")
    growing.begin_blob(DIGEST, path, len(DATA))
    path.unlink()
    order = growing.iter_available([descriptor(OTHER), descriptor(DIGEST)])
    staging.get_path(OTHER).write_bytes(b"x")
    if settled:
        assert next(order) == descriptor(OTHER, 1)
        growing.finish_blob(DIGEST)
        with pytest.raises(ImageError, match=r"the source exported content that does not match this digest"):
            next(order)  # not 0 bytes, which would be a blob on the target
    with pytest.raises(ImageError, match=r"the source exported content that does not match this digest"):  # noqa: SIM117
        with growing.open(request()):
            pass


def test_blobs_come_in_the_order_of_the_engine_and_waiting_is_reported(staging: Staging) -> None:
    growing = GrowingBlobs(staging, nothing)
    order = growing.iter_available([descriptor(DIGEST), descriptor(OTHER)])
    assert next(order) is None
    staging.get_path(OTHER).write_bytes(b"x")
    growing.finish_blob(OTHER)
    assert next(order) == descriptor(OTHER, 1)
    assert next(order) is None
    growing.begin_blob(DIGEST, write(staging, b""), len(DATA))
    assert next(order) == descriptor(DIGEST, len(DATA))
    assert list(order) == []


def test_an_engine_that_fails_fails_those_that_wait(staging: Staging) -> None:
    growing = GrowingBlobs(staging, nothing)
    staging.get_path(OTHER).write_bytes(b"x")
    growing.begin_blob(DIGEST, write(staging, b""), len(DATA))
    with growing.open(request()) as reader:
        growing.end(ImageError("docker broke off"))
        with pytest.raises(ImageError, match="docker broke off"):
            reader.read(100)
    growing.finish_blob(DIGEST)
    order = growing.iter_available([descriptor(DIGEST), descriptor(OTHER)])
    assert next(order) == descriptor(OTHER, 1), "what came until then is given"
    with pytest.raises(ImageError, match="docker broke off"):
        next(order)


def test_a_waiting_reader_ends_when_the_push_is_cancelled(staging: Staging) -> None:
    def off() -> None:
        raise ImageError("called off")

    growing = GrowingBlobs(staging, off)
    with pytest.raises(ImageError, match="called off"):
        next(growing.iter_available([descriptor(DIGEST)]))
