# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of user data: per AMI family what is allowed, and every trap of docs/facts/sysctl_nodegroup.md."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from integration.targets.testbed_nodes.kit import kubelet_config, node_config
from testbed.nodes.model import Cluster

SYSCTL = "net.core.somaxconn"
ALLOWED, FORBIDDEN, NEVER, REFUSED = "allowed", "forbidden", "never joins", "refused by EKS"


@dataclass(frozen=True)
class Row:
    name: str
    family: str
    make: Callable[[Cluster], bytes]
    ends: str
    why: str = ""  # part of a message of the boot, of the kubelet or of EKS
    custom: bool = False
    stock_al2: bool = False  # CreateNodegroup refuses it on this version, so only the boot is tested

    @property
    def ami_type(self) -> str | None:
        if self.custom:
            return None
        return {"al2023": "AL2023_x86_64_STANDARD", "bottlerocket": "BOTTLEROCKET_x86_64"}.get(self.family)


def fixed(data: bytes) -> Callable[[Cluster], bytes]:
    return lambda _cluster: data


GOOD = kubelet_config({"allowedUnsafeSysctls": [SYSCTL]})
OTHER = kubelet_config({"allowedUnsafeSysctls": ["net.core.rmem_default"]})


def details(cluster: Cluster) -> dict[str, str]:
    return {
        "name": cluster.name,
        "apiServerEndpoint": cluster.endpoint,
        "certificateAuthority": cluster.ca,
        "cidr": cluster.cidr,
    }


def custom_al2023(change: Callable[[bytes], bytes] = lambda data: data) -> Callable[[Cluster], bytes]:
    return lambda cluster: change(
        node_config(kubelet_config({"allowedUnsafeSysctls": [SYSCTL]}, cluster=details(cluster)))
    )


def encoded(_cluster: Cluster) -> bytes:
    return node_config(base64.b64encode(GOOD.encode()).decode())


def swapped(_cluster: Cluster) -> bytes:
    text = node_config(GOOD).decode()
    return text.replace(
        "--==B==\nContent-Type: application/node.eks.aws\n",
        "--==B==\nContent-Transfer-Encoding: 7bit\nMIME-Version: 1.0\n"
        'Content-Type: application/node.eks.aws; charset="us-ascii"\n',
    ).encode()


# AL2: shell


def shell(*scripts: str, kind: str = "text/x-shellscript") -> bytes:
    return node_config(*scripts, kind=kind)


def bootstrap(arguments: str, before: str = "") -> Callable[[Cluster], bytes]:
    def make(cluster: Cluster) -> bytes:
        options = (
            f"--b64-cluster-ca {cluster.ca} --apiserver-endpoint {cluster.endpoint} --dns-cluster-ip {cluster.dns}"
        )
        return shell(
            f"#!/bin/bash\nset -ex\n{before}\n/etc/eks/bootstrap.sh {shlex.quote(cluster.name)} {options} {arguments}\n"
        )

    return make


# Bottlerocket: TOML


def toml(*lines: str) -> bytes:
    return "\n".join(("[settings.kubernetes]", *lines, "")).encode()


def custom_bottlerocket(cluster: Cluster) -> bytes:
    return toml(
        f'cluster-name = "{cluster.name}"',
        f'api-server = "{cluster.endpoint}"',
        f'cluster-certificate = "{cluster.ca}"',
        f'cluster-dns-ip = "{cluster.dns}"',
        f'allowed-unsafe-sysctls = ["{SYSCTL}"]',
    )


FLAG = f"--allowed-unsafe-sysctls={SYSCTL}"
NAMESPACED = "are not known to be namespaced"
JQ = f"""#!/bin/bash
set -e
file=/etc/kubernetes/kubelet/kubelet-config.json
changed=$(jq '.allowedUnsafeSysctls = ["{SYSCTL}"]' $file)
echo "$changed" >$file
"""

TABLE = [
    # AL2023, EKS's own image
    Row("one list", "al2023", fixed(node_config(GOOD)), ALLOWED),
    Row("no user data at all", "al2023", fixed(b""), FORBIDDEN),
    Row("another sysctl", "al2023", fixed(node_config(OTHER)), FORBIDDEN),
    Row("CRLF", "al2023", fixed(node_config(GOOD, newline="\r\n")), ALLOWED),
    Row("base64 body", "al2023", encoded, ALLOWED),
    Row("swapped headers and a charset", "al2023", swapped, ALLOWED),
    Row("a later list replaces", "al2023", fixed(node_config(GOOD, OTHER)), FORBIDDEN),
    Row(
        "flags append",
        "al2023",
        fixed(node_config(kubelet_config(flags=[FLAG]), kubelet_config(flags=["--node-labels=later=part"]))),
        ALLOWED,
    ),
    Row(
        "a misspelt key",
        "al2023",
        fixed(node_config(kubelet_config(allowedUnsafeSysctls=[SYSCTL]))),
        FORBIDDEN,
    ),
    Row("another content type", "al2023", fixed(node_config(GOOD, kind="application/node.eks.aws+yaml")), FORBIDDEN),
    Row("net*", "al2023", fixed(node_config(GOOD.replace(SYSCTL, "net*"))), NEVER, NAMESPACED),
    Row(
        "a bare *",
        "al2023",
        fixed(node_config(GOOD.replace(json.dumps(SYSCTL), "*"))),
        NEVER,
        "NodeConfig is no YAML",
    ),
    Row("flags as a string", "al2023", fixed(node_config(kubelet_config(flags=FLAG))), NEVER, "spec.kubelet.flags"),
    Row("API version v1", "al2023", fixed(node_config(GOOD.replace("v1alpha1", "v1"))), NEVER, "no kind"),
    Row(
        "boundary mismatch",
        "al2023",
        fixed(node_config(GOOD).replace(b'boundary="==B=="', b'boundary="==C=="')),
        NEVER,
        "NextPart: EOF",
    ),
    Row(
        "no blank line after the part header",
        "al2023",
        fixed(node_config(GOOD).replace(b"node.eks.aws\n\n", b"node.eks.aws\n")),
        NEVER,
        "malformed MIME header line",
    ),
    Row("no MIME", "al2023", fixed(GOOD.encode()), REFUSED, "User data was not in the MIME multipart format."),
    # AL2023, a custom image
    Row("custom: with the cluster", "al2023", custom_al2023(), ALLOWED, custom=True),
    Row(
        "custom: without the cluster",
        "al2023",
        fixed(node_config(GOOD)),
        NEVER,
        "Name is missing in cluster configuration",
        custom=True,
    ),
    Row("custom: leading blank line", "al2023", custom_al2023(lambda d: b"\n" + d), NEVER, "NodeConfig", custom=True),
    Row(
        "custom: indented",
        "al2023",
        custom_al2023(lambda data: b"".join(b"  " + line for line in data.splitlines(keepends=True))),
        NEVER,
        "NodeConfig",
        custom=True,
    ),
    # AL2, a custom image
    Row(
        "one quoted argument",
        "al2",
        bootstrap(f"--kubelet-extra-args '{FLAG} --node-labels=a=b'"),
        ALLOWED,
        custom=True,
    ),
    Row(
        "a second extra-args",
        "al2",
        bootstrap(f"--kubelet-extra-args '{FLAG}' --kubelet-extra-args '--node-labels=a=b'"),
        FORBIDDEN,
        custom=True,
    ),
    Row("the = form", "al2", bootstrap(f"--kubelet-extra-args='{FLAG}'"), FORBIDDEN, custom=True),
    Row("unquoted", "al2", bootstrap(f"--kubelet-extra-args --node-labels=a=b {FLAG}"), FORBIDDEN, custom=True),
    Row(
        "an unquoted glob",
        "al2",
        bootstrap(
            "--kubelet-extra-args --allowed-unsafe-sysctls=net.core.*",
            "mkdir /tmp/here && cd /tmp/here && touch -- --allowed-unsafe-sysctls=net.core.rmem_default",
        ),
        FORBIDDEN,
        custom=True,
    ),
    Row(
        "AL2: net*",
        "al2",
        bootstrap("--kubelet-extra-args '--allowed-unsafe-sysctls=net*'"),
        NEVER,
        NAMESPACED,
        custom=True,
    ),
    Row("no bootstrap call", "al2", fixed(shell("#!/bin/sh\necho hello\n")), NEVER, "hello", custom=True),
    Row(
        "another cluster's name",
        "al2",
        fixed(shell("#!/bin/sh\n/etc/eks/bootstrap.sh nowhere\n")),
        NEVER,
        "No cluster found for name: nowhere",
        custom=True,
    ),
    # AL2, EKS's own image
    Row("AL2: jq before EKS's call", "al2", fixed(shell(JQ)), ALLOWED, stock_al2=True),
    Row("AL2: nothing", "al2", fixed(b""), FORBIDDEN, stock_al2=True),
    # Bottlerocket
    Row("TOML", "bottlerocket", fixed(toml(f'allowed-unsafe-sysctls = ["{SYSCTL}"]')), ALLOWED),
    Row(
        "TOML: another sysctl",
        "bottlerocket",
        fixed(toml('allowed-unsafe-sysctls = ["net.core.rmem_default"]')),
        FORBIDDEN,
    ),
    Row("TOML: net*", "bottlerocket", fixed(toml('allowed-unsafe-sysctls = ["net*"]')), NEVER, NAMESPACED),
    Row("TOML: a misspelt key", "bottlerocket", fixed(toml('allowed-sysctls = ["a"]')), NEVER, "unknown field"),
    Row("MIME for Bottlerocket", "bottlerocket", fixed(node_config(GOOD)), REFUSED, "not in the TOML format"),
    Row(
        "a quoted key in a header",
        "bottlerocket",
        fixed(b'[settings."kubernetes"]\nmax-pods = 9\n'),
        REFUSED,
        "quoted keys",
    ),
    Row("custom TOML: with the cluster", "bottlerocket", custom_bottlerocket, ALLOWED, custom=True),
    Row(
        "custom TOML: without",
        "bottlerocket",
        fixed(toml(f'allowed-unsafe-sysctls = ["{SYSCTL}"]')),
        NEVER,
        "settings.kubernetes.cluster-name is missing",
        custom=True,
    ),
]
