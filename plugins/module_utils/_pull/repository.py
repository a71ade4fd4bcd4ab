# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether ECR has the image: repository, tag or digest, its status, and pull-through caches. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from .access import evaluate_role, get_role_problem
from .context import OK, UNKNOWN, WRONG, PullCheck, PullContext
from .endpoints import INTERNET, TargetPath
from .image import DKR, EcrAddress
from .internet import check_internet
from .model import EcrRegistry, EcrRepository, PullThroughRule
from .policies import IMPORT_ACTIONS, evaluate_policies, make_role_request

_NEEDS_CREDENTIALS = ("docker.io", "ghcr.io", "azurecr.io", "gitlab.com", "chainguard")


def check_image(
    context: PullContext, ecr: EcrAddress, registry: Optional[EcrRegistry], paths: Sequence[TargetPath]
) -> list[PullCheck]:
    name, version = context.image.repository, context.image.version
    if registry is None:
        reason = context.snapshot.get_unreadable_reason("registries") or "The registry was not read."
        return [PullCheck("repository", UNKNOWN, reason, DKR)]
    if "repositories" in registry.unreadable:
        return [PullCheck("repository", UNKNOWN, registry.unreadable["repositories"], DKR)]
    repository = registry.repositories.get(name)
    rule = find_rule(registry, name)
    if repository is not None and (repository.images_unreadable or repository.images.get(version)):
        return [_check_status(ecr, repository, version)]
    if rule is not None:
        return _check_pull_through(context, ecr, registry, repository, rule, paths)
    if "rules" in registry.unreadable:
        what = f"The repository {name}" if repository is None else f"The image {name}:{version}"
        reason = f"{what} does not exist; whether a pull-through cache has it: {registry.unreadable['rules']}"
        return [PullCheck("repository" if repository is None else "image", UNKNOWN, reason, DKR)]
    if repository is None:
        return [
            PullCheck(
                "repository",
                WRONG,
                f"The registry {ecr.account} in {ecr.region} has no repository {name}.",
                DKR,
                (ecr.account, ecr.region, name),
                "Correct the name, or create the repository and push the image.",
            )
        ]
    return [
        PullCheck(
            "image",
            WRONG,
            f"The repository {name} has no image {version}.",
            DKR,
            (ecr.get_repository_arn(name), version),
            "Push the image, or name an existing one. A lifecycle policy may have expired it.",
        )
    ]


def find_rule(registry: EcrRegistry, repository: str) -> Optional[PullThroughRule]:
    """The pull-through rule of a repository: the longest prefix. C(ROOT) is for every name."""
    matching = [
        rule
        for rule in registry.rules
        if rule.prefix == "ROOT" or repository == rule.prefix or repository.startswith(f"{rule.prefix}/")
    ]
    return max(matching, key=lambda rule: -1 if rule.prefix == "ROOT" else len(rule.prefix)) if matching else None


def _check_status(ecr: EcrAddress, repository: EcrRepository, version: str) -> PullCheck:
    if repository.images_unreadable:
        return PullCheck("image", UNKNOWN, repository.images_unreadable, DKR, (repository.name,))
    status = repository.images[version]
    evidence = (ecr.get_repository_arn(repository.name), version, str(status))
    if status in ("ARCHIVED", "ACTIVATING"):
        remedy = "Restore it to the standard storage class." if status == "ARCHIVED" else "Wait until it is ACTIVE."
        reason = f"The image {repository.name} {version} is {status}, and such an image cannot be pulled."
        return PullCheck("image", WRONG, reason, DKR, evidence, remedy)
    return PullCheck("image", OK, f"The repository {repository.name} has the image {version}.", DKR, evidence)


def _check_pull_through(
    context: PullContext,
    ecr: EcrAddress,
    registry: EcrRegistry,
    repository: Optional[EcrRepository],
    rule: PullThroughRule,
    paths: Sequence[TargetPath],
) -> list[PullCheck]:
    """The first pull of an image through the cache: ECR imports it, for a caller that may have that done."""
    evidence = (rule.prefix, rule.upstream)
    checks: list[PullCheck] = []
    if any(host in rule.upstream for host in _NEEDS_CREDENTIALS) and not rule.has_credentials:
        checks.append(
            PullCheck(
                "pull_through",
                WRONG,
                f"The pull-through rule {rule.prefix} has no credentials, which {rule.upstream} requires.",
                DKR,
                evidence,
                "Add a secret of Secrets Manager with credentials of the upstream registry to the rule.",
            )
        )
    checks += _check_import_permission(context, ecr, registry, repository, rule)
    uses_endpoint = any(path.target.name == DKR and path.way != INTERNET for path in paths)
    if uses_endpoint:
        target = next(path.target for path in paths if path.target.name == DKR)
        worst = next((check for check in check_internet(context, target) if check.status != OK), None)
        if worst is not None:
            checks.append(
                PullCheck(
                    "pull_through",
                    worst.status,
                    "The first pull of an image through the cache by an endpoint needs a route to the internet: "
                    f"{worst.reason}",
                    DKR,
                    (*evidence, *worst.evidence),
                    "Pull the image once from where the internet is in reach, or add a route to a NAT gateway.",
                )
            )
    if checks:
        return checks
    return [PullCheck("pull_through", OK, f"The pull-through rule {rule.prefix} imports the image.", DKR, evidence)]


def _check_import_permission(
    context: PullContext,
    ecr: EcrAddress,
    registry: EcrRegistry,
    repository: Optional[EcrRepository],
    rule: PullThroughRule,
) -> list[PullCheck]:
    role = context.role
    if get_role_problem(context) is not None or role is None:
        return []
    resource = ecr.get_repository_arn(context.image.repository)
    found = []
    for action in IMPORT_ACTIONS[: 1 if repository is not None else 2]:
        by_role = evaluate_role(role, action, resource)
        request = make_role_request(action, resource, role.arn, {"aws:resourceaccount": ecr.account})
        by_registry = evaluate_policies([("the registry policy", registry.policy or {})], request, True)
        if by_role.allowed or (by_registry.allowed and not by_role.explicit_deny):
            continue
        unknown = None in (by_role.allowed, by_registry.allowed) or "policy" in registry.unreadable
        status = UNKNOWN if unknown else WRONG
        found.append(
            PullCheck(
                "pull_through",
                status,
                f"The image is not in the cache yet, and {'it is not known whether ' if unknown else ''}the node role "
                f"{'is' if unknown else 'is not'} allowed {action}, by which the rule {rule.prefix} imports it.",
                DKR,
                (rule.prefix, role.arn, *by_role.statements),
                f"Allow {action} on {resource} to the node role, or pull the image once with other credentials.",
            )
        )
    return found
