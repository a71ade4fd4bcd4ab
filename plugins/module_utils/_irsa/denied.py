# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a message of refused access says, and which side it names. Pure: it reads text, looks at nothing else.

Whoever is named as C(User) in a message has a session: STS has issued it, so that whatever let the caller assume its
role has worked, and the refusal is about permissions (facts: irsa). What a message does not say is left open.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional

TRUST, IDENTITY, PERMISSION, UNKNOWN = "trust", "identity", "permission", "unknown"
SIDES = (TRUST, IDENTITY, PERMISSION, UNKNOWN)

# What AWS calls a type of policy in these messages, and what is said here. AWS's guide writes "a sessions policy", too.
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
ASSUME_ROLE_ACTIONS = ("sts:assumerole", "sts:tagsession", "sts:setsourceidentity")  # what a trust policy decides on


@dataclass(frozen=True)
class Caller:
    """Whose request it was. C(role): a role's name, without path: ARNs of sessions do not carry that."""

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
    def is_node(self) -> bool:
        """Sessions of instances bear the instance's id (facts: irsa)."""
        return bool(self.session and re.fullmatch(r"i-[0-9a-f]{8,17}", self.session))

    def to_dict(self) -> dict[str, Any]:
        return {
            "arn": self.arn,
            "account": self.account,
            "role": self.role,
            "session": self.session,
            "node_role": self.is_node,
        }


@dataclass(frozen=True)
class AccessDenial:
    """What a message says. C(kind): the type of policy, or what is wrong with the identity. C(words): what decided.

    C(role), C(subject), C(issuer): who was to assume which role, with whose token, where the message says so.
    C(context): what the request brought along, from a decoded authorization message. C(more): how many different
    refusals the text tells of besides; the first one counts.
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


# --- Taking the text out of what it is wrapped in.


def _list_strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _list_strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _list_strings(one)


def _find_json(text: str) -> Optional[Any]:
    """The JSON object in a text: all of it, or what follows a log's own prefix."""
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
    """A CloudTrail event: bare, as LookupEvents or EventBridge wrap it, or the first of a log file."""
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
    """An object's fields; none of anything else: what is pasted need not have the shape that AWS gives it. In tables of
    events, objects stand as text.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}


def _to_mappings(value: Any) -> list[Mapping[str, Any]]:
    return [_to_mapping(one) for one in value] if isinstance(value, list) else []


def _flatten_text(text: str) -> str:
    """One line with single blanks; what a log has escaped is unescaped."""
    return " ".join(re.sub(r"\\[ntr]", " ", text).replace('\\"', '"').split())


# --- The words.

_POLICY_TYPE_PATTERN = "|".join(re.escape(one) for one in sorted(POLICY_TYPES, key=len, reverse=True))
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
# KMS and others, where they may not tell what of it is so.
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

# What is wrong with the token, the provider or the role's address, by the words of STS and of the SDKs.
_IDENTITY_ERRORS: tuple[tuple[str, str, str], ...] = (
    (
        "no_provider",
        r"No OpenIDConnect provider found in your account(?: for (?P<issuer>https://[^\s\"',]+))?",
        "STS knows no IAM OIDC provider for the token's issuer in the role's account. It has not looked at the trust "
        "policy.",
    ),
    (
        "audience",
        r"Incorrect token audience",
        "The token's audience is none of the IAM OIDC provider's client ids. STS has not looked at the trust policy.",
    ),
    (
        "verification_key",
        r"Couldn't retrieve verification key from your identity provider|IDPCommunicationError|"
        r"HTTPS certificate doesn't match configured thumbprint",
        "STS could not fetch, or would not trust, the keys that the issuer publishes, so that it could not check the "
        "token's signature.",
    ),
    (
        "token_expired",
        r"Token expired: current date/time|(?:web identity )?token that was passed is expired|"
        r"ExpiredTokenException: (?!The security token)",
        "The service account's token was past its end when it was sent to STS.",
    ),
    (
        "token_invalid",
        r"IDPRejectedClaim|InvalidIdentityToken(?:Exception)?",
        "STS does not take the token itself: its signature, its form or a claim of it.",
    ),
    (
        "role_arn",
        r"Request ARN is invalid",
        "What stands in the place of the role's ARN is no ARN of a role, so that STS has not looked any further.",
    ),
    (
        "token_file",
        r"(?:open|read|reading|file)\b[^\n]{0,80}?/token\b[^\n]{0,40}?(?:no such file or directory|permission "
        r"denied|ENOENT|"
        r"EACCES)",
        "The program could not read its token: it was not mounted into the pod, or not for the program's user.",
    ),
    (
        "credentials_expired",
        r"The security token included in the request is expired|The provided token has expired|"
        r"ExpiredToken: |RequestExpired",
        "The credentials of the request had ended. They were good once; the program did not renew them.",
    ),
    (
        "credentials_invalid",
        r"The security token included in the request is invalid|InvalidClientTokenId|UnrecognizedClientException|"
        r"InvalidAccessKeyId|SignatureDoesNotMatch",
        "AWS does not know these credentials, or not in this partition or region. Nothing was looked up for them.",
    ),
    (
        "no_credentials",
        r"NoCredentialProviders|no EC2 IMDS role found|Unable to locate credentials|"
        r"Could not load credentials from any providers|Unable to load credentials from any of the providers",
        "The program found no credentials at all: neither a role of its service account nor one of the node.",
    ),
)


def _find_user_denials(text: str) -> Iterator[tuple[int, AccessDenial]]:
    for match in _USER_NOT_AUTHORIZED.finditer(text):
        yield match.start(), _classify_user_denial(match, text)


def _classify_user_denial(match: re.Match[str], text: str) -> AccessDenial:
    named, action = match["caller"], match["action"]
    resource = match["resource"].rstrip(".,;)") if match["resource"] else None
    caller = Caller.parse(named) if named and named.lower() != "anonymous" else None
    told = AccessDenial(
        UNKNOWN, "unstated", "", match[0], caller, action, resource, role=_get_target_role(action, resource)
    )
    reason = _REASON.match(text, match.end())
    if reason is None:
        return _classify_unstated_denial(told, bool(_AMBIGUOUS_RESOURCE_POLICY.match(text, match.end())))
    phrase = " ".join((reason["implicit"] or reason["explicit"]).lower().split())
    explicit = reason["explicit"] is not None
    later = _POLICY_ARN.match(text, match.end())
    policy = reason["policy"] or (later["policy"] if later and not explicit else None)
    told = replace(
        told,
        message=text[match.start() : (later or reason).end() if not explicit else reason.end()],
        kind=POLICY_TYPES.get(phrase, "other_policy"),
        explicit_deny=explicit,
        policy=policy.rstrip(".,;") if policy else None,
        transitive_policy_type=POLICY_TYPES[reason["through"].lower()] if reason["through"] else None,
    )
    assuming = action.lower().startswith(ASSUME_ROLE_ACTIONS)
    # The only policy that a role, as a resource, has is its trust policy.
    if told.kind == "trust_policy" or (told.kind == "resource_policy" and assuming):
        how = "denies it explicitly" if explicit else "does not allow it"
        return replace(told, side=TRUST, kind="trust_policy", reason=f"The role's trust policy {how}, says AWS.")
    if told.kind == "other_policy" and (assuming or caller is None):
        return replace(told, reason=f"AWS names a type of policy that is not known here: {phrase}.")
    how = f"names an explicit Deny in a {phrase}" if explicit else f"says that no {phrase} allows it"
    return replace(told, side=PERMISSION, reason=f"AWS {how}. {_describe_session(caller)}")


def _describe_session(caller: Optional[Caller]) -> str:
    if caller is None or caller.role is None or caller.session is None:
        return "That is about permissions, not about who may assume a role."
    return (
        f"The caller is a session of the role {caller.role}, which STS had issued before: whatever let the caller "
        "assume the role has worked."
    )


def _classify_unstated_denial(denial: AccessDenial, is_ambiguous: bool) -> AccessDenial:
    """No type of policy is named."""
    action = str(denial.action)
    if action.lower().startswith(ASSUME_ROLE_ACTIONS):
        return replace(
            denial,
            reason=f"AWS does not say which side refused {action}: the caller's own policies or the trust policy of "
            "the role that it wanted.",
        )
    if denial.caller is None:
        return replace(denial, reason=f"Neither the caller nor the policy that refused {action} is named.")
    why = (
        "AWS says that the resource is not in this region, or that its own policy does not allow it, or denies it"
        if is_ambiguous
        else "AWS does not say which policy refused it"
    )
    return replace(
        denial,
        side=PERMISSION,
        kind="resource_policy" if is_ambiguous else "unstated",
        reason=f"{why}. {_describe_session(denial.caller)}",
    )


def _get_target_role(action: Optional[str], resource: Optional[str]) -> Optional[str]:
    """The role that was to be assumed."""
    if action and action.lower().startswith(ASSUME_ROLE_ACTIONS) and resource and ":role/" in resource:
        return resource
    return None


def _find_identity_errors(text: str) -> Iterator[tuple[int, AccessDenial]]:
    for kind, words, reason in _IDENTITY_ERRORS:
        for match in re.finditer(words, text, re.IGNORECASE):
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
        "STS took the token and refused the role: its trust policy does not let this token in, or there is no such "
        "role.",
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
                "EKS Pod Identity may not assume the role of the association: its trust policy has to allow "
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
                "EC2 knew the caller and refused the operation: that is about permissions. Who and what it was stands "
                "in the encoded message, if there is one.",
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
                "This is a refusal of Kubernetes, by its own roles (RBAC). AWS has no part in it.",
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
    """The first refusal in a text that says what it is."""
    found = sorted((one for finder in _DENIAL_FINDERS for one in finder(text)), key=lambda one: one[0])
    # Codes stand before their message: "InvalidIdentityToken: Incorrect token audience" is the latter.
    told = [one for position, one in found if not _is_preface(one, position, found)]
    encoded = _ENCODED_MESSAGE.search(text)
    if told:
        first = told[0]
        others = {(one.side, one.kind, one.action, one.resource) for one in told}
        first = replace(first, other_denials=len(others) - 1, operation=_find_operation(text))
        return replace(first, encoded_message=encoded["encoded"]) if encoded else first
    operation = _find_operation(text)
    if encoded:
        return AccessDenial(
            PERMISSION, "unstated", "", encoded[0][:60], operation=operation, encoded_message=encoded["encoded"]
        )
    if re.fullmatch(r"[\w+/=-]{100,}", text):
        return AccessDenial(UNKNOWN, "encoded", "The message is encoded.", text[:60], encoded_message=text)
    unreached, bare = _CONNECTION_ERROR.search(text), _BARE_ERROR_CODE.search(text)
    if unreached:
        return AccessDenial(
            UNKNOWN,
            "unreached",
            "AWS was not reached, so that neither side was asked: look at DNS, routes and endpoints.",
            unreached[0],
            operation=operation,
        )
    if bare:
        return AccessDenial(
            UNKNOWN,
            "bare",
            "Access was denied, and the message says neither to whom nor by what. AWS answers so across organizations, "
            "and some services always do. The event in CloudTrail says more.",
            bare[0],
            operation=operation,
        )
    return AccessDenial(UNKNOWN, "no_refusal", "Nothing in the message is a refusal of AWS that is known here.")


def _is_preface(denial: AccessDenial, position: int, found: list[tuple[int, AccessDenial]]) -> bool:
    """Error codes, and EC2's opening words, stand before what says more."""
    following = [other for at, other in found if 0 <= at - position <= 120 and other is not denial]
    if denial.kind in ("token_invalid", "token_expired"):
        return any(other.side == IDENTITY and other.kind not in (denial.kind, "token_invalid") for other in following)
    return bool(_EC2_NOT_AUTHORIZED.fullmatch(denial.message)) and any(other.action for other in following)


def _find_operation(text: str) -> Optional[str]:
    """The API operation, where the SDK's wrapping names it."""
    for words in (r"when calling the (\w+) operation", r"operation error [^:]{1,60}: (\w+)"):
        found = re.findall(words, text)
        if found:
            return str(found[-1])  # the innermost: what failed first
    return None


# --- Whole messages.


def parse_message(message: str) -> AccessDenial:
    """What a log line, a controller's JSON log, a CloudTrail event, an error of a command or a decoded authorization
    message says.
    """
    value = _find_json(message)
    event = _find_event(value)
    if event is not None:
        return _parse_event(event)
    if isinstance(value, Mapping) and "allowed" in value and "context" in value:
        return parse_decoded_message(value)
    told = _read_denial(_flatten_text(message))
    if told.kind in ("no_refusal", "bare") and value is not None:
        inner = _read_denial(_flatten_text(" \n".join(_list_strings(value))))
        told = inner if inner.kind != "no_refusal" else told
    return _add_subject(told, message)


# Names that Kubernetes takes: what has a star is nobody's, and no binding is made of it.
_SUBJECT_PATTERN = r"system:serviceaccount:([a-z0-9.-]+):([a-z0-9.-]+)"


def _add_subject(denial: AccessDenial, text: str) -> AccessDenial:
    found = {tuple(one) for one in re.findall(_SUBJECT_PATTERN, text)}
    if denial.side == UNKNOWN or denial.subject or len(found) != 1:
        return denial
    namespace, name = found.pop()
    return replace(denial, subject=(namespace, name))


def _parse_event(event: Mapping[str, Any]) -> AccessDenial:
    """A CloudTrail event: who and what stand in fields of their own; the message may say nothing."""
    identity = _to_mapping(event.get("userIdentity"))
    asked = _to_mapping(event.get("requestParameters"))
    name, code = str(event["eventName"]), str(event.get("errorCode") or "")
    message = _flatten_text(str(event.get("errorMessage") or ""))
    told = _read_denial(message) if message else AccessDenial(UNKNOWN, "no_refusal", "")
    if told.kind in ("no_refusal", "bare"):
        told = _classify_event(name, code, message, identity, told)
    arn = identity.get("arn")
    subject = re.fullmatch(_SUBJECT_PATTERN, str(identity.get("userName") or ""))
    resources = [one["ARN"] for one in _to_mappings(event.get("resources")) if one.get("ARN")]
    provider = str(identity.get("identityProvider") or "").partition("oidc-provider/")[2]
    role = asked.get("roleArn") if name.startswith("AssumeRole") else None
    return replace(
        told,
        caller=told.caller or (Caller.parse(str(arn)) if arn else None),
        operation=name,
        resource=told.resource or (str(resources[0]) if len(resources) == 1 else None),
        role=told.role or (str(role) if role else None),
        subject=told.subject or ((subject[1], subject[2]) if subject else None),
        issuer=told.issuer or (f"https://{provider}" if provider else None),
        message=told.message or f"{code} {message}".strip(),
    )


_DENIAL_CODES = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Client.UnauthorizedOperation")


def _classify_event(
    event_name: str, error_code: str, message: str, identity: Mapping[str, Any], denial: AccessDenial
) -> AccessDenial:
    words = f"{error_code} {message}".strip()
    if event_name == "AssumeRoleWithWebIdentity" and error_code in ("AccessDenied", "AccessDeniedException"):
        return _build_web_identity_denial(words)
    if event_name == "AssumeRoleWithWebIdentity" and error_code:
        return replace(_read_denial(f"{error_code}: {message}"), message=words)
    if error_code not in _DENIAL_CODES:
        return replace(denial, message=words)
    if event_name in ("AssumeRole", "AssumeRoleForPodIdentity"):
        return AccessDenial(
            UNKNOWN,
            "unstated",
            f"CloudTrail does not say which side refused {event_name}: the caller's own policies or the role's trust policy.",
            words,
        )
    if identity.get("type") in ("AssumedRole", "IAMUser", "FederatedUser", "Root") and identity.get("arn"):
        caller = Caller.parse(str(identity["arn"]))
        reason = f"The event does not say which policy refused it. {_describe_session(caller)}"
        return AccessDenial(PERMISSION, "unstated", reason, words, caller)
    return replace(
        denial, kind="bare", reason="The event says neither to whom nor by what access was denied.", message=words
    )


def parse_decoded_message(document: Mapping[str, Any]) -> AccessDenial:
    """A decoded authorization message: STS has it as JSON, with everything that the decision went by."""
    context = _to_mapping(document.get("context"))
    principal = str(_to_mapping(context.get("principal")).get("arn") or "")
    caller = Caller.parse(principal) if principal else None
    action, resource = context.get("action"), context.get("resource")
    explicit = bool(document.get("explicitDeny"))
    known = {
        str(one.get("key")): tuple(
            str(value.get("value")) for value in _to_mappings(_to_mapping(one.get("values")).get("items"))
        )
        for one in _to_mappings(_to_mapping(context.get("conditions")).get("items"))
    }
    if document.get("allowed"):
        return AccessDenial(
            UNKNOWN, "allowed", "The authorization message says that the request was allowed.", "allowed", caller
        )
    how = "A policy denies it explicitly" if explicit else "No policy allows it"
    return AccessDenial(
        PERMISSION,
        "unstated",
        f"{how}, says the authorization message. {_describe_session(caller)}",
        f"explicitDeny: {str(explicit).lower()}",
        caller,
        str(action) if action else None,
        str(resource) if resource else None,
        explicit_deny=explicit,
        context=known,
    )
