# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of AWS's services, and what they answer instead of doing it, apart from the client library that said so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import _aws_call
from .._aws_call import DENIED_CODES, ApiError


class CallError(Exception):
    """A call that failed: which one, with which code, and in the service's own words."""

    def __init__(self, service: str, operation: str, code: str, message: str) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.service = service
        self.operation = operation
        self.code = code
        self.message = message

    @property
    def suggestion(self) -> str:
        if self.code in DENIED_CODES:
            return f"Allow {self.service}:{self.operation} to these credentials."
        return "Run again once that is mended."


def call_api(client: Any, operation: str, **arguments: Any) -> Mapping[str, Any]:
    """One call by its API name."""
    try:
        return _aws_call.call_api(client, operation, **arguments)
    except ApiError as error:
        service = client.meta.service_model.service_name
        raise CallError(service, operation, error.code, error.message) from error
