# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service answers instead of doing it, apart from the client library that said so."""

from __future__ import annotations

from .._aws_call import DENIED_CODES

THROTTLING_CODES = ("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown")


class AutostopApiError(Exception):
    """A call that failed: which one, with which code, and in the service's own words."""

    def __init__(self, operation: str, code: str, message: str) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.operation = operation
        self.code = code
        self.message = message

    @property
    def suggestion(self) -> str:
        """What an operator can do about it, as far as the code tells."""
        if self.code in DENIED_CODES:
            return f"Allow rds:{self.operation} to these credentials."
        if self.code in THROTTLING_CODES:
            return "It stayed throttled through all retries. Run again later."
        return "Run again once that is mended."
