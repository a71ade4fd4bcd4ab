# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Classify the sentences by which AWS denies an action: who, what, on which resource, and by which policy. Pure.

A C(User) that a message names has a session that STS already issued. Assuming the role worked, so the denial is about
permissions (docs/facts/irsa.md#accessdenied-messages). What a message does not state stays open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Optional

from .clause import PolicyClause, read_clause, read_other_reason, read_resource, strip_punctuation
from .errors import BARE_CODE, CAUSE, CODE, find_connection_errors, find_known_errors
from .model import PERMISSION, TRUST, UNKNOWN, AccessDenial, Caller, describe_session, is_assume_role_action

Finding = tuple[int, int, AccessDenial]  # position, rank, denial

_WEB_IDENTITY_ACTIONS = ("sts:assumerolewithwebidentity", "sts:assumerolewithsaml")
_DENIED_ACTION = re.compile(
    r"(?P<verb>\b(?:is|are|was|were) )?\bnot authori[sz]ed to "
    r"(?:perform ?:? ?(?:the )?(?:action ?:? ?)?[\"'`\[(]*(?P<action>[A-Za-z][\w-]*:[\w*]+)[\"'`\])]*|"
    r"(?P<vague>(?:access|perform) this \w+|access the (?:requested )?resource))",
    re.IGNORECASE,
)
_CALLER = re.compile(r"(?P<arn>arn:aws[\w-]*:(?:iam|sts)::[^:]*:.+)|(?P<anonymous>anonymous)", re.IGNORECASE)
_EC2 = re.compile(r"You are not authorized to perform this operation\b\.?", re.IGNORECASE)
_ENCODED_MESSAGE = re.compile(r"Encoded authorization failure message: ?(?P<encoded>[\w+/=-]{20,})", re.IGNORECASE)
_ENCODED_TEXT = re.compile(r"[\w+/=-]{100,}")
_AUTHORIZATION_ID = re.compile(
    r"(?:authorization id: ?|#/authorization-details/)(?P<id>[0-9a-z]{6,64})\b", re.IGNORECASE
)
_MAX_FINDINGS = 200  # of each kind in one text
_MAX_SENTENCE = 3000  # characters between an action and the clause that belongs to it

# Codes of AWS for a denial, without any further text.
_BARE_CODE = re.compile(
    r"\bAccess ?Denied(?:Exception|Fault)?\b(?! for user)|\bUnauthorizedOperation\b|\bUnauthorizedAccess\b|"
    r"\bAuthorizationError(?:Exception)?\b"
)
# The case matters above: other programs write "access denied" and "Access is denied".
_OTHER_PROGRAM = re.compile(
    r"pull access denied|Access denied for user|Access is denied|denied: requested access to the resource",
    re.IGNORECASE,
)
_AWS_TRACE = re.compile(
    r"\.amazonaws\.(?:com|eu)|\.api\.aws\b|\.(?:c2s|sc2s)\.(?:ic|sgov)\.gov|An error occurred \(\w+\) when calling|"
    r"https response error StatusCode: 40|\(Service: [\w ]+[,;] Status Code: 40|status code: 40\d, request id:|"
    r"x-amzn?-|\bamz-|AWS HTTP error|botocore|software\.amazon|com\.amazonaws|@aws-sdk|\bAws::|AWSSDK|Amazon\.Runtime",
    re.IGNORECASE,
)
_STATUS = re.compile(r"\b403\b|\bForbidden\b|\bdenied\b|\bunauthorized\b|\bnot authorized\b", re.IGNORECASE)

_NODE_PROGRAMS = (
    ("pod_identity_agent", r"eks-pod-identity-agent|AssumeRoleForPodIdentity"),
    (
        "image_pull",
        r"Failed to pull image|ErrImagePull|ImagePullBackOff|pulling image|kubelet|containerd|failed to resolve "
        r"reference|credential-provider|docker pull",
    ),
    ("cni", r"\baws-node\b|\bipamd\b|amazon-vpc-cni|\baws-cni\b|vpc-cni"),
    ("bootstrap", r"\bnodeadm\b|bootstrap\.sh|cloud-init|\bpluto\b"),
)


def find_denials(text: str) -> list[Finding]:
    """Find every denial in a text, the causes first, each kind in the order of the text."""
    finders = (_find_denied_actions, _find_ec2_denials, find_known_errors, find_connection_errors)
    limited = (finding for finder in finders for finding in islice(finder(text), _MAX_FINDINGS))
    found = sorted(limited, key=lambda finding: finding[:2])
    ranked = [(position, _resolve_rank(position, rank, found), denial) for position, rank, denial in found]
    return sorted(
        (finding for finding in ranked if not _is_preface(finding, ranked)),
        key=lambda finding: (finding[1], finding[0]),
    )


def _resolve_rank(position: int, rank: int, found: list[Finding]) -> int:
    """An error code is the cause, unless its message follows."""
    followed = any(other == CAUSE and 0 <= at - position <= 200 for at, other, _denial in found)
    return CAUSE if rank == CODE and not followed else rank


def _is_preface(finding: Finding, found: list[Finding]) -> bool:
    """EC2's opening sentence precedes the sentence that names the action."""
    position, _rank, denial = finding
    return bool(_EC2.match(denial.message)) and any(
        other.action and 0 <= at - position <= 300 for at, _other_rank, other in found if other is not denial
    )


# --- Sentences that name an action.


def _find_denied_actions(text: str) -> Iterator[Finding]:
    matches, previous = list(_DENIED_ACTION.finditer(text)), 0
    for match, following in zip(matches, [*matches[1:], None]):
        end = min(len(text), match.end() + _MAX_SENTENCE, following.start() if following else len(text))
        start, caller = _find_caller(text, match.start())
        named = caller["arn"] if caller else None
        if match["action"] is None and named is None:
            continue  # any program writes "not authorized to access this resource"
        denial = AccessDenial(
            UNKNOWN,
            "unstated",
            "",
            caller=Caller.parse(named) if named else None,
            action=match["action"],
            is_anonymous=bool(caller and caller["anonymous"]),
        )
        denial = _complete_denial(denial, text, (start, match.end(), end))
        if denial.kind == "unstated" and not denial.explicit_deny:
            denial = _read_clause_before(denial, text[max(previous, start - 300) : start])
        previous = match.end()
        yield start, CAUSE, denial


def _read_clause_before(denial: AccessDenial, text: str) -> AccessDenial:
    """Read a clause that a program puts before AWS's sentence."""
    clause = read_clause(text)
    if clause is None or (clause.action and denial.action and clause.action.lower() != denial.action.lower()):
        return denial
    return classify_action(replace(denial, side=UNKNOWN), clause)


def _find_caller(text: str, end: int) -> tuple[int, Optional[re.Match[str]]]:
    """Find the principal that stands before a text, and where the sentence starts."""
    word = text[max(0, end - 2100) : end].rstrip().rpartition(" ")[2]
    caller = _CALLER.fullmatch(strip_punctuation(word))
    if caller is None:
        return end, None
    start = end - len(word) - 1
    return start - 6 if text[max(0, start - 6) : start].lower() == "user: " else max(0, start), caller


def _complete_denial(denial: AccessDenial, text: str, bounds: tuple[int, int, int]) -> AccessDenial:
    """Add resource and clause. C(bounds): start of the sentence, end of the action, and the end that is read."""
    start, action_end, end = bounds
    rest = text[action_end:end]
    clause = read_clause(rest)
    resource, resource_end = read_resource(rest[: clause.start] if clause else rest, clause is not None)
    if clause is None:
        clause = read_other_reason(rest, resource_end)
    last = max(resource_end, clause.end if clause else 0)
    role = resource if is_assume_role_action(denial.action) and resource and ":role/" in resource else None
    denial = replace(denial, resource=resource, role=role, message=text[start : action_end + last].strip())
    return classify_action(denial, clause)


def classify_action(denial: AccessDenial, clause: Optional[PolicyClause]) -> AccessDenial:
    """Decide which side denied (which side refused) the action, by the clause that names the policy type."""
    if clause is None:
        return _classify_without_clause(denial)
    denial = replace(
        denial,
        action=denial.action or clause.action,
        kind=clause.kind,
        explicit_deny=clause.is_explicit,
        policy=clause.policy,
        policy_type=clause.phrase or None,
        transitive_policy_type=clause.through,
    )
    if clause.kind == "unstated":
        return _classify_explicit_deny(denial)
    # The only policy that a role, as a resource, has is its trust policy.
    if clause.kind == "trust_policy" or (clause.kind == "resource_policy" and denial.is_assuming):
        decision = "denies it explicitly" if clause.is_explicit else "does not allow it"
        reason = f"AWS reports that the role's trust policy {decision}."
        return replace(denial, side=TRUST, kind="trust_policy", reason=reason)
    if clause.kind == "other_policy":
        return _classify_other_policy(denial, clause)
    if clause.is_ambiguous:
        decision = (
            "AWS reports that the resource is not in this region, or that its own policy does not allow it or denies it"
        )
    elif clause.is_explicit:
        decision = f"AWS names an explicit Deny in a {clause.phrase}"
        decision = decision.replace(" a identity", " an identity")
    else:
        decision = f"AWS reports that no {clause.phrase} allows it"
    return replace(denial, side=PERMISSION, reason=f"{decision}. {describe_session(denial.caller)}")


def _classify_explicit_deny(denial: AccessDenial) -> AccessDenial:
    reason = "AWS names an explicit Deny, and does not state in which policy."
    if denial.is_assuming:
        return replace(denial, reason=f"{reason} It is in a policy of the caller, of the role, or of the organization.")
    return replace(denial, side=PERMISSION, reason=f"{reason} {describe_session(denial.caller)}")


def _classify_other_policy(denial: AccessDenial, clause: PolicyClause) -> AccessDenial:
    if not clause.phrase.lower().endswith("policy"):
        reason = f'AWS names the reason: "{clause.phrase}".'
    elif clause.is_explicit:
        reason = f"AWS names an explicit Deny in a policy type that this module does not know: {clause.phrase}."
    else:
        reason = f"AWS names a policy type that this module does not know: {clause.phrase}."
    if denial.is_assuming or denial.caller is None:
        return replace(denial, reason=reason)
    return replace(denial, side=PERMISSION, reason=f"{reason} {describe_session(denial.caller)}")


def _classify_without_clause(denial: AccessDenial) -> AccessDenial:
    action = denial.action or "the request"
    if denial.action and denial.action.lower() in _WEB_IDENTITY_ACTIONS and denial.caller is None:
        return build_web_identity_denial(denial.message, denial.action)
    if denial.is_assuming:
        return replace(denial, reason=_describe_open_side(denial))
    if denial.is_anonymous:
        return replace(
            denial,
            reason=f"The request {denial.action or ''} was anonymous: no credentials signed it.".replace("  ", " "),
            remediation="Let the program sign its requests with the credentials of its role (Signature Version 4). "
            "Otherwise the policy of the resource must allow anonymous requests.",
        )
    if denial.caller is None:
        return replace(denial, reason=f"The message names neither the caller nor the policy that denied {action}.")
    return replace(
        denial,
        side=PERMISSION,
        reason=f"AWS does not state which policy denied {action}. {describe_session(denial.caller)}",
    )


def _describe_open_side(denial: AccessDenial) -> str:
    reason = (
        f"AWS does not state which side denied {denial.action}: the caller's own policies, or the trust policy of the "
        "requested role."
    )
    caller = denial.caller
    if caller and caller.role and denial.role and _is_own_role(caller, denial.role):
        return f"{reason} The caller is a session of this role already: it tries to assume itself."
    if denial.action and denial.action.lower() == "sts:tagsession":
        return (
            f"{reason} The caller passes session tags. Sessions of EKS Pod Identity have tags that pass on when they "
            "assume a further role."
        )
    if caller and caller.is_node_role:
        return f"{reason} The caller is a node's session: most likely a pod that fell back to the node role."
    return reason


def _is_own_role(caller: Caller, role: str) -> bool:
    return f"::{caller.account}:" in role and role.endswith(f"/{caller.role}")


def build_web_identity_denial(message: str, action: str = "sts:AssumeRoleWithWebIdentity") -> AccessDenial:
    return AccessDenial(
        TRUST,
        "web_identity",
        "STS accepted the token and denied the role. Either the role's trust policy does not allow this token, or the "
        "role does not exist.",
        message,
        action=action,
    )


def _find_ec2_denials(text: str) -> Iterator[Finding]:
    for match in _EC2.finditer(text):
        denial = AccessDenial(
            PERMISSION,
            "unstated",
            "EC2 identified the caller and denied the operation, so the denial is about permissions. The encoded "
            "message, if there is one, names the caller and the action.",
            match[0],
        )
        rest = text[match.end() : match.end() + 200]
        clause = read_clause(rest)
        if clause and clause.start <= 3:
            denial = classify_action(replace(denial, side=UNKNOWN, message=match[0] + rest[: clause.end]), clause)
        yield match.start(), CAUSE, denial


# --- Whole texts.


def read_denial(text: str) -> AccessDenial:
    """Read the first denial in a flattened text that states its cause; else what the text shows without one."""
    findings = find_denials(text)
    bare = None if _OTHER_PROGRAM.search(text) else _BARE_CODE.search(text)
    encoded = _ENCODED_MESSAGE.search(text)
    if findings and not (bare and findings[0][1] > BARE_CODE and not encoded):
        rank, denial = findings[0][1], _choose_complete(findings)
        causes = {
            _identify(other)
            for _position, other_rank, other in findings
            if other_rank == rank == CAUSE and not _is_shortened(other, denial)
        }
        denial = replace(denial, other_denials=len(causes - {_identify(denial)}))
    else:
        denial = _read_without_sentence(text, bare, encoded)
    identifier = _AUTHORIZATION_ID.search(text)
    return replace(
        denial,
        operation=_find_operation(text) if denial.kind != "no_denial" else None,
        encoded_message=encoded["encoded"] if encoded else denial.encoded_message,
        authorization_id=identifier["id"] if identifier else None,
        role=denial.role or (_find_role(text) if denial.kind == "web_identity" else None),
        node_program=find_node_program(text),
    )


def _identify(denial: AccessDenial) -> tuple[str, str, Optional[str], Optional[str]]:
    return denial.side, denial.kind, denial.action, denial.resource


def _is_shortened(other: AccessDenial, denial: AccessDenial) -> bool:
    """The same denial once more, cut off: programs repeat an error in a summary."""
    return bool(other.action and other.action == denial.action and other.caller in (None, denial.caller)) and (
        other.kind == "unstated" or other.resource is None
    )


def _choose_complete(findings: list[Finding]) -> AccessDenial:
    """Prefer the repetition of the first denial that names the policy: a summary may have cut the first off."""
    _position, rank, first = findings[0]
    if first.action is None or first.kind != "unstated" or first.explicit_deny:
        return first
    for _at, other_rank, other in findings[1:]:
        is_same = (
            other.action == first.action
            and first.caller in (None, other.caller)
            and first.resource in (None, other.resource)
        )
        if is_same and other_rank == rank and other.kind != "unstated":
            return other
    return first


def _read_without_sentence(text: str, bare: Optional[re.Match[str]], encoded: Optional[re.Match[str]]) -> AccessDenial:
    clause = read_clause(text)
    if clause and (clause.action or clause.kind not in ("other_policy", "unstated") or bare):
        denial = AccessDenial(UNKNOWN, "unstated", "", text[clause.start : clause.end])
        return classify_action(denial, clause)
    if encoded:
        return AccessDenial(PERMISSION, "unstated", "The message is encoded.", encoded[0][:60])
    if _ENCODED_TEXT.fullmatch(text):
        return AccessDenial(UNKNOWN, "encoded", "The message is encoded.", text[:60], encoded_message=text)
    status, has_trace = _STATUS.search(text), bool(_AWS_TRACE.search(text))
    shown = bare or (status if has_trace and not _OTHER_PROGRAM.search(text) else None)
    if shown:
        if bare and _find_operation(text) == "AssumeRoleWithWebIdentity":
            return build_web_identity_denial(bare[0])
        reason = "Access was denied, and the message names neither the caller nor the policy."
        if has_trace:
            reason += " AWS answers like this across organizations, and some services always do."
        else:
            reason += " Nothing else in the text shows that AWS sent it: other programs use this code, too."
        return AccessDenial(UNKNOWN, "bare_error_code", reason, shown[0])
    if status:
        reason = f'The text reports "{status[0]}", and nothing in it shows that AWS denied the request.'
        return AccessDenial(UNKNOWN, "no_denial", reason, status[0])
    return AccessDenial(UNKNOWN, "no_denial", "The message contains no denial of AWS that this module knows.")


def _find_operation(text: str) -> Optional[str]:
    """Find the API operation, where the SDK's error names it."""
    for pattern in (
        r"when calling the (\w+) operation",
        r"operation error [^:]{1,60}: (\w+)",
        r"Error (?:executing|calling) \"?([A-Z]\w+)\"? (?:on|for)",
    ):
        found = re.findall(pattern, text)
        if found:
            return str(found[-1])  # the innermost call: it failed first
    return None


_ROLE = re.compile(r"\brole[\w -]{0,20}[\"':= ]{1,4}(arn:aws[\w-]*:iam::\d{12}:role/[\w+=,.@/-]+)", re.IGNORECASE)


def _find_role(text: str) -> Optional[str]:
    """Find the requested role, where the text names one role and no other."""
    found = {role.rstrip(".,") for role in _ROLE.findall(text)}
    return found.pop() if len(found) == 1 else None


def find_node_program(text: str) -> Optional[str]:
    for name, pattern in _NODE_PROGRAMS:
        if re.search(pattern, text, re.IGNORECASE):
            return name
    return None
