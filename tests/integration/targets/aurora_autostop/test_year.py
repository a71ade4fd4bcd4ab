# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A short simulation, and proof that it fails if the guard does not work."""

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
    simulated = simulate(SHORT, GUARD)
    assert broken(simulated) == []
    assert simulated.dead == 0
    assert {spell.cause for spell in simulated.spells} >= {"started", "came back", "hold ended"}
    assert len(simulated.after_event()) > 5
    assert timedelta() < max(simulated.after_event()) <= year.PROMISE


def test_without_any_event_a_sweep_does_it() -> None:
    simulated = simulate(SHORT, DEAF)
    assert broken(simulated) == []
    assert simulated.delivered == []
    assert simulated.longest() > year.PROMISE


@pytest.mark.parametrize(
    ("strategy", "longest"),
    [(DAILY, timedelta(hours=12)), pytest.param(WEEKLY, timedelta(days=4), marks=pytest.mark.full)],
)
def test_crons_do_not(strategy: str, longest: timedelta) -> None:
    """The weekly cron also fails because of its phase: AWS starts last week's clusters just after its run."""
    simulated = simulate(SHORT, strategy)
    assert simulated.wrong == []
    assert simulated.longest() > longest
    assert any("from an event to the stop" in failure for failure in broken(simulated))


def test_a_guard_without_its_retry_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler deletes every message: a cluster that is still starting runs until the sweep."""
    monkeypatch.setattr(year.handler, "can_delete_message", lambda *args: True)
    assert any("from an event to the stop" in failure for failure in broken(simulate(SHORT, GUARD)))


@pytest.mark.full
def test_a_queue_that_gives_up_too_early_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = year.from_role

    def limit_receives(location: Any) -> dict[str, Any]:
        found = plain(location)
        found["community.aws.sqs_queue daytwo-autostop"]["redrive_policy"]["maxReceiveCount"] = 1
        return found

    monkeypatch.setattr(year, "from_role", limit_receives)
    simulated = simulate(SHORT, GUARD)
    assert simulated.dead > 0
    assert broken(simulated) != []


def test_a_guard_that_disregards_tags_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(year.run.plan.tags, "find_hold", lambda tags: None)
    simulated = simulate(replace(SHORT, days=2), GUARD)
    assert any(failure.startswith("stopped by mistake: held-0") for failure in broken(simulated))


@pytest.mark.full
def test_the_year_is_the_same_each_time() -> None:
    def simulate_spells() -> list[Any]:
        simulated = simulate(Scenario(days=8, clusters=4, manual_starts=100), GUARD)
        return [(spell.name, spell.cause, spell.began, spell.ended) for spell in simulated.spells]

    first = simulate_spells()
    assert first
    assert simulate_spells() == first


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
        described = world.client("rds").describe_db_clusters()["DBClusters"]
        session = year.botocore.session.get_session()
        shortcut = session.create_client("rds", region_name=year.REGION).describe_db_clusters()["DBClusters"]
    assert len(described[0]) > len(shortcut[0])  # else it did not go over the wire
    assert [AuroraCluster.parse(cluster) for cluster in shortcut] == [
        AuroraCluster.parse(cluster) for cluster in described
    ]
    assert {cluster["Status"] for cluster in described} == {"available"}
    assert ("member",) in {AuroraCluster.parse(cluster).members for cluster in described}


@pytest.mark.full
@pytest.mark.parametrize("strategy", [GUARD, DEAF])
def test_a_whole_year(strategy: str) -> None:
    assert broken(simulate(Scenario(), strategy)) == []
