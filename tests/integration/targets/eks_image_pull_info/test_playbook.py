# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook, as an operator or AWX runs it."""

from __future__ import annotations

import json
from pathlib import Path

from integration.targets.eks_image_pull_info.kit import Account, Kubernetes, make_node, pull_failure
from testbed.own_aws import OwnAws


def test_the_playbook_shows_the_causes(aws: OwnAws, tmp_path: Path, kubernetes: Kubernetes) -> None:
    account = Account(aws, tmp_path)
    (instance,) = account.start_nodes()
    account.ec2.delete_vpc_endpoints(VpcEndpointIds=[account.endpoints["ecr.api"]])
    kubernetes.objects["nodes"] = [make_node("n1", instance)]
    kubernetes.objects["pods"] = [pull_failure("n1", f"app-{number}") for number in range(3)]
    variables = {
        "image_pull_report_cluster": "",
        "image_pull_report_namespaces": "shop",
        "image_pull_report_kubeconfig": str(kubernetes.kubeconfig),
        "image_pull_report_label_selector": "",
        "image_pull_report_pull_secrets": "false",
    }
    results = account.play("daytwo.aws.image_pull_report", "-e", json.dumps(variables))
    assert not any(result.failed for result in results), [result.message for result in results]
    lines = results[-1].result["msg"]
    assert lines[0].startswith("wrong: shop/app-0: app, shop/app-1: app, shop/app-2: app: ")
    assert "has no endpoint of com.amazonaws.eu-central-1.ecr.api" in lines[0]
    assert lines[1].startswith("  remediation: Create a private endpoint")
    assert kubernetes.requests[0].startswith("/api/v1/namespaces/shop/pods?")
    assert account.writes() == []
