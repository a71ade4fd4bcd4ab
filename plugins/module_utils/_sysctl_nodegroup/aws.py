# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call to AWS, by a ready botocore client: what fails is told in AWS's own words, apart from botocore."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import ServiceError

try:
    from botocore.exceptions import BotoCoreError, ClientError

    _SERVICE_ERRORS: tuple[type[Exception], ...] = (BotoCoreError, ClientError)
except ImportError:  # without botocore there is no client that could raise anything
    _SERVICE_ERRORS = ()

CLIENT_CONFIG = {"retries": {"mode": "standard", "total_max_attempts": 6}}


def call(client: Any, operation: str, **arguments: Any) -> Mapping[str, Any]:
    method = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
    try:
        answer: Mapping[str, Any] = getattr(client, method)(**arguments)
    except _SERVICE_ERRORS as error:
        told = getattr(error, "response", {}).get("Error", {})
        raise ServiceError(
            operation, str(told.get("Code") or type(error).__name__), str(told.get("Message") or error)
        ) from error
    return answer


def pages(client: Any, operation: str, key: str, token: str, **arguments: Any) -> Iterator[Any]:
    """Every entry of every page; C(token) is the parameter's name, the answer's is the same."""
    seen: set[str] = set()
    more: dict[str, Any] = {}
    while True:
        answer = call(client, operation, **arguments, **more)
        yield from answer.get(key) or ()
        following = answer.get(token)
        if not following:
            return
        if following in seen:
            raise ServiceError(operation, "RepeatedToken", "the service returned the same page twice")
        seen.add(following)
        more = {token: following}
