# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a copy between registries, and the registries that they name."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Optional, TypeVar

from ..ends.artifact_registry import ArtifactRegistry
from ..ends.login import find_login
from ..errors import ImageError
from ..formats.reference import ImagePlatform, ImageReference
from ..http.client import HttpClient
from ..run_command import RunCommand

ALL_PLATFORMS = "all"
_DEFAULT_DOCKER_CONFIG = "~/.docker/config.json"
_NO_DIGEST = "@sha256:" + "0" * 64

_R = TypeVar("_R", bound=ArtifactRegistry)


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
    """Parses all entries, or raises an error with every bad entry."""
    if not entries:
        raise ImageError("images: is empty. Name at least one image.")
    requests, problems = [], []
    for entry in entries:
        try:
            requests.append(CopyRequest.parse(entry))
        except ImageError as error:
            problems.append(str(error))
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


@dataclass(frozen=True)
class RegistryAccess:
    """The options for one side of a copy: the login, and whether its registries have TLS."""

    side: str
    username: Optional[str] = None
    password: Optional[str] = field(default=None, repr=False)
    config_path: Optional[str] = None
    plain_http: bool = False

    @classmethod
    def parse(cls, side: str, params: Mapping[str, Any]) -> RegistryAccess:
        return cls(
            side,
            params[f"{side}_username"],
            params[f"{side}_password"],
            params[f"{side}_config_path"],
            bool(params[f"{side}_plain_http"]),
        )

    def check(self, references: Sequence[ImageReference]) -> None:
        """Refuses to send one login to several registries."""
        hosts = sorted({reference.host for reference in references})
        if self.username and len(hosts) > 1:
            raise ImageError(
                f"{self.side}_username: would be sent to {' and '.join(hosts)}. Use {self.side}_config_path, which has "
                "a login for each registry, or name the images of one registry at a time."
            )


class RegistryPool(Generic[_R]):
    """The registries of one side, one for each repository: a docker config file may have a login for each."""

    def __init__(
        self, kind: type[_R], client: HttpClient, access: RegistryAccess, run: Optional[RunCommand] = None
    ) -> None:
        self._kind = kind
        self._client = client
        self._access = access
        self._run = run
        self._lock = threading.Lock()
        self._registries: dict[str, _R] = {}

    def get(self, reference: ImageReference) -> _R:
        with self._lock:
            if reference.name not in self._registries:
                access, path = self._access, self._access.config_path
                if path is None and os.path.exists(os.path.expanduser(_DEFAULT_DOCKER_CONFIG)):
                    path = _DEFAULT_DOCKER_CONFIG
                login = find_login(reference.host, reference.path, access.username, access.password, path, self._run)
                self._registries[reference.name] = self._kind(self._client, reference.host, access.plain_http, login)
            return self._registries[reference.name]
