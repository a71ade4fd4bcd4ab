# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render user data that makes a kubelet allow sysctls, per AMI family. Pure: the same input gives the same bytes."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from . import mime, shell, toml
from .errors import SysctlError
from .sysctls import merge_lists

try:
    import yaml

    HAS_YAML = True
except ImportError:
    HAS_YAML = False

AL2023, BOTTLEROCKET, AL2 = "al2023", "bottlerocket", "al2"
FAMILIES = (AL2023, BOTTLEROCKET, AL2)
USER_DATA_LIMIT = 16384  # raw bytes: docs/facts/sysctl_nodegroup.md#managed-node-group-api
WRITER_NAME = "daytwo.aws.eks_sysctl_nodegroup"
WRITER_MARK = f"# Written by {WRITER_NAME}."
_ADDED_NOTE = re.compile(rf"(?m)^# {re.escape(WRITER_NAME)} added: ([^\r\n]*)\r?\n")
API_VERSION, KIND = "node.eks.aws/v1alpha1", "NodeConfig"
SYSCTLS_KEY = "allowedUnsafeSysctls"


@dataclass(frozen=True)
class BootstrapSettings:
    """The settings of the cluster that a node with a custom AMI needs, because EKS does not add them."""

    cluster: str
    endpoint: str
    certificate_authority: str
    service_cidr: str
    dns_ip: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()


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
    if request.base[:2] == b"\x1f\x8b":
        raise SysctlError("the user data cannot be read: it is compressed (gzip). Set it without compression")
    base = remove_own_changes(request.family, request.base)
    if request.kubelet_config and request.family != AL2023:
        raise SysctlError(
            f"kubelet_config cannot be used with {request.family}: only nodeadm of AL2023 reads it. "
            "Put the setting into user_data"
        )
    renderer = {AL2023: _render_al2023, BOTTLEROCKET: _render_bottlerocket, AL2: _render_al2}[request.family]
    data = renderer(base, request)
    missing = [sysctl for sysctl in request.sysctls if sysctl not in list_allowed_sysctls(request.family, data)]
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
        return toml.list_allowed_sysctls(_decode_text(data))
    parts = _split_parts(family, data)
    if family == AL2023:
        return [str(pattern) for pattern in _get_kubelet_config(parts).get(SYSCTLS_KEY) or []]
    scripts = [_decode_text(part.content) for part in parts if _is_script(part)]
    return merge_lists(
        *[shell.list_allowed_sysctls(script) for script in scripts], *[_parse_jq_list(script) for script in scripts]
    )


def remove_own_changes(family: str, data: bytes) -> bytes:
    """Remove what an earlier rendering added. The user's own parts stay."""
    if not data.strip():
        return b""
    if family == BOTTLEROCKET:
        text = _decode_text(data)
        added, text = _extract_note(text)
        return (
            toml.set_allowed_sysctls(
                text, [pattern for pattern in toml.list_allowed_sysctls(text) if pattern not in added]
            )
            if added
            else text
        ).encode()
    parts = _split_parts(family, data)
    kept = [
        _remove_own_edit(part) if _is_script(part) else part
        for part in parts
        if WRITER_MARK.encode() not in part.content
    ]
    if kept == parts:
        return data
    if not mime.is_multipart(data):
        return kept[0].content if kept else b""
    return _join_parts(data, kept)


def _remove_own_edit(part: mime.MimePart) -> mime.MimePart:
    text = _decode_text(part.content)
    added, text = _extract_note(text)
    if not added:
        return part
    return part.replace_content(
        shell.set_allowed_sysctls(
            text, [pattern for pattern in shell.list_allowed_sysctls(text) if pattern not in added]
        ).encode()
    )


def normalize_user_data(family: str, data: bytes) -> Any:
    """Normalize user data to its meaning, without MIME boundaries and YAML layout."""
    if not data.strip():
        return None
    try:
        if family == BOTTLEROCKET:
            return toml.parse(_decode_text(data))
        return [
            (part.media_type, _parse_node_config(part) if part.media_type == mime.NODE_CONFIG else part.content)
            for part in _split_parts(family, data)
        ]
    except SysctlError:  # not parseable here: only equal bytes have the same meaning
        return data


def list_part_sizes(family: str, data: bytes) -> list[tuple[str, int]]:
    """List the sizes of the parts, the largest first."""
    if family == BOTTLEROCKET:
        tables = re.split(r"(?m)^(?=[ \t]*\[)", _decode_text(data))
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


def _decode_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise SysctlError(f"the user data cannot be read: it is not UTF-8 text: {error}. Set it as UTF-8") from error


def _is_script(part: mime.MimePart) -> bool:
    return part.media_type == mime.SHELL


def _split_parts(family: str, data: bytes) -> list[mime.MimePart]:
    """Split user data into parts. A script or NodeConfig without an envelope is one part."""
    if not data.strip():
        return []
    if mime.is_multipart(data):
        parts = list(mime.parse(data).parts)
        for part in parts:
            if part.media_type != mime.NODE_CONFIG and part.media_type.startswith(mime.NODE_CONFIG):
                raise SysctlError(
                    f"the user data has a part of type {part.media_type}, which nodes silently drop. "
                    f"Set its type to {mime.NODE_CONFIG}"
                )
        return parts
    if data.startswith(b"#!"):
        return [mime.MimePart(f'Content-Type: {mime.SHELL}; charset="us-ascii"\n'.encode(), data)]
    if family == AL2023 and re.search(rb"(?m)^apiVersion:", data):
        return [mime.MimePart(f"Content-Type: {mime.NODE_CONFIG}\n".encode(), data)]
    raise SysctlError(
        "the user data cannot be read: it is neither MIME multipart (MIME-Version: 1.0), nor a script (#!)"
        + (", nor a NodeConfig (apiVersion:)" if family == AL2023 else "")
        + ", so a node ignores it. Write it in one of these formats"
    )


def _make_loader() -> Any:
    class Loader(yaml.SafeLoader):
        """A loader that reads as nodeadm does: without dates, and without duplicate keys."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [self.construct_object(key, deep=True) for key, dummy in node.value]
            if len(keys) != len({json.dumps(key, default=str) for key in keys}):
                raise yaml.YAMLError("duplicate key")
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {
        sign: [resolver for resolver in resolvers if resolver[0] != "tag:yaml.org,2002:timestamp"]
        for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


def _parse_node_config(part: mime.MimePart) -> dict[str, Any]:
    """Parse a NodeConfig as nodeadm does. Reject what nodeadm rejects or silently drops.

    docs/facts/sysctl_nodegroup.md#al2023-and-nodeadm
    """
    if not HAS_YAML:
        raise SysctlError(
            "a NodeConfig in the user data cannot be read: PyYAML is missing. Install PyYAML where the module runs"
        )
    text = _decode_text(part.content)
    if re.match(r"\s*\n|[ \t]", text):
        raise SysctlError(
            "a NodeConfig in the user data begins with a blank or indented line, and nodeadm refuses it. "
            "Remove the line or its indentation"
        )
    try:
        config = _make_loader()(text).get_single_data()
    except (yaml.YAMLError, ValueError) as error:
        raise SysctlError(
            f"a NodeConfig in the user data cannot be read: it is not YAML: {error}. Correct it"
        ) from error
    if not isinstance(config, dict) or (config.get("apiVersion"), config.get("kind")) != (API_VERSION, KIND):
        raise SysctlError(f"a {mime.NODE_CONFIG} part of the user data must be apiVersion {API_VERSION}, kind {KIND}")
    spec = config.get("spec") or {}
    kubelet = (spec.get("kubelet") if isinstance(spec, dict) else None) or {}
    if not isinstance(spec, dict) or not isinstance(kubelet, dict):
        raise SysctlError("a NodeConfig in the user data cannot be read: its spec and spec.kubelet must be mappings")
    unknown = [key for key in kubelet if key not in ("config", "flags")]
    if unknown:
        raise SysctlError(
            f"a NodeConfig in the user data has spec.kubelet.{unknown[0]}, which nodeadm silently drops. Move kubelet "
            "settings to spec.kubelet.config"
        )
    flags = kubelet.get("flags") or []
    if not isinstance(flags, list):
        raise SysctlError(
            "spec.kubelet.flags of a NodeConfig in the user data must be a list, because nodeadm refuses other types"
        )
    if any(str(flag).startswith("--allowed-unsafe-sysctls") for flag in flags):
        raise SysctlError(
            "a NodeConfig in the user data has the flag --allowed-unsafe-sysctls, which overrides the lists in config. "
            f"Move its sysctls to spec.kubelet.config.{SYSCTLS_KEY} in your user data"
        )
    patterns = (kubelet.get("config") or {}).get(SYSCTLS_KEY)
    if patterns is not None and (
        not isinstance(patterns, list) or any(not isinstance(pattern, str) for pattern in patterns)
    ):
        raise SysctlError(
            f"spec.kubelet.config.{SYSCTLS_KEY} of a NodeConfig in the user data must be a list of strings"
        )
    return config


def _merge_values(base: Any, override: Any) -> Any:
    """Merge as nodeadm merges config: mappings by key. The later part replaces everything else, lists included."""
    if isinstance(base, dict) and isinstance(override, dict):
        return {key: _merge_values(base.get(key), override.get(key, base.get(key))) for key in {**base, **override}}
    return copy.deepcopy(override)


def _merge_specs(parts: Sequence[mime.MimePart]) -> dict[str, Any]:
    result: Any = {}
    for part in parts:
        if part.media_type == mime.NODE_CONFIG:
            result = _merge_values(result, _parse_node_config(part).get("spec") or {})
    return dict(result)


def _get_kubelet_config(parts: Sequence[mime.MimePart]) -> dict[str, Any]:
    return dict((_merge_specs(parts).get("kubelet") or {}).get("config") or {})


# Writing


def _join_parts(base: bytes, parts: Sequence[mime.MimePart]) -> bytes:
    """Join the parts in the base's own envelope, or in a new one."""
    if not parts:
        return b""
    if mime.is_multipart(base):
        document = mime.parse(base)
        if any(b"--" + document.boundary in part.head + part.body for part in parts if part not in document.parts):
            return mime.compose(parts).to_bytes()
        return mime.MimeDocument(
            document.head, document.boundary, tuple(parts), document.tail, document.newline
        ).to_bytes()
    return mime.compose(parts).to_bytes()


def _render_al2023(base: bytes, request: UserDataRequest) -> bytes:
    parts = _split_parts(AL2023, base)
    spec = _merge_specs(parts)
    before = [str(pattern) for pattern in ((spec.get("kubelet") or {}).get("config") or {}).get(SYSCTLS_KEY) or []]
    config = {key: value for key, value in request.kubelet_config.items() if key != SYSCTLS_KEY}
    config[SYSCTLS_KEY] = merge_lists(before, request.kubelet_config.get(SYSCTLS_KEY) or [], request.sysctls)
    node_config: dict[str, Any] = {"kubelet": {"config": config}}
    if request.bootstrap:
        node_config = {**_build_cluster_spec(spec, request.bootstrap), **node_config}
        flags = _build_node_flags(request.bootstrap, ((spec.get("kubelet") or {}).get("flags")) or [])
        if flags:
            node_config["kubelet"]["flags"] = flags
    document = [f"apiVersion: {API_VERSION}", f"kind: {KIND}", WRITER_MARK, "spec:", *_format_yaml(node_config, 1)]
    return _join_parts(base, [*parts, mime.make_part(mime.NODE_CONFIG, "\n".join(document) + "\n")])


def _build_cluster_spec(spec: Mapping[str, Any], bootstrap: BootstrapSettings) -> dict[str, Any]:
    """Build C(spec.cluster). With a custom AMI, EKS adds nothing, and nodeadm needs the cluster's settings."""
    known = spec.get("cluster") or {}
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
    effects = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}
    taints = ",".join(
        f"{taint['key']}={taint.get('value', '')}:{effects.get(taint['effect'], taint['effect'])}"
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


def _format_note(added: Sequence[str]) -> str:
    return f"# {WRITER_NAME} added: {' '.join(added)}\n"


def _extract_note(text: str) -> tuple[list[str], str]:
    """Extract the note of an earlier rendering: the patterns that it added to the user's list, and the other text."""
    found = [pattern for note in _ADDED_NOTE.findall(text) for pattern in note.split()]
    return found, _ADDED_NOTE.sub("", text)


def _render_bottlerocket(base: bytes, request: UserDataRequest) -> bytes:
    text = _decode_text(base)
    if mime.is_multipart(base):
        raise SysctlError("the user data cannot be read: Bottlerocket reads TOML, never MIME. Write it as TOML")
    toml.check_eks_restrictions(text)
    before = toml.list_allowed_sysctls(text)
    after = merge_lists(before, request.sysctls)
    if request.bootstrap:
        text = _add_bottlerocket_cluster(text, request.bootstrap)
    added = [pattern for pattern in after if pattern not in before]
    if not added:
        return text.encode()
    text = toml.set_allowed_sysctls(text, after)
    header = re.search(rf"(?m)^(?=[^\n#]*{toml.SYSCTLS_KEY}[ \t]*=)", text)
    at = header.start() if header else 0
    result = text[:at] + _format_note(added) + text[at:]
    if toml.parse(result) != toml.parse(text):
        raise SysctlError("the user data's TOML cannot be edited safely. Write the list into it yourself")
    return result.encode()


def _add_bottlerocket_cluster(text: str, bootstrap: BootstrapSettings) -> str:
    known = toml.get_kubernetes_table(toml.parse(text))
    desired = {
        "cluster-name": bootstrap.cluster,
        "api-server": bootstrap.endpoint,
        "cluster-certificate": bootstrap.certificate_authority,
        "cluster-dns-ip": bootstrap.dns_ip,
    }
    missing = {key: value for key, value in desired.items() if value and key not in known}
    for key, value in reversed(list(missing.items())):
        text = toml.set_value(text, key, value)
    if bootstrap.labels and "node-labels" not in known:
        text = _append_table(text, "node-labels", dict(sorted(bootstrap.labels.items())))
    if bootstrap.taints and "node-taints" not in known:
        effects = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}
        taints: dict[str, Any] = {}
        for taint in bootstrap.taints:
            text_value = f"{taint.get('value', '')}:{effects.get(taint['effect'], taint['effect'])}"
            taints.setdefault(taint["key"], []).append(text_value)
        text = _append_table(text, "node-taints", taints)
    return text


def _append_table(text: str, name: str, values: Mapping[str, Any]) -> str:
    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values.items()]
    return text.rstrip("\n") + f"\n\n[settings.kubernetes.{name}]\n" + "\n".join(lines) + "\n"


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
    bootstrap_parts = [
        part for part in parts if _is_script(part) and shell.find_bootstrap_calls(_decode_text(part.content))
    ]
    if not bootstrap_parts:
        return _join_parts(base, [*parts, mime.make_part(mime.SHELL, _format_al2_call(request.sysctls, bootstrap))])
    edited = [_edit_al2_script(part, request.sysctls) if part in bootstrap_parts else part for part in parts]
    if edited == parts:
        return base
    if not mime.is_multipart(base):
        return edited[0].content
    return _join_parts(base, edited)


def _edit_al2_script(part: mime.MimePart, sysctls: Sequence[str]) -> mime.MimePart:
    text = _decode_text(part.content)
    before = shell.list_allowed_sysctls(text)
    added = [sysctl for sysctl in sysctls if sysctl not in before]
    if not added:
        return part
    text = shell.set_allowed_sysctls(text, merge_lists(before, sysctls))
    lines = text.split("\n", 1)
    if lines[0].startswith("#!") and len(lines) == 2:
        return part.replace_content((lines[0] + "\n" + _format_note(added) + lines[1]).encode())
    return part.replace_content((_format_note(added) + text).encode())


def _format_al2_call(sysctls: Sequence[str], bootstrap: BootstrapSettings) -> str:
    """Format a call of bootstrap.sh. Quote the extra arguments: an unquoted value or C(*) loses the flag."""
    flags = [f"--allowed-unsafe-sysctls={','.join(sysctls)}", *_build_node_flags(bootstrap, ())]
    lines = [
        "#!/bin/bash",
        WRITER_MARK,
        "set -e",
        f"{shell.BOOTSTRAP_SCRIPT} {bootstrap.cluster} \\",
        f"  --apiserver-endpoint '{bootstrap.endpoint}' \\",
        f"  --b64-cluster-ca '{bootstrap.certificate_authority}' \\",
        *([f"  --dns-cluster-ip '{bootstrap.dns_ip}' \\"] if bootstrap.dns_ip else []),
        f"  {shell.EXTRA_ARGS_FLAG} '{' '.join(flags)}'",
    ]
    return "\n".join(lines) + "\n"


def _render_al2_eks_ami(base: bytes, request: UserDataRequest) -> bytes:
    """Render AL2 with an AMI of EKS: a script part writes the list into the kubelet's configuration.

    It runs before EKS's own call of bootstrap.sh. docs/facts/sysctl_nodegroup.md#al2-and-bootstrapsh
    """
    parts = _split_parts(AL2, base)
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
    return _join_parts(base, [*parts, mime.make_part(mime.SHELL, "\n".join(lines) + "\n")])


def _parse_jq_list(script: str) -> list[str]:
    """Parse the list that our script part adds to the kubelet's configuration."""
    if WRITER_MARK not in script:
        return []
    found = re.search(rf"jq '\.{SYSCTLS_KEY} = \(\(\.{SYSCTLS_KEY} // \[\]\) \+ (\[[^\]]*\])", script)
    return [str(pattern) for pattern in json.loads(found.group(1))] if found else []
