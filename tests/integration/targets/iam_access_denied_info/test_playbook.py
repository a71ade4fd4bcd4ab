# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook, as a person or AWX runs it."""

from __future__ import annotations

import json

from integration.targets.iam_access_denied_info.kit import DELETE, ONLY_TAGGED, TAG, Account, refused, trust


def test_the_playbook_says_it_in_lines(account: Account) -> None:
    provider = account.cluster_provider()
    account.role("lbc", [trust(provider, ("kube-system", "lbc"))], ONLY_TAGGED)
    balancer = account.load_balancer("shop", {})
    answers = {
        "access_denied_message": refused("lbc", DELETE, balancer),
        "access_denied_role": "",
        "access_denied_namespace": "cloudon",
        "access_denied_service_account": "lbc",
        "access_denied_cluster": "blue",
    }
    told = account.play("daytwo.aws.access_denied", "-e", json.dumps(answers))
    assert not any(one.failed for one in told)
    lines = told[-1].result["msg"]
    assert lines[0] == "side: permission"
    assert any(line.startswith("mend: Tag ") and f"{TAG}=blue" in line for line in lines)
    assert f'mend, ready: tags {{"{TAG}": "blue"}}' in lines
    assert any(line.startswith("not the mend: Adding a namespace") for line in lines)
    assert any(line.startswith("trust, apart from that: cloudon/lbc") and "denied" in line for line in lines)
    assert account.writes() == []
