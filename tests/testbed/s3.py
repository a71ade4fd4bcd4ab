# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""S3: a Versity S3 Gateway on a directory for each region; clients reach them through the gate (gate.py)."""

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
            *("--virtual-domain", f"s3.{region}.amazonaws.com"),
            *("posix", str(gate.DATA / region)),
        ]
        env = {"ROOT_ACCESS_KEY": access_key(), "ROOT_SECRET_KEY": secret_key()}
        made.append(Part(f"s3-{region}", argv, env))
    return made


class S3:
    """Names and addresses of S3, and access to the objects as files."""

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
        """Create the buckets, owned by the bed's account: the gateway's own owner would be its access key."""
        for bucket, region in gate.BUCKETS.items():
            directory = gate.DATA / region / bucket
            directory.mkdir(exist_ok=True)
            grantee = {"Permission": "FULL_CONTROL", "Access": paths.ACCOUNT, "Type": "CanonicalUser"}
            acl = {"Owner": paths.ACCOUNT, "Grantees": [grantee]}
            os.setxattr(directory, "user.acl", json.dumps(acl).encode())
            os.setxattr(directory, "user.ownership", b"BucketOwnerEnforced")
        for region in gate.GATEWAYS:
            (gate.DATA / region / gate.layer_bucket(region)).mkdir(exist_ok=True)

    def path(self, bucket: str, key: str = "") -> Path:
        """Return the file of an object: to read it, or to damage it without a call to S3."""
        return gate.DATA / gate.BUCKETS[bucket] / bucket / key

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """List the bucket's keys without a call to S3, and so without a record."""
        top = self.path(bucket)
        keys = (str(file.relative_to(top)) for file in top.rglob("*") if file.is_file())
        return sorted(key for key in keys if key.startswith(prefix) and not key.startswith(".sgwtmp"))

    def uploads(self, bucket: str) -> list[str]:
        """List the multipart uploads that are neither completed nor aborted."""
        directory = self.path(bucket) / ".sgwtmp" / "multipart"
        return sorted(str(path.relative_to(directory)) for path in directory.glob("*/*")) if directory.exists() else []

    def flip(self, bucket: str, key: str, offset: int = 0) -> None:
        """Flip a bit of a stored object."""
        with self.path(bucket, key).open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 1]))

    def clear(self, bucket: str) -> None:
        """Empty the bucket."""
        for path in sorted(self.path(bucket).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
