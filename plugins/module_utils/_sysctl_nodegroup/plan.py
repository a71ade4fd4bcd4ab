# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide the smallest change that allows the sysctls, and give its reason. Pure.

The changes: nothing, an update of the config, a rolling update to a new template version, or a blue/green replacement.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .._plan import Step
from . import clone, freeze, sysctls, userdata
from .clone import NodeGroupSpec
from .errors import SysctlError
from .model import (
    CUSTOM_AMI_TYPE,
    TAG_CLUSTER,
    TAG_GENERATION,
    TAG_NAME,
    ClusterConfig,
    NodeGroup,
    NodeGroupState,
    SysctlNodegroupOptions,
    get_ami_family,
)
from .sysctls import SysctlClassification

NOTHING, NOT_REQUIRED, CREATE, CONFIG, TEMPLATE, BLUE_GREEN = (
    "nothing",
    "not_required",
    "create",
    "update_config",
    "update_template",
    "blue_green",
)
# Where each field changes. "group": only by a blue/green replacement. "template": by a new template version and a
# rolling update. "config": by UpdateNodegroupConfig.
# docs/facts/sysctl_nodegroup.md#changing-a-node-group-in-place
FIELD_SCOPES: Mapping[str, str] = {
    "subnets": "group",
    "nodeRole": "group",
    "amiType": "group",
    "capacityType": "group",
    "instanceTypes": "group",
    "diskSize": "group",
    "launchTemplate": "group",
    "customAmi": "group",
    "InstanceType": "template",
    "ImageId": "template",
    "BlockDeviceMappings": "template",
    "KeyName": "template",
    "SecurityGroupIds": "template",
    "NetworkInterfaces": "template",
    "MetadataOptions": "template",
    "TagSpecifications": "template",
    "UserData": "template",
    "labels": "config",
    "taints": "config",
    "scalingConfig": "config",
    "updateConfig": "config",
    "nodeRepairConfig": "config",
    "warmPoolConfig": "config",
    "tags": "config",
}
_UNORDERED = ("subnets",)
_NAME_LENGTH = 63
AL2_LAST_MINOR = 32  # the last minor with AL2 AMIs: docs/facts/sysctl_nodegroup.md#al2-and-bootstrapsh
DEDICATED_KEY = "daytwo.aws/sysctls"


@dataclass(frozen=True)
class NodeGroupPlan:
    """The planned change. C(group_name): the group that allows the sysctls in the end.

    C(template_data): the content of its launch template, with raw user data.
    """

    change: str
    reason: str
    steps: tuple[Step, ...] = ()
    classification: tuple[SysctlClassification, ...] = ()
    classified_for: Mapping[str, Any] = field(default_factory=dict)
    group_name: str = ""
    template_name: str = ""
    template_data: Mapping[str, Any] = field(default_factory=dict)
    user_data: bytes = b""
    family: str = ""
    previous: tuple[str, ...] = ()
    not_cloned: tuple[str, ...] = ()
    clone_table: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def node_group_required(self) -> bool:
        return self.change != NOT_REQUIRED


def make_plan(options: SysctlNodegroupOptions, state: NodeGroupState) -> NodeGroupPlan:
    """Decide the change. A C(SysctlError) rejects the options and names everything that is wrong."""
    if state.cluster.auto_mode and not state.generations and not state.source:
        raise SysctlError(
            f"no node group can be planned: cluster {options.cluster} runs in EKS Auto Mode, whose nodes allow only "
            "safe sysctls. Add a managed node group and set clone_from to its name, or set node_role and subnets"
        )
    origin = state.current or state.source
    minor, version = _get_planned_version(options, state)
    classification = tuple(sysctls.classify_sysctls(options.sysctls, minor))
    impossible = [entry for entry in classification if entry.verdict == "impossible"]
    if impossible:
        raise SysctlError(
            "nothing was changed: " + " ".join(f"{entry.name}: {entry.reason}" for entry in impossible),
            {"classification": [entry.to_dict() for entry in classification]},
        )
    classified_for = {"group": origin.name if origin else options.name, "kubelet": version, "kernel": None}
    previous = tuple(group.name for group in state.generations[:-1])
    if all(entry.verdict == "safe" for entry in classification) and not options.force:
        reasons = "; ".join(f"{entry.name}: {entry.reason.rstrip('.')}" for entry in classification)
        return NodeGroupPlan(
            NOT_REQUIRED,
            f"No node group is required: every pod may set these sysctls without any kubelet setting. {reasons}.",
            classification=classification,
            classified_for=classified_for,
            group_name=origin.name if origin else "",
            previous=previous,
        )
    group_plan = (
        _plan_change(options, state)
        if state.current
        else _plan_creation(options, state, state.source, options.name, 1, CREATE)
    )
    allowed = sysctls.merge_lists(
        options.sysctls, userdata.list_allowed_sysctls(group_plan.family, group_plan.user_data)
    )
    selector, tolerations, warnings = _build_scheduling(options)
    return replace(
        group_plan,
        classification=tuple(sysctls.classify_sysctls(options.sysctls, minor, allowed=allowed)),
        classified_for=classified_for,
        previous=previous if group_plan.change != BLUE_GREEN else tuple(group.name for group in state.generations),
        node_selector=selector,
        tolerations=tolerations,
        warnings=(*group_plan.warnings, *warnings),
    )


def _get_planned_version(options: SysctlNodegroupOptions, state: NodeGroupState) -> tuple[int, str]:
    """Get the version of the planned group's kubelets: the group's own, not the control plane's."""
    origin = state.current or state.source
    version = options.version or (origin.version if origin else "") or state.cluster.version
    if origin and not state.current and options.allow_version_change and not origin.custom_ami:
        version = state.cluster.version
    try:
        return sysctls.parse_minor(version), version
    except ValueError as error:
        raise SysctlError(
            f"the sysctls cannot be classified: the Kubernetes version of the nodes is unknown ({error}). Set version"
        ) from error


def _build_scheduling(
    options: SysctlNodegroupOptions,
) -> tuple[dict[str, str], tuple[dict[str, str], ...], tuple[str, ...]]:
    if options.dedicated:
        toleration = {"key": DEDICATED_KEY, "operator": "Equal", "value": options.name, "effect": "NoSchedule"}
        return {DEDICATED_KEY: options.name}, (toleration,), ()
    return (
        {},
        (),
        (
            "Pods can fail with SysctlForbidden: the group is not dedicated, so the scheduler can assign pods with "
            "these sysctls to other groups. Use dedicated=true, or select the nodes of the group in the pods.",
        ),
    )


# A new group


def _plan_creation(
    options: SysctlNodegroupOptions,
    state: NodeGroupState,
    source: Optional[NodeGroup],
    name: str,
    generation: int,
    change: str,
    why: str = "",
) -> NodeGroupPlan:
    spec = _build_desired_spec(options, state.cluster, source)
    if change == CREATE and source is None:
        missing = [key for key in ("nodeRole", "subnets") if not spec.group.get(key)]
        if missing:
            names = {"nodeRole": "node_role", "subnets": "subnets"}
            raise SysctlError(
                f"node group {name} cannot be created: without clone_from it needs "
                f"{' and '.join(names[key] for key in missing)}. Set them, or clone_from"
            )
    _check_owner(options, source)
    version = _choose_version(options, state.cluster, source, spec)
    group = _add_dedication(options, {key: value for key, value in spec.group.items() if value not in (None, [], {})})
    data, text = _build_template_data(options, state.cluster, spec, group)
    tags = {**group.get("tags", {}), TAG_NAME: options.name, TAG_GENERATION: str(generation)}
    params = {**group, **version, "nodegroupName": name, "tags": tags}
    if data.get("InstanceType"):
        params.pop("instanceTypes", None)
    template_name = build_template_name(options.cluster, name)
    steps = _plan_template_steps(options, state, template_name, data, spec.family)
    reason = why or (
        f"Create node group {name}" + (f" as a clone of {source.name} that allows the sysctls" if source else "") + "."
    )
    steps.append(Step("create_nodegroup", name, reason, None, {**params, "launchTemplate": {"name": template_name}}))
    return NodeGroupPlan(
        change,
        reason,
        tuple(steps),
        group_name=name,
        template_name=template_name,
        template_data=data,
        user_data=text,
        family=spec.family,
        not_cloned=spec.not_cloned,
        clone_table=spec.clone_table,
    )


def _check_owner(options: SysctlNodegroupOptions, source: Optional[NodeGroup]) -> None:
    owner = source.owner if source else None
    if source and owner and "nodeRole" not in options.overrides and not options.accept_shared_role:
        raise SysctlError(
            f"the nodes of a clone of node group {source.name} can lose their role: the group belongs to {owner}, "
            f"which usually owns its node role {source.description.get('nodeRole')} too. "
            f"Nodes that share the role break when {owner.tool} deletes it. "
            f"Set node_role, or accept_shared_role=true if {owner.tool} does not own the role"
        )


def _choose_version(
    options: SysctlNodegroupOptions, cluster: ClusterConfig, source: Optional[NodeGroup], spec: NodeGroupSpec
) -> dict[str, str]:
    """Choose the version and AMI release to send: the source's own.

    CreateNodegroup accepts only the cluster's version.
    """
    if spec.custom_ami:
        return {}
    own = source.version if source else cluster.version
    planned = options.version or own
    release = options.release_version or (source.release_version if source and planned == own else "")
    changed = [f"version {own} to {options.version}"] if options.version and options.version != own else []
    if source and options.release_version and options.release_version != source.release_version:
        changed.append(f"AMI release {source.release_version} to {options.release_version}")
    if planned != cluster.version:
        changed = [f"version {planned} to {cluster.version}, the only version that EKS accepts for a new group"]
        planned, release = cluster.version, options.release_version or ""
    if changed and not options.allow_version_change:
        group_name = source.name if source else options.name
        raise SysctlError(
            f"nothing was changed, because the new group for {group_name} would change {' and '.join(changed)}. "
            "Set allow_version_change=true if its pods may run on that version",
            {"before": {"version": own}, "after": {"version": planned, "releaseVersion": release or "latest"}},
        )
    if spec.family == "al2" and sysctls.parse_minor(planned) > AL2_LAST_MINOR:
        raise SysctlError(
            f"node group {options.name} cannot be created: there are no AL2 AMIs for Kubernetes {planned}, because "
            f"they end with 1.{AL2_LAST_MINOR}. Set ami_family=al2023 with user_data of that family, or a custom ami_id"
        )
    return {"version": planned, **({"releaseVersion": release} if release else {})}


def _build_desired_spec(
    options: SysctlNodegroupOptions, cluster: ClusterConfig, source: Optional[NodeGroup]
) -> NodeGroupSpec:
    """Build the desired specification: the source's, changed by every option that is set."""
    if source is None:
        family = options.ami_family if options.ami_family != "auto" else "al2023"
        spec = NodeGroupSpec(
            {"scalingConfig": {"minSize": 1, "maxSize": 2, "desiredSize": 1}}, {}, family, bool(options.ami_id)
        )
        if not options.ami_id:
            spec = replace(spec, group={**spec.group, "amiType": _get_ami_type(family, "AL2023_x86_64_STANDARD")})
        hops = {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}
        spec = replace(spec, template={"MetadataOptions": hops})
    else:
        raw = bytes(source.template.data.get("UserData") or b"") if source.template else b""
        family = clone.choose_ami_family(
            source, "auto" if get_ami_family(source.ami_type) else options.ami_family, _detect_family(raw, options)
        )
        spec = clone.build_spec(source, family, raw, cluster)
        if options.ami_family not in ("auto", family):
            spec = _switch_family(options, spec, source, raw)
    group, template = dict(spec.group), dict(spec.template)
    for key, value in options.overrides.items():
        if key in ("labels", "tags", "scalingConfig"):
            group[key] = {**(group.get(key) or {}), **value}
        elif key == "instanceTypes" and template.get("InstanceType"):
            if len(value) == 1:
                template["InstanceType"] = value[0]
            else:
                template.pop("InstanceType")
                group[key] = list(value)
        else:
            group[key] = value
    if options.ami_id:
        template["ImageId"] = options.ami_id
        group.pop("amiType", None)
    if options.disk_size:
        template["BlockDeviceMappings"] = _resize_disk(template, spec.family, options.disk_size)
    if options.security_groups is not None:
        # Security groups in the template replace the cluster's security group, so it is added again.
        # docs/facts/sysctl_nodegroup.md#managed-node-group-api
        own = [cluster.security_group] if cluster.security_group else []
        template["SecurityGroupIds"] = sysctls.merge_lists(options.security_groups, own)
    custom = bool(options.ami_id) or spec.custom_ami
    return replace(spec, group=group, template=template, custom_ami=custom)


def _detect_family(raw: bytes, options: SysctlNodegroupOptions) -> Optional[str]:
    return clone.detect_ami_family(raw) or clone.detect_ami_family(options.user_data or b"")


def _get_ami_type(family: str, similar_type: str) -> str:
    arm = "ARM_64" in similar_type
    return {
        "al2023": f"AL2023_{'ARM_64' if arm else 'x86_64'}_STANDARD",
        "bottlerocket": f"BOTTLEROCKET_{'ARM_64' if arm else 'x86_64'}",
        "al2": "AL2_ARM_64" if arm else "AL2_x86_64",
    }[family]


def _switch_family(
    options: SysctlNodegroupOptions, spec: NodeGroupSpec, source: NodeGroup, raw: bytes
) -> NodeGroupSpec:
    if raw.strip() and options.user_data is None:
        raise SysctlError(
            f"node group {source.name} cannot be switched to {options.ami_family}: its user data is written for "
            f"{spec.family}. Set user_data for {options.ami_family}"
        )
    if any(variant in source.ami_type for variant in ("GPU", "NVIDIA", "NEURON", "FIPS")):
        raise SysctlError(
            f"node group {source.name} cannot be switched to {options.ami_family}: the AMI type that corresponds to "
            f"{source.ami_type} is unknown. Set ami_id"
        )
    group = dict(spec.group)
    if not spec.custom_ami:
        group["amiType"] = _get_ami_type(options.ami_family, source.ami_type)
    return replace(spec, group=group, family=options.ami_family)


def _resize_disk(template: Mapping[str, Any], family: str, size: int) -> list[dict[str, Any]]:
    desired_device = clone.build_block_devices(family, size)[0]
    devices = [dict(device) for device in template.get("BlockDeviceMappings") or []]
    for device in devices:
        if device.get("DeviceName") == desired_device["DeviceName"]:
            device["Ebs"] = {**(device.get("Ebs") or {}), **desired_device["Ebs"]}
            return devices
    return [*devices, desired_device]


def _add_dedication(options: SysctlNodegroupOptions, group: Mapping[str, Any]) -> dict[str, Any]:
    if not options.dedicated:
        return dict(group)
    taint = {"key": DEDICATED_KEY, "value": options.name, "effect": "NO_SCHEDULE"}
    taints = [taint for taint in group.get("taints") or [] if taint.get("key") != DEDICATED_KEY]
    labels = {**(group.get("labels") or {}), DEDICATED_KEY: options.name}
    return {**group, "labels": labels, "taints": [*taints, taint]}


def _build_template_data(
    options: SysctlNodegroupOptions, cluster: ClusterConfig, spec: NodeGroupSpec, group: Mapping[str, Any]
) -> tuple[dict[str, Any], bytes]:
    base = spec.user_data if options.user_data is None else options.user_data
    bootstrap = None
    if spec.custom_ami:
        bootstrap = userdata.BootstrapSettings(
            cluster.name,
            cluster.endpoint,
            cluster.certificate_authority,
            cluster.service_cidr,
            cluster.dns_ip,
            group.get("labels") or {},
            group.get("taints") or (),
        )
    text = userdata.render(
        userdata.UserDataRequest(spec.family, options.sysctls, base, bootstrap, options.kubelet_config),
    )
    return {**spec.template, "UserData": text}, text


def build_template_name(cluster: str, group: str) -> str:
    """Build the template name. EC2 allows 128 characters."""
    name = f"daytwo-{cluster}-{group}"
    return name if len(name) <= 128 else name[:119] + "-" + _hash_values(name)


def _hash_values(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _plan_template_steps(
    options: SysctlNodegroupOptions, state: NodeGroupState, name: str, data: Mapping[str, Any], family: str
) -> list[Step]:
    """Plan the template. No step where its latest version has the content, so an interrupted run continues."""
    found = state.templates.get(name)
    if found is None:
        tags = {TAG_NAME: options.name, TAG_CLUSTER: options.cluster}
        after = {"data": data, "tags": tags}
        return [Step("create_template", name, "the launch template of the group holds the user data", None, after)]
    if found.tags.get(TAG_NAME) != options.name or found.tags.get(TAG_CLUSTER) != options.cluster:
        raise SysctlError(
            f"launch template {name} cannot be used: it is not managed by this collection, because it has no tag "
            f"{TAG_NAME}={options.name}. Rename or delete it"
        )
    if is_same_template(found.data, data, family):
        return []
    return [Step("create_template_version", name, "the content differs", {"data": found.data}, {"data": data})]


def is_same_template(before: Mapping[str, Any], after: Mapping[str, Any], family: str) -> bool:
    return not list_template_differences(before, after, family)


def list_template_differences(before: Mapping[str, Any], after: Mapping[str, Any], family: str) -> list[str]:
    """List the fields that differ in meaning. Empty fields count as absent, and MIME boundaries do not count."""
    left, right = clone.clean_template_data(before), clone.clean_template_data(after)
    found = [key for key in sorted({*left, *right}) if left.get(key) != right.get(key)]
    texts = (before.get("UserData"), after.get("UserData"))
    meanings = [userdata.normalize_user_data(family, bytes(text)) if text else None for text in texts]
    return [*found, "UserData"] if meanings[0] != meanings[1] else found


# An existing group


def _plan_change(options: SysctlNodegroupOptions, state: NodeGroupState) -> NodeGroupPlan:
    current = state.current
    if current is None:
        raise SysctlError(f"node group {options.name} does not exist")
    if current.status in ("CREATE_FAILED", "DELETE_FAILED", "DELETING"):
        issues = "; ".join(f"{issue.get('code')}: {issue.get('message')}" for issue in current.issues)
        raise SysctlError(
            f"node group {current.name} cannot be changed: it is {current.status} ({issues or 'EKS gives no reason'}). "
            f"Fix the cause, delete node group {current.name} alone (aws eks delete-nodegroup), and run again. "
            "state=absent with this name deletes every generation"
        )
    spec = _build_desired_spec(options, state.cluster, current)
    group = _add_dedication(options, spec.group)
    is_managed = current.template is not None and current.template.tags.get(TAG_NAME) == options.name
    immutable = _list_immutable_differences(current, group, spec)
    data, text = _build_template_data(options, state.cluster, spec, group)
    before_data: Mapping[str, Any] = current.template.data if current.template else {}
    in_template = (
        list_template_differences(before_data, data, spec.family)
        if is_managed
        else _list_unmanaged_differences(options, current, spec, data)
    )
    if in_template and not is_managed:
        where = f"launch template {current.template.name} is not managed" if current.template else "no launch template"
        immutable.append(f"launchTemplate ({where}, and {', '.join(in_template)} must change)")
    version_step = _describe_version_change(options, current)
    # Choose a blue/green replacement where a field cannot change in place, or with strategy=blue_green.
    needs_blue_green = bool(immutable) or (options.strategy == "blue_green" and bool(in_template))
    if needs_blue_green:
        if options.strategy == "in_place":
            raise SysctlError(
                f"node group {current.name} cannot be changed in place, only by a blue/green replacement: "
                f"{', '.join(immutable)}. Set strategy=auto or blue_green"
            )
        why = ", ".join(immutable) if immutable else f"strategy=blue_green, and {', '.join(in_template)} must change"
        name = build_blue_green_name(options, state, group, data)
        reason = f"Blue/green replacement of node group {current.name} by {name}: {why}."
        return _plan_creation(options, state, current, name, current.generation + 1, BLUE_GREEN, reason)
    steps: list[Step] = []
    config = plan_config_update(options, current, group)
    tag_step = _plan_tag_update(options, current)
    steps += [step for step in (tag_step, config) if step]
    base = NodeGroupPlan(
        NOTHING,
        f"Node group {current.name} allows the sysctls already.",
        group_name=current.name,
        template_name=current.template.name if current.template else "",
        template_data=data if is_managed else before_data,
        user_data=text if is_managed else bytes(before_data.get("UserData") or b""),
        family=spec.family,
    )
    change, reasons = NOTHING, []
    if steps:
        change = CONFIG
        reasons.append("labels, taints, scaling, tags or update settings differ")
    if in_template or version_step:
        change = TEMPLATE
        if in_template:
            reasons.append(f"{', '.join(in_template)} differ in the launch template")
            name = current.template.name if current.template else ""
            steps += _plan_template_steps(options, state, name, data, spec.family)
        reasons += [version_step] if version_step else []
        steps.append(_plan_rolling_update(options, current, bool(in_template)))
    if change == NOTHING:
        return base
    return replace(base, change=change, steps=tuple(steps), reason=f"Node group {current.name}: {'; '.join(reasons)}.")


def _list_unmanaged_differences(
    options: SysctlNodegroupOptions, current: NodeGroup, spec: NodeGroupSpec, data: Mapping[str, Any]
) -> list[str]:
    """List the differences of a template that is not managed here. Only requested settings count.

    Such a template can allow the sysctls already.
    """
    before: Mapping[str, Any] = current.template.data if current.template else {}
    found = []
    raw = bytes(before.get("UserData") or b"")
    allowed = userdata.list_allowed_sysctls(spec.family, raw)
    is_missing = any(sysctls.find_allowing_pattern(allowed, sysctl) is None for sysctl in options.sysctls)
    has_new_content = options.user_data is not None or options.kubelet_config
    if is_missing or (
        has_new_content and list_template_differences({"UserData": raw}, {"UserData": data["UserData"]}, spec.family)
    ):
        found.append("UserData")
    requested = {
        "ImageId": options.ami_id,
        "BlockDeviceMappings": options.disk_size,
        "SecurityGroupIds": options.security_groups,
    }
    found += [key for key, option in requested.items() if option and before.get(key) != data.get(key)]
    return found


def _list_immutable_differences(current: NodeGroup, group: Mapping[str, Any], spec: NodeGroupSpec) -> list[str]:
    found = []
    for key in ("subnets", "nodeRole", "capacityType", "instanceTypes", "amiType"):
        before, after = current.description.get(key), group.get(key)
        if key == "amiType" and (spec.custom_ami or current.custom_ami):
            continue
        if key == "instanceTypes" and current.template and current.template.data.get("InstanceType") and not after:
            continue
        if after is not None and _sort_unordered(key, before) != _sort_unordered(key, after):
            found.append(f"{key} ({before} to {after})")
    if spec.custom_ami != current.custom_ami:
        found.append(f"customAmi (currently {'with' if current.custom_ami else 'without'} a custom AMI)")
    return found


def _sort_unordered(key: str, value: Any) -> Any:
    return sorted(value or []) if key in _UNORDERED else value


def build_blue_green_name(
    options: SysctlNodegroupOptions, state: NodeGroupState, group: Mapping[str, Any], data: Mapping[str, Any]
) -> str:
    """Build the name of a blue/green replacement: the logical name and a hash of the immutable fields.

    No other generation has that name.
    """
    fields = {key: _sort_unordered(key, group.get(key)) for key, column in FIELD_SCOPES.items() if column == "group"}
    taken = {generation.name for generation in state.generations}
    stem = options.name[: _NAME_LENGTH - 9]
    name = f"{stem}-{_hash_values(options.cluster, fields)}"
    salt = 0
    while name in taken:
        salt += 1
        name = f"{stem}-{_hash_values(options.cluster, fields, data, salt)}"
    return name


def _describe_version_change(options: SysctlNodegroupOptions, current: NodeGroup) -> Optional[str]:
    if current.custom_ami and current.ami_type == CUSTOM_AMI_TYPE:
        return None
    changes = []
    if options.version and options.version != current.version:
        changes.append(f"version {current.version} to {options.version}")
    if options.release_version and options.release_version != current.release_version:
        changes.append(f"AMI release {current.release_version} to {options.release_version}")
    if not changes:
        return None
    if not options.allow_version_change:
        raise SysctlError(
            f"nothing was changed, because node group {current.name} would change {' and '.join(changes)}, and "
            "there is no way back. Set allow_version_change=true"
        )
    return " and ".join(changes)


def _plan_rolling_update(options: SysctlNodegroupOptions, current: NodeGroup, new_template: bool) -> Step:
    """Plan the rolling update. Version and release are always sent.

    Without them EKS updates to the cluster's version and its latest AMI.
    docs/facts/sysctl_nodegroup.md#changing-a-node-group-in-place
    """
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    if not current.custom_ami:
        before = {"version": current.version, "releaseVersion": current.release_version}
        after = {"version": options.version or current.version}
        release = options.release_version or (current.release_version if not options.version else "")
        if release:
            after["releaseVersion"] = release
    if current.template:
        before["launchTemplate"] = {"name": current.template.name, "version": current.template.version}
        version = "new" if new_template else current.template.version
        after["launchTemplate"] = {"name": current.template.name, "version": version}
    return Step("update_version", current.name, "EKS replaces the nodes in a rolling update", before, after)


def plan_config_update(options: SysctlNodegroupOptions, current: NodeGroup, group: Mapping[str, Any]) -> Optional[Step]:
    """Plan an UpdateNodegroupConfig. An autoscaler owns the desired size, so it is never reset."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    labels = {**options.overrides.get("labels", {}), **({DEDICATED_KEY: options.name} if options.dedicated else {})}
    added = {key: value for key, value in labels.items() if current.labels.get(key) != value}
    if added:
        before["labels"] = {"addOrUpdateLabels": {key: current.labels.get(key) for key in added}}
        after["labels"] = {"addOrUpdateLabels": added}
    if "taints" in options.overrides or options.dedicated:
        _plan_taint_changes(current, group, before, after)
    if "scalingConfig" in options.overrides and not freeze.is_frozen(current):
        current_scaling = {key: int(value) for key, value in (current.description.get("scalingConfig") or {}).items()}
        requested = {key: value for key, value in options.overrides["scalingConfig"].items() if key != "desiredSize"}
        desired_scaling = {**current_scaling, **requested}
        desired_scaling["desiredSize"] = min(
            max(current_scaling.get("desiredSize", 0), desired_scaling["minSize"]), desired_scaling["maxSize"]
        )
        if desired_scaling != current_scaling:
            before["scalingConfig"], after["scalingConfig"] = current_scaling, desired_scaling
    for key in ("updateConfig", "nodeRepairConfig", "warmPoolConfig"):
        requested_settings, current_settings = options.overrides.get(key), current.description.get(key) or {}
        if requested_settings and any(
            current_settings.get(inner) != value for inner, value in requested_settings.items()
        ):
            before[key], after[key] = current_settings, requested_settings
    if not after:
        return None
    return Step("update_config", current.name, "these fields change in place", before, after)


def _plan_taint_changes(
    current: NodeGroup, group: Mapping[str, Any], before: dict[str, Any], after: dict[str, Any]
) -> None:
    def map_by_key(taints: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
        return {(str(taint["key"]), str(taint["effect"])): dict(taint) for taint in taints}

    current_taints = map_by_key(
        [taint for taint in current.description.get("taints") or [] if taint.get("key") != freeze.FROZEN_TAINT["key"]]
    )
    desired_taints = map_by_key(group.get("taints") or [])
    added = [
        taint
        for key, taint in desired_taints.items()
        if (current_taints.get(key) or {}).get("value", "") != taint.get("value", "") or key not in current_taints
    ]
    removed = [taint for key, taint in current_taints.items() if key not in desired_taints]
    if added or removed:
        before["taints"] = {"taints": list(current_taints.values())}
        after["taints"] = {
            **({"addOrUpdateTaints": added} if added else {}),
            **({"removeTaints": removed} if removed else {}),
        }


def _plan_tag_update(options: SysctlNodegroupOptions, current: NodeGroup) -> Optional[Step]:
    changed_tags = {
        key: value for key, value in options.overrides.get("tags", {}).items() if current.tags.get(key) != value
    }
    if not changed_tags:
        return None
    return Step("tag", current.name, "tags differ", {key: current.tags.get(key) for key in changed_tags}, changed_tags)
