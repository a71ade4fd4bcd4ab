# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""S3: Versity S3 Gateways on folders, one for each region; clients reach them through the gate (gate.py)."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from . import gate, packages, paths, pki
from .node import Part

ENDPOINT = f"https://{paths.S3}"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def access_key() -> str:
    return pki.secret("aws-access-key", "AKIA" + "".join(secrets.choice(_LETTERS) for _dummy in range(16)))


def secret_key() -> str:
    return pki.secret("aws-secret-key", secrets.token_urlsafe(30))


def parts() -> list[Part]:
    made = []
    for region, (address, port) in gate.GATEWAYS.items():
        (gate.DATA / region).mkdir(parents=True, exist_ok=True)
        argv = [
            str(packages.gateway()),
            *("--port", f"{address}:{port}", "--region", region, "--keep-alive", "--quiet"),
            *("posix", str(gate.DATA / region)),
        ]
        env = {"ROOT_ACCESS_KEY": access_key(), "ROOT_SECRET_KEY": secret_key()}
        made.append(Part(f"s3-{region}", argv, env))
    return made


class S3:
    """The facts about S3, and the view from behind: the objects as files."""

    endpoint = ENDPOINT
    buckets = tuple(gate.BUCKETS)
    bucket = "daytwo-images"
    encrypted_bucket = gate.ENCRYPTED
    elsewhere_bucket = "daytwo-elsewhere"
    region = paths.REGION
    other_region = paths.OTHER_REGION
    kms_key = gate.KMS_KEY
    account = paths.ACCOUNT

    def ensure(self) -> None:
        """The buckets, owned by the bed's account: the gateway's own owner would be its access key."""
        for bucket, region in gate.BUCKETS.items():
            folder = gate.DATA / region / bucket
            folder.mkdir(exist_ok=True)
            grant = {"Permission": "FULL_CONTROL", "Access": paths.ACCOUNT, "Type": "CanonicalUser"}
            acl = {"Owner": paths.ACCOUNT, "Grantees": [grant]}
            os.setxattr(folder, "user.acl", json.dumps(acl).encode())
            os.setxattr(folder, "user.ownership", b"BucketOwnerEnforced")

    def path(self, bucket: str, key: str = "") -> Path:
        """An object as the file that it is: to look at it, or to damage it behind S3's back."""
        return gate.DATA / gate.BUCKETS[bucket] / bucket / key

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """What lies in the bucket, without asking S3 (and so without a record)."""
        top = self.path(bucket)
        keys = (str(file.relative_to(top)) for file in top.rglob("*") if file.is_file())
        return sorted(key for key in keys if key.startswith(prefix) and not key.startswith(".sgwtmp"))

    def uploads(self, bucket: str) -> list[str]:
        """The multipart uploads that were begun and neither completed nor aborted."""
        folder = self.path(bucket) / ".sgwtmp" / "multipart"
        return sorted(str(path.relative_to(folder)) for path in folder.glob("*/*")) if folder.exists() else []

    def flip(self, bucket: str, key: str, offset: int = 0) -> None:
        """One bit of a stored object turned over."""
        with self.path(bucket, key).open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 1]))

    def clear(self, bucket: str) -> None:
        """The bucket, empty."""
        for path in sorted(self.path(bucket).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
