# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an image is, and which hosts its pull contacts (docs/facts/pull.md#ecr-without-internet). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from .._image.errors import ImageError
from .._image.formats.reference import DOCKER_HUB, ImageReference

# By the DNS suffix of a classic name, the suffix of the dual-stack one and the prefix of endpoint services.
_DUAL_STACK_SUFFIXES = {"on.aws": "amazonaws.com", "on.amazonwebservices.com.cn": "amazonaws.com.cn"}
_CLASSIC = re.compile(
    r"(?P<account>\d{12})\.dkr[.]ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(?P<suffix>amazonaws\.com(?:\.cn)?|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)"
)
_DUAL_STACK = re.compile(
    r"(?P<account>\d{12})\.dkr-ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(?P<suffix>on\.aws|on\.amazonwebservices\.com\.cn)"
)
API, DKR, S3, REGISTRY = "ecr.api", "ecr.dkr", "s3", "registry"


@dataclass(frozen=True)
class PullTarget:
    """A service that a pull contacts. C(service): of its VPC endpoint; empty where AWS PrivateLink has none."""

    name: str
    host: str
    service: str = ""
    region: str = ""
    dual_stack: bool = False

    def __str__(self) -> str:
        return self.host


@dataclass(frozen=True)
class EcrAddress:
    """A private ECR registry, as the host of an image names it."""

    account: str
    region: str
    suffix: str
    fips: bool = False
    dual_stack: bool = False

    @classmethod
    def parse(cls, host: str) -> Optional[EcrAddress]:
        match = _CLASSIC.fullmatch(host) or _DUAL_STACK.fullmatch(host)
        if match is None:
            return None
        suffix = match["suffix"]
        dual_stack = suffix in _DUAL_STACK_SUFFIXES
        return cls(
            match["account"], match["region"], _DUAL_STACK_SUFFIXES.get(suffix, suffix), bool(match["fips"]), dual_stack
        )

    @property
    def partition(self) -> str:
        if self.suffix == "amazonaws.com.cn":
            return "aws-cn"
        return "aws-us-gov" if self.region.startswith("us-gov-") else "aws"

    @property
    def bucket(self) -> str:
        """The bucket of the layers."""
        return f"prod-{self.region}-starport-layer-bucket"

    def get_repository_arn(self, repository: str) -> str:
        return f"arn:{self.partition}:ecr:{self.region}:{self.account}:repository/{repository}"

    def list_targets(self, host: str) -> tuple[PullTarget, ...]:
        """The API for the credentials, the registry for the manifest, and S3 for the layers, in the order of a pull."""
        prefix = "cn.com.amazonaws" if self.suffix.endswith(".cn") else "com.amazonaws"
        fips = "-fips" if self.fips else ""
        if self.dual_stack:
            tail = "api.amazonwebservices.com.cn" if self.suffix.endswith(".cn") else "api.aws"
            api = f"ecr{fips}.{self.region}.{tail}"
        else:
            api = f"{'ecr-fips' if self.fips else 'api.ecr'}.{self.region}.{self.suffix}"
        return (
            PullTarget(API, api, f"{prefix}.{self.region}.ecr.api{fips}", self.region, self.dual_stack),
            PullTarget(DKR, host, f"{prefix}.{self.region}.ecr.dkr{fips}", self.region, self.dual_stack),
            PullTarget(
                S3,
                f"{self.bucket}.s3.{self.region}.{self.suffix}",
                # S3's service has the same prefix in China (docs/facts/pull.md#ecr-without-internet).
                f"com.amazonaws.{self.region}.s3",
                self.region,
                self.dual_stack,
            ),
        )


@dataclass(frozen=True)
class PulledImage:
    """An image, its registry and what a pull of it contacts. C(error): why the reference is malformed."""

    text: str
    reference: Optional[ImageReference] = None
    ecr: Optional[EcrAddress] = None
    targets: tuple[PullTarget, ...] = ()
    error: str = ""

    @classmethod
    def parse(cls, text: str) -> PulledImage:
        try:
            reference = ImageReference.parse(text)
        except ImageError as error:
            return cls(text, error=str(error))
        ecr = EcrAddress.parse(reference.host)
        if ecr is not None:
            return cls(text, reference, ecr, ecr.list_targets(reference.host))
        host = "registry-1.docker.io" if reference.host == DOCKER_HUB else reference.host
        return cls(text, reference, None, (PullTarget(REGISTRY, host),))

    @property
    def host(self) -> str:
        return self.reference.host if self.reference else ""

    @property
    def repository(self) -> str:
        return self.reference.path if self.reference else ""

    @property
    def version(self) -> str:
        """The digest if there is one, else the tag: what the registry is asked for."""
        return (self.reference.digest or self.reference.tag or "") if self.reference else ""


def matches_secret_host(secret_host: str, image: PulledImage) -> bool:
    """Whether a host in a pull secret is the image's registry, as the kubelet compares them.

    See docs/facts/pull.md#pull-secrets. A path in the secret must begin the image's path, and C(*) stands for a part
    of the host's name.
    """
    bare = re.sub(r"^https?://", "", secret_host).rstrip("/")
    host, _slash, path = bare.partition("/")
    if host in ("index.docker.io", "docker.io", "registry-1.docker.io"):
        return image.host == DOCKER_HUB
    path = re.sub(r"^v[12](/|$)", "", path)
    own, _colon, port = image.host.partition(":")
    name, _colon, secret_port = host.partition(":")
    parts, own_parts = name.split("."), own.split(".")
    same_name = len(parts) == len(own_parts) and all(
        re.fullmatch(re.escape(part).replace(r"\*", "[^.]*"), own_part) for part, own_part in zip(parts, own_parts)
    )
    return same_name and port == secret_port and (not path or f"{image.repository}/".startswith(f"{path}/"))
