# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine a host has: named, the only one, none, or several."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends import engines
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import DEFAULT_DOCKER_HOST, EngineError

PARAMS = {"docker_host": DEFAULT_DOCKER_HOST, "timeout": 60}


def run_nothing(*_arguments: object) -> tuple[int, str, str]:
    raise OSError("no program runs here")


def make(monkeypatch: pytest.MonkeyPatch, name: str, reasons: dict[str, Optional[str]], **params: Any) -> Any:
    """The engine that is made where each engine is absent for a reason, or present."""
    table = {
        engine: engines.EngineKind(lambda *_arguments, r=reason: r, lambda *_arguments, e=engine: e)  # type: ignore
        for engine, reason in reasons.items()
    }
    monkeypatch.setattr(engines, "ENGINES", table)
    return engines.make_engine(name, {**PARAMS, **params}, run_nothing)


def test_the_only_engine_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(monkeypatch, "auto", {"docker": "no socket", "other": None}) == "other"


def test_a_named_engine_is_made_without_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(monkeypatch, "docker", {"docker": "no socket", "other": None}) == "docker"


def test_who_names_dockers_socket_means_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {"docker": None, "other": None}
    assert make(monkeypatch, "auto", reasons, docker_host="unix:///run/mine.sock") == "docker"


def test_several_engines_need_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"auto found docker and other on this host\. Set engine to the one"):
        make(monkeypatch, "auto", {"docker": None, "other": None, "third": "no socket"})


def test_no_engine_is_refused_with_the_reason_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"no container engine on this host \(docker: no socket; other: no program\)"):
        make(monkeypatch, "auto", {"docker": "no socket", "other": "no program"})
