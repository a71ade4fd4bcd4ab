# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Classify sysctls by the kubelet's own rules: safe since which version, allowed by which pattern, or impossible."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .kernel import get_minimum_kernel, get_node_wide_reason

# The table holds for these Kubernetes 1.x minors.
# docs/facts/sysctl_nodegroup.md#when-a-kubelet-flag-is-needed
OLDEST_MINOR, NEWEST_MINOR = 27, 37
MAX_LENGTH = 253

_SEGMENT = r"[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"(?:{_SEGMENT}[./])*{_SEGMENT}")
_PATTERN = re.compile(rf"(?:{_SEGMENT}[./])*(?:[a-z0-9][-_a-z0-9]*)?[a-z0-9*]")

# From 1.29 on the kubelet lists the kernel.* names one by one. "kernel.shm" and "kernel.msg" are in its list only to
# keep kernel.shm* and kernel.msg* valid (k8s.io/component-helpers/node/util/sysctl, the same file 0.29 to 0.35).
# docs/facts/sysctl_nodegroup.md#allow-list-patterns
_LISTED = {
    "kernel.sem": "ipc",
    "kernel.shmall": "ipc",
    "kernel.shmmax": "ipc",
    "kernel.shmmni": "ipc",
    "kernel.shm_rmid_forced": "ipc",
    "kernel.shm": "ipc",
    "kernel.msgmax": "ipc",
    "kernel.msgmnb": "ipc",
    "kernel.msgmni": "ipc",
    "kernel.msg": "ipc",
}
_GROUPS = {"net.": "network", "fs.mqueue.": "ipc"}
_GROUPS_UNTIL_1_28 = {**_GROUPS, "kernel.shm": "ipc", "kernel.msg": "ipc"}
LISTED_SINCE = 29

# Suggestions: valid patterns by the prefix of a rejected one.
_SIMILAR_PATTERNS = (
    ("net", ("net.*", "net.core.*", "net.ipv4.*")),
    ("fs.mqueue", ("fs.mqueue.*",)),
    ("kernel.shm", ("kernel.shm*", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced")),
    ("kernel.msg", ("kernel.msg*", "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni")),
    ("kernel.sem", ("kernel.sem*", "kernel.sem")),
)
# Sysctls outside of these suggestions that are of the node, not misspelt patterns.
_NODE_SYSCTL = re.compile(r"(abi|crypto|debug|dev|fs|kernel|sunrpc|user|vm)\.[a-z0-9._/-]+")
NODE_ADVICE = (
    "Set it on the node, for example in a file of /etc/sysctl.d that the user data writes, or with "
    "settings.kernel.sysctl on Bottlerocket"
)
_COMMON_PATTERNS = ("net.*", "kernel.shm*", "kernel.msg*", "kernel.sem", "fs.mqueue.*")


@dataclass(frozen=True)
class SafeSysctl:
    """A safe sysctl: from this minor and this kernel on, pods may set it without any kubelet setting."""

    name: str
    since_minor: int
    min_kernel: tuple[int, int] = (0, 0)


SAFE_SYSCTLS = (
    SafeSysctl("kernel.shm_rmid_forced", 0),
    SafeSysctl("net.ipv4.ip_local_port_range", 0),
    SafeSysctl("net.ipv4.tcp_syncookies", 0),
    SafeSysctl("net.ipv4.ping_group_range", 18),
    SafeSysctl("net.ipv4.ip_unprivileged_port_start", 22),
    SafeSysctl("net.ipv4.ip_local_reserved_ports", 27, (3, 16)),
    SafeSysctl("net.ipv4.tcp_keepalive_time", 29, (4, 5)),
    SafeSysctl("net.ipv4.tcp_keepalive_intvl", 29, (4, 5)),
    SafeSysctl("net.ipv4.tcp_keepalive_probes", 29, (4, 5)),
    SafeSysctl("net.ipv4.tcp_fin_timeout", 29, (4, 6)),
    SafeSysctl("net.ipv4.tcp_rmem", 32, (4, 15)),
    SafeSysctl("net.ipv4.tcp_wmem", 32, (4, 15)),
    SafeSysctl("net.ipv4.tcp_slow_start_after_idle", 37, (4, 15)),
    SafeSysctl("net.ipv4.tcp_notsent_lowat", 37, (4, 6)),
)
_SAFE_BY_NAME = {entry.name: entry for entry in SAFE_SYSCTLS}
# Linux has no other members of these patterns, so a pattern is safe where all its members are.
_CLOSED_PATTERNS = {
    "net.ipv4.tcp_keepalive_*": (
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
    ),
}


@dataclass(frozen=True)
class SysctlClassification:
    """The verdict on one requested sysctl or pattern for nodes of one kind: V(safe), V(unsafe) or V(impossible)."""

    name: str
    verdict: str
    reason: str
    safe_since: Optional[str] = None
    allowed_by: Optional[str] = None
    similar: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "verdict": self.verdict,
            "reason": self.reason,
            "safe_since": self.safe_since,
            "allowed_by": self.allowed_by,
            "similar": list(self.similar),
        }


def parse_minor(version: str) -> int:
    """Parse the minor of C(1.34), C(v1.34.2-eks-...) or an AMI release C(1.34.1-20261101)."""
    found = re.match(r"v?1\.(\d+)", version)
    if not found:
        raise ValueError(f"{version!r} is not a Kubernetes version")
    return int(found.group(1))


def parse_kernel(version: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", version)
    if not found:
        raise ValueError(f"{version!r} is not a kernel version")
    return int(found.group(1)), int(found.group(2))


def parse_node_kernel(node: Mapping[str, Any]) -> Optional[tuple[int, int]]:
    """The kernel that a node reports; None where it reports none."""
    version = str(((node.get("status") or {}).get("nodeInfo") or {}).get("kernelVersion") or "")
    return parse_kernel(version) if version else None


def normalize_name(name: str) -> str:
    """Write a sysctl with dots. The kubelet swaps both separators where the first one is a slash."""
    first = re.search(r"[./]", name)
    if first and first.group() == "/":
        return name.translate(str.maketrans("./", "/."))
    return name


def get_namespace(name: str, minor: int) -> Optional[str]:
    """V(network) or V(ipc); None for a sysctl that has no namespace per pod."""
    if minor >= LISTED_SINCE:
        if name in _LISTED:
            return _LISTED[name]
        groups = _GROUPS
    else:
        if name == "kernel.sem":
            return "ipc"
        groups = _GROUPS_UNTIL_1_28
    return next((kind for prefix, kind in groups.items() if name.startswith(prefix)), None)


def get_rejection_reason(pattern: str, minor: int) -> Optional[str]:
    """Why a kubelet of this minor does not start with this pattern; None where it accepts the pattern."""
    if len(pattern) > MAX_LENGTH or not _PATTERN.fullmatch(pattern):
        return (
            f'a kubelet refuses to start with it: sysctl "{pattern}" must have at most {MAX_LENGTH} characters, be '
            "lower case, have segments between dots or slashes, and have * only as its last character"
        )
    name = normalize_name(pattern).split("*")[0]
    if get_namespace(name, minor) is None:
        return f'a kubelet 1.{minor} refuses to start with it: the sysctls "{name}" are not known to be namespaced'
    return None


def list_similar_patterns(pattern: str, minor: int) -> tuple[str, ...]:
    """Suggest valid patterns that are similar to a rejected one."""
    name = normalize_name(pattern.strip().lower().split("=")[0].strip())
    if name != pattern and name.strip("*") and get_rejection_reason(name, minor) is None:
        return (name,)
    for prefix, patterns in _SIMILAR_PATTERNS:
        if name.startswith(prefix):
            return tuple(similar for similar in patterns if get_rejection_reason(similar, minor) is None)
    return _COMMON_PATTERNS


def is_node_sysctl(name: str) -> bool:
    """Whether a rejected name is that of a sysctl of the whole node, such as C(vm.max_map_count)."""
    plain_name = normalize_name(name)
    return bool(_NODE_SYSCTL.fullmatch(plain_name)) and not plain_name.startswith(
        tuple(prefix for prefix, dummy_patterns in _SIMILAR_PATTERNS)
    )


def matches_pattern(pattern: str, name: str) -> bool:
    """Whether a kubelet that allows the pattern lets a pod set the sysctl, or every sysctl of a pattern."""
    allowed, requested = normalize_name(pattern), normalize_name(name)
    if allowed.endswith("*"):
        return requested.split("*")[0].startswith(allowed[:-1])
    return allowed == requested


def find_allowing_pattern(patterns: Iterable[str], name: str) -> Optional[str]:
    return next((pattern for pattern in patterns if matches_pattern(pattern, name)), None)


def check_safe(name: str, minor: int, kernel: Optional[tuple[int, int]]) -> tuple[bool, str, Optional[str]]:
    """Whether the sysctl is safe there, why, and since which version.

    An unknown kernel counts as new enough, because the kernels of all EKS AMIs are.
    """
    plain_name = normalize_name(name)
    members = _CLOSED_PATTERNS.get(plain_name, (plain_name,))
    entries = [_SAFE_BY_NAME[member] for member in members if member in _SAFE_BY_NAME]
    if len(entries) < len(members):
        return False, "no Kubernetes version lists it as safe", None
    newest = max(entries, key=lambda entry: entry.since_minor)
    since = f"1.{newest.since_minor}" if newest.since_minor else "always"
    description = "safe in every version" if not newest.since_minor else f"safe since Kubernetes {since}"
    min_kernel = max(entry.min_kernel for entry in entries)
    if min_kernel > (0, 0):
        description += f" (kernel {min_kernel[0]}.{min_kernel[1]})"
    if newest.since_minor > minor:
        return False, f"{description}; the kubelet is 1.{minor}", since
    if kernel is not None and kernel < min_kernel:
        return False, f"{description}; the nodes' kernel is {kernel[0]}.{kernel[1]}", since
    return True, f"{description}: pods may set it without any kubelet setting", since


def classify_sysctls(
    names: Sequence[str],
    minor: int,
    kernel: Optional[tuple[int, int]] = None,
    allowed: Sequence[str] = (),
) -> list[SysctlClassification]:
    """Classify each requested sysctl for kubelets of this minor and kernel that allow these patterns."""
    result = []
    for name in names:
        rejection = get_rejection_reason(name, minor)
        if rejection:
            similar = list_similar_patterns(name, minor)
            advice = f"{NODE_ADVICE}. " if is_node_sysctl(name) else ""
            reason = f"{rejection}. {advice}Similar valid patterns: {', '.join(similar)}."
            result.append(SysctlClassification(name, "impossible", reason, similar=similar))
            continue
        node_wide = get_node_wide_reason(normalize_name(name), kernel)
        if node_wide:
            reason = f"{node_wide}. A kubelet accepts it, but a pod that sets it never starts. {NODE_ADVICE}."
            result.append(SysctlClassification(name, "impossible", reason))
            continue
        safe, reason, since = check_safe(name, minor, kernel)
        min_kernel = get_minimum_kernel(normalize_name(name))
        if min_kernel and kernel is None:
            reason += f"; the nodes need kernel {min_kernel[0]}.{min_kernel[1]} for it"
        by = find_allowing_pattern(allowed, name)
        if safe:
            result.append(SysctlClassification(name, "safe", f"{reason}.", since, by))
        elif by:
            result.append(SysctlClassification(name, "unsafe", f"{reason}; {by} allows it there.", since, by))
        else:
            result.append(
                SysctlClassification(
                    name, "unsafe", f"{reason}; the kubelet must allow it in allowedUnsafeSysctls.", since
                )
            )
    return result


def get_pod_rejection_reason(
    name: str,
    minor: int,
    kernel: Optional[tuple[int, int]],
    allowed: Sequence[str],
    host_network: bool = False,
    host_ipc: bool = False,
) -> Optional[str]:
    """Why a pod that sets the sysctl ends with C(SysctlForbidden) on such a node; None where the pod runs.

    docs/facts/sysctl_nodegroup.md#when-a-kubelet-flag-is-needed
    """
    plain = normalize_name(name)
    if len(name) > MAX_LENGTH or not _NAME.fullmatch(name):
        return f'"{name}" is not a sysctl name'
    if not check_safe(plain, minor, kernel)[0] and not find_allowing_pattern(allowed, plain):
        return f'"{plain}" not allowlisted'
    kind = get_namespace(plain, minor)
    if host_network and kind == "network":
        return f'"{plain}" not allowed with host Net enabled'
    if host_ipc and kind == "ipc":
        return f'"{plain}" not allowed with host IPC enabled'
    return None


def merge_lists(*lists: Iterable[str]) -> list[str]:
    """Merge lists into one without repetitions, in the order of first mention."""
    return list(dict.fromkeys(pattern for patterns in lists for pattern in patterns))
