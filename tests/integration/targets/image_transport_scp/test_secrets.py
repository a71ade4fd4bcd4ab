# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The private key is nowhere but in one process: not in outputs, results, caches, process lists, or files."""

from __future__ import annotations

import re
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from integration.targets.image_offline_transfer.kit import PRIVATE, ROLE, Case
from integration.targets.image_transport_scp.ground import V1, Ground
from integration.targets.role_image_transfer.test_secrets import Search, observe

# How every private key of OpenSSH begins, as a file, and the same in base64 once more.
BEGIN = b"-----BEGIN OPENSSH PRIVATE KEY-----"
MARKS = [BEGIN, b64encode(b"openssh-key-v1\0")[:18], b64encode(BEGIN)[:40]]


def private_keys(ground: Ground) -> Search:
    search = Search(ground.bed)
    search.pattern = re.compile(b"|".join(map(re.escape, MARKS)))
    search.names = {}
    return search


@pytest.mark.full
def test_the_private_key_is_nowhere(case: Case, ground: Ground) -> None:
    keep = {
        f"it_{name}": f"{{{{ __image_transfer_{name} | default({{}}) }}}}" for name in ("saved", "pushed", "authorized")
    }
    always = {"name": "All that was registered", "ansible.builtin.set_fact": {**keep, "cacheable": True}}
    role = {"name": "Transfer", "ansible.builtin.include_role": {"name": ROLE}}
    play: dict[str, Any] = {"hosts": "private", "gather_facts": True, "tasks": [{"block": [role], "always": [always]}]}
    variables = case.variables(V1, bucket=None, bandwidth_limit=6_000_000)
    observed = observe(case.ansible, private_keys(ground), [play], variables)
    observed.ran.succeed()
    for host in PRIVATE:
        case.proves(host, V1, case.image("it-app:v1"))
    assert "ssh-ed25519 AAAA" in observed.cache, "the public key is in the results"
    # ssh-keygen can write to a file only: for that moment, for its owner alone, it is one.
    assert set(observed.found) <= {"public: files"}


@pytest.mark.full
def test_the_search_finds_a_private_key(case: Case, ground: Ground, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    search = private_keys(ground)
    assert search((tmp_path / "key").read_bytes()) != set()
    assert search(b64encode((tmp_path / "key").read_bytes())) != set()
    assert search((tmp_path / "key.pub").read_bytes()) == set()
