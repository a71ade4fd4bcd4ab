# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role on real engines: from a registry and from docker, to two private hosts; what is carried, and what is not."""

from __future__ import annotations

import pytest
from integration.targets.image_offline_transfer.kit import HOSTS, PLAIN, PRIVATE, SAVE, Case, size, small_blobs

V1 = f"{PLAIN}/it-app:v1"
V2 = f"{PLAIN}/it-app:v2"


def test_registry_check_run_check_run_and_v2(case: Case) -> None:
    v1, v2 = case.image("it-app:v1"), case.image("it-app:v2")

    planned = case.check(V1).succeed()
    assert case.writes() == []
    assert case.keys() == []
    for host in HOSTS:
        assert case.events(host) == []
        assert case.stray(host) == []
    assert planned.report("private-a")["estimated"] is False

    ran = case.transfer(V1).succeed()
    for host in PRIVATE:
        case.proves(host, V1, v1)
        assert ran.report(host)["steps"] == planned.report(host)["steps"]
        assert [image["status"] for image in ran.report(host)["images"]] == ["changed"]
    full = size(v1.layers) + small_blobs(v1)
    assert planned.one(SAVE).result["bytes_carried"] == full, "exact for a registry"
    assert case.sent() == full, "once, for both hosts"
    assert case.received("private-a") == case.received("private-b") == full
    assert case.events("public") == [], "no engine takes part on the source"

    for again in (case.check, case.transfer):
        case.mark()
        assert again(V1).succeed().changed() == []
        assert case.writes() == []
        assert case.received() == 0
        assert [case.events(host) for host in HOSTS] == [[], [], []]

    case.mark()
    case.transfer(V2).succeed()
    new = size([layer for layer in v2.layers if layer not in v1.layers])
    assert new < case.sent() <= 1.02 * new
    for host in PRIVATE:
        assert new < case.received(host) <= 1.02 * new
        case.proves(host, V2, v2)
        case.proves(host, V1, v1)
        assert case.stray(host) == []
    assert case.stray("public") == []
