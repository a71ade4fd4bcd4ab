# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe, apply and verify one node group. Independent of Ansible."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Optional

from .._aws_call import ApiError
from .._clock import Clock
from .._plan import Step
from . import autoscaling, change_steps, ec2, eks, freeze, userdata
from .errors import GroupSizeError, SysctlError
from .model import (
    TAG_NAME,
    GroupInstance,
    NodeGroup,
    NodeGroupState,
    RunningGroup,
    SysctlNodegroupOptions,
)
from .plan import NodeGroupPlan

try:
    from botocore.config import Config
except ImportError:
    Config = None  # AnsibleAWSModule reports the missing library

_FREEZE_ATTEMPTS = 8  # three steps, and some more where an autoscaler grows the group meanwhile


@dataclass
class NodeGroupRun:
    """One run: its clients, its waiting times, and the steps that it has applied."""

    eks: Any
    ec2: Any
    autoscaling: Any
    cluster: str
    wait: bool = True
    timeout: float = 3600
    delay: float = 10
    force_update: bool = False
    clock: Clock = field(default_factory=Clock)
    progress: list[str] = field(default_factory=list)
    applied_steps: list[Step] = field(default_factory=list)
    template: Optional[tuple[str, str, str]] = None  # id, name, version
    pending: bool = False
    deadline: float = 0.0

    @classmethod
    def connect(cls, make_client: Callable[..., Any], cluster: str, **settings: Any) -> NodeGroupRun:
        """A run with clients of its own. C(make_client): as AnsibleAWSModule.client."""
        config = Config(**eks.CLIENT_CONFIG)
        clients = {service: make_client(service, config=config) for service in ("eks", "ec2", "autoscaling")}
        return cls(**clients, cluster=cluster, **settings)

    def __post_init__(self) -> None:
        self.deadline = self.clock.monotonic() + self.timeout

    def report_progress(self, message: str) -> None:
        if not self.progress or self.progress[-1] != message:
            self.progress.append(message)

    # Observe

    def observe(self, options: SysctlNodegroupOptions) -> NodeGroupState:
        cluster = eks.get_cluster(self.eks, options.cluster)
        generations = self.list_generations(options.name)
        source = None
        if options.clone_from and not generations:
            source = self.get_node_group(options.clone_from)
            if source is None:
                raise SysctlError(
                    f"clone_from: cluster {options.cluster} has no node group {options.clone_from}. "
                    "Name an existing group"
                )
        generations = (*generations[:-1], *(self.measure(group) for group in generations[-1:]))
        source = self.measure(source) if source else None
        return NodeGroupState(
            cluster, generations, source, ec2.list_managed_templates(self.ec2, options.cluster, options.name)
        )

    def list_generations(self, name: str) -> tuple[NodeGroup, ...]:
        """List the groups of a logical name, the newest last: the group of that name, and those with its tag."""
        generation_name = re.compile(rf"{re.escape(name[:54])}-[0-9a-f]{{8}}")
        names = [
            candidate
            for candidate in eks.list_node_group_names(self.eks, self.cluster)
            if candidate == name or generation_name.fullmatch(candidate)
        ]
        groups = [found for found in map(self.get_node_group, names) if found]
        generations = [group for group in groups if group.name == name or group.tags.get(TAG_NAME) == name]
        unmanaged = [group for group in generations if group.tags.get(TAG_NAME, name) != name]
        if unmanaged:
            raise SysctlError(
                f"{name} is not a logical name: node group {name} is a generation of {unmanaged[0].tags[TAG_NAME]}. "
                f"Set name to {unmanaged[0].tags[TAG_NAME]}"
            )
        return tuple(sorted(generations, key=lambda group: group.generation))

    def get_node_group(self, name: str) -> Optional[NodeGroup]:
        description = eks.get_node_group(self.eks, self.cluster, name)
        if description is None:
            return None
        reference = description.get("launchTemplate")
        return NodeGroup(description, ec2.get_template(self.ec2, reference) if reference else None)

    def measure(self, group: NodeGroup) -> NodeGroup:
        """Add what runs of the group. DescribeNodegroup can be out of date about it."""
        names = [
            str(found["name"]) for found in (group.description.get("resources") or {}).get("autoScalingGroups") or ()
        ]
        desired = autoscaling.get_desired_capacity(self.autoscaling, names)
        return replace(group, running=RunningGroup(self.list_nodes(group), desired))

    def list_nodes(self, group: NodeGroup) -> tuple[GroupInstance, ...]:
        """List the instances that are, or become, nodes: those of a warm pool are neither."""
        if group.running:
            return group.running.instances
        found = ec2.list_instances(self.ec2, self.cluster, group.name)
        if not group.description.get("warmPoolConfig"):
            return found
        warm = autoscaling.list_warm_instances(self.autoscaling, [instance.id for instance in found])
        return tuple(instance for instance in found if instance.id not in warm)

    def list_groups_to_drain(
        self, options: SysctlNodegroupOptions, state: NodeGroupState, plan: NodeGroupPlan
    ) -> list[NodeGroup]:
        """List the existing groups that the planned group replaces."""
        if not plan.node_group_required:
            return []
        found = [group for group in state.generations if group.name != plan.group_name]
        source = state.source or (self.get_node_group(options.clone_from) if options.clone_from else None)
        known = {plan.group_name, *(group.name for group in found)}
        return [*found, *([source] if source and source.name not in known else [])]

    # Apply

    def apply(self, plan: NodeGroupPlan, state: NodeGroupState) -> None:
        """Apply the steps in order. A failed step ends the run; the steps before it stay in C(applied_steps)."""
        known = state.templates.get(plan.template_name)
        self.template = (known.id, known.name, known.version) if known else None
        self.apply_steps(plan.steps)

    def apply_steps(self, steps: Sequence[Step]) -> None:
        for number, step in enumerate(steps):
            last = number == len(steps) - 1
            self._apply_step(step, wait=self.wait or not last)
            self.applied_steps.append(step)

    def freeze_node_group(self, name: str) -> NodeGroup:
        """Freeze a group, and return it as it is then.

        Each step is planned from what runs at that moment, because an autoscaler works meanwhile.
        """
        for attempt in range(_FREEZE_ATTEMPTS):
            group = self.measure(self._get_existing(name))
            steps = freeze.plan_freeze(group)
            if not steps:
                return group
            try:
                self.apply_steps(steps[:1])
            except (GroupSizeError, ApiError) as error:
                # A node that came after the measurement: EKS accepts no maximum below the number of nodes.
                is_size = isinstance(error, GroupSizeError) or error.code == eks.INVALID_CODE
                if not is_size or "scalingConfig" not in (steps[0].after or {}) or attempt == _FREEZE_ATTEMPTS - 1:
                    raise
                self.clock.sleep(self.delay)
        raise SysctlError(f"node group {name} cannot be frozen: something else changes it all the time. Run again")

    def _get_existing(self, name: str) -> NodeGroup:
        group = self.get_node_group(name)
        if group is None:
            raise SysctlError(f"node group {name} was deleted during the run. Run again")
        return group

    def _apply_step(self, step: Step, wait: bool) -> None:
        after = step.after or {}
        if step.action == "create_template":
            found = ec2.create_template(self.ec2, step.target, after["data"], after["tags"])
            self.template = (found[0], step.target, found[1])
        elif step.action == "create_template_version":
            if self.template is None:
                raise SysctlError(f"launch template {step.target} was deleted during the run. Run again")
            version = ec2.create_template_version(self.ec2, self.template[0], after["data"])
            self.template = (self.template[0], self.template[1], version)
        elif step.action == "create_nodegroup":
            self._create_node_group(step, wait)
        elif step.action == "update_config":
            self._wait_until_idle(step.target)
            if "maxSize" in after.get("scalingConfig", {}):
                change_steps.check_bounds(self.measure(self._get_existing(step.target)), after["scalingConfig"])
            update = eks.update_node_group_config(self.eks, self.cluster, step.target, after)
            self._wait_for_update(step.target, update, wait)
        elif step.action == "update_version":
            self._wait_until_idle(step.target)
            changes = {**after}
            if "launchTemplate" in changes and self.template:
                changes["launchTemplate"] = {"id": self.template[0], "version": self.template[2]}
            update = eks.update_node_group_version(self.eks, self.cluster, step.target, changes, self.force_update)
            self._wait_for_update(step.target, update, wait)
        elif step.action == "tag":
            eks.tag_resource(self.eks, self._get_arn(step.target), after)
        elif step.action == "untag":
            eks.untag_resource(self.eks, self._get_arn(step.target), list(step.before or {}))
        else:
            raise SysctlError(f"step {step.action} is unknown. This is a bug in the collection: report it")
        self.report_progress(f"{step.action} {step.target}: done")

    def _get_arn(self, name: str) -> str:
        return self._get_existing(name).arn

    def _create_node_group(self, step: Step, wait: bool) -> None:
        if self.template is None:
            raise SysctlError(
                f"node group {step.target} has no launch template. This is a bug in the collection: report it"
            )
        params = {**(step.after or {}), "launchTemplate": {"id": self.template[0], "version": self.template[2]}}
        eks.create_node_group(self.eks, self.cluster, params)
        if wait:
            self.wait_until_active(step.target)
        else:
            self.pending = True

    # Waiting

    def _wait_or_fail(self, operation: str, status: str) -> None:
        if self.clock.monotonic() >= self.deadline:
            raise SysctlError(
                f"{operation} did not finish within {self.timeout:g} seconds ({status}). It continues in AWS: run "
                "again to wait for it, or raise wait_timeout"
            )
        self.clock.sleep(min(self.delay, max(0.0, self.deadline - self.clock.monotonic())))

    def _wait_until_idle(self, name: str) -> None:
        """Wait for an earlier change, because EKS accepts one change at a time."""
        while True:
            group = self._get_existing(name)
            if group.status not in ("UPDATING", "CREATING"):
                return
            self.report_progress(f"{name} is {group.status}{format_issues(group)}")
            self._wait_or_fail(f"an earlier change of node group {name}", f"it is {group.status}{format_issues(group)}")

    def wait_until_active(self, name: str) -> NodeGroup:
        """Wait until the group is ACTIVE. Report its health issues, and fail where EKS has failed."""
        while True:
            group = self.get_node_group(name)
            if group is None:
                raise SysctlError(f"node group {name} was deleted after it was created. Run again")
            if group.status == "ACTIVE":
                return group
            if group.status in ("CREATE_FAILED", "DEGRADED", "DELETING", "DELETE_FAILED"):
                raise SysctlError(
                    f"node group {name} is {group.status}{format_issues(group)}. Fix the cause, and run again"
                )
            self.report_progress(f"{name} is {group.status}{format_issues(group)}")
            self._wait_or_fail(f"the change of node group {name}", f"it is {group.status}{format_issues(group)}")

    def _wait_for_update(self, name: str, update_id: str, wait: bool) -> None:
        """Wait for the outcome of the update. After a failed update the group is ACTIVE as well.

        docs/facts/sysctl_nodegroup.md#changing-a-node-group-in-place
        """
        if not wait:
            self.pending = True
            return
        while True:
            update = eks.get_update(self.eks, self.cluster, name, update_id)
            status = str(update.get("status"))
            if status == "Successful":
                return
            if status in ("Failed", "Cancelled"):
                errors = "; ".join(
                    f"{error.get('errorCode')}: {error.get('errorMessage')}"
                    + (f" ({', '.join(error['resourceIds'])})" if error.get("resourceIds") else "")
                    for error in update.get("errors") or []
                )
                suggestion = (
                    " A PodDisruptionBudget blocked evictions for 15 minutes. Fix the budget, or set force_update=true"
                    if "PodEvictionFailure" in errors
                    else " Fix the cause, and run again"
                )
                raise SysctlError(
                    f"update {update_id} of node group {name} has {status.lower()}: {errors}.{suggestion}"
                )
            group = self.get_node_group(name)
            self.report_progress(f"{name}: {update.get('type')} {status}{format_issues(group) if group else ''}")
            self._wait_or_fail(f"update {update_id} of node group {name}", f"it is {status}")

    # Verify

    def verify(self, plan: NodeGroupPlan) -> tuple[Optional[NodeGroup], Optional[bool], str]:
        """Return the current group, whether it is as planned (None where that is not known yet), and the reason."""
        if self.pending:
            return (
                self.get_node_group(plan.group_name),
                None,
                "the run did not wait for it: run again, or use wait=true, to verify it",
            )
        group = self.wait_until_active(plan.group_name) if self.wait else self.get_node_group(plan.group_name)
        if group is None:
            return None, False, f"node group {plan.group_name} does not exist"
        if group.status != "ACTIVE":
            return group, None, f"it is {group.status}"
        if group.issues:
            return group, False, f"EKS reports{format_issues(group)}"
        if plan.template_data and group.template and group.user_data != plan.user_data:
            normalize = partial(userdata.normalize_user_data, plan.family)
            if normalize(group.user_data) != normalize(plan.user_data):
                return group, False, "its launch template version has other user data than planned"
        return group, True, "it is ACTIVE without issues, and its template version allows the sysctls"

    def delete_old_template_versions(self, groups: Sequence[NodeGroup]) -> list[str]:
        """Delete old versions of the managed template. Versions that a group uses stay."""
        if self.template is None:
            return []
        in_use = {
            group.template.version for group in groups if group.template and group.template.id == self.template[0]
        }
        return ec2.delete_old_template_versions(self.ec2, self.template[0], in_use | {self.template[2]})

    # Absent

    def delete_node_group(self, group: NodeGroup) -> None:
        if group.status != "DELETING":
            try:
                eks.delete_node_group(self.eks, self.cluster, group.name)
            except ApiError as error:
                if error.code != eks.NOT_FOUND_CODE:
                    raise
            self.applied_steps.append(Step("delete_nodegroup", group.name, "state=absent"))
            self.report_progress(f"{group.name}: deletion started")
        if not self.wait:
            self.pending = True
            return
        while True:
            remaining = self.get_node_group(group.name)
            if remaining is None:
                return
            if remaining.status == "DELETE_FAILED":
                raise SysctlError(
                    f"node group {group.name} could not be deleted{format_issues(remaining)}. "
                    "Fix the cause, and run again"
                )
            self.report_progress(f"{group.name} is {remaining.status}{format_issues(remaining)}")
            self._wait_or_fail(f"the deletion of node group {group.name}", f"it is {remaining.status}")


def format_issues(group: NodeGroup) -> str:
    """Format the health issues, each with the instances or other resources that it names."""
    issues = [
        f"{issue.get('code')}: {issue.get('message')}"
        + (f" ({', '.join(map(str, issue['resourceIds']))})" if issue.get("resourceIds") else "")
        for issue in group.issues
    ]
    return f", with {'; '.join(issues)}" if issues else ""
