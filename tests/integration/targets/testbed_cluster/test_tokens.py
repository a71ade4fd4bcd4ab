# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster accepts exactly those EKS bearer tokens that the real authenticator and STS accept."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.targets.testbed_cluster import node_groups
from integration.targets.testbed_cluster.tokens import HOST, call_api, identity, token, url
from testbed import Bed, paths
from testbed.eks import NAME, Cluster
from testbed.node import wait_for

# The API server caches a token's identity for ten seconds, so a test of a change needs a new token.
USER = f"arn:aws:iam::{paths.ACCOUNT}:user/testbed"
NODES = "/api/v1/nodes"
POLICY = "arn:aws:eks::aws:cluster-access-policy/"


@pytest.fixture
def keys(bed: Bed) -> dict[str, str]:
    """The keys of the account's first user, who created the cluster."""
    return {"access_key": bed.env["AWS_ACCESS_KEY_ID"], "secret_key": bed.env["AWS_SECRET_ACCESS_KEY"]}


@pytest.fixture
def role(cluster: Cluster) -> Iterator[tuple[str, dict[str, str]]]:
    """A role with a session: the role's ARN and the session's keys."""
    arn = cluster.role("visitor", "ec2")
    made = cluster.client("sts").assume_role(RoleArn=arn, RoleSessionName="her")["Credentials"]
    keys = {"access_key": made["AccessKeyId"], "secret_key": made["SecretAccessKey"], "token": made["SessionToken"]}
    yield arn, keys
    eks = cluster.client("eks")
    if (
        cluster.live
        and cluster.name == NAME
        and arn in eks.list_access_entries(clusterName=cluster.name)["accessEntries"]
    ):
        eks.delete_access_entry(clusterName=cluster.name, principalArn=arn)


def test_the_creator_of_a_cluster_is_its_administrator(cluster: Cluster, keys: dict[str, str]) -> None:
    bearer = token(url(keys, cluster.name))
    who = identity(cluster, bearer)
    assert who
    assert who["username"] == USER
    assert who["extra"]["arn"] == [USER]
    assert call_api(cluster, bearer, NODES)[0] == 200


def test_the_collection_of_kubernetes_works_with_such_a_token(
    bed: Bed, cluster: Cluster, keys: dict[str, str], tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(cluster.ca)
    arguments = {
        "kind": "Namespace",
        "name": "kube-system",
        "host": cluster.endpoint,
        "api_key": token(url(keys, cluster.name)),
        "ca_cert": str(ca),
    }
    argv = [
        "ansible",
        "localhost",
        "-m",
        "kubernetes.core.k8s_info",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
    ]
    ran = subprocess.run([*argv, "-a", json.dumps(arguments)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '"name": "kube-system"' in ran.stdout


def tampered(presigned: str) -> str:
    """The URL with a changed last digit of the signature."""
    return presigned[:-1] + ("0" if presigned[-1] != "0" else "1")


# Each row: how a good presigned URL is changed, and the start of the message in the authenticator's log.
REFUSED: dict[str, tuple[Any, str]] = {
    "tampered": (lambda keys, name: tampered(url(keys, name)), "The request signature we calculated does not match"),
    "another secret key": (
        lambda keys, name: url({**keys, "secret_key": "another"}, name),
        "The request signature we calculated does not match",
    ),
    "an access key of nobody": (
        lambda keys, name: url({**keys, "access_key": "AKIANOBODYNOBODYNOBO"}, name),
        "The security token included in the request is invalid",
    ),
    "expired": (
        lambda keys, name: url(keys, name, timedelta(minutes=15, seconds=5)),
        "X-Amz-Date parameter is expired",
    ),
    "of the future": (lambda keys, name: url(keys, name, -timedelta(minutes=9)), "Signature not yet current"),
    "for another cluster": (
        lambda keys, name: url(keys, f"{name}-2"),
        "The request signature we calculated does not match",
    ),
    "for no cluster": (lambda keys, name: url(keys, name, headers={}), "client did not sign the x-k8s-aws-id header"),
    "another host": (lambda keys, name: url(keys, name, host="sts.example.com"), "unexpected hostname"),
    "another call": (lambda keys, name: url(keys, name, action="GetSessionToken"), "unexpected action parameter"),
    "another parameter": (lambda keys, name: url(keys, name, more="&Name=x"), "non-whitelisted query parameter"),
    "valid for too long": (lambda keys, name: url(keys, name, expires=901), "invalid X-Amz-Expires parameter"),
    "over http": (lambda keys, name: url(keys, name).replace("https:", "http:"), "unexpected scheme"),
    "another path": (lambda keys, name: url(keys, name).replace("com/?", "com/x?"), "unexpected path"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_token_that_is_not_right_is_refused(bed: Bed, cluster: Cluster, keys: dict[str, str], case: str) -> None:
    make, message = REFUSED[case]
    log = bed.cloud.log("aws-iam-authenticator")
    before = log.stat().st_size
    assert call_api(cluster, token(make(keys, cluster.name)), NODES)[0] == 401
    with log.open() as file:
        file.seek(before)
        assert message in file.read()


def test_a_token_of_fourteen_minutes_is_good(cluster: Cluster, keys: dict[str, str]) -> None:
    assert identity(cluster, token(url(keys, cluster.name, timedelta(minutes=14))))


def test_the_global_endpoint_is_no_regional_endpoint(cluster: Cluster, keys: dict[str, str]) -> None:
    assert HOST.startswith("sts.eu-central-1.")
    assert identity(cluster, token(url(keys, cluster.name, host="sts.amazonaws.com")))


def test_a_stranger_of_the_account_is_nobody(cluster: Cluster, role: tuple[str, dict[str, str]]) -> None:
    assert identity(cluster, token(url(role[1], cluster.name))) is None


@contextlib.contextmanager
def another(cluster: Cluster, name: str) -> Iterator[None]:
    """Replace the running cluster by a cluster with the authentication mode CONFIG_MAP."""
    cluster.delete(cluster.name)
    cluster.create(name, accessConfig={"authenticationMode": "CONFIG_MAP"})
    try:
        yield
    finally:
        for group in cluster.client("eks").list_nodegroups(clusterName=name)["nodegroups"]:
            node_groups.delete(cluster, group)
        cluster.delete(name)


def username(cluster: Cluster, keys: dict[str, str]) -> str:
    """The username of a new token of these keys; empty for an unknown token."""
    return str((identity(cluster, token(url(keys, cluster.name))) or {}).get("username", ""))


def test_an_access_entry_admits_a_role_by_its_groups(cluster: Cluster, role: tuple[str, dict[str, str]]) -> None:
    arn, keys = role
    eks = cluster.client("eks")
    eks.create_access_entry(clusterName=cluster.name, principalArn=arn, kubernetesGroups=["readers"])
    bearer = token(url(keys, cluster.name))
    wait_for("the entry", lambda: identity(cluster, bearer) is not None, 60)
    who = identity(cluster, bearer)
    assert who
    assert who["username"] == f"arn:aws:sts::{paths.ACCOUNT}:assumed-role/visitor/her"
    assert set(who["groups"]) == {"readers", "system:authenticated"}
    assert call_api(cluster, bearer, "/api/v1/namespaces/default/pods")[0] == 403
    eks.update_access_entry(
        clusterName=cluster.name, principalArn=arn, kubernetesGroups=[], username="her:{{SessionName}}"
    )
    wait_for("the other name", lambda: username(cluster, keys) == "her:her", 60)
    eks.delete_access_entry(clusterName=cluster.name, principalArn=arn)
    wait_for("the entry's end", lambda: username(cluster, keys) == "", 60)


def test_an_access_policy_grants_its_permissions_in_its_scope(
    cluster: Cluster, role: tuple[str, dict[str, str]]
) -> None:
    arn, keys = role
    eks = cluster.client("eks")
    eks.create_access_entry(clusterName=cluster.name, principalArn=arn)
    bearer = token(url(keys, cluster.name))
    scope = {"type": "namespace", "namespaces": ["default"]}
    policy = {"clusterName": cluster.name, "principalArn": arn, "policyArn": f"{POLICY}AmazonEKSViewPolicy"}
    eks.associate_access_policy(**policy, accessScope=scope)
    pods = "/api/v1/namespaces/{}/pods"
    wait_for("the policy", lambda: call_api(cluster, bearer, pods.format("default"))[0] == 200, 60)
    assert call_api(cluster, bearer, pods.format("kube-system"))[0] == 403
    assert call_api(cluster, bearer, "/api/v1/namespaces/default/secrets")[0] == 403
    eks.associate_access_policy(**policy, accessScope={"type": "cluster"})
    wait_for("the wider scope", lambda: call_api(cluster, bearer, pods.format("kube-system"))[0] == 200, 60)
    admin = {**policy, "policyArn": f"{POLICY}AmazonEKSClusterAdminPolicy"}
    eks.associate_access_policy(**admin, accessScope={"type": "cluster"})
    wait_for("the administrator", lambda: call_api(cluster, bearer, "/api/v1/secrets")[0] == 200, 60)
    eks.disassociate_access_policy(**admin)
    eks.disassociate_access_policy(**policy)
    wait_for("the end of the policies", lambda: call_api(cluster, bearer, pods.format("default"))[0] == 403, 60)
    left = cluster.kubectl(
        "get", "clusterrolebindings,rolebindings", "-A", "-l", "testbed.daytwo.aws/imitation", "-o", "name"
    )
    assert len(left.stdout.split()) == 1  # the creator's binding


def test_aws_auth_admits_a_role_too(cluster: Cluster, role: tuple[str, dict[str, str]]) -> None:
    arn, keys = role
    line = f"- rolearn: {arn}\n  username: from-the-map\n  groups: [mapped]\n"
    bearer = token(url(keys, cluster.name))
    cluster.kubectl("create", "configmap", "aws-auth", "-n", "kube-system", f"--from-literal=mapRoles={line}")
    try:
        wait_for("the map", lambda: identity(cluster, bearer) is not None, 60)
        who = identity(cluster, bearer)
        assert who
        assert who["username"] == "from-the-map"
        assert "mapped" in who["groups"]
        # An access entry overrides aws-auth.
        cluster.client("eks").create_access_entry(clusterName=cluster.name, principalArn=arn, username="from-the-entry")
        wait_for("the entry", lambda: username(cluster, keys) == "from-the-entry", 60)
    finally:
        cluster.kubectl("delete", "configmap", "aws-auth", "-n", "kube-system")


@pytest.mark.full
def test_node_roles_come_to_aws_auth_and_go_with_their_last_group(cluster: Cluster) -> None:
    with another(cluster, "map"):
        theirs = "- rolearn: arn:aws:iam::123456789012:role/theirs\n  username: her\n"
        cluster.kubectl("create", "configmap", "aws-auth", "-n", "kube-system", f"--from-literal=mapRoles={theirs}")

        def roles() -> list[str]:
            data = cluster.api.get("/api/v1/namespaces/kube-system/configmaps/aws-auth")["data"]
            return [line["rolearn"].rpartition("/")[2] for line in yaml.safe_load(data["mapRoles"])]

        eks = cluster.client("eks")
        group = {"clusterName": "map", "subnets": cluster.subnets(), "nodeRole": cluster.role("map-node", "ec2")}
        for name in ("first", "second"):
            none = {"minSize": 0, "maxSize": 1, "desiredSize": 0}
            eks.create_nodegroup(**group, nodegroupName=name, scalingConfig=none)
            assert roles() == ["theirs", "map-node"]
        for name, left in (("first", ["theirs", "map-node"]), ("second", ["theirs"])):
            node_groups.wait_for_node_group(cluster, name)
            node_groups.delete(cluster, name)
            assert roles() == left


def test_a_session_with_another_token_is_refused(cluster: Cluster, role: tuple[str, dict[str, str]]) -> None:
    arn, keys = role
    cluster.client("eks").create_access_entry(clusterName=cluster.name, principalArn=arn)
    good = token(url(keys, cluster.name))
    wait_for("the entry", lambda: identity(cluster, good) is not None, 60)
    assert identity(cluster, token(url({**keys, "token": "another"}, cluster.name))) is None


@pytest.mark.full
def test_the_mode_decides_which_source_is_read(
    cluster: Cluster, keys: dict[str, str], role: tuple[str, dict[str, str]]
) -> None:
    arn, session = role
    with another(cluster, "modes"):
        line = f"- rolearn: {arn}\n  username: from-the-map\n"
        cluster.kubectl("create", "configmap", "aws-auth", "-n", "kube-system", f"--from-literal=mapRoles={line}")
        wait_for("the map", lambda: username(cluster, session) == "from-the-map", 60)
        assert username(cluster, keys) == USER  # though no access entry is listed
        eks = cluster.client("eks")
        eks.update_cluster_config(name="modes", accessConfig={"authenticationMode": "API_AND_CONFIG_MAP"})
        assert eks.list_access_entries(clusterName="modes")["accessEntries"] == [USER]
        eks.create_access_entry(clusterName="modes", principalArn=arn, username="from-the-entry")
        wait_for("the entry", lambda: username(cluster, session) == "from-the-entry", 60)
        eks.delete_access_entry(clusterName="modes", principalArn=arn)
        wait_for("the map again", lambda: username(cluster, session) == "from-the-map", 60)
        eks.update_cluster_config(name="modes", accessConfig={"authenticationMode": "API"})
        wait_for("the end of the map", lambda: username(cluster, session) == "", 60)
        assert username(cluster, keys) == USER
