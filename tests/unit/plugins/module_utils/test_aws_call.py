# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations by their API names, with and without botocore; and each capability's error for a failed call."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard import service as guard
from ansible_collections.daytwo.aws.plugins.module_utils._aws_call import ApiError, call_api, get_iam_action


class Client:
    """Answers with the name of the method that was called, or raises."""

    def __init__(self, signing_name: str = "eks", raises: Exception | None = None) -> None:
        self.meta = SimpleNamespace(service_model=SimpleNamespace(signing_name=signing_name, service_name=signing_name))
        self.raises = raises

    def __getattr__(self, method: str) -> Any:
        def answer(**arguments: Any) -> dict[str, Any]:
            if self.raises:
                raise self.raises
            return {"method": method, **arguments}

        return answer


@pytest.mark.parametrize(
    ("operation", "method"),
    [
        ("GetRole", "get_role"),
        ("GetOpenIDConnectProvider", "get_open_id_connect_provider"),
        ("AddClientIDToOpenIDConnectProvider", "add_client_id_to_open_id_connect_provider"),
        ("AssumeRoleWithWebIdentity", "assume_role_with_web_identity"),
        ("DescribeDBClusters", "describe_db_clusters"),
        ("StopDBInstance", "stop_db_instance"),
        ("DescribeNodegroup", "describe_nodegroup"),
        ("PutMetricAlarm", "put_metric_alarm"),
    ],
)
def test_an_operation_is_called_by_botocores_name_for_it(operation: str, method: str) -> None:
    assert call_api(Client(), operation, Name="x") == {"method": method, "Name": "x"}


SERVICES = ("iam", "sts", "eks", "ec2", "rds", "resourcegroupstaggingapi", "lambda", "sqs", "events")


@pytest.mark.parametrize("service", SERVICES)
def test_the_names_are_botocores(service: str) -> None:
    botocore = pytest.importorskip("botocore")
    session = pytest.importorskip("botocore.session").get_session()
    for operation in session.get_service_model(service).operation_names:
        assert call_api(Client(), operation)["method"] == botocore.xform_name(operation), operation


def test_a_policy_names_cloudwatch_otherwise_than_its_signature_does() -> None:
    assert get_iam_action(Client("monitoring"), "PutMetricAlarm") == "cloudwatch:PutMetricAlarm"
    assert get_iam_action(Client("rds"), "StopDBCluster") == "rds:StopDBCluster"


def failures() -> dict[str, tuple[Exception, str, str]]:
    """What botocore raises, with the code and the message of the error."""
    exceptions = pytest.importorskip("botocore.exceptions")
    parsers = pytest.importorskip("botocore.parsers")
    denied = {"Error": {"Code": "AccessDenied", "Message": "not authorized"}}
    silent: dict[str, Any] = {"Error": {}}
    return {
        "refused": (exceptions.ClientError(denied, "GetRole"), "AccessDenied", "not authorized"),
        "without a message": (exceptions.ClientError(silent, "GetRole"), "ClientError", "An error occurred (Unknown)"),
        "no service": (exceptions.EndpointConnectionError(endpoint_url="x"), "EndpointConnectionError", "x"),
        "a proxy's page": (parsers.ResponseParserError("not XML"), "NotAnAwsResponse", "not XML"),
        "closed": (exceptions.ConnectionClosedError(endpoint_url="x"), "ConnectionClosedError", "x"),
        "slow": (exceptions.ReadTimeoutError(endpoint_url="x"), "ReadTimeoutError", "x"),
    }


@pytest.mark.parametrize("which", ["refused", "without a message", "no service", "a proxy's page", "closed", "slow"])
def test_each_failure_of_a_call_is_independent_of_botocore(which: str) -> None:
    error, code, text = failures()[which]
    with pytest.raises(ApiError) as refusal:
        call_api(Client(raises=error), "GetRole")
    assert (refusal.value.operation, refusal.value.code) == ("GetRole", code)
    assert text in refusal.value.message


def test_the_guard_takes_a_missing_resource_for_an_answer_and_names_a_denied_action() -> None:
    error = failures()["refused"][0]
    assert guard.get_optional(Client(raises=error), "GetRole", ("AccessDenied",)) is None
    with pytest.raises(ApiError) as refusal:
        guard.get_optional(Client("iam", error), "GetRole", ("NoSuchEntity",))
    assert refusal.value.explanation == "GetRole: AccessDenied: not authorized. Allow iam:GetRole to these credentials."


def test_a_mistake_of_ours_is_not_taken_for_a_refusal() -> None:
    with pytest.raises(TypeError, match="ours"):
        call_api(Client(raises=TypeError("ours")), "GetRole")
