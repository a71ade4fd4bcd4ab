# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ECR: authorization tokens, and what a caller's identity policies and the repository's policy allow.

docs/facts/image_transfer.md#ecrs-registry. Service control policies, session policies, groups of users, policies of
endpoints and registry policies have no effect. A condition on a key that is not in `context` does not hold.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from moto.ecr.exceptions import InvalidParameterException
from moto.ecr.models import Repository
from moto.iam.exceptions import NoSuchEntity
from moto.iam.models import iam_backends

from .. import paths, pki
from . import iam_simulate
from . import policy_language as language
from .caller_identity import OWN_USER
from .clock import CLOCK

VALID = timedelta(hours=12)


class WrongTokenError(Exception):
    """The password is no token of this ECR."""


class ExpiredTokenError(Exception):
    """The token is older than 12 hours."""


def refusal(code: str, message: str) -> Exception:
    """Make an error of the API. moto finds the service by the module of the class."""
    made: Exception = InvalidParameterException(code, message)
    return made


@dataclass(frozen=True)
class Caller:
    """Whom a token stands for."""

    arn: str
    account: str


@functools.cache
def _key() -> bytes:
    made = pki.secret("ecr-token-key") if paths.MARKER in os.environ else secrets.token_urlsafe(24)
    return made.encode()


def make_password(caller: Caller) -> tuple[str, datetime]:
    """Return a token's password, which has the form of ECR's, and the moment of its end."""
    end = (CLOCK.now() + VALID).replace(microsecond=0)
    payload = base64.b64encode(json.dumps({**asdict(caller), "nonce": secrets.token_hex(8)}).encode()).decode()
    document = {"payload": payload, "version": "2", "type": "DATA_KEY", "expiration": int(end.timestamp())}
    document["datakey"] = _sign(document)
    return base64.b64encode(json.dumps(document).encode()).decode(), end


def read_password(password: str) -> Caller:
    try:
        document = json.loads(base64.b64decode(password, validate=True))
        signature = str(document.pop("datakey"))
        if not hmac.compare_digest(signature.encode(), _sign(document).encode()):
            raise WrongTokenError
        payload = json.loads(base64.b64decode(document["payload"]))
        caller, end = Caller(payload["arn"], payload["account"]), float(document["expiration"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WrongTokenError from None
    if datetime.fromtimestamp(end, timezone.utc) <= CLOCK.now():
        raise ExpiredTokenError
    return caller


def _sign(document: dict[str, Any]) -> str:
    return hmac.new(_key(), json.dumps(document, sort_keys=True).encode(), hashlib.sha256).hexdigest()


# Permissions


def check(caller: Caller, action: str, resource: str, repository: Repository | None = None) -> None:
    """Refuse unless the policies allow the action. C(resource): an ARN, or C(*)."""
    identity = _by_identity(caller, action, resource)
    policy = _by_repository(caller, action, repository)
    same_account = resource == "*" or resource.split(":")[4] == caller.account
    if identity == "explicitDeny":
        raise _denied(caller, action, resource, "with an explicit deny in an identity-based policy")
    if policy == "explicitDeny":
        raise _denied(caller, action, resource, "with an explicit deny in a resource-based policy")
    if not same_account and policy != "allowed":
        raise _denied(caller, action, resource, f"because no resource-based policy allows the {action} action")
    if identity != "allowed" and not (same_account and policy == "allowed"):
        raise _denied(caller, action, resource, f"because no identity-based policy allows the {action} action")


def _denied(caller: Caller, action: str, resource: str, why: str) -> Exception:
    return refusal(
        "AccessDeniedException",
        f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource} {why}",
    )


def principal_of(caller: Caller) -> str:
    """The ARN of the user or the role. That of a session names its role without a path."""
    kind, _slash, name = caller.arn.split(":")[5].partition("/")
    if kind != "assumed-role":
        return caller.arn
    name = name.split("/")[0]
    roles = iam_backends[caller.account]["aws"].roles.values()
    found = next((role.arn for role in roles if role.name == name), "")
    return str(found) or f"arn:aws:iam::{caller.account}:role/{name}"


def _by_identity(caller: Caller, action: str, resource: str) -> str:
    if caller.arn in (OWN_USER, f"arn:aws:iam::{caller.account}:root"):
        return "allowed"  # the bed's own user may do everything
    try:
        return iam_simulate.decide(iam_backends[caller.account]["aws"], principal_of(caller), action, resource)
    except NoSuchEntity:
        return "implicitDeny"  # deleted meanwhile


def _by_repository(caller: Caller, action: str, repository: Repository | None) -> str:
    if repository is None or not repository.policy:
        return "implicitDeny"
    account = {caller.account, f"arn:aws:iam::{caller.account}:root"}
    own = {caller.arn, principal_of(caller)}
    context = {"aws:principalarn": [principal_of(caller)], "aws:principalaccount": [caller.account]}
    effects = set()
    for statement in language.statements(repository.policy):
        # In its own account, a policy that names the account leaves the decision to the identity policies.
        local_allow = statement["Effect"] == "Allow" and caller.account == repository.registry_id
        names = own if local_allow else own | account
        if (
            language.concerns_action(statement, action)
            and any(language.concerns_principal(statement, "AWS", name) for name in names)
            and language.conditions_met(statement, context)
        ):
            effects.add(statement["Effect"])
    return "explicitDeny" if "Deny" in effects else "allowed" if "Allow" in effects else "implicitDeny"
