# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse and merge NodeConfig documents as nodeadm does. docs/facts/sysctl_nodegroup.md#nodeconfig"""

from __future__ import annotations

import base64
import binascii
import contextlib
import copy
import gzip
import json
import math
import quopri
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..errors import SysctlError
from .bootstrap_calls import list_flag_sysctls
from .mime import GZIP, NODE_CONFIG, MimePart

try:
    import yaml

    HAS_YAML = True
    YAML_ERRORS: tuple[type[Exception], ...] = (yaml.YAMLError, ValueError)
except ImportError:
    HAS_YAML = False
    YAML_ERRORS = (ValueError,)

API_VERSION, KIND = "node.eks.aws/v1alpha1", "NodeConfig"
SYSCTLS_KEY = "allowedUnsafeSysctls"
NODEADM_DATE = "2026-07"  # of the API types below

# The fields of nodeadm's API types: a type, or the fields of a mapping. docs/facts/sysctl_nodegroup.md#nodeconfig
_TEXTS = {"*": str}
_FIELDS: Mapping[str, Any] = {
    "cluster": {
        "name": str,
        "apiServerEndpoint": str,
        "certificateAuthority": str,
        "cidr": str,
        "enableOutpost": bool,
        "id": str,
    },
    "containerd": {"config": str, "baseRuntimeSpec": dict},
    "instance": {
        "localStorage": {"strategy": str, "mountPath": str, "disabledMounts": [str]},
        "environment": {"*": _TEXTS},
        "network": {"nameservers": [str], "domains": [str]},
    },
    "kubelet": {"config": dict, "flags": [str], "maxPodsExpression": str},
    "featureGates": {"*": bool},
}


def decode_node_config(part: MimePart) -> bytes:
    """Decode a part as nodeadm does: quoted-printable by its header, base64 and gzip by its content."""
    data = quopri.decodestring(part.body) if part.encoding == "quoted-printable" else part.body
    with contextlib.suppress(binascii.Error):  # not base64: the document itself, whatever its header says
        data = base64.b64decode(re.sub(rb"[\r\n]", b"", data), validate=True)
    return inflate(data)


def inflate(data: bytes) -> bytes:
    if not data.startswith(GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise SysctlError(f"the user data cannot be read: it is damaged gzip: {error}. Set it again") from error


def is_node_config(data: bytes) -> bool:
    """Whether data without an envelope can be a NodeConfig, in YAML or JSON."""
    return API_VERSION.encode() in data


def _make_loader() -> Any:
    class Loader(yaml.SafeLoader):
        """A loader that reads as nodeadm does: without dates, the last of duplicate keys, merge keys in order."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            merges = [number for number, (key, dummy) in enumerate(node.value) if key.tag == "tag:yaml.org,2002:merge"]
            if merges not in ([], [0]):
                raise yaml.YAMLError("a merge key (<<) that is not the first key. Put it first")
            return super().construct_mapping(node, deep)

    Loader.yaml_implicit_resolvers = {
        sign: [resolver for resolver in resolvers if resolver[0].rpartition(":")[2] not in ("timestamp", "value")]
        for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


def _load_json(text: str) -> Any:
    def build_mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(pairs) != len({key for key, dummy in pairs}):
            raise ValueError("a key that stands twice. Remove one of them")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=build_mapping)


def _load_yaml(text: str) -> Any:
    if not HAS_YAML:
        raise SysctlError(
            "a NodeConfig in the user data cannot be read: PyYAML is missing. Install PyYAML where the module runs"
        )
    documents = yaml.load_all(text, Loader=_make_loader())
    config = next(documents, None)
    if any(document is not None for document in documents):
        raise SysctlError(
            "a NodeConfig in the user data has a second YAML document, and nodeadm reads only the first. "
            "Write it as a part of its own"
        )
    return config


def parse_node_config(part: MimePart) -> dict[str, Any]:
    """Parse a NodeConfig. Reject what nodeadm rejects or silently drops."""
    try:
        text = decode_node_config(part).decode()
        config = _load_json(text) if text.lstrip().startswith("{") else _load_yaml(text)
        _check_json(config)
    except UnicodeDecodeError as error:
        raise SysctlError(
            f"a NodeConfig in the user data cannot be read: it is not UTF-8 text: {error}. Set it as UTF-8"
        ) from error
    except YAML_ERRORS as error:
        raise SysctlError(
            f"a NodeConfig in the user data cannot be read: it is not YAML or JSON as nodeadm reads it: {error}. "
            "Correct it"
        ) from error
    except RecursionError as error:
        raise SysctlError(
            "a NodeConfig in the user data cannot be read: it is nested too deep. Write it without nesting"
        ) from error
    if config is None:
        raise SysctlError(
            f"a {NODE_CONFIG} part of the user data is empty. Write a NodeConfig after a blank line below its head"
        )
    if not isinstance(config, dict) or (config.get("apiVersion"), config.get("kind")) != (API_VERSION, KIND):
        raise SysctlError(f"a {NODE_CONFIG} part of the user data must be apiVersion {API_VERSION}, kind {KIND}")
    unknown = [str(key) for key in config if key not in ("apiVersion", "kind", "metadata", "spec")]
    if unknown:
        _raise_unknown(unknown[0])
    _check_fields(config.get("metadata"), {}, "metadata")
    spec = config.get("spec")
    if spec is not None:
        _check_fields(spec, _FIELDS, "spec")
        _check_kubelet(spec.get("kubelet") or {})
        _check_certificate((spec.get("cluster") or {}).get("certificateAuthority"))
    return config


def _raise_unknown(path: str) -> None:
    raise SysctlError(
        f"a NodeConfig in the user data has {path}, which nodeadm silently drops (its types of {NODEADM_DATE} do not "
        "have it). Move kubelet settings to spec.kubelet.config, and remove other keys"
    )


def _check_json(value: Any) -> None:
    """Reject what YAML has and JSON has not, because nodeadm converts the one into the other."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if not isinstance(key, (str, int, float)):
                raise SysctlError(f"a NodeConfig in the user data has the key {key}, which nodeadm refuses. Write text")
            _check_json(entry)
    elif isinstance(value, list):
        for entry in value:
            _check_json(entry)
    elif isinstance(value, float) and not math.isfinite(value):
        raise SysctlError(f"a NodeConfig in the user data has the value {value}, which nodeadm refuses. Write a number")


def _check_fields(value: Any, shape: Any, path: str) -> None:
    """Check the types of known fields. Unknown ones cannot concern the kubelet deeper than in spec.kubelet."""
    if value is None:
        return
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise SysctlError(
                f"{path} of a NodeConfig in the user data must be a mapping, because nodeadm refuses other types"
            )
        for key, entry in value.items():
            known = shape.get(key, shape.get("*"))
            if known is None and path in ("spec", "spec.kubelet"):
                _raise_unknown(f"{path}.{key}")
            _check_fields(entry, known, f"{path}.{key}")
    elif isinstance(shape, list):
        if not isinstance(value, list) or any(entry is not None and not isinstance(entry, shape[0]) for entry in value):
            raise SysctlError(
                f"{path} of a NodeConfig in the user data must be a list of strings: nodeadm refuses other types"
            )
    elif shape is not None and not isinstance(value, shape):
        raise SysctlError(
            f"{path} of a NodeConfig in the user data must be of type {shape.__name__}, because nodeadm refuses other "
            "types"
        )


def _check_certificate(value: Optional[str]) -> None:
    try:
        base64.b64decode(re.sub(r"[\r\n]", "", value or ""), validate=True)
    except ValueError as error:
        raise SysctlError(
            f"spec.cluster.certificateAuthority of a NodeConfig in the user data is not base64: {error}. nodeadm "
            "refuses it. Write the cluster's certificateAuthority.data"
        ) from error


def _check_kubelet(kubelet: Mapping[str, Any]) -> None:
    config = kubelet.get("config") or {}
    patterns = config.get(SYSCTLS_KEY)
    if patterns is not None and (
        not isinstance(patterns, list) or any(not isinstance(pattern, str) for pattern in patterns)
    ):
        raise SysctlError(
            f"spec.kubelet.config.{SYSCTLS_KEY} of a NodeConfig in the user data must be a list of strings"
        )
    for key in config:
        if key != SYSCTLS_KEY and re.sub(r"[^a-z]", "", str(key).lower()) == SYSCTLS_KEY.lower():
            raise SysctlError(
                f"a NodeConfig in the user data has spec.kubelet.config.{key}, which the kubelet does not know. "
                f"Write {SYSCTLS_KEY}"
            )
    list_flag_patterns(kubelet.get("flags") or [])


def list_flag_patterns(flags: Sequence[Optional[str]]) -> list[str]:
    """List the sysctls in the kubelet's flags, of which one item may hold several.

    nodeadm joins the items with spaces into one line of an environment file, and systemd splits it.
    """
    text = _join_flags(flags)
    arguments = re.findall(r"(?:[^\s\"']|\"[^\"]*\"|'[^']*')+", text)
    if re.search(r"[\n\r\\]", text) or "".join(re.sub(r"\s", "", entry) for entry in arguments) != re.sub(
        r"\s", "", text
    ):
        raise SysctlError(
            "spec.kubelet.flags of a NodeConfig in the user data cannot be read: a flag has a line end, a backslash or "
            "a quote that does not end. Write one flag in each item"
        )
    arguments = [re.sub(r"[\"']", "", entry) for entry in arguments]
    for argument in arguments:
        if re.match(r"--config([-_]dir)?(=|\Z)", argument):
            raise SysctlError(
                f"a NodeConfig in the user data has the flag {argument}, so that the kubelet does not read the "
                "configuration of nodeadm. Remove the flag, and move its settings to spec.kubelet.config"
            )
    try:
        return list_flag_sysctls(arguments)
    except ValueError as error:
        raise SysctlError(
            f"spec.kubelet.flags of a NodeConfig in the user data cannot be read: {error}. Move its sysctls to "
            f"spec.kubelet.config.{SYSCTLS_KEY}"
        ) from error


def _join_flags(flags: Sequence[Optional[str]]) -> str:
    return " ".join(flag or "" for flag in flags)


def has_list_flag(spec: Mapping[str, Any]) -> bool:
    """Whether a flag sets the list, which then overrides every list in config."""
    flags = (spec.get("kubelet") or {}).get("flags") or []
    return bool(re.search(r"--allowed[-_]unsafe[-_]sysctls", _join_flags(flags)))


def list_allowed_sysctls(spec: Mapping[str, Any]) -> list[str]:
    """List the sysctls that a kubelet allows with a merged spec."""
    kubelet = spec.get("kubelet") or {}
    if has_list_flag(spec):
        return list_flag_patterns(kubelet.get("flags") or [])
    return [str(pattern) for pattern in (kubelet.get("config") or {}).get(SYSCTLS_KEY) or []]


def merge_values(base: Any, override: Any) -> Any:
    """Merge as nodeadm merges config: mappings by key. The later part replaces everything else, lists included."""
    if isinstance(base, dict) and isinstance(override, dict):
        return {
            key: merge_values(base.get(key), override[key]) if key in override else copy.deepcopy(base[key])
            for key in {**base, **override}
        }
    return copy.deepcopy(override)


def merge_specs(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the specs of NodeConfigs in their order. An empty value of a field replaces nothing; flags add up."""
    result: dict[str, Any] = {}
    flags: list[str] = []
    for config in configs:
        spec = _drop_empty(config.get("spec") or {}, _FIELDS)
        flags += (spec.get("kubelet") or {}).get("flags") or []
        result = merge_values(result, spec)
    if flags:
        result.setdefault("kubelet", {})["flags"] = flags
    return result


def _drop_empty(value: Mapping[str, Any], shape: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the empty values of nodeadm's own fields. Inside of config, nodeadm keeps them."""
    result = {}
    for key, entry in value.items():
        known = shape.get(key)
        kept = _drop_empty(entry, known) if isinstance(known, dict) and isinstance(entry, dict) else entry
        if kept not in (None, "", [], {}):
            result[key] = kept
    return result
