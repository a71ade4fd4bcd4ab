# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the module's options, and format a plan as the module's result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .._plan import Step
from . import userdata
from .errors import SysctlError
from .model import GroupInstance, NodeGroup, SysctlNodegroupOptions
from .plan import NodeGroupPlan

# Options that set one field of the node group each.
FIELDS = {
    "instance_types": "instanceTypes",
    "subnets": "subnets",
    "node_role": "nodeRole",
    "labels": "labels",
    "taints": "taints",
    "capacity_type": "capacityType",
    "tags": "tags",
}
_EFFECTS = {"NoSchedule": "NO_SCHEDULE", "NoExecute": "NO_EXECUTE", "PreferNoSchedule": "PREFER_NO_SCHEDULE"}
# The argument spec of the option taints.
TAINTS: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "options": {
        "key": {"type": "str", "required": True, "no_log": False},
        "value": {"type": "str"},
        "effect": {"type": "str", "required": True, "choices": [*_EFFECTS, *_EFFECTS.values()]},
    },
}
_CAMEL = {
    "min_size": "minSize",
    "max_size": "maxSize",
    "desired_size": "desiredSize",
    "max_unavailable": "maxUnavailable",
    "max_unavailable_percentage": "maxUnavailablePercentage",
    "update_strategy": "updateStrategy",
    "enabled": "enabled",
}


def to_camel_case(value: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    return {_CAMEL[key]: setting for key, setting in (value or {}).items() if setting is not None}


def parse_options(params: Mapping[str, Any]) -> SysctlNodegroupOptions:
    overrides: dict[str, Any] = {}
    for option, key in FIELDS.items():
        if params.get(option) is not None:
            overrides[key] = params[option]
    for key in ("labels", "tags"):
        if key in overrides:
            overrides[key] = {str(name): str(value) for name, value in overrides[key].items()}
    if "taints" in overrides:
        overrides["taints"] = parse_taints(overrides["taints"])
    for option, key in (
        ("scaling", "scalingConfig"),
        ("update_config", "updateConfig"),
        ("node_repair_config", "nodeRepairConfig"),
    ):
        if params.get(option):
            overrides[key] = to_camel_case(params[option])
    return SysctlNodegroupOptions(
        **_parse_user_data(params),
        clone_from=params.get("clone_from"),
        overrides=overrides,
        ami_id=params.get("ami_id"),
        release_version=params.get("release_version"),
        disk_size=params.get("disk_size"),
        security_groups=params.get("security_groups"),
        strategy=params["strategy"],
        allow_version_change=params["allow_version_change"],
        accept_shared_role=params["accept_shared_role"],
        dedicated=params["dedicated"],
        force=params["force"],
    )


def parse_taints(taints: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Parse taints in the spelling of Kubernetes or of EKS to those of EKS."""
    return [
        {
            "key": taint["key"],
            **({"value": taint["value"]} if taint.get("value") else {}),
            "effect": _EFFECTS.get(taint["effect"], taint["effect"]),
        }
        for taint in taints
    ]


def _parse_user_data(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parse the options that user data depends on, to fields of SysctlNodegroupOptions."""
    if not params.get("sysctls"):
        raise SysctlError("sysctls is empty: the node group needs at least one pattern. Set sysctls")
    user_data = params.get("user_data")
    return {
        "cluster": params.get("cluster") or "",
        "name": params["name"],
        "sysctls": tuple(dict.fromkeys(params["sysctls"])),
        "ami_family": params["ami_family"],
        "version": params.get("version"),
        "user_data": None if user_data is None else user_data.encode(),
        "kubelet_config": params.get("kubelet_config") or {},
    }


def parse_user_data_options(params: Mapping[str, Any]) -> SysctlNodegroupOptions:
    """Parse the options of user data for a node group that another tool owns."""
    return SysctlNodegroupOptions(**_parse_user_data(params))


def parse_bootstrap(params: Mapping[str, Any]) -> Optional[userdata.BootstrapSettings]:
    """Parse the cluster's settings for a custom AMI; None where EKS adds them itself."""
    cluster_settings = params.get("bootstrap")
    if not cluster_settings:
        return None
    return userdata.BootstrapSettings(
        params["cluster"],
        cluster_settings["endpoint"],
        cluster_settings["certificate_authority"],
        cluster_settings["service_cidr"],
        cluster_settings.get("dns_ip") or "",
        {str(key): str(value) for key, value in (params.get("labels") or {}).items()},
        parse_taints(params.get("taints") or ()),
    )


def decode_bytes(value: Any) -> Any:
    """Decode the user data to text everywhere in a structure."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {key: decode_bytes(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [decode_bytes(entry) for entry in value]
    return value


def format_step(step: Step) -> dict[str, Any]:
    return dict(decode_bytes(step.to_dict()))


def format_plan(plan: NodeGroupPlan) -> dict[str, Any]:
    return {"change": plan.change, "reason": plan.reason, "steps": [format_step(step) for step in plan.steps]}


def build_plan_result(plan: NodeGroupPlan) -> dict[str, Any]:
    """Build the part of the result that is the same in check mode and in the run."""
    return {
        "node_group_required": plan.node_group_required,
        "classification": [entry.to_dict() for entry in plan.classification],
        "classified_for": dict(plan.classified_for),
        "plan": format_plan(plan),
        "previous": list(plan.previous),
        "target": plan.group_name,
        "not_cloned": list(plan.not_cloned),
        "clone_table": dict(plan.clone_table),
        "node_selector": dict(plan.node_selector),
        "tolerations": [dict(toleration) for toleration in plan.tolerations],
        "added_taints": [
            {key: toleration[key] for key in ("key", "value", "effect")} for toleration in plan.tolerations
        ],
        "default_proof": dict(plan.default_proof),
        "user_data": plan.user_data.decode("utf-8", "replace"),
        "ami_family": plan.family,
    }


def build_diff(steps: Sequence[Step]) -> dict[str, Any]:
    before = {f"{step.action} {step.target}": decode_bytes(step.before) for step in steps}
    after = {f"{step.action} {step.target}": decode_bytes(step.after) for step in steps}
    return {"before": before, "after": after}


def format_instances(instances: Sequence[GroupInstance]) -> list[dict[str, str]]:
    return [
        {
            "instance_id": instance.id,
            "provider_id": instance.provider_id,
            "zone": instance.zone,
            "state": instance.state,
        }
        for instance in instances
    ]


def format_node_group(group: NodeGroup) -> dict[str, Any]:
    return {
        "name": group.name,
        "arn": group.arn,
        "status": group.status,
        "version": group.version,
        "release_version": group.release_version,
        "ami_type": group.ami_type,
        "owner": str(group.owner) if group.owner else None,
        "owner_command": group.owner.command if group.owner else None,
        "labels": dict(group.labels),
        "tags": dict(group.tags),
        "scaling": dict(group.description.get("scalingConfig") or {}),
        "issues": decode_bytes(group.issues),
    }
