# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook, as a person or AWX runs it."""

from __future__ import annotations

from integration.targets.iam_irsa_info.kit import Fleet


def test_the_playbook_says_it_in_lines(fleet: Fleet) -> None:
    shop = fleet.namespace("shop")
    arn = fleet.role("web", fleet.statement((shop, "gone")))
    fleet.service_account(shop, "web", arn)
    name = arn.rpartition("/")[2]
    answers = {"irsa_audit_cluster": fleet.kubernetes.name, "irsa_audit_roles": name, "irsa_audit_path_prefix": ""}
    told = fleet.play("daytwo.aws.irsa_audit", *(word for pair in answers.items() for word in ("-e", "=".join(pair))))
    assert not any(one.failed for one in told), [one.message for one in told]
    roles, findings = told[-2].result["msg"], told[-1].result["msg"]
    assert roles == [f"{name}: It lets in {shop}/gone."]
    assert f"annotated_not_trusted: {shop}/web: {name}: denied: no statement allows it." in findings
    assert f"trusted_not_there: {shop}/gone: {name} trusts it, and the cluster does not have it." in findings
