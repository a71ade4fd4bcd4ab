# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is rejected before anything is read or written, and that the rules are those of botocore's models."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import option_rules
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.errors import SysctlError

VALID: dict[str, Any] = {
    "cluster": "prod",
    "name": "workers",
    "clone_from": None,
    "sysctls": ["net.core.somaxconn", "net/ipv4/tcp_*"],
    "instance_types": ["m7i.large", "u-12tb1.112xlarge"],
    "subnets": ["subnet-0123456789abcdef0", "subnet-01234567"],
    "security_groups": [],
    "node_role": "arn:aws-us-gov:iam::123456789012:role/path/nodes",
    "labels": {"team": "a", "example.com/tier": "b.c", "count": 3},
    "taints": [
        {"key": "k", "value": "", "effect": "NoSchedule"},
        {"key": "k", "value": None, "effect": "NoExecute"},
        {"key": "example.com/gpu", "value": "v", "effect": "NO_SCHEDULE"},
    ],
    "scaling": {"min_size": 0, "max_size": 1, "desired_size": 0},
    "update_config": {"max_unavailable": None, "max_unavailable_percentage": 100},
    "disk_size": 20,
    "ami_id": "ami-0123456789abcdef0",
    "version": "1.34",
    "release_version": None,
    "tags": {"cost": "", "a b": "c"},
    "wait_timeout": 1,
    "wait_delay": 1,
}


def test_valid_options_pass() -> None:
    option_rules.check_options(VALID)
    option_rules.check_options({"name": "w"})
    option_rules.check_options({"release_version": "1.52.0-8f2c1b9a"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "name is ''"),
        ({"name": " "}, "name is ' '"),
        ({"name": "-w"}, "name is '-w'"),
        ({"name": "w" * 64}, "1 to 63 letters"),
        ({"name": "a.b"}, "name is 'a.b'"),
        ({"cluster": ""}, "cluster is ''"),
        ({"cluster": "c" * 101}, "1 to 100 letters"),
        ({"clone_from": ""}, "clone_from is ''"),
        ({"names": []}, "names is an empty list"),
        ({"names": ["a", ""]}, "names is ''"),
        ({"sysctls": [""]}, "sysctls is ''"),
        ({"sysctls": ["net.core.somaxconn 1"]}, "sysctls is"),
        ({"instance_types": []}, "instance_types is an empty list"),
        ({"instance_types": [""]}, "instance_types is ''"),
        ({"instance_types": ["m5"]}, "such as m7i.large"),
        ({"instance_types": ["m5.large"] * 21}, "at most 20"),
        ({"subnets": []}, "subnets is an empty list"),
        ({"subnets": ["vpc-01234567"]}, "subnets is 'vpc-01234567'"),
        ({"security_groups": ["default"]}, "security_groups is 'default'"),
        ({"node_role": "nodes"}, "the ARN of an IAM role"),
        ({"ami_id": "nonsense"}, "ami_id is 'nonsense'"),
        ({"ami_id": ""}, "ami_id is ''"),
        ({"ami_id": "ami-xyz"}, "ami_id is 'ami-xyz'"),
        ({"ami_id": "ami-01234567", "release_version": "1.34.1-20260101"}, "no release for a custom AMI"),
        ({"version": "latest"}, "version is 'latest'"),
        ({"version": "1"}, "version is '1'"),
        ({"release_version": ""}, "release_version is ''"),
        ({"scaling": {"min_size": -1}}, "scaling.min_size is -1. Set it to 0 or more"),
        ({"scaling": {"max_size": 0}}, "scaling.max_size is 0. Set it to 1 or more"),
        ({"scaling": {"desired_size": -2}}, "scaling.desired_size is -2"),
        ({"scaling": {"min_size": 3, "max_size": 2}}, "scaling.min_size is 3, above scaling.max_size, which is 2"),
        ({"scaling": {"min_size": 3, "desired_size": 2}}, "above scaling.desired_size"),
        ({"scaling": {"desired_size": 3, "max_size": 2}}, "scaling.desired_size is 3, above scaling.max_size"),
        ({"update_config": {"max_unavailable": 0}}, "update_config.max_unavailable is 0. Set it to 1 to 100"),
        ({"update_config": {"max_unavailable_percentage": 101}}, "max_unavailable_percentage is 101"),
        ({"update_config": {"max_unavailable": 1, "max_unavailable_percentage": 1}}, "Set only one of them"),
        ({"disk_size": -5}, "disk_size is -5. Set it to 1 to 65536"),
        ({"disk_size": 0}, "disk_size is 0"),
        ({"wait_timeout": -1}, "wait_timeout is -1"),
        ({"wait_delay": 0}, "wait_delay is 0"),
        ({"labels": {"": "a"}}, "the key of a label is ''"),
        ({"labels": {"a": ""}}, "label a is ''"),
        ({"labels": {"a": True}}, "label a is True"),
        ({"labels": {"a": None}}, "in quotes"),
        ({"labels": {"a": "b" * 64}}, "1 to 63 characters"),
        ({"labels": {"a": "-b"}}, "label a is '-b'"),
        ({"labels": {"a" * 64: "b"}}, "the key of a label"),
        ({"labels": {"node-role.kubernetes.io/worker": "x"}}, "prefix that EKS reserves"),
        ({"labels": {"eks.amazonaws.com/nodegroup": "x"}}, "prefix that EKS reserves"),
        ({"taints": [{"key": "", "effect": "NoSchedule"}]}, "the key of a taint is ''"),
        ({"taints": [{"key": "a", "value": "b c", "effect": "NoSchedule"}]}, "the value of taint a"),
        ({"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NO_SCHEDULE"}]}, "there twice"),
        ({"taints": [{"key": f"k{n}", "effect": "NoSchedule"} for n in range(51)]}, "at most 50"),
        ({"tags": {"": "a"}}, "the key of a tag is ''"),
        ({"tags": {"aws:x": "a"}}, "reserved prefix"),
        ({"tags": {"daytwo.aws/nodegroup": "a"}}, "reserved prefix"),
        ({"tags": {"a": "b" * 257}}, "at most 256 characters"),
        ({"tags": {"a": False}}, "tag a is False"),
        ({"tags": {f"k{n}": "" for n in range(51)}}, "at most 50"),
    ],
)
def test_what_aws_does_not_accept_is_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SysctlError) as caught:
        option_rules.check_options({**VALID, "ami_id": None, **options})
    assert message in str(caught.value)
    assert str(caught.value).startswith("nothing was changed: ")


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(SysctlError) as caught:
        option_rules.check_options({"name": "", "disk_size": 0, "wait_delay": -1})
    assert all(part in str(caught.value) for part in ("name is", "disk_size is", "wait_delay is"))


def shape(*path: str) -> Any:
    """A shape of CreateNodegroup's request in botocore's model."""
    session = pytest.importorskip("botocore.session").get_session()
    found = session.get_service_model("eks").operation_model("CreateNodegroup").input_shape
    for key in path:
        found = found.members[key] if found.type_name == "structure" else getattr(found, key)
    return found


@pytest.mark.parametrize(
    ("option", "path"),
    [
        ("scaling.min_size", ("scalingConfig", "minSize")),
        ("scaling.max_size", ("scalingConfig", "maxSize")),
        ("scaling.desired_size", ("scalingConfig", "desiredSize")),
        ("update_config.max_unavailable", ("updateConfig", "maxUnavailable")),
        ("update_config.max_unavailable_percentage", ("updateConfig", "maxUnavailablePercentage")),
    ],
)
def test_ranges_are_within_those_of_the_model(option: str, path: tuple[str, ...]) -> None:
    rule, model = option_rules.NUMBER_RULES[option], shape(*path).metadata
    assert rule.lowest == model["min"]
    if "max" in model:
        assert rule.highest == model["max"]


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        (option_rules.LABEL_KEY, ("labels", "key")),
        (option_rules.LABEL_VALUE, ("labels", "value")),
        (option_rules.LABEL_KEY, ("taints", "member", "key")),
        (option_rules.TAINT_VALUE, ("taints", "member", "value")),
        (option_rules.TAG_KEY, ("tags", "key")),
        (option_rules.TAG_VALUE, ("tags", "value")),
    ],
)
def test_lengths_are_those_of_the_model(rule: option_rules.TextRule, path: tuple[str, ...]) -> None:
    model = shape(*path).metadata
    assert rule.longest == model["max"]
    assert rule.matches("a")
    assert rule.matches("a" * model["max"])
    assert not rule.matches("a" * (model["max"] + 1))
    assert rule.matches("") == (model.get("min", 0) == 0)


def test_the_clusters_name_is_that_of_the_model() -> None:
    session = pytest.importorskip("botocore.session").get_session()
    model = session.get_service_model("eks").shape_for("ClusterName").metadata
    rule = option_rules.TEXT_RULES["cluster"]
    assert (rule.longest, f"^{rule.pattern}") == (model["max"], model["pattern"])
    assert shape("tags").metadata["max"] == option_rules.MOST_TAGS
