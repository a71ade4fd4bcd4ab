# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that a node makes itself, by the node role. See docs/facts/irsa.md#sessions-of-nodes. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Optional

from .model import AccessDenial


@dataclass(frozen=True)
class NodeDuty:
    """Calls of a node. C(policy): AWS's managed policy that allows them. C(programs): text that names one of these
    programs is about the duty and no pod. C(is_exclusive): no pod makes these calls.
    """

    description: str
    policy: str
    actions: Collection[str]
    programs: Collection[str] = ()
    is_exclusive: bool = False

    def matches(self, action: str) -> bool:
        service = action.partition(":")[0]
        return action in self.actions or f"{service}:*" in self.actions


_CNI_ACTIONS = frozenset(
    {
        "ec2:assignipv6addresses",
        "ec2:assignprivateipaddresses",
        "ec2:attachnetworkinterface",
        "ec2:createnetworkinterface",
        "ec2:createtags",
        "ec2:deletenetworkinterface",
        "ec2:describeinstancetypes",
        "ec2:describeinstances",
        "ec2:describenetworkinterfaces",
        "ec2:describesecuritygroups",
        "ec2:describesubnets",
        "ec2:describetags",
        "ec2:detachnetworkinterface",
        "ec2:modifynetworkinterfaceattribute",
        "ec2:unassignipv6addresses",
        "ec2:unassignprivateipaddresses",
    }
)
_DUTIES = (
    NodeDuty(
        "the kubelet pulls images from ECR with the node role",
        "AmazonEC2ContainerRegistryPullOnly",
        frozenset(
            {
                "ecr:getauthorizationtoken",
                "ecr:batchgetimage",
                "ecr:getdownloadurlforlayer",
                "ecr:batchchecklayeravailability",
                "ecr:batchimportupstreamimage",
            }
        ),
        programs=("image_pull",),
    ),
    NodeDuty(
        "the Pod Identity agent of the node gets the credentials of all pods with the node role",
        "AmazonEKSWorkerNodePolicy",
        frozenset({"eks-auth:assumeroleforpodidentity"}),
        is_exclusive=True,
    ),
    NodeDuty(
        "a node reads its cluster when it starts",
        "AmazonEKSWorkerNodePolicy",
        frozenset({"eks:describecluster"}),
        programs=("bootstrap", "image_pull"),
    ),
    NodeDuty(
        "the VPC CNI (aws-node) uses the node role where it has no role of its own",
        "AmazonEKS_CNI_Policy",
        _CNI_ACTIONS,
        programs=("cni",),
    ),
    NodeDuty(
        "the kubelet's cloud provider and CSI drivers on the node read instances, volumes and networks",
        "AmazonEKSWorkerNodePolicy",
        frozenset(
            {
                "ec2:describeroutetables",
                "ec2:describevolumes",
                "ec2:describevolumesmodifications",
                "ec2:describevpcs",
            }
        ),
    ),
    NodeDuty(
        "the agent of Systems Manager on the node uses the node role",
        "AmazonSSMManagedInstanceCore",
        frozenset({"ssm:updateinstanceinformation", "ssmmessages:*", "ec2messages:*"}),
        is_exclusive=True,
    ),
)


def find_duty(denial: AccessDenial) -> Optional[tuple[NodeDuty, bool]]:
    """Find the duty that a denied call of a node's session belongs to, and whether a pod can have made the call."""
    call = denial.action or denial.api_call
    if denial.caller is None or not denial.caller.is_node_role or call is None:
        return None
    for duty in _DUTIES:
        if duty.matches(call.lower()):
            return duty, not (duty.is_exclusive or denial.node_program in duty.programs)
    return None
