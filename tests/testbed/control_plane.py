# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane of the bed's only live EKS cluster: Kubernetes' own programs as parts of the cloud.

CreateCluster starts it (aws/eks_cluster.py, in the process of AWS in the cloud). `up` restarts its dead parts. All its
state is in a single directory, which is deleted with the cluster. docs/facts/cluster.md#running-the-control-plane
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import audit, ecr, gate, paths, pki, programs, services
from .node import Node, Part, port_open, wait_for

DIRECTORY = paths.STATE / "cluster"
BIN = paths.STATE / "cluster-bin"  # links to the programs, if this bed has them
LIVE = DIRECTORY / "live.json"
ETCD = "http://127.0.0.1:2379"
AUTHENTICATOR_PORT = 21362
WEBHOOK_PORT = 8444
NAMES = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "aws-iam-authenticator"),
    "pod-identity-webhook",
)
FIRST = NAMES[:2]  # the others need these at their start


@dataclass(frozen=True)
class Live:
    """The live cluster. Every other cluster is only a record."""

    name: str
    region: str
    account: str
    issuer: str
    service_cidr: str = "10.100.0.0/16"

    endpoint = f"https://{paths.CLUSTER}"
    directory = DIRECTORY
    kubeconfig = DIRECTORY / "admin.kubeconfig"  # a client certificate of the group system:masters
    access_entries = DIRECTORY / "access-entries.json"  # read by the authenticator
    audit_log = DIRECTORY / "run" / "audit.log"
    backend_mode = DIRECTORY / "authentication-mode.json"

    @property
    def arn(self) -> str:
        return f"arn:aws:eks:{self.region}:{self.account}:cluster/{self.name}"

    @property
    def ca(self) -> str:
        return (DIRECTORY / "pki" / "ca.pem").read_text()

    @property
    def service_ip(self) -> str:
        return self.service_cidr.rsplit(".", 1)[0] + ".1"

    @property
    def dns_ip(self) -> str:
        """The DNS address of EKS's kubelets. Nothing answers there."""
        return self.service_cidr.rsplit(".", 1)[0] + ".10"

    @property
    def api(self) -> Api:
        return Api(DIRECTORY / "pki" / "admin.pem", DIRECTORY / "pki" / "admin.key", DIRECTORY / "pki" / "ca.pem")


def live() -> Live | None:
    with contextlib.suppress(FileNotFoundError):
        return Live(**json.loads(LIVE.read_text()))
    return None


def available() -> bool:
    """Whether this process belongs to the bed and has the programs. Otherwise a cluster is only a record."""
    return paths.MARKER in os.environ and (BIN / "kube-apiserver").exists()


def link_programs(made: Path, credential_provider: Path) -> None:
    BIN.mkdir(exist_ok=True)
    names = (*programs.NAMES, "pause", "aws-iam-authenticator")
    for name, target in {**{name: made / name for name in names}, ecr.PROGRAM: credential_provider}.items():
        link = BIN / name
        if not link.is_symlink() or link.readlink() != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)


# The API


class ApiError(Exception):
    """An error response of the API server."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body.get('reason', '')}: {body.get('message', body)}")
        self.status = status
        self.body = body


class Api:
    """A client of the Kubernetes API for the bed. Tests of the collection use the collection's own clients."""

    def __init__(self, certificate: Path, key: Path, ca: Path) -> None:
        self.context = ssl.create_default_context(cafile=str(ca))
        self.context.load_cert_chain(certificate, key)

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", timeout: float = 15
    ) -> dict[str, Any]:
        connection = http.client.HTTPSConnection(paths.CLUSTER, 443, timeout=timeout, context=self.context)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"Content-Type": content_type, "Accept": "*/*"})
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        finally:
            connection.close()
        try:
            result: dict[str, Any] = json.loads(text)
        except ValueError:
            result = {"message": text}
        if response.status >= 400:
            raise ApiError(response.status, result)
        return result

    def get(self, path: str) -> dict[str, Any]:
        return self.request("GET", path)

    def post(self, path: str, body: Any) -> dict[str, Any]:
        return self.request("POST", path, body)

    def patch(self, path: str, body: Any) -> dict[str, Any]:
        """Patch by a strategic merge."""
        return self.request("PATCH", path, body, "application/strategic-merge-patch+json")

    def apply(self, path: str, body: Any) -> dict[str, Any]:
        """Create or replace the object by server-side apply."""
        where = f"{path}/{body['metadata']['name']}?fieldManager=testbed&force=true"
        return self.request("PATCH", where, body, "application/apply-patch+yaml")

    def delete(self, path: str) -> None:
        """Delete the object; a missing object is fine."""
        try:
            self.request("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise

    def ready(self) -> bool:
        with contextlib.suppress(OSError, ApiError, http.client.HTTPException):
            return bool(self.request("GET", "/readyz", timeout=5)["message"] == "ok")
        return False


# The parts


def parts() -> list[Part]:
    """The parts of the live cluster in the order of their start; none without a live cluster."""
    cluster = live()
    if cluster is None:
        return []
    certs = DIRECTORY / "pki"
    options = {
        "etcd": [
            *("--data-dir", str(DIRECTORY / "etcd"), "--unsafe-no-fsync", "--log-level", "warn"),
            *("--listen-client-urls", ETCD, "--advertise-client-urls", ETCD),
            *("--listen-peer-urls", "http://127.0.0.1:2380", "--snapshot-count", "10000"),
        ],
        "kube-apiserver": [
            *(f"--advertise-address={paths.CLUSTER}", f"--bind-address={paths.CLUSTER}", "--secure-port=443"),
            *(f"--etcd-servers={ETCD}", f"--service-cluster-ip-range={cluster.service_cidr}"),
            *(f"--service-account-issuer={cluster.issuer}", f"--service-account-jwks-uri={cluster.issuer}/keys"),
            *(f"--service-account-key-file={certs}/sa.pub", f"--service-account-signing-key-file={certs}/sa.key"),
            *("--api-audiences=https://kubernetes.default.svc", f"--client-ca-file={certs}/ca.pem"),
            *(f"--tls-cert-file={certs}/apiserver.pem", f"--tls-private-key-file={certs}/apiserver.key"),
            *(f"--kubelet-client-certificate={certs}/kubelet-client.pem",),
            *(f"--kubelet-client-key={certs}/kubelet-client.key", "--kubelet-preferred-address-types=InternalIP"),
            *("--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"),
            *(f"--authentication-token-webhook-config-file={DIRECTORY}/authenticator.kubeconfig",),
            # Short, so that a change of access has effect at once. The duration of EKS's own cache is not known.
            *("--authentication-token-webhook-version=v1beta1", "--authentication-token-webhook-cache-ttl=1s"),
            *("--allow-privileged=true", f"--cert-dir={DIRECTORY}/run"),
            *(f"--audit-policy-file={DIRECTORY}/audit-policy.json", f"--audit-log-path={Live.audit_log}"),
        ],
        "kube-controller-manager": [
            *(f"--kubeconfig={DIRECTORY}/controller-manager.kubeconfig", "--leader-elect=false"),
            *(f"--service-account-private-key-file={certs}/sa.key", f"--root-ca-file={certs}/ca.pem"),
            *(f"--cluster-signing-cert-file={certs}/ca.pem", f"--cluster-signing-key-file={certs}/ca.key"),
            *("--use-service-account-credentials", "--bind-address=127.0.0.1", f"--cert-dir={DIRECTORY}/run"),
        ],
        "kube-scheduler": [
            *(f"--kubeconfig={DIRECTORY}/scheduler.kubeconfig", "--leader-elect=false", "--bind-address=127.0.0.1"),
            *(f"--cert-dir={DIRECTORY}/run",),
        ],
        "aws-iam-authenticator": [
            *("server", "--config", f"{DIRECTORY}/authenticator.json", "--kubeconfig-pregenerated"),
            *("--cluster-id", cluster.name, "--state-dir", f"{DIRECTORY}/authenticator"),
            *("--kubeconfig", str(cluster.kubeconfig), "--port", str(AUTHENTICATOR_PORT)),
            *("--backend-mode", "DynamicFile"),
        ],
    }
    env = {
        "aws-iam-authenticator": {
            "SSL_CERT_FILE": str(pki.S3_CA),
            "AWS_REGION": cluster.region,
            "AWS_ACCESS_KEY_ID": "testbed",
            "AWS_SECRET_ACCESS_KEY": "testbed",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    }
    made = []
    for name, arguments in options.items():
        program = Path("/usr/bin/etcd") if name == "etcd" else BIN / name
        made.append(Part(name, [str(program), *arguments], env.get(name, {}), [str(program.resolve()), cluster.issuer]))
    webhook = services.part(
        "pod-identity-webhook", "testbed.pod_identity", ["pod_identity.py", "control_plane.py"], cluster.issuer
    )
    return [*made, webhook]


def start(cluster: Live, access: Mapping[Path, str]) -> None:
    """Start the cluster until it answers, while EKS shows CREATING. `access`: files that the authenticator reads."""
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    (DIRECTORY / "run").mkdir(parents=True)
    DIRECTORY.chmod(0o711)
    make_certificates(cluster)
    write_configuration(cluster)
    for file, text in access.items():
        file.write_text(text)
    LIVE.write_text(json.dumps(asdict(cluster)))
    cloud = Node("cloud")
    made = {part.name: part for part in parts()}
    for name in FIRST:
        cloud.start(made[name])
    api = cluster.api
    wait_for("the API server", api.ready, 120, cloud.log("kube-apiserver"))
    for name, part in made.items():
        if name not in FIRST:
            cloud.start(part)
    for path, body in objects():
        api.apply(path, body)
    publish_keys(cluster, api)
    wait_for("the authenticator", authenticator_listens, 60, cloud.log("aws-iam-authenticator"))
    wait_for_webhook(cloud)


def authenticator_listens() -> bool:
    """Whether the authenticator listens, for a caller in the cloud."""
    return port_open("127.0.0.1", AUTHENTICATOR_PORT)


def wait_for_webhook(cloud: Node) -> None:
    """Wait until the API server calls the pod identity webhook. Until then it lets pods pass, as EKS does."""
    cluster = live()
    if cluster is None:
        return
    api = cluster.api
    accounts = "/api/v1/namespaces/kube-system/serviceaccounts"
    name = "pod-identity-probe"
    role = {"eks.amazonaws.com/role-arn": f"arn:aws:iam::{cluster.account}:role/probe"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"serviceAccountName": name, "containers": [{"name": "probe", "image": "none"}]},
    }

    def mutated() -> bool:
        try:
            created = api.post("/api/v1/namespaces/kube-system/pods?dryRun=All", pod)
        except ApiError:  # the API server does not know the account yet
            return False
        return "env" in created["spec"]["containers"][0]

    api.apply(accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "annotations": role}})
    wait_for("the pod identity webhook", mutated, 60, cloud.log("pod-identity-webhook"))
    api.delete(f"{accounts}/{name}")


def wait(cloud: Node) -> None:
    if cluster := live():
        wait_for("the API server", cluster.api.ready, 60, cloud.log("kube-apiserver"))


def stop() -> None:
    """Stop every process and delete every file of the cluster."""
    cloud = Node("cloud")
    for name in set(cloud.running()) & set(NAMES):
        cloud.stop(name, grace=0)
    shutil.rmtree(DIRECTORY, ignore_errors=True)


# Certificates and files


def make_certificates(cluster: Live) -> None:
    directory = DIRECTORY / "pki"
    directory.mkdir(mode=0o700)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650"]

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    def leaf(name: str, subject: str, usage: str, *names: str) -> None:
        extensions = ["basicConstraints=critical,CA:FALSE", f"extendedKeyUsage={usage}"]
        extensions += [f"subjectAltName={','.join(names)}"] if names else []
        added = [word for extension in extensions for word in ("-addext", extension)]
        signer = ["-CA", "ca.pem", "-CAkey", "ca.key"]
        openssl(
            "req", "-x509", *curve, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", subject, *added, *signer
        )

    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"]
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=kubernetes", *usage)
    openssl("genrsa", "-out", "sa.key", "2048")
    openssl("rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")
    short = [f"DNS:kubernetes{more}" for more in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
    leaf("apiserver", "/CN=kube-apiserver", "serverAuth", f"IP:{paths.CLUSTER}", f"IP:{cluster.service_ip}", *short)
    leaf("local", "/CN=localhost", "serverAuth", "IP:127.0.0.1", "DNS:localhost")
    for name, subject in (
        *(("admin", "/O=system:masters/CN=testbed-admin"), ("scheduler", "/CN=system:kube-scheduler")),
        *(("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client"),),
        *(("controller-manager", "/CN=system:kube-controller-manager"),),
    ):
        leaf(name, subject, "clientAuth")


def write_configuration(cluster: Live) -> None:
    certs = DIRECTORY / "pki"
    for name in ("admin", "scheduler", "controller-manager"):
        user = {
            "client-certificate-data": _data(certs / f"{name}.pem"),
            "client-key-data": _data(certs / f"{name}.key"),
        }
        _write(
            DIRECTORY / f"{name}.kubeconfig", kubeconfig(cluster.name, cluster.endpoint, _data(certs / "ca.pem"), user)
        )
    _write(DIRECTORY / "audit-policy.json", audit.POLICY)
    webhook = f"https://127.0.0.1:{AUTHENTICATOR_PORT}/authenticate"
    _write(DIRECTORY / "authenticator.kubeconfig", kubeconfig("authenticator", webhook, _data(certs / "ca.pem"), {}))
    state = DIRECTORY / "authenticator"
    state.mkdir(mode=0o700)
    for ours, theirs in (("local.pem", "cert.pem"), ("local.key", "key.pem")):
        shutil.copy(certs / ours, state / theirs)
    read = {"dynamicfilepath": str(Live.access_entries), "dynamicBackendModePath": str(Live.backend_mode)}
    _write(DIRECTORY / "authenticator.json", {"server": read})


def kubeconfig(name: str, server: str, ca: str, user: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def publish_keys(cluster: Live, api: Api) -> None:
    """Write what EKS serves at the issuer's address; the gate reads these files."""
    directory = gate.ISSUERS / cluster.issuer.removeprefix("https://")
    _write(directory / "keys", api.get("/openid/v1/jwks"), 0o644)
    discovery = api.get("/.well-known/openid-configuration")
    _write(directory / ".well-known" / "openid-configuration", discovery, 0o644)


def objects() -> list[tuple[str, dict[str, Any]]]:
    """Objects that EKS creates in every cluster, as far as the bed imitates them."""
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "pod-identity-webhook"},
        "webhooks": [
            {
                "name": "iam-for-pods.amazonaws.com",
                "failurePolicy": "Ignore",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 10,
                "clientConfig": {
                    "url": f"https://127.0.0.1:{WEBHOOK_PORT}/mutate",
                    "caBundle": _data(DIRECTORY / "pki" / "ca.pem"),
                },
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            }
        ],
    }
    nodes = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "eks:node-bootstrapper"},
        "roleRef": _role("system:node-bootstrapper"),
        "subjects": [{"kind": "Group", "name": "system:bootstrappers", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    serving = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "eks:kube-apiserver-kubelet-client"},
        "roleRef": _role("system:kubelet-api-admin"),
        "subjects": [
            {"kind": "User", "name": "kube-apiserver-kubelet-client", "apiGroup": "rbac.authorization.k8s.io"}
        ],
    }
    rbac = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    admission = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    return [(admission, webhook), (rbac, nodes), (rbac, serving)]


def _role(name: str) -> dict[str, str]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _write(path: Path, content: Any, mode: int = 0o600) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=mode)
    path.write_text(json.dumps(content, indent=2) + "\n")
