# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An OIDC issuer for tests with clusters that are only records: its keys, and service account tokens signed by them."""

from __future__ import annotations

import base64
import functools
import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

AUDIENCE = "sts.amazonaws.com"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _json(value: Any) -> str:
    return _encoded(json.dumps(value).encode())


def _number(value: int) -> str:
    return _encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Issuer:
    """C(url): the issuer in DescribeCluster."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.kid = _encoded(url.encode())[-20:]

    @functools.cached_property
    def key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(65537, 2048)

    @property
    def jwks(self) -> dict[str, Any]:
        """The document at its jwks_uri."""
        numbers = self.key.public_key().public_numbers()
        return {
            "keys": [
                {
                    "kty": "RSA",
                    "use": "sig",
                    "alg": "RS256",
                    "kid": self.kid,
                    "n": _number(numbers.n),
                    "e": _number(numbers.e),
                }
            ]
        }

    def token(
        self,
        namespace: str = "default",
        service_account: str = "default",
        audience: str | list[str] = AUDIENCE,
        seconds: float = 3600,
        header: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A token as the API server issues it for TokenRequest. C(header) and C(claims) override the usual values."""
        now = time.time()
        body = {
            "aud": [audience] if isinstance(audience, str) else audience,
            "exp": int(now + seconds),
            "iat": int(now),
            "iss": self.url,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": service_account, "uid": "u"}},
            "nbf": int(now),
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
            **claims,
        }
        return self.sign({"alg": "RS256", "kid": self.kid, **(header or {})}, body)

    def sign(self, header: dict[str, Any], body: dict[str, Any]) -> str:
        text = f"{_json(header)}.{_json(body)}"
        return f"{text}.{_encoded(self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
