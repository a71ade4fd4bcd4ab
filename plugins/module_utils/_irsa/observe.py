# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the evidence that an explanation needs: role, trust policy, policies, the resource's tags, IAM's simulator.

Read only. What cannot be read is recorded with the reason, and the rest is still read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Optional
from urllib.parse import unquote

from .._aws_call import ApiError, call_api, paginate
from . import denied as messages
from . import explain
from .denied import AccessDenial
from .explain import DenialEvidence, ExplainOptions, ObservedRole, Simulation
from .model import OidcProvider, get_role_account, get_role_name

# By service, and by region where it matters. Raises ApiError where there is no region.
ClientFactory = Callable[[str, Optional[str]], Any]


def decode_message(get_client: ClientFactory, denial: AccessDenial) -> tuple[AccessDenial, Optional[str]]:
    """Decode the encoded authorization message, where there is one; else return the reason why it was not decoded."""
    if not denial.encoded_message:
        return denial, None
    try:
        response = call_api(
            get_client("sts", None), "DecodeAuthorizationMessage", EncodedMessage=denial.encoded_message
        )
        inner = messages.parse_decoded_message(json.loads(response["DecodedMessage"]))
    except ApiError as error:
        return denial, error.explanation
    except (KeyError, ValueError) as error:
        return denial, f"STS returned a response that this module cannot parse: {error}"
    if denial.side == messages.UNKNOWN:
        return (
            replace(
                inner,
                encoded_message=denial.encoded_message,
                operation=denial.operation,
                node_program=denial.node_program,
            ),
            None,
        )
    return (
        replace(
            denial,
            reason=denial.reason if denial.kind != "unstated" else inner.reason,
            caller=denial.caller or inner.caller,
            action=denial.action or inner.action,
            resource=denial.resource or inner.resource,
            explicit_deny=denial.explicit_deny or inner.explicit_deny,
            context=inner.context,
            deny_statements=inner.deny_statements,
        ),
        None,
    )


def add_not_checked(observed: DenialEvidence, source: str, reason: str) -> DenialEvidence:
    """Add a source that could not be checked, with the reason."""
    return replace(observed, not_checked={**observed.not_checked, source: reason})


class _DenialObserver:
    """Reads a C(DenialEvidence), source by source."""

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
        except ApiError as error:
            self.record_not_checked(source, error.explanation)

    # --- The trust policy and the OIDC provider.

    def read_role(self, name: str) -> dict[str, Any]:
        try:
            found = call_api(self.get_client("iam", None), "GetRole", RoleName=get_role_name(name))["Role"]
        except ApiError as error:
            if error.code == "NoSuchEntity":
                other_account = self._get_other_account_reason(name)
                if other_account:
                    raise ApiError("iam", "GetRole", error.code, other_account) from error
                return {"missing_role": name}
            raise
        arn = str(found["Arn"])
        account = get_role_account(name)
        if account is None and self.denial.caller and self.denial.caller.role == get_role_name(name):
            account = self.denial.caller.account
        if account and account != arn.split(":")[4]:
            reason = f"the role is in the account {account}, and these credentials read {arn.split(':')[4]}."
            raise ApiError("iam", "GetRole", "OtherAccount", reason)
        boundary = (found.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
        return {"role": ObservedRole(arn, _parse_document(found.get("AssumeRolePolicyDocument")), boundary)}

    def _get_other_account_reason(self, name: str) -> str:
        """Get the reason why a role that was not found may exist in another account."""
        account = get_role_account(name)
        if account:
            here = str(call_api(self.get_client("sts", None), "GetCallerIdentity")["Account"])
            if account != here:
                return f"the role is in the account {account}, and these credentials read {here}."
        if self.denial.caller and self.denial.caller.role == get_role_name(name):
            # A session of the role made a request, so the role exists or existed then.
            return (
                f"the account of these credentials has no role {get_role_name(name)}. The session's account is "
                f"{self.denial.caller.account}"
            )
        return ""

    def read_provider(self) -> dict[str, Any]:
        arn = self.options.provider_arn
        if arn is None and self.options.cluster:
            cluster = call_api(self.get_client("eks", None), "DescribeCluster", name=self.options.cluster)["cluster"]
            issuer = ((cluster.get("identity") or {}).get("oidc") or {}).get("issuer")
            if not issuer:
                raise ApiError("eks", "DescribeCluster", "NoIssuer", f"{self.options.cluster} has no OIDC issuer yet")
            arn = OidcProvider.from_cluster(str(cluster["arn"]), str(issuer)).arn
        if arn is None:
            arn = self._build_provider_arn()
        return {"provider": OidcProvider.parse(arn)} if arn else {}

    def _build_provider_arn(self) -> Optional[str]:
        """Build the ARN from the message's issuer, in the account of the role or of these credentials."""
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
        except ApiError as error:
            if error.code == "NoSuchEntity":
                return {"provider_exists": False}
            raise
        return {"provider_exists": True, "client_ids": tuple(map(str, found.get("ClientIDList") or ()))}

    # --- The role's permissions.

    def read_policies(self, name: str) -> dict[str, Any]:
        return {"policies": tuple(self._list_policies(self.get_client("iam", None), name))}

    def _list_policies(self, iam: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for inline in paginate(iam, "ListRolePolicies", "PolicyNames", RoleName=name):
            yield (
                str(inline),
                _parse_document(call_api(iam, "GetRolePolicy", RoleName=name, PolicyName=inline)["PolicyDocument"]),
            )
        for attached in paginate(iam, "ListAttachedRolePolicies", "AttachedPolicies", RoleName=name):
            arn = attached["PolicyArn"]
            version = call_api(iam, "GetPolicy", PolicyArn=arn)["Policy"]["DefaultVersionId"]
            response = call_api(iam, "GetPolicyVersion", PolicyArn=arn, VersionId=version)
            yield str(arn), _parse_document(response["PolicyVersion"]["Document"])

    def read_tags(self, resource: str) -> dict[str, Any]:
        region = resource.split(":")[3] or None
        response = call_api(
            self.get_client("resourcegroupstaggingapi", region), "GetResources", ResourceARNList=[resource]
        )
        for mapping in response.get("ResourceTagMappingList") or ():
            if mapping["ResourceARN"] == resource:
                return {"tags": {tag["Key"]: tag["Value"] for tag in mapping.get("Tags") or ()}}
        return {"tags": {}}

    def simulate(self, principal: str, tags: Mapping[str, str]) -> Simulation:
        entries = [
            {"ContextKeyName": key, "ContextKeyValues": list(values), "ContextKeyType": _get_context_type(values)}
            for key, values in explain.build_context(self.denial, tags).items()
        ]
        arguments: dict[str, Any] = {"PolicySourceArn": principal, "ActionNames": [self.denial.action]}
        if self.denial.resource_arn:
            arguments["ResourceArns"] = [self.denial.resource_arn]
        if entries:
            arguments["ContextEntries"] = entries
        found = next(
            paginate(self.get_client("iam", None), "SimulatePrincipalPolicy", "EvaluationResults", **arguments)
        )
        boundary = found.get("PermissionsBoundaryDecisionDetail") or {}
        organization = found.get("OrganizationsDecisionDetail") or {}
        return Simulation(
            dict(tags),
            str(found["EvalDecision"]),
            tuple(dict.fromkeys(str(match.get("SourcePolicyId")) for match in found.get("MatchedStatements") or ())),
            tuple(map(str, found.get("MissingContextValues") or ())),
            boundary.get("AllowedByPermissionsBoundary"),
            organization.get("AllowedByOrganizations"),
        )


def _parse_document(document: Any) -> Mapping[str, Any]:
    """Parse a policy document: botocore decodes some of IAM's documents and returns others URL-encoded."""
    if isinstance(document, str):
        document = json.loads(unquote(document) if document.startswith("%7B") else document)
    return document if isinstance(document, Mapping) else {}


def _get_context_type(values: tuple[str, ...]) -> str:
    return "string" if len(values) == 1 else "stringList"


def _is_taggable(resource: Optional[str]) -> bool:
    return bool(resource and "*" not in resource and resource.startswith("arn:") and resource.count(":") >= 5)


def read_evidence(get_client: ClientFactory, denial: AccessDenial, options: ExplainOptions) -> DenialEvidence:
    """Read all evidence that the message refers to."""
    observer = _DenialObserver(get_client, denial, options)
    name = explain.choose_role(denial, options)
    if name is None:
        observer.record_not_checked("a role", "Neither the message nor the option role names a role.")
    else:
        observer.try_read(f"the role {get_role_name(name)}", lambda: observer.read_role(name))
    if options.cluster or options.provider_arn or denial.issuer:
        observer.try_read("the OIDC provider", observer.read_provider)
    provider = observer.observed.provider
    if provider is not None and denial.side != messages.PERMISSION:
        observer.try_read("the OIDC provider", lambda: observer.check_provider(provider))
    if denial.side == messages.PERMISSION:
        _read_permissions(observer)
    return observer.observed


def _read_permissions(observer: _DenialObserver) -> None:
    denial, options = observer.denial, observer.options
    caller = denial.caller
    if denial.kind in ("service_control_policy", "resource_control_policy", "vpc_endpoint_policy", "session_policy"):
        observer.record_not_checked(
            f"the {denial.kind.replace('_', ' ')}", "This module cannot read it: the message decides."
        )
        return
    if denial.kind == "resource_policy":
        observer.record_not_checked(
            "the policy of the resource", "Each service has its own API call for it: the message decides."
        )
        return
    if caller is None or denial.action is None:
        observer.record_not_checked("the caller's permissions", "The message does not name both caller and action.")
        return
    # The option role names the role whose trust policy is checked. The permissions are those of the caller.
    evidence = observer.observed
    if caller.role and options.role and get_role_name(options.role) != caller.role:
        other = _DenialObserver(observer.get_client, denial, ExplainOptions())
        other.try_read(f"the role {caller.role}", lambda: other.read_role(str(caller.role)))
        evidence = other.observed
        for source, reason in evidence.not_checked.items():
            observer.record_not_checked(source, reason)
    principal = evidence.role.arn if evidence.role else (None if caller.role else caller.arn)
    if _is_taggable(denial.resource):
        observer.try_read(f"the tags of {denial.resource}", lambda: observer.read_tags(str(denial.resource)))
    else:
        observer.record_not_checked(
            "the tags of the resource",
            f"{denial.resource or 'No resource is named'}: only a single resource has tags that can be read.",
        )
    if principal is None:
        observer.record_not_checked("the caller's permissions", f"The role {caller.role} could not be read.")
        return
    if caller.role:
        observer.try_read(f"the policies of {caller.role}", lambda: observer.read_policies(str(caller.role)))
    else:
        observer.record_not_checked(
            "the caller's policies",
            "Only policies of roles are read. The simulator evaluates the caller's nevertheless.",
        )
    tags = observer.observed.tags or {}
    observer.try_read("IAM's policy simulator", lambda: {"simulation": observer.simulate(principal, tags)})
    simulation = observer.observed.simulation
    missing_tags = explain.find_missing_tags(denial, observer.observed, options.cluster or "owned")
    if missing_tags is not None and simulation is not None and simulation.decision == explain.IMPLICIT_DENY:
        added = {**tags, **missing_tags.tags}
        observer.try_read(
            "IAM's policy simulator, with tags added",
            lambda: {
                "simulation_with_tags": replace(observer.simulate(principal, added), tags=dict(missing_tags.tags))
            },
        )
