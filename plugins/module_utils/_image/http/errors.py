# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of a request, with the service's message and a suggestion, and without its secrets.

Query strings (of presigned URLs) and Authorization headers are secrets: no error contains them.
"""

from __future__ import annotations

import base64
import html
import http.client
import json
import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

from ..errors import ImageError

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
ORIGIN_BOUND_HEADERS = frozenset({"authorization", "cookie"})

_RETRYABLE_STATUSES = frozenset({408, 425, 429}) | (frozenset(range(500, 600)) - {501, 505, 511})
# S3 sends these with status 400 and 409 for requests that may be retried.
_RETRYABLE_CODES = frozenset({"RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict"})
_EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})

_SUGGESTIONS = {
    "RequestTimeTooSkewed": "The clock of this host is wrong: set it.",
    "SignatureDoesNotMatch": "The signature does not match: check the secret key, and that no proxy rewrites requests.",
    "InvalidAccessKeyId": "The service does not know the access key: check the credentials of the controller.",
    "NoSuchBucket": "Check the bucket's name, its region and the endpoint.",
    "AccessDenied": "The signer has no permission: check its policy, the bucket policy and the KMS key policy.",
    "TOOMANYREQUESTS": "The registry limits the rate of requests: wait, or log in for a higher limit.",
}


class HttpError(ImageError):
    """A request that failed. The text contains no query string and no header.

    C(retryable): the same request may succeed later. C(transient): as C(retryable), also for a method that is not
    idempotent. C(expired): the URL or its credentials expired; sign it again.
    C(code) and C(service_error) are quoted from the service. C(headers) are those of the response, in lower case.
    """

    def __init__(
        self,
        method: str,
        url: str,
        problem: str,
        *,
        status: int | None = None,
        code: str = "",
        service_error: str = "",
        headers: Mapping[str, str] | None = None,
        retryable: bool = False,
        transient: bool = False,
        expired: bool = False,
        suggestion: str = "",
    ) -> None:
        self.method = method
        self.url = redact_url(url)
        self.problem = problem
        self.status = status
        self.code = code
        self.service_error = service_error
        self.headers: Mapping[str, str] = headers or {}
        self.retryable = retryable
        self.transient = transient or retryable
        self.expired = expired
        self.suggestion = suggestion
        self.attempts = 1
        super().__init__(problem)

    def __str__(self) -> str:
        attempts = f" ({self.attempts} attempts)" if self.attempts > 1 else ""
        return f"{self.method} {self.url}: {self.problem}{attempts}." + (
            f" {self.suggestion}" if self.suggestion else ""
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class HttpConnectError(HttpError):
    """No response: name resolution, connection, TLS, proxy, time-out or reset."""


class HttpStatusError(HttpError):
    """A response with another status than the accepted ones."""


class HttpBodyError(HttpError):
    """A body, of the request or the response, that is not as announced: short, too large, or another range."""


def redact_url(url: str) -> str:
    """Removes user, password, query string and fragment from a URL, so that it can be shown."""
    bare, mark, query = url.partition("?")
    bare = re.sub(r"//[^/]*@", "//", bare.partition("#")[0])
    return bare + ("?..." if mark and query else "")


def parse_basic_password(authorization: str) -> str:
    """Parses the password out of an Authorization header; an empty one where it has none."""
    scheme, _space, value = authorization.partition(" ")
    with suppress(ValueError):
        if scheme.lower() == "basic":
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
    return ""


def redact_text(text: str, url: str, headers: Mapping[str, str]) -> str:
    """Shortens a service's message and removes the secrets of the request, which some servers repeat in it.

    C(url): that of the request.
    """
    secrets = [value.partition("=")[2] for value in url.partition("?")[2].split("&")]
    for name, value in headers.items():
        if name.lower() in ORIGIN_BOUND_HEADERS:
            secrets += [value, value.partition(" ")[2], parse_basic_password(value)]
    for secret in secrets:
        for form in (secret, unquote(secret)):
            if len(form) >= 8:
                text = text.replace(form, "...")
    text = re.sub(r"(https?://[^\s?]*)\?\S*", r"\1?...", text)
    text = " ".join(re.sub(r"[^\x20-\x7e\u00a0-\uffff]", " ", text).split())
    return text if len(text) <= 300 else text[:297] + "..."


def parse_error_body(body: bytes) -> tuple[str, str]:
    """Parses code and message of an S3 error (XML) or of a registry's (JSON); takes the start of any other text."""
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        with suppress(ValueError, RecursionError):
            return _parse_json_error(json.loads(text))
    # No XML parser: two fields are sufficient, and entities of a hostile document must not be expanded.
    code = re.search(r"<Code>([^<]{1,100})</Code>", text)
    message = re.search(r"<Message>([^<]*)</Message>", text)
    if code:
        return code.group(1), html.unescape(message.group(1)) if message else ""
    title = re.search(r"<title>([^<]*)</title>", text, re.IGNORECASE)
    if title:
        return "", html.unescape(title.group(1))
    return "", html.unescape(re.sub(r"<[^>]{0,500}>", " ", text[:2000]))


def _parse_json_error(document: dict[str, Any]) -> tuple[str, str]:
    errors = document.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else document
    code = first.get("code") or first.get("error") or ""
    message = first.get("message") or first.get("error_description") or first.get("details") or ""
    return str(code)[:100], str(message)


def make_status_error(
    method: str,
    url: str,
    status: int,
    reason: str,
    headers: Mapping[str, str],
    body: bytes,
    request_headers: Mapping[str, str],
) -> HttpStatusError:
    """Makes the error of a status that is not accepted, with the service's message.

    C(reason), C(headers) and C(body) are those of the response.
    """

    def redact(text: str) -> str:
        return redact_text(text, url, request_headers)

    code, message = map(redact, parse_error_body(body))
    service_error = ": ".join(text for text in (code, message.rstrip(".")) if text)
    expired = code in _EXPIRED_CODES or (status in (400, 401, 403) and "expired" in message.lower())
    retryable = not expired and (status in _RETRYABLE_STATUSES or code in _RETRYABLE_CODES)
    return HttpStatusError(
        method,
        url,
        f"{status} {redact(reason)}".strip() + (f", {service_error}" if service_error else ""),
        status=status,
        code=code,
        service_error=service_error,
        headers=headers,
        retryable=retryable and method in IDEMPOTENT_METHODS,
        transient=retryable,
        expired=expired,
        suggestion=_get_suggestion(status, code, expired, headers),
    )


def make_no_response_error(method: str, url: str, error: Exception) -> HttpConnectError:
    """Makes the error of a connection that ended before the response."""
    problem = f"no response: {describe_os_error(error)}"
    return HttpConnectError(method, url, problem, retryable=method in IDEMPOTENT_METHODS, transient=True)


def make_connection_error(method: str, url: str, peer: str, error: Exception) -> HttpConnectError:
    """Makes the error of a failed connection. Nothing was sent, so every method may be retried if that can help."""
    retryable, suggestion = True, ""
    tunnel = re.match(r"Tunnel connection failed: (\d+)", str(error))
    if tunnel:
        retryable = int(tunnel.group(1)) >= 500
        suggestion = (
            "The proxy refuses the connection: check https_proxy, its user and password, and no_proxy on this host."
        )
    elif isinstance(error, ssl.SSLCertVerificationError):
        retryable, suggestion = (
            False,
            "If a private authority signed it, set ca_path to the authority's certificate on this host.",
        )
        if "match" in error.verify_message or "not valid for" in error.verify_message:
            suggestion = "The certificate is for another name: use a name of the certificate in the URL."
    elif isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        retryable, suggestion = False, "Check that this port uses TLS. A registry without TLS needs plain_http."
    elif isinstance(error, UnicodeError):
        retryable, suggestion = False, "No host has such a name: correct it."
    elif isinstance(error, socket.gaierror):
        retryable = error.errno == socket.EAI_AGAIN
        suggestion = "This host cannot resolve the name: check its DNS, or set a proxy."
    elif isinstance(error, socket.timeout):
        suggestion = "This host does not reach the service: check routes and firewalls, or set a proxy."
    return HttpConnectError(
        method,
        url,
        f"no connection to {peer}: {describe_os_error(error)}",
        retryable=retryable,
        suggestion=suggestion,
    )


def _get_suggestion(status: int, code: str, expired: bool, headers: Mapping[str, str]) -> str:
    if expired:
        return "The signed URL, or the credentials that signed it, expired: sign again with valid credentials."
    region = headers.get("x-amz-bucket-region", "")
    if region and (status in (301, 307, 400) or code == "AuthorizationHeaderMalformed"):
        return f"The bucket is in the region {region[:40]}: use that region."
    if status == 407:
        return "The proxy requires a user and a password: set them in the proxy variable of this host."
    return _SUGGESTIONS.get(code, "")


def describe_os_error(error: BaseException) -> str:
    """Describes a failure by the system's message, without any content of the request."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, socket.timeout):
        return "timed out"
    if isinstance(error, UnicodeError):
        return "it is no name that DNS can resolve"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the server closed the connection"
    if isinstance(error, http.client.HTTPException):
        return f"what the server sent is no HTTP ({type(error).__name__})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or type(error).__name__})"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return type(error).__name__
