# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubelet's rules: by a record of its own results, by tables, and as messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import sysctls
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._sysctl_nodegroup.patterns import generated

HERE = Path(__file__).parent
# The error of NewAllowlist of k8s.io/kubernetes v1.34.4 for each pattern (tests/tools/kubelet_allowlist), "" where it
# accepts the pattern. docs/facts/sysctl_nodegroup.md#allow-list-patterns
RECORD: dict[str, str] = json.loads((HERE / "kubelet_1_34.json").read_text())
MINORS = range(sysctls.OLDEST_MINOR, sysctls.NEWEST_MINOR + 1)


def test_the_record_covers_the_generated_patterns() -> None:
    assert list(RECORD) == generated()
    assert len(RECORD) >= 200
    taken = sum(not error for error in RECORD.values())
    assert 40 < taken < len(RECORD) - 40


@pytest.mark.parametrize("minor", [minor for minor in MINORS if minor >= sysctls.LISTED_SINCE])
def test_a_pattern_is_taken_exactly_where_the_kubelet_takes_it(minor: int) -> None:
    """The kubelet's file of namespaced sysctls is the same from 1.29 on (component-helpers 0.29.0 to 0.35.0)."""
    ours = {pattern: sysctls.get_rejection_reason(pattern, minor) for pattern in RECORD}
    assert {pattern for pattern, reason in ours.items() if reason is None} == {
        p for p, error in RECORD.items() if not error
    }


def test_the_reason_is_the_kubelets_own() -> None:
    for pattern, error in RECORD.items():
        ours = sysctls.get_rejection_reason(pattern, 34)
        if error.startswith("the sysctls"):
            assert ours
            assert error in ours
        elif error:
            assert ours
            assert "must have at most 253 characters" in ours


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize(
    ("pattern", "takes_until_28", "takes_from_29"),
    [
        ("net.ipv4.tcp_keepalive_*", True, True),
        ("net.*", True, True),
        ("net/ipv4/tcp_syncookies", True, True),
        ("net.core*", True, True),
        ("kernel.msg*", True, True),
        ("kernel.sem*", True, True),
        ("kernel.sem", True, True),
        ("kernel.shm*", True, True),
        ("fs.mqueue.*", True, True),
        ("fs.mqueue.msg_m*", True, True),
        ("kernel.shm_*", True, False),
        ("kernel.shmm*", True, False),
        ("kernel.shm_next_id", True, False),
        ("kernel.sem.*", False, False),
        ("kernel.sem_next_id", False, False),
        ("*", False, False),
        ("net*", False, False),
        ("fs.mqueue*", False, False),
        ("vm.max_map_count", False, False),
        ("fs.aio-max-nr", False, False),
        ("x=30", False, False),
        ("net.*.tcp", False, False),
        ("NET.core.somaxconn", False, False),
        ("net.core.somaxconn\n", False, False),
    ],
)
def test_patterns_by_version(pattern: str, takes_until_28: bool, takes_from_29: bool, minor: int) -> None:
    assert (sysctls.get_rejection_reason(pattern, minor) is None) is (takes_until_28 if minor <= 28 else takes_from_29)


@pytest.mark.parametrize(
    ("name", "minor", "kernel"),
    [
        ("kernel.shm_rmid_forced", 0, None),
        ("net.ipv4.ip_local_port_range", 0, None),
        ("net.ipv4.tcp_syncookies", 0, None),
        ("net.ipv4.ping_group_range", 18, None),
        ("net.ipv4.ip_unprivileged_port_start", 22, None),
        ("net.ipv4.ip_local_reserved_ports", 27, (3, 16)),
        ("net.ipv4.tcp_keepalive_time", 29, (4, 5)),
        ("net.ipv4.tcp_keepalive_intvl", 29, (4, 5)),
        ("net.ipv4.tcp_keepalive_probes", 29, (4, 5)),
        ("net.ipv4.tcp_keepalive_*", 29, (4, 5)),
        ("net.ipv4.tcp_fin_timeout", 29, (4, 6)),
        ("net.ipv4.tcp_rmem", 32, (4, 15)),
        ("net.ipv4.tcp_wmem", 32, (4, 15)),
        ("net.ipv4.tcp_slow_start_after_idle", 37, (4, 15)),
        ("net.ipv4.tcp_notsent_lowat", 37, (4, 6)),
    ],
)
def test_safe_from_a_version_and_a_kernel_on(name: str, minor: int, kernel: tuple[int, int] | None) -> None:
    for here in MINORS:
        found = sysctls.classify_sysctls([name], here, kernel)[0]
        assert found.verdict == ("safe" if here >= minor else "unsafe"), found
    if kernel:
        older = (kernel[0], kernel[1] - 1)
        found = sysctls.classify_sysctls([name], sysctls.NEWEST_MINOR, older)[0]
        assert found.verdict == "unsafe"
        assert f"the nodes' kernel is {older[0]}.{older[1]}" in found.reason


def test_every_safe_sysctl_of_the_recorded_kubelet_is_namespaced() -> None:
    for safe in sysctls.SAFE_SYSCTLS:
        assert sysctls.get_rejection_reason(safe.name, 34) is None


def test_unsafe_names_the_pattern_that_allows_it() -> None:
    found = sysctls.classify_sysctls(["net.core.somaxconn"], 34, (6, 1), ["kernel.msg*", "net.core.*"])[0]
    assert (found.verdict, found.allowed_by) == ("unsafe", "net.core.*")
    found = sysctls.classify_sysctls(["net.core.somaxconn"], 34, (6, 1), [])[0]
    assert (found.verdict, found.allowed_by) == ("unsafe", None)
    assert "must allow it in allowedUnsafeSysctls" in found.reason


def test_a_broad_pattern_is_unsafe_though_some_of_its_members_are_safe() -> None:
    assert sysctls.classify_sysctls(["net.ipv4.*"], 37, (6, 12))[0].verdict == "unsafe"


@pytest.mark.parametrize(
    ("wrong", "valid"),
    [
        ("net*", "net.*"),
        ("fs.mqueue*", "fs.mqueue.*"),
        ("kernel.shm_*", "kernel.shm*"),
        ("NET.CORE.SOMAXCONN", "net.core.somaxconn"),
        ("net.core.somaxconn=2048", "net.core.somaxconn"),
        ("vm.max_map_count", "net.*"),
    ],
)
def test_what_bricks_a_kubelet_is_refused_with_valid_ones_near_it(wrong: str, valid: str) -> None:
    found = sysctls.classify_sysctls([wrong], 34)[0]
    assert found.verdict == "impossible"
    assert valid in found.similar
    assert valid in found.reason
    assert all(sysctls.get_rejection_reason(similar, 34) is None for similar in found.similar)


@pytest.mark.parametrize(
    ("allowed", "name", "fits"),
    [
        ("net.core.*", "net.core.somaxconn", True),
        ("net/core/*", "net.core.somaxconn", True),
        ("net.core.somaxconn", "net/core/somaxconn", True),
        ("net.core.*", "net.ipv4.tcp_mem", False),
        ("net.core.*", "net.*", False),
        ("net.*", "net.core.*", True),
        ("net.core.somaxconn", "net.core.*", False),
        ("kernel.shm*", "kernel.shmmax", True),
    ],
)
def test_what_a_pattern_covers(allowed: str, name: str, fits: bool) -> None:
    assert sysctls.matches_pattern(allowed, name) is fits


def test_why_a_pod_is_forbidden() -> None:
    assert sysctls.get_pod_rejection_reason("net.core.somaxconn", 34, (6, 1), ["net.core.*"]) is None
    assert sysctls.get_pod_rejection_reason("net.ipv4.tcp_syncookies", 34, (6, 1), []) is None
    assert "not allowlisted" in str(sysctls.get_pod_rejection_reason("net.ipv4.tcp_mem", 34, (6, 1), []))
    assert "host Net" in str(
        sysctls.get_pod_rejection_reason("net.ipv4.tcp_syncookies", 34, (6, 1), [], host_network=True)
    )
    assert "host IPC" in str(sysctls.get_pod_rejection_reason("kernel.shm_rmid_forced", 34, (6, 1), [], host_ipc=True))
    assert sysctls.get_pod_rejection_reason("kernel.shm_rmid_forced", 34, (6, 1), [], host_network=True) is None


def test_versions() -> None:
    assert sysctls.parse_minor("1.34") == 34
    assert sysctls.parse_minor("v1.29.3-eks-ae9a62a") == 29
    assert sysctls.parse_minor("1.34.1-20261101") == 34
    assert sysctls.parse_kernel("6.1.115-126.197.amzn2023.x86_64") == (6, 1)
    with pytest.raises(ValueError, match="not a Kubernetes version"):
        sysctls.parse_minor("latest")


def test_lists_merge_in_order_and_once() -> None:
    assert sysctls.merge_lists(["b", "a"], ["a", "c"], []) == ["b", "a", "c"]
