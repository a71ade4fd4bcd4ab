# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod's image in ECR: the real kubelet and its provider of credentials, containerd, and the text of each refusal."""

from __future__ import annotations

import contextlib
import json
import ssl
from typing import Any

import pytest
from integration.targets.testbed_nodes.kit import Groups, wait
from testbed import paths
from testbed.images import Registry

REPOSITORY = "team/pulled"
PULL_ONLY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"


def push(groups: Groups) -> str:
    """Push an image, and return its name."""
    bed, ecr = groups.bed, groups.bed.cluster.client("ecr")
    image = bed.images.get("pinned")
    with bed.ecr.resolving():
        context = ssl.create_default_context(cafile=bed.ca)
        registry = Registry(bed.ecr.host, "AWS", bed.ecr.password(ecr), context)
        for layer in image.layers:
            registry.push_blob(REPOSITORY, layer.digest, bed.images.blob(layer.digest))
        registry.push_bytes(REPOSITORY, image.config_digest, image.config)
        registry.push_manifest(REPOSITORY, "v1", image.media_type, image.manifest)
    return f"{bed.ecr.host}/{REPOSITORY}:v1"


def messages(groups: Groups, pod: str) -> str:
    events = groups.api.get(f"/api/v1/namespaces/default/events?fieldSelector=involvedObject.name={pod}")["items"]
    return "\n".join(str(event["message"]) for event in events)


@pytest.mark.full  # a minute and a half, most of it the time-outs of the closed network
def test_a_node_pulls_with_its_role(groups: Groups) -> None:
    bed, iam, ecr = groups.bed, groups.bed.cluster.client("iam"), groups.bed.cluster.client("ecr")
    role = groups.role.rpartition("/")[2]
    ecr.create_repository(repositoryName=REPOSITORY)
    try:
        name = push(groups)
        groups.active("ecr")
        (machine,), (node,) = groups.machines("ecr"), groups.nodes("ecr")
        address = node["status"]["addresses"][0]["address"]

        def start(pod: str, **more: str) -> None:
            container = {"name": "main", "image": name, **more}
            groups.pod(pod, node["metadata"]["name"], containers=[container], restartPolicy="Never")

        def failed_with(pod: str, *texts: str) -> Any:
            return wait(f"{texts} in the events", lambda: any(text in messages(groups, pod) for text in texts))

        start("closed")
        failed_with("closed", f"dial tcp {paths.ECR}:443: i/o timeout")
        for endpoint in (paths.ECR, paths.ECR_API):
            machine.run("iptables", "-I", "OUTPUT", "-p", "tcp", "-d", endpoint, "--dport", "443", "-j", "ACCEPT")
        start("without-policy")
        failed_with("without-policy", "no basic auth credentials", "401 Unauthorized")
        (refusal,) = {call.error for call in bed.recorder.calls(operation="GetAuthorizationToken", client=address)}
        assert refusal == "AccessDeniedException"
        iam.attach_role_policy(RoleName=role, PolicyArn=PULL_ONLY)
        bed.recorder.reset()
        start("allowed")
        path = "/api/v1/namespaces/default/pods/allowed"
        wait("the end of the pod", lambda: groups.api.get(path)["status"]["phase"] == "Succeeded")
        calls = [call for call in bed.recorder.calls(service="ecr") if call.client == address]
        assert {"GetAuthorizationToken", "BatchGetImage", "GetDownloadUrlForLayer"} <= {c.operation for c in calls}
        assert bed.recorder.calls(service="s3", bucket=bed.ecr.bucket, client=address)
        # The repository's policy comes on top of the role's.
        statement = {"Effect": "Deny", "Principal": {"AWS": groups.role}, "Action": "ecr:BatchGetImage"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        ecr.set_repository_policy(repositoryName=REPOSITORY, policyText=policy)
        start("denied", imagePullPolicy="Always")
        failed_with("denied", "403 Forbidden")
    finally:
        with contextlib.suppress(iam.exceptions.NoSuchEntityException):
            iam.detach_role_policy(RoleName=role, PolicyArn=PULL_ONLY)
        ecr.delete_repository(repositoryName=REPOSITORY, force=True)
