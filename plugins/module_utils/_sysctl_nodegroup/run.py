# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe, apply and verify for one node group. Knows no Ansible."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from .._clock import Clock
from .._plan import Step
from . import ec2, eks, userdata
from .errors import ServiceError, SysctlError
from .model import TAG_NAME, Group, Seen, Template, Wanted
from .plan import Plan


@dataclass
class Run:
    """One run: its clients, how long it waits, and what it has done so far."""

    eks: Any
    ec2: Any
    cluster: str
    wait: bool = True
    timeout: float = 3600
    delay: float = 10
    force_update: bool = False
    clock: Clock = field(default_factory=Clock)
    progress: list[str] = field(default_factory=list)
    done: list[Step] = field(default_factory=list)
    template: Optional[tuple[str, str, str]] = None  # id, name, version
    pending: bool = False
    deadline: float = 0.0

    def __post_init__(self) -> None:
        self.deadline = self.clock.now() + self.timeout

    def say(self, line: str) -> None:
        if not self.progress or self.progress[-1] != line:
            self.progress.append(line)

    # Observe

    def observe(self, wanted: Wanted) -> Seen:
        cluster = eks.cluster(self.eks, wanted.cluster)
        generations = self.generations(wanted.name)
        source = None
        if wanted.clone_from and not generations:
            source = self.group(wanted.clone_from)
            if source is None:
                raise SysctlError(f"clone_from: there is no node group {wanted.clone_from} in {wanted.cluster}")
        return Seen(cluster, generations, source, ec2.owned(self.ec2, wanted.cluster, wanted.name))

    def generations(self, name: str) -> tuple[Group, ...]:
        """The groups of a logical name, the newest last: the one that exactly bears it, and those tagged with it."""
        likely = re.compile(rf"{re.escape(name[:54])}-[0-9a-f]{{8}}")
        names = [one for one in eks.group_names(self.eks, self.cluster) if one == name or likely.fullmatch(one)]
        groups = [found for found in map(self.group, names) if found]
        mine = [one for one in groups if one.name == name or one.tags.get(TAG_NAME) == name]
        foreign = [one for one in mine if one.tags.get(TAG_NAME, name) != name]
        if foreign:
            raise SysctlError(
                f"node group {name} is a generation of {foreign[0].tags[TAG_NAME]}: use that name instead"
            )
        return tuple(sorted(mine, key=lambda one: one.generation))

    def group(self, name: str) -> Optional[Group]:
        told = eks.group(self.eks, self.cluster, name)
        if told is None:
            return None
        reference = told.get("launchTemplate")
        return Group(told, ec2.template(self.ec2, reference) if reference else None)

    def retiring(self, wanted: Wanted, seen: Seen, plan: Plan) -> list[Group]:
        """The groups that the planned one takes the place of, as far as they are there."""
        if not plan.needed:
            return []
        found = [one for one in seen.generations if one.name != plan.group_name]
        source = seen.source or (self.group(wanted.clone_from) if wanted.clone_from else None)
        known = {plan.group_name, *(one.name for one in found)}
        return [*found, *([source] if source and source.name not in known else [])]

    # Apply

    def apply(self, plan: Plan, seen: Seen) -> None:
        """The steps in their order. One that fails ends the run; what was done before it stays told."""
        known = seen.templates.get(plan.template_name)
        self.template = (known.id, known.name, known.version) if known else None
        self.carry_out(plan.steps)

    def carry_out(self, steps: Sequence[Step]) -> None:
        for number, step in enumerate(steps):
            last = number == len(steps) - 1
            self._step(step, wait=self.wait or not last)
            self.done.append(step)

    def _step(self, step: Step, wait: bool) -> None:
        after = step.after or {}
        if step.action == "create_template":
            found = ec2.create_template(self.ec2, step.target, after["data"], after["tags"])
            self.template = (found[0], step.target, found[1])
        elif step.action == "create_template_version":
            if self.template is None:
                raise SysctlError(f"launch template {step.target} is gone since it was read: run again")
            version = ec2.create_version(self.ec2, self.template[0], after["data"])
            self.template = (self.template[0], self.template[1], version)
        elif step.action == "create_nodegroup":
            self._create(step, wait)
        elif step.action == "update_config":
            self._settle(step.target)
            update = eks.update_config(self.eks, self.cluster, step.target, after)
            self._await_update(step.target, update, wait)
        elif step.action == "update_version":
            self._settle(step.target)
            changes = {**after}
            if "launchTemplate" in changes and self.template:
                changes["launchTemplate"] = {"id": self.template[0], "version": self.template[2]}
            update = eks.update_version(self.eks, self.cluster, step.target, changes, self.force_update)
            self._await_update(step.target, update, wait)
        elif step.action == "tag":
            eks.tag(self.eks, self._arn(step.target), after)
        elif step.action == "untag":
            eks.untag(self.eks, self._arn(step.target), list(step.before or {}))
        else:
            raise SysctlError(f"nobody knows how to {step.action}: this is a mistake of ours")
        self.say(f"{step.action} {step.target}: done")

    def _arn(self, name: str) -> str:
        found = eks.group(self.eks, self.cluster, name)
        if found is None:
            raise SysctlError(f"node group {name} is gone since it was read: run again")
        return str(found["nodegroupArn"])

    def _create(self, step: Step, wait: bool) -> None:
        if self.template is None:
            raise SysctlError("there is no launch template for the new group: this is a mistake of ours")
        params = {**(step.after or {}), "launchTemplate": {"id": self.template[0], "version": self.template[2]}}
        eks.create_group(self.eks, self.cluster, params)
        if wait:
            self.settled(step.target)
        else:
            self.pending = True

    # Waiting

    def _tick(self, what: str, seen: str) -> None:
        if self.clock.now() >= self.deadline:
            raise SysctlError(
                f"{what} was not done within {self.timeout:g} seconds ({seen}). It goes on in AWS: run again to see, "
                "or raise wait_timeout"
            )
        self.clock.sleep(min(self.delay, max(0.0, self.deadline - self.clock.now())))

    def _settle(self, name: str) -> None:
        """EKS takes one change at a time."""
        while True:
            group = self.group(name)
            if group is None:
                raise SysctlError(f"node group {name} is gone since it was read: run again")
            if group.status not in ("UPDATING", "CREATING"):
                return
            self.say(f"{name} is {group.status}{issues_of(group)}")
            self._tick(f"an earlier change of node group {name}", f"it is {group.status}{issues_of(group)}")

    def settled(self, name: str) -> Group:
        """Waits until it is made; says what hinders it, node by node, and fails where EKS has given up."""
        while True:
            group = self.group(name)
            if group is None:
                raise SysctlError(f"node group {name} is gone since it was made")
            if group.status == "ACTIVE":
                return group
            if group.status in ("CREATE_FAILED", "DEGRADED", "DELETING", "DELETE_FAILED"):
                raise SysctlError(f"node group {name} is {group.status}{issues_of(group)}")
            self.say(f"{name} is {group.status}{issues_of(group)}")
            self._tick(f"node group {name}", f"it is {group.status}{issues_of(group)}")

    def _await_update(self, name: str, update_id: str, wait: bool) -> None:
        """The update's own outcome: after a failed one the group is ACTIVE as well."""
        if not wait:
            self.pending = True
            return
        while True:
            update = eks.update(self.eks, self.cluster, name, update_id)
            status = str(update.get("status"))
            if status == "Successful":
                return
            if status in ("Failed", "Cancelled"):
                said = "; ".join(
                    f"{one.get('errorCode')}: {one.get('errorMessage')}"
                    + (f" ({', '.join(one['resourceIds'])})" if one.get("resourceIds") else "")
                    for one in update.get("errors") or []
                )
                way_out = (
                    " Pods with a PodDisruptionBudget stayed for 15 minutes: mend the budget, or set force_update=true"
                    if "PodEvictionFailure" in said
                    else ""
                )
                raise SysctlError(f"update {update_id} of node group {name} has {status.lower()}: {said}.{way_out}")
            group = self.group(name)
            self.say(f"{name}: {update.get('type')} {status}{issues_of(group) if group else ''}")
            self._tick(f"update {update_id} of node group {name}", f"it is {status}")

    # Verify

    def verify(self, plan: Plan) -> tuple[Optional[Group], Optional[bool], str]:
        """The group as it is now, whether it is as planned (None where that is not known yet), and why."""
        if self.pending:
            return self.group(plan.group_name), None, "not waited for: run again, or use wait=true, to see it done"
        group = self.settled(plan.group_name) if self.wait else self.group(plan.group_name)
        if group is None:
            return None, False, f"node group {plan.group_name} does not exist"
        if group.status != "ACTIVE":
            return group, None, f"it is {group.status}"
        if group.issues:
            return group, False, f"EKS reports{issues_of(group)}"
        if plan.data and group.template and bytes(group.template.data.get("UserData") or b"") != plan.user_data:
            now = bytes(group.template.data.get("UserData") or b"")
            if userdata.meaning(plan.family, now) != userdata.meaning(plan.family, plan.user_data):
                return group, False, "its launch template version holds other user data than planned"
        return group, True, "it is ACTIVE without issues, and its template version allows the sysctls"

    def tidy(self, groups: Sequence[Group]) -> list[str]:
        """Old versions of our template go; those that a group uses stay."""
        if self.template is None:
            return []
        in_use = {one.template.version for one in groups if one.template and one.template.id == self.template[0]}
        return ec2.delete_old_versions(self.ec2, self.template[0], in_use | {self.template[2]})

    # Absent

    def delete(self, group: Group, template: Optional[Template]) -> None:
        if group.status != "DELETING":
            try:
                eks.delete_group(self.eks, self.cluster, group.name)
            except ServiceError as error:
                if error.code != eks.GONE:
                    raise
            self.done.append(Step("delete_nodegroup", group.name, "asked for"))
            self.say(f"{group.name}: its deletion has begun")
        if not self.wait:
            self.pending = True
            return
        while True:
            left = self.group(group.name)
            if left is None:
                break
            if left.status == "DELETE_FAILED":
                raise SysctlError(f"node group {group.name} could not be deleted{issues_of(left)}")
            self.say(f"{group.name} is {left.status}{issues_of(left)}")
            self._tick(f"the deletion of node group {group.name}", f"it is {left.status}")
        if template:
            ec2.delete_template(self.ec2, template.id)


def issues_of(group: Group) -> str:
    """Its health issues, each with the instances or other things that it names."""
    said = [
        f"{one.get('code')}: {one.get('message')}"
        + (f" ({', '.join(map(str, one['resourceIds']))})" if one.get("resourceIds") else "")
        for one in group.issues
    ]
    return f", with {'; '.join(said)}" if said else ""
