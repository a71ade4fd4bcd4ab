# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs that are sent on while an engine writes them: in its order, to the last byte, and not if they are wrong."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image import growing_blobs as arrivals_module
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.growing_blobs import GrowingBlobs
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from ansible_collections.daytwo.aws.plugins.module_utils._image.transfer import BlobDescriptor, TransferRequest

DATA = b"0123456789"
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
OTHER = "sha256:" + "0" * 64


def nothing() -> None:
    pass


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Staging]:
    monkeypatch.setattr(arrivals_module, "_POLL_SECONDS", 0.01)
    made = Staging(str(tmp_path / "root"), "saved-" + "0" * 20)
    with made.hold_lock():
        yield made


def asked(offset: int = 0) -> TransferRequest:
    return TransferRequest(DIGEST, "layer", 1, offset, len(DATA) - offset, "", {}, "app:v1")


def piece(digest: str, size: Optional[int] = None) -> BlobDescriptor:
    return BlobDescriptor(digest, size, "layer", "app:v1")


def write(staging: Staging, data: bytes) -> Path:
    path = staging.get_incoming_path()
    path.write_bytes(data)
    return path


def aside(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_blob_is_read_while_it_grows_and_its_last_byte_when_it_is_proved(staging: Staging) -> None:
    arrivals = GrowingBlobs(staging, nothing)
    path = write(staging, DATA[:4])
    arrivals.begin_blob(DIGEST, path, len(DATA))
    arrivals.grow_blob(DIGEST, 4)
    assert list(arrivals.iter_available([piece(DIGEST)])) == [piece(DIGEST, len(DATA))]
    with arrivals.open(asked(1)) as reader:
        assert reader.read(100) == DATA[1:4]
        path.write_bytes(DATA)
        arrivals.grow_blob(DIGEST, len(DATA))
        assert reader.read(100) == DATA[4:-1], "all is written, but its digest is not known yet"
        last: list[bytes] = []
        thread = aside(lambda: last.append(reader.read(100)))
        thread.join(0.2)
        assert last == []
        path.replace(staging.get_path(DIGEST))
        arrivals.finish_blob(DIGEST)
        thread.join(10)
        assert last == [DATA[-1:]]
        assert reader.read(100) == b""
    with arrivals.open(asked(8)) as reader:
        assert reader.read(100) == DATA[8:], "what is complete is read as it stands"


def test_what_is_not_what_its_name_says_never_ends(staging: Staging) -> None:
    arrivals = GrowingBlobs(staging, nothing)
    path = write(staging, b"987654321x")
    arrivals.begin_blob(DIGEST, path, len(DATA))
    arrivals.grow_blob(DIGEST, len(DATA))
    with arrivals.open(asked()) as reader:
        assert len(reader.read(100)) == len(DATA) - 1
        path.unlink()
        arrivals.finish_blob(DIGEST)
        with pytest.raises(ImageError, match=r"the engine gave other content under this digest"):
            reader.read(100)


def test_one_that_is_in_its_place_but_not_yet_settled_is_read(staging: Staging) -> None:
    """A small layer is written whole between the moment it is told of and the moment it is opened."""
    arrivals = GrowingBlobs(staging, nothing)
    path = write(staging, DATA)
    arrivals.begin_blob(DIGEST, path, len(DATA))
    arrivals.grow_blob(DIGEST, len(DATA))
    path.replace(staging.get_path(DIGEST))
    with arrivals.open(asked()) as reader:
        assert reader.read(100) == DATA[:-1]
        arrivals.finish_blob(DIGEST)
        assert reader.read(100) == DATA[-1:]


@pytest.mark.parametrize("settled", [False, True])
def test_one_that_was_found_wrong_before_it_is_opened_is_told_as_that(staging: Staging, settled: bool) -> None:
    arrivals = GrowingBlobs(staging, nothing)
    path = write(staging, b"987654321x")
    arrivals.begin_blob(DIGEST, path, len(DATA))
    path.unlink()
    order = arrivals.iter_available([piece(OTHER), piece(DIGEST)])
    staging.get_path(OTHER).write_bytes(b"x")
    if settled:
        assert next(order) == piece(OTHER, 1)
        arrivals.finish_blob(DIGEST)
        with pytest.raises(ImageError, match=r"the engine gave other content under this digest"):
            next(order)  # not 0 bytes, which would be a blob on the target
    with pytest.raises(ImageError, match=r"the engine gave other content under this digest"):  # noqa: SIM117
        with arrivals.open(asked()):
            pass


def test_blobs_come_in_the_order_of_the_engine_and_waiting_is_told(staging: Staging) -> None:
    arrivals = GrowingBlobs(staging, nothing)
    order = arrivals.iter_available([piece(DIGEST), piece(OTHER)])
    assert next(order) is None
    staging.get_path(OTHER).write_bytes(b"x")
    arrivals.finish_blob(OTHER)
    assert next(order) == piece(OTHER, 1)
    assert next(order) is None
    arrivals.begin_blob(DIGEST, write(staging, b""), len(DATA))
    assert next(order) == piece(DIGEST, len(DATA))
    assert list(order) == []


def test_an_engine_that_fails_fails_those_that_wait(staging: Staging) -> None:
    arrivals = GrowingBlobs(staging, nothing)
    staging.get_path(OTHER).write_bytes(b"x")
    arrivals.begin_blob(DIGEST, write(staging, b""), len(DATA))
    with arrivals.open(asked()) as reader:
        arrivals.end(ImageError("docker broke off"))
        with pytest.raises(ImageError, match="docker broke off"):
            reader.read(100)
    arrivals.finish_blob(DIGEST)
    order = arrivals.iter_available([piece(DIGEST), piece(OTHER)])
    assert next(order) == piece(OTHER, 1), "what came until then is given"
    with pytest.raises(ImageError, match="docker broke off"):
        next(order)


def test_whoever_waits_ends_when_it_is_called_off(staging: Staging) -> None:
    def off() -> None:
        raise ImageError("called off")

    arrivals = GrowingBlobs(staging, off)
    with pytest.raises(ImageError, match="called off"):
        next(arrivals.iter_available([piece(DIGEST)]))
