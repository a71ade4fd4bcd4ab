# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoint of an EKS cluster, and bearer tokens from AWS credentials alone. Takes ready botocore clients.

A token is a presigned request to STS, GetCallerIdentity. The cluster sends it to learn who signed it. Signing makes no
call. No Ansible in here.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Optional
from urllib.parse import parse_qs, urlsplit

from ._aws_call import CLIENT_ERRORS, NOT_AWS_CODE, ApiError, call_api

with contextlib.suppress(ImportError):  # every client that comes in here is botocore's
    import botocore.loaders

PREFIX = "k8s-aws-v1."
CLUSTER_HEADER = "x-k8s-aws-id"
TOKEN_LIFETIME = 15 * 60  # seconds after the signature, whatever X-Amz-Expires says
RENEW_BEFORE = 3 * 60  # seconds before expiry at which a token is renewed: clocks differ, requests take time
URL_EXPIRES = 60  # seconds; the cluster rejects a URL that is valid for more than 15 minutes


class ClusterError(Exception):
    """A cluster that cannot be reached with AWS credentials: the call, the service's message, and what to do."""


@dataclass(frozen=True)
class EksCluster:
    """The fields of DescribeCluster that a client needs. A cluster in CREATING has no endpoint yet."""

    name: str
    arn: str
    identity: str  # the value of the token's header: the name, or the id of a local cluster on an Outpost
    endpoint: str = ""
    ca_data: str = ""
    issuer: str = ""  # of service account tokens, verbatim
    status: str = ""

    @property
    def host(self) -> str:
        return self._require_value(self.endpoint, "endpoint")

    @property
    def ca_pem(self) -> str:
        data = self._require_value(self.ca_data, "certificate authority")
        try:
            return base64.b64decode(data, validate=True).decode("ascii")
        except (binascii.Error, ValueError) as error:
            raise ClusterError(
                f"The certificate authority of {self.name} is not the base64 text that EKS sends: {error}. Check the "
                "endpoint URL."
            ) from error

    def _require_value(self, value: str, label: str) -> str:
        if value:
            return value
        if self.status == "ACTIVE":
            raise ClusterError(
                f"Cluster {self.name} is ACTIVE, and DescribeCluster returned no {label}. Check the endpoint URL of "
                "EKS, or use a kubeconfig instead."
            )
        raise ClusterError(
            f"Cluster {self.name} has no {label} yet: its status is {self.status}. Run again when it is ACTIVE."
        )

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    @property
    def sts_endpoint(self) -> str:
        """The public endpoint of STS in the cluster's region. Clusters accept no other host and no VPC endpoint."""
        partition, suffixes = self.arn.split(":")[1], list_dns_suffixes()
        if partition not in suffixes:
            raise ClusterError(
                f"{self.arn} is in the partition {partition}, whose STS endpoint is unknown. Known partitions: "
                f"{', '.join(suffixes)}. Update botocore, or use a kubeconfig instead."
            )
        return f"https://sts.{self.region}.{suffixes[partition]}"


@dataclass(frozen=True)
class EksToken:
    """A bearer token and its expiry, in seconds of the epoch."""

    value: str = field(repr=False)
    expires: float

    @property
    def expires_at(self) -> str:
        return datetime.fromtimestamp(self.expires, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def list_dns_suffixes() -> dict[str, str]:
    """The DNS suffix of each partition that the SDK knows."""
    partitions = botocore.loaders.create_loader().load_data("partitions")["partitions"]
    return {str(partition["id"]): str(partition["outputs"]["dnsSuffix"]) for partition in partitions}


def describe_cluster(eks: Any, name: str) -> EksCluster:
    """The cluster of that name, by one DescribeCluster."""
    if not name.strip():
        raise ClusterError("The name of the cluster is empty. Give the name of an EKS cluster.")
    try:
        description = call_api(eks, "DescribeCluster", name=name)["cluster"]
        arn = str(description["arn"])
        if arn.count(":") < 5:
            raise ApiError("eks", "DescribeCluster", NOT_AWS_CODE, f"the response has the ARN {arn!r}")
    except ApiError as error:
        missing = error.code == "ResourceNotFoundException"
        suggestion = "Check the name and the region." if missing else error.suggestion
        text = f"{error.code}: {error.message.rstrip('.')}"
        raise ClusterError(f"DescribeCluster of {name}: {text}. {suggestion}") from error
    return EksCluster(
        name=str(description.get("name") or name),
        arn=arn,
        identity=str(description.get("id") or description.get("name") or name),
        endpoint=str(description.get("endpoint") or ""),
        ca_data=str((description.get("certificateAuthority") or {}).get("data") or ""),
        issuer=str(((description.get("identity") or {}).get("oidc") or {}).get("issuer") or ""),
        status=str(description.get("status") or ""),
    )


def make_token(sts: Any, identity: str) -> EksToken:
    """Signs a new token. C(sts): a client whose endpoint is C(EksCluster.sts_endpoint)."""

    def set_cluster_header(request: Any, **_dummy: Any) -> None:
        request.headers[CLUSTER_HEADER] = identity

    event, handler_id = "before-sign.sts.GetCallerIdentity", f"daytwo-{id(set_cluster_header)}"
    sts.meta.events.register(event, set_cluster_header, unique_id=handler_id)
    try:
        url = sts.generate_presigned_url("get_caller_identity", ExpiresIn=URL_EXPIRES, HttpMethod="GET")
    except CLIENT_ERRORS as error:
        raise ClusterError(f"No token could be signed for {identity}: {error}. Check the AWS credentials.") from error
    finally:
        sts.meta.events.unregister(event, set_cluster_header, unique_id=handler_id)
    signed = datetime.strptime(parse_qs(urlsplit(url).query)["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ")
    return EksToken(
        PREFIX + base64.urlsafe_b64encode(url.encode()).decode().rstrip("="),
        signed.replace(tzinfo=timezone.utc).timestamp() + TOKEN_LIFETIME,
    )


class EksTokenCache:
    """Returns a token that is valid for some minutes more, and renews it shortly before its expiry."""

    def __init__(self, make: Callable[[], EksToken], clock: Callable[[], float] = time.time) -> None:
        self._make = make
        self._clock = clock
        self._lock = threading.Lock()
        self._last: Optional[EksToken] = None

    @classmethod
    def from_cluster(cls, sts: Any, cluster: EksCluster) -> EksTokenCache:
        return cls(lambda: make_token(sts, cluster.identity))

    def get_token(self) -> EksToken:
        with self._lock:
            if self._last is None or self._clock() > self._last.expires - RENEW_BEFORE:
                self._last = self._make()
            return self._last
