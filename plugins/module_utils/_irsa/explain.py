# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why access was refused and what mends it: what the message says, set against what was looked at. Pure.

The message decides the side: what was looked at came later, and can have been mended since. What could not be looked at
is said, and nothing is concluded from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from . import policy
from .denied import IDENTITY, PERMISSION, TRUST, Denied
from .model import AUDIENCE, Provider, Subject, role_account, role_name

ANNOTATION = "eks.amazonaws.com/role-arn"
ALLOWED, IMPLICIT, EXPLICIT = "allowed", "implicitDeny", "explicitDeny"
_RESOURCE_TAG = re.compile(r"[\w-]+:ResourceTag/(.+)", re.IGNORECASE)
# Refusals that no policy of the role itself can lift.
_ELSEWHERE = {
    "service_control_policy": "in AWS Organizations, by whoever manages the organization",
    "resource_control_policy": "in AWS Organizations, by whoever manages the organization",
    "vpc_endpoint_policy": "in the policy of the VPC endpoint that the request went through",
    "session_policy": "where the session is made: whoever assumes the role hands over a session policy that narrows it",
    "resource_policy": "in the policy of the resource itself",
}


@dataclass(frozen=True)
class Role:
    """A role as GetRole shows it."""

    arn: str
    trust: Mapping[str, Any]
    boundary: Optional[str] = None

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]


@dataclass(frozen=True)
class Simulation:
    """What SimulatePrincipalPolicy answered, given C(tags) on the resource."""

    tags: Mapping[str, str]
    decision: str
    matched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    within_boundary: Optional[bool] = None
    within_organization: Optional[bool] = None


@dataclass(frozen=True)
class Seen:
    """What was looked at. None: not looked at; C(unseen) says why, by what it was.

    C(tried): what the simulator answered with tags that the resource has not.
    """

    role: Optional[Role] = None
    role_missing: Optional[str] = None
    provider: Optional[Provider] = None
    provider_exists: Optional[bool] = None
    client_ids: tuple[str, ...] = ()
    policies: Optional[tuple[tuple[str, Mapping[str, Any]], ...]] = None
    tags: Optional[Mapping[str, str]] = None
    simulated: Optional[Simulation] = None
    tried: Optional[Simulation] = None
    unseen: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What the user says besides the message."""

    role: Optional[str] = None
    subject: Optional[Subject] = None
    cluster: Optional[str] = None
    provider_arn: Optional[str] = None
    audience: str = AUDIENCE


@dataclass(frozen=True)
class Mend:
    """The least change that mends it. At most one of binding, statement and tags."""

    what: str
    binding: Optional[Mapping[str, Any]] = None
    statement: Optional[Mapping[str, Any]] = None
    tags: Optional[Mapping[str, str]] = None


@dataclass(frozen=True)
class Trusted:
    """Whether a service account may assume the role; apart from what the message is about."""

    role: str
    subject: Optional[Subject]
    allowed: Optional[bool]
    reason: str
    by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    side: str
    reason: str
    evidence: tuple[Mapping[str, Any], ...]
    mend: Mend
    not_the_mend: Optional[str] = None
    trusted: Optional[Trusted] = None


def subject_of(denied: Denied, asked: Asked) -> Optional[Subject]:
    """Whose trust is to be checked: whom the user names, or whom the message does."""
    return asked.subject or (Subject.of(*denied.subject) if denied.subject else None)


def role_of(denied: Denied, asked: Asked) -> Optional[str]:
    """The role to look at: of a session, the session's; else the one that was to be assumed."""
    if asked.role:
        return asked.role
    if denied.side in (TRUST, IDENTITY) or denied.role:
        return denied.role
    return denied.caller.role if denied.caller else None


# --- What policies ask of a resource's tags.


@dataclass(frozen=True)
class PolicyStatement:
    """A statement of a role's policy that is about the action and the resource."""

    policy: str
    index: int
    statement: Mapping[str, Any]

    def __str__(self) -> str:
        sid = self.statement.get("Sid")
        return f"{self.policy}, Statement[{self.index}]{f' ({sid})' if sid else ''}"


def grants(
    policies: Sequence[tuple[str, Mapping[str, Any]]], action: str, resource: Optional[str], effect: str = "Allow"
) -> list[PolicyStatement]:
    """The statements with this effect whose actions and resources fit, whatever their conditions."""
    found = []
    for name, document in policies:
        for index, statement in enumerate(policy.statements(document)):
            about = _fits(statement, "Action", action, True) and (
                resource is None or _fits(statement, "Resource", resource, False)
            )
            if about and statement.get("Effect") == effect:
                found.append(PolicyStatement(name, index, statement))
    return found


def _fits(statement: Mapping[str, Any], element: str, text: str, ignore_case: bool) -> bool:
    if element in statement:
        return any(policy.glob(str(one), text, ignore_case) for one in policy.values(statement[element]))
    refused = policy.values(statement.get(f"Not{element}", []))
    return bool(refused) and not any(policy.glob(str(one), text, ignore_case) for one in refused)


@dataclass(frozen=True)
class Demand:
    """A condition on a tag of the resource."""

    operator: str
    tag: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        if self.operator.lower() == "null":
            return f"it bears {'the' if self.wants_tag else 'no'} tag {self.tag}"
        return f"its tag {self.tag} satisfies {self.operator} {' or '.join(self.values)}"

    @property
    def wants_tag(self) -> bool:
        return "false" in [value.lower() for value in self.values]

    def met(self, tags: Mapping[str, str]) -> Optional[bool]:
        """None: cannot be judged here."""
        held = {key.lower(): value for key, value in tags.items()}.get(self.tag.lower())
        operator = policy.Operator.parse(self.operator)
        if operator.base == "null":
            return (held is not None) == self.wants_tag
        if operator.negated or operator.base not in ("stringequals", "stringequalsignorecase", "stringlike"):
            return None
        if held is None:
            return operator.loose
        if operator.base == "stringlike":
            return any(policy.glob(value, held) for value in self.values)
        if operator.base == "stringequalsignorecase":
            return held.lower() in [value.lower() for value in self.values]
        return held in self.values

    def wished(self, value: str) -> Optional[str]:
        """A value of the tag that meets it."""
        operator = policy.Operator.parse(self.operator)
        if operator.base == "null":
            return value if self.wants_tag else None
        if operator.negated or operator.base not in ("stringequals", "stringequalsignorecase", "stringlike"):
            return None
        plain = [one for one in self.values if "${" not in one]
        if not plain:
            return None
        return plain[0] if operator.base != "stringlike" else plain[0].replace("*", value).replace("?", "x")


def demands(statement: Mapping[str, Any]) -> list[Demand]:
    found = []
    for operator, key, given in policy.conditions(statement):
        match = _RESOURCE_TAG.fullmatch(key)
        if match:
            told = (str(one).lower() if isinstance(one, bool) else str(one) for one in policy.values(given))
            found.append(Demand(operator, match[1], tuple(told)))
    return found


@dataclass(frozen=True)
class Lacking:
    """A statement that would allow the action if the resource bore these tags."""

    grant: PolicyStatement
    unmet: tuple[Demand, ...]
    tags: Mapping[str, str]


def lacking(denied: Denied, seen: Seen, value: str) -> Optional[Lacking]:
    """The statement that lacks the fewest tags; None where tags are not what is missing."""
    if seen.policies is None or seen.tags is None or denied.action is None:
        return None
    found = []
    for grant in grants(seen.policies, denied.action, denied.resource):
        unmet = [one for one in demands(grant.statement) if one.met(seen.tags) is False]
        # Of two demands on one tag, a value that is asked for counts before a mere presence.
        wished: dict[str, Optional[str]] = {}
        for one in sorted(unmet, key=lambda demand: demand.operator.lower() != "null"):
            wished[one.tag] = one.wished(value)
        if unmet and all(told is not None for told in wished.values()):
            found.append(Lacking(grant, tuple(unmet), {key: str(told) for key, told in wished.items()}))
    return min(found, key=lambda one: len(one.tags)) if found else None


def context(denied: Denied, tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """For the simulator: what the request is known to have brought, and the resource's tags by both their keys."""
    service = (denied.action or "").split(":")[0].lower()
    entries = dict(denied.context)
    for key, value in tags.items():
        for prefix in dict.fromkeys(("aws", service)):
            entries[f"{prefix}:ResourceTag/{key}"] = (value,)
    return entries


# --- The explanation.


def explain(denied: Denied, asked: Asked, seen: Seen) -> Explanation:
    evidence = [
        _look("the message", f"{denied.reason} It says: {_short(denied.words)}" if denied.words else denied.reason)
    ]
    if denied.more:
        evidence.append(_look("the message", f"It tells of {denied.more} more refusals. This is about the first one."))
    evidence += _evidence(denied, seen)
    trusted = _trusted(denied, asked, seen)
    if trusted is not None:
        evidence.append(_look(f"the trust policy of {trusted.role}", trusted.reason, trusted.allowed is not None))
    evidence += [_look(what, why, False) for what, why in seen.unseen.items()]
    judge = {TRUST: _of_trust, IDENTITY: _of_identity, PERMISSION: _of_permission}.get(denied.side, _of_unknown)
    reason, mend = judge(denied, asked, seen, trusted)
    return Explanation(denied.side, reason, tuple(evidence), mend, _not_the_mend(denied, asked), trusted)


def _look(what: str, answer: str, seen: bool = True) -> dict[str, Any]:
    return {"looked_at": what, "answer": answer, "seen": seen}


def _short(words: str) -> str:
    return words if len(words) <= 400 else f"{words[:400]}..."


def _told(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in tags.items()) or "none"


def _evidence(denied: Denied, seen: Seen) -> Iterator[dict[str, Any]]:
    if denied.caller and denied.caller.is_node:
        yield _look(
            f"the session's name, {denied.caller.session}",
            f"It is the id of an instance: the role {denied.caller.role} is the node's, which pods fall back to where "
            "their service account has no role that works.",
        )
    if seen.role_missing:
        yield _look(f"the role {seen.role_missing}", "There is no such role.")
    if seen.provider is not None and seen.provider_exists is not None:
        ids = f" with the client ids {', '.join(seen.client_ids)}" if seen.client_ids else ""
        yield _look(
            f"the OIDC provider {seen.provider.arn}",
            f"It exists{ids}." if seen.provider_exists else "There is no such provider in IAM.",
        )
    if seen.tags is not None:
        told = _told(seen.tags) if seen.tags else "None. It bears no tag, or does not exist any more."
        yield _look(f"the tags of {denied.resource}", told)
    if seen.policies is not None and denied.action:
        found = grants(seen.policies, denied.action, denied.resource)
        names = "; ".join(map(str, found)) or "none"
        yield _look(
            f"the {len(seen.policies)} policies of {denied.caller.role if denied.caller else 'the role'}",
            f"Statements that allow {denied.action} there, if their conditions hold: {names}.",
        )
    for simulation, how in ((seen.simulated, "with the tags as they are"), (seen.tried, "with these tags added")):
        if simulation is not None:
            added = f" ({_told(simulation.tags)})" if simulation is seen.tried else ""
            yield _look(f"IAM's policy simulator, {how}{added}", _simulated(simulation))


def _simulated(one: Simulation) -> str:
    parts = [f"{one.decision}"]
    if one.matched:
        parts.append(f"by {', '.join(one.matched)}")
    if one.missing and one.decision != ALLOWED:
        parts.append(f"policies look at {', '.join(one.missing)}, which the request was not known to bring")
    if one.within_boundary is False:
        parts.append("the permissions boundary does not allow it")
    if one.within_organization is False:
        parts.append("the organization's policies do not allow it")
    return "; ".join(parts) + "."


def _trusted(denied: Denied, asked: Asked, seen: Seen) -> Optional[Trusted]:
    """Is the service account trusted at all?"""
    subject, role = subject_of(denied, asked), seen.role
    if role is None:
        return None
    name = role_name(role.arn)
    if subject is None or seen.provider is None:
        lets_in = [_grants_of(role.trust, Provider(arn)) for arn in policy.providers(role.trust)]
        who = "; ".join(one for one in lets_in if one) or "nobody by an OIDC provider"
        what = "No service account is named" if subject is None else f"Of which cluster {subject} is, is not known"
        return Trusted(name, subject, None, f"{what}, so that it was not checked. The role lets in: {who}.")
    verdict = policy.evaluate(role.trust, seen.provider, subject, asked.audience)
    by = tuple(map(str, verdict.by))
    reason = f"{subject} of {seen.provider.issuer}: {verdict}."
    conditions = [condition for match in verdict.by for condition in match.conditions]
    if verdict.allowed and conditions:
        reason += f" The statement also demands {'; '.join(conditions)}, which cannot be judged here."
    if not verdict.allowed:
        reason += f" {_why_not(role.trust, seen.provider, asked)}"
    return Trusted(name, subject, verdict.allowed, reason, by)


def _grants_of(document: Mapping[str, Any], provider: Provider) -> str:
    names = [
        "everybody (no subject is demanded)" if one.subject is None else str(one.subject)
        for one in policy.grants(document, provider)
    ]
    return f"{', '.join(dict.fromkeys(names))} of {provider.issuer}" if names else ""


def _why_not(document: Mapping[str, Any], provider: Provider, asked: Asked) -> str:
    named = policy.providers(document)
    if provider.arn not in named:
        others = f" It names {', '.join(named)}." if named else ""
        return f"No statement names this cluster's provider.{others}"
    lets_in = _grants_of(document, provider)
    return f"Of this provider it lets in: {lets_in or f'nobody with the audience {asked.audience}'}."


def _binding(denied: Denied, asked: Asked, seen: Seen, role: str) -> Optional[dict[str, Any]]:
    """As iam_irsa_namespace takes it."""
    subject = subject_of(denied, asked)
    if subject is None or subject.pair is None:
        return None
    provider = asked.provider_arn or (seen.provider.arn if seen.provider else None)
    where = {"cluster": asked.cluster} if asked.cluster else {"oidc_provider_arn": provider}
    if not any(where.values()):
        return None
    namespace, name = subject.pair
    return {"role": role, **where, "namespace": namespace, "service_accounts": [name], "state": "present"}


Judged = tuple[str, Mend]  # the reason, and what mends it; the side is the message's


def _of_trust(denied: Denied, asked: Asked, seen: Seen, trusted: Optional[Trusted]) -> Judged:
    reason = denied.reason
    if denied.kind == "pod_identity":
        what = "Allow pods.eks.amazonaws.com both sts:AssumeRole and sts:TagSession in its trust policy."
        return reason, Mend(what)
    if denied.kind == "trust_policy":
        who = f"{denied.caller.arn if denied.caller else 'the caller'} {denied.action}"
        where = f"in the trust policy of {role_of(denied, asked) or 'the role that was to be assumed'}"
        return reason, Mend(
            f"Narrow the Deny that refuses {who} {where}." if denied.explicit else f"Allow {who} {where}."
        )
    if seen.role_missing:
        mend = Mend(f"Create {seen.role_missing}, or mend the service account's annotation {ANNOTATION}.")
        here = "" if role_account(seen.role_missing) else " in the account of these credentials"
        return f"{reason} There is no role {seen.role_missing}{here}.", mend
    if trusted is not None and trusted.allowed is False:
        what = f"Let {trusted.subject} into the trust policy of {trusted.role}."
        return f"{reason} {trusted.reason}", Mend(what, binding=_binding(denied, asked, seen, trusted.role))
    if trusted is not None and trusted.allowed:
        return f"{reason} As the trust policy stands now, it lets {trusted.subject} in.", Mend(
            "None, if the trust policy was mended since: IAM takes some seconds to follow. Otherwise the token is of "
            "another service account or cluster than was said, a condition that was not judged does not hold, or a "
            "resource control policy denies it."
        )
    return reason, Mend(
        "Let the service account into the trust policy of its role. Name role, namespace, service account and cluster, "
        "and the binding is checked and written out."
    )


_IDENTITY_MENDS = {
    "no_provider": (
        "Create the IAM OIDC provider of the cluster, in the role's account: iam_irsa_namespace does, with "
        "create_provider."
    ),
    "audience": (
        "Add the token's audience to the client ids of the IAM OIDC provider, or have the token made for "
        f"{AUDIENCE} (annotation eks.amazonaws.com/audience of the service account)."
    ),
    "verification_key": (
        "See that the issuer's keys can be fetched from the internet, by way of its /.well-known/openid-configuration, "
        "and are those that the API server signs with."
    ),
    "token_expired": (
        "Have the program read its token file again before each use, as current SDKs do, and see that the clocks are "
        "right."
    ),
    "token_invalid": "Have the program send the projected token of the service account, as it is.",
    "role_arn": (
        f"Put the ARN of the role (arn:aws:iam::ACCOUNT:role/NAME) into the service account's annotation {ANNOTATION}, "
        "and restart its pods."
    ),
    "token_file": (
        "Restart the pod, so that the webhook gives it its token. Where only the program's user may not read it, set "
        "fsGroup in the pod's security context."
    ),
    "credentials_expired": "Have the program renew its credentials: restart it, and use an SDK that does so by itself.",
    "credentials_invalid": (
        "See which credentials the program found first: keys in its environment come before its role. Check partition "
        "and region, too."
    ),
    "no_credentials": (
        f"Annotate the service account with its role ({ANNOTATION}), restart its pods, and see that the program's SDK "
        "is recent enough to know web identities."
    ),
}


def _of_identity(denied: Denied, asked: Asked, seen: Seen, _trusted_: Optional[Trusted]) -> Judged:
    reason, what = denied.reason, _IDENTITY_MENDS[denied.kind]
    if denied.kind == "no_provider" and seen.provider_exists:
        reason += " As IAM stands now, this account has the provider."
        what = (
            "None, if the provider was made since. Otherwise the role is in another account: make the provider there."
        )
    if denied.kind == "audience" and asked.audience in seen.client_ids:
        reason += f" As IAM stands now, {asked.audience} is one of the provider's client ids."
        what = (
            f"Have the token made for {asked.audience}: mend the annotation eks.amazonaws.com/audience, or remove it."
        )
    return reason, Mend(what)


def _of_permission(denied: Denied, asked: Asked, seen: Seen, _trusted_: Optional[Trusted]) -> Judged:
    if denied.kind in _ELSEWHERE:
        named = f" It is {denied.policy}." if denied.policy else ""
        doing = "Take the Deny away" if denied.explicit else f"Allow {denied.action}"
        return f"{denied.reason}{named}", Mend(f"{doing} {_ELSEWHERE[denied.kind]}.{named}")
    if denied.caller and denied.caller.is_node:
        return _of_node(denied, asked, seen)
    if denied.explicit:
        where = denied.policy or _denying(denied, seen) or f"the {denied.kind.replace('_', ' ')} of the caller"
        return denied.reason, Mend(f"Narrow the Deny in {where}. No Allow overrides it.")
    if seen.simulated is None:
        what = f"Allow {denied.action} to the caller." if denied.action else "Find out caller and action first."
        return f"{denied.reason} What its policies lack was not looked at.", Mend(what, statement=_statement(denied))
    return _of_missing_permission(denied, seen, seen.simulated)


def _of_node(denied: Denied, asked: Asked, seen: Seen) -> Judged:
    reason = (
        f"{denied.reason} That session is the node's: the pod's service account has no role that works, and the SDK "
        "fell back to the node."
    )
    what = (
        f"Give the service account its role{f', {asked.role}' if asked.role else ''}: trust first, then the annotation "
        f"{ANNOTATION}, then a restart of its pods. Do not widen the node's role."
    )
    binding = _binding(denied, asked, seen, role_name(asked.role)) if asked.role else None
    return reason, Mend(what, binding=binding)


def _denying(denied: Denied, seen: Seen) -> Optional[str]:
    if seen.policies is None or denied.action is None:
        return None
    return "; ".join(map(str, grants(seen.policies, denied.action, denied.resource, "Deny"))) or None


def _of_missing_permission(denied: Denied, seen: Seen, now: Simulation) -> Judged:
    """No policy allowed it. Which piece is missing, the simulator tells: with and without tags (facts: irsa)."""
    reason, statement = denied.reason, _statement(denied)
    if now.within_boundary is False:
        boundary = f" {seen.role.boundary}" if seen.role and seen.role.boundary else ""
        what = f"Allow it in the permissions boundary{boundary}. The role's own policies are not enough."
        return f"{reason} The role's permissions boundary does not allow it.", Mend(what, statement=statement)
    if now.within_organization is False:
        what = f"Allow {denied.action} {_ELSEWHERE['service_control_policy']}."
        return f"{reason} The organization's policies do not allow it.", Mend(what)
    if now.decision == ALLOWED:
        return f"{reason} As the policies stand now, they allow it.", Mend(
            "None, if policies or tags were changed since. Otherwise something refuses that the simulator does not "
            "judge: the resource's own policy, a session policy, an endpoint policy, or a condition on what was "
            "asked."
        )
    if now.decision == EXPLICIT:
        where = _denying(denied, seen) or ", ".join(now.matched) or "its policies"
        return f"{reason} The simulator finds an explicit Deny.", Mend(f"Narrow the Deny in {where}.")
    lack = lacking(denied, seen, "")
    if lack is not None and seen.tried is not None and seen.tried.decision == ALLOWED:
        return _of_missing_tags(denied, seen, lack, seen.tried)
    holder = denied.caller.role if denied.caller else None
    if seen.policies is None:
        what = f"Add this statement to a policy of {holder or 'the caller'}."
        return f"{reason} The simulator denies it as well.", Mend(what, statement=statement)
    found = grants(seen.policies, denied.action or "", denied.resource)
    if not found:
        what = f"Add this statement to a policy of {holder}."
        return f"{reason} No policy of the role names this action for this resource.", Mend(what, statement=statement)
    conditions = "; ".join(
        f"{operator} {key}" for one in found for operator, key, _given in policy.conditions(one.statement)
    )
    reason = f"{reason} {'; '.join(map(str, found))} would allow it, on conditions that do not hold."
    return reason, Mend(f"Meet the conditions, or loosen them: {conditions}.")


def _of_missing_tags(denied: Denied, seen: Seen, lack: Lacking, tried: Simulation) -> Judged:
    reason = (
        f"{denied.reason} {lack.grant} would allow it, on condition that {' and '.join(map(str, lack.unmet))}. The "
        f"resource's tags: {_told(seen.tags or {})}. IAM's simulator denies it as it is, and allows it with "
        f"{_told(tried.tags)}."
    )
    what = (
        f"Tag {denied.resource} with {_told(tried.tags)}, if it is this caller's to handle, and with credentials that "
        "may: the condition is there so that the caller leaves alone what is not its own."
    )
    return reason, Mend(what, tags=dict(tried.tags))


def _statement(denied: Denied) -> Optional[dict[str, Any]]:
    if not denied.action:
        return None
    return {"Effect": "Allow", "Action": denied.action, "Resource": denied.resource or "*"}


def _of_unknown(denied: Denied, _asked: Asked, _seen: Seen, _trusted_: Optional[Trusted]) -> Judged:
    if denied.kind in ("bare", "unstated", "encoded"):
        return denied.reason, Mend(
            "Not known. Look up the event in CloudTrail and give that: it names caller and action, often the policy."
        )
    return denied.reason, Mend("Nothing in IAM.")


def _not_the_mend(denied: Denied, asked: Asked) -> Optional[str]:
    """What people try first, and what does nothing for this message."""
    subject = subject_of(denied, asked)
    adding = f"Adding a namespace or service account{f' ({subject})' if subject else ''} to"
    caller = denied.caller
    if denied.side == PERMISSION and caller and caller.is_node:
        return f"Allowing it to the node's role {caller.role} would give it to every pod on the node."
    if denied.side == PERMISSION and caller and caller.role:
        return (
            f"{adding} the trust policy of {caller.role} is not the mend for this message: STS had issued the session, "
            "so that the trust policy had let its caller in."
        )
    if denied.side == TRUST:
        return "Adding permissions to the role is not the mend for this message: no session was issued that had any."
    if denied.side == IDENTITY:
        return f"{adding} a trust policy is not the mend for this message: STS had not come to look at it."
    return None
