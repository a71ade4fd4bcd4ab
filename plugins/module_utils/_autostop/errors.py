# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The failure of an API call, independent of the client library that raised it."""

from __future__ import annotations

from .._aws_call import DENIED_CODES

THROTTLING_CODES = ("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown")


class AutostopApiError(Exception):
    """A call that failed: the operation, the error code, and the service's own message."""

    def __init__(self, operation: str, code: str, message: str) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.operation = operation
        self.code = code
        self.message = message

    @property
    def suggestion(self) -> str:
        """What an operator can do, as far as the error code shows."""
        if self.code in DENIED_CODES:
            return f"Allow rds:{self.operation} to these credentials."
        if self.code in THROTTLING_CODES:
            return "AWS throttled every retry. Run again later."
        return "Fix the cause, then run again."
