# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's docker-registry with TLS and token authentication, and a token server whose tokens it judges itself."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from integration.targets.image_copy.imitation import Handler
from integration.targets.image_copy.kit import DebianRegistry

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def run_openssl(directory: Path, *arguments: str, data: bytes = b"") -> bytes:
    program = shutil.which("openssl") or "openssl"
    return subprocess.run([program, *arguments], cwd=directory, check=True, capture_output=True, input=data).stdout


class Authority:
    """A private authority, the certificate of 127.0.0.1 that it signed, and the key that signs tokens."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.path = directory / "ca.pem"
        self.certificate, self.key = directory / "server.pem", directory / "server.key"
        run_openssl(
            directory, "req", "-x509", *CURVE, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test"
        )
        run_openssl(directory, "req", *CURVE, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
        (directory / "names.cnf").write_text("subjectAltName = IP:127.0.0.1\n")
        run_openssl(
            directory,
            *("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", "server.pem", "-days", "2", "-extfile", "names.cnf"),
        )
        run_openssl(
            directory,
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "token.key", "-out", "token.pem"),
            *("-days", "2", "-subj", "/CN=tokens"),
        )

    def make_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def sign_token(self, claims: dict[str, Any]) -> str:
        """A JSON Web Token; its header carries the certificate, which is in the registry's bundle."""
        pem = (self.directory / "token.pem").read_text()
        header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(pem.splitlines()[1:-1])]}
        signed = b".".join(encode(json.dumps(part).encode()) for part in (header, claims))
        signature = run_openssl(self.directory, "dgst", "-sha256", "-sign", "token.key", data=signed)
        return (signed + b"." + encode(signature)).decode()


def encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class TokenServer:
    """Gives tokens for the scopes that a user may have, as a token server of docker-registry does."""

    issuer, service = "test-issuer", "test-registry"

    def __init__(self, authority: Authority, user: str, lifetime: int = 60) -> None:
        self.authority = authority
        self.password = secrets.token_hex(12)
        self.login = "Basic " + base64.b64encode(f"{user}:{self.password}".encode()).decode()
        self.lifetime = lifetime
        self.denied: set[str] = set()
        self.scopes: list[list[str]] = []

    def serve(self, h: Handler) -> None:
        if h.headers.get("Authorization") != self.login:
            h.fail(401, "UNAUTHORIZED", "wrong user or password")
            return
        scopes = parse_qs(urlsplit(h.path).query).get("scope", [])
        self.scopes.append(scopes)
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            if name not in self.denied:  # as the specification has it: a token for less, and no refusal
                access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "user",
            "aud": self.service,
            "iat": now,
            "nbf": now - 5,
            "exp": now + self.lifetime,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        issued = datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        token = self.authority.sign_token(claims)
        h.answer(200, json.dumps({"token": token, "expires_in": self.lifetime, "issued_at": issued}).encode())

    @contextmanager
    def run(self) -> Iterator[str]:
        kind = type("Bound", (Handler,), {"serve": staticmethod(self.serve)})
        server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
        server.daemon_threads = True
        server.socket = self.authority.make_context().wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}/token"
        finally:
            server.shutdown()
            server.server_close()


class TokenRegistry(DebianRegistry):
    """Debian's docker-registry with TLS, which trusts the tokens of one server."""

    name = "token"

    def __init__(self, directory: Path, authority: Authority, realm: str) -> None:
        super().__init__(directory)
        self.authority = authority
        self.realm = realm

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["http"]["tls"] = {"certificate": str(self.authority.certificate), "key": str(self.authority.key)}
        config["auth"] = {
            "token": {
                "realm": self.realm,
                "service": TokenServer.service,
                "issuer": TokenServer.issuer,
                "rootcertbundle": str(self.authority.directory / "token.pem"),
            }
        }
        return config
