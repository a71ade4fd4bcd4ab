# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the smallest change that allows the sysctls, and give its reason. Pure.

The changes: nothing, an update of the config, a rolling update to a new template version, or a blue/green replacement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .._plan import Step
from . import desired, differences, sysctls, userdata
from .change_steps import (
    build_blue_green_name,
    build_template_name,
    plan_config_update,
    plan_rolling_update,
    plan_tag_update,
    plan_template_steps,
)
from .errors import SysctlError
from .model import (
    CUSTOM_AMI_TYPE,
    TAG_GENERATION,
    TAG_NAME,
    NodeGroup,
    NodeGroupState,
    SysctlNodegroupOptions,
)
from .sysctls import SysctlClassification

PROOF_SYSCTL, PROOF_VALUE = "net.core.somaxconn", "2048"
NOTHING, NOT_REQUIRED, CREATE, CONFIG, TEMPLATE, BLUE_GREEN = (
    "nothing",
    "not_required",
    "create",
    "update_config",
    "update_template",
    "blue_green",
)


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
    default_proof: Mapping[str, str] = field(default_factory=dict)
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
        default_proof=_choose_proof(options),
        warnings=(*group_plan.warnings, *warnings),
    )


def _choose_proof(options: SysctlNodegroupOptions) -> dict[str, str]:
    """Choose the sysctl with which a proof pod verifies the list: one that no Kubernetes version lists as safe.

    docs/facts/sysctl_nodegroup.md#when-a-kubelet-flag-is-needed
    """
    if sysctls.find_allowing_pattern(options.sysctls, PROOF_SYSCTL) is None:
        return {}
    return {PROOF_SYSCTL: PROOF_VALUE}


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
        toleration = {"key": desired.DEDICATED_KEY, "operator": "Equal", "value": options.name, "effect": "NoSchedule"}
        return {desired.DEDICATED_KEY: options.name}, (toleration,), ()
    return (
        {},
        (),
        (
            "Pods can fail with SysctlForbidden: the group is not dedicated, so the scheduler can assign pods with "
            "these sysctls to other groups. Use dedicated=true, or select the nodes of the group in the pods.",
        ),
    )


def _plan_creation(
    options: SysctlNodegroupOptions,
    state: NodeGroupState,
    source: Optional[NodeGroup],
    name: str,
    generation: int,
    change: str,
    why: str = "",
) -> NodeGroupPlan:
    spec = desired.build_desired_spec(options, state.cluster, source)
    if change == CREATE and source is None:
        missing = [key for key in ("nodeRole", "subnets") if not spec.group.get(key)]
        if missing:
            names = {"nodeRole": "node_role", "subnets": "subnets"}
            raise SysctlError(
                f"node group {name} cannot be created: without clone_from it needs "
                f"{' and '.join(names[key] for key in missing)}. Set them, or clone_from"
            )
    desired.check_owner(options, source)
    version = desired.choose_version(options, state.cluster, source, spec)
    group = desired.add_dedication(
        options, {key: value for key, value in spec.group.items() if value not in (None, [], {})}
    )
    desired.check_scaling(name, group.get("scalingConfig") or {})
    desired.check_capacity_block(name, group, spec.template)
    data, text = desired.build_template_data(options, state.cluster, spec, group)
    tags = {**group.get("tags", {}), TAG_NAME: options.name, TAG_GENERATION: str(generation)}
    params = {**group, **version, "nodegroupName": name, "tags": tags}
    if data.get("InstanceType"):
        params.pop("instanceTypes", None)
    template_name = build_template_name(options.cluster, name)
    steps = plan_template_steps(options, state, template_name, data, spec.family)
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
    spec = desired.build_desired_spec(options, state.cluster, current)
    group = desired.add_dedication(options, spec.group)
    is_managed = current.template is not None and current.template.tags.get(TAG_NAME) == options.name
    immutable = differences.list_immutable_differences(current, group, spec)
    data, text = desired.build_template_data(options, state.cluster, spec, group)
    before_data: Mapping[str, Any] = current.template.data if current.template else {}
    in_template = (
        differences.list_template_differences(before_data, data, spec.family)
        if is_managed
        else differences.list_unmanaged_differences(options, current, spec, data)
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
    tag_step = plan_tag_update(options, current)
    steps += [step for step in (tag_step, config) if step]
    base = NodeGroupPlan(
        NOTHING,
        f"Node group {current.name} allows the sysctls already.",
        group_name=current.name,
        template_name=current.template.name if current.template else "",
        template_data=data if is_managed else before_data,
        user_data=text if is_managed else current.user_data,
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
            steps += plan_template_steps(options, state, name, data, spec.family)
        reasons += [version_step] if version_step else []
        steps.append(plan_rolling_update(options, current, bool(in_template)))
    if change == NOTHING:
        return base
    return replace(base, change=change, steps=tuple(steps), reason=f"Node group {current.name}: {'; '.join(reasons)}.")


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
