# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook and its role, as a person or AWX runs them."""

from __future__ import annotations

from integration.targets.aurora_autostop.kit import OTHER, REGION, YES, Account, TaskResult

PLAYBOOK = "daytwo.aws.aurora_autostop"


def of(results: list[TaskResult], task: str) -> TaskResult:
    (task_result,) = [task_result for task_result in results if task_result.task.endswith(task)]
    return task_result


def lines(results: list[TaskResult]) -> list[str]:
    return list(of(results, "Show what happened to each cluster").result["msg"])


def test_check_run_check_run(account: Account) -> None:
    account.cluster("orders", YES)
    account.cluster("far", YES, region=OTHER)
    account.cluster("v1", YES, EngineMode="serverless")
    # As an AWX survey passes its values: text, with blanks around commas.
    extra_vars = ("-e", f"aurora_autostop_regions='{REGION}, {OTHER}'", "-e", "aurora_autostop_clusters=''")
    checked = account.play(PLAYBOOK, "--check", *extra_vars)
    assert account.writes() == []
    ran = account.play(PLAYBOOK, *extra_vars)
    assert lines(checked) == lines(ran)
    assert f"orders ({REGION}): changed. It was running, and it is tagged autostop=yes." in lines(ran)
    assert [line.split(":")[0] for line in lines(ran)] == [f"orders ({REGION})", f"v1 ({REGION})", f"far ({OTHER})"]
    assert sorted(account.writes()) == ["StopDBCluster"] * 2
    for options in (("--check", *extra_vars), extra_vars):
        assert not any(task_result.changed for task_result in account.play(PLAYBOOK, *options))


def test_a_failure_is_reported_with_every_line(account: Account) -> None:
    account.cluster("orders", YES)
    account.aws.deny(f"rds:*@{OTHER}")
    results = account.play(PLAYBOOK, "-e", f"aurora_autostop_regions={REGION},{OTHER}")
    assert of(results, "report the result of each").failed
    assert lines(results)[0] == f"orders ({REGION}): changed. It was running, and it is tagged autostop=yes."
    assert [line.split(" ", 1)[0] for line in lines(results)[1:]] == [f"{OTHER}:"]
    report = of(results, "Keep the report for later tasks").result["ansible_facts"]["aurora_autostop_report"]
    assert report["totals"]["regions_failed"] == 1


def test_what_is_not_there_is_not_offered(account: Account) -> None:
    results = account.play(PLAYBOOK, "-e", "aurora_autostop_mode=watch")
    assert results[0].failed
    assert "must be one of: run, guard" in results[0].message + str(results[0].result)


def test_an_account_with_nothing_tagged_has_a_line(account: Account) -> None:
    account.cluster("plain")
    for options in (("--check",), ()):
        results = account.play(PLAYBOOK, *options)
        assert not any(result.failed for result in results)
        assert lines(results) == ["0 changed, 0 off already, 0 pending, 0 skipped, 0 failed in 1 region."]


def test_a_wrong_option_is_a_line_as_well(account: Account) -> None:
    results = account.play(PLAYBOOK, "-e", '{"aurora_autostop_tag_values": [true]}')
    (failed,) = [result for result in results if result.failed]
    assert "boolean true" in failed.message
    assert lines(results) == [failed.message]
