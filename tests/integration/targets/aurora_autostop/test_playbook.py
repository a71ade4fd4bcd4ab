# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook and its role, as a person or AWX runs them."""

from __future__ import annotations

from integration.targets.aurora_autostop.kit import OTHER, REGION, YES, Account, TaskResult

PLAYBOOK = "daytwo.aws.aurora_autostop"


def of(told: list[TaskResult], task: str) -> TaskResult:
    (one,) = [one for one in told if one.task.endswith(task)]
    return one


def lines(told: list[TaskResult]) -> list[str]:
    return list(of(told, "Show what happened to each cluster").result["__aurora_autostop_lines"])


def test_check_run_check_run(account: Account) -> None:
    account.cluster("orders", YES)
    account.cluster("far", YES, region=OTHER)
    account.cluster("v1", YES, EngineMode="serverless")
    # As the answers of a survey come: text, with blanks around commas.
    answers = ("-e", f"aurora_autostop_regions='{REGION}, {OTHER}'", "-e", "aurora_autostop_clusters=''")
    checked = account.play(PLAYBOOK, "--check", *answers)
    assert account.writes() == []
    ran = account.play(PLAYBOOK, *answers)
    assert lines(checked) == lines(ran)
    assert f"orders ({REGION}): changed. It is running, and is tagged autostop=yes." in lines(ran)
    assert [line.split(":")[0] for line in lines(ran)] == [f"orders ({REGION})", f"v1 ({REGION})", f"far ({OTHER})"]
    assert sorted(account.writes()) == ["StopDBCluster"] * 2
    for options in (("--check", *answers), answers):
        assert not any(one.changed for one in account.play(PLAYBOOK, *options))


def test_a_failure_is_told_with_every_line(account: Account) -> None:
    account.cluster("orders", YES)
    account.aws.deny(f"rds:*@{OTHER}")
    told = account.play(PLAYBOOK, "-e", f"aurora_autostop_regions={REGION},{OTHER}")
    assert of(told, "say what happened to each").failed
    assert lines(told) == [f"orders ({REGION}): changed. It is running, and is tagged autostop=yes."]
    report = of(told, "Keep the report for later tasks").result["ansible_facts"]["aurora_autostop_report"]
    assert report["totals"]["regions_failed"] == 1


def test_what_is_not_there_is_not_offered(account: Account) -> None:
    told = account.play(PLAYBOOK, "-e", "aurora_autostop_mode=watch")
    assert told[0].failed
    assert "must be one of: run, guard" in told[0].message + str(told[0].result)
