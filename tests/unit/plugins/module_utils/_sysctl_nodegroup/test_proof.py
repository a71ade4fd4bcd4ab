# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof pod against a fake API server and kubelet."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import proof_pod, proof_verifier
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.proof_verifier import ProofPodVerifier

SOMAXCONN = {"net.core.somaxconn": "2048"}
SANDBOX = (
    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create containerd task: "
    "open /proc/sys/net/core/wmem_max: no such file or directory"
)


def node(*images: str, kernel: str = "6.1.115-126.amzn2023.x86_64") -> dict[str, Any]:
    held = [{"names": [f"{image}@sha256:0", image], "sizeBytes": size} for size, image in enumerate(images)]
    return {"metadata": {"name": "n1"}, "status": {"images": held, "nodeInfo": {"kernelVersion": kernel}}}


def ended(message: str) -> dict[str, Any]:
    return {
        "phase": "Failed",
        "containerStatuses": [{"state": {"terminated": {"reason": "Error", "message": message}}}],
    }


NO_CAT = {
    "phase": "Failed",
    "containerStatuses": [{"state": {"terminated": {"reason": "StartError", "message": 'exec: "cat": not found'}}}],
}


class Api:
    """An API server. C(statuses): the status of a pod by its image; C(events): a list, or the status of the refusal."""

    def __init__(self, statuses: dict[str, Any], events: Any = (), pods: Any = ()) -> None:
        self.statuses, self.events, self.pods = statuses, events, pods
        self.created: list[dict[str, Any]] = []
        self.rest_client = SimpleNamespace(pool_manager=SimpleNamespace(request=self.request))
        self.configuration = SimpleNamespace(host="https://cluster.example", auth_settings=dict)

    def request(self, method: str, url: str, body: Any = None, **_more: Any) -> Any:
        path = urlsplit(url).path
        if method == "DELETE":
            return self.respond(404, {"message": "not found"})
        if method == "POST":
            self.created.append(json.loads(body))
            return self.respond(201, self.created[-1])
        if path.endswith("/events"):
            if isinstance(self.events, int):
                return self.respond(self.events, {"message": "events is forbidden"})
            return self.respond(200, {"items": list(self.events)})
        if path == "/api/v1/pods":
            return self.respond(200, {"items": list(self.pods)})
        image = self.created[-1]["spec"]["containers"][0]["image"]
        return self.respond(200, {"metadata": {"uid": "u1"}, "status": self.statuses[image]})

    @staticmethod
    def respond(status: int, body: Any) -> Any:
        return SimpleNamespace(status=status, data=json.dumps(body).encode(), headers={}, reason="")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_verifier, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(proof_verifier, "EVENTS_DELAY", 0.05)


def verify(api: Api, entry: dict[str, Any], sysctls: Any = None, **more: Any) -> Any:
    verifier = ProofPodVerifier(api, "default", SOMAXCONN if sysctls is None else sysctls, timeout=0.3, **more)
    return verifier.verify([entry])[0]


def warning(reason: str, message: str, at: str = "1") -> dict[str, Any]:
    return {"type": "Warning", "reason": reason, "message": message, "lastTimestamp": at}


def test_the_values_are_read_with_the_first_image_that_has_cat() -> None:
    api = Api({"app": NO_CAT, "busybox": ended("2048\ncat: /daytwo-no-such-file: No such file")})
    result = verify(api, node("app", "busybox"))
    assert (result.status, result.fields["image"], result.fields["effective"]) == ("ok", "busybox", SOMAXCONN)


def test_a_sandbox_that_fails_by_its_sysctls_ends_the_proof_at_once_with_the_event() -> None:
    verifier = ProofPodVerifier(
        Api({"busybox": {"phase": "Pending"}}, [warning("FailedCreatePodSandBox", SANDBOX)]),
        "default",
        {"net.new.name": "1"},
        timeout=600,
    )
    result = verifier.verify([node("busybox")])[0]
    assert result.status == "failed"
    assert result.reason == f"n1 cannot set the sysctls of the pod: FailedCreatePodSandBox: {SANDBOX}"


def test_a_pod_that_does_not_run_is_reported_with_its_events() -> None:
    events = [
        warning("FailedMount", "no volume"),
        warning("Failed", "later", "2"),
        {**warning("x", "y"), "type": "Normal"},
    ]
    result = verify(Api({"busybox": {"phase": "Pending"}}, events), node("busybox"))
    assert "did not run within 0.3 seconds: the pod is Pending" in result.reason
    assert result.reason.endswith("Its events: Failed: later; FailedMount: no volume")
    silent = verify(Api({"busybox": {"phase": "Pending"}}), node("busybox"))
    assert silent.reason.endswith("It has no events with a warning")


def test_events_that_may_not_be_read_are_named() -> None:
    result = verify(Api({"busybox": {"phase": "Pending"}}, 403), node("busybox"))
    assert "Its events could not be read" in result.reason
    assert "HTTP 403" in result.reason
    assert "Allow to list events in namespace default" in result.reason


def test_what_no_pod_can_set_is_refused_without_a_pod() -> None:
    api = Api({})
    result = verify(api, node("busybox"), {"net.core.rmem_max": "1"})
    assert (result.status, api.created) == ("failed", [])
    assert "net.core.rmem_max: no pod can set it" in result.reason
    assert "Set it on the node" in result.reason


def test_check_mode_lists_the_images_and_fails_where_there_is_none() -> None:
    verifier = ProofPodVerifier(Api({}), "default", SOMAXCONN)
    with_images, without = verifier.preview([node("busybox", "app")])[0], verifier.preview([node()])[0]
    assert (with_images.status, with_images.reason) == ("skipped", "would be verified by a pod with busybox or app")
    assert (without.status, "set the option image" in without.reason) == ("failed", True)


DAEMON = {
    "metadata": {"ownerReferences": [{"kind": "DaemonSet", "controller": True}]},
    "spec": {"containers": [{"image": "busybox"}]},
}
WEB = {"metadata": {"ownerReferences": [{"kind": "ReplicaSet"}]}, "spec": {"containers": [{"image": "app:1"}]}}


def test_the_image_is_checked_with_those_of_daemon_sets_which_new_nodes_hold() -> None:
    name = "docker.io/library/busybox:latest"
    api = Api({name: ended("Linux\ncat: /daytwo-no-such-file: No such file")}, pods=[DAEMON, WEB])
    result = verify(api, node("docker.io/library/app:1", name), {}, only_image=True)
    assert (result.status, result.fields["image"]) == ("ok", name)
    assert "securityContext" in api.created[0]["spec"]
    assert api.created[0]["spec"]["securityContext"]["sysctls"] == []


def test_without_an_image_on_a_new_node_the_check_gives_a_suggestion() -> None:
    result = verify(Api({}, pods=[WEB]), node("docker.io/library/app:1"), {}, only_image=True)
    assert result.status == "failed"
    assert "a new node holds only the images of DaemonSets" in result.reason
    given = {"ecr/busybox": ended("Linux\ncat: /daytwo-no-such-file: No such file")}
    assert verify(Api(given), node(), {}, only_image=True, image="ecr/busybox").status == "ok"


@pytest.mark.parametrize(
    ("used", "held", "found"),
    [
        ("busybox", ["docker.io/library/busybox:latest"], True),
        ("busybox:1.36", ["docker.io/library/busybox:1.36"], True),
        ("grafana/agent", ["docker.io/grafana/agent:latest"], True),
        ("localhost/agent", ["localhost/agent:latest"], True),
        ("registry.example:5000/agent:2", ["registry.example:5000/agent:2"], True),
        ("ecr/agent@sha256:1", ["docker.io/ecr/agent@sha256:1"], True),
        ("busybox:1.37", ["docker.io/library/busybox:1.36"], False),
    ],
)
def test_the_image_of_a_pod_is_that_of_the_node(used: str, held: list[str], found: bool) -> None:
    entry = {"metadata": {"name": "n1"}, "status": {"images": [{"names": held, "sizeBytes": 1}]}}
    pod = {**DAEMON, "spec": {"containers": [{"image": used}]}}
    assert proof_pod.list_daemon_images(entry, [pod]) == (held if found else [])
