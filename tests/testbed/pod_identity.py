# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM roles for service accounts: an imitation of the pod identity webhook of EKS.

It adds the variables and the token to pods whose service account has a role. It runs in the cloud as
`python -m testbed.pod_identity`, and the API server calls it for every new pod.
"""

from __future__ import annotations

import base64
import json
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import control_plane

ANNOTATION = "eks.amazonaws.com"
VOLUME = "aws-iam-token"
MOUNT = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
EXPIRATION = 86400  # seconds, without an annotation
SHORTEST = 3600  # EKS raises smaller values, because such tokens would not be renewed in time


def mutated(pod: dict[str, Any], account: dict[str, str], region: str) -> dict[str, Any] | None:
    """The pod's new spec, or None without a role. `account` holds the service account's annotations."""
    role = account.get(f"{ANNOTATION}/role-arn")
    if not role:
        return None
    own = pod.get("metadata", {}).get("annotations") or {}
    skipped = {name.strip() for name in own.get(f"{ANNOTATION}/skip-containers", "").split(",")}
    variables = {
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_ROLE_ARN": role,
        "AWS_WEB_IDENTITY_TOKEN_FILE": f"{MOUNT}/token",
    }
    if account.get(f"{ANNOTATION}/sts-regional-endpoints") == "false":
        del variables["AWS_STS_REGIONAL_ENDPOINTS"]
    spec = dict(pod["spec"])
    for kind in ("initContainers", "containers"):
        if kind in spec:
            spec[kind] = [
                container if container["name"] in skipped else _container(container, variables)
                for container in spec[kind]
            ]
    if not any(volume["name"] == VOLUME for volume in spec.get("volumes", [])):
        token = {
            "audience": account.get(f"{ANNOTATION}/audience", "sts.amazonaws.com"),
            "expirationSeconds": expiration(own, account),
            "path": "token",
        }
        volume = {"name": VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}}
        spec["volumes"] = [*spec.get("volumes", []), volume]
    return spec


def expiration(pod: dict[str, str], account: dict[str, str]) -> int:
    """The pod's annotation overrides the annotation of its service account. A value that is no number is ignored."""
    for source in (pod, account):
        value = source.get(f"{ANNOTATION}/token-expiration", "")
        if value.isdigit():
            return max(int(value), SHORTEST)
    return EXPIRATION


def _container(container: dict[str, Any], variables: dict[str, str]) -> dict[str, Any]:
    """The container with variables and token. Variables that the pod sets itself stay."""
    existing = {variable["name"] for variable in container.get("env", [])}
    added = [{"name": name, "value": value} for name, value in variables.items() if name not in existing]
    mounts = container.get("volumeMounts", [])
    if not any(mount["mountPath"] == MOUNT for mount in mounts):
        mounts = [*mounts, {"name": VOLUME, "mountPath": MOUNT, "readOnly": True}]
    return {**container, "env": [*container.get("env", []), *added], "volumeMounts": mounts}


def review(admission_review: dict[str, Any], cluster: control_plane.Live) -> dict[str, Any]:
    """The response to the API server's admission review of a pod."""
    request = admission_review["request"]
    pod = request["object"]
    name = pod["spec"].get("serviceAccountName") or "default"
    account = cluster.api.get(f"/api/v1/namespaces/{request['namespace']}/serviceaccounts/{name}")
    spec = mutated(pod, account["metadata"].get("annotations") or {}, cluster.region)
    response: dict[str, Any] = {"uid": request["uid"], "allowed": True}
    if spec is not None:
        patch = [{"op": "replace", "path": "/spec", "value": spec}]
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
    return {"apiVersion": admission_review["apiVersion"], "kind": admission_review["kind"], "response": response}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        admission_review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        cluster = control_plane.live()
        if cluster is None:
            self.send_error(503, "no cluster")
            return
        body = json.dumps(review(admission_review, cluster)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    directory = control_plane.DIRECTORY / "pki"
    tls.load_cert_chain(directory / "local.pem", directory / "local.key")
    server = ThreadingHTTPServer(("127.0.0.1", control_plane.WEBHOOK_PORT), Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
