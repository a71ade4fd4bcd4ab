# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at what an explanation needs: the role, its trust, its policies, the resource's tags, and IAM's own simulator.

Only reads. What cannot be read is noted with the reason, and does not end the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Optional
from urllib.parse import unquote

from . import denied as messages
from . import explain
from .calls import CallError, call
from .denied import Denied
from .explain import Asked, Role, Seen, Simulation
from .model import Provider, role_account, role_name

Client = Callable[[str, Optional[str]], Any]  # by service, and region where it matters; raises CallError where none is


def decode(client: Client, told: Denied) -> tuple[Denied, Optional[str]]:
    """What an encoded message says, where the message has one; or why it was not decoded."""
    if not told.encoded:
        return told, None
    try:
        answer = call(client("sts", None), "DecodeAuthorizationMessage", EncodedMessage=told.encoded)
        inner = messages.decoded(json.loads(answer["DecodedMessage"]))
    except CallError as error:
        return told, f"{error} {error.way_out}"
    except (KeyError, ValueError) as error:
        return told, f"STS's answer was not understood: {error}"
    if told.side == messages.UNKNOWN:
        return replace(inner, encoded=told.encoded, operation=told.operation), None
    return (
        replace(
            told,
            reason=told.reason if told.kind != "unstated" else inner.reason,
            caller=told.caller or inner.caller,
            action=told.action or inner.action,
            resource=told.resource or inner.resource,
            explicit=told.explicit or inner.explicit,
            context=inner.context,
        ),
        None,
    )


def noted(seen: Seen, what: str, why: str) -> Seen:
    """With one thing more that could not be looked at."""
    return replace(seen, unseen={**seen.unseen, what: why})


class _Looking:
    """Fills a C(Seen), one look at a time."""

    def __init__(self, client: Client, told: Denied, asked: Asked) -> None:
        self.client = client
        self.told = told
        self.asked = asked
        self.seen = Seen()

    def note(self, what: str, why: str) -> None:
        self.seen = noted(self.seen, what, why)

    def attempt(self, what: str, look: Callable[[], dict[str, Any]]) -> None:
        try:
            self.seen = replace(self.seen, **look())
        except CallError as error:
            self.note(what, f"{error} {error.way_out}")

    # --- Who may assume the role.

    def role(self, name: str) -> dict[str, Any]:
        try:
            found = call(self.client("iam", None), "GetRole", RoleName=role_name(name))["Role"]
        except CallError as error:
            if error.code == "NoSuchEntity":
                elsewhere = self._elsewhere(name)
                if elsewhere:
                    raise CallError("iam", "GetRole", error.code, elsewhere) from error
                return {"role_missing": name}
            raise
        arn = str(found["Arn"])
        account = role_account(name)
        if account is None and self.told.caller and self.told.caller.role == role_name(name):
            account = self.told.caller.account
        if account and account != arn.split(":")[4]:
            words = f"the role is in the account {account}, and these credentials see {arn.split(':')[4]}"
            raise CallError("iam", "GetRole", "OtherAccount", f"{words}.")
        boundary = (found.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
        return {"role": Role(arn, _document(found.get("AssumeRolePolicyDocument")), boundary)}

    def _elsewhere(self, name: str) -> str:
        """Why a role that is not found may exist all the same."""
        account = role_account(name)
        if account:
            here = str(call(self.client("sts", None), "GetCallerIdentity")["Account"])
            if account != here:
                return f"the role is in the account {account}, and these credentials see {here}."
        if self.told.caller and self.told.caller.role == role_name(name):
            # Its session made a request: it exists, or did then.
            return (
                f"these credentials' account has no role {role_name(name)}. Its session's is {self.told.caller.account}"
            )
        return ""

    def provider(self) -> dict[str, Any]:
        arn = self.asked.provider_arn
        if arn is None and self.asked.cluster:
            cluster = call(self.client("eks", None), "DescribeCluster", name=self.asked.cluster)["cluster"]
            issuer = ((cluster.get("identity") or {}).get("oidc") or {}).get("issuer")
            if not issuer:
                raise CallError("eks", "DescribeCluster", "NoIssuer", f"{self.asked.cluster} has no OIDC issuer yet")
            arn = Provider.of_cluster(str(cluster["arn"]), str(issuer)).arn
        if arn is None:
            arn = self._provider_by_issuer()
        return {"provider": Provider.parse(arn)} if arn else {}

    def _provider_by_issuer(self) -> Optional[str]:
        """Of the issuer that the message names, in the account of the role or of these credentials."""
        if not self.told.issuer:
            return None
        issuer = self.told.issuer.partition("://")[2]
        if self.seen.role is not None:
            parts = self.seen.role.arn.split(":")
        else:
            parts = str(call(self.client("sts", None), "GetCallerIdentity")["Arn"]).split(":")
        return f"arn:{parts[1]}:iam::{parts[4]}:oidc-provider/{issuer}"

    def provider_exists(self, provider: Provider) -> dict[str, Any]:
        try:
            found = call(self.client("iam", None), "GetOpenIDConnectProvider", OpenIDConnectProviderArn=provider.arn)
        except CallError as error:
            if error.code == "NoSuchEntity":
                return {"provider_exists": False}
            raise
        return {"provider_exists": True, "client_ids": tuple(map(str, found.get("ClientIDList") or ()))}

    # --- What the role may do.

    def policies(self, name: str) -> dict[str, Any]:
        return {"policies": tuple(self._policies(self.client("iam", None), name))}

    def _policies(self, iam: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for inline in _pages(iam, "ListRolePolicies", "PolicyNames", RoleName=name):
            yield str(inline), _document(call(iam, "GetRolePolicy", RoleName=name, PolicyName=inline)["PolicyDocument"])
        for attached in _pages(iam, "ListAttachedRolePolicies", "AttachedPolicies", RoleName=name):
            arn = attached["PolicyArn"]
            version = call(iam, "GetPolicy", PolicyArn=arn)["Policy"]["DefaultVersionId"]
            answer = call(iam, "GetPolicyVersion", PolicyArn=arn, VersionId=version)
            yield str(arn), _document(answer["PolicyVersion"]["Document"])

    def tags(self, resource: str) -> dict[str, Any]:
        region = resource.split(":")[3] or None
        answer = call(self.client("resourcegroupstaggingapi", region), "GetResources", ResourceARNList=[resource])
        for one in answer.get("ResourceTagMappingList") or ():
            if one["ResourceARN"] == resource:
                return {"tags": {tag["Key"]: tag["Value"] for tag in one.get("Tags") or ()}}
        return {"tags": {}}

    def simulate(self, principal: str, tags: Mapping[str, str]) -> Simulation:
        entries = [
            {"ContextKeyName": key, "ContextKeyValues": list(values), "ContextKeyType": _kind(values)}
            for key, values in explain.context(self.told, tags).items()
        ]
        arguments: dict[str, Any] = {"PolicySourceArn": principal, "ActionNames": [self.told.action]}
        if self.told.resource:
            arguments["ResourceArns"] = [self.told.resource]
        if entries:
            arguments["ContextEntries"] = entries
        found = next(_pages(self.client("iam", None), "SimulatePrincipalPolicy", "EvaluationResults", **arguments))
        boundary = found.get("PermissionsBoundaryDecisionDetail") or {}
        organization = found.get("OrganizationsDecisionDetail") or {}
        return Simulation(
            dict(tags),
            str(found["EvalDecision"]),
            tuple(dict.fromkeys(str(one.get("SourcePolicyId")) for one in found.get("MatchedStatements") or ())),
            tuple(map(str, found.get("MissingContextValues") or ())),
            boundary.get("AllowedByPermissionsBoundary"),
            organization.get("AllowedByOrganizations"),
        )


def _pages(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
    more: dict[str, Any] = {}
    while True:
        answer = call(client, operation, **arguments, **more)
        yield from answer.get(key) or ()
        if not answer.get("IsTruncated"):
            return
        more = {"Marker": answer["Marker"]}


def _document(given: Any) -> Mapping[str, Any]:
    """botocore decodes some of IAM's documents, and hands over others as they are."""
    if isinstance(given, str):
        given = json.loads(unquote(given) if given.startswith("%7B") else given)
    return given if isinstance(given, Mapping) else {}


def _kind(values: tuple[str, ...]) -> str:
    return "string" if len(values) == 1 else "stringList"


def _taggable(resource: Optional[str]) -> bool:
    return bool(resource and "*" not in resource and resource.count(":") >= 5)


def look(client: Client, told: Denied, asked: Asked) -> Seen:
    """Everything that the message gives a reason to look at."""
    looking = _Looking(client, told, asked)
    name = explain.role_of(told, asked)
    if name is None:
        looking.note("a role", "Neither the message nor the option role names one.")
    else:
        looking.attempt(f"the role {role_name(name)}", lambda: looking.role(name))
    if asked.cluster or asked.provider_arn or told.issuer:
        looking.attempt("the OIDC provider", looking.provider)
    provider = looking.seen.provider
    if provider is not None and told.side != messages.PERMISSION:
        looking.attempt("the OIDC provider", lambda: looking.provider_exists(provider))
    if told.side == messages.PERMISSION:
        _permissions(looking)
    return looking.seen


def _permissions(looking: _Looking) -> None:
    told, asked = looking.told, looking.asked
    caller = told.caller
    if told.kind in ("service_control_policy", "resource_control_policy", "vpc_endpoint_policy", "session_policy"):
        looking.note(f"the {told.kind.replace('_', ' ')}", "It is not to be read from here: the message's word counts.")
        return
    if told.kind == "resource_policy":
        looking.note("the policy of the resource", "Each service has its own call for it. The message's word counts.")
        return
    if caller is None or told.action is None:
        looking.note("the caller's permissions", "The message does not say who wanted to do what.")
        return
    # A role that the user names besides is looked at for its trust; permissions are the caller's.
    holder = looking.seen
    if caller.role and asked.role and role_name(asked.role) != caller.role:
        other = _Looking(looking.client, told, Asked())
        other.attempt(f"the role {caller.role}", lambda: other.role(str(caller.role)))
        holder = other.seen
        for what, why in holder.unseen.items():
            looking.note(what, why)
    principal = holder.role.arn if holder.role else (None if caller.role else caller.arn)
    if _taggable(told.resource):
        looking.attempt(f"the tags of {told.resource}", lambda: looking.tags(str(told.resource)))
    else:
        looking.note("the tags of the resource", f"{told.resource or 'None is named'}: no single resource has them.")
    if principal is None:
        looking.note("the caller's permissions", f"The role {caller.role} was not seen.")
        return
    if caller.role:
        looking.attempt(f"the policies of {caller.role}", lambda: looking.policies(str(caller.role)))
    else:
        looking.note("the caller's policies", "Only those of roles are read. The simulator judges them all the same.")
    known = looking.seen.tags or {}
    looking.attempt("IAM's policy simulator", lambda: {"simulated": looking.simulate(principal, known)})
    now, lack = looking.seen.simulated, explain.lacking(told, looking.seen, asked.cluster or "owned")
    if lack is not None and now is not None and now.decision == explain.IMPLICIT:
        added = {**known, **lack.tags}
        looking.attempt(
            "IAM's policy simulator, with tags added",
            lambda: {"tried": replace(looking.simulate(principal, added), tags=dict(lack.tags))},
        )
