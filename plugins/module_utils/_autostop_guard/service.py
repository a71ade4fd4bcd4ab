# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guard's services have in common: resources that can be missing, and tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .._aws_call import ApiError, call_api


def get_optional(
    client: Any, operation: str, not_found_codes: Sequence[str], **arguments: Any
) -> Optional[Mapping[str, Any]]:
    """The response; None if the service returns one of C(not_found_codes)."""
    try:
        return call_api(client, operation, **arguments)
    except ApiError as error:
        if error.code in not_found_codes:
            return None
        raise


def parse_tags(tag_entries: Optional[Sequence[Mapping[str, str]]]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in tag_entries or ()}


def to_tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
