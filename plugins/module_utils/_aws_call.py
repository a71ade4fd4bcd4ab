# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call to an AWS service by its API name, with a ready botocore client. Errors are independent of botocore.

Every failure of a call is an ApiError: a refusal, a broken connection, missing credentials, and a response that is not
AWS's. See docs/facts/calls.md.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Optional

# OSError: a file of credentials or certificates that cannot be read, a broken connection.
CLIENT_ERRORS: tuple[type[Exception], ...] = (OSError, HTTPException)
try:
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError  # a response of something in between, such as a proxy's page

    CLIENT_ERRORS += (BotoCoreError, ClientError, ResponseParserError)
except ImportError:  # without botocore, nothing can raise these
    pass
try:
    from urllib3.exceptions import HTTPError

    CLIENT_ERRORS += (HTTPError,)
except ImportError:
    pass

DENIED_CODES = (
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "AuthorizationError",
    "AuthorizationErrorException",
)
THROTTLING_CODES = (
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
    "PriorRequestNotComplete",
)
NOT_AWS_CODE = "NotAnAwsResponse"
_REQUEST_ID_HEADERS = frozenset(("x-amzn-requestid", "x-amzn-request-id", "x-amz-request-id"))
_MISSING_CREDENTIAL_CODES = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "MetadataRetrievalError",
    "NoAuthTokenError",
    "ProfileNotFound",
    "InvalidConfigError",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
)
_EXPIRED_CODES = (
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "TokenRefreshRequired",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
    "SSOTokenLoadError",
    "SSOError",
)
_REJECTED_CREDENTIAL_CODES = (
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
    "AuthFailure",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "InvalidToken",
)
# The request never reached a service with these: botocore raises them before it has sent the request.
_UNSENT_CODES = (
    *_MISSING_CREDENTIAL_CODES,
    *_EXPIRED_CODES,
    "ParamValidationError",
    "NoRegionError",
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ProxyConnectionError",
    "UnknownEndpointError",
    "EndpointProviderError",
    "FileNotFoundError",
    "PermissionError",
)
_CONNECTION_CODES = (
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ProxyConnectionError",
    "ConnectionClosedError",
    "ReadTimeoutError",
    "HTTPClientError",
    "ResponseStreamingError",
    "IncompleteReadError",
    "IncompleteRead",
    "ProtocolError",
    "ConnectionResetError",
    "BrokenPipeError",
)
_READ_PREFIXES = ("Describe", "List", "Get", "Head", "Lookup", "Search", "Simulate", "Decode", "Assume", "BatchGet")
_IAM_PREFIXES = {"monitoring": "cloudwatch", "tagging": "tag"}  # where a policy's prefix is not the signing name
_XML_PROLOGUE = r"(?:<\?.*?\?>|<!--.*?-->|\s)*"
# The clause of a denial that names the kind of policy (docs/facts/autostop.md#denials).
_DENYING_POLICY = re.compile(
    r"(?:explicit deny in an?|because no) ([\w -]+? policy|permissions boundary)\b", re.IGNORECASE
)
_PAGE_TOKENS = {"NextToken": "NextToken", "nextToken": "nextToken", "Marker": "Marker", "NextMarker": "Marker"}


class ApiError(Exception):
    """A failed call: service, operation, endpoint, the error code, and the service's own message.

    C(outcome_unknown): the call was a write, and AWS may have done it, although no response says so.
    """

    def __init__(
        self,
        service: str,
        operation: str,
        code: str,
        message: str,
        *,
        endpoint: str = "",
        action: str = "",
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(f"{operation}: {code}: {message.rstrip().rstrip('.')}")
        self.service = service
        self.operation = operation
        self.code = code
        self.message = message
        self.endpoint = endpoint
        self.action = action or f"{service}:{operation}"
        self.outcome_unknown = outcome_unknown

    @property
    def is_credential_error(self) -> bool:
        """Whether the credentials are the cause, so that no other call can succeed with them."""
        return self.code in (*_MISSING_CREDENTIAL_CODES, *_EXPIRED_CODES, *_REJECTED_CREDENTIAL_CODES)

    @property
    def denying_policy(self) -> Optional[str]:
        """The kind of policy that denied the call, as AWS names it. None: AWS names none, or it is no denial."""
        match = _DENYING_POLICY.search(" ".join(self.message.split())) if self.code in DENIED_CODES else None
        return match.group(1).lower() if match else None

    @property
    def is_denied_by_organization(self) -> bool:
        """Whether a service control policy denied the call, which no policy of the account can change."""
        return self.denying_policy == "service control policy"

    @property
    def suggestion(self) -> str:
        """What an operator can do, as far as the error shows."""
        remediation = self._get_remediation()
        if self.outcome_unknown:
            return f"It is not known whether AWS did it. {remediation}"
        return remediation

    @property
    def explanation(self) -> str:
        """The whole message for people: what failed, why, and what to do."""
        return f"{self}. {self.suggestion}"

    def _get_remediation(self) -> str:
        if self.code in DENIED_CODES:
            if "explicit deny" in self.message:
                return f"A policy denies {self.action} explicitly: change that policy. An Allow does not help."
            if self.denying_policy not in (None, "identity-based policy"):
                return f"Allow {self.action} in the {self.denying_policy} as well."
            return f"Allow {self.action} to these credentials."
        if self.code in _EXPIRED_CODES:
            return "The AWS credentials have expired or cannot be renewed. Renew them, then run again."
        if self.code in _MISSING_CREDENTIAL_CODES:
            return "Give AWS credentials: keys, a profile, or a role of this host. Then run again."
        if self.code in _REJECTED_CREDENTIAL_CODES:
            return "AWS does not accept these credentials. Check the keys, the session token and this host's clock."
        if self.code in THROTTLING_CODES:
            return "AWS throttled every retry. Run again later."
        if self.code == NOT_AWS_CODE:
            return "Check the endpoint URL, and what is between this host and AWS, such as a proxy. Then run again."
        if self.code == "SSLError":
            return "Check the certificate of the endpoint, and the certificate authorities of this host."
        if self.code in _CONNECTION_CODES:
            endpoint = f"to {self.endpoint}" if self.endpoint else "to AWS"
            return f"Check the network {endpoint}, the proxy and the region. Then run again."
        if self.code == "NoRegionError":
            return "Set the region."
        return "Fix the cause, then run again."


class ServiceResponse(dict[str, Any]):
    """A response whose missing keys are an ApiError: what AWS always sends is missing, so it is not from AWS."""

    _origin: Optional[_Call] = None

    @classmethod
    def from_parsed(cls, parsed: Mapping[str, Any], origin: _Call) -> ServiceResponse:
        response = cls((key, cls._convert(value, origin)) for key, value in parsed.items())
        response._origin = origin
        return response

    @classmethod
    def _convert(cls, value: Any, origin: _Call) -> Any:
        if isinstance(value, dict):
            return cls.from_parsed(value, origin)
        return [cls._convert(entry, origin) for entry in value] if isinstance(value, list) else value

    def __reduce__(self) -> Any:
        """A copy is a plain dict: it is the caller's own."""
        return dict, (dict(self),)

    def __missing__(self, key: str) -> Any:
        if self._origin is None:
            raise KeyError(key)
        raise self._origin.make_response_error(f"the response has no {key}")


@dataclass
class _Call:
    """A call in progress, as the client's events show it. C(attempt_unknown): an attempt ended without a response that
    tells whether AWS did it. Botocore retries, and the response of a later attempt is about that attempt alone."""

    client: Any
    operation: str
    has_response: bool = False
    attempt_unknown: bool = False
    failure_page: str = ""  # what the last response was, if it was a failure that is not AWS's

    @property
    def endpoint(self) -> str:
        return str(getattr(getattr(self.client, "meta", None), "endpoint_url", ""))

    def make_error(self, code: str, message: str) -> ApiError:
        service_model = getattr(getattr(self.client, "meta", None), "service_model", None)
        return ApiError(
            str(getattr(service_model, "service_name", "")),
            self.operation,
            code,
            message,
            endpoint=self.endpoint,
            action=get_iam_action(self.client, self.operation) if service_model else "",
            outcome_unknown=self.attempt_unknown and not self.operation.startswith(_READ_PREFIXES),
        )

    def make_response_error(self, description: str) -> ApiError:
        """What answered may have passed the request on, so a write may have been done."""
        self.attempt_unknown = True
        return self.make_error(
            NOT_AWS_CODE, f"the endpoint {self.endpoint} answered something that is not AWS: {description}"
        )


class _UnexpectedResponseError(Exception):
    """Raised while botocore handles a response that is not AWS's."""


def is_outcome_unknown(error: Exception) -> bool:
    """Whether a request may have been done in spite of this exception of the client library."""
    response = getattr(error, "response", None)  # None in botocore's errors of a connection
    if isinstance(response, Mapping):
        return _is_server_failure(response)
    name, text = type(error).__name__, str(error).lower()
    return name not in _UNSENT_CODES and not (name == "SSLError" and "certificate" in text)


def _is_server_failure(response: Mapping[str, Any]) -> bool:
    """Whether the service failed. It has then done the request, a part of it, or nothing."""
    code = str((response.get("Error") or {}).get("Code") or "")
    status = int((response.get("ResponseMetadata") or {}).get("HTTPStatusCode") or 0)
    return code.startswith("RequestTimeout") or (status >= 500 and code not in THROTTLING_CODES)


_current = threading.local()
_register_lock = threading.Lock()


def get_method_name(operation: str) -> str:
    """The name of botocore's method: GetOpenIDConnectProvider is get_open_id_connect_provider."""
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", operation)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", parted).lower()


def get_iam_action(client: Any, operation: str) -> str:
    """The name of the action in an IAM policy, such as C(cloudwatch:PutMetricData)."""
    signing = client.meta.service_model.signing_name
    return f"{_IAM_PREFIXES.get(signing, signing)}:{operation}"


def call_api(client: Any, operation: str, **arguments: Any) -> Mapping[str, Any]:
    """The service's response.

    Raises ApiError, also where no service answered; C(code) is then the name of the client library's exception.
    """
    call = _Call(client, operation)
    _add_checks(client)
    method = getattr(client, get_method_name(operation))
    _current.call = call
    try:
        response = method(**arguments)
    except _UnexpectedResponseError as error:
        raise call.make_response_error(str(error)) from error
    except CLIENT_ERRORS as error:
        raise _make_call_error(error, call) from error
    except Exception as error:  # botocore's parsers raise KeyError and the like on other data
        if not call.has_response:
            raise
        raise call.make_response_error(f"{type(error).__name__}: {error}") from error
    finally:
        _current.call = None
    return ServiceResponse.from_parsed(response or {}, call)


def _make_call_error(error: Exception, call: _Call) -> ApiError:
    if type(error).__name__ == "ResponseParserError":
        return call.make_response_error(_shorten(str(error)))
    call.attempt_unknown |= is_outcome_unknown(error)
    if call.failure_page:
        return call.make_response_error(call.failure_page)
    response = getattr(error, "response", None)
    details = (response.get("Error") if isinstance(response, Mapping) else None) or {}
    code = str(details.get("Code") or type(error).__name__)
    return call.make_error(code, _shorten(str(details.get("Message") or error)))


def paginate(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
    """Every entry of every page. A token that the service returns twice would loop endlessly: it is an error."""
    used_tokens: set[str] = set()
    next_page: dict[str, str] = {}
    while True:
        response = call_api(client, operation, **arguments, **next_page)
        if key not in response and _is_json(client) and "ResponseMetadata" in response:
            response[key]  # raises: in JSON, AWS sends an empty list, too
        yield from response.get(key) or ()
        tokens = {name: str(response[field]) for field, name in _PAGE_TOKENS.items() if response.get(field)}
        if not tokens or response.get("IsTruncated") is False:
            return
        next_page = dict([tokens.popitem()])
        (token,) = next_page.values()
        if token in used_tokens:
            raise _Call(client, operation).make_error("RepeatedToken", "the service returned the same page twice")
        used_tokens.add(token)


# -- responses that are not AWS's


def _add_checks(client: Any) -> None:
    """Registers the checks with the client once. A client of a test that has no events is not checked."""
    events = getattr(getattr(client, "meta", None), "events", None)
    if events is None or getattr(client.meta, "daytwo_registered", False):
        return
    with _register_lock:
        if not getattr(client.meta, "daytwo_registered", False):
            events.register_first("before-parse", _check_response)
            events.register("response-received", _record_attempt)
            client.meta.daytwo_registered = True


def _record_attempt(
    exception: Optional[Exception] = None, parsed_response: Optional[Mapping[str, Any]] = None, **_dummy: Any
) -> None:
    """Notes an attempt that may have been done. The response of a later attempt does not tell."""
    call: Optional[_Call] = getattr(_current, "call", None)
    if call is None:
        return
    if exception is not None:
        call.attempt_unknown |= is_outcome_unknown(exception)
    elif parsed_response:
        call.attempt_unknown |= _is_server_failure(parsed_response)


def _check_response(operation_model: Any, response_dict: dict[str, Any], **_dummy: Any) -> None:
    call: Optional[_Call] = getattr(_current, "call", None)
    if call is None:
        return
    reason = find_mismatch(operation_model, response_dict)
    status, headers = int(response_dict["status_code"]), response_dict["headers"]
    description = f"{reason} (status {status}, {headers.get('content-type') or 'no content type'})"
    call.has_response, call.failure_page = True, ""
    if reason and status < 500:
        raise _UnexpectedResponseError(description)
    if reason:  # without the page, botocore sees the status alone, and retries
        call.failure_page, response_dict["body"] = description, b""


def find_mismatch(operation_model: Any, response_dict: Mapping[str, Any]) -> Optional[str]:
    """Why a response cannot be AWS's, by the protocol's own rules (docs/facts/calls.md#responses); None if it can."""
    status, body = int(response_dict["status_code"]), response_dict["body"]
    if not isinstance(body, bytes):  # a stream
        return None
    protocol = _get_protocol(operation_model.service_model)
    text = body.decode("utf-8", "replace").strip()
    if re.match(_XML_PROLOGUE + r"<(?:!doctype )?html\b", text, re.IGNORECASE | re.DOTALL):
        return f"an HTML page, {_shorten(text)!r}"
    if protocol == "rest-xml" and text and not text.startswith("<"):
        return f"no XML, {_shorten(text)!r}"
    if status >= 300:
        redirected = status < 400 and protocol != "rest-xml"  # S3 redirects to a bucket's region
        return f"a redirect to {response_dict['headers'].get('location')}" if redirected else None
    if protocol in ("query", "ec2"):
        return _find_xml_mismatch(text, operation_model)
    members = _get_body_members(operation_model.output_shape)
    if members is None:
        return None
    if protocol != "rest-xml" and not members and not _REQUEST_ID_HEADERS & {*map(str.lower, response_dict["headers"])}:
        # Nothing else tells the response of an operation without output from that of any other server.
        return f"a response without a request id, {_shorten(text)!r}"
    if protocol in ("json", "rest-json"):
        return _find_json_mismatch(text, members)
    if protocol == "rest-xml" and members:  # the root element's name is in no model
        if not text:
            return "an empty body"
        if not any(re.search(rf"<(?:[\w.-]+:)?{name}[\s/>]", text) for name in members):
            return f"XML with none of {', '.join(sorted(members)[:3])}, {_shorten(text)!r}"
    return None


def _find_xml_mismatch(text: str, operation_model: Any) -> Optional[str]:
    """The element of a response is named after the operation, also where the operation has no output."""
    if not text:
        return "an empty body"
    root = re.match(_XML_PROLOGUE + r"<(?:[\w.-]+:)?([\w.-]+)", text, re.DOTALL)
    if root is None:
        return f"no XML, {_shorten(text)!r}"
    if not root.group(1).endswith("Response") or root.group(1) == "ErrorResponse":
        return f"XML of {root.group(1)} instead of {operation_model.name}Response"
    return None


def _find_json_mismatch(text: str, members: frozenset[str]) -> Optional[str]:
    if not text:
        return "an empty body" if members else None
    try:
        content = json.loads(text)
    except ValueError:
        return f"no JSON, {_shorten(text)!r}"
    if not isinstance(content, dict):
        return f"no JSON object, {_shorten(text)!r}"
    if content and members and not members & content.keys():
        return f"JSON with none of {', '.join(sorted(members)[:3])}, {_shorten(text)!r}"
    return None


def _get_body_members(shape: Any) -> Optional[frozenset[str]]:
    """The names in the body of a response; None where the body is a payload, not a structure."""
    if shape is None:
        return frozenset()
    if shape.serialization.get("payload"):
        return None
    return frozenset(
        str(member.serialization.get("name", name))
        for name, member in shape.members.items()
        if member.serialization.get("location") not in ("header", "headers", "statusCode")
    )


def _is_json(client: Any) -> bool:
    service_model = getattr(getattr(client, "meta", None), "service_model", None)
    return _get_protocol(service_model) in ("json", "rest-json")


def _get_protocol(service_model: Any) -> str:
    return str(getattr(service_model, "resolved_protocol", ""))


def _shorten(text: str, limit: int = 200) -> str:
    """A page or another long text is quoted in part."""
    compact = " ".join(text.split())
    return compact if len(compact) <= limit or not compact.startswith("<") else f"{compact[:80]}..."
