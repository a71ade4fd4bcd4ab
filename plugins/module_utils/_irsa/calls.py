# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of AWS services, with their errors as C(CallError), independent of the client library's exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import _aws_call
from .._aws_call import DENIED_CODES, ApiError


class CallError(Exception):
    """A failed call: the operation, the error code, and the service's own message."""

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
        return "Fix the cause, and run again."


def call_api(client: Any, operation: str, **arguments: Any) -> Mapping[str, Any]:
    """One call by its API name. Raises CallError."""
    try:
        return _aws_call.call_api(client, operation, **arguments)
    except ApiError as error:
        service = client.meta.service_model.service_name
        raise CallError(service, operation, error.code, error.message) from error
