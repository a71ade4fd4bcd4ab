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
from .calls import CallError, call_api
from .denied import AccessDenial
from .explain import DenialEvidence, ExplainOptions, ObservedRole, Simulation
from .model import OidcProvider, get_role_account, get_role_name

ClientFactory = Callable[
    [str, Optional[str]], Any
]  # by service, and region where it matters; raises CallError where none is


def decode_message(get_client: ClientFactory, denial: AccessDenial) -> tuple[AccessDenial, Optional[str]]:
    """What an encoded message says, where the message has one; or why it was not decoded."""
    if not denial.encoded_message:
        return denial, None
    try:
        answer = call_api(get_client("sts", None), "DecodeAuthorizationMessage", EncodedMessage=denial.encoded_message)
        inner = messages.parse_decoded_message(json.loads(answer["DecodedMessage"]))
    except CallError as error:
        return denial, f"{error} {error.suggestion}"
    except (KeyError, ValueError) as error:
        return denial, f"STS's answer was not understood: {error}"
    if denial.side == messages.UNKNOWN:
        return replace(inner, encoded_message=denial.encoded_message, operation=denial.operation), None
    return (
        replace(
            denial,
            reason=denial.reason if denial.kind != "unstated" else inner.reason,
            caller=denial.caller or inner.caller,
            action=denial.action or inner.action,
            resource=denial.resource or inner.resource,
            explicit_deny=denial.explicit_deny or inner.explicit_deny,
            context=inner.context,
        ),
        None,
    )


def add_not_checked(observed: DenialEvidence, source: str, reason: str) -> DenialEvidence:
    """With one thing more that could not be looked at."""
    return replace(observed, not_checked={**observed.not_checked, source: reason})


class _DenialObserver:
    """Fills a C(Seen), one look at a time."""

    def __init__(self, get_client: ClientFactory, denial: AccessDenial, options: ExplainOptions) -> None:
        self.get_client = get_client
        self.denial = denial
        self.options = options
        self.observed = DenialEvidence()

    def record_not_checked(self, source: str, reason: str) -> None:
        self.observed = add_not_checked(self.observed, source, reason)

    def try_read(self, source: str, read: Callable[[], dict[str, Any]]) -> None:
        try:
            self.observed = replace(self.observed, **read())
        except CallError as error:
            self.record_not_checked(source, f"{error} {error.suggestion}")

    # --- Who may assume the role.

    def read_role(self, name: str) -> dict[str, Any]:
        try:
            found = call_api(self.get_client("iam", None), "GetRole", RoleName=get_role_name(name))["Role"]
        except CallError as error:
            if error.code == "NoSuchEntity":
                elsewhere = self._get_other_account_reason(name)
                if elsewhere:
                    raise CallError("iam", "GetRole", error.code, elsewhere) from error
                return {"role_missing": name}
            raise
        arn = str(found["Arn"])
        account = get_role_account(name)
        if account is None and self.denial.caller and self.denial.caller.role == get_role_name(name):
            account = self.denial.caller.account
        if account and account != arn.split(":")[4]:
            words = f"the role is in the account {account}, and these credentials see {arn.split(':')[4]}"
            raise CallError("iam", "GetRole", "OtherAccount", f"{words}.")
        boundary = (found.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
        return {"role": ObservedRole(arn, _parse_document(found.get("AssumeRolePolicyDocument")), boundary)}

    def _get_other_account_reason(self, name: str) -> str:
        """Why a role that is not found may exist all the same."""
        account = get_role_account(name)
        if account:
            here = str(call_api(self.get_client("sts", None), "GetCallerIdentity")["Account"])
            if account != here:
                return f"the role is in the account {account}, and these credentials see {here}."
        if self.denial.caller and self.denial.caller.role == get_role_name(name):
            # Its session made a request: it exists, or did then.
            return f"these credentials' account has no role {get_role_name(name)}. Its session's is {self.denial.caller.account}"
        return ""

    def read_provider(self) -> dict[str, Any]:
        arn = self.options.provider_arn
        if arn is None and self.options.cluster:
            cluster = call_api(self.get_client("eks", None), "DescribeCluster", name=self.options.cluster)["cluster"]
            issuer = ((cluster.get("identity") or {}).get("oidc") or {}).get("issuer")
            if not issuer:
                raise CallError("eks", "DescribeCluster", "NoIssuer", f"{self.options.cluster} has no OIDC issuer yet")
            arn = OidcProvider.from_cluster(str(cluster["arn"]), str(issuer)).arn
        if arn is None:
            arn = self._build_provider_arn()
        return {"provider": OidcProvider.parse(arn)} if arn else {}

    def _build_provider_arn(self) -> Optional[str]:
        """Of the issuer that the message names, in the account of the role or of these credentials."""
        if not self.denial.issuer:
            return None
        issuer = self.denial.issuer.partition("://")[2]
        if self.observed.role is not None:
            parts = self.observed.role.arn.split(":")
        else:
            parts = str(call_api(self.get_client("sts", None), "GetCallerIdentity")["Arn"]).split(":")
        return f"arn:{parts[1]}:iam::{parts[4]}:oidc-provider/{issuer}"

    def check_provider(self, provider: OidcProvider) -> dict[str, Any]:
        try:
            found = call_api(
                self.get_client("iam", None), "GetOpenIDConnectProvider", OpenIDConnectProviderArn=provider.arn
            )
        except CallError as error:
            if error.code == "NoSuchEntity":
                return {"provider_exists": False}
            raise
        return {"provider_exists": True, "client_ids": tuple(map(str, found.get("ClientIDList") or ()))}

    # --- What the role may do.

    def read_policies(self, name: str) -> dict[str, Any]:
        return {"policies": tuple(self._list_policies(self.get_client("iam", None), name))}

    def _list_policies(self, iam: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for inline in _list_items(iam, "ListRolePolicies", "PolicyNames", RoleName=name):
            yield (
                str(inline),
                _parse_document(call_api(iam, "GetRolePolicy", RoleName=name, PolicyName=inline)["PolicyDocument"]),
            )
        for attached in _list_items(iam, "ListAttachedRolePolicies", "AttachedPolicies", RoleName=name):
            arn = attached["PolicyArn"]
            version = call_api(iam, "GetPolicy", PolicyArn=arn)["Policy"]["DefaultVersionId"]
            answer = call_api(iam, "GetPolicyVersion", PolicyArn=arn, VersionId=version)
            yield str(arn), _parse_document(answer["PolicyVersion"]["Document"])

    def read_tags(self, resource: str) -> dict[str, Any]:
        region = resource.split(":")[3] or None
        answer = call_api(
            self.get_client("resourcegroupstaggingapi", region), "GetResources", ResourceARNList=[resource]
        )
        for one in answer.get("ResourceTagMappingList") or ():
            if one["ResourceARN"] == resource:
                return {"tags": {tag["Key"]: tag["Value"] for tag in one.get("Tags") or ()}}
        return {"tags": {}}

    def simulate(self, principal: str, tags: Mapping[str, str]) -> Simulation:
        entries = [
            {"ContextKeyName": key, "ContextKeyValues": list(values), "ContextKeyType": _get_context_type(values)}
            for key, values in explain.build_context(self.denial, tags).items()
        ]
        arguments: dict[str, Any] = {"PolicySourceArn": principal, "ActionNames": [self.denial.action]}
        if self.denial.resource:
            arguments["ResourceArns"] = [self.denial.resource]
        if entries:
            arguments["ContextEntries"] = entries
        found = next(
            _list_items(self.get_client("iam", None), "SimulatePrincipalPolicy", "EvaluationResults", **arguments)
        )
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


def _list_items(client: Any, operation: str, items_key: str, **arguments: Any) -> Iterator[Any]:
    more: dict[str, Any] = {}
    while True:
        answer = call_api(client, operation, **arguments, **more)
        yield from answer.get(items_key) or ()
        if not answer.get("IsTruncated"):
            return
        more = {"Marker": answer["Marker"]}


def _parse_document(document: Any) -> Mapping[str, Any]:
    """botocore decodes some of IAM's documents, and hands over others as they are."""
    if isinstance(document, str):
        document = json.loads(unquote(document) if document.startswith("%7B") else document)
    return document if isinstance(document, Mapping) else {}


def _get_context_type(values: tuple[str, ...]) -> str:
    return "string" if len(values) == 1 else "stringList"


def _is_taggable(resource: Optional[str]) -> bool:
    return bool(resource and "*" not in resource and resource.count(":") >= 5)


def read_evidence(get_client: ClientFactory, denial: AccessDenial, options: ExplainOptions) -> DenialEvidence:
    """Everything that the message gives a reason to look at."""
    looking = _DenialObserver(get_client, denial, options)
    name = explain.choose_role(denial, options)
    if name is None:
        looking.record_not_checked("a role", "Neither the message nor the option role names one.")
    else:
        looking.try_read(f"the role {get_role_name(name)}", lambda: looking.read_role(name))
    if options.cluster or options.provider_arn or denial.issuer:
        looking.try_read("the OIDC provider", looking.read_provider)
    provider = looking.observed.provider
    if provider is not None and denial.side != messages.PERMISSION:
        looking.try_read("the OIDC provider", lambda: looking.check_provider(provider))
    if denial.side == messages.PERMISSION:
        _read_permissions(looking)
    return looking.observed


def _read_permissions(observer: _DenialObserver) -> None:
    told, asked = observer.denial, observer.options
    caller = told.caller
    if told.kind in ("service_control_policy", "resource_control_policy", "vpc_endpoint_policy", "session_policy"):
        observer.record_not_checked(
            f"the {told.kind.replace('_', ' ')}", "It is not to be read from here: the message's word counts."
        )
        return
    if told.kind == "resource_policy":
        observer.record_not_checked(
            "the policy of the resource", "Each service has its own call for it. The message's word counts."
        )
        return
    if caller is None or told.action is None:
        observer.record_not_checked("the caller's permissions", "The message does not say who wanted to do what.")
        return
    # A role that the user names besides is looked at for its trust; permissions are the caller's.
    holder = observer.observed
    if caller.role and asked.role and get_role_name(asked.role) != caller.role:
        other = _DenialObserver(observer.get_client, told, ExplainOptions())
        other.try_read(f"the role {caller.role}", lambda: other.read_role(str(caller.role)))
        holder = other.observed
        for what, why in holder.not_checked.items():
            observer.record_not_checked(what, why)
    principal = holder.role.arn if holder.role else (None if caller.role else caller.arn)
    if _is_taggable(told.resource):
        observer.try_read(f"the tags of {told.resource}", lambda: observer.read_tags(str(told.resource)))
    else:
        observer.record_not_checked(
            "the tags of the resource", f"{told.resource or 'None is named'}: no single resource has them."
        )
    if principal is None:
        observer.record_not_checked("the caller's permissions", f"The role {caller.role} was not seen.")
        return
    if caller.role:
        observer.try_read(f"the policies of {caller.role}", lambda: observer.read_policies(str(caller.role)))
    else:
        observer.record_not_checked(
            "the caller's policies", "Only those of roles are read. The simulator judges them all the same."
        )
    known = observer.observed.tags or {}
    observer.try_read("IAM's policy simulator", lambda: {"simulated": observer.simulate(principal, known)})
    now, lack = (
        observer.observed.simulation,
        explain.find_missing_tags(told, observer.observed, asked.cluster or "owned"),
    )
    if lack is not None and now is not None and now.decision == explain.IMPLICIT_DENY:
        added = {**known, **lack.tags}
        observer.try_read(
            "IAM's policy simulator, with tags added",
            lambda: {"tried": replace(observer.simulate(principal, added), tags=dict(lack.tags))},
        )
