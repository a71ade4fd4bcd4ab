# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call to a service by its API name, with its failure apart from the client library."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional

try:
    from botocore.exceptions import BotoCoreError, ClientError

    _ERRORS: tuple[type[Exception], ...] = (BotoCoreError, ClientError)
except ImportError:  # without botocore there is no client that could raise anything
    _ERRORS = ()

IAM_PREFIX = {"monitoring": "cloudwatch"}  # where a policy's name for a service is not the one it signs with
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


class GuardError(Exception):
    """A call that failed: which one, in the service's own words, and what to do."""


def call(client: Any, operation: str, missing: Sequence[str] = (), **arguments: Any) -> Optional[Mapping[str, Any]]:
    """The answer, or None where the service says with a code of C(missing) that the thing is not there."""
    method = re.sub(r"(?<!^)([A-Z])", r"_\1", operation).lower()
    try:
        answer: Mapping[str, Any] = getattr(client, method)(**arguments)
    except _ERRORS as error:
        told = getattr(error, "response", {}).get("Error", {})
        code = told.get("Code") or type(error).__name__
        if code in missing:
            return None
        signing = client.meta.service_model.signing_name
        service = IAM_PREFIX.get(signing, signing)
        way_out = f"Allow {service}:{operation} to these credentials." if code in DENIED else "Run again once mended."
        raise GuardError(f"{operation}: {code}: {told.get('Message') or error}. {way_out}") from error
    return answer


def tags_of(listed: Optional[Sequence[Mapping[str, str]]]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in listed or ()}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
