# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sysctl trial on one node: what the node prints, which file changes, and why a trial cannot run. Pure.

Files are parsed by the caller's YAML parser, because the standard library has none.
docs/facts/sysctl_nodegroup.md#al2023-and-nodeadm
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from . import sysctls

STATE_PREFIX = "daytwo:"
ANNOTATION = "daytwo.aws/sysctl-trial-before"
DEFAULT_DROP_IN = "99-daytwo-sysctl-trial.conf"
ALLOW_LIST = "allowedUnsafeSysctls"
KUBELET_KIND = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}

ParseYaml = Callable[[str], Any]


class TrialError(Exception):
    """What was read does not allow a decision."""


@dataclass(frozen=True)
class TrialState:
    """What the node printed. C(before): its allow-list. C(files): the kubelet's files in the order of reading."""

    bottlerocket: bool
    name: str = ""
    expires: str = ""
    before: tuple[str, ...] = ()
    files: tuple[Mapping[str, str], ...] = ()
    running: bool = True
    flag: str = ""
    config: str = ""
    config_dir: str = ""
    unreadable_reasons: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "before": list(self.before), "files": [dict(file) for file in self.files]}


def parse_state(lines: Sequence[str], parse_yaml: ParseYaml) -> TrialState:
    """Parse the line that the role's script prints among others."""
    printed = [line[len(STATE_PREFIX) :] for line in lines if line.startswith(STATE_PREFIX)]
    try:
        state = json.loads(printed[-1])
        return _parse_bottlerocket(state) if state["family"] == "bottlerocket" else _parse_kubelet(state, parse_yaml)
    except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrialError(
            f"the node's script printed something else than the kubelet's state: {' '.join(lines)[:500]!r}. Check the "
            "connection, and that the user is root there"
        ) from error


def _decode_text(value: Any) -> str:
    try:
        return base64.b64decode(value or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


def _parse_bottlerocket(state: Mapping[str, Any]) -> TrialState:
    setting = json.loads(_decode_text(state.get("setting")) or "{}")
    kubernetes = (setting.get("settings") or {}).get("kubernetes") or {}
    return TrialState(True, before=tuple(kubernetes.get("allowed-unsafe-sysctls") or ()))


def _parse_kubelet(state: Mapping[str, Any], parse_yaml: ParseYaml) -> TrialState:
    """The kubelet reads its configuration, then the drop-ins by their names. A later list replaces an earlier one."""
    files = tuple(
        {"path": _decode_text(entry["path"]), "content": _decode_text(entry["content"])} for entry in state["files"]
    )
    before: Sequence[str] = ()
    unreadable_reasons = []
    for file in files:
        try:
            content = parse_yaml(file["content"])
            if not isinstance(content, Mapping):
                raise ValueError("it is no mapping")
        except ValueError as error:
            unreadable_reasons.append(f"{file['path']} cannot be read as a kubelet's configuration: {error}")
            continue
        if ALLOW_LIST in content:
            before = content[ALLOW_LIST] or ()
    return TrialState(
        False,
        name=_decode_text(state.get("name")),
        expires=_decode_text(state.get("expires")).strip(),
        before=tuple(str(pattern) for pattern in before),
        files=files,
        running=int(state.get("running") or 0) != 0,
        flag=_decode_text(state.get("flag")),
        config=_decode_text(state.get("config")),
        config_dir=_decode_text(state.get("config_dir")),
        unreadable_reasons=tuple(unreadable_reasons),
    )


def parse_values(text: Any) -> dict[str, Any]:
    """Sysctls with values: a mapping, or the text of a survey, as JSON or as NAME=VALUE pairs."""
    if isinstance(text, Mapping):
        return dict(text)
    raw = str(text or "").strip()
    if raw.startswith("{"):
        try:
            return dict(json.loads(raw))
        except ValueError as error:
            raise TrialError(f"{raw!r} is neither JSON nor pairs of NAME=VALUE: {error}") from error
    pairs = [pair.partition("=") for pair in raw.replace(",", " ").split()]
    wrong = [name for name, equals, value in pairs if not (name and equals and value)]
    if wrong:
        raise TrialError(f"{wrong[0]!r} has no value. Write each sysctl as NAME=VALUE, such as net.core.somaxconn=2048")
    return {name: value for name, dummy_equals, value in pairs}


def plan_trial(
    state: TrialState, node: Mapping[str, Any], name: str, values: Mapping[str, Any], parse_yaml: ParseYaml
) -> dict[str, Any]:
    """The plan of a trial, or the reasons against it. C(rejected): sysctls that cannot be tried on any node."""
    info = (node.get("status") or {}).get("nodeInfo") or {}
    try:
        minor = sysctls.parse_minor(str(info.get("kubeletVersion") or ""))
        parsed_kernel = sysctls.parse_node_kernel(node)
    except ValueError as error:
        raise TrialError(f"node {name}: {error}") from error
    allowed = sysctls.merge_lists(state.before, values)
    classification = sysctls.classify_sysctls(list(values), minor, parsed_kernel, state.before)
    blocking_reasons = list_blocking_reasons(state, node)
    target = "" if state.bottlerocket else choose_target(state)
    return {
        "node": name,
        "classification": [entry.to_dict() for entry in classification],
        "node_group_required": any(entry.verdict != "safe" for entry in classification),
        "rejected": [f"{entry.name}: {entry.reason}" for entry in classification if entry.verdict == "impossible"],
        "blocking_reasons": blocking_reasons,
        "before": list(state.before),
        "allowed": allowed,
        "file": target,
        "content": "" if state.bottlerocket or blocking_reasons else build_content(state, allowed, parse_yaml),
        "lines": [
            *(entry.reason for entry in classification),
            f"would allow {', '.join(allowed)} by {target or 'apiclient'} on {name}",
        ],
    }


def list_blocking_reasons(state: TrialState, node: Mapping[str, Any]) -> list[str]:
    """Why no trial can run on the node now."""
    reasons = []
    if state.expires or ANNOTATION in (node["metadata"].get("annotations") or {}):
        until = f"until {state.expires}" if state.expires else "or its annotation was left there"
        reasons.append(f"a trial is in progress on this node {until}: end it with sysctl_trial_mode=revert")
    if state.bottlerocket:
        return reasons
    if not state.running:
        return [*reasons, "the kubelet does not run"]
    if state.flag:
        reasons.append(f"the kubelet has the option --allowed-unsafe-sysctls, which overrides every file: {state.flag}")
    if not state.config:
        reasons.append("the kubelet has no configuration file")
    elif state.config not in [file["path"] for file in state.files]:
        reasons.append(f"the kubelet's configuration file {state.config} is not there")
    return [*reasons, *state.unreadable_reasons]


def choose_target(state: TrialState) -> str:
    """A drop-in that sorts after all others, where the kubelet reads drop-ins. Else its configuration file."""
    if not state.config_dir:
        return state.config
    names = [file["path"].rpartition("/")[2] for file in state.files if file["path"] != state.config]
    last = max([*names, DEFAULT_DROP_IN])
    if last != DEFAULT_DROP_IN:
        last = re.sub(r"[.]conf$", "~daytwo-sysctl-trial.conf", last)
    return f"{state.config_dir.rstrip('/')}/{last}"


def build_content(state: TrialState, allowed: Sequence[str], parse_yaml: ParseYaml) -> str:
    base = KUBELET_KIND if state.config_dir else parse_yaml(state.files[0]["content"])
    return json.dumps({**base, ALLOW_LIST: list(allowed)}, indent=4, sort_keys=True)
