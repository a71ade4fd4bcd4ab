# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls STS with a service account's token (AssumeRoleWithWebIdentity). Takes an unsigned botocore client."""

from __future__ import annotations

from typing import Any, Optional

from .._aws_call import ApiError, call_api

SESSION_SECONDS = 900  # the minimum; nobody uses the session


def assume_role(client: Any, role_arn: str, token: str) -> Optional[ApiError]:
    """None where STS issues a session, else the error of STS. The session is discarded."""
    try:
        call_api(
            client,
            "AssumeRoleWithWebIdentity",
            RoleArn=role_arn,
            RoleSessionName="daytwo-irsa-proof",
            WebIdentityToken=token,
            DurationSeconds=SESSION_SECONDS,
        )
    except ApiError as error:
        return error
    return None
