# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes' controller as a process of the machine, outside of the cloud, where it can start nodes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from .. import paths
from ..node import ENV, bed_processes, digest, wait_for

LOG = paths.STATE / "nodes-controller.log"
MODULE = ["-m", "testbed.nodes"]


def recipe() -> str:
    """A digest of the source. It changes with the source, so no test runs on stale code."""
    directory = Path(__file__).parent
    sources = [*sorted(directory.glob("*")), *(directory.parent / name for name in ("node.py", "net.py", "pki.py"))]
    return digest([path.read_text() for path in sources if path.is_file()], str(paths.STATE))


def running() -> list[tuple[int, str]]:
    return [(pid, command[-1]) for pid, command in bed_processes() if command[1:3] == MODULE]


def start() -> bool:
    """Start the controller of this source. Returns whether it had to be started."""
    desired_recipe = recipe()
    if [current_recipe for _pid, current_recipe in running()] == [desired_recipe]:
        return False
    stop()
    env = {**ENV, "PYTHONPATH": str(paths.TESTS), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    python = Path(sys.prefix).resolve() / "bin" / "python"
    with LOG.open("ab") as log:
        subprocess.Popen(
            [str(python), *MODULE, desired_recipe],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    return True


def stop() -> None:
    for pid, _recipe in running():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def gone() -> bool:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        return not running()  # a zombie has no environment

    wait_for("the end of the nodes' controller", gone, 15)
