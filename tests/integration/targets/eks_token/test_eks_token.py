# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens of the lookup and of the modules, with a real API server and the real authenticator."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import kubernetes
import pytest
from ansible_collections.daytwo.aws.plugins.module_utils import _eks_token, _kubernetes
from ansible_collections.daytwo.aws.plugins.module_utils._eks_token import EksToken, EksTokenCache
from integration.targets.testbed_cluster.tokens import call_api, identity
from testbed import Bed, paths
from testbed.eks import Cluster
from testbed.node import wait_for

VIEW = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
NODES = "/api/v1/nodes"
KEPT = ("PATH", "LC_ALL", "ANSIBLE_COLLECTIONS_PATH")


class Ansible:
    """Runs of a playbook whose tasks use the lookup."""

    def __init__(self, bed: Bed, folder: Path) -> None:
        self.bed = bed
        self.folder = folder

    def run(self, *tasks: Mapping[str, Any], env: Mapping[str, str] | None = None) -> str:
        playbook = self.folder / "playbook.yml"
        play = {"hosts": "localhost", "gather_facts": False, "vars": {"ansible_inject_invocation": True}}
        playbook.write_text(json.dumps([{**play, "tasks": list(tasks)}]))
        variables = {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            **self.bed.env,
            "HOME": str(self.folder),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            **(env or {}),
        }
        ran = subprocess.run(
            ["ansible-playbook", "-vvv", str(playbook)],
            env={name: value for name, value in variables.items() if value},  # an empty value removes the variable
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return ran.stdout

    def run_lookup(
        self, cluster: str, *, env: Mapping[str, str] | None = None, **options: str
    ) -> tuple[str, dict[str, str]]:
        """The output of Ansible, and the result of the lookup, which a task writes to a file."""
        arguments = "".join(f", {name}={value!r}" for name, value in options.items())
        kept = self.folder / "kept.json"
        output = self.run(
            {
                "name": "Get a token",
                "ansible.builtin.set_fact": {
                    "eks": f"{{{{ lookup('daytwo.aws.eks_token', '{cluster}'{arguments}) }}}}"
                },
                "no_log": True,
            },
            {
                "name": "Keep it, with its file",
                "ansible.builtin.copy": {
                    "dest": str(kept),
                    "mode": "0600",
                    "content": "{{ {'eks': eks, 'pem': lookup('ansible.builtin.file', eks.ca_cert)} | to_json }}",
                },
                "no_log": True,
            },
            {
                "name": "List namespaces",
                "kubernetes.core.k8s_info": {
                    "kind": "Namespace",
                    "host": "{{ eks.host }}",
                    "api_key": "{{ eks.api_key }}",
                    "ca_cert": "{{ eks.ca_cert }}",
                },
            },
            env=env,
        )
        assert kept.exists(), output
        return output, json.loads(kept.read_text())


@pytest.fixture
def ansible(bed: Bed, tmp_path: Path) -> Ansible:
    return Ansible(bed, tmp_path)


def test_a_token_opens_the_cluster_and_is_shown_nowhere(bed: Bed, cluster: Cluster, ansible: Ansible) -> None:
    bed.recorder.reset()
    output, kept = ansible.run_lookup(cluster.name)
    calls = [call.operation for call in bed.recorder.calls()]
    eks = kept["eks"]
    assert '"name": "kube-system"' in output
    assert sorted(eks) == ["api_key", "ca_cert", "host"]
    assert (eks["host"], kept["pem"].strip()) == (cluster.endpoint, cluster.ca.strip())
    # GetCallerIdentity is the authenticator's call: it sends the signed request.
    assert [call for call in calls if call != "GetCallerIdentity"] == ["DescribeCluster"]
    assert eks["api_key"] not in output
    assert eks["api_key"].removeprefix("k8s-aws-v1.") not in output
    assert not Path(eks["ca_cert"]).exists()
    assert identity(cluster, eks["api_key"])
    # Neither a kubeconfig nor a cache of anything stays behind.
    assert not list(ansible.folder.rglob("*kube*"))


@pytest.fixture
def visitor(cluster: Cluster) -> Iterator[str]:
    """The ARN of a role with read access to the cluster."""
    eks, arn = cluster.client("eks"), cluster.role("token-visitor", "ec2")
    eks.create_access_entry(clusterName=cluster.name, principalArn=arn)
    eks.associate_access_policy(
        clusterName=cluster.name, principalArn=arn, policyArn=VIEW, accessScope={"type": "cluster"}
    )
    yield arn
    eks.delete_access_entry(clusterName=cluster.name, principalArn=arn)


def test_a_role_is_assumed(cluster: Cluster, ansible: Ansible, visitor: str) -> None:
    _output, kept = ansible.run_lookup(cluster.name, assume_role_arn=visitor)
    wait_for("the entry", lambda: identity(cluster, kept["eks"]["api_key"]) is not None, 15)
    who = identity(cluster, kept["eks"]["api_key"]) or {}
    assert who["username"].endswith("assumed-role/token-visitor/daytwo-eks-token")


@pytest.mark.full
def test_a_profile_is_used(bed: Bed, cluster: Cluster, ansible: Ansible) -> None:
    config = ansible.folder / "config"
    config.write_text(
        f"[profile ops]\nregion = {paths.REGION}\naws_access_key_id = {bed.env['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {bed.env['AWS_SECRET_ACCESS_KEY']}\n"
    )
    env = {"AWS_CONFIG_FILE": str(config), **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "")}
    env |= dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), "")
    output, kept = ansible.run_lookup(cluster.name, env=env, profile="ops")
    assert '"name": "kube-system"' in output
    assert identity(cluster, kept["eks"]["api_key"])


def test_a_failure_is_reported_without_a_traceback(cluster: Cluster, ansible: Ansible) -> None:
    task = {"name": "Get a token", "ansible.builtin.debug": {"msg": "{{ lookup('daytwo.aws.eks_token', 'nope') }}"}}
    output = " ".join(ansible.run(task).split())
    assert "DescribeCluster of nope: ResourceNotFoundException" in output
    assert "Check the name and the region" in output
    assert "Traceback" not in output


def aged(cluster: _eks_token.EksCluster, sts: Any, age: timedelta) -> EksToken:
    with mock.patch("botocore.auth.get_current_datetime", return_value=datetime.now(timezone.utc) - age):
        return _eks_token.make_token(sts, cluster.identity)


def test_a_client_of_our_modules_works_past_an_expiry(bed: Bed, cluster: Cluster, tmp_path: Path) -> None:
    def make_client(service: str, region: str = paths.REGION, endpoint: str | None = None) -> Any:
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=endpoint or bed.env["AWS_ENDPOINT_URL"],
            aws_access_key_id=bed.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=bed.env["AWS_SECRET_ACCESS_KEY"],
        )

    described = _eks_token.describe_cluster(make_client("eks"), cluster.name)
    sts = make_client("sts", described.region, described.sts_endpoint)
    made: list[EksToken] = []

    def make() -> EksToken:
        # The first token expires in some seconds, as after fifteen minutes of work.
        age = timedelta(minutes=14, seconds=57) if not made else timedelta()
        made.append(aged(described, sts, age))
        return made[-1]

    api = kubernetes.client.CoreV1Api(_kubernetes.make_cluster_client(described, EksTokenCache(make), str(tmp_path)))
    first = made[0]
    wait_for("the end of the first token", lambda: call_api(cluster, first.value, NODES)[0] == 401, 60)
    assert api.list_namespace().items
    assert made[1:]
    assert call_api(cluster, made[-1].value, NODES)[0] == 200


def test_a_module_connects_by_cluster_or_by_kubeconfig(bed: Bed, cluster: Cluster, tmp_path: Path) -> None:
    def make_client(service: str, region: str = paths.REGION, endpoint: str | None = None) -> Any:
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=endpoint or bed.env["AWS_ENDPOINT_URL"],
            aws_access_key_id=bed.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=bed.env["AWS_SECRET_ACCESS_KEY"],
        )

    for params in ({"cluster": cluster.name}, {"kubeconfig": str(cluster.kubeconfig)}):
        access = _kubernetes.connect(params, make_client, str(tmp_path))
        assert kubernetes.client.CoreV1Api(access.api).list_namespace().items
        assert bool(access.cluster) == ("cluster" in params)
