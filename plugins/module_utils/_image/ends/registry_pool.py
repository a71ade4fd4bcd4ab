# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registries that a task names, each with its login."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Generic, Optional, TypeVar

from ..errors import ImageError
from ..formats.reference import ImageReference
from ..http.client import HttpClient
from ..run_command import RunCommand
from .login import FoundLogin, RegistryCredentials, find_login
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

    Repositories with the same login share one, and so its tokens. A docker config file may have logins for parts of a
    registry. Each credential helper runs once for a registry.
    """

    def __init__(
        self,
        kind: type[_R],
        client: HttpClient,
        login: RegistryLogin,
        run: Optional[RunCommand] = None,
        find_credentials: Callable[[str], Optional[RegistryCredentials]] = lambda _host: None,
    ) -> None:
        """C(find_credentials) finds the login for a host where the options have none."""
        self._kind = kind
        self._client = client
        self._login = login
        self._run = run
        self._find_credentials = find_credentials
        self._lock = threading.Lock()
        self._by_name: dict[str, _R] = {}
        self._by_login: dict[tuple[str, FoundLogin], _R] = {}
        self._helped: dict[tuple[str, ...], tuple[int, str, str]] = {}

    def get(self, reference: ImageReference) -> _R:
        with self._lock:
            if reference.name not in self._by_name:
                login, path = self._login, self._login.config_path
                has_option = login.username or path
                credentials = None if has_option else self._find_credentials(reference.host)
                if path is None and os.path.exists(os.path.expanduser(_DEFAULT_DOCKER_CONFIG)):
                    path = _DEFAULT_DOCKER_CONFIG
                run = self._run_once if self._run else None
                found = (
                    FoundLogin(credentials)
                    if credentials
                    else find_login(reference.host, reference.path, login.username, login.password, path, run)
                )
                key = reference.host, found
                if key not in self._by_login:
                    self._by_login[key] = self._kind(self._client, reference.host, login.plain_http, found)
                self._by_name[reference.name] = self._by_login[key]
            return self._by_name[reference.name]

    def _run_once(self, command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        key = *command, text
        if key not in self._helped and self._run is not None:
            self._helped[key] = self._run(command, text, descriptors)
        return self._helped[key]
