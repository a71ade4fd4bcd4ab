# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS: access entries, which map an IAM principal to Kubernetes' names, and the access policies on them.

The authenticator reads the entries of the live cluster from a file. Access policies are an IMITATION: EKS evaluates
them by its own authorizer. Here each is a role binding to a group that the entry's principal gets beside its own.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml
from moto.core.responses import ActionResult, EmptyResult
from moto.eks.exceptions import (
    InvalidParameterException,
    InvalidRequestException,
    ResourceInUseException,
    ResourceNotFoundException,
)
from moto.eks.models import Cluster, EKSBackend, Nodegroup
from moto.eks.responses import EKSResponse
from moto.eks.urls import response as dispatcher
from moto.eks.urls import url_paths
from moto.iam.models import iam_backends

from .. import control_plane
from .caller_identity import OWN_USER
from .clock import CLOCK
from .rules import rule

ENTRIES = "{0}/clusters/(?P<name>[^/]+)/access-entries"
for path in (
    *(f"{ENTRIES}$", f"{ENTRIES}/(?P<principalArn>.+)/access-policies$"),
    *(f"{ENTRIES}/(?P<principalArn>.+)/access-policies/(?P<policyArn>.+)$", f"{ENTRIES}/(?P<principalArn>.+)$"),
    "{0}/access-policies$",
):
    url_paths[path] = dispatcher.dispatch

FACT = "EKS API reference on access entries; moto has none"
POLICY = "arn:aws:eks::aws:cluster-access-policy/"
# By the EKS user guide: the Kubernetes role that corresponds to each policy.
POLICIES = {
    "AmazonEKSClusterAdminPolicy": "cluster-admin",
    "AmazonEKSAdminPolicy": "admin",
    "AmazonEKSEditPolicy": "edit",
    "AmazonEKSViewPolicy": "view",
    "AmazonEKSAdminViewPolicy": "testbed:eks-admin-view",
}
NODE_GROUPS = ["system:nodes", "system:bootstrappers"]
TYPES = ("STANDARD", "EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX")
IMITATION = {"testbed.daytwo.aws/imitation": "eks-access-policy"}
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@dataclass
class Policy:
    scope: dict[str, Any]
    since: datetime

    def shown(self, arn: str) -> dict[str, Any]:
        return {"policyArn": arn, "accessScope": self.scope, "associatedAt": self.since, "modifiedAt": self.since}


@dataclass
class Entry:
    cluster: str
    principal: str
    arn: str
    created: datetime
    username: str
    kind: str = "STANDARD"
    groups: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    hidden: bool = False  # the creator of a cluster without access entries
    modified: datetime = field(default_factory=CLOCK.now)

    @property
    def policy_group(self) -> str:
        """The group in the role bindings that stand for the entry's policies."""
        return f"testbed:eks-access-policies:{self.principal}"

    def shown(self) -> dict[str, Any]:
        return {
            "clusterName": self.cluster,
            "principalArn": self.principal,
            "kubernetesGroups": self.groups,
            "accessEntryArn": self.arn,
            "createdAt": self.created,
            "modifiedAt": self.modified,
            "tags": self.tags,
            "username": self.username,
            "type": self.kind,
        }

    def mapping(self) -> tuple[str, dict[str, Any]]:
        """Return the authenticator's list and the entry's mapping in it."""
        groups = [
            *(self.groups if self.kind == "STANDARD" else NODE_GROUPS),
            *([self.policy_group] if self.policies else []),
        ]
        identity = {"username": self.username, "groups": groups}
        if ":role/" in self.principal:
            return "mapRoles", {"rolearn": self.principal, **identity}
        return "mapUsers", {"userarn": self.principal, **identity}


def principal(arn: str) -> str:
    """Return the role of a session, since entries name roles. Other ARNs stay as they are."""
    found = re.fullmatch(r"arn:([^:]+):sts::(\d+):assumed-role/([^/]+)/.+", arn)
    return f"arn:{found[1]}:iam::{found[2]}:role/{found[3]}" if found else arn


def entry(cluster: Cluster, who: str, kind: str = "STANDARD", username: str = "", **more: Any) -> Entry:
    region, account = cluster.arn.split(":")[3:5]
    if not username and kind != "STANDARD":
        username = "system:node:{{EC2PrivateDNSName}}"
    elif not username and ":role/" in who:
        username = f"arn:aws:sts::{account}:assumed-role/{who.rsplit('/')[-1]}/{{{{SessionName}}}}"
    kind_of, _slash, name = who.rpartition(":")[2].partition("/")
    arn = f"arn:aws:eks:{region}:{account}:access-entry/{cluster.name}/{kind_of}/{account}/{name}/{uuid.uuid4()}"
    made = Entry(cluster.name, who, arn, CLOCK.now(), username or who, kind, **more)
    cluster.testbed_access[who] = made
    return made


def admit_creator(cluster: Cluster, who: str) -> None:
    """Make the creator an administrator: by an entry, which is hidden where the cluster has no access entries."""
    made = entry(cluster, who, hidden=mode(cluster) == "CONFIG_MAP")
    made.policies[f"{POLICY}AmazonEKSClusterAdminPolicy"] = Policy({"type": "cluster", "namespaces": []}, CLOCK.now())


def admit_nodes(cluster: Cluster, role: str) -> None:
    """Let the role's kubelets join, as EKS does at CreateNodegroup: by an access entry or by a mapping in aws-auth."""
    if mode(cluster) != "CONFIG_MAP":
        if role not in cluster.testbed_access:
            entry(cluster, role, "EC2_LINUX")
            sync_access(cluster)
        return
    line = {"rolearn": role, "username": "system:node:{{EC2PrivateDNSName}}", "groups": NODE_GROUPS[::-1]}
    edit_aws_auth(lambda lines: lines if any(mapping["rolearn"] == role for mapping in lines) else [*lines, line])


def dismiss_nodes(cluster: Cluster, leaving: Nodegroup) -> None:
    """Remove the role's mapping from aws-auth with the last group that uses it.

    (docs/facts/sysctl_nodegroup.md#ownership)
    """
    others = [group for group in cluster.nodegroups.values() if group is not leaving]
    if (
        cluster.testbed_live
        and mode(cluster) != "API"
        and leaving.node_role not in [group.node_role for group in others]
    ):
        edit_aws_auth(lambda lines: [mapping for mapping in lines if mapping["rolearn"] != leaving.node_role])


def edit_aws_auth(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    if (found := control_plane.live()) is None:
        return
    where = "/api/v1/namespaces/kube-system/configmaps"
    try:
        old = found.api.get(f"{where}/aws-auth").get("data") or {}
    except control_plane.ApiError as error:
        if error.status != 404:
            raise
        old = None
    lines = yaml.safe_load((old or {}).get("mapRoles", "")) or []
    changed = change(lines)
    if changed == lines:
        return
    data = {"mapRoles": yaml.safe_dump(changed, sort_keys=False)}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aws-auth"}, "data": data}
    if old is None:
        found.api.post(where, body)
    else:
        found.api.patch(f"{where}/aws-auth", body)


def mode(cluster: Cluster) -> str:
    return str(cluster.access_config["authenticationMode"])


# Synchronization with the live cluster


def sync_access(cluster: Cluster) -> None:
    """Write the entries and the mode to the authenticator's files and to role bindings."""
    found = control_plane.live()
    if not cluster.testbed_live or found is None or found.name != cluster.name:
        return
    for path, text in files(cluster, found).items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)  # in place: the authenticator watches the file
    bind(found.api, cluster)


def files(cluster: Cluster, found: control_plane.Live) -> dict[Path, str]:
    """Return the authenticator's files with their content."""
    lists: dict[str, list[dict[str, Any]]] = {"mapRoles": [], "mapUsers": []}
    for access_entry in cluster.testbed_access.values():
        where, line = access_entry.mapping()
        lists[where].append(line)
    # Both sources: the first that knows a principal decides, as EKS lets entries win over aws-auth.
    sources = "DynamicFile" if mode(cluster) == "API" else "DynamicFile EKSConfigMap"
    return {found.access_entries: json.dumps(lists), found.backend_mode: json.dumps({"backendMode": sources})}


def bind(api: control_plane.Api, cluster: Cluster) -> None:
    bindings: dict[tuple[str, str], dict[str, Any]] = {}
    for access_entry in cluster.testbed_access.values():
        for arn, policy in access_entry.policies.items():
            for space in policy.scope.get("namespaces") or [""]:
                name = f"testbed:eks-access:{uuid.uuid5(uuid.NAMESPACE_URL, f'{access_entry.principal} {arn} {space}')}"
                bindings[space, name] = binding(
                    name, space, access_entry.policy_group, POLICIES[arn.rpartition("/")[2]]
                )
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    api.apply(
        f"{RBAC}/clusterroles",
        {
            **role,
            "metadata": {"name": "testbed:eks-admin-view", "labels": IMITATION},
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}],
        },
    )
    label = "labelSelector=testbed.daytwo.aws/imitation=eks-access-policy"
    for resource in ("clusterrolebindings", "rolebindings"):
        for existing in api.get(f"{RBAC}/{resource}?{label}")["items"]:
            space, name = existing["metadata"].get("namespace", ""), existing["metadata"]["name"]
            if (space, name) not in bindings:
                api.delete(f"{_where(space)}/{name}")
    for (space, _name), body in bindings.items():
        api.apply(_where(space), body)


def _where(space: str) -> str:
    return f"{RBAC}/namespaces/{space}/rolebindings" if space else f"{RBAC}/clusterrolebindings"


def binding(name: str, space: str, group: str, role: str) -> dict[str, Any]:
    place = {"namespace": space} if space else {}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding" if space else "ClusterRoleBinding",
        "metadata": {"name": name, "labels": IMITATION, **place},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"}],
    }


# The calls


def cluster_of(response: EKSResponse) -> Cluster:
    backend: EKSBackend = response.eks_backend
    cluster: Cluster = backend.describe_cluster(unquote(response._get_param("name")))
    if mode(cluster) == "CONFIG_MAP":
        raise InvalidRequestException(
            message="The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform "
            "this operation."
        )
    return cluster


def entry_of(response: EKSResponse) -> tuple[Cluster, Entry]:
    cluster = cluster_of(response)
    found = cluster.testbed_access.get(unquote(response._get_param("principalArn")))
    if found is None:
        raise ResourceNotFoundException(
            message="The specified principalArn could not be found. You can view your available access entries with "
            "'list-access-entries'."
        )
    return cluster, found


def check_principal(arn: str) -> None:
    found = re.fullmatch(r"arn:([^:]+):iam::(\d+):(role|user)/(.+)", arn)
    if found:
        backend = iam_backends[found[2]][found[1]]
        principals = backend.roles if found[3] == "role" else backend.users
        if arn == OWN_USER or any(known.arn == arn for known in principals.values()):
            return
    raise InvalidParameterException(message=f"The specified principalArn is invalid: invalid principal {arn}.")


def check_names(kind: str, username: str | None, groups: list[str]) -> None:
    if kind not in TYPES:
        raise InvalidParameterException(message=f"The type {kind} is invalid.")
    if kind != "STANDARD" and (username or groups):
        raise InvalidParameterException(message=f"An entry of type {kind} takes neither username nor kubernetesGroups.")
    for name in (*groups, username or ""):
        if name.startswith(("system:", "eks:", "aws:", "amazon:", "iam:")):
            raise InvalidParameterException(message=f"The kubernetes name {name} is invalid, its prefix is reserved.")


@rule(EKSResponse, "create_access_entry", new=True, fact=FACT)
def entries_are_created(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    cluster = cluster_of(response)
    who, kind = response._get_param("principalArn"), response._get_param("type") or "STANDARD"
    username, groups = response._get_param("username"), response._get_param("kubernetesGroups") or []
    check_names(kind, username, groups)
    check_principal(who)
    if who in cluster.testbed_access:
        raise ResourceInUseException(
            clusterName=cluster.name, message="The specified access entry resource is already in use on this cluster."
        )
    made = entry(cluster, who, kind, username or "", groups=groups, tags=response._get_param("tags") or {})
    sync_access(cluster)
    return ActionResult({"accessEntry": made.shown()})


@rule(EKSResponse, "describe_access_entry", new=True, fact=FACT)
def entries_are_described(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    return ActionResult({"accessEntry": entry_of(response)[1].shown()})


@rule(EKSResponse, "list_access_entries", new=True, fact=FACT)
def entries_are_listed(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    cluster, policy_arn = cluster_of(response), response._get_param("associatedPolicyArn")
    entries = cluster.testbed_access.values()
    return ActionResult(
        {
            "accessEntries": [
                access_entry.principal
                for access_entry in entries
                if not policy_arn or policy_arn in access_entry.policies
            ]
        }
    )


@rule(EKSResponse, "update_access_entry", new=True, fact=FACT)
def entries_are_updated(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    cluster, found = entry_of(response)
    username, groups = response._get_param("username"), response._get_param("kubernetesGroups")
    check_names(found.kind, username, groups or [])
    found.username = username or found.username
    found.groups = found.groups if groups is None else groups
    found.modified = CLOCK.now()
    sync_access(cluster)
    return ActionResult({"accessEntry": found.shown()})


@rule(EKSResponse, "delete_access_entry", new=True, fact=FACT)
def entries_are_deleted(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    cluster, found = entry_of(response)
    del cluster.testbed_access[found.principal]
    sync_access(cluster)
    return EmptyResult()


@rule(EKSResponse, "associate_access_policy", new=True, fact=FACT)
def policies_are_associated(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    cluster, found = entry_of(response)
    arn, scope = response._get_param("policyArn"), response._get_param("accessScope")
    if not arn.startswith(POLICY) or arn.removeprefix(POLICY) not in POLICIES:
        raise ResourceNotFoundException(message=f"The specified policyArn could not be found: {arn}")
    if found.kind != "STANDARD":
        raise InvalidRequestException(
            message=f"Access policies cannot be associated with entries of type {found.kind}."
        )
    if (scope["type"] == "namespace") != bool(scope.get("namespaces")):
        raise InvalidParameterException(message="An access scope of type namespace, and no other, names namespaces.")
    policy = found.policies[arn] = Policy({"namespaces": [], **scope}, CLOCK.now())
    sync_access(cluster)
    association = {
        "clusterName": cluster.name,
        "principalArn": found.principal,
        "associatedAccessPolicy": policy.shown(arn),
    }
    return ActionResult(association)


@rule(EKSResponse, "disassociate_access_policy", new=True, fact=FACT)
def policies_are_disassociated(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    cluster, found = entry_of(response)
    arn = unquote(response._get_param("policyArn"))
    if arn not in found.policies:
        raise ResourceNotFoundException(message=f"The specified policyArn could not be found: {arn}")
    del found.policies[arn]
    sync_access(cluster)
    return EmptyResult()


@rule(EKSResponse, "list_associated_access_policies", new=True, fact=FACT)
def associated_policies_are_listed(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    cluster, found = entry_of(response)
    shown = [policy.shown(arn) for arn, policy in found.policies.items()]
    associations = {"clusterName": cluster.name, "principalArn": found.principal, "associatedAccessPolicies": shown}
    return ActionResult(associations)


@rule(EKSResponse, "list_access_policies", new=True, fact=FACT)
def policies_are_listed(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    return ActionResult({"accessPolicies": [{"name": name, "arn": POLICY + name} for name in POLICIES]})
