# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All checks of one pull in the order of its path, and the first cause (docs/facts/pull.md#order-of-a-pull). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Optional

from . import messages
from .access import check_endpoint_policy, check_pull_permission, check_pull_secret, check_token_permission
from .context import OK, UNKNOWN, WRONG, PullCheck, PullContext, find_worst
from .endpoints import TargetPath, find_path
from .image import API, DKR, REGISTRY, S3
from .messages import PullMessage
from .repository import check_image

NETWORK = (
    "dns",
    "endpoint",
    "private_dns",
    "route",
    "security_group",
    "network_acl",
    "gateway",
    "public_address",
    "nat_network_acl",
    "block_public_access",
    "endpoint_network_acl",
    "endpoint_security_group",
)
# What an event shows by itself: the class, the check's reason, and the remediation.
_SHOWN_BY_MESSAGE: Mapping[str, tuple[str, str]] = {
    messages.PROXY: (
        "The node contacts the registry by a proxy, and the proxy cannot be reached or refuses.",
        "Check HTTPS_PROXY and NO_PROXY of containerd on the node, and the proxy.",
    ),
    messages.UNREACHABLE: (
        "A host refused the connection: the address or the port is wrong, or a local firewall refuses it.",
        "Check the host and the port in the image's name, the node's hosts file and firewall, and the registry.",
    ),
    messages.INTERRUPTED: (
        "The connection began and was cut. The path's MTU, an inspecting firewall or the registry can be the cause.",
        "Check what is between the node and the registry, and the path's MTU. Then try again.",
    ),
    messages.TLS: (
        "TCP connected, and TLS did not. The path's MTU, an inspecting proxy, or a port without TLS can be the cause.",
        "Check the path's MTU, proxies between the node and the registry, and whether the registry speaks TLS.",
    ),
    messages.CERTIFICATE: (
        "The node does not accept the certificate that answered.",
        "Trust the registry's own certificate authority on the nodes (certs.d), check the nodes' clock, and whether "
        "private DNS leads this name to another service.",
    ),
    messages.RATE_LIMIT: (
        "The registry limits the rate of pulls.",
        "Pull with credentials of an account, use a pull-through cache of ECR, or wait.",
    ),
    messages.KUBELET_RATE_LIMIT: (
        "The kubelet's own limit (registryPullQPS) was exceeded. The kubelet tries again by itself.",
        "Wait, or raise registryPullQPS and registryBurst of the kubelet.",
    ),
    messages.SERVER_ERROR: (
        "The registry answered with a failure of its own.",
        "Try again later, and check the state of the registry.",
    ),
    messages.PLATFORM: (
        "The image has no variant for the node's platform.",
        "Build the image for this architecture, or restrict the pod to nodes of the image's architecture.",
    ),
    messages.DAMAGED: (
        "What the registry sent is not what the manifest names: a mirror or a proxy on the way changed it.",
        "Check mirrors and proxies on the way, and push the image again.",
    ),
    messages.SIGNATURE: (
        "The node's policy for image signatures rejects the image.",
        "Sign the image, or change the policy of the node.",
    ),
    messages.UPSTREAM: (
        "ECR could not import the image from the upstream registry of the pull-through cache.",
        "Check the upstream credentials of the pull-through rule, and the image's name there.",
    ),
}
# What a registry answers, for where nothing else is known about it.
_REFUSALS: Mapping[str, tuple[str, str]] = {
    messages.NOT_FOUND: (
        "The registry has no such image.",
        "Correct the name, the tag or the digest, or push the image.",
    ),
    messages.FORBIDDEN: (
        "The registry refuses the pull to these credentials (403).",
        "Grant the credentials of the pull this repository. For anonymous pulls, make it public or give a pull secret.",
    ),
    messages.UNAUTHORIZED: (
        "The registry requires credentials, or rejects those of the pull (401).",
        "Check the pull secrets of the pod, and the image's name: many registries answer so for a missing repository.",
    ),
}
# The checks that a class of messages can be about. The first of them that is wrong is the cause.
_COMPATIBLE: Mapping[str, tuple[str, ...]] = {
    messages.TIMEOUT: NETWORK,
    messages.DNS: ("dns", "endpoint", "private_dns"),
    messages.NO_CREDENTIALS: ("node_role", "pull_secret", "credential_provider"),
    messages.CREDENTIALS_EXPIRED: ("credential_provider", "pull_secret"),
    messages.UNAUTHORIZED: ("pull_secret", "node_role", "credential_provider", "repository_policy", "repository"),
    messages.FORBIDDEN: ("endpoint_policy", "node_role", "repository_policy", "registry_policy", "pull_through"),
    messages.NOT_FOUND: ("repository", "image", "pull_through"),
    messages.UPSTREAM: ("upstream", "pull_through"),
    messages.DISK: ("disk",),
    messages.NAME_INVALID: ("image_name",),
    messages.NEVER_PULL: ("pull_policy",),
}


@dataclass(frozen=True)
class PullDiagnosis:
    """The checks of one pull, in the order of its path. C(cause): the first one that explains the failure."""

    context: PullContext
    checks: tuple[PullCheck, ...]
    cause: Optional[PullCheck]

    @property
    def status(self) -> str:
        return find_worst(self.checks)

    @property
    def others(self) -> list[PullCheck]:
        """What else is wrong."""
        return [check for check in self.checks if check.status == WRONG and check is not self.cause]


def explain_pull(context: PullContext) -> PullDiagnosis:
    checks = tuple(_list_checks(context))
    shown = _get_refusal(context, checks)
    checks = (*checks, shown) if shown is not None else checks
    return PullDiagnosis(context, checks, _choose_cause(checks, context.message))


def _get_refusal(context: PullContext, checks: tuple[PullCheck, ...]) -> Optional[PullCheck]:
    """What the registry answered, where no check that could be made explains it.

    For ECR only where such a check is unknown: if all of them are right, the cause was fixed since.
    """
    message = context.message
    if message is None or message.kind not in _REFUSALS:
        return None
    compatible = [check for check in checks if _is_compatible(check, message)]
    if any(check.status == WRONG for check in compatible):
        return None
    if context.image.ecr is not None and not any(check.status == UNKNOWN for check in compatible):
        return None
    reason, remedy = _REFUSALS[message.kind]
    evidence = (message.host,) if message.host else ()
    return PullCheck(message.kind, WRONG, reason, "", evidence, remedy)


def _choose_cause(checks: tuple[PullCheck, ...], message: Optional[PullMessage]) -> Optional[PullCheck]:
    """The first wrong check that the message can be about; else the first wrong one."""
    wrong = [check for check in checks if check.status == WRONG]
    if message is not None:
        for check in wrong:
            if _is_compatible(check, message):
                return check
    return wrong[0] if wrong else None


def _is_compatible(check: PullCheck, message: PullMessage) -> bool:
    if check.check == message.kind:
        return True
    if message.kind == messages.NO_CREDENTIALS and check.target == API:
        return True
    if check.check not in _COMPATIBLE.get(message.kind, ()):
        return False
    return not check.target or check.target == _find_target(message) or _find_target(message) == ""


def _find_target(message: PullMessage) -> str:
    """The target that a message is about, by the host and the stage that it names."""
    host = message.host
    if "starport-layer-bucket" in host or ".s3." in host:
        return S3
    if ".dkr.ecr" in host or ".dkr-ecr" in host:
        return DKR
    if host.startswith(("api.ecr", "ecr.", "ecr-fips.")):
        return API
    return REGISTRY if host else ""


# --- The path.


def _list_checks(context: PullContext) -> Iterator[PullCheck]:
    if context.image.error or _has_kind(context, messages.NAME_INVALID):
        reason = context.image.error or f"The kubelet cannot parse the image reference {context.image.text}."
        yield PullCheck("image_name", WRONG, reason, "", (context.image.text,), "Correct the image's name in the pod.")
        return
    if _has_kind(context, messages.NEVER_PULL):
        reason = "The pull policy is Never, and the node does not have the image."
        remedy = "Set imagePullPolicy to IfNotPresent, or load the image to the node."
        yield PullCheck("pull_policy", WRONG, reason, "", (context.image.text,), remedy)
        return
    if context.request.is_planned or context.request.node:
        yield _check_node(context)
    yield _check_dns(context)
    if context.image.ecr is not None:
        yield from _list_ecr_checks(context)
    else:
        yield from _list_registry_checks(context)
    yield from _list_message_checks(context)
    disk = _check_disk(context)
    if disk is not None:
        yield disk


def _list_registry_checks(context: PullContext) -> Iterator[PullCheck]:
    for target in context.image.targets:
        yield from find_path(context, target).checks
    secret = check_pull_secret(context)
    if secret is not None:
        yield secret


def _list_ecr_checks(context: PullContext) -> Iterator[PullCheck]:
    ecr = context.image.ecr
    if ecr is None:
        return
    paths = [find_path(context, target) for target in context.image.targets]
    by_name: dict[str, TargetPath] = {path.target.name: path for path in paths}
    registry = context.snapshot.registries.get((ecr.account, ecr.region))
    repository = registry.repositories.get(context.image.repository) if registry else None
    yield from _list_path_checks(context, by_name[API])
    token = check_token_permission(context)
    yield token
    provider = _check_credential_provider(context, by_name[API], token)
    if provider is not None:
        yield provider
    yield from _list_path_checks(context, by_name[DKR])
    yield from check_pull_permission(context, ecr, registry, repository)
    yield from check_image(context, ecr, registry, paths)
    yield from _list_path_checks(context, by_name[S3])


def _list_path_checks(context: PullContext, path: TargetPath) -> Iterator[PullCheck]:
    yield from path.checks
    access = check_endpoint_policy(context, path)
    if access is not None:
        yield access


def _has_kind(context: PullContext, *kinds: str) -> bool:
    return context.message is not None and context.message.kind in kinds


def _check_node(context: PullContext) -> PullCheck:
    if context.instance is not None:
        evidence = (context.instance.id, context.subnet_id)
        return PullCheck("node", OK, f"The node is the instance {context.instance.id}.", "", evidence)
    request = context.request
    if not request.node:
        return PullCheck(
            "node", OK, f"The pull is planned for the subnet {context.subnet_id}.", "", (context.subnet_id,)
        )
    unreadable = context.snapshot.get_unreadable_reason("nodes", "instances")
    if unreadable:
        return PullCheck("node", UNKNOWN, unreadable, "", (request.node,))
    provider_id = context.node.provider_id if context.node else ""
    if "fargate" in (provider_id or request.node):
        reason = "The node is Fargate's. Its network interface and its pod execution role are not checked."
    elif context.node is None:
        reason = f"The cluster has no node {request.node} any more."
    else:
        reason = f"No EC2 instance of this account and region is behind the node ({provider_id or 'no provider id'})."
    return PullCheck("node", UNKNOWN, reason, "", (request.node,))


def _check_dns(context: PullContext) -> PullCheck:
    """The resolver of the VPC. Packet filters do not apply to it."""
    vpc = context.vpc
    unreadable = context.snapshot.get_unreadable_reason("vpcs", "subnets")
    if vpc is None:
        return PullCheck("dns", UNKNOWN, unreadable or "The node's VPC is not known.")
    if vpc.resolvers is None or vpc.dns_support is None:
        reason = context.snapshot.get_unreadable_reason("dns") or "The DNS settings of the VPC are not known."
        return PullCheck("dns", UNKNOWN, reason, "", (vpc.id,))
    custom = [server for server in vpc.resolvers if server != "AmazonProvidedDNS"]
    if custom:
        servers = ", ".join(custom)
        reason = f"The DHCP options of {vpc.id} name other resolvers ({servers}), whose answers are not known."
        status = WRONG if _has_kind(context, messages.DNS) else UNKNOWN
        remedy = "Check these resolvers, and whether they forward the names of AWS to the VPC's resolver."
        return PullCheck("dns", status, reason, "", (vpc.id, *custom), remedy)
    if not vpc.dns_support:
        remedy = f"Set enableDnsSupport of {vpc.id} to true."
        return PullCheck("dns", WRONG, f"{vpc.id} has enableDnsSupport off: no name resolves.", "", (vpc.id,), remedy)
    if _has_kind(context, messages.DNS) and context.message is not None:
        name = context.message.host or context.image.host
        reason = f"The node could not resolve {name}, although the VPC's resolver is on."
        remedy = "Check the spelling of the host, private hosted zones, DNS Firewall, and the node's resolver."
        return PullCheck("dns", WRONG, reason, "", (vpc.id, name), remedy)
    return PullCheck("dns", OK, f"{vpc.id} uses Amazon's resolver.", "", (vpc.id,))


def _check_credential_provider(context: PullContext, api: TargetPath, token: PullCheck) -> Optional[PullCheck]:
    """Shown by a message only: the kubelet's configuration is on the node."""
    kinds = (messages.NO_CREDENTIALS, messages.CREDENTIALS_EXPIRED, messages.UNAUTHORIZED)
    if not _has_kind(context, *kinds) or find_worst([*api.checks, token]) == WRONG:
        return None
    reason = "The kubelet had no credentials for ECR, although network and role allow it to get them."
    if _has_kind(context, messages.CREDENTIALS_EXPIRED):
        reason = "The credentials for ECR have expired."
    return PullCheck(
        "credential_provider",
        WRONG,
        reason,
        API,
        (),
        "Check the log of the kubelet, and that it runs with --image-credential-provider-config for this host. If the "
        "cause was fixed since, the next attempt succeeds. A token of ECR in a pull secret expires after 12 hours.",
    )


def _list_message_checks(context: PullContext) -> Iterator[PullCheck]:
    """What only the message shows, as no API describes it."""
    message = context.message
    if message is None:
        return
    evidence = [text for text in (message.host, message.address) if text]
    if message.kind == messages.PLATFORM and context.node is not None:
        evidence.append(f"the node's architecture is {context.node.architecture}")
    if message.kind in _SHOWN_BY_MESSAGE:
        reason, remedy = _SHOWN_BY_MESSAGE[message.kind]
        yield PullCheck(message.kind, WRONG, reason, "", tuple(evidence), remedy)
    if _is_mirrored(context, message):
        origin = message.mirror_of or context.image.host
        reason = f"The node contacts {message.host} for images of {origin}: a mirror in containerd's certs.d."
        yield PullCheck("mirror", UNKNOWN, reason, "", tuple(evidence), "Check the mirror, and certs.d on the node.")


def _is_mirrored(context: PullContext, message: PullMessage) -> bool:
    return bool(message.mirror_of) and message.host not in {target.host for target in context.image.targets}


def _check_disk(context: PullContext) -> Optional[PullCheck]:
    full = _has_kind(context, messages.DISK)
    if context.node is None and not full:
        return None
    name = context.request.node
    if full or (context.node is not None and context.node.disk_pressure):
        reason = f"The disk of {name or 'the node'} is full." if full else f"The node {name} has DiskPressure."
        remedy = "Enlarge the node's volume, remove unused images, or use a node with more space."
        return PullCheck("disk", WRONG, reason, "", (name,) if name else (), remedy)
    return PullCheck("disk", OK, f"The node {name} has no DiskPressure.", "", (name,))


__all__ = ["OK", "UNKNOWN", "WRONG", "PullDiagnosis", "explain_pull"]
