# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered texts for node groups of other tools, and the schemas of these tools."""

from __future__ import annotations

from typing import Any

from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import options, render

EKSCTL = ("github.com/weaveworks/eksctl", "v0.215.0", "/pkg/apis/eksctl.io/v1alpha5/assets/schema.json")
KARPENTER = (
    "github.com/aws/karpenter-provider-aws",
    "v1.15.2",
    "/pkg/apis/crds/karpenter.k8s.aws_ec2nodeclasses.yaml",
)
FAMILIES = ("al2023", "bottlerocket", "al2")
OWN: dict[str, str] = {
    "al2023": "",
    "bottlerocket": '[settings.kernel.sysctl]\n"vm.max_map_count" = "262144"\n',
    "al2": "#!/bin/bash\necho hello\n",
}


def rendered(family: str, own: bool) -> dict[str, Any]:
    params = {"name": "workers", "cluster": "prod", "sysctls": ["net.core.somaxconn", "net.ipv4.tcp_*"]}
    user_data = OWN[family] if own else None
    return render.render_result(
        options.parse_user_data_options({**params, "ami_family": family, "user_data": user_data})
    )


OTHERS: dict[str, Any] = {  # what an operator adds to the EC2NodeClass
    "role": "nodes",
    "amiSelectorTerms": [{"id": "ami-0123456789abcdef0"}],
    "subnetSelectorTerms": [{"id": "subnet-0123456789abcdef0"}],
    "securityGroupSelectorTerms": [{"id": "sg-0123456789abcdef0"}],
}
