# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the same user data for node groups of eksctl, Karpenter or Terraform. Calls no API."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from . import sysctls, userdata
from .errors import SysctlError
from .model import SysctlNodegroupOptions

EKSCTL_FAMILY = {"al2023": "AmazonLinux2023", "al2": "AmazonLinux2", "bottlerocket": "Bottlerocket"}
KARPENTER_FAMILY = {"al2023": "AL2023", "al2": "AL2", "bottlerocket": "Bottlerocket"}


def render_result(options: SysctlNodegroupOptions, bootstrap: Any = None) -> dict[str, Any]:
    family = options.ami_family if options.ami_family != "auto" else "al2023"
    version = options.version or f"1.{sysctls.NEWEST_MINOR}"
    try:
        minor = sysctls.parse_minor(version)
    except ValueError as error:
        raise SysctlError(f"version: {error}") from error
    classification = sysctls.classify_sysctls(options.sysctls, minor)
    impossible = [entry for entry in classification if entry.verdict == "impossible"]
    if impossible:
        raise SysctlError(
            "nothing was rendered: " + " ".join(f"{entry.name}: {entry.reason}" for entry in impossible),
            {"classification": [entry.to_dict() for entry in classification]},
        )
    data = userdata.render(
        userdata.UserDataRequest(family, options.sysctls, options.user_data or b"", bootstrap, options.kubelet_config)
    )
    text = data.decode()
    return {
        "classification": [entry.to_dict() for entry in classification],
        "node_group_required": any(entry.verdict != "safe" for entry in classification),
        "ami_family": family,
        "user_data": text,
        "eksctl_cluster_config": render_eksctl(options, family, data),
        "karpenter_ec2nodeclass": render_karpenter(options, family, text),
        "terraform_user_data": base64.b64encode(data).decode(),
    }


def _format_block(key: str, text: str, depth: int) -> list[str]:
    """Format a literal block, or a quoted string where a block would not keep every byte."""
    pad = "  " * depth
    plain = "\r" not in text and "\t" not in text and text.endswith("\n") and not text.startswith((" ", "\n"))
    if not plain or text.endswith("\n\n"):
        return [f"{pad}{key}: {json.dumps(text)}"]
    return [f"{pad}{key}: |", *[f"{pad}  {line}" if line else "" for line in text[:-1].split("\n")]]


def render_eksctl(options: SysctlNodegroupOptions, family: str, data: bytes) -> str:
    """Render a managed node group of an eksctl ClusterConfig.

    eksctl has no field for allowed sysctls, so this uses its fields for the boot.
    """
    listed = userdata.list_allowed_sysctls(family, data)
    lines = [
        "apiVersion: eksctl.io/v1alpha5",
        "kind: ClusterConfig",
        "metadata:",
        f"  name: {json.dumps(options.cluster)}",
        "  region: REGION",
        "managedNodeGroups:",
        f"  - name: {json.dumps(options.name)}",
        f"    amiFamily: {EKSCTL_FAMILY[family]}",
    ]
    if family == "bottlerocket":
        lines += ["    bottlerocket:", "      settings:", "        kubernetes:", *_format_sysctl_list(listed, 5)]
    elif family == "al2023":
        config = userdata.render(userdata.UserDataRequest(family, listed, b"", None, options.kubelet_config)).decode()
        lines += _format_block("overrideBootstrapCommand", _extract_node_config(config), 2)
    else:
        script = userdata.render(userdata.UserDataRequest(family, listed)).decode()
        lines += [
            "    preBootstrapCommands:",
            *[f"      - {json.dumps(command)}" for command in _extract_commands(script)],
        ]
    return "\n".join(lines) + "\n"


def _format_sysctl_list(patterns: Sequence[str], depth: int) -> list[str]:
    pad = "  " * depth
    return [f"{pad}allowed-unsafe-sysctls:", *[f"{pad}  - {json.dumps(pattern)}" for pattern in patterns]]


def _extract_node_config(document: str) -> str:
    """Extract the NodeConfig from our MIME document."""
    return document[document.index("apiVersion:") : document.rindex("\n--")]


def _extract_commands(document: str) -> list[str]:
    script = document[document.index("#!/bin/bash") : document.rindex("\n--")]
    return [line for line in script.splitlines() if line and not line.startswith(("#", "set "))]


def render_karpenter(options: SysctlNodegroupOptions, family: str, text: str) -> str:
    lines = [
        "apiVersion: karpenter.k8s.aws/v1",
        "kind: EC2NodeClass",
        "metadata:",
        f"  name: {json.dumps(options.name)}",
        "spec:",
        f"  amiFamily: {KARPENTER_FAMILY[family]}",
        *_format_block("userData", text, 1),
    ]
    return "\n".join(lines) + "\n"
