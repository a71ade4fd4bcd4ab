# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TCP proxy forwards, cuts and slows ssh."""

from __future__ import annotations

import subprocess
import threading
import time

import pytest
from testbed import Bed, hosts
from testbed.tcp import TcpProxy


def ssh(bed: Bed, proxy: TcpProxy, command: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    alias = ["-o", f"HostKeyAlias={bed.host('private-a').address}", "-p", str(proxy.port)]
    argv = ["ssh", "-i", str(hosts.KEY), *hosts.SSH_OPTIONS, *alias, "root@127.0.0.1", command]
    return subprocess.run(argv, input=data, capture_output=True, check=False, timeout=30)


def test_what_passes_is_whole(bed: Bed) -> None:
    with TcpProxy((bed.host("private-a").address, 22)) as proxy:
        ran = ssh(bed, proxy, "wc -c", bytes(1_000_000))
    assert ran.stdout.strip() == b"1000000"
    assert proxy.passed > 1_000_000
    assert proxy.cuts == 0


def test_a_connection_is_cut_after_so_many_bytes(bed: Bed) -> None:
    with TcpProxy((bed.host("private-a").address, 22), cut_after=200_000) as proxy:
        ran = ssh(bed, proxy, "cat > /dev/null", bytes(1_000_000))
        assert ran.returncode == 255
        assert proxy.cuts == 1
        assert ssh(bed, proxy, "echo again").stdout == b"again\n"  # the next connection starts a new count


def test_a_connection_is_cut_on_demand(bed: Bed) -> None:
    with TcpProxy((bed.host("private-a").address, 22)) as proxy:
        timer = threading.Timer(1.0, proxy.cut)
        timer.start()
        begin = time.monotonic()
        assert ssh(bed, proxy, "sleep 28").returncode == 255
        assert time.monotonic() - begin < 20


@pytest.mark.parametrize("delay", [0.05])
def test_a_delay_is_felt(bed: Bed, delay: float) -> None:
    took = []
    for seconds in (0.0, delay):
        with TcpProxy((bed.host("private-a").address, 22), delay=seconds) as proxy:
            begin = time.monotonic()
            assert ssh(bed, proxy, "true").returncode == 0
            took.append(time.monotonic() - begin)
    assert took[1] > took[0] + 5 * delay  # ssh's handshake alone is more than five blocks
