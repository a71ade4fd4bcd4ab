# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ECR's registry for tests: its name, tokens, and the files of its blobs. It runs in the process of AWS (aws/ecr.py),
behind the gate, which records and denies its calls as it does those of the API.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import gate, paths, pki, small_programs


class Ecr:
    """The registry of the bed's account in its region."""

    host = f"{paths.ACCOUNT}.dkr.ecr.{paths.REGION}.amazonaws.com"
    address = paths.ECR  # the name resolves within the bed only
    bucket = gate.layer_bucket(paths.REGION)
    user = "AWS"

    def password(self, client: Any) -> str:
        """Return the password for a login, by boto3's client for ECR."""
        token = client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        return base64.b64decode(token).decode().partition(":")[2]

    def docker_config(self, client: Any) -> str:
        """The content that `docker login` would write to ~/.docker/config.json."""
        token = client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        return json.dumps({"auths": {self.host: {"auth": token}}})

    def blobs(self) -> list[Path]:
        """The stored blobs of every repository in the region."""
        return sorted((gate.DATA / paths.REGION / self.bucket).glob("*/*"))

    @staticmethod
    @contextlib.contextmanager
    def resolving() -> Iterator[None]:
        """Resolve ECR's names in this process, as the hosts do."""
        plain = socket.getaddrinfo

        def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
            return plain(pki.ECR_ADDRESSES.get(host, host), *arguments, **options)

        socket.getaddrinfo = resolve
        try:
            yield
        finally:
            socket.getaddrinfo = plain


PROGRAM = "ecr-credential-provider"


def ensure_credential_provider() -> Path:
    """Build the kubelet's provider of credentials for ECR where it is missing, and return the program."""
    return small_programs.ensure("ecr_credential_provider", f"k8s.io/cloud-provider-aws/cmd/{PROGRAM}")
