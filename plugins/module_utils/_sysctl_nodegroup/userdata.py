# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render user data that makes a kubelet allow sysctls, per AMI family. Pure: the same input gives the same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .errors import SysctlError
from .formats import cloud_init, mime, node_config, toml
from .formats.bootstrap_calls import BOOTSTRAP_SCRIPT, EXTRA_ARGS_FLAG, LIST_FLAG
from .formats.cloud_init import WRITER_NAME, PartReading, decode_text, extract_note, format_note
from .formats.node_config import API_VERSION, KIND, SYSCTLS_KEY
from .formats.scripts import EKS_CALL, NODEADM, OWN_CALL
from .sysctls import merge_lists

AL2023, BOTTLEROCKET, AL2 = "al2023", "bottlerocket", "al2"
FAMILIES = (AL2023, BOTTLEROCKET, AL2)
USER_DATA_LIMIT = 16384  # raw bytes: docs/facts/sysctl_nodegroup.md#managed-node-group-api
WRITER_MARK = f"# Written by {WRITER_NAME}."
_TAINT_EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}


@dataclass(frozen=True)
class BootstrapSettings:
    """The settings of the cluster that a node with a custom AMI needs, because EKS does not add them.

    C(service_cidr): the range of the cluster's IP family. An IPv6 range makes the node join by IPv6.
    """

    cluster: str
    endpoint: str
    certificate_authority: str
    service_cidr: str
    dns_ip: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.service_cidr


@dataclass(frozen=True)
class UserDataRequest:
    """A request. C(base): the user's own user data, raw. C(bootstrap): only with a custom AMI."""

    family: str
    sysctls: Sequence[str]
    base: bytes = b""
    bootstrap: Optional[BootstrapSettings] = None
    kubelet_config: Mapping[str, Any] = field(default_factory=dict)


def render(request: UserDataRequest) -> bytes:
    """Render the user data. The result is the same for user data that was rendered before."""
    if request.family not in FAMILIES:
        raise SysctlError(
            f"user data cannot be rendered for the AMI family {request.family}. Use one of {', '.join(FAMILIES)}"
        )
    base = request.base
    if base.startswith(mime.GZIP):
        if not request.bootstrap or request.family == BOTTLEROCKET:
            raise SysctlError("the user data cannot be read: it is compressed (gzip). Set it without compression")
        base = node_config.inflate(base)
    base = remove_own_changes(request.family, base)
    if request.kubelet_config and request.family != AL2023:
        raise SysctlError(
            f"kubelet_config cannot be used with {request.family}: only nodeadm of AL2023 reads it. "
            "Put the setting into user_data"
        )
    renderer = {AL2023: _render_al2023, BOTTLEROCKET: _render_bottlerocket, AL2: _render_al2}[request.family]
    data = renderer(base, request)
    allowed = list_allowed_sysctls(request.family, data)
    missing = [sysctl for sysctl in request.sysctls if sysctl not in allowed]
    if missing:
        raise SysctlError(
            f"the rendered user data does not allow {', '.join(missing)}. This is a bug in the collection: report it"
        )
    _check_size(request.family, data)
    return data


def list_allowed_sysctls(family: str, data: bytes) -> list[str]:
    """List the sysctls that a node allows with this user data, merged as the node merges them."""
    if not data.strip():
        return []
    if family == BOTTLEROCKET:
        return toml.list_allowed_sysctls(decode_text(data))
    parts = _split_parts(family, node_config.inflate(data))
    if family == AL2023:
        _read_parts(parts, NODEADM)
        return node_config.list_allowed_sysctls(_merge_node_configs(parts))
    ours = [_parse_own_list(part.body) for part in parts if _is_own_part(part)]
    try:
        _read_parts(parts, EKS_CALL)
        return merge_lists(*ours)
    except SysctlError:  # it has calls of its own, as with a custom AMI
        readings = [reading for reading in _read_parts(parts, OWN_CALL).values() if reading.calls]
        return merge_lists(*[reading.patterns for reading in readings], *ours)


def remove_own_changes(family: str, data: bytes) -> bytes:
    """Remove what an earlier rendering added. The user's own parts stay."""
    if not data.strip():
        return b""
    if family == BOTTLEROCKET:
        text = decode_text(data)
        added, text = extract_note(text)
        return (
            toml.set_allowed_sysctls(
                text, [pattern for pattern in toml.list_allowed_sysctls(text) if pattern not in added]
            )
            if added
            else text
        ).encode()
    parts = _split_parts(family, data)
    kept = [cloud_init.remove_edit(part) for part in parts if not _is_own_part(part)]
    if kept == parts:
        return data
    if not mime.is_multipart(data):
        return kept[0].content if kept else b""
    return _join_parts(data, kept)


def _is_own_part(part: mime.MimePart) -> bool:
    return WRITER_MARK.encode() in part.body


def normalize_user_data(family: str, data: bytes) -> Any:
    """Normalize user data to its meaning, without MIME boundaries and YAML layout."""
    if not data.strip():
        return None
    try:
        if family == BOTTLEROCKET:
            return toml.parse(decode_text(data))
        return [
            (
                part.media_type,
                node_config.parse_node_config(part) if part.media_type == mime.NODE_CONFIG else part.content,
            )
            for part in _split_parts(family, node_config.inflate(data))
        ]
    except SysctlError:  # not parseable here: only equal bytes have the same meaning
        return data


def list_part_sizes(family: str, data: bytes) -> list[tuple[str, int]]:
    """List the sizes of the parts, the largest first."""
    if family == BOTTLEROCKET:
        tables = re.split(r"(?m)^(?=[ \t]*\[)", decode_text(data))
        found = [((table.strip().splitlines() or ["(top)"])[0], len(table.encode())) for table in tables if table]
    else:
        found = [
            (f"part {number} ({part.media_type})", len(part.head) + len(part.body))
            for number, part in enumerate(_split_parts(family, data), 1)
        ]
    return sorted(found, key=lambda entry: -entry[1])


def _check_size(family: str, data: bytes) -> None:
    if len(data) > USER_DATA_LIMIT:
        sizes = "; ".join(f"{name}: {size} bytes" for name, size in list_part_sizes(family, data))
        raise SysctlError(
            f"the user data is too large: it has {len(data)} bytes, and EC2 accepts {USER_DATA_LIMIT} before base64. "
            f"Shorten a part: {sizes}"
        )


# Reading


def _split_parts(family: str, data: bytes) -> list[mime.MimePart]:
    """Split user data into parts. A script, cloud-config or NodeConfig without an envelope is one part."""
    if not data.strip():
        return []
    if mime.is_multipart(data):
        document = mime.parse(data)
        if family == AL2023:
            mime.check_strict(data, document)
        else:
            mime.check_cloud_init(data)
        for part in document.parts:
            if part.media_type != mime.NODE_CONFIG and part.media_type.startswith(mime.NODE_CONFIG):
                raise SysctlError(
                    f"the user data has a part of type {part.media_type}, which nodes silently drop. "
                    f"Set its type to {mime.NODE_CONFIG}"
                )
        return list(document.parts)
    media_type = cloud_init.get_prefix_type(data)
    if data.startswith(b"#") and media_type in (mime.SHELL, cloud_init.CLOUD_CONFIG):
        return [mime.make_part(media_type, data)]
    if family == AL2023 and node_config.is_node_config(data):
        return [mime.make_part(mime.NODE_CONFIG, data)]
    raise SysctlError(
        "the user data cannot be read: it is neither MIME multipart (MIME-Version: 1.0), nor a script (#!), nor "
        "cloud-config (#cloud-config)"
        + (", nor a NodeConfig (apiVersion:)" if family == AL2023 else "")
        + " from its first byte on, so a node ignores it. Write it in one of these formats"
    )


def _read_parts(parts: Sequence[mime.MimePart], mode: str) -> dict[int, PartReading]:
    """Read what cloud-init runs, by the number of the part. Refuse what is not understood."""
    result = {}
    for number, part in enumerate(parts):
        if part.media_type != mime.NODE_CONFIG and not _is_own_part(part):
            label = "the user data" if len(parts) == 1 else f"part {number + 1} of the user data"
            result[number] = cloud_init.read_part(part, mode, label)
    return result


def _merge_node_configs(parts: Sequence[mime.MimePart]) -> dict[str, Any]:
    return node_config.merge_specs(
        [node_config.parse_node_config(part) for part in parts if part.media_type == mime.NODE_CONFIG]
    )


# Writing


def _join_parts(base: bytes, parts: Sequence[mime.MimePart]) -> bytes:
    """Join the parts in the base's own envelope, or in a new one."""
    if not parts:
        return b""
    if mime.is_multipart(base):
        document = mime.parse(base)
        added = [part for part in parts if part not in document.parts]
        if not any(b"--" + document.boundary in part.head + part.body for part in added):
            return replace(document, parts=tuple(parts)).to_bytes()
    return mime.compose(parts).to_bytes()


def _add_part(base: bytes, parts: Sequence[mime.MimePart], media_type: str, text: str) -> bytes:
    newline = mime.parse(base).newline if mime.is_multipart(base) else b"\n"
    return _join_parts(base, [*parts, mime.make_part(media_type, text.encode(), newline)])


def _render_al2023(base: bytes, request: UserDataRequest) -> bytes:
    parts = _split_parts(AL2023, base)
    _read_parts(parts, NODEADM)
    spec = _merge_node_configs(parts)
    desired = merge_lists(request.kubelet_config.get(SYSCTLS_KEY) or [], request.sysctls)
    before = node_config.list_allowed_sysctls(spec)
    config = {key: value for key, value in request.kubelet_config.items() if key != SYSCTLS_KEY}
    flags: list[str] = []
    if not node_config.has_list_flag(spec):
        config[SYSCTLS_KEY] = merge_lists(before, desired)
    elif set(desired) - set(before):
        # A flag overrides every list in config, and a further flag adds to it.
        flags.append(f"{LIST_FLAG}={','.join(pattern for pattern in desired if pattern not in before)}")
    kubelet: dict[str, Any] = {"config": config} if config else {}
    document_spec: dict[str, Any] = {}
    if request.bootstrap:
        document_spec = _build_cluster_spec(spec, request.bootstrap)
        flags = [*_build_node_flags(request.bootstrap, (spec.get("kubelet") or {}).get("flags") or []), *flags]
    if flags:
        kubelet["flags"] = flags
    if kubelet:
        document_spec["kubelet"] = kubelet
    if not document_spec:
        return base
    document = [f"apiVersion: {API_VERSION}", f"kind: {KIND}", WRITER_MARK, "spec:", *_format_yaml(document_spec, 1)]
    return _add_part(base, parts, mime.NODE_CONFIG, "\n".join(document) + "\n")


def _build_cluster_spec(spec: Mapping[str, Any], bootstrap: BootstrapSettings) -> dict[str, Any]:
    """Build C(spec.cluster). With a custom AMI, EKS adds nothing, and nodeadm needs the cluster's settings."""
    known = spec.get("cluster") or {}
    if known.get("enableOutpost") and not known.get("id"):
        raise SysctlError(
            "a NodeConfig in the user data has spec.cluster.enableOutpost without spec.cluster.id, and nodeadm refuses "
            "it. Add the id"
        )
    desired = {
        "name": bootstrap.cluster,
        "apiServerEndpoint": bootstrap.endpoint,
        "certificateAuthority": bootstrap.certificate_authority,
        "cidr": bootstrap.service_cidr,
    }
    missing = {key: value for key, value in desired.items() if value and not known.get(key)}
    return {"cluster": missing} if missing else {}


def _build_node_flags(bootstrap: BootstrapSettings, known: Sequence[Any]) -> list[str]:
    """Build labels and taints as kubelet flags, unless the user's own flags set them already."""
    flags = []
    labels = ",".join(f"{key}={value}" for key, value in sorted(bootstrap.labels.items()))
    if labels and not any(str(flag).startswith("--node-labels") for flag in known):
        flags.append(f"--node-labels={labels}")
    taints = ",".join(
        f"{taint['key']}={taint.get('value', '')}:{_TAINT_EFFECTS.get(taint['effect'], taint['effect'])}"
        for taint in bootstrap.taints
    )
    if taints and not any(str(flag).startswith("--register-with-taints") for flag in known):
        flags.append(f"--register-with-taints={taints}")
    return flags


def _format_yaml(value: Any, depth: int) -> list[str]:
    """Format YAML in block style, in the given order."""
    pad = "  " * depth
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if isinstance(entry, (Mapping, list, tuple)) and entry:
                lines += [f"{pad}{_format_scalar(key)}:", *_format_yaml(entry, depth + 1)]
            else:
                lines.append(f"{pad}{_format_scalar(key)}: {_format_scalar(entry)}")
        return lines
    for entry in value:
        if isinstance(entry, (Mapping, list, tuple)) and entry:
            nested = _format_yaml(entry, depth + 1)
            lines += [f"{pad}- {nested[0].strip()}", *nested[1:]]
        else:
            lines.append(f"{pad}- {_format_scalar(entry)}")
    return lines


def _format_scalar(value: Any) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        return "{}" if isinstance(value, Mapping) else "[]"
    reserved = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./*-]*", value, re.ASCII) and value.lower() not in reserved:
        return value
    return json.dumps(value, ensure_ascii=False)


def _render_bottlerocket(base: bytes, request: UserDataRequest) -> bytes:
    text = decode_text(base)
    if mime.is_multipart(base):
        raise SysctlError("the user data cannot be read: Bottlerocket reads TOML, never MIME. Write it as TOML")
    if not request.bootstrap:  # EKS joins its own settings only with an AMI of EKS
        toml.check_eks_restrictions(text)
    before = toml.list_allowed_sysctls(text)
    after = merge_lists(before, request.sysctls)
    if request.bootstrap:
        text = _add_bottlerocket_cluster(text, request.bootstrap)
    added = [pattern for pattern in after if pattern not in before]
    if not added:
        return text.encode()
    text = toml.set_allowed_sysctls(text, after)
    at = toml.find_statement_start(text, toml.SYSCTLS_KEY)
    result = text[:at] + format_note(added, "\r\n" if "\r\n" in text else "\n") + text[at:]
    if toml.parse(result) != toml.parse(text):
        raise SysctlError("the user data's TOML cannot be edited safely. Write the list into it yourself")
    return result.encode()


def _add_bottlerocket_cluster(text: str, bootstrap: BootstrapSettings) -> str:
    known = toml.get_kubernetes_table(toml.parse(text))
    taints: dict[str, list[str]] = {}
    for taint in bootstrap.taints:
        effect = _TAINT_EFFECTS.get(taint["effect"], taint["effect"])
        taints.setdefault(taint["key"], []).append(f"{taint.get('value', '')}:{effect}")
    desired: dict[str, Any] = {
        "cluster-name": bootstrap.cluster,
        "api-server": bootstrap.endpoint,
        "cluster-certificate": bootstrap.certificate_authority,
        "cluster-dns-ip": bootstrap.dns_ip,
        "node-labels": dict(sorted(bootstrap.labels.items())),
        "node-taints": taints,
    }
    missing = {key: value for key, value in desired.items() if value and key not in known}
    for key, value in reversed(list(missing.items())):
        text = toml.set_value(text, key, value)
    return text


def _render_al2(base: bytes, request: UserDataRequest) -> bytes:
    return (
        _render_al2_custom_ami(base, request, request.bootstrap)
        if request.bootstrap
        else _render_al2_eks_ami(base, request)
    )


def _render_al2_custom_ami(base: bytes, request: UserDataRequest, bootstrap: BootstrapSettings) -> bytes:
    """Render AL2 with a custom AMI: the sysctls go into the one quoted extra-args argument of bootstrap.sh.

    The user's own call is edited; without one, a call is added. docs/facts/sysctl_nodegroup.md#al2-and-bootstrapsh
    """
    parts = _split_parts(AL2, base)
    readings = _read_parts(parts, OWN_CALL)
    if not any(reading.calls for reading in readings.values()):
        hidden = next((reading.hidden for reading in readings.values() if reading.hidden), None)
        if hidden:
            raise SysctlError(
                f"the user data has no call of {BOOTSTRAP_SCRIPT}, and {hidden} runs a program that may call it, so an "
                f"added call could be the second one. Write the call of {BOOTSTRAP_SCRIPT} into user_data"
            )
        return _add_part(base, parts, mime.SHELL, _format_al2_call(request.sysctls, bootstrap))
    edited = [
        cloud_init.edit_part(part, readings[number], request.sysctls) if number in readings else part
        for number, part in enumerate(parts)
    ]
    if edited == parts:
        return base
    return _join_parts(base, edited) if mime.is_multipart(base) else edited[0].content


def _format_al2_call(sysctls: Sequence[str], bootstrap: BootstrapSettings) -> str:
    """Format a call of bootstrap.sh. Quote the extra arguments: an unquoted value or C(*) loses the flag."""
    flags = [f"{LIST_FLAG}={','.join(sysctls)}", *_build_node_flags(bootstrap, ())]
    lines = [
        "#!/bin/bash",
        WRITER_MARK,
        "set -e",
        f"{BOOTSTRAP_SCRIPT} {bootstrap.cluster} \\",
        f"  --apiserver-endpoint '{bootstrap.endpoint}' \\",
        f"  --b64-cluster-ca '{bootstrap.certificate_authority}' \\",
        *(
            ["  --ip-family ipv6 \\", f"  --service-ipv6-cidr '{bootstrap.service_cidr}' \\"]
            if bootstrap.is_ipv6
            else []
        ),
        *([f"  --dns-cluster-ip '{bootstrap.dns_ip}' \\"] if bootstrap.dns_ip else []),
        f"  {EXTRA_ARGS_FLAG} '{' '.join(flags)}'",
    ]
    return "\n".join(lines) + "\n"


def _render_al2_eks_ami(base: bytes, request: UserDataRequest) -> bytes:
    """Render AL2 with an AMI of EKS: a script part writes the list into the kubelet's configuration.

    It runs before EKS's own call of bootstrap.sh. docs/facts/sysctl_nodegroup.md#al2-and-bootstrapsh
    """
    parts = _split_parts(AL2, base)
    if mime.is_multipart(base):
        mime.check_strict(base, mime.parse(base))
    _read_parts(parts, EKS_CALL)
    listed = json.dumps(list(merge_lists(request.sysctls)), separators=(",", ":"))
    lines = [
        "#!/bin/bash",
        WRITER_MARK,
        "set -e",
        "config=/etc/kubernetes/kubelet/kubelet-config.json",
        f'jq \'.{SYSCTLS_KEY} = ((.{SYSCTLS_KEY} // []) + {listed} | unique)\' "$config" > "$config.daytwo"',
        'cat "$config.daytwo" > "$config"',
        'rm "$config.daytwo"',
    ]
    return _add_part(base, parts, mime.SHELL, "\n".join(lines) + "\n")


def _parse_own_list(script: bytes) -> list[str]:
    """Parse the list that our script part adds to the kubelet's configuration, or to its call of bootstrap.sh."""
    text = script.decode("utf-8", "replace")
    found = re.search(rf"jq '\.{SYSCTLS_KEY} = \(\(\.{SYSCTLS_KEY} // \[\]\) \+ (\[[^\]]*\])", text)
    if found:
        return [str(pattern) for pattern in json.loads(found.group(1))]
    flag = re.search(rf"'{LIST_FLAG}=([^ ']*)", text)
    return flag.group(1).split(",") if flag else []
