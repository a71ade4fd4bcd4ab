# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs to transfer: the requests of the controller, and where a source host reads the bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Optional, Protocol

from .http.body import Readable
from .model import parse_digest
from .staging import Staging


@dataclass(frozen=True)
class TransferRequest:
    """A request to make: a whole blob (C(number) 0) or one part of an upload, and its presigned URL."""

    digest: str
    media_type: str
    number: int
    offset: int
    length: int
    url: str = field(repr=False)
    headers: Mapping[str, str]
    reference: str

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> TransferRequest:
        return cls(
            parse_digest(value["digest"], "work.transfers.digest"),
            str(value["media_type"]),
            int(value["number"]),
            int(value["offset"]),
            int(value["length"]),
            str(value["url"]),
            {str(name): str(content) for name, content in (value.get("headers") or {}).items()},
            str(value["reference"]),
        )


@dataclass(frozen=True)
class BlobDescriptor:
    """A blob to push: its size (None until the source knows it), media type, and the reference of an image with it."""

    digest: str
    size: Optional[int]
    media_type: str
    reference: str


class BlobSource(Protocol):
    """Where a source host reads a blob: its registry, or its staging directory."""

    def open(self, transfer: TransferRequest) -> AbstractContextManager[Readable]:
        """Opens the bytes of one request: the whole blob, or the part from its offset on."""

    def iter_available(self, blobs: Sequence[BlobDescriptor]) -> Iterable[Optional[BlobDescriptor]]:
        """Yields the blobs as they become available, with their sizes; None from time to time while it waits."""
        return blobs


class StagedBlobSource(BlobSource):
    """Blobs in the staging directory, extracted from an engine's archive."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging

    @contextmanager
    def open(self, transfer: TransferRequest) -> Iterator[Readable]:
        with open(self._staging.get_path(transfer.digest), "rb") as file:
            file.seek(transfer.offset)
            yield file
