# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""STS: AssumeRoleWithWebIdentity, which verifies the token and applies the trust policy. moto accepts any token."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from moto.core.responses import ActionResult
from moto.iam.models import IAMBackend, OpenIDConnectProvider, Role, iam_backends
from moto.sts.exceptions import STSClientError
from moto.sts.responses import TokenResponse

from .. import gate
from . import policy_language as language
from .clock import CLOCK
from .control import command
from .rules import rule

ACTION = "sts:AssumeRoleWithWebIdentity"
HASHES = {"RS256": hashes.SHA256(), "RS384": hashes.SHA384(), "RS512": hashes.SHA512()}
NO_KEY = (
    "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity "
    "documentation for requirements"
)
PUBLISHED: dict[str, dict[str, Any]] = {}  # key sets by issuer, of the tests' own issuers


@dataclass
class Settings:
    """The callers' addresses, which a trust policy can check besides the token."""

    source_ip: str = "198.51.100.7"


SETTINGS = Settings()


@command("sts/settings")
def set_settings(**changes: Any) -> None:
    """Restore the defaults, then apply the given changes. Drop all published keys."""
    SETTINGS.__init__(**changes)  # type: ignore[misc]  # the rule holds this very object
    PUBLISHED.clear()


@command("sts/publish")
def publish(issuer: str, keys: dict[str, Any]) -> None:
    """Publish the key set of an issuer (https://...), as at its jwks_uri."""
    PUBLISHED[issuer] = keys


def published_keys(issuer: str) -> dict[str, Any] | None:
    """Return the key set that an issuer publishes: a test's own issuer, or the bed's live cluster."""
    if issuer in PUBLISHED:
        return PUBLISHED[issuer]
    root = gate.ISSUERS.resolve()
    file = (root / issuer.partition("://")[2] / "keys").resolve()
    if not file.is_relative_to(root) or not file.is_file():
        return None
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def invalid(message: str) -> STSClientError:
    return STSClientError("InvalidIdentityToken", message)


@dataclass(frozen=True)
class Token:
    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, text: str) -> Token:
        try:
            head, body, signature = text.split(".")
            header, claims = json.loads(decoded(head)), json.loads(decoded(body))
            if not isinstance(header, dict) or not isinstance(claims, dict):
                raise ValueError("not objects")
            return cls(header, claims, f"{head}.{body}".encode(), decoded(signature))
        except ValueError as error:
            raise invalid(
                "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
            ) from error

    def claim(self, name: str) -> str:
        value = self.claims.get(name)
        if isinstance(value, list):
            value = value[0] if value else None
        if value in (None, ""):
            raise invalid(f"Missing a required claim: {name}")
        return str(value)


def decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def verify_signature(token: Token, issuer: str) -> None:
    """Verify by the key that the issuer publishes under the token's kid, and by RSA only: the header can choose no
    algorithm that uses a public key as a secret, and can bring no key of its own.
    """
    keys = published_keys(issuer)
    named = [key for key in (keys or {}).get("keys", []) if key.get("kid") == token.header.get("kid")]
    if not named:
        raise invalid(NO_KEY)
    algorithm = HASHES.get(str(token.header.get("alg")))
    if (
        algorithm is None
        or named[0].get("kty") != "RSA"
        or named[0].get("alg", token.header["alg"]) != token.header["alg"]
    ):
        raise invalid("The token's signature algorithm is not supported")
    numbers = [int.from_bytes(decoded(named[0][part]), "big") for part in ("e", "n")]
    try:
        rsa.RSAPublicNumbers(*numbers).public_key().verify(token.signature, token.signed, padding.PKCS1v15(), algorithm)
    except InvalidSignature as error:
        raise invalid("The token's signature is not valid") from error


def provider_of(backend: IAMBackend, token: Token) -> OpenIDConnectProvider:
    issuer = token.claim("iss")
    found = [provider for provider in backend.open_id_providers.values() if f"https://{provider.url}" == issuer]
    if not found:
        raise invalid(f"No OpenIDConnect provider found in your account for {issuer}")
    return found[0]


def verified(backend: IAMBackend, text: str) -> tuple[OpenIDConnectProvider, Token]:
    token = Token.parse(text)
    provider = provider_of(backend, token)
    token.claim("sub")
    if token.claim("azp" if "azp" in token.claims else "aud") not in provider.client_id_list:
        raise invalid("Incorrect token audience")
    verify_signature(token, token.claim("iss"))
    now, end = int(CLOCK.now().timestamp()), int(token.claim("exp"))
    if end <= now:
        raise STSClientError(
            "ExpiredTokenException",
            f"Token expired: current date/time {now} must be before the expiration date/time {end}",
        )
    return provider, token


def allows(role: Role, provider: OpenIDConnectProvider, token: Token, session: str) -> bool:
    """Return whether the role's trust policy allows the bearer: a statement allows it, and none denies it."""
    audience = token.claim("azp" if "azp" in token.claims else "aud")
    now = CLOCK.now()
    context = {
        f"{provider.url}:sub".lower(): [token.claim("sub")],
        f"{provider.url}:aud".lower(): [audience],
        "aws:federatedprovider": [provider.arn],
        "aws:sourceip": [SETTINGS.source_ip],
        "aws:securetransport": ["true"],
        "aws:currenttime": [now.isoformat()],
        "aws:epochtime": [str(int(now.timestamp()))],
        "sts:rolesessionname": [session],
    }
    effects = {
        statement["Effect"]
        for statement in language.statements(role.assume_role_policy_document)
        if language.concerns_action(statement, ACTION)
        and language.concerns_principal(statement, "Federated", provider.arn)
        and language.conditions_met(statement, context)
    }
    return "Allow" in effects and "Deny" not in effects


@rule(
    TokenResponse,
    "assume_role_with_web_identity",
    fact="STS takes a token only of a provider that the account has, for an audience that the provider knows, with a "
    "signature by the keys that the issuer publishes, before it expires, and for a role whose trust policy allows its "
    "subject. Its errors: No OpenIDConnect provider found, Incorrect token audience, Couldn't retrieve verification "
    "key, ExpiredTokenException, Request ARN is invalid, Not authorized to perform "
    "(docs/facts/irsa.md#accessdenied-messages); the messages for a wrong signature or algorithm are the test bed's",
)
def tokens_and_trust_are_verified(plain: Callable[..., Any], response: TokenResponse) -> ActionResult:
    arn, session = str(response._get_param("RoleArn")), str(response._get_param("RoleSessionName"))
    named = re.fullmatch(r"arn:(aws[a-z-]*):iam::(\d{12}):role/.+", arn)
    if named is None:
        raise STSClientError("ValidationError", "Request ARN is invalid")
    backend = iam_backends[named[2]][named[1]]
    provider, token = verified(backend, str(response._get_param("WebIdentityToken")))
    role = next((candidate for candidate in backend.roles.values() if candidate.arn == arn), None)
    if role is None or not allows(role, provider, token, session):
        raise STSClientError("AccessDenied", f"Not authorized to perform {ACTION}")
    result: Mapping[str, Any] = plain(response).result
    return ActionResult(
        {
            **result,
            "AssumedRoleUser": {**result["AssumedRoleUser"], "AssumedRoleId": f"{role.id}:{session}"},
            "SubjectFromWebIdentityToken": token.claim("sub"),
            "Audience": token.claim("azp" if "azp" in token.claims else "aud"),
            "Provider": provider.arn,
        }
    )
