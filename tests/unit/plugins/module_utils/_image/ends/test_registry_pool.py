# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which repositories share a registry object, and so its tokens and logins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.login import RegistryCredentials
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.registry import Registry
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.registry_pool import RegistryLogin, RegistryPool
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.reference import ImageReference
from ansible_collections.daytwo.aws.plugins.module_utils._image.http.client import HttpClient

A, B, OTHER = (ImageReference.parse(text) for text in ("r.example/a", "r.example/b", "other.example/a"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def test_repositories_with_the_same_login_share_a_registry() -> None:
    pool = RegistryPool(Registry, HttpClient(), RegistryLogin("user", "password"))
    assert pool.get(A) is pool.get(A) is pool.get(B)
    assert pool.get(OTHER) is not pool.get(A)


def test_repositories_with_logins_of_their_own_do_not(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": {"r.example/a": {"auth": "YTpi"}, "r.example": {"auth": "Yzpk"}}}))
    pool = RegistryPool(Registry, HttpClient(), RegistryLogin(config_path=str(config)))
    assert pool.get(A) is not pool.get(B)


def test_a_credential_helper_runs_once_for_a_registry(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"credsStore": "store"}))
    runs: list[str] = []

    def run(_command: list[str], text: str, _descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        runs.append(text)
        return 0, json.dumps({"Username": "u", "Secret": "s"}), ""

    pool = RegistryPool(Registry, HttpClient(), RegistryLogin(config_path=str(config)), run)
    for reference in (A, B, OTHER, A):
        pool.get(reference)
    assert runs == ["r.example", "other.example"]


def test_options_take_precedence_over_found_credentials(tmp_path: Path) -> None:
    hosts: list[str] = []

    def find_credentials(host: str) -> Optional[RegistryCredentials]:
        hosts.append(host)
        return None

    for login in (RegistryLogin("user", "password"), RegistryLogin()):
        RegistryPool(Registry, HttpClient(), login, None, find_credentials).get(A)
    assert hosts == ["r.example"]
