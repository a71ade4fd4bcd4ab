# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens as a cluster parses them: the signature, the signed host and header, and the expiry."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils import _eks_token, _kubernetes
from ansible_collections.daytwo.aws.plugins.module_utils._eks_token import (
    ClusterError,
    EksCluster,
    EksToken,
    EksTokenCache,
)

boto3 = pytest.importorskip("boto3")

KEY, SECRET, SESSION = "AKIAEXAMPLE", "not-a-secret", "the+session/token=="
ARN = "arn:aws:eks:eu-central-1:123456789012:cluster/blue"
PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"


def cluster(arn: str = ARN, identity: str = "blue", host: str = "https://blue.example.org") -> EksCluster:
    return EksCluster(arn.rsplit("/", 1)[1], arn, identity, host, base64.b64encode(PEM.encode()).decode())


def sts(eks_cluster: EksCluster, session: str | None = None) -> Any:
    return boto3.client(
        "sts",
        region_name=eks_cluster.region,
        endpoint_url=eks_cluster.sts_endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        aws_session_token=session,
    )


def url_of(token: EksToken) -> str:
    assert token.value.startswith("k8s-aws-v1.")
    coded = token.value.removeprefix("k8s-aws-v1.")
    assert not coded.endswith("=")
    return base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode()


def signature(url: str, headers: dict[str, str], secret: str = SECRET) -> str:
    """AWS Signature Version 4 of a query, by its specification and not by botocore."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    _key, date, region, service, end = query["X-Amz-Credential"].split("/")
    signed = {name: value for name, value in query.items() if name != "X-Amz-Signature"}
    canonical = "\n".join(
        [
            *("GET", parts.path or "/"),
            "&".join(f"{quote(name, safe='-_.~')}={quote(signed[name], safe='-_.~')}" for name in sorted(signed)),
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            *("", ";".join(sorted(headers)), hashlib.sha256(b"").hexdigest()),
        ]
    )
    scope = f"{date}/{region}/{service}/{end}"
    text = "\n".join(["AWS4-HMAC-SHA256", query["X-Amz-Date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, end):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize("session", [None, SESSION])
@pytest.mark.parametrize(
    ("arn", "host"),
    [
        (ARN, "sts.eu-central-1.amazonaws.com"),
        (ARN.replace("eu-central-1", "us-east-1"), "sts.us-east-1.amazonaws.com"),
        ("arn:aws-cn:eks:cn-north-1:123456789012:cluster/blue", "sts.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-us-gov:eks:us-gov-west-1:123456789012:cluster/blue", "sts.us-gov-west-1.amazonaws.com"),
    ],
)
def test_a_token_is_a_signed_request_to_the_clusters_own_sts(
    arn: str, host: str, session: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither an endpoint of the environment nor the global endpoint may be signed: a cluster rejects other hosts.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://vpce-1.example.org")
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "legacy")
    eks_cluster = cluster(arn)
    url = url_of(_eks_token.make_token(sts(eks_cluster, session), eks_cluster.identity))
    parts, query = urlsplit(url), dict(parse_qsl(urlsplit(url).query))
    assert (parts.scheme, parts.netloc, parts.path) == ("https", host, "/")
    assert query["X-Amz-SignedHeaders"] == "host;x-k8s-aws-id"
    assert query.get("X-Amz-Security-Token") == session
    assert {**query, "Action": "GetCallerIdentity", "Version": "2011-06-15", "X-Amz-Expires": "60"} == query
    assert query["X-Amz-Signature"] == signature(url, {"host": host, "x-k8s-aws-id": "blue"})
    assert query["X-Amz-Signature"] != signature(url, {"host": host, "x-k8s-aws-id": "green"})


def test_the_end_is_fifteen_minutes_after_the_signature() -> None:
    eks_cluster = cluster()
    token = _eks_token.make_token(sts(eks_cluster), eks_cluster.identity)
    began = datetime.strptime(dict(parse_qsl(urlsplit(url_of(token)).query))["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    assert token.expires == began.replace(tzinfo=timezone.utc).timestamp() + 900
    assert token.value not in repr(token)


def test_two_clusters_by_the_same_client_do_not_mix() -> None:
    client = sts(cluster())
    for identity in ("blue", "green"):
        url = url_of(_eks_token.make_token(client, identity))
        header = {"host": "sts.eu-central-1.amazonaws.com", "x-k8s-aws-id": identity}
        assert dict(parse_qsl(urlsplit(url).query))["X-Amz-Signature"] == signature(url, header)


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [
        ("aws", "eu-central-1", "sts.eu-central-1.amazonaws.com"),
        ("aws", "xy-new-1", "sts.xy-new-1.amazonaws.com"),
        ("aws-cn", "cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
        ("aws-us-gov", "us-gov-west-1", "sts.us-gov-west-1.amazonaws.com"),
        ("aws-iso", "us-iso-east-1", "sts.us-iso-east-1.c2s.ic.gov"),
        ("aws-iso-b", "us-isob-east-1", "sts.us-isob-east-1.sc2s.sgov.gov"),
        ("aws-eusc", "eusc-de-east-1", "sts.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_each_partition_that_the_sdk_knows_has_its_host(partition: str, region: str, host: str) -> None:
    eks_cluster = cluster(f"arn:{partition}:eks:{region}:123456789012:cluster/blue")
    assert eks_cluster.sts_endpoint == f"https://{host}"


def test_a_partition_that_is_not_known_is_refused() -> None:
    eks_cluster = cluster("arn:aws-xy:eks:xy-1:123456789012:cluster/blue")
    with pytest.raises(ClusterError, match="partition aws-xy, whose STS endpoint is unknown"):
        sts(eks_cluster)


def test_a_token_is_kept_until_three_minutes_before_its_end() -> None:
    now, made = [1000.0], []

    def make() -> EksToken:
        made.append(now[0])
        return EksToken(f"token-{len(made)}", now[0] + 900)

    tokens = EksTokenCache(make, clock=lambda: now[0])
    values = []
    for now[0] in (1000.0, 1700.0, 1720.0, 1721.0, 2440.0, 9000.0):
        values.append(tokens.get_token().value)
    assert values == ["token-1", "token-1", "token-1", "token-2", "token-2", "token-3"]
    assert made == [1000.0, 1721.0, 9000.0]


class Eks:
    """DescribeCluster with this description."""

    def __init__(self, **description: Any) -> None:
        self.description = {
            "name": "blue",
            "arn": ARN,
            "status": "ACTIVE",
            "endpoint": "https://blue.example.org",
            "certificateAuthority": {"data": base64.b64encode(PEM.encode()).decode()},
            "identity": {"oidc": {"issuer": "https://oidc.eks.eu-central-1.amazonaws.com/id/AB"}},
            **description,
        }

    def describe_cluster(self, name: str) -> dict[str, Any]:
        return {"cluster": self.description}


def test_a_cluster_is_described() -> None:
    eks_cluster = _eks_token.describe_cluster(Eks(), "blue")
    assert (eks_cluster.name, eks_cluster.arn, eks_cluster.identity, eks_cluster.host, eks_cluster.ca_pem) == (
        "blue",
        ARN,
        "blue",
        "https://blue.example.org",
        PEM,
    )
    assert eks_cluster.issuer == "https://oidc.eks.eu-central-1.amazonaws.com/id/AB"
    assert _eks_token.describe_cluster(Eks(id="11-22"), "blue").identity == "11-22"  # a local cluster on an Outpost


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ({"endpoint": None, "status": "CREATING"}, "no endpoint yet: its status is CREATING"),
        ({"certificateAuthority": {}, "status": "ACTIVE"}, "is ACTIVE, and DescribeCluster returned no certificate"),
        ({"certificateAuthority": {}, "status": "CREATING"}, "no certificate authority yet"),
        ({"certificateAuthority": {"data": "no base64!"}}, "not the base64 text that EKS sends"),
    ],
)
def test_a_missing_endpoint_or_authority_is_named(description: dict[str, Any], text: str, tmp_path: Path) -> None:
    pytest.importorskip("kubernetes")
    eks_cluster = _eks_token.describe_cluster(Eks(**description), "blue")
    assert eks_cluster.issuer  # enough for callers that only read the issuer
    with pytest.raises(ClusterError, match=text):
        _kubernetes.make_cluster_client(eks_cluster, EksTokenCache(lambda: EksToken("token", 0)), str(tmp_path))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("ResourceNotFoundException", "Check the name and the region"),
        ("AccessDeniedException", "Allow eks:DescribeCluster"),
        ("ServerException", "Fix the cause, then run again"),
    ],
)
def test_a_failed_call_is_reported_with_a_suggestion(code: str, text: str) -> None:
    from botocore.exceptions import ClientError

    class Refusing:
        meta = SimpleNamespace(service_model=SimpleNamespace(service_name="eks", signing_name="eks"))

        def describe_cluster(self, name: str) -> None:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "DescribeCluster")

    with pytest.raises(ClusterError, match=f"DescribeCluster of blue: {code}: no. {text}"):
        _eks_token.describe_cluster(Refusing(), "blue")


@pytest.fixture
def server() -> Iterator[tuple[str, set[str], list[str]]]:
    """A Kubernetes API that accepts some tokens only: its URL, those tokens, and the tokens of its requests."""
    good: set[str] = set()
    requested_tokens: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            token = str(self.headers["Authorization"]).removeprefix("Bearer ")
            requested_tokens.append(token)
            body = b'{"major": "1", "minor": "34", "gitVersion": "v1.34.4", "buildDate": "", "compiler": "", '
            body += b'"gitCommit": "", "gitTreeState": "", "goVersion": "", "platform": ""}'
            self.send_response(200 if token in good else 401)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_port}", good, requested_tokens
        http_server.shutdown()


def test_a_client_works_past_an_expiry(server: tuple[str, set[str], list[str]], tmp_path: Path) -> None:
    kubernetes = pytest.importorskip("kubernetes")
    host, good, requested_tokens = server
    now, made = [0.0], []

    def make() -> EksToken:
        made.append(f"token-{len(made)}")
        good.clear()
        good.add(made[-1])  # the one before has expired
        return EksToken(made[-1], now[0] + 900)

    api = _kubernetes.make_cluster_client(cluster(host=host), EksTokenCache(make, clock=lambda: now[0]), str(tmp_path))
    version = kubernetes.client.VersionApi(api)
    for now[0] in (0.0, 600.0, 899.0, 1700.0, 90000.0):
        assert version.get_code().git_version == "v1.34.4"
    assert requested_tokens == ["token-0", "token-0", "token-1", "token-2", "token-3"]


def test_the_authority_is_a_single_file_for_its_owner_alone(tmp_path: Path) -> None:
    paths = {_kubernetes.write_ca_file(PEM, str(tmp_path)) for _time in range(2)}
    assert [str(path) for path in tmp_path.iterdir()] == list(paths)
    assert Path(paths.pop()).read_text() == PEM


def test_a_cluster_without_a_name_is_no_other_cluster(tmp_path: Path) -> None:
    """Not the one that ~/.kube/config happens to name, on which nodes would be drained; nor EKS's list of all."""
    for given in ({"cluster": ""}, {"cluster": " "}):
        with pytest.raises(ClusterError, match="name of the cluster is empty"):
            _kubernetes.connect(given, lambda *_names, **_more: None, str(tmp_path))
    with pytest.raises(ClusterError, match="name of the cluster is empty"):
        _eks_token.describe_cluster(None, "")


def test_a_kubeconfig_that_does_not_serve_is_named(tmp_path: Path) -> None:
    pytest.importorskip("kubernetes")
    path = tmp_path / "none"
    with pytest.raises(ClusterError, match=f"No cluster by kubeconfig {path}, context c: "):
        _kubernetes.make_kubeconfig_client(str(path), "c")
