# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random user data and patterns.

Our list survives the merge at boot, everything else stays, and a second rendering changes nothing.
"""

from __future__ import annotations

import base64
import copy
import json
import sys
from typing import Any

import pytest
import yaml
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import sysctls, userdata
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.formats import mime as envelope
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.userdata import UserDataRequest, render
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._sysctl_nodegroup.test_userdata import (
    OWN_AMI,
    booted,
    extra_args,
    scripts,
)
from hypothesis import given, settings
from hypothesis import strategies as st

KNOWN = (
    "net.core.somaxconn",
    "net.ipv4.tcp_*",
    "net.*",
    "kernel.sem",
    "kernel.msg*",
    "fs.mqueue.*",
    "net/ipv4/tcp_mem",
)
PATTERNS = st.one_of(
    st.sampled_from(KNOWN), st.from_regex(r"net\.[a-z0-9]{1,8}(\.[a-z0-9_]{0,6}[a-z0-9])?(\.\*)?", fullmatch=True)
).filter(lambda pattern: sysctls.get_rejection_reason(pattern, 34) is None)
LISTS = st.lists(PATTERNS, min_size=1, max_size=5, unique=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12)
KEYS = st.from_regex(r"[a-z][A-Za-z0-9-]{0,10}", fullmatch=True)
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-9, 9999), TEXTS, st.sampled_from(("on", "1.5", "~", "2024-01-01", "- *"))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)
CONFIGS = st.dictionaries(KEYS, VALUES, max_size=4)


@st.composite
def node_configs(draw: st.DrawFn) -> bytes:
    config = draw(CONFIGS)
    if draw(st.booleans()):
        config["allowedUnsafeSysctls"] = draw(LISTS)
    spec = {"kubelet": {"config": config, "flags": draw(st.lists(st.sampled_from(("--v=2", "--x=y")), max_size=2))}}
    document = {"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": spec}
    return yaml.safe_dump(document, allow_unicode=True).encode()


@st.composite
def shell_scripts(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.one_of(TEXTS.map(lambda text: f"# {text}"), st.just("echo 'x y'")), max_size=4))
    return "\n".join(["#!/bin/bash", *lines]).encode()


@st.composite
def multiparts(draw: st.DrawFn, with_node_configs: bool) -> bytes:
    newline = draw(st.sampled_from((b"\n", b"\r\n")))
    parts = []
    for _number in range(draw(st.integers(0, 4))):
        if with_node_configs and draw(st.booleans()):
            kind, body = b"application/node.eks.aws", draw(node_configs())
        elif draw(st.booleans()):
            kind, body = b"text/x-shellscript", draw(shell_scripts())
        else:
            kind, body = b"text/cloud-config", b"#cloud-config\nx: " + draw(KEYS).encode()
        headers = [b"Content-Type: " + kind + draw(st.sampled_from((b"", b'; charset="utf-8"')))]
        if draw(st.booleans()):
            headers.insert(draw(st.integers(0, 1)), b"Content-Transfer-Encoding: base64")
            body = base64.encodebytes(body).strip()
        parts.append(newline.join(headers) + newline + newline + body)
    boundary = b"==" + draw(KEYS).encode() + b"=="
    head = b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="' + boundary + b'"\n\n'
    body = b"".join(b"--" + boundary + newline + part + newline for part in parts)
    empty = b"--" + boundary + newline + b"Content-Type: text/plain" + newline + newline + newline if not parts else b""
    return head.replace(b"\n", newline) + body + empty + b"--" + boundary + b"--" + newline


def contents(data: bytes) -> list[tuple[bytes, bytes]]:
    return [(part.head, part.body) for part in envelope.parse(data).parts]


@settings(deadline=None, max_examples=40)
@given(multiparts(with_node_configs=True), LISTS, LISTS, CONFIGS)
def test_al2023(base: bytes, requested: list[str], others: list[str], kubelet: dict[str, Any]) -> None:
    before = booted(base)
    data = render(UserDataRequest("al2023", requested, base, kubelet_config=kubelet))
    after = booted(data)
    config = dict(before.get("kubelet", {}).get("config", {}))
    theirs = config.pop("allowedUnsafeSysctls", [])
    ours = after["kubelet"]["config"].pop("allowedUnsafeSysctls")
    assert ours == sysctls.merge_lists(theirs, requested)
    assert (after["kubelet"].get("flags") or []) == (before.get("kubelet", {}).get("flags") or [])
    for key, value in config.items():
        if key not in kubelet:
            assert after["kubelet"]["config"][key] == value
    for key, value in kubelet.items():
        if not isinstance(value, dict):
            assert after["kubelet"]["config"][key] == value
    assert contents(data)[:-1] == contents(base)  # the user's parts, byte by byte
    again = UserDataRequest("al2023", requested, data, kubelet_config=kubelet)
    assert render(again) == data
    # other sysctls later: nothing of the first remains
    assert render(UserDataRequest("al2023", others, data, kubelet_config=kubelet)) == render(
        UserDataRequest("al2023", others, base, kubelet_config=kubelet)
    )


@settings(deadline=None, max_examples=40)
@given(multiparts(with_node_configs=False), LISTS)
def test_al2_with_an_ami_of_eks(base: bytes, requested: list[str]) -> None:
    data = render(UserDataRequest("al2", requested, base))
    assert contents(data)[:-1] == contents(base)
    assert userdata.list_allowed_sysctls("al2", data) == requested
    assert render(UserDataRequest("al2", requested, data)) == data


FLAGS = st.lists(st.sampled_from(("--node-labels=a=b", "--max-pods=20", "--v=2", "--cert-dir=$HOME")), max_size=3)


@settings(deadline=None, max_examples=40)
@given(shell_scripts(), FLAGS, st.none() | LISTS, LISTS, st.sampled_from("'\""), st.booleans(), st.booleans())
def test_al2_with_a_custom_ami(
    script: bytes,
    flags: list[str],
    theirs: list[str] | None,
    requested: list[str],
    quote: str,
    folded: bool,
    base64_: bool,
) -> None:
    if theirs:
        flags = [*flags, f"--allowed-unsafe-sysctls={','.join(theirs)}"]
    extra = f" {chr(92) + chr(10) if folded else ''}--kubelet-extra-args {quote}{' '.join(flags)}{quote}"
    call = f"/etc/eks/bootstrap.sh prod{extra if flags else ''} --use-max-pods false"
    text = script + b"\n" + call.encode() + b"\necho after"
    base = text
    if base64_:
        base = b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="B"\n\n--B\n'
        base += b"Content-Type: text/x-shellscript\nContent-Transfer-Encoding: base64\n\n"
        base += base64.encodebytes(text) + b"--B--\n"
    data = render(UserDataRequest("al2", requested, base, OWN_AMI))
    edited = envelope.parse(data).parts[0].content.decode() if base64_ else scripts(data)[0]
    expected = sysctls.merge_lists(theirs or [], requested)
    ours = extra_args(edited)
    listed = [argument.partition("=")[2].split(",") for argument in ours if "sysctls" in argument]
    assert sorted(pattern for patterns in listed for pattern in patterns) == sorted(expected)
    assert userdata.remove_own_changes("al2", data) == base
    assert [argument for argument in ours if "sysctls" not in argument] == [
        flag for flag in flags if "sysctls" not in flag
    ]
    note = [line for line in edited.splitlines() if not line.startswith("# daytwo.aws")]
    assert note[: len(script.decode().splitlines())] == script.decode().splitlines()
    assert note[-1] == "echo after"
    assert render(UserDataRequest("al2", requested, data, OWN_AMI)) == data


TOML_KEYS = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
PLAIN = st.from_regex(r"[A-Za-z0-9 ./=:#\[\]-]{0,10}", fullmatch=True)
TOML_VALUES = st.one_of(st.booleans(), st.integers(0, 999), PLAIN, st.lists(PLAIN, max_size=3))


@st.composite
def tomls(draw: st.DrawFn) -> str:
    def assignments(values: dict[str, Any]) -> str:
        return "".join(
            f"{key} = {json.dumps(value)}{draw(st.sampled_from(('', ' # why', ' # [settings.kubernetes]')))}\n"
            for key, value in values.items()
        )

    sections = []
    for name in draw(st.lists(st.sampled_from(("motd", "host.admin", "network")), unique=True)):
        sections.append(f"[settings.{name}]\n" + assignments(draw(st.dictionaries(TOML_KEYS, TOML_VALUES, max_size=3))))
    if draw(st.booleans()):
        table = "[settings.kubernetes]\n" + assignments(draw(st.dictionaries(TOML_KEYS, TOML_VALUES, max_size=3)))
        if draw(st.booleans()):
            between = draw(st.sampled_from((", ", ",\n  ", ", # ]\n")))
            table += "allowed-unsafe-sysctls = [" + between.join(json.dumps(pattern) for pattern in draw(LISTS)) + "]\n"
        sections.insert(draw(st.integers(0, len(sections))), table)
    if draw(st.booleans()):
        sections.append("[settings.kubernetes.node-labels]\na = 'b'\n")
    return "\n".join(sections)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is in Python 3.11 and newer")
@settings(deadline=None, max_examples=40)
@given(tomls(), LISTS, LISTS)
def test_bottlerocket(base: str, requested: list[str], others: list[str]) -> None:
    import tomllib

    before = tomllib.loads(base)
    data = render(UserDataRequest("bottlerocket", requested, base.encode()))
    after = tomllib.loads(data.decode())
    kubernetes = before.setdefault("settings", {}).setdefault("kubernetes", {})
    kubernetes["allowed-unsafe-sysctls"] = sysctls.merge_lists(kubernetes.get("allowed-unsafe-sysctls", []), requested)
    assert after == before
    assert render(UserDataRequest("bottlerocket", requested, data)) == data
    theirs = tomllib.loads(base).get("settings", {}).get("kubernetes", {}).get("allowed-unsafe-sysctls", [])
    changed = render(UserDataRequest("bottlerocket", others, data))
    expected = copy.deepcopy(before)
    expected["settings"]["kubernetes"]["allowed-unsafe-sysctls"] = sysctls.merge_lists(theirs, others)
    assert tomllib.loads(changed.decode()) == expected
