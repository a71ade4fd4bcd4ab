# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated patterns: every relevant stem, in every form that a user might write."""

from __future__ import annotations

STEMS = (
    "net",
    "net.core",
    "net.core.somaxconn",
    "net.ipv4",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.conf.eth0/100.rp_filter",
    "net.netfilter.nf_conntrack_max",
    "netx.core",
    "kernel",
    "kernel.shm",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shm_rmid_forced",
    "kernel.shm_next_id",
    "kernel.msg",
    "kernel.msgmax",
    "kernel.msg_next_id",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.pid_max",
    "fs.mqueue",
    "fs.mqueue.msg_max",
    "fs.aio-max-nr",
    "vm.max_map_count",
    "user.max_user_namespaces",
    "x",
)


def generated() -> list[str]:
    found = [
        "",
        "*",
        ".",
        "/",
        "net..core",
        "a" * 253,
        "net." + "a" * 249,
        "net." + "a" * 250,
        "net.core.*x",
        "net.*.*",
    ]
    for stem in STEMS:
        found += [
            stem,
            stem + "*",
            stem + ".*",
            stem + "_*",
            stem + "=30",
            stem + "\n",
            stem[:-1] + "*",
            "*" + stem,
            stem.upper(),
            stem.replace(".", "/"),
            stem.replace(".", "/") + "/*",
            " " + stem,
        ]
    return list(dict.fromkeys(found))
