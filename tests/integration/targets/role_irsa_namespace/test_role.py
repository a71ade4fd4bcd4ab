# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook and its role, as a person or AWX runs them: IAM, a real cluster, real tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.targets.aurora_autostop.kit import TaskResult
from integration.targets.iam_irsa_info.kit import ANNOTATION, Fleet
from testbed.node import wait_for

PLAYBOOK = "daytwo.aws.irsa_namespace"
EC2 = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
DOCS = Path(__file__).parents[4] / "docs"
POLICY = DOCS / "iam/eks_irsa_binding_info.json"
RBAC = DOCS / "rbac/irsa_namespace.yaml"
WAITING = ("-e", "irsa_namespace_restart_timeout=120")


def of(outcomes: list[TaskResult], task: str) -> TaskResult:
    (outcome,) = [outcome for outcome in outcomes if outcome.task.endswith(task)]
    return outcome


def lines(outcomes: list[TaskResult]) -> list[str]:
    return list(of(outcomes, "Show what happened").result["__irsa_namespace_lines"])


def deployment(fleet: Fleet, namespace: str, name: str, service_account: str) -> None:
    labels = {"app": name}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            # The cluster has no node: a new pod never gets ready, for which the other strategy would wait.
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"serviceAccountName": service_account, "containers": [{"name": "main", "image": "none"}]},
            },
        },
    }
    fleet.kubernetes.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    wait_for("a pod", lambda: len(pods(fleet, namespace)) > 0, 60)


def pods(fleet: Fleet, namespace: str) -> list[dict[str, Any]]:
    output = fleet.kubernetes.kubectl("get", "pods", "-n", namespace, "-o", "json").stdout
    return [pod for pod in json.loads(output)["items"] if "deletionTimestamp" not in pod["metadata"]]


def roles_of(fleet: Fleet, namespace: str) -> set[str | None]:
    """The role in the environment of a namespace's pods, by their first containers."""
    found = set()
    for pod in pods(fleet, namespace):
        values = {variable["name"]: variable.get("value") for variable in pod["spec"]["containers"][0].get("env", [])}
        found.add(values.get("AWS_ROLE_ARN"))
    return found


def documented() -> set[tuple[str, str, str]]:
    """API group, resource and verb of each permission in the document."""
    (role,) = yaml.safe_load(RBAC.read_text())["items"]
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def requested(fleet: Fleet, *namespaces: str) -> set[tuple[str, str, str]]:
    """The same of the controller's requests in these namespaces."""
    user = fleet.kubernetes.client("sts").get_caller_identity()["Arn"]
    requests = fleet.kubernetes.requests(user)
    return {(request.group, request.resource, request.verb) for request in requests if request.namespace in namespaces}


def test_both_sides_there_and_back(fleet: Fleet) -> None:
    shop, cloudon = fleet.namespace("shop"), fleet.namespace("cloudon")
    arn = fleet.role("lbc", EC2, fleet.statement((shop, "other")))
    name = arn.rpartition("/")[2]
    before = fleet.trust(arn)
    fleet.service_account(shop, "web")
    deployment(fleet, shop, "web", "web")
    assert roles_of(fleet, shop) == {None}
    # As text, like the answers of an AWX survey.
    bindings = ", ".join(
        f"role={name} namespace={namespace} service_accounts={account}"
        for namespace, account in ((shop, "web"), (cloudon, "lbc"))
    )
    answers = ("-e", f"irsa_namespace_cluster={fleet.kubernetes.name}", *WAITING)
    present = (*answers, "-e", json.dumps({"irsa_namespace_bindings": bindings}))

    fleet.operations()
    checked = fleet.play(PLAYBOOK, "--check", *present)
    assert fleet.operations(mutating=True) == []
    assert not any(outcome.failed for outcome in checked), [outcome.message for outcome in checked]
    assert fleet.trust(arn) == before
    assert roles_of(fleet, shop) == {None}
    would = [line.removeprefix("would: ") for line in lines(checked) if line.startswith("would: ")]

    log = fleet.folder / "ansible.log"
    ran = fleet.play(PLAYBOOK, "-vvvv", *present, env={"ANSIBLE_LOG_PATH": str(log)})
    assert not any(outcome.failed for outcome in ran), [outcome.message for outcome in ran if outcome.failed]
    done = [line.removeprefix("done: ") for line in lines(ran) if line.startswith("done: ")]
    assert (
        would
        == done
        == [
            f"annotate service account {shop}/web",
            f"annotate service account {cloudon}/lbc",
            f"restart Deployment {shop}/web",
        ]
    )
    assert fleet.annotations(shop, "web") == fleet.annotations(cloudon, "lbc") == {ANNOTATION: arn}
    assert roles_of(fleet, shop) == {arn}
    proofs = {
        item["name"]: item["verified"]
        for item in of(ran, "Verify with a token of each service account").result["service_accounts"]
    }
    assert proofs == {f"{shop}/web with {name}": True, f"{cloudon}/lbc with {name}": True}
    shown = log.read_text()
    assert '"api_key": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"' in shown  # as much as Ansible ever shows is in there
    for text in (shown, json.dumps([outcome.result for outcome in ran])):
        assert "k8s-aws-v1." not in text
        assert "eyJhbGciOi" not in text  # no token of a service account either

    again = fleet.play(PLAYBOOK, *present)
    assert not any(outcome.changed or outcome.failed for outcome in again)

    absent = [
        {"role": name, "namespace": shop, "service_accounts": ["web"], "state": "absent"},
        {"role": name, "namespace": cloudon, "service_accounts": ["lbc"], "state": "absent"},
    ]
    away = (*answers, "-e", json.dumps({"irsa_namespace_bindings": absent}))
    gone = fleet.play(PLAYBOOK, *away)
    assert not any(outcome.failed for outcome in gone), [outcome.message for outcome in gone if outcome.failed]
    assert fleet.trust(arn) == before
    assert fleet.annotations(shop, "web") == {}
    assert roles_of(fleet, shop) == {None}
    proof = of(gone, "Verify with a token of each service account").result["service_accounts"]
    assert [item["verified"] for item in proof] == [True, True]
    assert proof[0]["reason"] == "STS rejects its token."
    # The order: nothing is removed from the trust policy while pods still have the role.
    tasks = [outcome.task for outcome in gone]
    assert tasks.index("daytwo.aws.irsa_namespace : Restart the owners of stale pods") < tasks.index(
        "daytwo.aws.irsa_namespace : Remove service accounts from the trust policies of their roles"
    )
    again = fleet.play(PLAYBOOK, *away)
    assert not any(outcome.changed or outcome.failed for outcome in again)

    made = requested(fleet, shop, cloudon)
    assert made <= documented(), sorted(made - documented())
    # The owner of these pods is a Deployment.
    others = {rule for rule in documented() if rule[1] in ("statefulsets", "daemonsets")}
    assert documented() - made == others


def test_a_proof_that_fails_fails_the_role(fleet: Fleet) -> None:
    """By a condition that the token's way cannot meet."""
    shop = fleet.namespace("shop")
    statement = fleet.statement((shop, "web"))
    statement["Condition"]["IpAddress"] = {"aws:SourceIp": "192.0.2.0/24"}
    arn = fleet.role("fenced", statement)
    bindings = [{"role": arn, "namespace": shop, "service_accounts": ["web"]}]
    outcomes = fleet.play(
        PLAYBOOK,
        *("-e", f"irsa_namespace_cluster={fleet.kubernetes.name}"),
        *("-e", f"irsa_namespace_kubeconfig={fleet.kubernetes.kubeconfig}"),
        *("-e", json.dumps({"irsa_namespace_bindings": bindings})),
    )
    failed = of(outcomes, "Fail if a service account is not in order")
    assert failed.failed
    assert "STS answered AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity" in failed.message
    assert any("failed. STS answered" in line for line in lines(outcomes))
    # By a kubeconfig, no token of EKS is needed.
    assert fleet.annotations(shop, "web") == {ANNOTATION: arn}


def play_bindings(fleet: Fleet, *bindings: dict[str, Any], check: bool = False) -> list[TaskResult]:
    return fleet.play(
        PLAYBOOK,
        *(("--check",) if check else ()),
        *("-e", f"irsa_namespace_cluster={fleet.kubernetes.name}", *WAITING),
        *("-e", json.dumps({"irsa_namespace_bindings": list(bindings)})),
    )


@pytest.mark.full
def test_a_failed_binding_leaves_the_others_done(fleet: Fleet) -> None:
    """An annotation that names another role, a role that does not exist, a namespace that does not exist."""
    shop = fleet.namespace("shop")
    arn, other = fleet.role("lbc", EC2), fleet.role("other", EC2)
    for account in ("taken", "handed-over", "fine"):
        fleet.service_account(shop, account, None if account == "fine" else other)
    role = arn.rpartition("/")[2]
    bindings = [
        {"role": role, "namespace": shop, "service_accounts": ["taken", "fine"]},
        {"role": role, "namespace": shop, "service_accounts": ["handed-over"], "replaces": other.rpartition("/")[2]},
        {"role": f"{role}-missing", "namespace": shop, "service_accounts": ["fine"]},
        {"role": role, "namespace": f"{shop}-missing", "service_accounts": ["web"]},
    ]
    checked = play_bindings(fleet, *bindings, check=True)
    assert "names another role" in of(checked, "Fail if a service account is not in order").message
    assert fleet.trust(arn)["Statement"] == [EC2]

    ran = play_bindings(fleet, *bindings)
    message = of(ran, "Fail if a service account is not in order").message
    assert f"{shop}/taken with {role}: The annotation {ANNOTATION} names another role: {other}." in message
    assert f"The role {role}-missing does not exist" in message
    assert f"{shop}-missing/web with {role}: The service account was not changed:" in message
    assert f"{shop}/fine with {role}:" not in message
    assert fleet.annotations(shop, "taken") == {ANNOTATION: other}
    assert fleet.annotations(shop, "fine") == fleet.annotations(shop, "handed-over") == {ANNOTATION: arn}
    trusted = json.dumps(fleet.trust(arn))
    assert f":{shop}:fine" in trusted
    assert f":{shop}:taken" not in trusted
    assert any(line == f"done: annotate service account {shop}/fine" for line in lines(ran))


@pytest.mark.full
def test_nobody_is_restarted_for_an_annotation_that_an_association_overrides(fleet: Fleet) -> None:
    shop = fleet.namespace("shop")
    arn = fleet.role("web", EC2)
    fleet.service_account(shop, "web")
    deployment(fleet, shop, "web", "web")
    eks = fleet.kubernetes.client("eks")
    association = eks.create_pod_identity_association(
        clusterName=fleet.kubernetes.name, namespace=shop, serviceAccount="web", roleArn=arn
    )["association"]["associationId"]
    pod = pods(fleet, shop)[0]["metadata"]["uid"]
    binding = {"role": arn, "namespace": shop, "service_accounts": ["web"]}
    try:
        ran = play_bindings(fleet, binding)
        assert not any(outcome.failed for outcome in ran), [outcome.message for outcome in ran if outcome.failed]
        assert [found["metadata"]["uid"] for found in pods(fleet, shop)] == [pod]
        assert any("Its Pod Identity association wins" in line for line in lines(ran))
        again = play_bindings(fleet, binding)
        assert not any(outcome.changed or outcome.failed for outcome in again)
    finally:
        eks.delete_pod_identity_association(clusterName=fleet.kubernetes.name, associationId=association)


def test_options_that_are_rejected_are_named(fleet: Fleet) -> None:
    for bindings, text in (
        ([], "bindings is empty"),
        ([{"role": "", "namespace": "a", "service_accounts": ["b"]}], "role '' is neither the name of a role"),
        ([{"role": "r", "namespace": "", "service_accounts": ["b"]}], "'' is not a valid name of a namespace"),
        ([{"role": "r", "namespace": "a", "service_accounts": []}], "r has no service account"),
    ):
        outcomes = play_bindings(fleet, *bindings)
        assert any(text in outcome.message for outcome in outcomes if outcome.failed)


def test_the_policy_of_eks_irsa_binding_info_names_what_is_called_and_nothing_more(fleet: Fleet) -> None:
    statements = json.loads(POLICY.read_text())["Statement"]
    allowed = {
        statement["Sid"]: {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
        for statement in statements
    }
    shop = fleet.namespace("shop")
    arn = fleet.role("web", fleet.statement((shop, "web")))
    fleet.service_account(shop, "web", arn)

    def called(role: str, **options: Any) -> set[str]:
        fleet.operations()
        bindings = [{"role": role, "namespace": shop, "service_accounts": ["web"]}]
        outcome = fleet.task("daytwo.aws.eks_irsa_binding_info", bindings=bindings, verify=True, **options)
        assert not outcome.failed, outcome.message
        assert outcome.result["service_accounts"][0]["verified"]
        found = {call.action for call in fleet.bed.recorder.calls(client="controller")}
        assert fleet.operations(mutating=True) == []
        # The call is not signed, so it needs no permission.
        return found - {"sts:AssumeRoleWithWebIdentity"}

    by_name = called(arn.rpartition("/")[2], cluster=fleet.kubernetes.name)
    assert by_name == allowed["OnlyForCluster"] | allowed["OnlyForRolesByName"]
    assert called(arn, kubeconfig=str(fleet.kubernetes.kubeconfig)) == set()
    assert len(allowed) == 2
