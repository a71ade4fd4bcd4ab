# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from integration.targets.image_copy.imitation import Imitation
from integration.targets.image_copy.kit import DebianRegistry, ReferrersRegistry, RegistryProcess, ensure_programs


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No login of the machine's user is used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RegistryProcess]]:
    """One of each kind, shared by all tests: each uses its own repositories."""
    ensure_programs()
    started = [kind(tmp_path_factory.mktemp(kind.name)) for kind in (DebianRegistry, ReferrersRegistry)]
    try:
        for registry in started:
            registry.start()
        yield {registry.name: registry for registry in started}
    finally:
        for registry in started:
            registry.end()


@pytest.fixture
def repository() -> str:
    return f"team/{secrets.token_hex(6)}"


@pytest.fixture
def ecr() -> Iterator[Imitation]:
    imitation = Imitation("team/app", "team/other")
    with imitation.run():
        yield imitation
