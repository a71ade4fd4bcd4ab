# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS: the node groups that EKS refuses and moto creates.

Error codes are those of botocore's model for the call. Messages marked "as reported" are the service's own, from users'
reports. The other messages are the test bed's, with the same meaning.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.eks.exceptions import EKSError, InvalidParameterException, InvalidRequestException
from moto.eks.models import Cluster, EKSBackend, Nodegroup
from moto.eks.responses import EKSResponse

from .rules import rule

FACTS = "docs/facts/sysctl_nodegroup.md#managed-node-group-api"
AL2_FACTS = "docs/facts/sysctl_nodegroup.md#al2-and-bootstrapsh"
MOTO_FACTS = "docs/facts/sysctl_nodegroup.md#moto-differs"
LAST_AL2 = (1, 32)
AL2023_DEFAULT_SINCE = (1, 30)
RELEASE_DAY = "20261112"  # of the newest AMIs
PATCH = 2
BOTTLEROCKET_RELEASE = "1.52.0-8f2c1b9a"


class ResourceLimitExceededError(EKSError):  # type: ignore[misc]  # moto has no types
    TYPE = "ResourceLimitExceededException"
    STATUS = 400


class NotFoundError(EKSError):  # type: ignore[misc]  # moto has no types
    TYPE = "NotFoundException"
    STATUS = 404


def minor(version: str) -> tuple[int, int]:
    major, _dot, rest = version.partition(".")
    return int(major), int(rest)


def latest_release(version: str, ami_type: str) -> str:
    """Return the newest AMI release: by day for Amazon Linux and Windows, by number for Bottlerocket."""
    if ami_type.startswith("BOTTLEROCKET"):
        return BOTTLEROCKET_RELEASE
    return f"{version}.{PATCH}-{RELEASE_DAY}"


def default_ami_type(version: str) -> str:
    return "AL2023_x86_64_STANDARD" if minor(version) >= AL2023_DEFAULT_SINCE else "AL2_x86_64"


@dataclass(frozen=True)
class Template:
    """A launch template at one version, as EKS reads it."""

    id: str
    name: str
    version: int
    data: dict[str, Any]

    @property
    def image(self) -> str:
        return str(self.data.get("ImageId") or "")

    @property
    def user_data(self) -> bytes:
        return base64.b64decode(str(self.data.get("UserData") or ""))


def template_of(ec2: EC2Backend, reference: dict[str, Any]) -> Template:
    """Find the launch template of a request. Where there is none, the error has EC2's message."""
    try:
        if reference.get("name"):
            found = ec2.get_launch_template_by_name(reference["name"])
        else:
            found = ec2.get_launch_template(reference.get("id"))
        version = found.get_version(reference.get("version") or "$Default")
    except EC2ClientError as error:
        raise InvalidRequestException(message=str(error.message)) from None
    except ValueError:
        raise InvalidParameterException(
            message=f"Invalid launch template version: {reference.get('version')}"
        ) from None
    return Template(found.id, found.name, int(version.number), version.data)


@dataclass(frozen=True)
class NodegroupRequest:
    """A CreateNodegroup request, for a cluster that is ACTIVE."""

    backend: EKSBackend
    cluster: Cluster
    params: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.params.get(name)

    @property
    def ec2(self) -> EC2Backend:
        return ec2_backends[self.backend.account_id][self.backend.region_name]

    @functools.cached_property
    def template(self) -> Template | None:
        return template_of(self.ec2, self.launch_template) if self.launch_template else None

    @property
    def image(self) -> str:
        return self.template.image if self.template else ""

    def invalid(self, message: str) -> InvalidParameterException:
        return InvalidParameterException(
            clusterName=self.cluster.name, nodegroupName=self.nodegroup_name, message=message
        )


def creates(fact: str) -> Callable[[Callable[[NodegroupRequest], None]], Callable[[NodegroupRequest], None]]:
    """Register a rule on CreateNodegroup. moto first refuses a missing or unready cluster, and a name in use."""

    def register(check: Callable[[NodegroupRequest], None]) -> Callable[[NodegroupRequest], None]:
        @rule(EKSBackend, "create_nodegroup", fact=fact)
        @functools.wraps(check)
        def ruled(plain: Callable[..., Any], backend: EKSBackend, **params: Any) -> Any:
            cluster = backend.clusters.get(params["cluster_name"])
            if cluster and cluster.is_active and params["nodegroup_name"] not in cluster.nodegroups:
                check(NodegroupRequest(backend, cluster, params))
            return plain(backend, **params)

        return check

    return register


@creates(f"The template must not hold SubnetId: {FACTS}; botocore's model of LaunchTemplateSpecification")
def templates_have_no_subnet(request: NodegroupRequest) -> None:
    interfaces = request.template.data.get("NetworkInterfaces") or [] if request.template else []
    if any(interface.get("SubnetId") for interface in interfaces):
        raise request.invalid("Subnet IDs cannot be specified within the launch template's network interfaces.")


@creates(f"The template must not hold IamInstanceProfile: {FACTS}; botocore's model of LaunchTemplateSpecification")
def templates_have_no_instance_profile(request: NodegroupRequest) -> None:
    if request.template and request.template.data.get("IamInstanceProfile"):
        raise request.invalid("An IAM instance profile cannot be specified within the launch template.")


@creates(f"The template must not hold hibernation options: {FACTS}; botocore's model of LaunchTemplateSpecification")
def templates_do_not_hibernate(request: NodegroupRequest) -> None:
    if request.template and request.template.data.get("HibernationOptions"):
        raise request.invalid("Hibernation options are not supported with the launch template.")


@creates(f"The template must not hold a spot request: {FACTS}; the message as reported (hashicorp/terraform 15118)")
def templates_request_no_spot(request: NodegroupRequest) -> None:
    options = request.template.data.get("InstanceMarketOptions") if request.template else None
    block = (options or {}).get("MarketType") == "capacity-block" and request.capacity_type == "CAPACITY_BLOCK"
    if options and not block:
        raise request.invalid("Instance market options are not supported with the launch template.")


@creates(f"A capacity block needs its market, its reservation and its type in the template: {FACTS}")
def capacity_blocks_are_complete(request: NodegroupRequest) -> None:
    data = request.template.data if request.template else {}
    reservation = (data.get("CapacityReservationSpecification") or {}).get("CapacityReservationTarget")
    complete = data.get("InstanceMarketOptions") and reservation and data.get("InstanceType")
    if request.capacity_type == "CAPACITY_BLOCK" and not complete:
        raise request.invalid("A capacity block needs market options, a reservation and an instance type.")


@creates(f"Security groups in the network interfaces or beside them, not both: {FACTS}")
def security_groups_stand_only_once(request: NodegroupRequest) -> None:
    data = request.template.data if request.template else {}
    if data.get("NetworkInterfaces") and (data.get("SecurityGroupIds") or data.get("SecurityGroups")):
        raise request.invalid("Security groups cannot be specified beside network interfaces.")


@creates(f"The template must not hold terminate options: {FACTS}; botocore's model of LaunchTemplateSpecification")
def templates_have_no_terminate_options(request: NodegroupRequest) -> None:
    data = request.template.data if request.template else {}
    if data.get("InstanceInitiatedShutdownBehavior") or data.get("DisableApiTermination"):
        raise request.invalid("Instance termination options are not supported with the launch template.")


TEMPLATE_CHECKS = (
    templates_have_no_subnet,
    templates_have_no_instance_profile,
    templates_do_not_hibernate,
    templates_request_no_spot,
    security_groups_stand_only_once,
    templates_have_no_terminate_options,
)


@creates(f"instanceTypes only where the template has no InstanceType: {FACTS}; as reported (terraform-aws-eks 1386)")
def instance_types_stand_in_the_template_or_the_request(request: NodegroupRequest) -> None:
    if request.template and request.template.data.get("InstanceType") and request.instance_types:
        raise InvalidRequestException(
            clusterName=request.cluster.name,
            nodegroupName=request.nodegroup_name,
            message="Cannot specify instance types in launch template and API request",
        )


@creates(
    f"An ImageId in the template excludes amiType: {FACTS}; the message, and CUSTOM, as reported (pulumi-eks 1463)"
)
def custom_images_have_no_ami_type(request: NodegroupRequest) -> None:
    if request.image and request.ami_type not in (None, "CUSTOM"):
        raise request.invalid(
            "You cannot specify an AMI Type other than CUSTOM, when specifying an image id in your launch template."
        )


@creates(f"An ImageId in the template excludes version: {FACTS}; the message as reported (pulumi-eks 1283)")
def custom_images_have_no_version(request: NodegroupRequest) -> None:
    if request.image and request.version:
        raise request.invalid(
            "You cannot specify a kubernetes version to use when specifying an image id to use within the launch "
            "template."
        )


@creates(f"An ImageId in the template excludes releaseVersion: {FACTS}; the message as reported (crossplane aws 1703)")
def custom_images_have_no_release(request: NodegroupRequest) -> None:
    if request.image and request.release_version:
        raise request.invalid("You cannot specify the field releaseVersion when using custom AMIs.")


@creates("amiType CUSTOM is for launch templates with an ImageId (EKS API reference of amiType)")
def custom_needs_an_image(request: NodegroupRequest) -> None:
    if request.ami_type == "CUSTOM" and not request.image:
        raise request.invalid("You must specify an image id in your launch template when the AMI Type is CUSTOM.")


@creates(f"AL2 AMIs end with Kubernetes 1.32: {AL2_FACTS}")
def al2_ends_with_1_32(request: NodegroupRequest) -> None:
    if str(request.ami_type or "").startswith("AL2_") and minor(request.cluster.version) > LAST_AL2:
        raise request.invalid(
            f"AMI Type {request.ami_type} is only supported for kubernetes versions "
            f"{LAST_AL2[0]}.{LAST_AL2[1]} or earlier"
        )


@creates(f"CreateNodegroup takes the cluster's version alone: {FACTS}")
def groups_have_the_version_of_the_cluster(request: NodegroupRequest) -> None:
    if request.version and request.version != request.cluster.version:
        raise request.invalid(
            f"Requested Nodegroup kubernetes version {request.version} is invalid. "
            f"Allowed kubernetes version is {request.cluster.version}"
        )


@creates("A release belongs to one Kubernetes version; the message as reported (eksctl 7976)")
def releases_belong_to_a_version(request: NodegroupRequest) -> None:
    if request.release_version and not request.image:
        ami_type = request.ami_type or default_ami_type(request.cluster.version)
        check_release(request.release_version, request.cluster.version, ami_type)


def check_release(release: str, version: str, ami_type: str) -> None:
    newest = latest_release(version, ami_type)
    if ami_type.startswith("BOTTLEROCKET"):
        known = bool(re.fullmatch(r"1\.\d+\.\d+-[0-9a-f]{8}", release)) and age(release) <= age(newest)
    else:
        known = bool(re.fullmatch(rf"{re.escape(version)}\.\d+-\d{{8}}", release)) and age(release) <= age(newest)
    if not known:
        raise InvalidParameterException(
            message=f"Requested release version {release} is not valid for kubernetes version {version}."
        )


def age(release: str) -> tuple[int, ...]:
    """Return the sort key of a release: the day, or Bottlerocket's own number."""
    number, _dash, rest = release.partition("-")
    return (int(rest),) if re.fullmatch(r"\d{8}", rest) else tuple(map(int, number.split(".")))


@creates(f"The template by name or by id, not both: {FACTS}; botocore's model of LaunchTemplateSpecification")
def templates_are_named_once(request: NodegroupRequest) -> None:
    check_named_once(request.launch_template)


def check_named_once(template: dict[str, Any] | None) -> None:
    if template is not None and bool(template.get("name")) == bool(template.get("id")):
        raise InvalidParameterException(
            message="You must specify either the launch template ID or the launch template name in the request, "
            "but not both."
        )


@creates(
    f"minSize <= desiredSize <= maxSize: {FACTS}; the messages as reported (viya4-iac-aws 298, cloud-platform 4595)"
)
def sizes_are_in_order(request: NodegroupRequest) -> None:
    check_sizes(request.scaling_config)


def check_sizes(scaling: dict[str, int] | None) -> None:
    sizes = scaling or {}
    low, desired, high = (sizes.get(name) for name in ("minSize", "desiredSize", "maxSize"))
    if high is not None and high < 1:
        raise InvalidParameterException(message="maxSize must be greater than or equal to 1")
    if any(size is not None and size < 0 for size in (low, desired)):
        raise InvalidParameterException(message="minSize and desiredSize must be greater than or equal to 0")
    if low is not None and high is not None and low > high:
        raise InvalidParameterException(message="minSize can't be greater than maxSize")
    if low is not None and desired is not None and low > desired:
        raise InvalidParameterException(message="minSize can't be greater than desiredSize")
    if high is not None and desired is not None and desired > high:
        raise InvalidParameterException(message="desiredSize can't be greater than maxSize")


@creates(f"The subnets exist, and lie in the cluster's network: {MOTO_FACTS}")
def subnets_exist(request: NodegroupRequest) -> None:
    if not request.subnets:
        raise request.invalid("Subnets are required")
    known = {subnet.id: subnet.vpc_id for subnet in request.ec2.describe_subnets()}
    for subnet in request.subnets:
        if subnet not in known:
            raise request.invalid(f"The subnet ID '{subnet}' does not exist")
    homes = {
        known[subnet_id]
        for subnet_id in (request.cluster.resources_vpc_config or {}).get("subnetIds") or []
        if subnet_id in known
    }
    for subnet in request.subnets:
        if homes and known[subnet] not in homes:
            raise request.invalid(f"Subnet {subnet} is not in the same VPC as the cluster")


# updateConfig, node repair and warm pools, which moto drops on the way to its backend


def check_update_config(config: dict[str, Any] | None) -> None:
    if config is None:
        return
    given = [name for name in ("maxUnavailable", "maxUnavailablePercentage") if config.get(name) is not None]
    if len(given) == 2:
        raise InvalidParameterException(message="maxUnavailable and maxUnavailablePercentage cannot both be specified")
    if not given and not config.get("updateStrategy"):
        raise InvalidParameterException(message="maxUnavailable or maxUnavailablePercentage is required")
    if not 1 <= int(config.get(given[0], 1) if given else 1) <= 100:
        raise InvalidParameterException(message=f"{given[0]} must be between 1 and 100")


def check_warm_pool(response: EKSResponse) -> None:
    """Check as the EKS user guide on warm pools: they need an AMI of EKS."""
    pool, reference = response._get_param("warmPoolConfig"), response._get_param("launchTemplate")
    if not (pool or {}).get("enabled") or not reference:
        return
    backend = response.eks_backend
    if template_of(ec2_backends[backend.account_id][backend.region_name], reference).image:
        raise InvalidParameterException(message="Warm pools are not supported with custom AMIs")


def check_node_repair(config: dict[str, Any] | None) -> None:
    for what in ("maxUnhealthyNodeThreshold", "maxParallelNodesRepaired"):
        if config and f"{what}Count" in config and f"{what}Percentage" in config:
            raise InvalidParameterException(message=f"{what}Count and {what}Percentage cannot both be specified")


@rule(
    EKSResponse,
    "create_nodegroup",
    fact="A group keeps its updateConfig, of which maxUnavailable and its percentage exclude each other, and its node "
    f"repair: {MOTO_FACTS}",
)
def update_and_repair_settings_are_kept(plain: Callable[..., Any], response: EKSResponse) -> Any:
    update, repair = response._get_param("updateConfig"), response._get_param("nodeRepairConfig")
    check_warm_pool(response)
    check_update_config(update)
    check_node_repair(repair)
    answer = plain(response)
    nodegroup: Nodegroup = answer.result["nodegroup"]
    nodegroup.update_config = {"maxUnavailable": 1} if update is None else update
    nodegroup.node_repair_config = repair
    nodegroup.warm_pool_config = response._get_param("warmPoolConfig")
    return answer


@rule(
    EKSBackend,
    "create_nodegroup",
    fact="DescribeNodegroup shows the cluster's version and newest release (or the image's id), the disk and the "
    "remote access of the request only, and no values shared with other groups: "
    f"{MOTO_FACTS}; botocore's model of Nodegroup",
)
def groups_show_their_own_values(plain: Callable[..., Any], backend: EKSBackend, **params: Any) -> Any:
    group: Nodegroup = plain(backend, **params)
    cluster = backend.clusters[params["cluster_name"]]
    template = NodegroupRequest(backend, cluster, params).template
    image = template.image if template else ""
    group.version = cluster.version
    group.ami_type = "CUSTOM" if image else params.get("ami_type") or default_ami_type(group.version)
    group.release_version = image or params.get("release_version") or latest_release(group.version, group.ami_type)
    disk = 50 if group.ami_type.startswith("WINDOWS") else 20
    group.disk_size = None if template else params.get("disk_size") or disk
    types = params.get("instance_types") or ["t3.medium"]
    group.instance_types = None if template and template.data.get("InstanceType") else list(types)
    group.testbed_instance_types = params.get("instance_types")  # as requested, without the default
    group.remote_access = params.get("remote_access")
    group.scaling_config = dict(params.get("scaling_config") or {"minSize": 1, "maxSize": 2, "desiredSize": 2})
    group.health = {"issues": []}
    group.resources = {"autoScalingGroups": [{"name": f"eks-{group.nodegroup_name}-{group.uuid}"}]}
    if group.remote_access:
        group.resources["remoteAccessSecurityGroup"] = f"sg-{group.uuid.replace('-', '')[:17]}"
    if template:
        group.launch_template = {"id": template.id, "name": template.name, "version": str(template.version)}
    return group


@creates(f"With a template no diskSize and no remoteAccess: {FACTS}; moto has this one")
def disk_and_access_stand_in_the_template(request: NodegroupRequest) -> None:
    """This check runs before any check of the template's content."""
    if request.launch_template and request.disk_size:
        raise request.invalid("Disk size must be specified within the launch template.")
    if request.launch_template and request.remote_access:
        raise request.invalid("Remote access configuration cannot be specified with a launch template.")


# Tags of node groups: moto has tags for clusters only


def tagged(backend: EKSBackend, arn: str) -> dict[str, str]:
    resources: list[Any] = [*backend.clusters.values()]
    resources += [group for cluster in backend.clusters.values() for group in cluster.nodegroups.values()]
    for resource in resources:
        if resource.arn == arn:
            tags: dict[str, str] = resource.tags
            return tags
    raise NotFoundError(message="Resource was not found")


@rule(
    EKSBackend, "tag_resource", fact=f"TagResource tags node groups as well: {MOTO_FACTS}; botocore: NotFoundException"
)
def node_groups_are_tagged(plain: Callable[..., Any], backend: EKSBackend, arn: str, tags: dict[str, str]) -> None:
    tagged(backend, arn).update(tags)


@rule(EKSBackend, "untag_resource", fact=f"UntagResource untags node groups as well: {MOTO_FACTS}; botocore's model")
def node_groups_are_untagged(plain: Callable[..., Any], backend: EKSBackend, arn: str, keys: Any) -> None:
    tags = tagged(backend, arn)
    for key in keys if isinstance(keys, list) else [keys]:
        tags.pop(key, None)


@rule(
    EKSBackend, "list_tags_for_resource", fact=f"ListTagsForResource knows node groups: {MOTO_FACTS}; botocore's model"
)
def tags_of_node_groups_are_listed(plain: Callable[..., Any], backend: EKSBackend, arn: str) -> dict[str, str]:
    return tagged(backend, arn)
