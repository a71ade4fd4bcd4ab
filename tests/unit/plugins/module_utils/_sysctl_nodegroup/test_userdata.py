# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""User data per AMI family: each fact of docs/facts/sysctl_nodegroup.md is a test.

The merge at boot is written again here, independently.
"""

from __future__ import annotations

import base64
import email
import gzip
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import eks, userdata
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.errors import SysctlError
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.userdata import (
    BootstrapSettings,
    UserDataRequest,
    render,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._sysctl_nodegroup.groups import NEEDS_TOMLLIB

REQUESTED = ("net.core.somaxconn", "net.ipv4.tcp_*")
OWN_AMI = BootstrapSettings(
    "prod",
    "https://ABC.eks.amazonaws.com",
    "Q0E=",
    "172.20.0.0/16",
    "172.20.0.10",
    {"team": "a"},
    [{"key": "dedicated", "value": "x", "effect": "NO_SCHEDULE"}],
)


def mime(*parts: tuple[str, str], boundary: str = "B") -> bytes:
    text = f'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="{boundary}"\n\n'
    for head, body in parts:
        text += f"--{boundary}\n{head}\n\n{body}\n"
    return (text + f"--{boundary}--\n").encode()


def node_config(spec: dict[str, Any]) -> tuple[str, str]:
    body = yaml.safe_dump({"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": spec}, sort_keys=False)
    return "Content-Type: application/node.eks.aws", body


def booted(data: bytes) -> dict[str, Any]:
    """The spec that nodeadm boots with: parsed by Python's email package, merged independently."""

    def over(below: Any, above: Any) -> Any:
        if isinstance(below, dict) and isinstance(above, dict):
            return {
                **below,
                **{key: over(below[key], value) if key in below else value for key, value in above.items()},
            }
        return above

    spec: dict[str, Any] = {}
    flags: list[str] = []
    for part in email.message_from_bytes(data).walk():
        if part.get_content_type() == "application/node.eks.aws":
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            part_spec = yaml.safe_load(payload)["spec"]
            flags += part_spec.get("kubelet", {}).get("flags", [])
            spec = over(spec, part_spec)
    if flags:
        spec["kubelet"]["flags"] = flags
    return spec


def test_al2023_with_an_ami_of_eks_has_the_kubelet_part_only() -> None:
    data = render(UserDataRequest("al2023", REQUESTED))
    assert data.decode() == (
        'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="//"\n\n'
        "--//\nContent-Type: application/node.eks.aws\n\n"
        "apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\n# Written by daytwo.aws.eks_sysctl_nodegroup.\nspec:\n"
        "  kubelet:\n    config:\n      allowedUnsafeSysctls:\n        - net.core.somaxconn\n        - net.ipv4.tcp_*\n"
        "\n--//--\n"
    )
    assert booted(data) == {"kubelet": {"config": {"allowedUnsafeSysctls": list(REQUESTED)}}}


def test_al2023_with_a_custom_ami_has_cluster_labels_and_taints() -> None:
    spec = booted(render(UserDataRequest("al2023", REQUESTED, bootstrap=OWN_AMI)))
    assert spec["cluster"] == {
        "name": "prod",
        "apiServerEndpoint": "https://ABC.eks.amazonaws.com",
        "certificateAuthority": "Q0E=",
        "cidr": "172.20.0.0/16",
    }
    assert spec["kubelet"]["flags"] == ["--node-labels=team=a", "--register-with-taints=dedicated=x:NoSchedule"]


def test_al2023_keeps_the_users_cluster_and_flags() -> None:
    theirs = {"cluster": {"name": "mine"}, "kubelet": {"flags": ["--node-labels=own=1"]}}
    spec = booted(render(UserDataRequest("al2023", REQUESTED, mime(node_config(theirs)), OWN_AMI)))
    assert spec["cluster"]["name"] == "mine"
    assert spec["cluster"]["cidr"] == "172.20.0.0/16"
    assert spec["kubelet"]["flags"] == ["--node-labels=own=1", "--register-with-taints=dedicated=x:NoSchedule"]


def test_al2023_a_later_list_replaces_an_earlier_list_so_ours_holds_both() -> None:
    base = mime(
        node_config({"kubelet": {"config": {"allowedUnsafeSysctls": ["kernel.sem"], "maxPods": 20}}}),
        ("Content-Type: text/x-shellscript", "#!/bin/sh\necho hello"),
        node_config({"kubelet": {"config": {"allowedUnsafeSysctls": ["kernel.msg*"]}}}),
    )
    data = render(UserDataRequest("al2023", REQUESTED, base))
    config = booted(data)["kubelet"]["config"]
    assert config == {"allowedUnsafeSysctls": ["kernel.msg*", *REQUESTED], "maxPods": 20}
    assert data.startswith(base.removesuffix(b"--B--\n"))  # the user's parts keep their bytes
    assert userdata.list_allowed_sysctls("al2023", data) == ["kernel.msg*", *REQUESTED]


def test_kubelet_config_goes_into_the_same_part() -> None:
    request = UserDataRequest(
        "al2023", REQUESTED, kubelet_config={"maxPods": 30, "allowedUnsafeSysctls": ["kernel.sem"]}
    )
    data = render(request)
    assert booted(data)["kubelet"]["config"] == {
        "maxPods": 30,
        "allowedUnsafeSysctls": ["kernel.sem", *REQUESTED],
    }
    assert data.count(b"Content-Type: application/node.eks.aws") == 1
    with pytest.raises(SysctlError, match="AL2023"):
        render(UserDataRequest("bottlerocket", REQUESTED, kubelet_config={"maxPods": 30}))


@pytest.mark.parametrize("family", ["al2023", "al2"])
def test_fewer_sysctls_later_leave_nothing_of_ours(family: str) -> None:
    base = mime(("Content-Type: text/x-shellscript", "#!/bin/sh\necho hello"))
    first = render(UserDataRequest(family, REQUESTED, base))
    second = render(UserDataRequest(family, ["kernel.sem"], first))
    assert userdata.list_allowed_sysctls(family, second) == ["kernel.sem"]
    assert userdata.remove_own_changes(family, second) == base


@pytest.mark.parametrize(
    "base",
    [
        mime(node_config({"kubelet": {"config": {"maxPods": 9}}})).replace(b"\n", b"\r\n"),
        mime(("Content-Transfer-Encoding: 7bit\nContent-Type: application/node.eks.aws", node_config({})[1])),
        mime(('Content-Type: application/node.eks.aws; charset="us-ascii"', node_config({})[1])),
        mime(
            (
                "Content-Type: application/node.eks.aws\nContent-Transfer-Encoding: base64",
                base64.encodebytes(node_config({"kubelet": {"config": {"maxPods": 9}}})[1].encode()).decode().strip(),
            )
        ),
        node_config({"kubelet": {"config": {"maxPods": 9}}})[1].encode(),
        b"#!/bin/bash\necho a script that stands alone\n",
    ],
    ids=["CRLF", "swapped-headers", "charset", "base64", "yaml-alone", "script-alone"],
)
def test_al2023_takes_what_nodeadm_takes(base: bytes) -> None:
    data = render(UserDataRequest("al2023", REQUESTED, base))
    assert booted(data)["kubelet"]["config"]["allowedUnsafeSysctls"] == list(REQUESTED)
    assert render(UserDataRequest("al2023", REQUESTED, data)) == data


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (mime(("Content-Type: application/node.eks.aws", "  apiVersion: node.eks.aws/v1alpha1")), "kind NodeConfig"),
        (mime(node_config({})).replace(b"--B--", b"--C--"), "closes the last part"),
        (mime(node_config({})).replace(b'boundary="B"', b'boundary="Z"'), "boundary"),
        (b"MIME-Version: 1.0\nContent-Type: multipart/mixed\n\n--B--\n", "boundary"),
        (mime(node_config({})).replace(b"eks.aws\n\n", b"eks.aws\n"), "is empty"),
        (mime(("Content-Type: text/x-shellscript\n#!/bin/sh", "")), "no blank line"),
        (mime(("Content-Type: application/node.eks.aws", "- *")), "not YAML or JSON"),
        (mime(node_config({"kubelet": {"flags": "--x"}})), "must be a list"),
        (mime(("Content-Type: application/node.eks.aws", "apiVersion: v1\nkind: NodeConfig")), "apiVersion"),
        (mime(node_config({"kubelet": {"allowedUnsafeSysctls": ["net.*"]}})), "nodeadm silently drops"),
        (mime(("Content-Type: application/node.eks.aws+yaml", node_config({})[1])), "nodes silently drop"),
        (
            mime(node_config({"kubelet": {"flags": ["--config-dir=/etc/x"]}})),
            "does not read the configuration of nodeadm",
        ),
        (
            mime(node_config({"kubelet": {"flags": ["--config", "/etc/x"]}})),
            "does not read the configuration of nodeadm",
        ),
        (mime(node_config({"kubelet": {"flags": ["--v", "--allowed-unsafe-sysctls=net.*"]}})), "another argument"),
        (mime(node_config({"kubelet": {"flags": ["--allowed-unsafe-sysctls=Net.X"]}})), "other characters"),
        (mime(node_config({"kubelet": {"flags": ["--v=3\n--v=4"]}})), "a line end"),
        (mime(node_config({"kubelet": {"flags": ["--node-labels=a='b"]}})), "a quote that does not end"),
        (mime(node_config({"kubelet": {"config": {"allowedUnsafeSysctls": "net.*"}}})), "list of strings"),
        (mime(("Content-Type: application/node.eks.aws", node_config({})[1] + "kind: Other\n")), "kind NodeConfig"),
        (b"just some text", "neither MIME"),
        (b"\x1f\x8b\x08", "compressed"),
        (b"\xff\xfe", "neither MIME"),
        (mime(node_config({})).replace(b"--B--\n", b"--B--\r\n"), "different line ends"),
        (mime(node_config({})).replace(b'"B"', b"=B").replace(b"--B", b"--=B"), "nodeadm rejects the header"),
        (mime((node_config({})[0] + " charset=x", node_config({})[1])), "nodeadm rejects the header"),
        (mime(node_config({"kubelets": {}})), "silently drops"),
        (mime(node_config({"kubelet": {"config": {"AllowedUnsafeSysctls": []}}})), "the kubelet does not know"),
        (mime(node_config({"kubelet": {"config": []}})), "of type dict"),
        (mime(node_config({"cluster": {"name": 1}})), "of type str"),
        (mime(node_config({"cluster": {"certificateAuthority": "###"}})), "not base64"),
        (mime(node_config({"kubelet": {"config": {"a": float("inf")}}})), "refuses"),
        (mime(node_config({"kubelet": {"config": {"a": {None: 1}}}})), "refuses"),
        (
            mime(("Content-Type: application/node.eks.aws", node_config({})[1] + "---\nfoo: 1\n")),
            "second YAML document",
        ),
        (mime(("Content-Type: application/node.eks.aws", '{"kind": "a", "kind": "b"}')), "stands twice"),
        (mime(("Content-Type: text/x-include-url", "https://example.com/x")), "cannot be known"),
    ],
)
def test_al2023_refuses_what_nodeadm_refuses_or_drops(base: bytes, message: str) -> None:
    with pytest.raises(SysctlError, match=message):
        render(UserDataRequest("al2023", REQUESTED, base))


def extra_args(script: str) -> list[str]:
    """The kubelet extra args that bootstrap.sh accepts: its argument loop, over a real shell grammar."""
    commands = re.sub(r"(?m)^#.*$", "", script).replace("\\\n", " ")
    call = next(line for line in commands.splitlines() if line.startswith("/etc/eks/bootstrap.sh"))
    arguments = shlex.split(call, comments=True)
    taken = ""
    for number, word in enumerate(arguments):
        if word == "--kubelet-extra-args":
            taken = arguments[number + 1]
    return taken.split()


def scripts(data: bytes) -> list[str]:
    if data.startswith(b"#!"):
        return [data.decode()]
    message = email.message_from_bytes(data)
    return [str(part.get_payload()) for part in message.walk() if part.get_content_type() == "text/x-shellscript"]


def test_al2_with_a_custom_ami_gets_a_call_with_a_single_quoted_argument() -> None:
    data = render(UserDataRequest("al2", REQUESTED, bootstrap=OWN_AMI))
    assert extra_args(scripts(data)[-1]) == [
        "--allowed-unsafe-sysctls=net.core.somaxconn,net.ipv4.tcp_*",
        "--node-labels=team=a",
        "--register-with-taints=dedicated=x:NoSchedule",
    ]
    assert "--kubelet-extra-args '--allowed-unsafe-sysctls=net.core.somaxconn,net.ipv4.tcp_* " in data.decode()


OURS = "--allowed-unsafe-sysctls=net.core.somaxconn,net.ipv4.tcp_*"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("/etc/eks/bootstrap.sh prod", [OURS]),
        (
            "/etc/eks/bootstrap.sh prod --kubelet-extra-args '--node-labels=a=b --max-pods=20' --use-max-pods false",
            [OURS, "--node-labels=a=b", "--max-pods=20"],
        ),
        (
            '/etc/eks/bootstrap.sh prod \\\n  --kubelet-extra-args "--node-labels=a=b" \\\n  --apiserver-endpoint x',
            [OURS, "--node-labels=a=b"],
        ),
        (
            "/etc/eks/bootstrap.sh prod --kubelet-extra-args '--allowed-unsafe-sysctls=kernel.sem --v=2'",
            [OURS, "--allowed-unsafe-sysctls=kernel.sem", "--v=2"],
        ),
        (
            "/etc/eks/bootstrap.sh prod --kubelet-extra-args --node-labels=a=b  # no quotes",
            [OURS, "--node-labels=a=b"],
        ),
        (
            "/etc/eks/bootstrap.sh prod --kubelet-extra-args '--allowed-unsafe-sysctls=net.core.* "
            "--allowed-unsafe-sysctls=net.ipv4.tcp_*'",
            [
                "--allowed-unsafe-sysctls=net.core.somaxconn",
                "--allowed-unsafe-sysctls=net.core.*",
                "--allowed-unsafe-sysctls=net.ipv4.tcp_*",
            ],
        ),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_al2_edits_the_users_own_call(call: str, expected: list[str], wrapped: bool) -> None:
    """A flag that is repeated adds to the kubelet's list, so that no byte of the user's own changes."""
    script = f"#!/bin/bash\necho before\n# /etc/eks/bootstrap.sh in a comment\n{call}\necho after\n"
    base = mime(("Content-Type: text/x-shellscript", script)) if wrapped else script.encode()
    data = render(UserDataRequest("al2", REQUESTED, base, OWN_AMI))
    (edited,) = scripts(data)
    assert extra_args(edited) == expected
    kept = [line for line in script.splitlines() if "bootstrap.sh prod" not in line and "--kubelet" not in line]
    assert [line for line in kept if line in edited.splitlines()] == kept
    assert render(UserDataRequest("al2", REQUESTED, data, OWN_AMI)) == data
    fewer = render(UserDataRequest("al2", ["net.core.somaxconn"], data, OWN_AMI))
    theirs = [word for word in expected if word != OURS]
    assert ("net.ipv4.tcp_*" in userdata.list_allowed_sysctls("al2", fewer)) == ("tcp_" in str(theirs))
    assert userdata.remove_own_changes("al2", data) == base


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("/etc/eks/bootstrap.sh prod --kubelet-extra-args '--a' --kubelet-extra-args '--b'", "only the last counts"),
        ("/etc/eks/bootstrap.sh prod --kubelet-extra-args='--a'", "ignores"),
        ("/etc/eks/bootstrap.sh prod --kubelet-extra-args", "nothing after it"),
        ("/etc/eks/bootstrap.sh prod --kubelet-extra-args $ARGS", "any number of arguments"),
        ("/etc/eks/bootstrap.sh prod --kubelet-extra-args '--a", "does not end"),
        ("/etc/eks/bootstrap.sh prod --kubelet-extra-args '--allowed-unsafe-sysctls=x\\y'", "cannot be read"),
        ('/etc/eks/bootstrap.sh prod --kubelet-extra-args "--allowed-unsafe-sysctls=$X"', "cannot be read"),
        ('/etc/eks/bootstrap.sh prod --kubelet-extra-args "--v=1\'"', "single quotes"),
        ("/etc/eks/bootstrap.sh", "names no cluster"),
        ("/etc/eks/bootstrap.sh --help prod", "with which it ends"),
        ("exit 0\n/etc/eks/bootstrap.sh prod", "ends here"),
    ],
)
def test_al2_refuses_what_boots_without_the_flag(call: str, message: str) -> None:
    with pytest.raises(SysctlError, match=message):
        render(UserDataRequest("al2", REQUESTED, f"#!/bin/bash\n{call}\n".encode(), OWN_AMI))


def test_al2_with_an_ami_of_eks_writes_the_kubelets_configuration_first() -> None:
    base = mime(("Content-Type: text/x-shellscript", "#!/bin/bash\necho theirs"))
    data = render(UserDataRequest("al2", REQUESTED, base))
    assert data.startswith(base.removesuffix(b"--B--\n"))
    assert "bootstrap.sh" not in data.decode()
    assert '+ ["net.core.somaxconn","net.ipv4.tcp_*"] | unique)' in scripts(data)[-1]


@NEEDS_TOMLLIB
def test_bottlerocket() -> None:
    import tomllib

    data = render(UserDataRequest("bottlerocket", REQUESTED)).decode()
    assert tomllib.loads(data) == {"settings": {"kubernetes": {"allowed-unsafe-sysctls": list(REQUESTED)}}}
    own_ami = tomllib.loads(render(UserDataRequest("bottlerocket", REQUESTED, bootstrap=OWN_AMI)).decode())
    assert own_ami["settings"]["kubernetes"] == {
        "allowed-unsafe-sysctls": list(REQUESTED),
        "cluster-name": "prod",
        "api-server": "https://ABC.eks.amazonaws.com",
        "cluster-certificate": "Q0E=",
        "cluster-dns-ip": "172.20.0.10",
        "node-labels": {"team": "a"},
        "node-taints": {"dedicated": ["x:NoSchedule"]},
    }


@NEEDS_TOMLLIB
@pytest.mark.parametrize(
    "base",
    [
        "",
        "[settings.host-containers.admin]\nenabled = true\n",
        "[settings.kubernetes]\nmax-pods = 20\n",
        "[settings.kubernetes.node-labels]\na = 'b'\n",
        "[settings.kubernetes]\nallowed-unsafe-sysctls = [\n  'kernel.sem', # why ]\n]\nmax-pods = 3\n",
        "settings.kubernetes.allowed-unsafe-sysctls = ['kernel.sem']\n",
        "# [settings.kubernetes]\n[settings.motd]\nx = 'y'",
        "[settings.kubernetes]",
        "[ settings . kubernetes ] # mine\r\nmax-pods = 3\r\n",
    ],
)
def test_bottlerocket_merges_into_a_single_list_and_keeps_the_rest(base: str) -> None:
    import tomllib

    before = tomllib.loads(base)
    data = render(UserDataRequest("bottlerocket", REQUESTED, base.encode()))
    after = tomllib.loads(data.decode())
    theirs = before.get("settings", {}).get("kubernetes", {}).pop("allowed-unsafe-sysctls", [])
    assert after["settings"]["kubernetes"].pop("allowed-unsafe-sysctls") == [*theirs, *REQUESTED]
    before.setdefault("settings", {}).setdefault("kubernetes", {})
    assert after == before
    assert render(UserDataRequest("bottlerocket", REQUESTED, data)) == data
    assert userdata.list_allowed_sysctls(
        "bottlerocket", render(UserDataRequest("bottlerocket", ["kernel.msg*"], data))
    ) == [
        *theirs,
        "kernel.msg*",
    ]


@NEEDS_TOMLLIB
@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("[settings.\"kubernetes\"]\na = 'b'\n", "quoted keys"),
        ('[settings.x]\na = "b\\"c"\n', "escaped quotes"),
        ("[settings.x]\na = [1, 'b']\n", "mixed types"),
        ("not toml", "not TOML"),
        ('MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="B"\n\n--B--\n', "never MIME"),
        ("[settings.kubernetes]\nallowed-unsafe-sysctls = 'net.core.somaxconn'\n", "not a list of strings"),
        ("settings.kubernetes = 3\n", "is no table"),
    ],
)
def test_bottlerocket_refuses(base: str, message: str) -> None:
    with pytest.raises(SysctlError, match=message):
        render(UserDataRequest("bottlerocket", REQUESTED, base.encode()))


def test_more_than_16384_raw_bytes_are_refused_with_what_takes_the_room() -> None:
    fits = mime(("Content-Type: text/x-shellscript", "#!/bin/sh\n#" + "x" * 15000))
    assert len(render(UserDataRequest("al2023", REQUESTED, fits))) <= 16384
    big = mime(("Content-Type: text/x-shellscript", "#!/bin/sh\n#" + "x" * 16300))
    with pytest.raises(
        SysctlError, match=r"EC2 accepts 16384 before base64\. Shorten a part: part 1 \(text/x-shellscript\): 163"
    ):
        render(UserDataRequest("al2023", REQUESTED, big))


def test_the_same_meaning_in_other_bytes_is_no_difference() -> None:
    first = render(UserDataRequest("al2023", REQUESTED))
    other = mime(node_config({"kubelet": {"config": {"allowedUnsafeSysctls": list(REQUESTED)}}}), boundary="OTHER")
    assert first != other
    assert userdata.normalize_user_data("al2023", first) == userdata.normalize_user_data("al2023", other)
    third = mime(node_config({"kubelet": {"config": {"allowedUnsafeSysctls": ["net.*"]}}}))
    assert userdata.normalize_user_data("al2023", first) != userdata.normalize_user_data("al2023", third)


def test_our_yaml_is_what_yaml_reads() -> None:
    config = {"a": {"b": [1, "on", "*x", "", {"c": ["d", {}], "e": None}], "f": 1.5, "g": [], "h: i": True, "ü": "é\n"}}
    data = render(UserDataRequest("al2023", REQUESTED, kubelet_config=config))
    assert booted(data)["kubelet"]["config"]["a"] == config["a"]
    assert json.dumps(booted(data))


CASES = yaml.safe_load((Path(__file__).parent / "user_data.yml").read_text())


def render_case(case: dict[str, Any], base: bytes | None = None) -> bytes:
    data = gzip.compress(case["user_data"].encode()) if case.get("gzip") else case["user_data"].encode()
    requested = ("net.core.somaxconn", "net.ipv4.tcp_tw_reuse")
    settings = replace(OWN_AMI, labels={}, taints=()) if case["custom_ami"] else None
    return render(UserDataRequest(case["family"], requested, data if base is None else base, settings))


@NEEDS_TOMLLIB
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_user_data_as_it_is_found(case: dict[str, Any]) -> None:
    if "refused" in case:
        with pytest.raises(SysctlError, match=case["refused"]):
            render_case(case)
        return
    data = render_case(case)
    allowed = userdata.list_allowed_sysctls(case["family"], data)
    # The call of another architecture has its own list: what each of the calls allows counts.
    assert sorted(allowed) == sorted({*case["allowed"], "net.core.somaxconn", "net.ipv4.tcp_tw_reuse"})
    assert render_case(case, data) == data
    if not case.get("gzip") and case["family"] != "bottlerocket":
        kept = userdata.remove_own_changes(case["family"], data)
        original = case["user_data"].encode()
        assert kept == original or not original.lstrip(b"\xef\xbb\xbf").startswith((b"MIME", b"From", b"#"))


def test_most_of_the_user_data_that_boots_is_edited() -> None:
    assert len(CASES) == 66
    assert len([case for case in CASES if "allowed" in case]) >= 47


OWN_AMI_IPV6 = replace(OWN_AMI, service_cidr="fd30:1c53:5f8a::/108", dns_ip="fd30:1c53:5f8a::a")


def test_a_custom_ami_joins_an_ipv6_cluster_by_its_ipv6_range() -> None:
    spec = booted(render(UserDataRequest("al2023", REQUESTED, bootstrap=OWN_AMI_IPV6)))
    assert spec["cluster"]["cidr"] == "fd30:1c53:5f8a::/108"
    (script,) = scripts(render(UserDataRequest("al2", REQUESTED, bootstrap=OWN_AMI_IPV6)))
    call = shlex.split(script.replace("\\\n", " "), comments=True)
    for option, value in (
        ("--ip-family", "ipv6"),
        ("--service-ipv6-cidr", "fd30:1c53:5f8a::/108"),
        ("--dns-cluster-ip", "fd30:1c53:5f8a::a"),
    ):
        assert call[call.index(option) + 1] == value


@pytest.mark.parametrize(
    ("network", "service_cidr", "dns_ip"),
    [
        ({"ipFamily": "ipv4", "serviceIpv4Cidr": "172.20.0.0/16"}, "172.20.0.0/16", "172.20.0.10"),
        ({"serviceIpv4Cidr": "10.100.0.0/16"}, "10.100.0.0/16", "10.100.0.10"),
        ({"ipFamily": "ipv6", "serviceIpv6Cidr": "fd30:1c53:5f8a::/108"}, "fd30:1c53:5f8a::/108", "fd30:1c53:5f8a::a"),
        ({}, "", ""),
    ],
)
def test_the_cluster_has_the_range_of_its_ip_family(network: dict[str, str], service_cidr: str, dns_ip: str) -> None:
    class Client:
        def describe_cluster(self, name: str) -> dict[str, Any]:
            return {"cluster": {"name": name, "kubernetesNetworkConfig": network}}

    cluster = eks.get_cluster(Client(), "prod")
    assert (cluster.service_cidr, cluster.dns_ip) == (service_cidr, dns_ip)
