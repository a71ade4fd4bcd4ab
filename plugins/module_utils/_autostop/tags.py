# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Matches the tags of a database against the options, and finds its hold tag."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Optional

from .model import AutostopOptions, format_timestamp

HOLD_KEY = "autostop-until"  # key of the hold tag: it keeps a cluster running until its date

MATCH = "match"
MISMATCH = "mismatch"  # a tag mismatch, probably a typing error: reported, never acted on
OTHER = "other"  # the tag key with another value, such as "no"
NONE = "none"

_AFFIRMATIVE = ("yes", "y", "true", "on", "1", "enabled")


@dataclass(frozen=True)
class TagMatch:
    """The kind of match. C(key) and C(value) are the tag that matches."""

    kind: str
    key: str = ""
    value: str = ""

    @property
    def text(self) -> str:
        return f"{self.key}={self.value}"


def match_tags(tags: Mapping[str, str], options: AutostopOptions) -> TagMatch:
    """Keys and values match exactly. A tag mismatch differs in case, in blanks, or in the word for yes."""
    if options.tag_key in tags:
        value = tags[options.tag_key]
        if value in options.tag_values:
            return TagMatch(MATCH, options.tag_key, value)
        return TagMatch(MISMATCH if _is_similar_value(value, options) else OTHER, options.tag_key, value)
    for key, value in tags.items():
        if _normalize(key) == _normalize(options.tag_key) and (
            value in options.tag_values or _is_similar_value(value, options)
        ):
            return TagMatch(MISMATCH, key, value)
    return TagMatch(NONE)


def _is_similar_value(value: str, options: AutostopOptions) -> bool:
    normalized = _normalize(value)
    return normalized in _AFFIRMATIVE or normalized in [_normalize(expected) for expected in options.tag_values]


def _normalize(text: str) -> str:
    """Without case, blanks and separators; letters of full width are the same as those of half width."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded)) or folded


@dataclass(frozen=True)
class Hold:
    """The hold tag of a cluster, which keeps it running. C(until) is None if the value is not a date: it holds."""

    key: str
    value: str
    until: Optional[datetime]
    warning: Optional[str] = None

    def is_active(self, now: datetime) -> bool:
        return self.until is None or now < self.until

    @property
    def text(self) -> str:
        return (
            f"held running until {format_timestamp(self.until)}" if self.until else "held running without an end date"
        )


def find_hold(tags: Mapping[str, str]) -> Optional[Hold]:
    """The hold tag of a cluster. A malformed hold tag holds as well and warns: the database may be in use.

    Of several spellings, the one that holds longest counts.
    """
    holds = [_parse_hold(key, value) for key, value in tags.items() if _normalize(key) == _normalize(HOLD_KEY)]
    endless = next((hold for hold in holds if hold.until is None), None)
    return endless or max(holds, key=lambda hold: hold.until or datetime.max, default=None)


def _parse_hold(key: str, value: str) -> Hold:
    until = parse_timestamp(value)
    warning = None
    if key != HOLD_KEY:
        warning = f"tag {key}={value} is taken for the hold tag {HOLD_KEY}: rename it."
    if until is None:
        warning = (
            f"the hold tag {key}={value} holds without an end date, because it is not an ISO 8601 date or time. "
            "Write it like 2026-12-24 or 2026-12-24T18:00:00Z."
        )
    return Hold(key, value, until, warning)


_TIMESTAMP = re.compile(
    r"(\d{4})-?(\d{2})-?(\d{2})(?:[T ](\d{2}):?(\d{2})(?::?(\d{2})(?:[.,]\d+)?)?\s*(Z|[+-]\d{2}(?::?\d{2})?)?)?",
    re.IGNORECASE,
)


def parse_timestamp(text: str) -> Optional[datetime]:
    """Parses ISO 8601, which Python 3.9 supports only in part. Without offset: UTC. A date lasts until its end."""
    match = _TIMESTAMP.fullmatch(text.strip())
    if not match:
        return None
    year, month, day, hour, minute, second, offset = match.groups()
    try:
        timestamp = datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            tzinfo=_parse_offset(offset),
        )
        return timestamp if hour else timestamp + timedelta(days=1)
    except (ValueError, OverflowError):
        return None


def _parse_offset(offset: Optional[str]) -> timezone:
    if not offset or offset in "Zz":
        return timezone.utc
    digits = offset[1:].replace(":", "").ljust(4, "0")
    shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(shift if offset[0] == "+" else -shift)
