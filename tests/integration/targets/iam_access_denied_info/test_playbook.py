# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook, as an operator or AWX runs it."""

from __future__ import annotations

import json

from integration.targets.iam_access_denied_info.kit import DELETE, ONLY_TAGGED, TAG, Account, make_denial, trust


def test_the_playbook_shows_the_explanation_in_lines(account: Account) -> None:
    provider = account.cluster_provider()
    account.role("lbc", [trust(provider, ("kube-system", "lbc"))], ONLY_TAGGED)
    balancer = account.load_balancer("shop", {})
    variables = {
        "access_denied_message": make_denial("lbc", DELETE, balancer),
        "access_denied_role": "",
        "access_denied_namespace": "cloudon",
        "access_denied_service_account": "lbc",
        "access_denied_cluster": "blue",
    }
    results = account.play("daytwo.aws.access_denied", "-e", json.dumps(variables))
    assert not any(result.failed for result in results)
    lines = results[-1].result["msg"]
    assert lines[0] == "side: permission"
    assert any(line.startswith("remediation: Tag ") and f"{TAG}=blue" in line for line in lines)
    assert f'remediation, ready to use: tags {{"{TAG}": "blue"}}' in lines
    assert any(line.startswith("ineffective remediation: Adding a namespace") for line in lines)
    trust_line = "trust, independent of the message: cloudon/lbc"
    assert any(line.startswith(trust_line) and "denied" in line for line in lines)
    assert len(lines) <= 12
    assert not any(line.startswith(("checked", "could not check")) for line in lines)
    # On request, the evidence, each finding once.
    variables["access_denied_evidence"] = "true"
    more = account.play("daytwo.aws.access_denied", "-e", json.dumps(variables))[-1].result["msg"]
    assert more[: len(lines)] == lines
    evidence = [line.partition(": ")[2] for line in more[len(lines) :]]
    assert any(line.startswith("checked IAM's policy simulator, with the current tags: implicitDeny") for line in more)
    assert len(set(evidence)) == len(evidence) > 2
    assert account.writes() == []


def test_an_empty_message_fails(account: Account) -> None:
    results = account.play("daytwo.aws.access_denied", "-e", json.dumps({"access_denied_message": ""}))
    assert results[-1].failed
    assert "error_message is empty" in results[-1].message
