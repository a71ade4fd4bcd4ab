# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clause of a denial that names the policy type, wherever it stands, and the resource before it.

See docs/facts/irsa.md#the-clause-that-names-the-policy-type. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

# A policy type: the kind that is reported, AWS's name for it, and its spellings. The guide of IAM also writes "a
# sessions policy"; people and services write the short forms.
_POLICY_TYPES: tuple[tuple[str, str, str], ...] = (
    ("identity_policy", "identity-based policy", r"identity[\s-]*(?:based[\s-]*)?polic(?:y|ies)"),
    ("permissions_boundary", "permissions boundary", r"permissions?[\s-]*boundar(?:y|ies)(?: polic(?:y|ies))?"),
    (
        "service_control_policy",
        "service control policy",
        r"service[\s-]control[\s-]polic(?:y|ies)(?: \(SCPs?\))?|SCPs?",
    ),
    (
        "resource_control_policy",
        "resource control policy",
        r"resource[\s-]control[\s-]polic(?:y|ies)(?: \(RCPs?\))?|RCPs?",
    ),
    ("session_policy", "session policy", r"sessions?[\s-]polic(?:y|ies)"),
    ("vpc_endpoint_policy", "VPC endpoint policy", r"(?:VPC[\s-])?endpoint[\s-]polic(?:y|ies)|VPCE polic(?:y|ies)"),
    ("trust_policy", "role trust policy", r"(?:role(?:'s)? )?(?:trust|assume[\s-]role)[\s-]polic(?:y|ies)"),
    (
        "resource_policy",
        "resource-based policy",
        r"(?:resource[\s-]*(?:based[\s-]*)?|bucket |access point |key |repository |queue |topic )polic(?:y|ies)",
    ),
)
POLICY_TYPE_NAMES = {kind: name for kind, name, _pattern in _POLICY_TYPES}
_KNOWN = "|".join(pattern for _kind, _name, pattern in _POLICY_TYPES)
_ARTICLE = r"(?:(?:an?(?:\(n\))?|the|your|its|any) )?"
_ACTION = r"[A-Za-z][\w-]*:[\w*]+"
_POLICY_ID = r"(?:arn:[^\s\"'`<>()]+|p-[0-9a-z]{8,128}\b)"

_IMPLICIT = re.compile(
    rf"\bbecause (?:there is )?no (?P<type>{_KNOWN}|[\w' ()/-]{{3,60}}?)"
    rf"(?: (?:that )?(?:allows?|grants?|permits?)\b(?: (?:the )?[\"'`]?(?P<action>{_ACTION})?[\"'`]?(?: ?action\b)?)?"
    rf"(?: ?[:(] ?(?P<policy>{_POLICY_ID}))?|$)",
    re.IGNORECASE,
)
_EXPLICIT = re.compile(
    r"\b(?:(?:with|due to|because of|by) (?:an? )?)?(?<!\bno )(?<!without an )(?<!not an )"
    r"explicit(?:ly)?[ -]?(?:deny|denies|denied|denial)\b(?!\"? ?[:=] ?\"?false)"
    rf"(?: (?:statement |of access )?(?:in|by|from|of) {_ARTICLE}(?P<type>(?:{_KNOWN})|[\w-]+(?: [\w-]+){{0,3}}? "
    r"policy)\b"
    rf"(?: transitively through {_ARTICLE}(?P<through>{_KNOWN}))?)?"
    rf"(?: ?[:(]? ?(?P<policy>{_POLICY_ID}))?",
    re.IGNORECASE,
)
# KMS names three possible causes where it must not reveal the actual cause.
_AMBIGUOUS = re.compile(
    r"\bbecause the resource does not exist in this Region, no resource-based polic.{0,120}?(?:explicitly denies"
    r"(?: access)?|$)",
    re.IGNORECASE,
)
# A sentence of another kind, such as "because public policies are prevented by the BlockPublicPolicy setting".
_OTHER_REASON = re.compile(r"[ ,]*(?:because|due to) (?P<phrase>[^.;({]{5,200})", re.IGNORECASE)
# The service states the policy type in a sentence of its own, as in CloudTrail's network activity events.
_POLICY_DENIES = re.compile(
    rf"(?:denied (?:due to|by) {_ARTICLE}(?P<by>{_KNOWN})|\bThe (?P<subject>{_KNOWN}) (?:denies|denied))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class PolicyClause:
    """What a clause states. C(kind): the policy type; "unstated" for an explicit Deny in a policy that is not named."""

    kind: str
    phrase: str
    is_explicit: bool
    start: int
    end: int
    action: Optional[str] = None
    policy: Optional[str] = None
    through: Optional[str] = None
    is_ambiguous: bool = False


def _classify_phrase(phrase: str) -> str:
    plain = " ".join(phrase.split())
    for kind, _name, pattern in _POLICY_TYPES:
        if re.fullmatch(pattern, plain, re.IGNORECASE):
            return kind
    return "other_policy"


def _describe_policy_type(kind: str, phrase: str) -> str:
    return POLICY_TYPE_NAMES.get(kind, " ".join(phrase.split()))


def strip_punctuation(text: str) -> str:
    return text.strip("\"'`").rstrip(".,;)]}\"'`\\")


def _build_clause(match: re.Match[str], is_explicit: bool) -> PolicyClause:
    groups = match.groupdict()
    phrase = groups["type"] or ""
    kind = _classify_phrase(phrase) if phrase else "unstated"
    through = groups.get("through")
    return PolicyClause(
        kind,
        _describe_policy_type(kind, phrase),
        is_explicit,
        match.start(),
        match.end(),
        groups.get("action"),
        strip_punctuation(groups["policy"]) if groups["policy"] else None,
        _classify_phrase(through) if through else None,
    )


def read_clause(text: str) -> Optional[PolicyClause]:
    """Read the first clause of a text that begins behind a denied action."""
    ambiguous = _AMBIGUOUS.search(text)
    if ambiguous:
        phrase = POLICY_TYPE_NAMES["resource_policy"]
        clauses = [
            PolicyClause("resource_policy", phrase, False, ambiguous.start(), ambiguous.end(), is_ambiguous=True)
        ]
        text = text[: ambiguous.start()] + " " * (ambiguous.end() - ambiguous.start()) + text[ambiguous.end() :]
    else:
        clauses = []
    implicit, explicit, denies = _IMPLICIT.search(text), _EXPLICIT.search(text), _POLICY_DENIES.search(text)
    if implicit and (implicit["action"] or " allow" in implicit[0].lower() or _is_known(implicit["type"])):
        clauses.append(_build_clause(implicit, False))
    if explicit:
        clauses.append(_build_clause(explicit, True))
    if denies:
        kind = _classify_phrase(denies["by"] or denies["subject"])
        clauses.append(PolicyClause(kind, _describe_policy_type(kind, ""), True, denies.start(), denies.end()))
    return min(clauses, key=lambda clause: clause.start) if clauses else None


def _is_known(phrase: str) -> bool:
    return _classify_phrase(phrase) != "other_policy"


def read_other_reason(text: str, start: int) -> Optional[PolicyClause]:
    """Read another reason that directly follows the action and the resource, which end at C(start)."""
    match = _OTHER_REASON.match(text, start)
    if match is None:
        return None
    return PolicyClause("other_policy", match["phrase"].strip(), False, match.start(), match.end())


# --- The resource.

_NAMED_KINDS = (
    "role|user|group|policy|secret|instance profile|server certificate|mfa device|saml provider|oidc provider|"
    "repository|cluster|table|key|bucket|queue|topic|function|parameter|log group"
)
_ON_RESOURCE = re.compile(r"[ ,]*(?:on|for) (?:the )?(?P<label>(?:following )?resources?(?: ?:)? ?)?", re.IGNORECASE)
_QUOTED = re.compile(r"([\"'`\[])(?P<content>[^\"'`\]]+)[\"'`\]]")
_NAME = re.compile(rf"(?:(?:{_NAMED_KINDS}) )?[^\s,;(){{}}]+", re.IGNORECASE)


def read_resource(text: str, is_complete: bool) -> tuple[Optional[str], int]:
    """Read the resource that follows an action, and where it ends. C(is_complete): a clause follows the text directly,
    so that blanks belong to the resource.
    """
    start = _ON_RESOURCE.match(text)
    if start is None:
        return None, 0
    rest = text[start.end() :]
    quoted = _QUOTED.match(rest)
    if quoted:
        return quoted["content"].strip(), start.end() + quoted.end()
    if rest.lower().startswith(("arn:", "*")):
        resource = rest if is_complete and re.match(r"arn:[\w-]+:s3:", rest) else rest.split(" ", 1)[0]
        return strip_punctuation(resource.strip()), start.end() + len(resource)
    if not start["label"] or not start["label"].strip().endswith(":"):
        # "on this resource", "on the resource associated with this ciphertext": it is not named.
        skipped = re.match(r"(?:associated with (?:this|the) \w+|this resource|resource)", rest, re.IGNORECASE)
        return None, start.end() + (skipped.end() if skipped else 0)
    name = _NAME.match(rest)
    if name is None:
        return None, start.end()
    return strip_punctuation(name[0]) or None, start.end() + name.end()
