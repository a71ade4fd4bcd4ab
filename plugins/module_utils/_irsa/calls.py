# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of AWS's services, and what they answer instead of doing it, apart from the client library that said so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

try:
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError  # an answer of something in between, such as a proxy's page

    _SERVICE_ERRORS: tuple[type[Exception], ...] = (BotoCoreError, ClientError, ResponseParserError)
except ImportError:  # without botocore there is no client that could raise anything
    _SERVICE_ERRORS = ()

DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


class CallError(Exception):
    """A call that failed: which one, with which code, and in the service's own words."""

    def __init__(self, service: str, operation: str, code: str, message: str) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.service = service
        self.operation = operation
        self.code = code
        self.message = message

    @property
    def way_out(self) -> str:
        if self.code in DENIED:
            return f"Allow {self.service}:{self.operation} to these credentials."
        return "Run again once that is mended."


def _method(operation: str) -> str:
    """As botocore names it: GetOpenIDConnectProvider is get_open_id_connect_provider."""
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", operation)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", parted).lower()


def call(client: Any, operation: str, **arguments: Any) -> Mapping[str, Any]:
    """One call by its API name."""
    try:
        answer: Mapping[str, Any] = getattr(client, _method(operation))(**arguments)
    except _SERVICE_ERRORS as error:
        told = getattr(error, "response", {}).get("Error", {})
        code, message = told.get("Code") or type(error).__name__, told.get("Message") or str(error)
        raise CallError(client.meta.service_model.service_name, operation, code, message) from error
    return answer
