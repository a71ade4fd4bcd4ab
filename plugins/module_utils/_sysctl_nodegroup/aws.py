# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Call AWS by a ready botocore client. A failure carries AWS's own message, independent of botocore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .. import _aws_call
from .._aws_call import ApiError
from .errors import SysctlServiceError

CLIENT_CONFIG = {"retries": {"mode": "standard", "total_max_attempts": 6}}


def call_api(client: Any, operation: str, **arguments: Any) -> Mapping[str, Any]:
    try:
        return _aws_call.call_api(client, operation, **arguments)
    except ApiError as error:
        raise SysctlServiceError(operation, error.code, error.message) from error


def paginate(client: Any, operation: str, key: str, token: str, **arguments: Any) -> Iterator[Any]:
    """Yield every entry of every page. C(token) names the token in the request and in the response."""
    used_tokens: set[str] = set()
    next_page: dict[str, Any] = {}
    while True:
        response = call_api(client, operation, **arguments, **next_page)
        yield from response.get(key) or ()
        next_token = response.get(token)
        if not next_token:
            return
        if next_token in used_tokens:
            raise SysctlServiceError(operation, "RepeatedToken", "the service returned the same page twice")
        used_tokens.add(next_token)
        next_page = {token: next_token}
