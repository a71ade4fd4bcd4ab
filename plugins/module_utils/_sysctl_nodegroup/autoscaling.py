# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls to EC2 Auto Scaling: the real size of a node group, and which instances wait in a warm pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from .._aws_call import DENIED_CODES, ApiError, call_api, paginate

_INSTANCES_PER_CALL = 50
_MISSING_CODES = ("InternalFailure", "InvalidAction", "NotImplemented", "UnknownOperationException")
WARM_STATE = "Warmed:"  # begins the lifecycle state of an instance in a warm pool


def get_desired_capacity(client: Any, names: Sequence[str]) -> Optional[int]:
    """Get the desired capacity of these Auto Scaling groups together; None where it cannot be read.

    Without the permission to read it, the size comes from the instances instead.
    """
    if not names:
        return None
    try:
        found = list(
            paginate(client, "DescribeAutoScalingGroups", "AutoScalingGroups", AutoScalingGroupNames=list(names))
        )
    except ApiError as error:
        if error.code in (*DENIED_CODES, *_MISSING_CODES):
            return None
        raise
    return sum(int(group["DesiredCapacity"]) for group in found) if found else None


def list_warm_instances(client: Any, instance_ids: Sequence[str]) -> set[str]:
    """List those of the instances that wait in a warm pool. They run user data, and are no nodes."""
    found: set[str] = set()
    for start in range(0, len(instance_ids), _INSTANCES_PER_CALL):
        ids = list(instance_ids[start : start + _INSTANCES_PER_CALL])
        response = call_api(client, "DescribeAutoScalingInstances", InstanceIds=ids)
        found |= {
            str(entry["InstanceId"])
            for entry in response.get("AutoScalingInstances") or ()
            if str(entry.get("LifecycleState") or "").startswith(WARM_STATE)
        }
    return found
