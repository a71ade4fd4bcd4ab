# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies to a real registry with TLS of a private authority, which judges the tokens of a token server itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.targets.image_copy.images import Content, make_multi_platform, random_layer
from integration.targets.image_copy.kit import RegistryProcess, copy, copy_all
from integration.targets.image_copy.token_server import Authority, TokenRegistry, TokenServer


class Place:
    def __init__(self, source: RegistryProcess, registry: TokenRegistry, server: TokenServer) -> None:
        self.source = source
        self.registry = registry
        self.server = server
        self.options: dict[str, Any] = {
            "destination_plain_http": False,
            "destination_username": "user",
            "destination_password": server.password,
            "ca_path": str(registry.authority.path),
        }

    def push(self, repository: str, content: Content) -> str:
        self.source.client.push(repository, content, "v1")
        return f"{self.source.host}/{repository}:v1"

    def copy(self, name: str, to: str, check: bool = False, **options: Any) -> dict[str, Any]:
        return copy(name, f"{self.registry.host}/{to}", check, **{**self.options, **options})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def place(registries: dict[str, RegistryProcess], authority: Authority, tmp_path: Path) -> Iterator[Place]:
    server = TokenServer(authority, "user")
    with server.run() as realm:
        registry = TokenRegistry(tmp_path / "registry", authority, realm)
        registry.start()
        try:
            yield Place(registries["referrers"], registry, server)
        finally:
            registry.end()


def test_a_token_for_each_repository(place: Place, repository: str) -> None:
    content = make_multi_platform(random_layer())
    name = place.push(repository, content)
    predicted = place.copy(name, "a", check=True)
    assert predicted["changed"]
    assert not predicted.get("failed"), predicted
    place.server.scopes.clear()
    images = [{"name": name, "to": f"{place.registry.host}/{to}"} for to in ("a", "b/c")]
    done = copy_all(images, **place.options)
    assert [item["status"] for item in done["results"]] == ["changed", "changed"], done
    assert done["steps"][: len(predicted["steps"])] == predicted["steps"]
    # Layers of the first are mounted in the second, with a token for both.
    assert done["results"][1]["blobs_mounted"] == len(content.blobs)
    named = {tuple(scopes) for scopes in place.server.scopes}
    assert ("repository:b/c:pull,push", "repository:a:pull") in named
    # Each is fetched once; those of requests that begin at the same time, too.
    assert len(place.server.scopes) == len(named) == 3
    assert not copy_all(images, **place.options)["changed"]
    # It is all there, as another registry that copies from it shows.
    login = {key.replace("destination", "source"): value for key, value in place.options.items()}
    back = copy(f"{place.registry.host}/b/c:v1", f"{place.source.host}/back/{repository}", **login)
    assert back["results"][0]["digest"] == content.root, back
    place.source.client.check(f"back/{repository}", content, "v1")


def test_a_token_that_expires_during_the_copy_is_renewed(place: Place, repository: str) -> None:
    content = Content()
    content.image(*(random_layer(300_000) for _layer in range(6)))
    # docker-registry takes a token for 60 s longer than it is valid.
    place.server.lifetime = -58
    name = place.push(repository, content)
    result = place.copy(name, "a", parallel=1, bandwidth_limit=400_000)
    assert result["results"][0]["status"] == "changed", result
    assert len(place.server.scopes) >= 2


def test_a_token_for_less_than_requested_is_a_refusal(place: Place, repository: str) -> None:
    content = Content()
    content.image(random_layer())
    name = place.push(repository, content)
    place.server.denied.add("a")
    (item,) = place.copy(name, "a")["results"]
    assert item["status"] == "failed"
    assert "denies the user 'user'" in item["reason"]
    assert len(place.server.scopes) <= 2


def test_a_wrong_password_is_refused_by_the_token_server(place: Place, repository: str) -> None:
    content = Content()
    content.image(random_layer())
    name = place.push(repository, content)
    result = place.copy(name, "a", destination_password="5ec4e7-pa55w04d")
    assert "refuses the user 'user' a token: UNAUTHORIZED: wrong user or password" in result["msg"]
    assert "5ec4e7-pa55w04d" not in json.dumps(result)


def test_an_authority_that_is_not_trusted(place: Place, repository: str) -> None:
    content = Content()
    content.image(random_layer())
    name = place.push(repository, content)
    result = place.copy(name, "a", ca_path=None)
    assert "its certificate is not trusted" in result["msg"]
    assert "set ca_path" in result["msg"]
    assert place.server.scopes == []
