# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks STS whether a token assumes a role. It takes a botocore client that does not sign: the token is what counts."""

from __future__ import annotations

from typing import Any, Optional

from .calls import CallError, call_api

SESSION_SECONDS = 900  # seconds; nobody uses the session


def assume_role(client: Any, role_arn: str, token: str) -> Optional[CallError]:
    """None where STS issues a session, or else its refusal. The session itself is dropped."""
    try:
        call_api(
            client,
            "AssumeRoleWithWebIdentity",
            RoleArn=role_arn,
            RoleSessionName="daytwo-irsa-proof",
            WebIdentityToken=token,
            DurationSeconds=SESSION_SECONDS,
        )
    except CallError as error:
        return error
    return None
