# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options and current state of node groups: frozen dataclasses without any API call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

TAG_NAME = "daytwo.aws/nodegroup"
TAG_GENERATION = "daytwo.aws/generation"
TAG_CLUSTER = "daytwo.aws/cluster"
CUSTOM_AMI_TYPE = "CUSTOM"
AMI_FAMILY_PREFIXES = (
    ("AL2023_", "al2023"),
    ("BOTTLEROCKET_", "bottlerocket"),
    ("AL2_", "al2"),
    ("WINDOWS_", "windows"),
)


@dataclass(frozen=True)
class ClusterConfig:
    name: str
    version: str
    endpoint: str = ""
    certificate_authority: str = ""
    service_cidr: str = ""  # of the cluster's IP family
    security_group: str = ""
    auto_mode: bool = False

    @property
    def dns_ip(self) -> str:
        """The address of the cluster DNS, which EKS puts at the tenth address of the service range.

        docs/facts/sysctl_nodegroup.md#ipv6-clusters
        """
        network = self.service_cidr.partition("/")[0]
        if ":" in network:
            return network + "a"
        return network.rpartition(".")[0] + ".10" if "." in network else ""


@dataclass(frozen=True)
class LaunchTemplate:
    """One version of a launch template."""

    id: str
    name: str
    version: str
    data: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)
    default_version: str = ""

    @property
    def image_id(self) -> Optional[str]:
        found = self.data.get("ImageId")
        return str(found) if found else None


@dataclass(frozen=True)
class GroupInstance:
    """An instance that is, or becomes, a node. Instances of a warm pool are not among them."""

    id: str
    zone: str = ""
    state: str = ""
    metadata_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def provider_id(self) -> str:
        """The C(spec.providerID) of its node, which also holds where nodes have names of their own."""
        return f"aws:///{self.zone}/{self.id}"


@dataclass(frozen=True)
class RunningGroup:
    """What runs of a node group. C(desired): the Auto Scaling group's own desired capacity; None where not known."""

    instances: tuple[GroupInstance, ...] = ()
    desired: Optional[int] = None


@dataclass(frozen=True)
class NodeGroup:
    """A node group as DescribeNodegroup describes it, with the template version that it uses."""

    description: Mapping[str, Any]
    template: Optional[LaunchTemplate] = None
    running: Optional[RunningGroup] = None

    def _get_text(self, key: str) -> str:
        return str(self.description.get(key) or "")

    @property
    def name(self) -> str:
        return self._get_text("nodegroupName")

    @property
    def arn(self) -> str:
        return self._get_text("nodegroupArn")

    @property
    def status(self) -> str:
        return self._get_text("status")

    @property
    def version(self) -> str:
        return self._get_text("version")

    @property
    def release_version(self) -> str:
        return self._get_text("releaseVersion")

    @property
    def ami_type(self) -> str:
        return self._get_text("amiType")

    @property
    def custom_ami(self) -> bool:
        return self.ami_type == CUSTOM_AMI_TYPE or bool(self.template and self.template.image_id)

    @property
    def user_data(self) -> bytes:
        """The user data of its launch template, decoded; empty without a template."""
        return bytes(self.template.data.get("UserData") or b"") if self.template else b""

    @property
    def tags(self) -> Mapping[str, str]:
        return dict(self.description.get("tags") or {})

    @property
    def labels(self) -> Mapping[str, str]:
        return dict(self.description.get("labels") or {})

    @property
    def scaling(self) -> dict[str, int]:
        return {key: int(value) for key, value in (self.description.get("scalingConfig") or {}).items()}

    @property
    def desired_size(self) -> int:
        """The number of nodes that the group is to have: that of its Auto Scaling group where it is known.

        The one of DescribeNodegroup can be out of date. docs/facts/sysctl_nodegroup.md#the-size-of-a-group
        """
        known = self.running.desired if self.running else None
        return self.scaling.get("desiredSize", 0) if known is None else known

    @property
    def largest_size(self) -> int:
        """The largest number of nodes of all that is known. A maximum that covers it ends no node."""
        instances = len(self.running.instances) if self.running else 0
        return max(self.desired_size, self.scaling.get("desiredSize", 0), instances)

    @property
    def missing_template(self) -> str:
        """The launch template that the group names and that is deleted. Empty where nothing is missing."""
        reference = self.description.get("launchTemplate") or {}
        if self.template or not reference:
            return ""
        return f"{reference.get('name') or reference.get('id')} version {reference.get('version') or '(default)'}"

    @property
    def issues(self) -> list[dict[str, Any]]:
        return list((self.description.get("health") or {}).get("issues") or [])

    @property
    def generation(self) -> int:
        found = self.tags.get(TAG_GENERATION, "")
        return int(found) if found.isdigit() else 0

    @property
    def owner(self) -> Optional[NodeGroupOwner]:
        return find_owner(self.tags, self.name)


@dataclass(frozen=True)
class NodeGroupOwner:
    """The tool that owns a resource, as the tags of the resource show."""

    tool: str
    name: str
    command: str

    def __str__(self) -> str:
        return f"{self.tool} {self.name}".strip()


def find_owner(tags: Mapping[str, str], group: str) -> Optional[NodeGroupOwner]:
    """Find the owner of a node group by its tags.

    eksctl comes before CloudFormation: its groups are in stacks that only eksctl should delete.
    docs/facts/sysctl_nodegroup.md#ownership
    """
    if any(key.startswith("alpha.eksctl.io/") for key in tags):
        cluster = tags.get("alpha.eksctl.io/cluster-name", "CLUSTER")
        name = tags.get("alpha.eksctl.io/nodegroup-name", group)
        return NodeGroupOwner(
            "eksctl", name, f"eksctl delete nodegroup --cluster {cluster} --name {name} --drain=false"
        )
    stack = tags.get("aws:cloudformation:stack-name")
    if stack:
        return NodeGroupOwner("CloudFormation", stack, f"aws cloudformation delete-stack --stack-name {stack}")
    for key, value in tags.items():
        if key.lower() in ("terraform", "managed-by", "managedby", "managed_by") and value.lower() in (
            "true",
            "terraform",
            "yes",
            "opentofu",
        ):
            return NodeGroupOwner("Terraform", group, f"terraform destroy -target=ADDRESS_OF_{group}")
    return None


@dataclass(frozen=True)
class SysctlNodegroupOptions:
    """The module's options. C(overrides): the fields of the group that the options set, by EKS's names."""

    cluster: str
    name: str
    sysctls: tuple[str, ...]
    clone_from: Optional[str] = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    ami_family: str = "auto"
    ami_id: Optional[str] = None
    version: Optional[str] = None
    release_version: Optional[str] = None
    user_data: Optional[bytes] = None
    kubelet_config: Mapping[str, Any] = field(default_factory=dict)
    disk_size: Optional[int] = None
    security_groups: Optional[Sequence[str]] = None
    strategy: str = "auto"
    allow_version_change: bool = False
    accept_shared_role: bool = False
    dedicated: bool = False
    force: bool = False


@dataclass(frozen=True)
class NodeGroupState:
    """The current state. C(generations): the groups of this logical name, the newest last."""

    cluster: ClusterConfig
    generations: tuple[NodeGroup, ...] = ()
    source: Optional[NodeGroup] = None
    templates: Mapping[str, LaunchTemplate] = field(
        default_factory=dict
    )  # managed ones by name, each in its latest version

    @property
    def current(self) -> Optional[NodeGroup]:
        return self.generations[-1] if self.generations else None


def get_ami_family(ami_type: str) -> Optional[str]:
    """Get the family of an EKS AMI type; None for C(CUSTOM) and for unknown types."""
    return next((family for prefix, family in AMI_FAMILY_PREFIXES if ami_type.startswith(prefix)), None)
