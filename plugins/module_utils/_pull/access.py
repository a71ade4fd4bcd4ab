# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may pull: the node role, the policies of endpoints, repositories and registries, and pull secrets. Pure.

See docs/facts/pull.md#ecr-without-internet and docs/facts/pull.md#pull-secrets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from .context import OK, UNKNOWN, WRONG, PullCheck, PullContext
from .endpoints import TargetPath
from .image import API, DKR, REGISTRY, S3, EcrAddress, matches_secret_host
from .model import EcrRegistry, EcrRepository, NodeRole, PolicyDocument, PullSecret
from .policies import (
    GET_OBJECT,
    GET_TOKEN,
    PULL_ACTIONS,
    AccessRequest,
    PolicyDecision,
    evaluate_policies,
    make_role_request,
)

_POLICIES = "AmazonEC2ContainerRegistryPullOnly"


# --- The node role.


def get_role_problem(context: PullContext) -> Optional[PullCheck]:
    """Why the node role's permissions are not known, or that the instance has no role."""
    role = context.role
    if role is not None and not role.unreadable:
        return None
    instance = context.instance
    if instance is not None and not instance.profile_arn:
        return PullCheck(
            "node_role",
            WRONG,
            "The node's instance has no instance profile, so the kubelet has no credentials for ECR.",
            API,
            (instance.id,),
            f"Associate an instance profile whose role has {_POLICIES}.",
        )
    reason = (
        role.unreadable if role else context.snapshot.get_unreadable_reason("roles") or "The node role is not known."
    )
    return PullCheck("node_role", UNKNOWN, reason, API, (role.arn,) if role else ())


def evaluate_role(role: NodeRole, action: str, resource: str) -> PolicyDecision:
    """The role's own policies, within its boundary."""
    request = make_role_request(action, resource, role.arn, {})
    decision = evaluate_policies(role.policies, request, False)
    if role.boundary is None or decision.allowed is False:
        return decision
    limit = evaluate_policies([("the permissions boundary", role.boundary)], request, False)
    if limit.allowed is False:
        return limit if limit.explicit_deny else PolicyDecision(False, False, ("the permissions boundary",))
    return decision if limit.allowed else PolicyDecision(None, False, limit.statements)


def check_token_permission(context: PullContext) -> PullCheck:
    """Whether the node role may get the credentials."""
    problem = get_role_problem(context)
    role = context.role
    if problem is not None or role is None:
        return problem or PullCheck("node_role", UNKNOWN, "The node role is not known.", API)
    return _describe_role("node_role", API, role, GET_TOKEN, evaluate_role(role, GET_TOKEN, "*"))


def _describe_role(check: str, target: str, role: NodeRole, action: str, decision: PolicyDecision) -> PullCheck:
    evidence = (role.arn, *decision.statements)
    if decision.allowed:
        return PullCheck(check, OK, f"The node role is allowed {action}.", target, evidence)
    if decision.allowed is None:
        reason = f"Whether the node role is allowed {action} depends on conditions that are not known here."
        return PullCheck(check, UNKNOWN, reason, target, evidence)
    if decision.explicit_deny:
        reason = f"A policy denies the node role {action} explicitly: {decision.statements[0]}."
        return PullCheck(check, WRONG, reason, target, evidence, "Change that statement. An Allow does not help.")
    reason = f"No policy of the node role {role.arn} allows {action}."
    if decision.statements:
        reason = f"The permissions boundary of the node role {role.arn} does not allow {action}."
        remedy = f"Allow {action} in the permissions boundary of the role as well."
        return PullCheck(check, WRONG, reason, target, evidence, remedy)
    return PullCheck(check, WRONG, reason, target, evidence, f"Attach {_POLICIES} to the role, or allow {action}.")


# --- Policies of endpoints.


def check_endpoint_policy(context: PullContext, path: TargetPath) -> Optional[PullCheck]:
    """Whether the endpoint lets the calls of the pull through. None where no endpoint is used."""
    endpoint = path.endpoint
    ecr = context.image.ecr
    if endpoint is None or ecr is None:
        return None
    target = path.target.name
    if endpoint.policy is None:
        return PullCheck("endpoint_policy", OK, f"{endpoint.id} allows everything.", target, (endpoint.id,))
    vpc_id = context.subnet.vpc_id if context.subnet else ""
    known = {"aws:sourcevpce": endpoint.id, "aws:sourcevpc": vpc_id}
    decisions = [
        (request, evaluate_policies([(endpoint.id, endpoint.policy)], request, True))
        for request in _list_endpoint_requests(context, ecr, target, known)
    ]
    chosen = next((pair for pair in decisions if pair[1].allowed is False), None)
    chosen = chosen or next((pair for pair in decisions if pair[1].allowed is None), None)
    if chosen is None:
        statements = dict.fromkeys(text for _request, decision in decisions for text in decision.statements)
        return PullCheck("endpoint_policy", OK, f"The policy of {endpoint.id} allows it.", target, tuple(statements))
    request, decision = chosen
    evidence = (endpoint.id, *decision.statements)
    if decision.allowed is None:
        reason = f"Whether the policy of {endpoint.id} allows {request.action} depends on what is not known here."
        return PullCheck("endpoint_policy", UNKNOWN, reason, target, evidence)
    verb = "denies" if decision.explicit_deny else "does not allow"
    return PullCheck(
        "endpoint_policy",
        WRONG,
        f"The policy of {endpoint.id} {verb} {request.action} on {request.resource}.",
        target,
        evidence,
        f"Allow {request.action} on {request.resource} in the policy of {endpoint.id}.",
    )


def _list_endpoint_requests(
    context: PullContext, ecr: EcrAddress, target: str, known: dict[str, str]
) -> list[AccessRequest]:
    if target == S3:
        # ECR signs the URL of a layer, so the caller is a principal of ECR's.
        return [AccessRequest(GET_OBJECT, f"arn:{ecr.partition}:s3:::{ecr.bucket}/*", (), known)]
    actions = (GET_TOKEN,) if target == API else PULL_ACTIONS
    resource = "*" if target == API else ecr.get_repository_arn(context.image.repository)
    if context.role is None:
        return [AccessRequest(action, resource, (), known) for action in actions]
    own = {**known, "aws:resourceaccount": ecr.account} if target == DKR else known
    return [make_role_request(action, resource, context.role.arn, own) for action in actions]


# --- The repository's side.


def check_pull_permission(
    context: PullContext, ecr: EcrAddress, registry: Optional[EcrRegistry], repository: Optional[EcrRepository]
) -> list[PullCheck]:
    """Whether role and repository policy together allow the pull: in one account either, in another both."""
    role = context.role
    if get_role_problem(context) is not None or role is None:
        return []
    resource = ecr.get_repository_arn(context.image.repository)
    own_account = role.account == ecr.account
    known = {"aws:resourceaccount": ecr.account}
    worst: list[PullCheck] = []
    for action in PULL_ACTIONS:
        request = make_role_request(action, resource, role.arn, known)
        by_role = evaluate_policies(role.policies, request, False)
        by_role = by_role if by_role.allowed is False else evaluate_role(role, action, resource)
        by_repository = _evaluate_resource(repository.policy if repository else None, repository, request)
        by_registry = _evaluate_resource(registry.policy if registry else None, None, request)
        for check in _combine_permission(role, action, own_account, by_role, by_repository, by_registry, repository):
            worst.append(check)
    wrong = [check for check in worst if check.status == WRONG] or [check for check in worst if check.status == UNKNOWN]
    if wrong or not own_account:
        return wrong[:1] or worst[:1]
    # The role is enough in its own account, unless a policy has a Deny.
    possible = []
    for name, document, reason in (
        ("repository_policy", repository.policy if repository else None, repository.unreadable if repository else ""),
        ("registry_policy", registry.policy if registry else None, _get_policy_problem(registry)),
    ):
        request = make_role_request(PULL_ACTIONS[0], resource, role.arn, known)
        denies = _evaluate_resource(document, None, request).possible_denies
        reason = reason or (f"Whether {denies[0]} denies the pull is not known here." if denies else "")
        possible += [PullCheck(name, UNKNOWN, reason, DKR, denies)] if reason else []
    return [*worst[:1], *possible]


def _get_policy_problem(registry: Optional[EcrRegistry]) -> str:
    return registry.unreadable.get("policy", "") if registry else ""


def _evaluate_resource(
    document: Optional[PolicyDocument], repository: Optional[EcrRepository], request: AccessRequest
) -> PolicyDecision:
    """What a policy of the resource decides. Without a policy it allows nothing; an unreadable one is unknown."""
    if repository is not None and repository.unreadable:
        return PolicyDecision(None, False, (repository.unreadable,))
    if document is None:
        return PolicyDecision(False)
    # A policy of a repository has no element Resource.
    return evaluate_policies([("the policy", document)], request, True)


def _combine_permission(
    role: NodeRole,
    action: str,
    own_account: bool,
    by_role: PolicyDecision,
    by_repository: PolicyDecision,
    by_registry: PolicyDecision,
    repository: Optional[EcrRepository],
) -> list[PullCheck]:
    for decision, owner in ((by_repository, "repository"), (by_registry, "registry")):
        if decision.explicit_deny:
            reason = f"The policy of the {owner} denies {action} to {role.arn}: {decision.statements[0]}."
            remedy = "Change that statement. An Allow does not help."
            return [PullCheck(f"{owner}_policy", WRONG, reason, DKR, (role.arn, *decision.statements), remedy)]
    if by_role.explicit_deny:
        return [_describe_role("node_role", DKR, role, action, by_role)]
    if own_account:
        if by_repository.allowed and not by_role.allowed:
            statements = by_repository.statements
            return [
                PullCheck("repository_policy", OK, "The policy of the repository allows the pull.", DKR, statements)
            ]
        if by_role.allowed is False and by_repository.allowed is None:
            reason = f"The node role is not allowed {action}; what the repository's policy does is not known here."
            return [PullCheck("repository_policy", UNKNOWN, reason, DKR, by_repository.statements)]
        return [_describe_role("node_role", DKR, role, action, by_role)]
    if not by_role.allowed:
        return [_describe_role("node_role", DKR, role, action, by_role)]
    name = repository.name if repository else "the repository"
    if by_repository.allowed:
        return [
            PullCheck("repository_policy", OK, f"The policy of {name} allows the pull.", DKR, by_repository.statements)
        ]
    if by_repository.allowed is None or repository is None:
        reason = (
            next(iter(by_repository.statements), "") or f"The policy of {name}, of another account, is not known here."
        )
        return [PullCheck("repository_policy", UNKNOWN, reason, DKR)]
    return [
        PullCheck(
            "repository_policy",
            WRONG,
            f"{name} is in another account, and its policy does not allow {action} to {role.arn}.",
            DKR,
            (name, role.arn),
            f"Allow {', '.join(PULL_ACTIONS)} to {role.arn} in the policy of {name}.",
        )
    ]


# --- Pull secrets.


def check_pull_secret(context: PullContext) -> Optional[PullCheck]:
    """Whether the pod has a pull secret for the registry. None for ECR and for plans, where none is needed or known."""
    request, image = context.request, context.image
    if image.ecr is not None or request.is_planned:
        return None
    needs_secret = context.message is not None and context.message.kind in ("unauthorized", "no_credentials")
    if not request.secrets:
        if not needs_secret:
            return PullCheck("pull_secret", OK, "The pod has no pull secrets: the pull is anonymous.", REGISTRY)
        by_account = context.snapshot.service_account_secrets.get((request.namespace, request.service_account), ())
        reason = "The registry requires credentials, and the pod has no pull secrets."
        remedy = f"Create a secret for {image.host} in {request.namespace}, and name it in imagePullSecrets."
        if by_account:
            reason += (
                f" Its service account {request.service_account} has {', '.join(by_account)}, since the pod exists."
            )
            remedy = "Create the pod anew: a pod takes the secrets of its service account when it is created."
        return PullCheck("pull_secret", WRONG, reason, REGISTRY, (request.name, *by_account), remedy)
    unreadable = context.snapshot.get_unreadable_reason("secrets")
    if context.snapshot.secrets is None:
        reason = unreadable or "Pull secrets were not read. Set pull_secrets to true to read them."
        return PullCheck("pull_secret", UNKNOWN, reason, REGISTRY, request.secrets)
    return _check_secrets(context, context.snapshot.secrets.get(request.namespace, ()), needs_secret)


def _check_secrets(context: PullContext, existing: Sequence[PullSecret], needs_secret: bool) -> PullCheck:
    request, image = context.request, context.image
    by_name = {secret.name: secret for secret in existing}
    missing = [name for name in request.secrets if name not in by_name]
    used = [by_name[name] for name in request.secrets if name in by_name]
    matching = [secret.name for secret in used if any(matches_secret_host(host, image) for host in secret.hosts or ())]
    if matching:
        status = UNKNOWN if needs_secret else OK
        reason = f"{matching[0]} has credentials for {image.host}."
        if needs_secret:
            reason += (
                " The registry rejects them: they are wrong or expired, or their user may not pull this repository."
            )
            remedy = f"Renew the credentials in {matching[0]}, or grant its user the repository."
            return PullCheck("pull_secret", WRONG, reason, REGISTRY, tuple(matching), remedy)
        return PullCheck("pull_secret", status, reason, REGISTRY, tuple(matching))
    if missing:
        names = ", ".join(missing)
        return PullCheck(
            "pull_secret",
            WRONG,
            f"{request.namespace} has no secret {names} of type kubernetes.io/dockerconfigjson.",
            REGISTRY,
            tuple(missing),
            f"Create {names} in {request.namespace} with that type. A secret of another namespace has no effect.",
        )
    hosts = [host for secret in used for host in secret.hosts or ()]
    malformed = [secret.name for secret in used if secret.hosts is None]
    reason = f"The pull secrets name {', '.join(hosts) or 'no host'}, not {image.host}."
    if malformed:
        reason = f"The document of {', '.join(malformed)} is malformed, so it names no host."
    return PullCheck(
        "pull_secret",
        WRONG,
        reason,
        REGISTRY,
        tuple(secret.name for secret in used),
        f"Add credentials for {image.host} to a secret, as the image names the host.",
    )
