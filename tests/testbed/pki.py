# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's certificates and passwords: made once per bed, gone with it."""

from __future__ import annotations

import ctypes
import secrets
import subprocess
from pathlib import Path

from . import paths

FOLDER = paths.STATE / "pki"
S3_CA = FOLDER / "s3-ca.pem"  # in the hosts' system store, as Amazon's is on real hosts
REGISTRY_CA = FOLDER / "registry-ca.pem"  # a company's own: whoever talks to the registry must be given it
BUNDLE = FOLDER / "ca.pem"  # both
# AWS's own names, which the cloud resolves to an address of the bed's. S3's CA, which plays Amazon's, vouches for them.
NAMES = ["sts.amazonaws.com"] + [
    f"{service}.{region}.amazonaws.com"
    for region in (paths.REGION, paths.OTHER_REGION, "us-east-1")
    for service in ("sts", "ec2", "eks", "oidc.eks")
]


def _openssl(*args: str) -> None:
    subprocess.run(["openssl", *args], capture_output=True, check=True, cwd=FOLDER)


KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
LEAF = (  # what a strict verifier (Python 3.13's default) demands of a server's certificate
    *("-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,digitalSignature"),
    *("-addext", "extendedKeyUsage=serverAuth"),
)


def _authority(name: str) -> None:
    if not (FOLDER / f"{name}-ca.pem").exists():
        subject = ["-subj", f"/O=daytwo test bed/CN={name} CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        out = ["-keyout", f"{name}-ca.key", "-out", f"{name}-ca.pem", "-days", "3650"]
        _openssl("req", "-x509", *KEY, *out, *subject)


def _server(name: str, authority: str, common_name: str, *alternatives: str) -> None:
    if not (FOLDER / f"{name}.pem").exists():
        subject = ["-subj", f"/CN={common_name}", "-addext", f"subjectAltName={','.join(alternatives)}"]
        signer = ["-CA", f"{authority}-ca.pem", "-CAkey", f"{authority}-ca.key", "-days", "3650"]
        _openssl("req", "-x509", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem", *subject, *LEAF, *signer)


def ensure() -> None:
    """All certificates, also those that a bed lacks which an earlier version made."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    FOLDER.chmod(0o700)
    for name, address in (("s3", paths.S3), ("registry", paths.REGISTRY_AUTH)):
        _authority(name)
        _server(name, name, f"{name}.testbed", f"IP:{address}", f"DNS:{name}.testbed")
    _server("names", "s3", "amazonaws.com", *(f"DNS:{name}" for name in NAMES))
    if not BUNDLE.exists():
        BUNDLE.write_text(S3_CA.read_text() + REGISTRY_CA.read_text())


def secret(name: str, made: str | None = None) -> str:
    """A password that is made at the first call and kept, readable by root alone."""
    path = paths.STATE / "secrets" / name
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(made or secrets.token_urlsafe(24))
    return path.read_text()


def bed_id() -> str:
    """Which bed this is: another one after every `down`, or after its state was deleted by hand."""
    return secret("bed-id")


def bcrypt(password: str) -> str:
    """The only hash that docker-registry takes in an htpasswd file; the C library knows it, Python no longer does."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    salt = "".join(secrets.choice(letters) for _dummy in range(21)) + "."  # the last letter carries two bits only
    hashed = crypt(password.encode(), f"$2b$05${salt}".encode())
    return str(hashed.decode())


def trust_store(folder: Path) -> None:
    """A copy of the machine's certificate folder that also trusts the S3 endpoint."""
    ours = folder / "daytwo-testbed-s3.pem"
    if ours.exists() and ours.read_text() == S3_CA.read_text():
        return
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--remove-destination", "/etc/ssl/certs/.", str(folder)], check=True)
    ours.write_text(S3_CA.read_text())
    bundle = folder / "ca-certificates.crt"
    text = bundle.read_text() if bundle.exists() else ""
    bundle.write_text(text + S3_CA.read_text())
    _openssl("rehash", str(folder))
