# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call to an AWS service by its API name, by a ready botocore client; its failure told apart from botocore."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

try:
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError  # an answer of something in between, such as a proxy's page

    CLIENT_ERRORS: tuple[type[Exception], ...] = (BotoCoreError, ClientError, ResponseParserError)
except ImportError:  # without botocore there is no client that could raise anything
    CLIENT_ERRORS = ()

DENIED_CODES = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_IAM_PREFIX = {"monitoring": "cloudwatch"}  # where a policy's name for a service is not the one it signs with


class ApiError(Exception):
    """A call that failed: which one, with which code, and in the service's own words."""

    def __init__(self, operation: str, code: str, message: str) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.operation = operation
        self.code = code
        self.message = message


def get_method_name(operation: str) -> str:
    """As botocore names it: GetOpenIDConnectProvider is get_open_id_connect_provider."""
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", operation)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", parted).lower()


def get_iam_action(client: Any, operation: str) -> str:
    """As an IAM policy names it."""
    signing = client.meta.service_model.signing_name
    return f"{_IAM_PREFIX.get(signing, signing)}:{operation}"


def call_api(client: Any, operation: str, **arguments: Any) -> Mapping[str, Any]:
    """The service's answer.

    Raises: ApiError, also where nobody answered; C(code) is then the name of what the client library says.
    """
    try:
        response: Mapping[str, Any] = getattr(client, get_method_name(operation))(**arguments)
    except CLIENT_ERRORS as error:
        details = getattr(error, "response", {}).get("Error", {})
        code, message = details.get("Code") or type(error).__name__, details.get("Message") or error
        raise ApiError(operation, str(code), str(message)) from error
    return response
