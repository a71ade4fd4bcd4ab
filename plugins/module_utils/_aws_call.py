# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call to an AWS service by its API name, with a ready botocore client. Errors are independent of botocore."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

try:
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError  # a response of something in between, such as a proxy's page

    CLIENT_ERRORS: tuple[type[Exception], ...] = (BotoCoreError, ClientError, ResponseParserError)
except ImportError:  # without botocore, nothing can raise these
    CLIENT_ERRORS = ()

DENIED_CODES = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_IAM_PREFIX = {"monitoring": "cloudwatch"}  # services whose prefix in policies differs from their signing name


class ApiError(Exception):
    """A failed call: the operation, the error code, and the service's own message."""

    def __init__(self, operation: str, code: str, message: str) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.operation = operation
        self.code = code
        self.message = message


def get_method_name(operation: str) -> str:
    """The name of botocore's method: GetOpenIDConnectProvider is get_open_id_connect_provider."""
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", operation)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", parted).lower()


def get_iam_action(client: Any, operation: str) -> str:
    """The name of the action in an IAM policy, such as C(cloudwatch:PutMetricData)."""
    signing = client.meta.service_model.signing_name
    return f"{_IAM_PREFIX.get(signing, signing)}:{operation}"


def call_api(client: Any, operation: str, **arguments: Any) -> Mapping[str, Any]:
    """The service's response.

    Raises ApiError, also where no service answered; C(code) is then the name of the client library's exception.
    """
    try:
        response: Mapping[str, Any] = getattr(client, get_method_name(operation))(**arguments)
    except CLIENT_ERRORS as error:
        details = getattr(error, "response", {}).get("Error", {})
        code, message = details.get("Code") or type(error).__name__, details.get("Message") or error
        raise ApiError(operation, str(code), str(message)) from error
    return response
