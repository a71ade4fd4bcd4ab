# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scopes of tokens: a push needs more than the challenge of some registries names, and a mount reads, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.authorization import (
    PULL,
    PUSH,
    RegistryAuthorizer,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.login import NO_LOGIN
from ansible_collections.daytwo.aws.plugins.module_utils._image.http.body import HttpResponse
from ansible_collections.daytwo.aws.plugins.module_utils._image.http.client import HttpClient
from ansible_collections.daytwo.aws.plugins.module_utils._image.http.errors import HttpStatusError

URL = "https://registry.example/v2/app/blobs/uploads/"
NAMED = "repository:app:pull"


class TokenServer(HttpClient):
    """Gives a token for each request, and records the scopes."""

    def __init__(self) -> None:
        super().__init__()
        self.scopes: list[list[str]] = []

    def request(self, method: str, url: str, *_arguments: Any, **_options: Any) -> HttpResponse:
        self.scopes.append(parse_qs(urlsplit(url).query)["scope"])
        return HttpResponse(200, {}, b'{"token": "t"}')


@pytest.mark.parametrize(
    ("actions", "scope", "mount_from", "expected"),
    [
        (PULL, NAMED, "", [NAMED]),
        (PULL, "", "", [NAMED]),
        (PUSH, NAMED, "", [NAMED, "repository:app:pull,push"]),
        (PUSH, "repository:app:pull,push", "", ["repository:app:pull,push"]),
        (PUSH, "", "base", ["repository:app:pull,push", "repository:base:pull"]),
        (
            PUSH,
            "repository:app:pull,push repository:base:pull",
            "base",
            ["repository:app:pull,push", "repository:base:pull"],
        ),
    ],
)
def test_scopes(actions: str, scope: str, mount_from: str, expected: list[str]) -> None:
    server = TokenServer()
    authorizer = RegistryAuthorizer(server, "registry.example", "https://registry.example/", NO_LOGIN, actions)
    challenge = 'Bearer realm="https://auth.example/token",service="r"' + (f',scope="{scope}"' if scope else "")

    def send(headers: Mapping[str, str]) -> str:
        if not headers:
            raise HttpStatusError("POST", URL, "401", status=401, headers={"www-authenticate": challenge})
        return headers["Authorization"]

    for _request in range(2):
        assert authorizer.send("app", "the upload", send, mount_from) == "Bearer t"
    assert server.scopes == [expected]
