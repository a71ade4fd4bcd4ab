# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS: transitions that take time. Node groups are created, updated and deleted; DescribeUpdate shows the updates.

The real nodes of a cluster that runs here determine the status of its groups (eks_nodes.py). Any other group is a
record, whose status follows the bed's clock.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.eks.exceptions import InvalidParameterException, ResourceInUseException, ResourceNotFoundException
from moto.eks.models import Cluster, EKSBackend, Nodegroup, eks_backends
from moto.eks.responses import EKSResponse
from moto.eks.urls import response as dispatcher
from moto.eks.urls import url_paths

from ..nodes import bottlerocket, mime
from ..nodes.model import BootError
from . import eks, eks_access
from .clock import CLOCK
from .control import command
from .eks import MOTO_FACTS, NodegroupRequest, Template, minor, template_of
from .rules import rule

for path in ("/updates$", "/updates/(?P<updateId>[^/]+)$", "/node-groups/(?P<nodegroupName>[^/]+)/update-version$"):
    url_paths["{0}/clusters/(?P<name>[^/]+)" + path] = dispatcher.dispatch

MALFORMED = "Ec2LaunchTemplateInvalidConfiguration"
FACTS = "docs/facts/sysctl_nodegroup.md#changing-a-node-group-in-place"
NOT_JOINED = "Instances failed to join the kubernetes cluster"


@dataclass
class Settings:
    """How long transitions take, and which of them fail."""

    # Of records, in seconds of the bed's clock.
    create_seconds: float = 20
    config_seconds: float = 5
    version_seconds: float = 20
    delete_seconds: float = 20
    failing_creates: dict[str, dict[str, Any]] = field(default_factory=dict)  # by group: code, message, resourceIds
    failing_updates: dict[str, dict[str, Any]] = field(default_factory=dict)  # by group: errorCode, errorMessage
    # Of real nodes, in seconds of the machine's clock.
    join_seconds: float = 900  # after which a node that is not Ready has failed
    evict_seconds: float = 900  # of a rolling update, for one node: the EKS user guide on update behaviour
    drain_seconds: float = 300  # of a deletion or a scale-in, after which a node ends with the pods that are on it
    max_nodes: int = 4  # of all groups together, without the nodes that an update adds temporarily


SETTINGS = Settings()


@command("eks/settings")
def set_settings(**changes: Any) -> None:
    """Restore the defaults, then apply the given changes."""
    SETTINGS.__init__(**changes)  # type: ignore[misc]  # the rules hold this very object


@command("eks/edit")
def edit(region: str, cluster: str, group: str | None = None, **attributes: Any) -> None:
    """Set attributes of moto's own object, for states that no call produces: a group that lags, a cluster's version."""
    resource: Any = eks_backends[DEFAULT_ACCOUNT_ID][region].clusters[cluster]
    for key, value in attributes.items():
        setattr(resource.nodegroups[group] if group else resource, key, value)


def is_live(cluster: Cluster) -> bool:
    """Return whether this cluster's API server runs here. Then its nodes are real."""
    return bool(getattr(cluster, "testbed_live", False))


def is_real(cluster: Cluster, group: Nodegroup) -> bool:
    """Return whether the group has nodes that run. The test bed runs no Windows."""
    return is_live(cluster) and not str(group.ami_type).startswith("WINDOWS")


def nodes_of(group: Nodegroup) -> dict[str, dict[str, Any]]:
    kept: dict[str, dict[str, Any]] = group.__dict__.setdefault("testbed_nodes", {})
    return kept


# Updates


@dataclass
class Update:
    cluster: str
    group: str | None
    answer: dict[str, Any]  # as DescribeUpdate shows it
    apply: Callable[[], None] = lambda: None  # the changes of a success

    @property
    def running(self) -> bool:
        return bool(self.answer["status"] == "InProgress")

    def succeed(self) -> None:
        self.apply()
        self.answer["status"] = "Successful"

    def fail(self, code: str, message: str, resources: list[str]) -> None:
        self.answer["status"] = "Failed"
        self.answer["errors"] = [{"errorCode": code, "errorMessage": message, "resourceIds": resources}]


def updates(backend: EKSBackend) -> dict[str, Update]:
    kept: dict[str, Update] = backend.__dict__.setdefault("testbed_updates", {})
    return kept


def begin_update(
    backend: EKSBackend,
    cluster: str,
    group: str | None,
    kind: str,
    params: dict[str, Any],
    apply: Callable[[], None] = lambda: None,
) -> Update:
    shown = [{"type": name, "value": str(value)} for name, value in params.items() if value is not None]
    key = str(uuid.uuid4())
    answer = {
        "id": key,
        "status": "InProgress",
        "type": kind,
        "params": shown,
        "createdAt": CLOCK.now(),
        "errors": [],
    }
    update = Update(cluster, group, answer, apply)
    updates(backend)[key] = update
    return update


@rule(
    EKSResponse,
    "describe_update",
    fact=f"An update's outcome is in DescribeUpdate: {FACTS}; moto has none",
    new=True,
)
def updates_are_described(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    live(response.eks_backend)
    name, update_id = response._get_param("name"), response._get_param("updateId")
    response.eks_backend.describe_cluster(name)
    update = updates(response.eks_backend).get(update_id)
    if update is None or (update.cluster, update.group) != (name, response._get_param("nodegroupName")):
        raise ResourceNotFoundException(clusterName=name, message=f"No update found for ID: {update_id}")
    return ActionResult({"update": update.answer})


@rule(
    EKSResponse, "list_updates", fact="ListUpdates pages the updates of a cluster or a group; moto has none", new=True
)
def updates_are_listed(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    backend, name, group = response.eks_backend, response._get_param("name"), response._get_param("nodegroupName")
    live(backend)
    backend.describe_cluster(name)
    if group:
        backend.describe_nodegroup(name, group)
    found = [key for key, update in updates(backend).items() if (update.cluster, update.group) == (name, group)]
    begin = int(str(response._get_param("nextToken") or "page-0").removeprefix("page-"))
    end = begin + int(response._get_param("maxResults") or 100)
    more = {"nextToken": f"page-{end}"} if end < len(found) else {}
    return ActionResult({"updateIds": found[begin:end], **more})


# The statuses of a group


def due(seconds: float) -> datetime:
    return CLOCK.now() + timedelta(seconds=seconds)


def live(backend: EKSBackend) -> None:
    """Bring every record to its status at the bed's time."""
    for cluster in list(backend.clusters.values()):
        for group in list(cluster.nodegroups.values()):
            when = getattr(group, "testbed_due", None)
            if when is not None and CLOCK.now() >= when:
                _arrive(cluster, group)


def _arrive(cluster: Cluster, group: Nodegroup) -> None:
    name = group.nodegroup_name
    if group.status == "CREATING":
        created(group, SETTINGS.failing_creates.get(name))
    elif group.status == "UPDATING":
        updated(group, SETTINGS.failing_updates.get(name))
    elif group.status == "DELETING":
        deleted(cluster, group)


def created(group: Nodegroup, issue: dict[str, Any] | None = None) -> None:
    group.testbed_due = None
    group.status = "CREATE_FAILED" if issue else "ACTIVE"
    group.health = {"issues": [issue] if issue else []}


def updated(group: Nodegroup, error: dict[str, Any] | None = None) -> None:
    """End an update. A failed update leaves the group ACTIVE.

    (docs/facts/sysctl_nodegroup.md#changing-a-node-group-in-place)
    """
    update: Update = group.testbed_update
    group.testbed_due = group.testbed_update = None
    group.status = "ACTIVE"
    group.modified_at = CLOCK.now()
    if error:
        update.fail(error["errorCode"], error.get("errorMessage", ""), error.get("resourceIds", []))
    else:
        update.succeed()


def deleted(cluster: Cluster, group: Nodegroup) -> None:
    eks_access.dismiss_nodes(cluster, group)
    del cluster.nodegroups[group.nodegroup_name]
    cluster.nodegroup_count -= 1


def begin(cluster: Cluster, group: Nodegroup, status: str, seconds: float) -> None:
    group.status = status
    group.testbed_due = None if is_real(cluster, group) else due(seconds)


@rule(EKSBackend, "create_nodegroup", fact=f"A group goes from CREATING to ACTIVE or CREATE_FAILED: {MOTO_FACTS}")
def groups_take_time_to_come(plain: Callable[..., Any], backend: EKSBackend, **params: Any) -> Nodegroup:
    live(backend)
    group: Nodegroup = plain(backend, **params)
    group.testbed_update = None
    group.created_at = group.modified_at = CLOCK.now()
    begin(backend.clusters[group.cluster_name], group, "CREATING", SETTINGS.create_seconds)
    if group.launch_template and (why := unusable(group, template_for(backend, group))):
        created(group, {"code": MALFORMED, "message": why, "resourceIds": []})
    return group


def template_for(backend: EKSBackend, group: Nodegroup) -> Template:
    named = {"id": group.launch_template["id"], "version": group.launch_template["version"]}
    return template_of(ec2_backends[backend.account_id][backend.region_name], named)


def unusable(group: Nodegroup, template: Template | None) -> str | None:
    """Return why EKS cannot merge its own user data with the template's: both are MIME, or TOML for Bottlerocket. EKS
    does not change a custom image's. The code and the first message as reported (terraform-aws-eks 1875 and 2147)."""
    if not template or template.image or group.ami_type.startswith("WINDOWS"):
        return None
    user_data = template.user_data
    if not user_data:
        return None
    if group.ami_type.startswith("BOTTLEROCKET"):
        why = bottlerocket.refused_by_eks(user_data)
        return f"User data was not in the TOML format: {why}." if why else None
    try:
        mime.parts(user_data)
    except mime.NotMultipart:
        return "User data was not in the MIME multipart format."
    except BootError:
        return None  # invalid content: the boot of the node fails
    return None


@rule(EKSBackend, "describe_nodegroup", fact=f"A group goes from CREATING to ACTIVE or CREATE_FAILED: {MOTO_FACTS}")
def time_goes_on_for_groups(plain: Callable[..., Any], backend: EKSBackend, *args: Any, **kwargs: Any) -> Nodegroup:
    live(backend)
    group: Nodegroup = plain(backend, *args, **kwargs)
    return group


@rule(
    EKSBackend,
    "list_nodegroups",
    fact="A cluster that does not exist has no groups to list: ResourceNotFoundException (botocore's model)",
)
def time_goes_on_for_lists(
    plain: Callable[..., Any], backend: EKSBackend, cluster_name: str, *args: Any, **kw: Any
) -> Any:
    live(backend)
    backend.describe_cluster(cluster_name)
    return plain(backend, cluster_name, *args, **kw)


@rule(EKSBackend, "delete_cluster", fact="A cluster goes when its last group has gone (EKS API reference)")
def time_goes_on_before_a_cluster_goes(plain: Callable[..., Any], backend: EKSBackend, *args: Any, **kw: Any) -> Any:
    live(backend)
    return plain(backend, *args, **kw)


@rule(EKSBackend, "delete_nodegroup", fact=f"A group is DELETING until its nodes are gone: {MOTO_FACTS}")
def groups_take_time_to_go(
    plain: Callable[..., Any], backend: EKSBackend, cluster_name: str, nodegroup_name: str
) -> Nodegroup:
    live(backend)
    group = backend.describe_nodegroup(cluster_name, nodegroup_name)
    if group.status in ("UPDATING", "DELETING"):
        raise in_use(group, f"Nodegroup cannot be deleted as it is currently in {group.status} state")
    begin(backend.clusters[cluster_name], group, "DELETING", SETTINGS.delete_seconds)
    return group


def in_use(group: Nodegroup, message: str) -> ResourceInUseException:
    return ResourceInUseException(clusterName=group.cluster_name, nodegroupName=group.nodegroup_name, message=message)


def updatable(backend: EKSBackend, cluster: str, name: str) -> Nodegroup:
    live(backend)
    group = backend.describe_nodegroup(cluster, name)
    if group.status not in ("ACTIVE", "DEGRADED"):
        raise in_use(group, "Nodegroup cannot be updated as it is currently not in Active State")
    return group


def begin_group_update(
    backend: EKSBackend, group: Nodegroup, update: Update, seconds: float, **goal: Any
) -> dict[str, Any]:
    group.testbed_update = update
    group.testbed_goal = goal
    begin(backend.clusters[group.cluster_name], group, "UPDATING", seconds)
    return update.answer


# UpdateNodegroupConfig


@rule(
    EKSBackend,
    "update_nodegroup_config",
    fact=f"A config update runs while the group is UPDATING, never beside another update, within the same bounds as "
    f"at the creation: {FACTS}",
)
def config_updates_take_time(
    plain: Callable[..., Any], backend: EKSBackend, cluster_name: str, nodegroup_name: str, **changes: Any
) -> dict[str, Any]:
    group = updatable(backend, cluster_name, nodegroup_name)
    scaling, labels, taints = (changes.get(name) or {} for name in ("scaling_config", "labels", "taints"))
    config, repair = changes.get("update_config"), changes.get("node_repair_config")
    if not any((scaling, labels, taints, config, repair)):
        raise InvalidParameterException(message="At least one of the parameters to update must be specified")
    check_sizes_against(group, scaling)
    eks.check_update_config(config)
    eks.check_node_repair(repair)
    plain(backend, cluster_name=cluster_name, nodegroup_name=nodegroup_name, **changes)
    params = {
        "LabelsToAdd": labels.get("addOrUpdateLabels"),
        "LabelsToRemove": labels.get("removeLabels"),
        "TaintsToAdd": taints.get("addOrUpdateTaints"),
        "TaintsToRemove": taints.get("removeTaints"),
        "MinSize": scaling.get("minSize"),
        "MaxSize": scaling.get("maxSize"),
        "DesiredSize": scaling.get("desiredSize"),
        "MaxUnavailable": (config or {}).get("maxUnavailable"),
        "MaxUnavailablePercentage": (config or {}).get("maxUnavailablePercentage"),
        "UpdateStrategy": (config or {}).get("updateStrategy"),
        "NodeRepairConfig": repair,
    }
    update = begin_update(backend, cluster_name, nodegroup_name, "ConfigUpdate", params)
    return begin_group_update(backend, group, update, SETTINGS.config_seconds)


def believed_size(group: Nodegroup) -> int:
    """Return the desired size that EKS knows. While EKS lags (eks_sizes.py), the Auto Scaling group has another."""
    lagging = group.__dict__.get("testbed_believed_size")
    return int(group.scaling_config["desiredSize"] if lagging is None else lagging)


def check_sizes_against(group: Nodegroup, scaling: dict[str, int]) -> None:
    """Check the given sizes together with the unchanged ones; the message as reported (terraform-aws-eks 3306)."""
    eks.check_sizes(scaling)
    merged = {**group.scaling_config, "desiredSize": believed_size(group), **scaling}
    if merged["minSize"] > merged["desiredSize"]:
        raise InvalidParameterException(
            message=f"Minimum capacity {merged['minSize']} can't be greater than desired size {merged['desiredSize']}"
        )
    if merged["desiredSize"] > merged["maxSize"]:
        raise InvalidParameterException(
            message=f"Desired capacity {merged['desiredSize']} can't be greater than max size {merged['maxSize']}"
        )


# UpdateNodegroupVersion


@rule(
    EKSResponse,
    "update_nodegroup_version",
    fact="UpdateNodegroupVersion goes to another version of the same template, or to a newer Kubernetes version or "
    f"release; with no version it goes to the cluster's: {FACTS}; moto has none",
    new=True,
)
def versions_are_updated(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    backend = response.eks_backend
    group = updatable(backend, response._get_param("name"), response._get_param("nodegroupName"))
    cluster = backend.clusters[group.cluster_name]
    reference = response._get_param("launchTemplate")
    template = template_for_update(backend, cluster, group, reference)
    version, release = target(
        cluster, group, template, response._get_param("version"), response._get_param("releaseVersion")
    )
    params = {"Version": version, "ReleaseVersion": release}
    if template:
        params |= {"LaunchTemplateName": template.name, "LaunchTemplateVersion": str(template.version)}

    def apply() -> None:
        group.version, group.release_version = version, release
        if template:
            group.launch_template = {"id": template.id, "name": template.name, "version": str(template.version)}

    update = begin_update(backend, cluster.name, group.nodegroup_name, "VersionUpdate", params, apply)
    force = bool(response._get_param("force"))
    goal = {"version": version, "release": release, "template": template, "force": force}
    begin_group_update(backend, group, update, SETTINGS.version_seconds, **goal)
    if why := unusable(group, template):
        updated(group, {"errorCode": MALFORMED, "errorMessage": why})
    return ActionResult({"update": update.answer})


def template_for_update(
    backend: EKSBackend, cluster: Cluster, group: Nodegroup, reference: dict[str, Any] | None
) -> Template | None:
    eks.check_named_once(reference)
    own = group.launch_template
    if reference and not own:
        raise InvalidParameterException(
            message="You cannot specify a launch template for a nodegroup that was created without one"
        )
    if not own:
        return None
    template = template_of(ec2_backends[backend.account_id][backend.region_name], reference or own)
    if template.id != own["id"]:
        raise InvalidParameterException(
            message="You cannot specify a different launch template than the one that the nodegroup was created with"
        )
    params = {
        "nodegroup_name": group.nodegroup_name,
        "launch_template": {"id": template.id, "version": template.version},
        "capacity_type": group.capacity_type,
    }
    request = NodegroupRequest(backend, cluster, {**params, "instance_types": group.testbed_instance_types})
    for check in (*eks.TEMPLATE_CHECKS, eks.instance_types_stand_in_the_template_or_the_request):
        check(request)
    if bool(template.image) != (group.ami_type == "CUSTOM"):
        raise InvalidParameterException(
            message="You cannot change between a custom AMI and an EKS optimized AMI in an existing nodegroup"
        )
    return template


def target(
    cluster: Cluster, group: Nodegroup, template: Template | None, version: str | None, release: str | None
) -> tuple[str, str]:
    """Return the Kubernetes version and the release of the update, which never goes back."""
    if template and template.image:
        for name, value in (("kubernetesVersion", version), ("releaseVersion", release)):
            if value:  # as reported (eksctl 5999, crossplane aws 1703)
                raise InvalidParameterException(message=f"You cannot specify the field {name} when using custom AMIs.")
        return group.version, template.image
    version = version or cluster.version
    if minor(version) > minor(cluster.version):
        raise InvalidParameterException(
            message=f"Requested Nodegroup kubernetes version {version} is newer than the cluster's, {cluster.version}"
        )
    if minor(version) < minor(group.version):
        raise InvalidParameterException(
            message=f"Nodegroup kubernetes version cannot go back from {group.version} to {version}"
        )
    if group.ami_type.startswith("AL2_") and minor(version) > eks.LAST_AL2:
        raise InvalidParameterException(
            message=f"AMI Type {group.ami_type} is only supported for kubernetes versions 1.32 or earlier"
        )
    release = release or eks.latest_release(version, group.ami_type)
    eks.check_release(release, version, group.ami_type)
    if version == group.version and eks.age(release) < eks.age(group.release_version):
        raise InvalidParameterException(
            message=f"Nodegroup release version cannot go back from {group.release_version} to {release}"
        )
    return version, release
