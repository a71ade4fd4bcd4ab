# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the options before anything is read or written: what AWS's API models and documents state about values.

docs/facts/sysctl_nodegroup.md#values-that-eks-accepts
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .errors import SysctlError

_LABEL_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = rf"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?/)?{_LABEL_NAME}"
RESERVED_LABEL_DOMAINS = ("kubernetes.io", "k8s.io", "eks.amazonaws.com")
MOST_INSTANCE_TYPES = 20
MOST_TAINTS = 50
MOST_TAGS = 50
RESERVED_TAG_PREFIXES = ("aws:", "daytwo.aws/")


@dataclass(frozen=True)
class TextRule:
    """What a text must be. C(longest): 0 where the pattern limits it."""

    description: str
    pattern: str
    longest: int = 0

    def matches(self, value: str) -> bool:
        return bool(re.fullmatch(self.pattern, value)) and (not self.longest or len(value) <= self.longest)


@dataclass(frozen=True)
class NumberRule:
    """The range of a number. C(highest): None where AWS states no maximum."""

    lowest: int
    highest: Optional[int] = None

    @property
    def description(self) -> str:
        return f"{self.lowest} or more" if self.highest is None else f"{self.lowest} to {self.highest}"

    def matches(self, value: int) -> bool:
        return value >= self.lowest and (self.highest is None or value <= self.highest)


_GROUP_NAME = TextRule(
    "1 to 63 letters, digits, hyphens and underscores, the first a letter or digit", r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
)
TEXT_RULES: Mapping[str, TextRule] = {
    "cluster": TextRule(
        "1 to 100 letters, digits, hyphens and underscores, the first a letter or digit",
        r"[0-9A-Za-z][A-Za-z0-9\-_]*",
        100,
    ),
    "name": _GROUP_NAME,
    "names": _GROUP_NAME,
    "generations_of": _GROUP_NAME,
    "clone_from": _GROUP_NAME,
    "sysctls": TextRule("the name of a sysctl, or a pattern", r"\S+"),
    "instance_types": TextRule("an instance type, such as m7i.large", r"[a-z0-9][a-z0-9-]*\.[a-z0-9-]+"),
    "subnets": TextRule("the id of a subnet, such as subnet-0123456789abcdef0", r"subnet-[0-9a-f]{8,17}"),
    "security_groups": TextRule("the id of a security group, such as sg-0123456789abcdef0", r"sg-[0-9a-f]{8,17}"),
    "node_role": TextRule(
        "the ARN of an IAM role, such as arn:aws:iam::123456789012:role/nodes", r"arn:aws[a-z-]*:iam::\d{12}:role/\S+"
    ),
    "ami_id": TextRule("the id of an AMI, such as ami-0123456789abcdef0", r"ami-[0-9a-f]{8,17}"),
    "version": TextRule("a Kubernetes version, such as 1.34", r"1\.\d+"),
    "release_version": TextRule("an AMI release, such as 1.34.2-20261112", r"[0-9A-Za-z][0-9A-Za-z._+-]*"),
}
NUMBER_RULES: Mapping[str, NumberRule] = {
    "scaling.min_size": NumberRule(0),
    "scaling.max_size": NumberRule(1),
    "scaling.desired_size": NumberRule(0),
    "update_config.max_unavailable": NumberRule(1, 100),
    "update_config.max_unavailable_percentage": NumberRule(1, 100),
    "disk_size": NumberRule(1, 65536),
    "wait_timeout": NumberRule(1),
    "wait_delay": NumberRule(1),
}
LABEL_KEY = TextRule("a Kubernetes label key of at most 63 characters", _LABEL_KEY, 63)
LABEL_VALUE = TextRule("a Kubernetes label value of 1 to 63 characters", _LABEL_NAME, 63)
TAINT_VALUE = TextRule("empty, or a Kubernetes label value of at most 63 characters", rf"(?:{_LABEL_NAME})?", 63)
TAG_KEY = TextRule("1 to 128 characters", r"[\s\S]+", 128)
TAG_VALUE = TextRule("at most 256 characters", r"[\s\S]*", 256)


def check_options(params: Mapping[str, Any]) -> None:
    """Reject options that AWS does not accept. The message names every one of them."""
    problems = [
        *_find_text_problems(params),
        *_find_number_problems(params),
        *_find_size_problems(params),
        *_find_list_problems(params),
        *_find_label_problems(params.get("labels") or {}),
        *_find_taint_problems(params.get("taints") or ()),
        *_find_tag_problems(params.get("tags") or {}),
    ]
    if problems:
        raise SysctlError(f"nothing was changed: {'. '.join(problems)}")


def _report(option: str, value: Any, description: str) -> str:
    return f"{option} is {value!r}. Set it to {description}"


def _is_text(value: Any) -> bool:
    """Whether YAML's value has one meaning as a text: C(yes) has become C(True)."""
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _find_text_problems(params: Mapping[str, Any]) -> Iterator[str]:
    for option, rule in TEXT_RULES.items():
        value = params.get(option)
        texts = value if isinstance(value, (list, tuple)) else () if value is None else (value,)
        yield from (_report(option, text, rule.description) for text in texts if not rule.matches(str(text)))


def _find_number_problems(params: Mapping[str, Any]) -> Iterator[str]:
    for option, rule in NUMBER_RULES.items():
        name, _dot, key = option.partition(".")
        value = (params.get(name) or {}).get(key) if key else params.get(name)
        if value is not None and not rule.matches(int(value)):
            yield _report(option, value, rule.description)


def _find_size_problems(params: Mapping[str, Any]) -> Iterator[str]:
    scaling = params.get("scaling") or {}
    for smaller, larger in (("min_size", "max_size"), ("min_size", "desired_size"), ("desired_size", "max_size")):
        low, high = scaling.get(smaller), scaling.get(larger)
        if low is not None and high is not None and low > high:
            yield f"scaling.{smaller} is {low}, above scaling.{larger}, which is {high}. Exchange or correct them"
    update = params.get("update_config") or {}
    if update.get("max_unavailable") is not None and update.get("max_unavailable_percentage") is not None:
        yield "update_config has max_unavailable and max_unavailable_percentage. Set only one of them"


def _find_list_problems(params: Mapping[str, Any]) -> Iterator[str]:
    for option in ("names", "instance_types", "subnets"):
        if params.get(option) == []:
            yield f"{option} is an empty list. Name at least one"
    count = len(params.get("instance_types") or ())
    if count > MOST_INSTANCE_TYPES:
        yield f"instance_types has {count} types. Name at most {MOST_INSTANCE_TYPES}"
    if params.get("ami_id") and params.get("release_version"):
        yield "ami_id and release_version are set, and EKS takes no release for a custom AMI. Set only one of them"


def _find_label_problems(labels: Mapping[str, Any]) -> Iterator[str]:
    for key, value in labels.items():
        domain = str(key).rpartition("/")[0]
        if not LABEL_KEY.matches(str(key)):
            yield _report("the key of a label", key, LABEL_KEY.description)
        if any(domain == reserved or domain.endswith(f".{reserved}") for reserved in RESERVED_LABEL_DOMAINS):
            yield f"label {key} has a prefix that EKS reserves ({', '.join(RESERVED_LABEL_DOMAINS)}). Use another one"
        if not _is_text(value) or not LABEL_VALUE.matches(str(value)):
            yield _report(f"label {key}", value, f"{LABEL_VALUE.description}, in quotes")


def _find_taint_problems(taints: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(taints) > MOST_TAINTS:
        yield f"taints has {len(taints)} taints. Set at most {MOST_TAINTS}"
    pairs = [(taint.get("key"), str(taint.get("effect")).replace("_", "").lower()) for taint in taints]
    for number, taint in enumerate(taints):
        key, value = str(taint.get("key") or ""), str(taint.get("value") or "")
        if not LABEL_KEY.matches(key):
            yield _report("the key of a taint", key, LABEL_KEY.description)
        if not TAINT_VALUE.matches(value):
            yield _report(f"the value of taint {key}", value, TAINT_VALUE.description)
        if pairs[number] in pairs[:number]:
            yield f"taint {key} is there twice with effect {taint.get('effect')}. Remove one of them"


def _find_tag_problems(tags: Mapping[str, Any]) -> Iterator[str]:
    if len(tags) > MOST_TAGS:
        yield f"tags has {len(tags)} tags. Set at most {MOST_TAGS}"
    for key, value in tags.items():
        if not TAG_KEY.matches(str(key)):
            yield _report("the key of a tag", key, TAG_KEY.description)
        if str(key).startswith(RESERVED_TAG_PREFIXES):
            yield f"tag {key} has a reserved prefix ({', '.join(RESERVED_TAG_PREFIXES)}). Use another key"
        if not _is_text(value) or not TAG_VALUE.matches(str(value)):
            yield _report(f"tag {key}", value, f"{TAG_VALUE.description}, in quotes")
