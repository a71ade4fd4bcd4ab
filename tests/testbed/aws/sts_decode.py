# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encoded authorization messages, which moto does not have. AWS's are encrypted; the bed's are compressed JSON."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from moto.core.responses import ActionResult
from moto.sts.exceptions import STSClientError
from moto.sts.responses import TokenResponse

from .rules import rule


def encode(
    caller: str, action: str, resource: str, explicit: bool = False, conditions: dict[str, str] | None = None
) -> str:
    """Encode the message that a service returns with a refusal of this request."""
    items = [{"key": key, "values": {"items": [{"value": value}]}} for key, value in (conditions or {}).items()]
    principal = {"id": "AROAEXAMPLE:session", "name": caller.rpartition("/")[2], "arn": caller}
    message = {
        "allowed": False,
        "explicitDeny": explicit,
        "matchedStatements": {"items": []},
        "failures": {"items": []},
        "context": {
            "principal": principal,
            "action": action,
            "resource": resource,
            "conditions": {"items": items},
        },
    }
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(message).encode())).decode().rstrip("=")


@rule(
    TokenResponse,
    "decode_authorization_message",
    fact="DecodeAuthorizationMessage answers JSON with allowed, explicitDeny, the principal, action, resource and "
    "conditions of the request; a message that is not AWS's gets InvalidAuthorizationMessageException",
    new=True,
)
def authorization_messages_can_be_decoded(plain: None, response: Any) -> ActionResult:
    given = str(response.params["EncodedMessage"])
    try:
        decoded = zlib.decompress(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4))).decode()
        json.loads(decoded)
    except (ValueError, zlib.error) as error:
        raise STSClientError("InvalidAuthorizationMessageException", "Message is not valid") from error
    return ActionResult({"DecodedMessage": decoded})
