# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call to a service by its API name, with its failure apart from the client library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .. import _aws_call
from .._aws_call import DENIED, ApiError, action_of


class GuardError(Exception):
    """A call that failed: which one, in the service's own words, and what to do."""


def call(client: Any, operation: str, missing: Sequence[str] = (), **arguments: Any) -> Optional[Mapping[str, Any]]:
    """The answer, or None where the service says with a code of C(missing) that the thing is not there."""
    try:
        return _aws_call.call(client, operation, **arguments)
    except ApiError as error:
        if error.code in missing:
            return None
        denied = error.code in DENIED
        way_out = f"Allow {action_of(client, operation)} to these credentials." if denied else "Run again once mended."
        raise GuardError(f"{error}. {way_out}") from error


def tags_of(listed: Optional[Sequence[Mapping[str, str]]]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in listed or ()}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
