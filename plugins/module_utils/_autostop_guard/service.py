# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls a service by API name. Errors are independent of the client library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .. import _aws_call
from .._aws_call import DENIED_CODES, ApiError, get_iam_action


class GuardError(Exception):
    """A call that failed: the operation, the service's own message, and what to do."""


def call_api(
    client: Any, operation: str, not_found_codes: Sequence[str] = (), **arguments: Any
) -> Optional[Mapping[str, Any]]:
    """The response; None if the service returns one of C(not_found_codes)."""
    try:
        return _aws_call.call_api(client, operation, **arguments)
    except ApiError as error:
        if error.code in not_found_codes:
            return None
        denied = error.code in DENIED_CODES
        suggestion = (
            f"Allow {get_iam_action(client, operation)} to these credentials."
            if denied
            else "Fix the cause, then run again."
        )
        raise GuardError(f"{error}. {suggestion}") from error


def parse_tags(tag_entries: Optional[Sequence[Mapping[str, str]]]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in tag_entries or ()}


def to_tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
