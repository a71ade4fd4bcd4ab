# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edited user data scripts against their originals: bash itself shows in a sandbox what both do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import userdata
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.errors import SysctlError
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.userdata import (
    BootstrapSettings,
    UserDataRequest,
    render,
)
from integration.targets.user_data_scripts.generator import ScriptGenerator
from integration.targets.user_data_scripts.sandbox import BWRAP, LIST_FLAG, Sandbox, ScriptRun

pytestmark = pytest.mark.skipif(not BWRAP, reason="bubblewrap (bwrap) is not installed")

REQUESTED = ("net.core.somaxconn", "net.ipv4.tcp_tw_reuse")
CUSTOM_AMI = BootstrapSettings("prod", "https://x.example", "Y2E=", "172.20.0.0/16", "172.20.0.10")
UNIT = "etc/systemd/system/kubelet.service.d"


def dos2unix(script: bytes) -> bytes:
    """What cloud-init does with a script before it runs: docs/facts/sysctl_nodegroup.md#mime-and-cloud-init."""
    return script.replace(b"\r\n", b"\n") if re.match(rb"[^\n]*\r\n", script) else script


def list_faults(original: ScriptRun, result: ScriptRun) -> list[str]:
    """List how the result differs from the original with exactly the list."""
    faults = []
    if not original.calls:
        faults.append("the original does not boot, and was accepted")
    if len(original.calls) != len(result.calls):
        faults.append(f"{len(original.calls)} calls became {len(result.calls)}")
    for before, after in zip(original.calls, result.calls):
        if set(after.allowed) != {*before.allowed, *REQUESTED}:
            faults.append(f"{before.allowed} became {after.allowed}")
        if before.other_flags != after.other_flags:
            faults.append(f"{before.other_flags} became {after.other_flags}")
        if before.other_arguments != after.other_arguments:
            faults.append(f"{before.other_arguments} became {after.other_arguments}")
    if (original.code, original.output, original.files) != (result.code, result.output, result.files):
        changed = [
            path for path in {**original.files, **result.files} if original.files.get(path) != result.files.get(path)
        ]
        faults.append(f"{original.code}, {original.output!r} became {result.code}, {result.output!r}, files {changed}")
    if any(path.startswith(UNIT) or "unsafe" in text.lower() for path, text in result.files.items()):
        faults.append(f"a file can override the list: {sorted(result.files)}")
    return faults


def judge(sandbox: Sandbox, seed: int) -> tuple[str, str]:
    """Render one script, and return the verdict and, with a fault, what is wrong."""
    script = ScriptGenerator(seed).generate()
    original = sandbox.run(dos2unix(script))
    kind = "boots" if original.calls else "does not boot"
    try:
        data = render(UserDataRequest("al2", REQUESTED, script, CUSTOM_AMI))
    except SysctlError:
        return f"{kind}, refused", ""
    if userdata.remove_own_changes("al2", data) != script:
        return "wrong", f"script {seed}: the removal does not give the original back: {script!r}"
    if render(UserDataRequest("al2", REQUESTED, data, CUSTOM_AMI)) != data:
        return "wrong", f"script {seed}: the second rendering differs: {script!r}"
    faults = list_faults(original, sandbox.run(dos2unix(data)))
    for _attempt in range(3):
        if not faults:
            break
        # A tee in the background can outlive its script. What a script itself does is the same in each run.
        faults = list_faults(sandbox.run(dos2unix(script)), sandbox.run(dos2unix(data)))
    return ("wrong", f"script {seed}: {faults}\n{script.decode()}") if faults else (f"{kind}, edited", "")


def judge_all(directory: Path, seeds: Sequence[int]) -> Counter[str]:
    sandbox = Sandbox(directory)
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda seed: judge(sandbox, seed), seeds))
    counts = Counter(verdict for verdict, dummy in verdicts)
    print(dict(counts))
    faults = [fault for dummy, fault in verdicts if fault]
    assert not faults, "\n\n".join(faults[:5])
    return counts


def test_edited_scripts_do_the_same_with_the_list(tmp_path: Path) -> None:
    counts = judge_all(tmp_path, range(300))
    assert counts["boots, edited"] > 100
    assert counts["boots, refused"] < 150


@pytest.mark.full
@pytest.mark.parametrize("start", range(0, 5000, 500))
def test_many_edited_scripts_do_the_same_with_the_list(tmp_path: Path, start: int) -> None:
    counts = judge_all(tmp_path, range(start + 300, start + 800))
    assert counts["boots, edited"] > 150


def test_the_sandbox_finds_a_lost_list(tmp_path: Path) -> None:
    """The judge itself: a script that loses the list, and one that changes an argument."""
    sandbox = Sandbox(tmp_path)
    call = "#!/bin/bash\n/etc/eks/bootstrap.sh prod --kubelet-extra-args '--v=1'"
    original = sandbox.run(call.encode())
    assert [found.arguments for found in original.calls] == [("prod", "--kubelet-extra-args", "--v=1")]
    assert "became []" in str(list_faults(original, sandbox.run(call.encode())))
    listed = f"{LIST_FLAG}={','.join(REQUESTED)}"
    right = call.replace("--v=1", f"--v=1 {listed}")
    assert list_faults(original, sandbox.run(right.encode())) == []
    assert list_faults(original, sandbox.run(right.replace("--v=1", "--v=2").encode())) != []
    assert list_faults(original, sandbox.run((right + "\ntouch /tmp/x").encode())) != []
