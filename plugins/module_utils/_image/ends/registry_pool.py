# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registries that a task names, each with its login."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Optional, TypeVar

from ..errors import ImageError
from ..formats.reference import ImageReference
from ..http.client import HttpClient
from ..run_command import RunCommand
from .login import find_login
from .registry import Registry

_DEFAULT_DOCKER_CONFIG = "~/.docker/config.json"

_R = TypeVar("_R", bound=Registry)


@dataclass(frozen=True)
class RegistryLogin:
    """The options of a module for the login to registries. Their names begin with C(side)."""

    username: Optional[str] = None
    password: Optional[str] = field(default=None, repr=False)
    config_path: Optional[str] = None
    plain_http: bool = False
    side: str = "registry"

    @classmethod
    def parse(cls, side: str, params: Mapping[str, Any]) -> RegistryLogin:
        return cls(
            params[f"{side}_username"],
            params[f"{side}_password"],
            params[f"{side}_config_path"],
            bool(params[f"{side}_plain_http"]),
            side,
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
    """The registries of one login, which threads may share. C(run) runs the credential helpers that it may name.

    There is one for each repository: a docker config file may have a login for a part of a registry.
    """

    def __init__(
        self, kind: type[_R], client: HttpClient, login: RegistryLogin, run: Optional[RunCommand] = None
    ) -> None:
        self._kind = kind
        self._client = client
        self._login = login
        self._run = run
        self._lock = threading.Lock()
        self._registries: dict[str, _R] = {}

    def get(self, reference: ImageReference) -> _R:
        with self._lock:
            if reference.name not in self._registries:
                login, path = self._login, self._login.config_path
                if path is None and os.path.exists(os.path.expanduser(_DEFAULT_DOCKER_CONFIG)):
                    path = _DEFAULT_DOCKER_CONFIG
                found = find_login(reference.host, reference.path, login.username, login.password, path, self._run)
                self._registries[reference.name] = self._kind(self._client, reference.host, login.plain_http, found)
            return self._registries[reference.name]
