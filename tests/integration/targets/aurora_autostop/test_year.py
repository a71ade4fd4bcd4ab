# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated year in short, and that it fails where the guard does not do its work."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.model import AuroraCluster
from simulation import year
from simulation.year import DAILY, DEAF, GUARD, WEEKLY, Scenario, broken, simulate

SHORT = Scenario(days=15, clusters=8, manual_starts=100, seed=3)


def test_the_guard_keeps_what_it_promises() -> None:
    seen = simulate(SHORT, GUARD)
    assert broken(seen) == []
    assert seen.dead == 0
    assert {one.cause for one in seen.spells} >= {"started", "came back", "hold ended"}
    assert len(seen.after_event()) > 5
    assert timedelta() < max(seen.after_event()) <= year.PROMISE


def test_without_any_event_a_sweep_does_it() -> None:
    seen = simulate(SHORT, DEAF)
    assert broken(seen) == []
    assert seen.told == []
    assert seen.longest() > year.PROMISE


@pytest.mark.parametrize(("strategy", "longest"), [(DAILY, timedelta(hours=12)), (WEEKLY, timedelta(days=4))])
def test_crons_do_not(strategy: str, longest: timedelta) -> None:
    """The weekly one also because of its phase: what it stopped a week ago is started just after it looked."""
    seen = simulate(SHORT, strategy)
    assert seen.wrong == []
    assert seen.longest() > longest
    assert any("from an event to the stop" in one for one in broken(seen))


def test_a_guard_without_its_retry_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler says of every message that it is settled: a cluster that is still starting runs until the sweep."""
    monkeypatch.setattr(year.handler, "can_delete_message", lambda *args: True)
    assert any("from an event to the stop" in one for one in broken(simulate(SHORT, GUARD)))


def test_a_queue_that_gives_up_too_early_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = year.from_role

    def given(place: Any) -> dict[str, Any]:
        found = plain(place)
        found["community.aws.sqs_queue daytwo-autostop"]["redrive_policy"]["maxReceiveCount"] = 1
        return found

    monkeypatch.setattr(year, "from_role", given)
    seen = simulate(SHORT, GUARD)
    assert seen.dead > 0
    assert broken(seen) != []


def test_a_guard_that_disregards_tags_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(year.run.plan.tags, "find_hold", lambda tags: None)
    seen = simulate(replace(SHORT, days=2), GUARD)
    assert any(one.startswith("stopped without being wanted: held-0") for one in broken(seen))


def test_the_year_is_the_same_each_time() -> None:
    def told() -> list[Any]:
        seen = simulate(Scenario(days=8, clusters=4, manual_starts=100), GUARD)
        return [(one.name, one.cause, one.began, one.ended) for one in seen.spells]

    first = told()
    assert first
    assert told() == first


def test_the_short_cut_reads_what_the_wire_does() -> None:
    world = year.World(SHORT, GUARD)
    with year.in_process(world):
        world.fill()
        year.rds_life.set_settings()
        world.client("rds").create_db_instance(
            DBInstanceIdentifier="member",
            DBClusterIdentifier="mysql-0",
            Engine="aurora-mysql",
            DBInstanceClass="db.r6g.large",
        )
        year.timeline.advance(8 * 86400)
        told = world.client("rds").describe_db_clusters()["DBClusters"]
        session = year.botocore.session.get_session()
        short = session.create_client("rds", region_name=year.REGION).describe_db_clusters()["DBClusters"]
    assert len(told[0]) > len(short[0])  # or it was no wire
    assert [AuroraCluster.parse(one) for one in short] == [AuroraCluster.parse(one) for one in told]
    assert {one["Status"] for one in told} == {"available"}
    assert ("member",) in {AuroraCluster.parse(one).members for one in told}


@pytest.mark.full
@pytest.mark.parametrize("strategy", [GUARD, DEAF])
def test_a_whole_year(strategy: str) -> None:
    assert broken(simulate(Scenario(), strategy)) == []
