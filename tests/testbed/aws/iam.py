# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM: refused trust policies, deleted principals, and stale reads after a write."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult, EmptyResult
from moto.iam.exceptions import LimitExceededException, MalformedPolicyDocument, NoSuchEntity
from moto.iam.models import AccountSummary, IAMBackend, Role, iam_backends
from moto.iam.responses import IamResponse

from .control import command
from .policy_language import TESTS, listed
from .rules import rule

ELEMENTS = {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Condition"}
DOMAINS = ("cognito-identity.amazonaws.com", "accounts.google.com", "graph.facebook.com", "www.amazon.com")
FACTS = "docs/facts/irsa.md#moto-differs; AWS's own message where it is known"
SIZE_FACTS = "docs/facts/irsa.md#trust-policy-size"
PRINCIPAL_FACTS = "docs/facts/irsa.md#deleted-principals"


@dataclass
class Settings:
    """What differs from the defaults in this account."""

    trust_quota: int = 2048  # characters of a trust policy
    stale_reads: int = 0  # this many reads of a role after its next writes show the previous state


SETTINGS = Settings()


@command("iam/settings")
def set_settings(**changes: Any) -> None:
    """Restore the defaults, then apply the given changes."""
    SETTINGS.__init__(**changes)  # type: ignore[misc]  # the rules hold this very object


@command("iam/trust")
def set_trust(role: str, document: dict[str, Any], partition: str = "aws") -> None:
    """Set a trust policy that only the past allowed: with deleted principals, or over the quota."""
    iam_backends[DEFAULT_ACCOUNT_ID][partition].get_role(role).assume_role_policy_document = json.dumps(document)


def malformed(message: str) -> MalformedPolicyDocument:
    return MalformedPolicyDocument(message)


def check_trust(backend: IAMBackend, text: str) -> None:
    """Refuse the trust policies that IAM refuses."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise malformed("This policy contains invalid Json") from error
    if not isinstance(document, dict) or document.get("Version", "2012-10-17") not in ("2008-10-17", "2012-10-17"):
        raise malformed("Syntax errors in policy.")
    statements = listed(document.get("Statement", []))
    if not statements:
        raise malformed("Could not parse the policy: Statement is empty!")
    sids = [statement["Sid"] for statement in statements if statement.get("Sid")]
    if len(sids) != len(set(sids)):
        raise malformed("Statement IDs (SID) in a single policy must be unique.")
    for statement in statements:
        check_statement(statement)
        for kind, name in principals(statement):
            check_principal(backend, kind, name)
    size = len(re.sub(r"\s", "", text))
    if size > SETTINGS.trust_quota:
        raise LimitExceededException(f"Cannot exceed quota for ACLSizePerRole: {SETTINGS.trust_quota}")


def check_statement(statement: dict[str, Any]) -> None:
    for name in ("Resource", "NotResource"):
        if name in statement:
            raise malformed(f"Has prohibited field {name}")
    if "Principal" not in statement and "NotPrincipal" not in statement:
        raise malformed("Missing required field Principal")
    if not set(statement) <= ELEMENTS or statement.get("Effect") not in ("Allow", "Deny"):
        raise malformed("Syntax errors in policy.")
    actions = listed(statement.get("Action", statement.get("NotAction", [])))
    if not actions:
        raise malformed("Missing required field Action")
    if not all(str(name).lower().startswith("sts:") for name in actions):
        raise malformed("AssumeRole policy may only specify STS AssumeRole actions.")
    for operator, keys in statement.get("Condition", {}).items():
        test = operator.rpartition(":")[2].removesuffix("IfExists")
        if test != "Null" and test.replace("Not", "", 1) not in TESTS:
            raise malformed(f"Invalid Condition type : {operator}.")
        if not keys or any(value == [] for value in keys.values()):
            raise malformed("Syntax errors in policy.")


def principals(statement: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for element in ("Principal", "NotPrincipal"):
        given = statement.get(element, {})
        if given == "*":
            continue
        if not isinstance(given, dict) or (element in statement and not given):
            raise malformed("Invalid principal in policy.")
        for kind, names in given.items():
            if not listed(names):
                raise malformed("Invalid principal in policy.")
            yield from ((kind, str(name)) for name in listed(names))


def check_principal(backend: IAMBackend, kind: str, name: str) -> None:
    unknown = malformed(f'Invalid principal in policy: "{kind.upper() if kind == "Federated" else kind}":"{name}"')
    if kind == "Federated":
        if name in DOMAINS or name == "*":
            return
        if not re.match(r"arn:[a-z-]+:iam::\d+:(oidc|saml)-provider/.", name):
            raise malformed("Federated principals must be valid domain names or SAML metadata ARNs")
        if name not in backend.open_id_providers and name not in backend.saml_providers:
            raise unknown
    elif kind == "AWS":
        own = f":iam::{backend.account_id}:"
        if re.fullmatch(r"\d{12}|\*", name) or name.endswith(":root"):
            return
        if not name.startswith("arn:"):  # AROA..., AIDA...: the id of a deleted principal
            raise unknown
        if own in name and name not in {
            principal.arn for principal in (*backend.roles.values(), *backend.users.values())
        }:
            raise unknown
    elif kind != "Service":
        raise malformed("Syntax errors in policy.")


@rule(
    IAMBackend,
    "update_assume_role_policy",
    fact="IAM refuses trust policies without statement or Principal, with an empty list of values, with a provider or "
    "principal that does not exist (AROA... and AIDA... ids among them), and over the quota: LimitExceeded, 409. It "
    f"takes sts:*, sts:SetContext and a missing Version, which moto refuses ({FACTS})",
)
def trust_policies_are_checked(
    plain: Callable[..., Any], backend: IAMBackend, role_name: str, policy_document: str
) -> None:
    role = backend.get_role(role_name)
    check_trust(backend, policy_document)
    role.testbed_before = [role.assume_role_policy_document] * SETTINGS.stale_reads
    role.assume_role_policy_document = policy_document


@rule(
    IAMBackend,
    "create_role",
    fact=f"A new role's trust policy is checked like any other; moto takes any text ({FACTS})",
)
def trust_policies_of_new_roles_are_checked(
    plain: Callable[..., Any],
    backend: IAMBackend,
    role_name: str,
    assume_role_policy_document: str,
    *args: Any,
    **kw: Any,
) -> Role:
    if kw.get("linked_service") is None:
        check_trust(backend, assume_role_policy_document)
    made: Role = plain(backend, role_name, assume_role_policy_document, *args, **kw)
    return made


def forget(backend: IAMBackend, arn: str, identifier: str) -> None:
    for role in backend.roles.values():
        document = json.loads(role.assume_role_policy_document)
        for statement in listed(document.get("Statement", [])):
            for element in ("Principal", "NotPrincipal"):
                given = statement.get(element)
                if isinstance(given, dict) and arn in listed(given.get("AWS", [])):
                    names = [identifier if name == arn else name for name in listed(given["AWS"])]
                    given["AWS"] = names if isinstance(given["AWS"], list) else names[0]
                    role.assume_role_policy_document = json.dumps(document)


@rule(
    IAMBackend,
    "delete_role",
    fact=f"A deleted role reads back as its id, AROA..., wherever a trust policy named it ({PRINCIPAL_FACTS})",
)
def deleted_roles_leave_their_id(plain: Callable[..., Any], backend: IAMBackend, role_name: str) -> None:
    role = backend.get_role(role_name)
    plain(backend, role_name)
    forget(backend, role.arn, role.id)


@rule(
    IAMBackend,
    "delete_user",
    fact=f"A deleted user reads back as its id, AIDA..., wherever a trust policy named it ({PRINCIPAL_FACTS})",
)
def deleted_users_leave_their_id(plain: Callable[..., Any], backend: IAMBackend, user_name: str) -> None:
    user = backend.get_user(user_name)
    plain(backend, user_name)
    forget(backend, user.arn, f"AIDA{user.id.upper()}")


def shown(role: Role) -> Role:
    """Return the role as a read shows it, which can be stale."""
    late = getattr(role, "testbed_before", None)
    if not late:
        return role
    old = copy.copy(role)
    old.assume_role_policy_document = late.pop()
    return old


@rule(
    IamResponse,
    "get_role",
    fact="IAM is eventually consistent: a read can show the state before a write "
    "(docs/facts/irsa.md#concurrent-writers)",
)
def roles_are_shown_late(plain: Callable[..., Any], response: IamResponse) -> ActionResult:
    return ActionResult({"Role": shown(plain(response).result["Role"])})


@rule(
    IamResponse,
    "list_roles",
    fact="IAM is eventually consistent: a list can show the state before a write "
    "(docs/facts/irsa.md#concurrent-writers)",
)
def listed_roles_are_shown_late(plain: Callable[..., Any], response: IamResponse) -> ActionResult:
    result = plain(response).result
    return ActionResult({**result, "Roles": [shown(role) for role in result["Roles"]]})


@rule(
    IAMBackend,
    "get_account_summary",
    fact=f"GetAccountSummary returns the account's own quota as AssumeRolePolicySizeQuota ({SIZE_FACTS}); moto's is "
    "fixed",
)
def the_quota_is_the_accounts_own(plain: Callable[..., Any], backend: IAMBackend) -> AccountSummary:
    summary: AccountSummary = plain(backend)
    summary._assume_role_policy_size_quota = SETTINGS.trust_quota
    return summary


@rule(
    IamResponse,
    "add_client_id_to_open_id_connect_provider",
    fact="AddClientIDToOpenIDConnectProvider adds an audience, and does nothing where it exists (API reference)",
    new=True,
)
def audiences_can_be_added(plain: None, response: IamResponse) -> EmptyResult:
    provider = response.backend.get_open_id_connect_provider(str(response.params["OpenIDConnectProviderArn"]))
    client = str(response.params["ClientID"])
    if client not in provider.client_id_list:
        provider.client_id_list.append(client)
    return EmptyResult()


@rule(
    IAMBackend,
    "delete_open_id_connect_provider",
    fact="A provider that does not exist cannot be deleted: NoSuchEntity (API reference, Errors); moto reports none",
)
def missing_providers_are_not_deleted(plain: Callable[..., Any], backend: IAMBackend, arn: str) -> None:
    if arn not in backend.open_id_providers:
        raise NoSuchEntity(f"OpenIDConnect Provider not found for arn {arn}")
    plain(backend, arn)
