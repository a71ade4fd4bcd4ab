# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no pod can set: by tables, and by the kernel of the machine that runs the tests."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import kernel, sysctls

# Names of interfaces, whose settings are alike.
INTERFACE = re.compile(r"(net/ipv[46]/(?:conf|neigh)/)(?!all/|default/)[^/]+/")


@cache
def list_new_namespace() -> dict[str, bool]:
    """The sysctls of a new network namespace, and whether its root can write them; nothing where none can be made."""
    script = "cd /proc/sys && find net -type f -printf '%m %p\\n'"
    try:
        ran = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    lines = [line.split(" ", 1) for line in ran.stdout.splitlines()]
    return {INTERFACE.sub(r"\1lo/", path).replace("/", "."): int(mode, 8) & 0o200 != 0 for mode, path in lines}


def list_whole_node() -> set[str]:
    root = Path("/proc/sys")
    paths = [str(path.relative_to(root)) for path in (root / "net").rglob("*") if path.is_file()]
    return {INTERFACE.sub(r"\1lo/", path).replace("/", ".") for path in paths}


needs_namespaces = pytest.mark.skipif(not list_new_namespace(), reason="no network namespace can be made here")
HERE = sysctls.parse_kernel(os.uname().release)
NEWEST_KNOWN = (6, 18)
KNOWN_DIRECTORIES = {name.rpartition(".")[0] for name in kernel.NODE_WIDE_SYSCTLS} | {"net.ipv4.neigh.default"}


@needs_namespaces
def test_what_this_kernel_lets_a_namespace_write_is_not_refused() -> None:
    writable = [name for name, can_write in list_new_namespace().items() if can_write]
    assert "net.core.somaxconn" in writable
    assert {name: kernel.get_node_wide_reason(name, HERE) for name in writable} == dict.fromkeys(writable)


@needs_namespaces
@pytest.mark.skipif(HERE > NEWEST_KNOWN, reason="the tables do not know this kernel yet")
def test_what_this_kernel_has_only_once_is_refused() -> None:
    found = list_new_namespace()
    only_here = [name for name in list_whole_node() if not found.get(name)]
    names = [name for name in only_here if name.rpartition(".")[0] in KNOWN_DIRECTORIES]
    assert len(names) > 40
    assert [name for name in names if kernel.get_node_wide_reason(name, HERE) is None] == []


@pytest.mark.parametrize(
    "name",
    [
        "net.core.wmem_max",
        "net.core.rmem_max",
        "net.core.rmem_default",
        "net.core.netdev_max_backlog",
        "net.core.default_qdisc",
        "net.core.busy_poll",
        "net.ipv4.tcp_mem",
        "net.ipv4.udp_mem",
        "net.ipv4.tcp_max_orphans",
        "net.ipv4.tcp_allowed_congestion_control",
        "net.ipv4.neigh.default.gc_thresh1",
        "net.ipv4.neigh.default.gc_thresh3",
        "net.ipv6.neigh.default.gc_thresh2",
        "net.ipv4.route.max_size",
        "net.ipv4.conf.all.mc_forwarding",
        "net.netfilter.nf_conntrack_max",
        "net.netfilter.nf_conntrack_buckets",
        "net.nf_conntrack_max",
        "net.sctp.sctp_mem",
        "net.rds.tcp.rds_tcp_sndbuf",
        "net/core/wmem_max",
        # Patterns that cover nothing else.
        "net.core.wmem_*",
        "net.core.wmem_max*",
        "net.core.rmem*",
        "net.core.netdev_*",
        "net.core.b*",
        "net.ipv4.tcp_mem*",
        "net.ipv4.udp_m*",
        "net.ipv4.neigh.default.*",
        "net.ipv4.neigh.default.gc_*",
        "net.netfilter.nf_conntrack_m*",
        "net.nf*",
        "net.ipv4.conf.all.mc_*",
        "net.sctp.sctp_*",
        "net.rds.*",
    ],
)
@pytest.mark.parametrize("known_kernel", [None, (5, 10), (6, 1), (6, 12), (6, 18)])
def test_what_no_pod_can_set_is_impossible(name: str, known_kernel: tuple[int, int] | None) -> None:
    assert sysctls.get_rejection_reason(name, 34) is None  # the kubelet accepts it
    (found,) = sysctls.classify_sysctls([name], 34, known_kernel, allowed=[name])
    assert found.verdict == "impossible"
    assert "no pod can set" in found.reason
    assert "Set it on the node" in found.reason


@pytest.mark.parametrize(
    "name",
    [
        "net.core.somaxconn",
        "net.core.so*",
        "net.core.r*",
        "net.core.*",
        "net.*",
        "net.ipv4.*",
        "net.ipv4.tcp_*",
        "net.ipv4.tcp_m*",
        "net.ipv4.udp_*",
        "net.ipv4.neigh.*",
        "net.ipv4.neigh.eth0.gc_stale_time",
        "net.ipv4.conf.all.*",
        "net.ipv4.conf.all.rp_filter",
        "net.ipv4.tcp_tw_reuse",
        "net.netfilter.nf_conntrack_*",
        "net.netfilter.nf_conntrack_tcp_timeout_established",
        "net.sctp.*",
        "net.sctp.rto_min",
        "net.unix.max_dgram_qlen",
        "net.bridge.bridge-nf-call-iptables",
        "net.ipv4.vs.conn_reuse_mode",
        "net.new.kernel_knows_more",
        "kernel.shm*",
        "kernel.msgmax",
        "kernel.sem",
        "fs.mqueue.*",
    ],
)
def test_what_pods_can_set_is_not(name: str) -> None:
    assert sysctls.classify_sysctls([name], 34)[0].verdict == "unsafe"


def test_a_copy_per_namespace_that_came_later_depends_on_the_kernel() -> None:
    name = "net.core.optmem_max"
    (old,) = sysctls.classify_sysctls([name], 34, (6, 1))
    assert old.verdict == "impossible"
    assert "only since 6.8, and the nodes' kernel is 6.1" in old.reason
    assert sysctls.classify_sysctls([name], 34, (6, 12))[0].verdict == "unsafe"
    (unknown,) = sysctls.classify_sysctls([name], 34)
    assert unknown.verdict == "unsafe"
    assert "the nodes need kernel 6.8 for it" in unknown.reason


@pytest.mark.parametrize(
    ("name", "advised"),
    [
        ("vm.max_map_count", True),
        ("vm/swappiness", True),
        ("fs.inotify.max_user_watches", True),
        ("fs.file-max", True),
        ("kernel.pid_max", True),
        ("user.max_user_namespaces", True),
        ("net*", False),
        ("kernel.shm_*", False),
        ("fs.mqueue*", False),
        ("vm.*", False),
        ("x=30", False),
    ],
)
def test_a_sysctl_of_the_node_is_set_on_the_node(name: str, advised: bool) -> None:
    (found,) = sysctls.classify_sysctls([name], 34)
    assert found.verdict == "impossible"
    assert ("Set it on the node, for example in a file of /etc/sysctl.d" in found.reason) is advised
