# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook, as a person or AWX runs it."""

from __future__ import annotations

from integration.targets.iam_irsa_info.kit import Fleet


def test_the_playbook_reports_in_lines(fleet: Fleet) -> None:
    shop = fleet.namespace("shop")
    arn = fleet.role("web", fleet.statement((shop, "gone")))
    fleet.service_account(shop, "web", arn)
    name = arn.rpartition("/")[2]
    answers = {"irsa_audit_cluster": fleet.kubernetes.name, "irsa_audit_roles": name, "irsa_audit_path_prefix": ""}
    outcomes = fleet.play(
        "daytwo.aws.irsa_audit", *(word for pair in answers.items() for word in ("-e", "=".join(pair)))
    )
    assert not any(outcome.failed for outcome in outcomes), [outcome.message for outcome in outcomes]
    findings = outcomes[-1].result["msg"]
    assert findings[0] == f"{name}: It trusts {shop}/gone."
    assert f"annotated_not_trusted: {shop}/web: {name}: denied: no statement allows it." in findings
    assert f"trusted_not_found: {shop}/gone: {name} trusts it, but the cluster has no such service account." in findings
