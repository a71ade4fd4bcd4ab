# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mapping is retried while IAM does not show the role's policy, and not after other errors."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils import _aws_call
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard import mapping, plan
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard.model import GuardLocation
from ansible_collections.daytwo.aws.plugins.module_utils._aws_call import ApiError

LOCATION = GuardLocation("guard", "eu-central-1", "123456789012")
SLOW = "The function execution role does not have permissions to call ReceiveMessage on SQS"


class RefusedError(Exception):
    """As botocore's ClientError."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.response = {"Error": {"Code": "InvalidParameterValueException", "Message": message}}


class Lambda:
    """Rejects C(refusals) calls with this message."""

    def __init__(self, refusals: int, message: str) -> None:
        self.refusals, self.message, self.calls = refusals, message, 0
        self.meta = type("Meta", (), {"service_model": type("Model", (), {"signing_name": "lambda"})})

    def create_event_source_mapping(self, **arguments: Any) -> dict[str, Any]:
        self.calls += 1
        if self.calls <= self.refusals:
            raise RefusedError(self.message)
        return {}


@pytest.fixture(autouse=True)
def errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_aws_call, "CLIENT_ERRORS", (RefusedError,))


@pytest.mark.parametrize(
    ("refusals", "message", "calls", "made"),
    [
        (0, "", 1, True),
        (3, SLOW, 4, True),
        (99, SLOW, mapping.RETRY_ATTEMPTS, False),
        (1, "Queue visibility timeout is less than function timeout", 1, False),
    ],
)
def test_creation(refusals: int, message: str, calls: int, made: bool) -> None:
    client, slept = Lambda(refusals, message), []
    desired = plan.build_desired(LOCATION, plan.GuardOptions())[plan.MAPPING]
    with contextlib.nullcontext() if made else pytest.raises(ApiError, match=message):
        mapping.create_mapping(client, "guard", "arn", desired, slept.append)
    assert client.calls == calls
    assert len(slept) == calls - 1
