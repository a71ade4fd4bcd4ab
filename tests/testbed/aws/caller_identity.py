# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""STS: the caller's identity. A presigned GetCallerIdentity, which an EKS token contains, is verified completely."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl, quote

from moto.iam.models import iam_backends
from moto.sts.models import STSBackend, sts_backends
from moto.sts.responses import TokenResponse

from .. import paths, s3
from .clock import CLOCK
from .rules import rule

OWN_USER = f"arn:aws:iam::{paths.ACCOUNT}:user/testbed"  # the owner of the bed's own keys
OWN_USER_ID = "AIDATESTBED0000000000"
VALID = timedelta(minutes=15)  # of a presigned request to STS; X-Amz-Expires has no effect
CLOCK_SKEW = timedelta(minutes=5)  # of a caller's clock


@dataclass(frozen=True)
class Key:
    secret: str
    token: str | None = None
    expiration: datetime | None = None


class RefusedError(Exception):
    """A refusal: the code and the message of STS's response."""


def own_key() -> tuple[str, str]:
    """Return the key of the account's first user: the bed's, or the one in the environment of a test's own AWS."""
    if paths.MARKER in os.environ:
        return s3.access_key(), s3.secret_key()
    return os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")


def key_of(backend: STSBackend, key_id: str) -> Key | None:
    """Find an access key: of the account's first user, of a session, of a user."""
    own_id, own_secret = own_key()
    if key_id == own_id:
        return Key(own_secret)
    if session := backend.get_assumed_role_from_access_key(key_id):
        return Key(session.secret_access_key, session.session_token, session.expiration)
    for user in iam_backends[backend.account_id]["aws"].users.values():
        for key in user.access_keys:
            if key.access_key_id == key_id and key.status == "Active":
                return Key(key.secret_access_key)
    return None


def caller(account: str, region: str, authorization: str) -> str:
    """Return the ARN of the request's signer, by the key in its Authorization header."""
    key_id = authorization.partition("Credential=")[2].partition("/")[0]
    arn: str = sts_backends[account]["aws"].get_caller_identity(key_id, region)[1]
    return arn


@rule(
    STSBackend,
    "get_caller_identity",
    fact="A caller is a user, a role's session or the account itself (STS API reference); moto invents one",
)
def the_account_has_a_user(
    plain: Callable[..., Any], backend: STSBackend, access_key_id: str, region: str
) -> tuple[str, str, str]:
    if access_key_id == own_key()[0]:
        return OWN_USER_ID, OWN_USER, backend.account_id
    identity: tuple[str, str, str] = plain(backend, access_key_id, region)
    return identity


@rule(
    TokenResponse,
    "get_caller_identity",
    fact="A presigned request is valid for 15 minutes, by its signature over every signed header, x-k8s-aws-id among "
    "them; a request for JSON gets JSON (aws-iam-authenticator's source, which relies on both)",
)
def presigned_requests_are_checked(plain: Callable[..., Any], response: TokenResponse) -> Any:
    query = dict(parse_qsl(response.parsed_url.query, keep_blank_values=True))
    if "X-Amz-Signature" not in query:
        return plain(response)
    try:
        key_id = check_signature(response, query)
    except RefusedError as error:
        return 403, {"Content-Type": "text/xml", "status": 403}, error_xml(*error.args)
    user_id, arn, account = response.backend.get_caller_identity(key_id, response.region)
    if response.headers.get("Accept") != "application/json":
        found = {"UserId": user_id, "Account": account, "Arn": arn}
        return 200, {"Content-Type": "text/xml"}, xml(found)
    document = {
        "GetCallerIdentityResponse": {
            "GetCallerIdentityResult": {"Account": account, "Arn": arn, "UserId": user_id},
            "ResponseMetadata": {"RequestId": "testbed"},
        }
    }
    return 200, {"Content-Type": "application/json"}, json.dumps(document)


def xml(found: dict[str, str]) -> str:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in found.items())
    return (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<GetCallerIdentityResult>{inner}</GetCallerIdentityResult>"
        "<ResponseMetadata><RequestId>testbed</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )


def error_xml(code: str, message: str) -> str:
    inner = f"<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>"
    return f"<ErrorResponse><Error>{inner}</Error><RequestId>testbed</RequestId></ErrorResponse>"


def check_signature(response: TokenResponse, query: dict[str, str]) -> str:
    """Verify a presigned request as STS does, and return the access key that signed it."""
    key_id, day, region, service, _terminator = (query["X-Amz-Credential"].split("/") + [""] * 5)[:5]
    key = key_of(response.backend, key_id)
    if key is None or query.get("X-Amz-Security-Token") != key.token:
        raise RefusedError("InvalidClientTokenId", "The security token included in the request is invalid.")
    signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    now = CLOCK.now()
    if key.expiration and key.expiration.replace(tzinfo=timezone.utc) < now:
        raise RefusedError("ExpiredToken", "The security token included in the request is expired")
    if now > signed_at + VALID:
        raise RefusedError("SignatureDoesNotMatch", f"Signature expired: {query['X-Amz-Date']} is now too early")
    if signed_at > now + CLOCK_SKEW:
        raise RefusedError("SignatureDoesNotMatch", f"Signature not yet current: {query['X-Amz-Date']} is still later")
    headers = query["X-Amz-SignedHeaders"].split(";")
    canonical = "\n".join(
        [
            response.method,
            "/",
            "&".join(f"{_escaped(n)}={_escaped(v)}" for n, v in sorted(query.items()) if n != "X-Amz-Signature"),
            *(f"{name}:{' '.join(str(response.headers.get(name, '')).split())}" for name in headers),
            "",
            ";".join(headers),
            hashlib.sha256(response.body.encode() if isinstance(response.body, str) else response.body).hexdigest(),
        ]
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", query["X-Amz-Date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing = f"AWS4{key.secret}".encode()
    for word in (day, region, service, "aws4_request"):
        signing = hmac.digest(signing, word.encode(), "sha256")
    signature = hmac.new(signing, text.encode(), "sha256").hexdigest()
    if service != "sts" or not hmac.compare_digest(signature, query["X-Amz-Signature"]):
        raise RefusedError(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.",
        )
    return key_id


def presigned(app: Any) -> Any:
    """Wrap moto's WSGI application, which finds the service in the Authorization header only. A presigned request has
    the same in its query."""

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        if "X-Amz-Credential" in query and "HTTP_AUTHORIZATION" not in environ:
            signed = {"Credential": query["X-Amz-Credential"], "SignedHeaders": query.get("X-Amz-SignedHeaders", "")}
            fields = ", ".join(f"{name}={value}" for name, value in signed.items())
            environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 {fields}"
        answer: Iterable[bytes] = app(environ, start_response)
        return answer

    return serve


def _escaped(text: str) -> str:
    return quote(text, safe="-_.~")
