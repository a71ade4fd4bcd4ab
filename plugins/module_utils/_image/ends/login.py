# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the login for a registry: in options, in a docker config file, or by one of its credential helpers."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ImageError
from ..formats.manifest import CONFIG_LIMIT, load_json
from ..formats.reference import DOCKER_HUB
from ..run_command import RunCommand

# Docker stores the login to Docker Hub under the address of the v1 registry protocol.
_DOCKER_HUB_LOGIN_KEY = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"  # noqa: S105  the user name that helpers return for an identity token
# The paths of the registry protocol. A login with such a path is for the whole registry.
_PROTOCOL_PATHS = ("", "v1", "v2")
_MAX_LISTED_HOSTS = 5


@dataclass(frozen=True)
class RegistryCredentials:
    """A user name with a password, or an identity token, which a token server exchanges for an access token."""

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class FoundLogin:
    """The login for a registry, or why there is none (empty where no file was read)."""

    credentials: RegistryCredentials | None
    absence: str = ""


NO_LOGIN = FoundLogin(None)


def find_login(
    host: str,
    repository: str = "",
    username: str | None = None,
    password: str | None = None,
    docker_config: str | None = None,
    run: RunCommand | None = None,
) -> FoundLogin:
    """Finds the login for a repository: user name and password, else that of the docker config file or its helpers.

    C(docker_config) is a file, or a directory with C(config.json) in it. C(run) runs a credential helper.
    """
    if username:
        return FoundLogin(RegistryCredentials(username, password or ""))
    if not docker_config:
        return NO_LOGIN
    path = Path(docker_config).expanduser()
    path = path / "config.json" if path.is_dir() else path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"The docker config file {path} cannot be read: {error.strerror}. Correct the path or its permissions."
        ) from None
    where = f"The docker config file {path}"
    document = load_json(data, CONFIG_LIMIT, where)
    auths, helpers, store = (
        document.get(key) if isinstance(document, dict) else None for key in ("auths", "credHelpers", "credsStore")
    )
    auths = auths if isinstance(auths, dict) else {}
    server = _DOCKER_HUB_LOGIN_KEY if host == DOCKER_HUB else host
    helper = helpers.get(server) or helpers.get(host) if isinstance(helpers, dict) else None
    helper = helper or store
    credentials = _run_credential_helper(helper, server, where, run) if helper else None
    credentials = credentials or _find_stored_credentials(auths, server, repository, where)
    return FoundLogin(credentials) if credentials else FoundLogin(None, _describe_absence(where, host, auths, helper))


def _describe_absence(where: str, host: str, auths: Mapping[str, Any], helper: Any) -> str:
    hosts = sorted({_parse_host(key) for key in auths})
    helper_result = f", and its helper docker-credential-{helper} returned none" if helper else ""
    if not hosts:
        return f"{where} has no login for {host}{helper_result}."
    more = max(0, len(hosts) - _MAX_LISTED_HOSTS)
    listed = ", ".join(hosts[:_MAX_LISTED_HOSTS]) + (f" and {more} more" if more else "")
    return f"{where} has no login for {host}{helper_result}. It has logins for {listed}."


def _find_stored_credentials(
    auths: Mapping[str, Any], server: str, repository: str, where: str
) -> RegistryCredentials | None:
    """Finds a login in the file itself."""
    for key in _sort_keys(auths, server, repository):
        entry = auths.get(key)
        if not isinstance(entry, dict) or not entry:
            continue
        username, password = entry.get("username", ""), entry.get("password", "")
        if entry.get("auth"):
            try:
                username, colon, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
            except ValueError:
                raise ImageError(
                    f"{where}: the login for {key} is not in base64. Log in again with docker login."
                ) from None
            password = password.rstrip("\0") if colon else ""
        token = entry.get("identitytoken", "")
        if not all(isinstance(value, str) for value in (username, password, token)):
            raise ImageError(f"{where}: the login for {key} is no text. Log in again with docker login.")
        if username or token:
            return RegistryCredentials(username, password, token)
    return None


def _sort_keys(auths: Mapping[str, Any], server: str, repository: str) -> Iterator[str]:
    """Sorts the keys of the registry, the best first: hosts, URLs of older logins, or hosts with a part of the path.

    podman stores logins for a part of the registry so. docker takes the login of any key with this host.
    """

    def get_rank(key: str) -> tuple[int, bool, bool]:
        path = _strip_scheme(key).partition("/")[2].strip("/")
        is_whole = path in _PROTOCOL_PATHS
        is_prefix = not is_whole and f"{repository}/".startswith(f"{path}/")
        return (len(path) if is_prefix else 0, key == server, is_whole)

    keys = [key for key in auths if key == server or _parse_host(key) == _parse_host(server)]
    return iter(sorted(keys, key=get_rank, reverse=True))


def _strip_scheme(key: str) -> str:
    return re.sub(r"^https?://", "", key, flags=re.IGNORECASE)


def _parse_host(key: str) -> str:
    return _strip_scheme(key).partition("/")[0].lower()


def _run_credential_helper(name: Any, server: str, where: str, run: RunCommand | None) -> RegistryCredentials | None:
    """Runs docker-credential-NAME get, which reads the registry from its input and writes JSON."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ImageError(
            f"{where}: it names a credential helper that cannot be a program's name. Correct credHelpers or credsStore."
        )
    program = f"docker-credential-{name}"
    if run is None:
        raise ImageError(
            f"{where} requires the credential helper {program}, but no program can be run here. "
            "Set a user name and a password."
        )
    try:
        code, output, error_output = run([program, "get"], server, ())
    except FileNotFoundError:
        raise ImageError(
            f"{where} requires the credential helper {program}, which is not on this host's PATH, "
            f"{os.environ.get('PATH', '')}. Install it there."
        ) from None
    except OSError as error:
        raise ImageError(
            f"The credential helper {program} cannot be run: {error.strerror}. Correct its permissions."
        ) from None
    if code != 0:
        if "credentials not found" in output.lower():
            return None
        # Helpers report errors on stdout or stderr. Output that looks like a login is not shown.
        message = error_output.strip() or ("" if "{" in output else output)
        raise ImageError(f"The credential helper {program} failed for {server}: {' '.join(message.split())[:200]}.")
    try:
        login = json.loads(output)
        username, secret = login["Username"], login["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ImageError(
            f"The credential helper {program} returned no login for {server}. Log in again with docker login."
        ) from None
    if not isinstance(username, str) or not isinstance(secret, str):
        raise ImageError(
            f"The credential helper {program} returned no login for {server}. Log in again with docker login."
        )
    return (
        RegistryCredentials("", identity_token=secret)
        if username == _TOKEN_USER
        else RegistryCredentials(username, secret)
    )
