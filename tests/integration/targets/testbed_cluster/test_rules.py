# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's rules for clusters, access entries and STS, in this process. Tests show what plain moto accepts or does not
have, and that the bed responds as AWS does, with an error code of the call in botocore's model."""

from __future__ import annotations

import functools
import http.client
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from integration.targets.testbed_cluster.tokens import url
from moto import mock_aws
from testbed import aws as rules
from testbed import own_aws, paths
from testbed.aws import eks_life
from testbed.aws.clock import CLOCK

ROLE = f"arn:aws:iam::{paths.ACCOUNT}:role/cluster"
USER = f"arn:aws:iam::{paths.ACCOUNT}:user/testbed"
VPC = {"subnetIds": ["subnet-1", "subnet-2"]}
MODES = {"accessConfig": {"authenticationMode": "API"}}
POLICY = "arn:aws:eks::aws:cluster-access-policy/"
VIEW = {"policyArn": f"{POLICY}AmazonEKSViewPolicy", "accessScope": {"type": "cluster"}}


@pytest.fixture
def plain() -> Iterator[Any]:
    """EKS of plain moto."""
    with mock_aws():
        yield client("eks")


@pytest.fixture
def eks() -> Iterator[Any]:
    """EKS of moto with the rules of the bed."""
    with mock_aws(), rules.installed(rules.load()):
        yield client("eks")
    CLOCK.reset()


@functools.cache
def config() -> Config:
    return Config(retries={"total_max_attempts": 1})


def client(service: str) -> Any:
    return boto3.client(service, paths.REGION, config=config())


def create(eks: Any, name: str = "one", **more: Any) -> dict[str, Any]:
    cluster: dict[str, Any] = eks.create_cluster(name=name, roleArn=ROLE, resourcesVpcConfig=VPC, **more)["cluster"]
    return cluster


def refuses(eks: Any, call: str, code: str, message_part: str, **params: Any) -> None:
    with pytest.raises(ClientError) as error:
        getattr(eks, call)(**params)
    assert error.value.response["Error"]["Code"] == code
    assert message_part in error.value.response["Error"]["Message"]
    operation = eks.meta.service_model.operation_model(eks.meta.method_to_api_mapping[call])
    assert code in {shape.name for shape in operation.error_shapes}


def role(name: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": "eks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    arn: str = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    return arn


@pytest.mark.parametrize("version", ["1.19", "1.28", "1.36", "2.0"])
def test_a_version_that_eks_does_not_offer_is_refused(plain: Any, version: str) -> None:
    assert create(plain, version=version)["version"] == version


@pytest.mark.parametrize("version", ["1.19", "1.28", "1.36", "2.0"])
def test_a_version_that_eks_does_not_offer_is_refused_here(eks: Any, version: str) -> None:
    params = {"name": "one", "roleArn": ROLE, "resourcesVpcConfig": VPC, "version": version}
    refuses(eks, "create_cluster", "InvalidParameterException", "unsupported Kubernetes version", **params)


def test_plain_clusters_share_an_issuer_and_are_active_at_once(plain: Any) -> None:
    first, second = create(plain), create(plain, "two")
    assert first["identity"] == second["identity"]
    assert first["status"] == "ACTIVE"
    assert "accessConfig" not in create(plain, "three", **MODES)


def test_plain_clusters_are_gone_at_once_and_show_active(plain: Any) -> None:
    create(plain)
    assert plain.delete_cluster(name="one")["cluster"]["status"] == "ACTIVE"
    assert plain.list_clusters()["clusters"] == []


def test_clusters_are_creating_first_and_have_issuers_of_their_own(eks: Any) -> None:
    for name in ("one", "two"):
        made = create(eks, name, **MODES)
        assert made["status"] == "CREATING"
        assert "endpoint" not in made
        assert "identity" not in made
        assert made["certificateAuthority"] == {}
    described = [eks.describe_cluster(name=name)["cluster"] for name in ("one", "two")]
    assert {cluster["status"] for cluster in described} == {"ACTIVE"}
    assert len({cluster["identity"]["oidc"]["issuer"] for cluster in described}) == 2
    assert described[0]["accessConfig"]["authenticationMode"] == "API"
    assert described[0]["version"] == "1.34"
    assert eks.delete_cluster(name="one")["cluster"]["status"] == "DELETING"
    assert eks.list_clusters()["clusters"] == ["two"]


def under_way(eks: Any) -> dict[str, Any]:
    create(eks)
    eks_life.edit(paths.REGION, "one", status="CREATING")
    cluster: dict[str, Any] = eks.describe_cluster(name="one")["cluster"]
    assert cluster["status"] == "CREATING"
    return cluster


def test_plain_clusters_under_way_show_everything(plain: Any) -> None:
    cluster = under_way(plain)
    assert cluster["endpoint"]
    assert cluster["identity"]["oidc"]["issuer"]
    assert cluster["certificateAuthority"]["data"]


def test_clusters_under_way_show_little(eks: Any) -> None:
    cluster = under_way(eks)
    assert "endpoint" not in cluster
    assert "identity" not in cluster
    assert cluster["certificateAuthority"] == {}


def in_subnets(eks: Any) -> dict[str, Any]:
    subnets = [subnet["SubnetId"] for subnet in client("ec2").describe_subnets()["Subnets"]]
    cluster = eks.create_cluster(name="one", roleArn=ROLE, resourcesVpcConfig={"subnetIds": subnets})["cluster"]
    config: dict[str, Any] = cluster["resourcesVpcConfig"]
    return config


def test_plain_clusters_have_no_security_group(plain: Any) -> None:
    assert set(in_subnets(plain)) == {"subnetIds"}


def test_a_cluster_has_a_security_group_in_the_vpc_of_its_subnets(eks: Any) -> None:
    config = in_subnets(eks)
    ec2 = client("ec2")
    (group,) = ec2.describe_security_groups(GroupIds=[config["clusterSecurityGroupId"]])["SecurityGroups"]
    assert group["VpcId"] == config["vpcId"] == ec2.describe_subnets()["Subnets"][0]["VpcId"]
    assert {"Key": "aws:eks:cluster-name", "Value": "one"} in group["Tags"]
    assert group["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == group["GroupId"]
    eks.delete_cluster(name="one")
    with pytest.raises(ClientError, match=r"InvalidGroup\.NotFound"):
        ec2.describe_security_groups(GroupIds=[group["GroupId"]])


def issuer_in_china() -> str:
    eks = boto3.client("eks", "cn-north-1", aws_access_key_id="testing", aws_secret_access_key="testing")
    create(eks)
    issuer: str = eks.describe_cluster(name="one")["cluster"]["identity"]["oidc"]["issuer"]
    return issuer


def test_plain_issuers_of_china_are_elsewhere(plain: Any) -> None:
    assert issuer_in_china().startswith("https://oidc.eks.cn-north-1.amazonaws.com/id/")


def test_issuers_of_china_end_as_they_do_there(eks: Any) -> None:
    assert issuer_in_china().startswith("https://oidc.eks.cn-north-1.amazonaws.com.cn/id/")


@pytest.mark.full
def test_plain_moto_knows_no_versions(plain: Any) -> None:
    with pytest.raises(NotImplementedError):
        plain.describe_cluster_versions()


def test_versions_have_days_of_support(eks: Any) -> None:
    CLOCK.advance((datetime(2026, 11, 24, tzinfo=timezone.utc) - CLOCK.now()).total_seconds())
    shown = {version["clusterVersion"]: version for version in eks.describe_cluster_versions()["clusterVersions"]}
    assert {name: version["versionStatus"] for name, version in shown.items()} == {
        **dict.fromkeys(("1.34", "1.35"), "STANDARD_SUPPORT"),
        **dict.fromkeys(("1.31", "1.32", "1.33"), "EXTENDED_SUPPORT"),
    }
    for version in shown.values():
        assert version["releaseDate"] < version["endOfStandardSupportDate"] < version["endOfExtendedSupportDate"]
    everything = eks.describe_cluster_versions(includeAll=True)["clusterVersions"]
    assert {version["clusterVersion"] for version in everything} - set(shown) == {"1.29", "1.30"}
    named = eks.describe_cluster_versions(clusterVersions=["1.29", "1.33"])["clusterVersions"]
    assert [version["clusterVersion"] for version in named] == ["1.33", "1.29"]
    extended = eks.describe_cluster_versions(versionStatus="EXTENDED_SUPPORT")["clusterVersions"]
    assert [version["clusterVersion"] for version in extended] == ["1.33", "1.32", "1.31"]
    default = eks.describe_cluster_versions(defaultOnly=True)["clusterVersions"]
    assert [version["clusterVersion"] for version in default] == ["1.34"]
    CLOCK.advance(timedelta(days=3).total_seconds())
    assert "1.31" not in {version["clusterVersion"] for version in eks.describe_cluster_versions()["clusterVersions"]}


# Access entries


@pytest.mark.full
def test_plain_moto_has_no_access_entries(plain: Any) -> None:
    create(plain, **MODES)
    cluster = {"clusterName": "one"}
    entry = {**cluster, "principalArn": ROLE}
    for call, params in {
        "create_access_entry": entry,
        "describe_access_entry": entry,
        "list_access_entries": cluster,
        "update_access_entry": entry,
        "delete_access_entry": entry,
        "associate_access_policy": {**entry, **VIEW},
        "disassociate_access_policy": {**entry, "policyArn": VIEW["policyArn"]},
        "list_associated_access_policies": entry,
        "list_access_policies": {},
    }.items():
        with pytest.raises(NotImplementedError):
            getattr(plain, call)(**params)


def test_the_creator_has_an_entry_unless_that_is_declined(eks: Any) -> None:
    create(eks, **MODES)
    assert eks.list_access_entries(clusterName="one")["accessEntries"] == [USER]
    listed = eks.list_associated_access_policies(clusterName="one", principalArn=USER)["associatedAccessPolicies"]
    assert [policy["policyArn"] for policy in listed] == [f"{POLICY}AmazonEKSClusterAdminPolicy"]
    create(eks, "two", accessConfig={**MODES["accessConfig"], "bootstrapClusterCreatorAdminPermissions": False})
    assert eks.list_access_entries(clusterName="two")["accessEntries"] == []


def test_entries_live(eks: Any) -> None:
    create(eks, **MODES)
    who = role("reader")
    entry = {"clusterName": "one", "principalArn": who}
    made = eks.create_access_entry(**entry, kubernetesGroups=["readers"], tags={"a": "b"})["accessEntry"]
    assert made["username"] == f"arn:aws:sts::{paths.ACCOUNT}:assumed-role/reader/{{{{SessionName}}}}"
    assert made["type"] == "STANDARD"
    assert made["accessEntryArn"].startswith(
        f"arn:aws:eks:{paths.REGION}:{paths.ACCOUNT}:access-entry/one/role/{paths.ACCOUNT}/reader/"
    )
    eks.update_access_entry(**entry, username="her", kubernetesGroups=[])
    described = eks.describe_access_entry(**entry)["accessEntry"]
    assert (described["username"], described["kubernetesGroups"]) == ("her", [])
    eks.associate_access_policy(**entry, **VIEW)
    assert eks.list_access_entries(clusterName="one", associatedPolicyArn=VIEW["policyArn"])["accessEntries"] == [who]
    eks.disassociate_access_policy(**entry, policyArn=VIEW["policyArn"])
    assert eks.list_associated_access_policies(**entry)["associatedAccessPolicies"] == []
    eks.delete_access_entry(**entry)
    assert eks.list_access_entries(clusterName="one")["accessEntries"] == [USER]
    assert VIEW["policyArn"] in {policy["arn"] for policy in eks.list_access_policies()["accessPolicies"]}


def test_what_entries_may_not_be(eks: Any) -> None:
    create(eks, **MODES)
    who = role("reader")
    entry = {"clusterName": "one", "principalArn": who}
    wrong, lost = "InvalidParameterException", "ResourceNotFoundException"
    refuses(eks, "describe_access_entry", lost, "could not be found", **entry)
    nobody = {**entry, "principalArn": f"arn:aws:iam::{paths.ACCOUNT}:role/nobody"}
    refuses(eks, "create_access_entry", wrong, "invalid principal", **nobody)
    refuses(eks, "create_access_entry", wrong, "prefix is reserved", **entry, kubernetesGroups=["system:masters"])
    refuses(eks, "create_access_entry", wrong, "takes neither", **entry, type="EC2_LINUX", username="node")
    eks.create_access_entry(**entry)
    refuses(eks, "create_access_entry", "ResourceInUseException", "already in use", **entry)
    unknown = {**VIEW, "policyArn": f"{POLICY}NoSuchPolicy"}
    refuses(eks, "associate_access_policy", lost, "policyArn", **entry, **unknown)
    narrow = {**VIEW, "accessScope": {"type": "namespace"}}
    refuses(eks, "associate_access_policy", wrong, "namespaces", **entry, **narrow)
    refuses(eks, "disassociate_access_policy", lost, "policyArn", **entry, policyArn=VIEW["policyArn"])
    node = role("node")
    eks.create_access_entry(clusterName="one", principalArn=node, type="EC2_LINUX")
    of_node = {"clusterName": "one", "principalArn": node, **VIEW}
    refuses(eks, "associate_access_policy", "InvalidRequestException", "EC2_LINUX", **of_node)


def test_a_cluster_of_the_map_alone_has_no_entries(eks: Any) -> None:
    create(eks)  # CONFIG_MAP is the default
    message_part = "authentication mode must be set to one of [API, API_AND_CONFIG_MAP]"
    refuses(eks, "list_access_entries", "InvalidRequestException", message_part, clusterName="one")


def test_the_mode_goes_in_a_single_direction(plain: Any) -> None:
    create(plain)
    plain.update_cluster_config(name="one", accessConfig={"authenticationMode": "API"})
    assert "accessConfig" not in plain.describe_cluster(name="one")["cluster"]


def test_the_mode_goes_in_a_single_direction_here(eks: Any) -> None:
    create(eks)

    def change(mode: str) -> dict[str, Any]:
        return {"name": "one", "accessConfig": {"authenticationMode": mode}}

    wrong = "InvalidParameterException"
    refuses(eks, "update_cluster_config", wrong, "Unsupported authentication mode update", **change("API"))
    update = eks.update_cluster_config(**change("API_AND_CONFIG_MAP"))["update"]
    assert update["type"] == "AccessConfigUpdate"
    assert eks.describe_update(name="one", updateId=update["id"])["update"]["status"] == "Successful"
    eks.list_access_entries(clusterName="one")
    refuses(eks, "update_cluster_config", wrong, "Unsupported authentication mode update", **change("CONFIG_MAP"))
    eks.update_cluster_config(**change("API"))
    refuses(eks, "update_cluster_config", wrong, "already", **change("API"))
    assert eks.describe_cluster(name="one")["cluster"]["accessConfig"]["authenticationMode"] == "API"


# STS by http, because presigned calls are not sent through botocore


@pytest.fixture(scope="module")
def aws() -> Iterator[own_aws.OwnAws]:
    with own_aws.own_aws() as mine:
        yield mine


def get(port: int, presigned: str, **headers: str) -> tuple[int, str]:
    host, _slash, rest = presigned.removeprefix("https://").partition("/")
    connection = http.client.HTTPConnection(own_aws.HOST, port, timeout=10)
    connection.request("GET", f"/{rest}", headers={"Host": host, **headers})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_a_presigned_call_is_answered_in_json_if_requested(aws: own_aws.OwnAws) -> None:
    keys = {"access_key": own_aws.KEYS["aws_access_key_id"], "secret_key": own_aws.KEYS["aws_secret_access_key"]}
    made = url(keys, "one")
    status, response = get(aws.port, made, **{"x-k8s-aws-id": "one", "Accept": "application/json"})
    assert status == 200
    assert json.loads(response)["GetCallerIdentityResponse"]["GetCallerIdentityResult"]["Arn"] == USER
    status, response = get(aws.port, made, **{"x-k8s-aws-id": "one"})
    assert (status, response.count(f"<Arn>{USER}</Arn>")) == (200, 1)
    for headers in ({"x-k8s-aws-id": "two"}, {}):
        status, response = get(aws.port, made, **headers)
        assert (status, "SignatureDoesNotMatch" in response) == (403, True)
    aws.advance(seconds=16 * 60)
    status, response = get(aws.port, made, **{"x-k8s-aws-id": "one"})
    assert (status, "Signature expired" in response) == (403, True)
    aws.reset()


def test_a_session_ends(aws: own_aws.OwnAws) -> None:
    sts = aws.client("sts")
    session = sts.assume_role(RoleArn=ROLE, RoleSessionName="her", DurationSeconds=900)["Credentials"]
    keys = {
        "access_key": session["AccessKeyId"],
        "secret_key": session["SecretAccessKey"],
        "token": session["SessionToken"],
    }
    header = {"x-k8s-aws-id": "one"}
    assert "assumed-role/cluster/her" in get(aws.port, url(keys, "one"), **header)[1]
    status, response = get(aws.port, url({**keys, "token": "x"}, "one"), **header)
    assert (status, "InvalidClientTokenId" in response) == (403, True)
    aws.advance(seconds=1000)
    late = url(keys, "one", -timedelta(seconds=1000))
    status, response = get(aws.port, late, **header)
    assert (status, "ExpiredToken" in response) == (403, True)
    aws.reset()


@pytest.mark.full
def test_plain_moto_believes_everything() -> None:
    """A signature of an unknown key, 16 minutes old, for another cluster, and without a session token."""
    made = url({"access_key": "x", "secret_key": "x"}, "one", timedelta(minutes=16))
    with mock_aws():
        arn = client("sts").get_caller_identity()["Arn"]
        answer = requests.get(made, headers={"x-k8s-aws-id": "two", "Accept": "application/json"}, timeout=10)
    assert arn.endswith(":user/moto")
    assert answer.status_code == 200
    assert answer.text.count("<Arn>") == 1  # in XML, though JSON was requested
