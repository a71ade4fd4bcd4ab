# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse AccessDenied messages and decide which side denied (refused) a request: trust, identity or permission.

Pure: it reads the text and nothing else.

A C(User) that a message names has a session that STS already issued. Assuming the role worked, so the denial is about
permissions (docs/facts/irsa.md#accessdenied-messages). What a message does not state stays open.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional

TRUST, IDENTITY, PERMISSION, UNKNOWN = "trust", "identity", "permission", "unknown"
SIDES = (TRUST, IDENTITY, PERMISSION, UNKNOWN)

# AWS's name for a policy type in these messages, and the kind that is reported. AWS's guide also writes "a sessions
# policy".
POLICY_TYPES = {
    "identity-based policy": "identity_policy",
    "resource-based policy": "resource_policy",
    "permissions boundary": "permissions_boundary",
    "service control policy": "service_control_policy",
    "resource control policy": "resource_control_policy",
    "session policy": "session_policy",
    "sessions policy": "session_policy",
    "vpc endpoint policy": "vpc_endpoint_policy",
    "role trust policy": "trust_policy",
}
ASSUME_ROLE_ACTIONS = ("sts:assumerole", "sts:tagsession", "sts:setsourceidentity")  # decided by a trust policy


@dataclass(frozen=True)
class Caller:
    """The principal that made the request. C(role): the role's name without its path, which ARNs of sessions omit."""

    arn: str
    account: str
    role: Optional[str] = None
    session: Optional[str] = None

    @classmethod
    def parse(cls, arn: str) -> Caller:
        parts = arn.split(":", 5)
        account, path = (parts[4], parts[5].split("/")) if len(parts) == 6 else ("", [""])
        if path[0] == "assumed-role" and len(path) >= 3:
            return cls(arn, account, path[1], "/".join(path[2:]))
        return cls(arn, account, path[-1] if path[0] == "role" else None)

    @property
    def is_node_role(self) -> bool:
        """The session name of an instance is the instance's id (docs/facts/irsa.md#accessdenied-messages)."""
        return bool(self.session and re.fullmatch(r"i-[0-9a-f]{8,17}", self.session))

    def to_dict(self) -> dict[str, Any]:
        return {
            "arn": self.arn,
            "account": self.account,
            "role": self.role,
            "session": self.session,
            "is_node_role": self.is_node_role,
        }


@dataclass(frozen=True)
class AccessDenial:
    """The content of a message. C(kind) is the policy type, or the identity error. C(message) is the deciding text.

    C(role), C(subject), C(issuer): the role to assume, the service account and the token's issuer, where the message
    names them. C(context) holds the request's condition keys, from a decoded authorization message. C(other_denials)
    counts the other denials in the text: only the first denial is explained.
    """

    side: str
    kind: str
    reason: str
    message: str = ""
    caller: Optional[Caller] = None
    action: Optional[str] = None
    resource: Optional[str] = None
    operation: Optional[str] = None
    explicit_deny: bool = False
    policy: Optional[str] = None
    transitive_policy_type: Optional[str] = None
    role: Optional[str] = None
    subject: Optional[tuple[str, str]] = None
    issuer: Optional[str] = None
    encoded_message: Optional[str] = None
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    other_denials: int = 0


# --- Extract the message from a log line, a JSON log or a CloudTrail event.


def _list_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from _list_strings(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _list_strings(entry)


def _find_json(text: str) -> Optional[Any]:
    """Find the JSON object in a text: the whole text, or the part after a log's own prefix."""
    for start in (match.start() for match in re.finditer(r"[{\[]", text)):
        try:
            value, _end = json.JSONDecoder().raw_decode(text, start)
        except ValueError:
            continue
        if isinstance(value, Mapping) or (isinstance(value, list) and value and isinstance(value[0], Mapping)):
            return value
        return None
    return None


def _find_event(value: Any) -> Optional[Mapping[str, Any]]:
    """Find a CloudTrail event: bare, wrapped by LookupEvents or EventBridge, or the first event of a log file."""
    if isinstance(value, list):
        return _find_event(value[0]) if value else None
    if not isinstance(value, Mapping):
        return None
    if "eventName" in value and ("errorCode" in value or "errorMessage" in value):
        return value
    for key in ("detail", "CloudTrailEvent", "Records", "Events"):
        inner = value.get(key)
        if isinstance(inner, str):
            try:
                inner = json.loads(inner)
            except ValueError:
                continue
        found = _find_event(inner)
        if found is not None:
            return found
    return None


def _to_mapping(value: Any) -> Mapping[str, Any]:
    """Return the fields of an object, and an empty mapping for other values: pasted text may have any shape. Tables of
    events contain objects as JSON text.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}


def _to_mappings(value: Any) -> list[Mapping[str, Any]]:
    return [_to_mapping(entry) for entry in value] if isinstance(value, list) else []


def _flatten_text(text: str) -> str:
    """Join the text to one line with single blanks, and undo the escapes of a log."""
    return " ".join(re.sub(r"\\[ntr]", " ", text).replace('\\"', '"').split())


# --- The messages of AWS and of the SDKs.

_POLICY_TYPE_PATTERN = "|".join(re.escape(name) for name in sorted(POLICY_TYPES, key=len, reverse=True))
_USER_NOT_AUTHORIZED = re.compile(
    r"(?:User:?\s+)?(?P<caller>arn:aws[\w-]*:(?:iam|sts)::\d{12}:[^\s\"]+|anonymous)?\s*is not authorized to "
    r"perform:?\s+"
    r"(?P<action>[\w-]+:\w+)"
    r"(?:\s+on\s+(?:this resource|(?:resource:?\s+)?\"?(?P<resource>arn:[^\s\"]+|\*)\"?))?",
    re.IGNORECASE,
)
_REASON = re.compile(
    rf"\s*[,.]?\s*(?:because no (?P<implicit>{_POLICY_TYPE_PATTERN}|[\w -]{{3,40}}?) allows? the(?: [\w:*-]+ action)?|"
    rf"with an explicit deny in (?:an?|the) (?P<explicit>{_POLICY_TYPE_PATTERN}|[\w -]{{3,40}}? policy)"
    rf"(?: transitively through an? (?P<through>{_POLICY_TYPE_PATTERN}))?(?:: (?P<policy>arn:[^\s\"]+))?)",
    re.IGNORECASE,
)
# KMS and other services name three possible causes where they must not reveal the actual cause.
_AMBIGUOUS_RESOURCE_POLICY = re.compile(
    r"\s*because the resource does not exist in this Region, no resource-based polic", re.IGNORECASE
)
_POLICY_ARN = re.compile(r"[^\n]{0,120}?allows? the \S+ action(?:: (?P<policy>arn:[^\s\"]+))", re.IGNORECASE)
_WEB_IDENTITY = re.compile(r"(?<!is )\bNot authorized to perform:? sts:AssumeRoleWithWebIdentity", re.IGNORECASE)
_POD_IDENTITY = re.compile(r"EKS does not have permissions to assume the associated role", re.IGNORECASE)
_EC2_NOT_AUTHORIZED = re.compile(r"You are not authorized to perform this operation\.?", re.IGNORECASE)
_ENCODED_MESSAGE = re.compile(r"Encoded authorization failure message:\s*(?P<encoded>[\w+/=-]{20,})", re.IGNORECASE)
_KUBERNETES_RBAC = re.compile(r"is forbidden: User \"[^\"]*\" cannot", re.IGNORECASE)
_CONNECTION_ERROR = re.compile(
    r"(?:RequestError: send request failed|dial tcp|Could not connect to the endpoint URL|Connect timeout on endpoint|"
    r"no such host|i/o timeout)",
    re.IGNORECASE,
)
_BARE_ERROR_CODE = re.compile(
    r"\bAccess ?Denied(?:Exception)?\b|\bUnauthorizedOperation\b|\bUnauthorizedAccess\b|\b403\b"
)

# Errors of the token, the OIDC provider or the role's ARN, by the messages of STS and of the SDKs.
_IDENTITY_ERRORS: tuple[tuple[str, str, str], ...] = (
    (
        "no_provider",
        r"No OpenIDConnect provider found in your account(?: for (?P<issuer>https://[^\s\"',]+))?",
        "STS finds no IAM OIDC provider for the token's issuer in the role's account. STS did not evaluate the trust "
        "policy.",
    ),
    (
        "audience",
        r"Incorrect token audience",
        "The token's audience is not among the IAM OIDC provider's client ids. STS did not evaluate the trust policy.",
    ),
    (
        "verification_key",
        r"Couldn't retrieve verification key from your identity provider|IDPCommunicationError|"
        r"HTTPS certificate doesn't match configured thumbprint",
        "STS could not fetch the keys that the issuer publishes, or did not trust them. STS could not verify the "
        "token's signature.",
    ),
    (
        "token_expired",
        r"Token expired: current date/time|(?:web identity )?token that was passed is expired|"
        r"ExpiredTokenException: (?!The security token)",
        "The service account's token had expired when it was sent to STS.",
    ),
    (
        "token_invalid",
        r"IDPRejectedClaim|InvalidIdentityToken(?:Exception)?",
        "STS rejects the token itself: its signature, its format or one of its claims.",
    ),
    (
        "role_arn",
        r"Request ARN is invalid",
        "The value that was sent as the role's ARN is not the ARN of a role. STS checked nothing else.",
    ),
    (
        "token_file",
        r"(?:open|read|reading|file)\b[^\n]{0,80}?/token\b[^\n]{0,40}?(?:no such file or directory|permission "
        r"denied|ENOENT|"
        r"EACCES)",
        "The program could not read its token. Either the token was not mounted into the pod, or the program's user "
        "may not read it.",
    ),
    (
        "credentials_expired",
        r"The security token included in the request is expired|The provided token has expired|"
        r"ExpiredToken: |RequestExpired",
        "The credentials of the request had expired. They were valid once, and the program did not renew them.",
    ),
    (
        "credentials_invalid",
        r"The security token included in the request is invalid|InvalidClientTokenId|UnrecognizedClientException|"
        r"InvalidAccessKeyId|SignatureDoesNotMatch",
        "AWS does not know these credentials, or not in this partition or region. AWS evaluated no policy for them.",
    ),
    (
        "no_credentials",
        r"NoCredentialProviders|no EC2 IMDS role found|Unable to locate credentials|"
        r"Could not load credentials from any providers|Unable to load credentials from any of the providers",
        "The program found no credentials at all: neither a role of its service account nor the node role.",
    ),
)


def _find_user_denials(text: str) -> Iterator[tuple[int, AccessDenial]]:
    for match in _USER_NOT_AUTHORIZED.finditer(text):
        yield match.start(), _classify_user_denial(match, text)


def _classify_user_denial(match: re.Match[str], text: str) -> AccessDenial:
    """Decide which side denied (which side refused) the action, by the clause that names the policy type."""
    named, action = match["caller"], match["action"]
    resource = match["resource"].rstrip(".,;)") if match["resource"] else None
    caller = Caller.parse(named) if named and named.lower() != "anonymous" else None
    denial = AccessDenial(
        UNKNOWN, "unstated", "", match[0], caller, action, resource, role=_get_target_role(action, resource)
    )
    reason = _REASON.match(text, match.end())
    if reason is None:
        return _classify_unstated_denial(denial, bool(_AMBIGUOUS_RESOURCE_POLICY.match(text, match.end())))
    phrase = " ".join((reason["implicit"] or reason["explicit"]).lower().split())
    explicit = reason["explicit"] is not None
    later = _POLICY_ARN.match(text, match.end())
    policy = reason["policy"] or (later["policy"] if later and not explicit else None)
    denial = replace(
        denial,
        message=text[match.start() : (later or reason).end() if not explicit else reason.end()],
        kind=POLICY_TYPES.get(phrase, "other_policy"),
        explicit_deny=explicit,
        policy=policy.rstrip(".,;") if policy else None,
        transitive_policy_type=POLICY_TYPES[reason["through"].lower()] if reason["through"] else None,
    )
    assuming = action.lower().startswith(ASSUME_ROLE_ACTIONS)
    # The only policy that a role, as a resource, has is its trust policy.
    if denial.kind == "trust_policy" or (denial.kind == "resource_policy" and assuming):
        decision = "denies it explicitly" if explicit else "does not allow it"
        return replace(
            denial, side=TRUST, kind="trust_policy", reason=f"AWS reports that the role's trust policy {decision}."
        )
    if denial.kind == "other_policy" and (assuming or caller is None):
        return replace(denial, reason=f"AWS names a policy type that this module does not know: {phrase}.")
    decision = f"names an explicit Deny in a {phrase}" if explicit else f"reports that no {phrase} allows it"
    return replace(denial, side=PERMISSION, reason=f"AWS {decision}. {_describe_session(caller)}")


def _describe_session(caller: Optional[Caller]) -> str:
    if caller is None or caller.role is None or caller.session is None:
        return "The denial is about permissions, not about who may assume a role."
    return (
        f"The caller is a session of the role {caller.role}. STS issued the session before this request, so assuming "
        "the role worked."
    )


def _classify_unstated_denial(denial: AccessDenial, is_ambiguous: bool) -> AccessDenial:
    """Decide which side denied the action where the message names no policy type."""
    action = str(denial.action)
    if action.lower().startswith(ASSUME_ROLE_ACTIONS):
        return replace(
            denial,
            reason=f"AWS does not state which side denied {action}: the caller's own policies, or the trust policy of "
            "the requested role.",
        )
    if denial.caller is None:
        return replace(denial, reason=f"The message names neither the caller nor the policy that denied {action}.")
    cause = (
        "AWS reports that the resource is not in this region, or that its own policy does not allow it or denies it"
        if is_ambiguous
        else "AWS does not state which policy denied it"
    )
    return replace(
        denial,
        side=PERMISSION,
        kind="resource_policy" if is_ambiguous else "unstated",
        reason=f"{cause}. {_describe_session(denial.caller)}",
    )


def _get_target_role(action: Optional[str], resource: Optional[str]) -> Optional[str]:
    """Get the role that the caller tried to assume."""
    if action and action.lower().startswith(ASSUME_ROLE_ACTIONS) and resource and ":role/" in resource:
        return resource
    return None


def _find_identity_errors(text: str) -> Iterator[tuple[int, AccessDenial]]:
    for kind, pattern, reason in _IDENTITY_ERRORS:
        for match in re.finditer(pattern, text, re.IGNORECASE):
            issuer = match.groupdict().get("issuer")
            yield (
                match.start(),
                AccessDenial(IDENTITY, kind, reason, match[0], issuer=issuer.rstrip(".") if issuer else None),
            )


def _find_web_identity_denials(text: str) -> Iterator[tuple[int, AccessDenial]]:
    for match in _WEB_IDENTITY.finditer(text):
        yield match.start(), _build_web_identity_denial(match[0])


def _build_web_identity_denial(message: str) -> AccessDenial:
    return AccessDenial(
        TRUST,
        "web_identity",
        "STS accepted the token and denied the role. Either the role's trust policy does not allow this token, or the "
        "role does not exist.",
        message,
        action="sts:AssumeRoleWithWebIdentity",
    )


def _find_pod_identity_denials(text: str) -> Iterator[tuple[int, AccessDenial]]:
    for match in _POD_IDENTITY.finditer(text):
        yield (
            match.start(),
            AccessDenial(
                TRUST,
                "pod_identity",
                "EKS Pod Identity cannot assume the role of the association. The role's trust policy must allow "
                "pods.eks.amazonaws.com both sts:AssumeRole and sts:TagSession, for this cluster.",
                match[0],
            ),
        )


def _find_ec2_denials(text: str) -> Iterator[tuple[int, AccessDenial]]:
    for match in _EC2_NOT_AUTHORIZED.finditer(text):
        yield (
            match.start(),
            AccessDenial(
                PERMISSION,
                "unstated",
                "EC2 identified the caller and denied the operation, so the denial is about permissions. The encoded "
                "message, if there is one, names the caller and the action.",
                match[0],
            ),
        )


def _find_rbac_denials(text: str) -> Iterator[tuple[int, AccessDenial]]:
    for match in _KUBERNETES_RBAC.finditer(text):
        yield (
            match.start(),
            AccessDenial(
                UNKNOWN,
                "kubernetes_rbac",
                "Kubernetes denied this request by its own roles (RBAC). AWS is not involved.",
                match[0],
            ),
        )


_DENIAL_FINDERS: tuple[Callable[[str], Iterator[tuple[int, AccessDenial]]], ...] = (
    _find_user_denials,
    _find_identity_errors,
    _find_web_identity_denials,
    _find_pod_identity_denials,
    _find_ec2_denials,
    _find_rbac_denials,
)


def _read_denial(text: str) -> AccessDenial:
    """Read the first specific denial in a text."""
    found = sorted((item for finder in _DENIAL_FINDERS for item in finder(text)), key=lambda item: item[0])
    # Error codes precede their message: "InvalidIdentityToken: Incorrect token audience" is about the audience.
    denials = [denial for position, denial in found if not _is_preface(denial, position, found)]
    encoded = _ENCODED_MESSAGE.search(text)
    if denials:
        first = denials[0]
        others = {(denial.side, denial.kind, denial.action, denial.resource) for denial in denials}
        first = replace(first, other_denials=len(others) - 1, operation=_find_operation(text))
        return replace(first, encoded_message=encoded["encoded"]) if encoded else first
    operation = _find_operation(text)
    if encoded:
        return AccessDenial(
            PERMISSION, "unstated", "", encoded[0][:60], operation=operation, encoded_message=encoded["encoded"]
        )
    if re.fullmatch(r"[\w+/=-]{100,}", text):
        return AccessDenial(UNKNOWN, "encoded", "The message is encoded.", text[:60], encoded_message=text)
    connection_error, error_code = _CONNECTION_ERROR.search(text), _BARE_ERROR_CODE.search(text)
    if connection_error:
        return AccessDenial(
            UNKNOWN,
            "connection_error",
            "The request did not reach AWS, so neither side evaluated it. Check DNS, routes and endpoints.",
            connection_error[0],
            operation=operation,
        )
    if error_code:
        return AccessDenial(
            UNKNOWN,
            "bare_error_code",
            "Access was denied, and the message names neither the caller nor the policy. AWS answers like this across "
            "organizations, and some services always do. The event in CloudTrail has more details.",
            error_code[0],
            operation=operation,
        )
    return AccessDenial(UNKNOWN, "no_denial", "The message contains no denial of AWS that this module knows.")


def _is_preface(denial: AccessDenial, position: int, found: list[tuple[int, AccessDenial]]) -> bool:
    """Error codes, and EC2's opening sentence, precede the specific message."""
    following = [other for at, other in found if 0 <= at - position <= 120 and other is not denial]
    if denial.kind in ("token_invalid", "token_expired"):
        return any(other.side == IDENTITY and other.kind not in (denial.kind, "token_invalid") for other in following)
    return bool(_EC2_NOT_AUTHORIZED.fullmatch(denial.message)) and any(other.action for other in following)


def _find_operation(text: str) -> Optional[str]:
    """Find the API operation, where the SDK's error names it."""
    for pattern in (r"when calling the (\w+) operation", r"operation error [^:]{1,60}: (\w+)"):
        found = re.findall(pattern, text)
        if found:
            return str(found[-1])  # the innermost call: it failed first
    return None


# --- Whole messages.


def parse_message(message: str) -> AccessDenial:
    """Decide which side denied (which side refused) the request: the entry point for every message.

    A message is a log line, a controller's JSON log, a CloudTrail event, an error of a command, or a decoded
    authorization message.
    """
    value = _find_json(message)
    event = _find_event(value)
    if event is not None:
        return _parse_event(event)
    if isinstance(value, Mapping) and "allowed" in value and "context" in value:
        return parse_decoded_message(value)
    denial = _read_denial(_flatten_text(message))
    if denial.kind in ("no_denial", "bare_error_code") and value is not None:
        inner = _read_denial(_flatten_text(" \n".join(_list_strings(value))))
        denial = inner if inner.kind != "no_denial" else denial
    return _add_subject(denial, message)


# Only names that Kubernetes allows: a name with a wildcard is no service account, and no binding is made of it.
_SUBJECT_PATTERN = r"system:serviceaccount:([a-z0-9.-]+):([a-z0-9.-]+)"


def _add_subject(denial: AccessDenial, text: str) -> AccessDenial:
    found = {tuple(groups) for groups in re.findall(_SUBJECT_PATTERN, text)}
    if denial.side == UNKNOWN or denial.subject or len(found) != 1:
        return denial
    namespace, name = found.pop()
    return replace(denial, subject=(namespace, name))


def _parse_event(event: Mapping[str, Any]) -> AccessDenial:
    """Parse a CloudTrail event: its own fields name the caller and the request, and its message can be empty."""
    identity = _to_mapping(event.get("userIdentity"))
    request_parameters = _to_mapping(event.get("requestParameters"))
    name, code = str(event["eventName"]), str(event.get("errorCode") or "")
    message = _flatten_text(str(event.get("errorMessage") or ""))
    denial = _read_denial(message) if message else AccessDenial(UNKNOWN, "no_denial", "")
    if denial.kind in ("no_denial", "bare_error_code"):
        denial = _classify_event(name, code, message, identity, denial)
    arn = identity.get("arn")
    subject = re.fullmatch(_SUBJECT_PATTERN, str(identity.get("userName") or ""))
    resources = [entry["ARN"] for entry in _to_mappings(event.get("resources")) if entry.get("ARN")]
    provider = str(identity.get("identityProvider") or "").partition("oidc-provider/")[2]
    role = request_parameters.get("roleArn") if name.startswith("AssumeRole") else None
    return replace(
        denial,
        caller=denial.caller or (Caller.parse(str(arn)) if arn else None),
        operation=name,
        resource=denial.resource or (str(resources[0]) if len(resources) == 1 else None),
        role=denial.role or (str(role) if role else None),
        subject=denial.subject or ((subject[1], subject[2]) if subject else None),
        issuer=denial.issuer or (f"https://{provider}" if provider else None),
        message=denial.message or f"{code} {message}".strip(),
    )


_DENIAL_CODES = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Client.UnauthorizedOperation")


def _classify_event(
    event_name: str, error_code: str, message: str, identity: Mapping[str, Any], denial: AccessDenial
) -> AccessDenial:
    """Decide which side denied the call of a CloudTrail event by its name and error code: its message is empty."""
    error_text = f"{error_code} {message}".strip()
    if event_name == "AssumeRoleWithWebIdentity" and error_code in ("AccessDenied", "AccessDeniedException"):
        return _build_web_identity_denial(error_text)
    if event_name == "AssumeRoleWithWebIdentity" and error_code:
        return replace(_read_denial(f"{error_code}: {message}"), message=error_text)
    if error_code not in _DENIAL_CODES:
        return replace(denial, message=error_text)
    if event_name in ("AssumeRole", "AssumeRoleForPodIdentity"):
        return AccessDenial(
            UNKNOWN,
            "unstated",
            f"CloudTrail does not state which side denied {event_name}: the caller's own policies, or the role's trust "
            "policy.",
            error_text,
        )
    if identity.get("type") in ("AssumedRole", "IAMUser", "FederatedUser", "Root") and identity.get("arn"):
        caller = Caller.parse(str(identity["arn"]))
        reason = f"The event does not state which policy denied it. {_describe_session(caller)}"
        return AccessDenial(PERMISSION, "unstated", reason, error_text, caller)
    return replace(
        denial,
        kind="bare_error_code",
        reason="The event names neither the caller nor the policy that denied access.",
        message=error_text,
    )


def parse_decoded_message(document: Mapping[str, Any]) -> AccessDenial:
    """Parse a decoded authorization message: STS returns JSON with the context of the decision."""
    context = _to_mapping(document.get("context"))
    principal = str(_to_mapping(context.get("principal")).get("arn") or "")
    caller = Caller.parse(principal) if principal else None
    action, resource = context.get("action"), context.get("resource")
    explicit = bool(document.get("explicitDeny"))
    known = {
        str(condition.get("key")): tuple(
            str(value.get("value")) for value in _to_mappings(_to_mapping(condition.get("values")).get("items"))
        )
        for condition in _to_mappings(_to_mapping(context.get("conditions")).get("items"))
    }
    if document.get("allowed"):
        return AccessDenial(
            UNKNOWN, "allowed", "The authorization message reports that the request was allowed.", "allowed", caller
        )
    decision = "a policy denies it explicitly" if explicit else "no policy allows it"
    return AccessDenial(
        PERMISSION,
        "unstated",
        f"The authorization message reports that {decision}. {_describe_session(caller)}",
        f"explicitDeny: {str(explicit).lower()}",
        caller,
        str(action) if action else None,
        str(resource) if resource else None,
        explicit_deny=explicit,
        context=known,
    )
