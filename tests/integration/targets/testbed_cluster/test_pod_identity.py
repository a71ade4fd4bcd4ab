# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM roles for service accounts: what a pod gets, and its token, which the issuer's published keys verify."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256
from integration.targets.testbed_cluster.node_groups import single_node
from testbed import Bed, paths
from testbed.eks import Cluster
from testbed.nodes.image import BUSYBOX
from testbed.pod_identity import expiration, mutated

ROLE = f"arn:aws:iam::{paths.ACCOUNT}:role/reader"
ACCOUNT = {"eks.amazonaws.com/role-arn": ROLE}
MOUNT = "/var/run/secrets/eks.amazonaws.com/serviceaccount"


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"pods-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def account(cluster: Cluster, namespace: str, name: str, annotations: dict[str, str]) -> None:
    metadata = {"name": name, "namespace": namespace, "annotations": annotations}
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    cluster.api.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", body)


def pod(cluster: Cluster, namespace: str, service_account: str, **more: Any) -> dict[str, Any]:
    """Create a pod, and return the object of the API server."""
    spec = {"serviceAccountName": service_account, "containers": [{"name": "app", "image": "none"}], **more}
    metadata = {"name": f"pod-{secrets.token_hex(3)}"}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    return cluster.api.post(f"/api/v1/namespaces/{namespace}/pods", body)


def published(bed: Bed, issuer: str, path: str) -> dict[str, Any]:
    """The document at the issuer's address, read by name and over TLS, as a client in the cloud reads it."""
    host, _slash, rest = issuer.removeprefix("https://").partition("/")
    context = ssl.create_default_context(cafile=str(bed.ca))

    class Named(http.client.HTTPSConnection):
        def connect(self) -> None:
            plain = http.client.HTTPConnection(paths.NAMES, 443, timeout=10)
            plain.connect()
            self.sock = context.wrap_socket(plain.sock, server_hostname=host)

    connection = Named(host)
    connection.request("GET", f"/{rest}/{path}")
    answer = connection.getresponse()
    assert answer.status == 200
    document: dict[str, Any] = json.loads(answer.read())
    return document


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verified(bed: Bed, token: str) -> dict[str, Any]:
    """The token's claims, after the issuer's published keys have verified its signature."""
    head, claims, signature = token.split(".")
    payload: dict[str, Any] = json.loads(raw(claims))
    keys_url = published(bed, payload["iss"], ".well-known/openid-configuration")["jwks_uri"]
    assert keys_url == f"{payload['iss']}/keys"
    keys = {key["kid"]: key for key in published(bed, payload["iss"], "keys")["keys"]}
    key = keys[json.loads(raw(head))["kid"]]
    numbers = RSAPublicNumbers(*(int.from_bytes(raw(key[part]), "big") for part in ("e", "n")))
    numbers.public_key().verify(raw(signature), f"{head}.{claims}".encode(), PKCS1v15(), SHA256())
    return payload


def test_the_issuer_is_of_the_shape_of_eks(bed: Bed, cluster: Cluster) -> None:
    described = cluster.client("eks").describe_cluster(name=cluster.name)["cluster"]
    issuer = described["identity"]["oidc"]["issuer"]
    start, _slash, name = issuer.rpartition("/")
    assert start == f"https://oidc.eks.{paths.REGION}.amazonaws.com/id"
    assert len(name) == 32
    assert set(name) <= set("0123456789ABCDEF")
    assert published(bed, issuer, ".well-known/openid-configuration")["issuer"] == issuer


def test_a_pod_gets_role_region_and_token(cluster: Cluster, namespace: str) -> None:
    account(cluster, namespace, "reader", ACCOUNT)
    before = [{"name": "init", "image": "none", "env": [{"name": "AWS_REGION", "value": "us-west-2"}]}]
    spec = pod(cluster, namespace, "reader", initContainers=before)["spec"]
    env = {variable["name"]: variable["value"] for variable in spec["containers"][0]["env"]}
    assert env == {
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
        "AWS_DEFAULT_REGION": paths.REGION,
        "AWS_REGION": paths.REGION,
        "AWS_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": f"{MOUNT}/token",
    }
    own = {variable["name"]: variable["value"] for variable in spec["initContainers"][0]["env"]}
    assert own == {**env, "AWS_REGION": "us-west-2"}  # the pod's own variable stays
    for container in (*spec["containers"], *spec["initContainers"]):
        assert {"name": "aws-iam-token", "mountPath": MOUNT, "readOnly": True} in container["volumeMounts"]
    volume = next(entry for entry in spec["volumes"] if entry["name"] == "aws-iam-token")
    token = volume["projected"]["sources"][0]["serviceAccountToken"]
    assert token == {"audience": "sts.amazonaws.com", "expirationSeconds": 86400, "path": "token"}


def test_annotations_of_audience_and_expiration_are_honoured(cluster: Cluster, namespace: str) -> None:
    more = {"eks.amazonaws.com/audience": "vault", "eks.amazonaws.com/token-expiration": "7200"}
    account(cluster, namespace, "other", {**ACCOUNT, **more, "eks.amazonaws.com/sts-regional-endpoints": "false"})
    spec = pod(cluster, namespace, "other")["spec"]
    volume = next(entry for entry in spec["volumes"] if entry["name"] == "aws-iam-token")
    token = volume["projected"]["sources"][0]["serviceAccountToken"]
    assert token == {"audience": "vault", "expirationSeconds": 7200, "path": "token"}
    assert "AWS_STS_REGIONAL_ENDPOINTS" not in {variable["name"] for variable in spec["containers"][0]["env"]}


def test_a_pod_of_an_account_without_role_is_left_alone(cluster: Cluster, namespace: str) -> None:
    account(cluster, namespace, "plain", {})
    spec = pod(cluster, namespace, "plain")["spec"]
    assert "env" not in spec["containers"][0]
    assert [entry["name"] for entry in spec["volumes"] if entry["name"] == "aws-iam-token"] == []


def test_the_token_of_a_pod_is_verified_by_the_published_keys(bed: Bed, cluster: Cluster, namespace: str) -> None:
    account(cluster, namespace, "reader", ACCOUNT)
    made = pod(cluster, namespace, "reader")
    volume = next(entry for entry in made["spec"]["volumes"] if entry["name"] == "aws-iam-token")
    projection = volume["projected"]["sources"][0]["serviceAccountToken"]
    # The call by which a kubelet fills the volume.
    reference = {"apiVersion": "v1", "kind": "Pod", "name": made["metadata"]["name"], "uid": made["metadata"]["uid"]}
    spec = {
        "audiences": [projection["audience"]],
        "expirationSeconds": projection["expirationSeconds"],
        "boundObjectRef": reference,
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/reader/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    token = cluster.api.post(path, request)["status"]["token"]
    claims = verified(bed, token)
    assert claims["iss"] == cluster.issuer
    assert claims["sub"] == f"system:serviceaccount:{namespace}:reader"
    assert claims["aud"] == ["sts.amazonaws.com"]
    assert abs(claims["exp"] - time.time() - 86400) < 300
    head, body, signature = token.split(".")
    other = base64.urlsafe_b64encode(raw(body).replace(b":reader", b":writer")).decode().rstrip("=")
    with pytest.raises(InvalidSignature):
        verified(bed, f"{head}.{other}.{signature}")


@pytest.mark.full
def test_a_pod_on_a_real_node_reads_a_token_that_verifies(bed: Bed, cluster: Cluster, namespace: str) -> None:
    account(cluster, namespace, "reader", {**ACCOUNT, "eks.amazonaws.com/token-expiration": "7200"})
    with single_node(cluster, "pod-identity") as node:
        container = {"name": "app", "image": BUSYBOX, "command": ["sleep", "1000"]}
        made = pod(cluster, namespace, "reader", containers=[container], terminationGracePeriodSeconds=0)
        name = made["metadata"]["name"]
        cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, "--timeout=120s")
        script = "echo $AWS_ROLE_ARN $AWS_REGION; cat $AWS_WEB_IDENTITY_TOKEN_FILE"
        output = cluster.kubectl("exec", name, "-n", namespace, "--", "sh", "-c", script).stdout
        cluster.kubectl("delete", "pod", name, "-n", namespace)
    first, token = output.split("\n", 1)
    assert first.split() == [ROLE, paths.REGION]
    claims = verified(bed, token.strip())
    assert (claims["sub"], claims["aud"]) == (f"system:serviceaccount:{namespace}:reader", ["sts.amazonaws.com"])
    assert claims["kubernetes.io"]["pod"]["name"] == name
    assert claims["kubernetes.io"]["node"]["name"] == node
    assert claims["exp"] - claims["iat"] == 7200


@pytest.mark.parametrize(
    ("on_pod", "on_account", "seconds"),
    [
        ({}, {}, 86400),
        ({}, {"eks.amazonaws.com/token-expiration": "5000"}, 5000),
        ({"eks.amazonaws.com/token-expiration": "6000"}, {"eks.amazonaws.com/token-expiration": "5000"}, 6000),
        ({}, {"eks.amazonaws.com/token-expiration": "60"}, 3600),
        ({}, {"eks.amazonaws.com/token-expiration": "a day"}, 86400),
        ({"eks.amazonaws.com/token-expiration": ""}, {"eks.amazonaws.com/token-expiration": "5000"}, 5000),
    ],
)
def test_expiration(on_pod: dict[str, str], on_account: dict[str, str], seconds: int) -> None:
    assert expiration(on_pod, on_account) == seconds


def test_containers_that_the_pod_names_are_skipped() -> None:
    metadata = {"annotations": {"eks.amazonaws.com/skip-containers": "side, other"}}
    containers = [{"name": "app", "image": "none"}, {"name": "side", "image": "none"}]
    spec = mutated({"metadata": metadata, "spec": {"containers": containers}}, ACCOUNT, "eu-west-1")
    assert spec
    assert "env" in spec["containers"][0]
    assert spec["containers"][1] == containers[1]
