# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's certificates and passwords. They are created once per bed, and deleted with it."""

from __future__ import annotations

import ctypes
import secrets
import subprocess
from pathlib import Path

from . import paths

DIRECTORY = paths.STATE / "pki"
S3_CA = DIRECTORY / "s3-ca.pem"  # in the hosts' system store, where real hosts have Amazon's CA
REGISTRY_CA = DIRECTORY / "registry-ca.pem"  # the private CA of a company: every client of the registry needs it
BUNDLE = DIRECTORY / "ca.pem"  # both
# AWS's own names, which the cloud resolves to an address of the bed. The CA of S3 stands for Amazon's and signs them.
NAMES = ["sts.amazonaws.com"] + [
    f"{service}.{region}.amazonaws.com"
    for region in (paths.REGION, paths.OTHER_REGION, "us-east-1")
    for service in ("sts", "ec2", "eks", "oidc.eks")
]
# ECR's names and that of its bucket of layers resolve everywhere in the bed.
ECR_ADDRESSES = {
    name.format(account=paths.ACCOUNT, region=region): address
    for region in (paths.REGION, paths.OTHER_REGION)
    for name, address in {
        "{account}.dkr.ecr.{region}.amazonaws.com": paths.ECR,
        "api.ecr.{region}.amazonaws.com": paths.ECR_API,
        "prod-{region}-starport-layer-bucket.s3.{region}.amazonaws.com": paths.S3,
    }.items()
}


def hosts_lines(*names: str) -> str:
    """Lines of /etc/hosts: ECR's names, and further names of AWS that the cloud's front serves."""
    return "".join(
        f"{address} {name}\n" for name, address in {**dict.fromkeys(names, paths.NAMES), **ECR_ADDRESSES}.items()
    )


def _openssl(*args: str) -> None:
    subprocess.run(["openssl", *args], capture_output=True, check=True, cwd=DIRECTORY)


KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
LEAF = (  # extensions that a strict verifier (Python 3.13's default) requires of a server certificate
    *("-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,digitalSignature"),
    *("-addext", "extendedKeyUsage=serverAuth"),
)


def _authority(name: str) -> None:
    if not (DIRECTORY / f"{name}-ca.pem").exists():
        subject = ["-subj", f"/O=daytwo test bed/CN={name} CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        out = ["-keyout", f"{name}-ca.key", "-out", f"{name}-ca.pem", "-days", "3650"]
        _openssl("req", "-x509", *KEY, *out, *subject)


def _server(name: str, authority: str, common_name: str, *alternatives: str) -> None:
    certificate, named = DIRECTORY / f"{name}.pem", DIRECTORY / f"{name}.names"
    names = ",".join(alternatives)
    if not certificate.exists() or not named.exists() or named.read_text() != names:
        named.write_text(names)
        subject = ["-subj", f"/CN={common_name}", "-addext", f"subjectAltName={names}"]
        signer = ["-CA", f"{authority}-ca.pem", "-CAkey", f"{authority}-ca.key", "-days", "3650"]
        _openssl("req", "-x509", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem", *subject, *LEAF, *signer)


def ensure() -> None:
    """Create all missing certificates, also in a bed of an earlier version."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    DIRECTORY.chmod(0o700)
    for name, address in (("s3", paths.S3), ("registry", paths.REGISTRY_AUTH)):
        _authority(name)
        served = [f"DNS:{dns}" for dns, where in ECR_ADDRESSES.items() if where == address]
        _server(name, name, f"{name}.testbed", f"IP:{address}", f"DNS:{name}.testbed", *served)
    ecr = [f"DNS:{dns}" for dns, where in ECR_ADDRESSES.items() if where != paths.S3]
    _server("ecr", "s3", "ecr.amazonaws.com", *ecr)
    _server("names", "s3", "amazonaws.com", *(f"DNS:{name}" for name in NAMES))
    if not BUNDLE.exists():
        BUNDLE.write_text(S3_CA.read_text() + REGISTRY_CA.read_text())


def secret(name: str, made: str | None = None) -> str:
    """A password that the first call creates and stores, readable by root only."""
    path = paths.STATE / "secrets" / name
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(made or secrets.token_urlsafe(24))
    return path.read_text()


def bed_id() -> str:
    """The id of this bed. It changes with every `down`, and when the state is deleted by hand."""
    return secret("bed-id")


def bcrypt(password: str) -> str:
    """The only hash that docker-registry accepts in an htpasswd file. The C library has it, Python no longer does."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    salt = "".join(secrets.choice(letters) for _dummy in range(21)) + "."  # the last letter holds only two bits
    hashed = crypt(password.encode(), f"$2b$05${salt}".encode())
    return str(hashed.decode())


def trusted() -> str:
    """The machine's bundle of authorities, and the CA that stands for Amazon's."""
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    return (bundle.read_text() if bundle.exists() else "") + S3_CA.read_text()


def trust_store(directory: Path) -> None:
    """Copy the machine's certificate directory, and add the CA of the S3 endpoint."""
    ours = directory / "daytwo-testbed-s3.pem"
    if ours.exists() and ours.read_text() == S3_CA.read_text():
        return
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--remove-destination", "/etc/ssl/certs/.", str(directory)], check=True)
    ours.write_text(S3_CA.read_text())
    (directory / "ca-certificates.crt").write_text(trusted())
    _openssl("rehash", str(directory))
