# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Regions that refuse: by a policy of the organization, by IAM, or because the credentials are not valid."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils import _aws_call
from ansible_collections.daytwo.aws.plugins.module_utils._autostop import fleet, report
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.model import AutostopOptions
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.run import WaitOptions
from ansible_collections.daytwo.aws.plugins.module_utils._aws_call import ApiError
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._autostop.responses import (
    Rds,
    ReadTimeoutError,
    RefusedError,
    cluster,
)

DENIED = "User: arn:aws:sts::123456789012:assumed-role/ops/me is not authorized to perform: rds:DescribeDBClusters"
IN_SCP = f"{DENIED} on resource: * with an explicit deny in a service control policy"
NOT_IN_SCP = f"{DENIED} because no service control policy allows the rds:DescribeDBClusters action"
BY_SCP = ("AccessDenied", IN_SCP)
BY_IAM = ("AccessDenied", f"{DENIED} because no identity-based policy allows the rds:DescribeDBClusters action")
INVALID = ("InvalidClientTokenId", "The security token included in the request is invalid.")
EXPIRED = ("ExpiredToken", "The security token included in the request is expired")
MISSING = ("NoCredentialsError", "Unable to locate credentials")


@pytest.fixture(autouse=True)
def errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_aws_call, "CLIENT_ERRORS", (RefusedError,))


def result_of(regions: dict[str, Optional[tuple[str, str]]], all_regions: bool) -> dict[str, Any]:
    """The module's result where each region works, or its reading fails with this code and message."""
    clients = {name: Rds(clusters=[] if error else [cluster()], reading_error=error) for name, error in regions.items()}
    outcomes = fleet.run_regions(lambda _service, name: clients[name], list(regions), AutostopOptions(), act=True)
    params = {"regions": ["all"] if all_regions else list(regions)}
    return report.build_result(fleet.skip_denied_regions(params, outcomes))


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {region["name"]: region["status"] for region in result["regions"]}


@pytest.mark.parametrize("message", [IN_SCP, NOT_IN_SCP, IN_SCP.replace("service control", "service  control")])
@pytest.mark.parametrize("code", ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"])
def test_a_region_that_the_organization_denies_is_skipped_with_regions_all(code: str, message: str) -> None:
    result = result_of({"eu-central-1": None, "us-west-2": (code, message)}, all_regions=True)
    assert statuses(result) == {"eu-central-1": "changed", "us-west-2": "skipped"}
    assert not result["failed"]
    (line,) = [line for line in result["lines"] if line.startswith("us-west-2")]
    assert "service control policy of the organization denies this region" in line
    assert " ".join(message.split()) in line
    assert "change that policy" not in line
    assert result["totals"]["regions_skipped"] == 1


def test_a_region_that_was_named_stays_a_failure() -> None:
    result = result_of({"eu-central-1": None, "us-west-2": BY_SCP}, all_regions=False)
    assert statuses(result) == {"eu-central-1": "changed", "us-west-2": "failed"}
    assert result["failed"]
    assert "service control policy" in result["msg"]
    assert "An Allow does not help" in result["msg"]
    assert "Allow rds:" not in result["msg"], "an allow does not help against an explicit deny"


def test_a_denial_of_every_region_is_no_success() -> None:
    result = result_of({"eu-central-1": BY_SCP, "us-west-2": BY_SCP}, all_regions=True)
    assert statuses(result) == {"eu-central-1": "failed", "us-west-2": "failed"}
    assert result["failed"]


def test_a_denial_by_iam_is_a_failure_also_with_regions_all() -> None:
    result = result_of({"eu-central-1": None, "us-west-2": BY_IAM}, all_regions=True)
    assert statuses(result) == {"eu-central-1": "changed", "us-west-2": "failed"}
    assert "Allow rds:DescribeDBClusters to these credentials." in result["msg"]


@pytest.mark.parametrize(
    ("clause", "policy", "suggestion"),
    [
        ("with an explicit deny in an identity-based policy", "identity-based policy", "does not help"),
        ("with an explicit deny in a permissions boundary", "permissions boundary", "does not help"),
        ("with an explicit deny in a VPC endpoint policy", "vpc endpoint policy", "does not help"),
        ("with an explicit deny in a service control policy: arn:aws:x", "service control policy", "does not help"),
        (
            "because no permissions boundary allows the rds:X action",
            "permissions boundary",
            "in the permissions boundary",
        ),
        ("because no session policy allows the rds:X action", "session policy", "in the session policy as well"),
        ("because no identity-based policy allows the rds:X action", "identity-based policy", "to these credentials"),
        ("", None, "to these credentials"),
    ],
)
def test_the_policy_that_denies_is_the_policy_to_change(clause: str, policy: Optional[str], suggestion: str) -> None:
    error = ApiError("rds", "StopDBCluster", "AccessDenied", f"{DENIED} {clause}")
    assert error.denying_policy == policy
    assert suggestion in error.suggestion
    assert "rds:StopDBCluster" in error.suggestion


def test_a_message_of_another_error_names_no_policy() -> None:
    assert ApiError("rds", "StopDBCluster", "Throttling", IN_SCP).denying_policy is None


@pytest.mark.parametrize(
    ("error", "remediation"), [(MISSING, "Give AWS credentials"), (EXPIRED, "Renew them"), (INVALID, "Check the keys")]
)
def test_credentials_that_no_region_accepts_make_a_single_message(error: tuple[str, str], remediation: str) -> None:
    result = result_of({f"eu-west-{number}": error for number in range(1, 18)}, all_regions=False)
    assert result["failed"]
    assert result["msg"].count(error[1].rstrip(".")) == 1
    assert remediation in result["msg"]
    assert "leave" not in result["msg"], "no region is the cause"


def test_a_region_alone_that_rejects_credentials_may_not_be_enabled() -> None:
    result = result_of({"eu-central-1": None, "me-south-1": INVALID}, all_regions=False)
    assert "enable me-south-1 in the account" in result["msg"]
    assert "1 changed" in result["msg"]


def test_credentials_that_expire_meanwhile_are_to_be_renewed() -> None:
    result = result_of({"eu-central-1": None, "eu-west-1": EXPIRED}, all_regions=False)
    assert "Renew them" in result["msg"]
    assert "leave" not in result["msg"]


def test_regions_all_without_credentials_is_about_the_credentials() -> None:
    class Ec2:
        def describe_regions(self) -> None:
            raise RefusedError(*MISSING)

    with pytest.raises(fleet.OptionError) as caught:
        fleet.resolve_regions({"regions": ["all"]}, None, lambda *_arguments: Ec2())
    assert "Give AWS credentials" in str(caught.value)
    assert "DescribeRegions to" not in str(caught.value)


def test_regions_all_that_are_denied_name_the_action() -> None:
    class Ec2:
        meta = SimpleNamespace(service_model=SimpleNamespace(service_name="ec2", signing_name="ec2"))

        def describe_regions(self) -> None:
            raise RefusedError("UnauthorizedOperation", "You are not authorized to perform this operation.")

    with pytest.raises(fleet.OptionError, match=r"Allow ec2:DescribeRegions.*Or name the regions\.$"):
        fleet.resolve_regions({"regions": ["all"]}, None, lambda *_arguments: Ec2())


def test_many_equal_failures_make_a_single_sentence() -> None:
    names = [f"c{number}" for number in range(500)]
    message = "User is not authorized to perform: rds:StopDBCluster on resource: "
    client = Rds(
        clusters=[cluster(name) for name in names],
        refusals={name: ("AccessDenied", f"{message}{name}") for name in names},
    )
    outcomes = fleet.run_regions(lambda *_arguments: client, ["eu-central-1"], AutostopOptions(), act=True)
    result = report.build_result(outcomes)
    assert len(result["clusters"]) == 500
    assert "c9 (eu-central-1) and 490 more failed. The first: AWS returned AccessDenied" in result["msg"]
    assert len(result["msg"]) < 1000
    assert len(result["lines"]) == 500


def test_a_task_that_cannot_begin_has_every_key() -> None:
    failure = report.build_failure("tag_key is empty.")
    assert set(failure) == set(result_of({"eu-central-1": None}, all_regions=False))
    assert (failure["failed"], failure["changed"], failure["msg"]) == (True, False, "tag_key is empty.")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"tag_values": [True]}, "boolean true"),
        ({"tag_values": ["yes", False]}, "boolean false"),
        ({"tag_values": [None]}, "no text"),
        ({"tag_values": [{"yes": 1}]}, "no text"),
        ({"tag_values": []}, "tag_values is empty"),
        ({"tag_key": "True"}, "boolean true"),
        ({"tag_key": " "}, "tag_key is empty"),
    ],
)
def test_what_yaml_made_of_a_value_is_refused(given: dict[str, Any], text: str) -> None:
    defaults = {name: spec.get("default") for name, spec in fleet.ARGUMENT_SPEC.items()}
    with pytest.raises(fleet.OptionError, match=text):
        fleet.parse_options({**defaults, **given})


def test_numbers_and_the_text_true_are_values() -> None:
    defaults = {name: spec.get("default") for name, spec in fleet.ARGUMENT_SPEC.items()}
    assert fleet.parse_options({**defaults, "tag_values": [1, "True", " yes"]}).tag_values == ("1", "True", " yes")


@pytest.mark.parametrize("stops", [True, False])
@pytest.mark.parametrize("wait", [True, False])
def test_a_stop_whose_response_is_lost_is_read_back(monkeypatch: pytest.MonkeyPatch, stops: bool, wait: bool) -> None:
    class Deaf(Rds):
        """Does not do what it is requested, or does it, and does not respond."""

        def _stop(self, name: str) -> str:
            if stops:
                return super()._stop(name)
            raise ReadTimeoutError("Read timeout on endpoint URL")

        def _show(self, entry: Any, name_key: str, status_key: str) -> Any:
            shown = super()._show(entry, name_key, status_key)
            return {**shown, status_key: "stopped"} if wait and shown[status_key] == "stopping" else shown

    monkeypatch.setattr(_aws_call, "CLIENT_ERRORS", (RefusedError, ReadTimeoutError))
    client = Deaf(clusters=[cluster()], lost_responses=["orders"])
    waits = WaitOptions(1, 0.01) if wait else None
    outcomes = fleet.run_regions(lambda *_arguments: client, ["eu-central-1"], AutostopOptions(), True, waits)
    result = report.build_result(outcomes)
    (item,) = result["clusters"]
    assert item["status"] == ("changed" if stops else "failed")
    assert result["changed"] is stops
    assert item["verified"] is stops
    assert ("response to the stop was lost" if stops else "The next reading shows available.") in item["reason"]


def test_what_was_stopped_is_not_called_running() -> None:
    result = result_of({"eu-central-1": None}, all_regions=False)
    assert result["clusters"][0]["reason"] == "It was running, and it is tagged autostop=yes."
    assert result["clusters"][0]["status_after"] == "stopping"


def test_an_account_without_a_tagged_database_has_a_line() -> None:
    outcomes = fleet.run_regions(lambda *_arguments: Rds(), ["eu-central-1"], AutostopOptions(), act=True)
    assert report.build_result(outcomes)["lines"] == [
        "0 changed, 0 off already, 0 pending, 0 skipped, 0 failed in 1 region."
    ]
