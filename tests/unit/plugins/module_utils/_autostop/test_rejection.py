# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.rejection import classify_error
from ansible_collections.daytwo.aws.plugins.module_utils._aws_call import ApiError
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._autostop.samples import cluster, instance

STATE = "InvalidDBClusterStateFault"
COMBINATION = "InvalidParameterCombination"


@pytest.mark.parametrize(
    ("code", "message", "status", "ineligibility_reason"),
    [
        (STATE, "DbCluster orders is in stopping state but expected it to be one of available.", "ok", None),
        (STATE, "DbCluster orders is in stopped state but expected it to be one of available.", "ok", None),
        (STATE, "DbCluster orders is in starting state but expected it to be one of available.", "pending", None),
        (STATE, "DbCluster orders is in deleting state but expected it to be one of available.", "skipped", None),
        (STATE, "DbCluster orders is in humming state but expected it to be one of available.", "pending", None),
        (STATE, "Cluster orders is part of a global database.", "skipped", "global_member"),
        (STATE, "Cluster orders has a cross-Region read replica.", "skipped", "cross_region_replica"),
        (STATE, "Cluster orders is part of a blue/green deployment.", "skipped", "blue_green"),
        (STATE, "Something else altogether.", "failed", None),
        ("InvalidDBShardGroupState", "The shard group is modifying.", "pending", "limitless"),
        ("DBClusterNotFoundFault", "DBCluster orders not found.", "skipped", None),
        ("Throttling", "Rate exceeded", "failed", None),
        ("AccessDenied", "User: x is not authorized to perform: rds:StopDBCluster", "failed", None),
        ("EndpointConnectionError", "Could not connect", "failed", None),
        (
            COMBINATION,
            "aurora-mysql DB instances are not eligible for stopping and starting.",
            "skipped",
            "aurora_member",
        ),
        (COMBINATION, "This one is not eligible for stopping and starting.", "skipped", "not_eligible"),
    ],
)
def test_refusals_come_to_the_reasons_of_planning(
    code: str, message: str, status: str, ineligibility_reason: Optional[str]
) -> None:
    rejection = classify_error(ApiError("rds", "StopDBCluster", code, message), cluster())
    assert (rejection.status, rejection.ineligibility_reason) == (status, ineligibility_reason)
    assert message in rejection.reason, "AWS's own message is always in the reason"


@pytest.mark.parametrize(
    ("message", "status", "ineligibility_reason"),
    [
        ("Instance alone is not in available state.", "pending", None),
        ("Cannot stop or start a read replica instance", "skipped", "read_replica"),
        ("Cannot stop or start an instance that has a read replica", "skipped", "read_replica_source"),
    ],
)
def test_refusals_of_instances(message: str, status: str, ineligibility_reason: Optional[str]) -> None:
    rejection = classify_error(ApiError("rds", "StopDBInstance", "InvalidDBInstanceState", message), instance())
    assert (rejection.status, rejection.ineligibility_reason) == (status, ineligibility_reason)


def test_a_denied_stop_names_the_action_to_allow() -> None:
    reason = classify_error(ApiError("rds", "StopDBCluster", "AccessDenied", "no"), cluster()).reason
    assert "Allow rds:StopDBCluster" in reason
