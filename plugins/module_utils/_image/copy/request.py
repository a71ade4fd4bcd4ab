# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a copy between registries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..errors import ImageError
from ..formats.reference import ImagePlatform, ImageReference

ALL_PLATFORMS = "all"
_NO_DIGEST = "@sha256:" + "0" * 64


@dataclass(frozen=True)
class CopyRequest:
    """An image to copy. The destination has a tag, or it has the digest of a source without a tag."""

    source: ImageReference
    destination: ImageReference

    @property
    def name(self) -> str:
        return str(self.source)

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> CopyRequest:
        source = ImageReference.parse(str(entry["name"]))
        text = str(entry["to"])
        destination = ImageReference.parse(text)
        if destination.digest:
            raise ImageError(f"images: to {text!r} has a digest. Name a repository with an optional tag.")
        if ImageReference.parse(text + _NO_DIGEST).tag is None:
            # Without a tag, it is copied under the tag, or else under the digest, of the source.
            digest = None if source.tag else source.digest
            destination = ImageReference(destination.host, destination.path, source.tag, digest)
        return cls(source, destination)


def parse_copy_requests(entries: Sequence[Mapping[str, Any]]) -> tuple[CopyRequest, ...]:
    """Parses all entries, or raises an error with every bad entry. Entries for the same copy are one."""
    if not entries:
        raise ImageError("images: is empty. Name at least one image.")
    requests, problems = [], []
    for entry in entries:
        try:
            requests.append(CopyRequest.parse(entry))
        except ImageError as error:
            problems.append(str(error))
    requests = list(dict.fromkeys(requests))
    names = [str(request.destination) for request in requests]
    problems += [
        f"images: two entries would be copied to {name}. Set another to for one of them."
        for name in sorted(set(names))
        if names.count(name) > 1
    ]
    if problems:
        raise ImageError(" ".join(problems))
    return tuple(requests)


def parse_platforms(values: Sequence[str]) -> Optional[tuple[ImagePlatform, ...]]:
    """Parses the platforms; None for all of them."""
    if list(values) == [ALL_PLATFORMS]:
        return None
    if not values:
        raise ImageError(f"platforms: is empty. Name at least one platform, or {ALL_PLATFORMS}.")
    if ALL_PLATFORMS in values:
        raise ImageError(f"platforms: {ALL_PLATFORMS} includes all others. Set either {ALL_PLATFORMS} or platforms.")
    return tuple(dict.fromkeys(ImagePlatform.parse(value) for value in values))
