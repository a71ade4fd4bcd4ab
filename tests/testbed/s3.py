# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""S3: Versity S3 Gateways on folders, one for each region."""

from __future__ import annotations

import secrets
from pathlib import Path

from . import packages, paths, pki
from .node import Node, Part, port_open, wait_for

DATA = paths.STATE / "s3"
ENDPOINT = f"https://{paths.S3}"


def access_key() -> str:
    return pki.secret("aws-access-key", "AKIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16)))


def secret_key() -> str:
    return pki.secret("aws-secret-key", secrets.token_urlsafe(30))


def parts() -> list[Part]:
    folder = Path(DATA / paths.REGION)
    folder.mkdir(parents=True, exist_ok=True)
    cert = ["--cert", str(pki.FOLDER / "s3.pem"), "--key", str(pki.FOLDER / "s3.key")]
    argv = [
        str(packages.gateway()),
        *("--port", f"{paths.S3}:{paths.S3_PORT}", *cert, "--region", paths.REGION, "--keep-alive", "--quiet"),
        *("posix", str(folder)),
    ]
    return [Part("s3", argv, env={"ROOT_ACCESS_KEY": access_key(), "ROOT_SECRET_KEY": secret_key()})]


def wait(cloud: Node) -> None:
    wait_for("s3", lambda: port_open(paths.S3, paths.S3_PORT), 15, cloud.log("s3"))
