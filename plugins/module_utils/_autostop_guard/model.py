# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a guard in a region by name and ARN, and the parts that exist."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

DEFAULT_SWEEP_SCHEDULE = "rate(1 day)"
OWNER_TAG = "daytwo-aws-autostop-guard"  # its value is the prefix
PREFIX_PATTERN = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}"
)  # a role's name has at most 64 characters, and includes the region

LOG_GROUP = "log_group"
DEAD_LETTER_QUEUE = "dead_letter_queue"
QUEUE = "queue"
ROLE = "role"
FUNCTION = "function"
EVENT_RULE = "event_rule"
SWEEP_RULE = "sweep_rule"
ALARM = "alarm"


class PrefixError(ValueError):
    """An invalid prefix for the names of the guard's parts."""


@dataclass(frozen=True)
class GuardLocation:
    """The location of a guard: prefix, region, account and partition."""

    prefix: str
    region: str
    account: str
    partition: str = "aws"

    def __post_init__(self) -> None:
        if not PREFIX_PATTERN.fullmatch(self.prefix):
            raise PrefixError(
                f"prefix {self.prefix!r} is invalid. Use 1 to 40 letters, digits, hyphens and underscores, and "
                "begin with a letter or digit."
            )

    @property
    def names(self) -> dict[str, str]:
        """By kind, in the order of creation. The role's name includes the region, because IAM has no regions."""
        return {
            LOG_GROUP: f"/aws/lambda/{self.prefix}",
            DEAD_LETTER_QUEUE: f"{self.prefix}-dlq",
            QUEUE: self.prefix,
            ROLE: f"{self.prefix}-{self.region}",
            FUNCTION: self.prefix,
            EVENT_RULE: f"{self.prefix}-events",
            SWEEP_RULE: f"{self.prefix}-sweep",
            ALARM: f"{self.prefix}-dlq",
        }

    @property
    def arns(self) -> dict[str, str]:
        forms = {
            LOG_GROUP: "logs:{0}:{1}:log-group:",
            DEAD_LETTER_QUEUE: "sqs:{0}:{1}:",
            QUEUE: "sqs:{0}:{1}:",
            ROLE: "iam::{1}:role/",
            FUNCTION: "lambda:{0}:{1}:function:",
            EVENT_RULE: "events:{0}:{1}:rule/",
            SWEEP_RULE: "events:{0}:{1}:rule/",
            ALARM: "cloudwatch:{0}:{1}:alarm:",
        }
        return {
            kind: f"arn:{self.partition}:{forms[kind].format(self.region, self.account)}{name}"
            for kind, name in self.names.items()
        }

    @property
    def owner_tag(self) -> dict[str, str]:
        return {OWNER_TAG: self.prefix}


@dataclass(frozen=True)
class GuardState:
    """The tags of the resource with each name; None if it does not exist."""

    location: GuardLocation
    tags: Mapping[str, Optional[Mapping[str, str]]] = field(default_factory=dict)

    def is_owned(self, kind: str) -> bool:
        return (self.tags.get(kind) or {}).get(OWNER_TAG) == self.location.prefix

    @property
    def present(self) -> list[str]:
        """The kinds that exist and have the guard's owner tag."""
        return [kind for kind in self.location.names if self.is_owned(kind)]

    @property
    def unmanaged(self) -> list[str]:
        """The kinds whose name belongs to a resource without the guard's owner tag."""
        return [kind for kind in self.location.names if self.tags.get(kind) is not None and not self.is_owned(kind)]
