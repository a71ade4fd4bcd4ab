# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node group of real kubelets with an application on it, and runs of the playbook."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.plays import CALLBACKS, play
from integration.targets.eks_node_drain.kit import wait_for
from integration.targets.eks_sysctl_nodegroup.kit import TaskResult
from integration.targets.role_sysctl_nodegroup.client import ClientReport
from integration.targets.testbed_cluster import tokens
from testbed import Bed, paths
from testbed.audit import Request
from testbed.eks import TRUST, Cluster
from testbed.nodes.image import BUSYBOX

PLAYBOOK = "daytwo.aws.sysctl_nodegroup"
OWN_CALLBACKS = Path(__file__).parent / "callbacks"
UNSAFE = "net.core.somaxconn"
SERVICE = "web"
PORT = 8080
RBAC = paths.TESTS.parent / "docs/rbac/sysctl_nodegroup.yaml"


def template(app: str, **more: Any) -> dict[str, Any]:
    """A pod template: each pod returns its name over HTTP."""
    container = {
        "name": "main",
        "image": BUSYBOX,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", f"echo $HOSTNAME > /tmp/index.html; exec busybox httpd -f -p {PORT} -h /tmp"],
        "readinessProbe": {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
    }
    pod = {"terminationGracePeriodSeconds": 4, "automountServiceAccountToken": False, "containers": [container]}
    return {"metadata": {"labels": {"app": app}}, "spec": {**pod, **more}}


class Client:
    """Send requests to the service while the context is entered (client.py), and keep the report."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.report = ClientReport()

    def __enter__(self) -> Client:
        cloud = self.fleet.bed.cloud.init_pid()
        program = [sys.executable, "-m", "integration.targets.role_sysctl_nodegroup.client"]
        self._process = subprocess.Popen(
            ["nsenter", "-t", str(cloud), "-n", "--", *program, self.fleet.namespace, SERVICE, str(PORT)],
            env={**os.environ, "PYTHONPATH": str(paths.TESTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_dummy: object) -> None:
        output, _nothing = self._process.communicate(timeout=30)
        self.report = ClientReport(**json.loads(output))


class Fleet:
    def __init__(self, bed: Bed, cluster: Cluster, folder: Path) -> None:
        self.bed = bed
        self.cluster = cluster
        self.api = cluster.api
        self.folder = folder
        self.mark = uuid.uuid4().hex[:6]
        self.old = f"old-{self.mark}"
        self.new = f"new-{self.mark}"
        self.namespace = f"shop-{self.mark}"
        self.eks = cluster.client("eks")
        self.ec2 = cluster.client("ec2")
        self._runs = 0
        self._leftovers: list[str] = []  # API objects outside the namespace
        self.killed = ""  # the task at whose start the last run was killed
        self.acting = ""  # the user who runs the playbook; empty: the administrator by certificate
        self.credentials: dict[str, str] = {}
        self.api.post("/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    def create(self, name: str | None = None, size: int = 1, **more: Any) -> None:
        self.eks.create_nodegroup(
            clusterName=self.cluster.name,
            nodegroupName=name or self.old,
            subnets=self.cluster.subnets(),
            nodeRole=self.cluster.role("node", "ec2"),
            scalingConfig={"minSize": 1, "maxSize": 2, "desiredSize": size},
            **more,
        )
        wait_for(lambda: self.group(name or self.old)["status"] == "ACTIVE", "node group", 120)

    def al2_template(self) -> dict[str, str]:
        """A launch template with a custom AMI, and the call of bootstrap.sh that such a group needs."""
        described = self.eks.describe_cluster(name=self.cluster.name)["cluster"]
        authority = described["certificateAuthority"]["data"]
        script = (
            f"#!/bin/bash\nset -e\n/etc/eks/bootstrap.sh {self.cluster.name} --b64-cluster-ca {authority} "
            f"--apiserver-endpoint {described['endpoint']} --kubelet-extra-args '--max-pods=17'\n"
        )
        image = self.ec2.describe_images()["Images"][0]["ImageId"]
        data = {
            "ImageId": image,
            "InstanceType": "m5.large",
            "UserData": base64.b64encode(script.encode()).decode(),
        }
        made = self.ec2.create_launch_template(LaunchTemplateName=f"theirs-{self.mark}", LaunchTemplateData=data)
        return {"id": made["LaunchTemplate"]["LaunchTemplateId"], "version": "1"}

    def group(self, name: str) -> dict[str, Any]:
        found = self.eks.describe_nodegroup(clusterName=self.cluster.name, nodegroupName=name)
        return dict(found["nodegroup"])

    def groups(self) -> list[str]:
        names = self.eks.list_nodegroups(clusterName=self.cluster.name)["nodegroups"]
        return sorted(name for name in names if self.mark in name)

    def templates(self) -> list[str]:
        found = self.ec2.describe_launch_templates()["LaunchTemplates"]
        names = [str(entry["LaunchTemplateName"]) for entry in found]
        return sorted(name for name in names if self.mark in name and not name.startswith("theirs-"))

    def nodes(self, group: str) -> list[str]:
        """List the nodes by their instances: nodes with a custom AMI can lack the group's label."""
        filters = [
            {"Name": "tag:eks:nodegroup-name", "Values": [group]},
            {"Name": "instance-state-name", "Values": ["running"]},
        ]
        found = self.ec2.describe_instances(Filters=filters)["Reservations"]
        return [str(instance["PrivateDnsName"]) for reservation in found for instance in reservation["Instances"]]

    def deploy(self, replicas: int = 4) -> None:
        """Deploy a service that loses no request when its pods move. A pod is Ready only when it responds.

        A terminating pod responds for some seconds more, until every client has removed its endpoint.
        """
        labels = {"app": SERVICE}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template(SERVICE)}
        self.api.post(
            f"/apis/apps/v1/namespaces/{self.namespace}/deployments", {"metadata": {"name": "web"}, "spec": spec}
        )
        service = {"selector": labels, "ports": [{"port": 80, "targetPort": PORT}]}
        self.api.post(f"/api/v1/namespaces/{self.namespace}/services", {"metadata": {"name": SERVICE}, "spec": service})
        wait_for(lambda: len(self.ready_pods()) == replicas, f"{replicas} pods", 90)

    def keep_data(self) -> None:
        """Deploy a pod of a stateful set with a volume, and a pod of a replication controller."""
        name = f"data-{self.mark}"
        claim = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "resources": {"requests": {"storage": "1Mi"}},
        }
        volume = {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Mi"},
            "hostPath": {"path": f"/tmp/{name}", "type": "DirectoryOrCreate"},  # noqa: S108 - of the node
            "claimRef": {"namespace": self.namespace, "name": "data"},
        }
        self.api.post("/api/v1/persistentvolumes", {"metadata": {"name": name}, "spec": volume})
        self._leftovers.append(f"/api/v1/persistentvolumes/{name}")
        space = f"namespaces/{self.namespace}"
        claimed = {"metadata": {"name": "data"}, "spec": {**claim, "volumeName": name}}
        self.api.post(f"/api/v1/{space}/persistentvolumeclaims", claimed)
        with_data = template("data", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}])
        selector = {"matchLabels": {"app": "data"}}
        stateful = {"replicas": 1, "serviceName": "data", "selector": selector, "template": with_data}
        self.api.post(f"/apis/apps/v1/{space}/statefulsets", {"metadata": {"name": "data"}, "spec": stateful})
        plain = {"replicas": 1, "selector": {"app": "plain"}, "template": template("plain")}
        self.api.post(f"/api/v1/{space}/replicationcontrollers", {"metadata": {"name": "plain"}, "spec": plain})
        for app in ("data", "plain"):
            wait_for(lambda app=app: self.ready_pods(app), f"the pod of {app}")

    def too_large(self) -> None:
        """Create a pod that fits on no node."""
        container = {"name": "main", "image": BUSYBOX, "resources": {"requests": {"cpu": "1000"}}}
        body = {"metadata": {"name": "too-large"}, "spec": {"containers": [container]}}
        self.api.post(f"/api/v1/namespaces/{self.namespace}/pods", body)

    def budget(self, most: int) -> None:
        path = f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets"
        spec = {"selector": {"matchLabels": {"app": "web"}}, "maxUnavailable": most}
        budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": spec}
        self.api.apply(path, budget)
        wait_for(
            lambda: (
                self.api.get(f"{path}/web").get("status", {}).get("observedGeneration")
                == self.api.get(f"{path}/web")["metadata"]["generation"]
            ),
            "the budget's status",
        )

    def writes(self) -> list[str]:
        """Recorded calls to AWS that change node groups or templates."""
        calls = self.bed.recorder.calls(mutating=True)
        return [f"{call.operation} {call.path}" for call in calls if call.service in ("eks", "ec2")]

    def ready_pods(self, app: str = SERVICE) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.api.get(f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=app={app}")["items"]
            if not pod["metadata"].get("deletionTimestamp")
            and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        ]

    def pods_on(self) -> set[str]:
        return {str(pod["spec"]["nodeName"]) for pod in self.ready_pods()}

    def play(self, *options: str, env: dict[str, str] | None = None, **variables: Any) -> list[TaskResult]:
        """Run the playbook, by default from the old group to the new group, and return the result of each task."""
        given = {
            "sysctl_nodegroup_cluster": self.cluster.name,
            "sysctl_nodegroup_name": self.new,
            "sysctl_nodegroup_clone_from": self.old,
            "sysctl_nodegroup_sysctls": [UNSAFE],
            **({} if self.acting else {"sysctl_nodegroup_kubeconfig": str(self.cluster.kubeconfig)}),
            "sysctl_nodegroup_wait_delay": 1,
            **variables,
        }
        return self.run(PLAYBOOK, given, *options, env=env)

    def run(
        self, playbook: str, given: dict[str, Any], *options: str, env: dict[str, str] | None = None
    ) -> list[TaskResult]:
        """Run any playbook, and return the result of each task."""
        self._runs += 1
        callbacks = {
            "ANSIBLE_CALLBACK_PLUGINS": f"{CALLBACKS}:{OWN_CALLBACKS}",
            "ANSIBLE_CALLBACKS_ENABLED": "record,die",
        }
        given_env = {**self.bed.env, **self.credentials, **callbacks, **(env or {})}
        arguments = (playbook, "-e", json.dumps(given), *options)
        ran = play(self.folder, self._runs, *arguments, env=given_env, timeout=400)
        self.output = ran.output
        self.killed = "".join(line["task"] for line in ran.tasks if line["status"] == "killed")
        return [
            TaskResult(line["result"], line["status"] in ("failed", "unreachable"), line["task"])
            for line in ran.tasks
            if line["status"] not in ("skipped", "killed")
        ]

    def operator(self) -> None:
        """From here on, run the playbook as an operator with exactly the permissions of docs/rbac: an IAM role with an
        access entry, whose requests are in the audit log."""
        self.acting = f"operator-{self.mark}"
        iam = self.cluster.client("iam")
        trust = {**TRUST, "Statement": [{**TRUST["Statement"][0], "Principal": {"AWS": "*"}}]}
        arn = iam.create_role(RoleName=self.acting, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        made = self.cluster.client("sts").assume_role(RoleArn=arn, RoleSessionName="operator")["Credentials"]
        self.credentials = {
            "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
            "AWS_SESSION_TOKEN": made["SessionToken"],
        }
        self._arn = arn
        entry = {"principalArn": arn, "username": self.acting, "kubernetesGroups": [self.acting]}
        self.eks.create_access_entry(clusterName=self.cluster.name, **entry)
        for role in documents(RBAC):
            namespace = role["metadata"].get("namespace")
            path = f"/apis/rbac.authorization.k8s.io/v1{f'/namespaces/{namespace}' if namespace else ''}"
            kind = role["kind"]
            self.api.apply(f"{path}/{kind.lower()}s", role)
            binding = {
                "apiVersion": role["apiVersion"],
                "kind": f"{kind}Binding",
                "metadata": {"name": self.acting},
                "roleRef": {
                    "kind": kind,
                    "name": role["metadata"]["name"],
                    "apiGroup": "rbac.authorization.k8s.io",
                },
                "subjects": [{"kind": "Group", "name": self.acting, "apiGroup": "rbac.authorization.k8s.io"}],
            }
            self.api.post(f"{path}/{kind.lower()}bindings", binding)
            self._leftovers += [f"{path}/{kind.lower()}bindings/{self.acting}"]
        keys = {
            "access_key": made["AccessKeyId"],
            "secret_key": made["SecretAccessKey"],
            "token": made["SessionToken"],
        }
        bearer = tokens.token(tokens.url(keys, self.cluster.name))
        wait_for(lambda: tokens.call_api(self.cluster, bearer, "/api/v1/nodes")[0] == 200, "the operator's access")

    def requests(self) -> list[Request]:
        """The operator's requests to the cluster's API so far."""
        return self.cluster.requests(self.acting)

    def close(self) -> None:
        if self.acting:
            self.eks.delete_access_entry(clusterName=self.cluster.name, principalArn=self._arn)
            self.cluster.client("iam").delete_role(RoleName=self.acting)
        self.api.delete(f"/api/v1/namespaces/{self.namespace}")
        for path in self._leftovers:
            self.api.delete(path)
        for name in self.groups():
            self.eks.delete_nodegroup(clusterName=self.cluster.name, nodegroupName=name)
        wait_for(lambda: not self.groups(), "the groups' end", 120)
        found = self.ec2.describe_launch_templates()["LaunchTemplates"]
        for name in [entry["LaunchTemplateName"] for entry in found if self.mark in entry["LaunchTemplateName"]]:
            self.ec2.delete_launch_template(LaunchTemplateName=name)


@pytest.fixture
def fleet(bed: Bed, cluster: Cluster, tmp_path: Path) -> Iterator[Fleet]:
    test_fleet = Fleet(bed, cluster, tmp_path)
    yield test_fleet
    test_fleet.close()


def documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load(file.read_text())["items"])


def named(results: list[TaskResult], task_name: str) -> TaskResult:
    found = [result for result in results if task_name in result.task]
    assert found, [result.task for result in results]
    return found[0]
