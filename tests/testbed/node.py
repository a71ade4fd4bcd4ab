# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node: a process tree in its own net, mount, pid and host name namespaces, under the project's own PID 1 (init.py).

The kernel cleans up: when the holder (`unshare`) ends for any reason, it kills PID 1, and with PID 1 every process,
mount and interface of the node.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from . import paths

INIT = Path(__file__).with_name("init.py")
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", paths.MARKER: "1"}


class BedError(Exception):
    """A part of the test bed does not start. The message names the part and the log to read."""


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:12]


def wait_for(what: str, check: Callable[[], bool], seconds: float, log: Path | None = None) -> None:
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            tail = ""
            if log and log.exists():
                tail = f"; the end of {log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise BedError(f"timed out after {seconds:.0f} s while waiting for {what}{tail}")
        time.sleep(0.05)


def port_open(address: str, port: int, timeout: float = 0.5) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout):
        return True
    return False


@dataclass(frozen=True)
class Part:
    """A process in a node. A changed recipe (the command, or content that is read at the start) restarts it."""

    name: str
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    reads: Sequence[object] = ()

    @property
    def recipe(self) -> str:
        return digest(self.argv, self.env, self.reads)


@dataclass(frozen=True)
class Mount:
    source: str
    target: str
    options: str = ""


class Node:
    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = paths.STATE / "nodes" / name
        self.socket = paths.RUN / f"{name}.sock"
        self.env = ENV  # of commands that C(run) runs

    def log(self, part: str) -> Path:
        return self.folder / "log" / f"{part}.log"

    # Running processes

    def send_request(self, request: dict[str, Any], *fds: int) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(30)
            connection.connect(str(self.socket))
            socket.send_fds(connection, [json.dumps(request).encode()], fds)
            connection.shutdown(socket.SHUT_WR)
            response = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
        if "error" in response:
            raise BedError(f"{self.name}: {response['error']}")
        return dict(response)

    def state(self) -> dict[str, Any] | None:
        """The state that PID 1 reports, or None without a running node."""
        with contextlib.suppress(OSError, ValueError):
            return self.send_request({"do": "list"})
        return None

    def running(self) -> dict[str, int]:
        """The running parts, with their pids inside the node."""
        state = self.state()
        return dict(state["running"]) if state else {}

    def holder(self) -> int | None:
        for pid, command in bed_processes():
            if command[0].endswith("unshare") and command[-1] == str(self.spec_path):
                return pid
        return None

    def init_pid(self) -> int:
        """The pid of the node's PID 1 on the machine."""
        holder = self.holder()
        if holder and (init := children(holder)):
            return init[0]
        raise BedError(f"node {self.name} does not run. Start it with `python -m testbed up`")

    def pid_of(self, part: str) -> int:
        """The part's pid on the machine, for tests that kill it."""
        inside = self.running().get(part)
        for pid in processes_beside(self.init_pid()):
            with contextlib.suppress(OSError, StopIteration):
                status = Path(f"/proc/{pid}/status").read_text().splitlines()
                if next(line for line in status if line.startswith("NSpid:")).split()[-1] == str(inside):
                    return pid
        raise BedError(f"{part} does not run on {self.name}")

    # Up and down

    @property
    def spec_path(self) -> Path:
        return self.folder / "spec.json"

    def up(self, mounts: list[Mount], prepare: list[list[str]], bed: str) -> bool:
        """Start the node with exactly these mounts. Returns whether it had to be started."""
        spec = {
            "name": self.name,
            "socket": str(self.socket),
            "mounts": [[m.source, m.target, m.options] for m in mounts],
            "prepare": prepare,
            "bed": bed,  # a node of an earlier bed has its keys, and mounts of deleted directories
        }
        spec["recipe"] = digest(spec, INIT.read_text())
        state = self.state()
        if state and state["recipe"] == spec["recipe"]:
            return False
        self.down()
        self.wipe()
        (self.folder / "log").mkdir(parents=True, exist_ok=True)
        paths.RUN.mkdir(mode=0o711, exist_ok=True)
        self.spec_path.write_text(json.dumps(spec))
        with self.log("init").open("wb") as log:
            subprocess.Popen(
                [
                    *("unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"),
                    *("--mount-proc", "/usr/bin/python3", "-I", "-S", str(INIT), str(self.spec_path)),
                ],
                env=ENV,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        wait_for(f"node {self.name}", lambda: self.state() is not None, 15, self.log("init"))
        return True

    def wipe(self) -> None:
        """Remove what a machine loses at a reboot."""

    def down(self) -> None:
        holder = self.holder()
        if holder:
            # Kill PID 1, wait until the kernel has ended the pid namespace, and then kill the holder.
            with contextlib.suppress(BedError):
                init = self.init_pid()
                os.kill(init, signal.SIGKILL)
                wait_for(f"end of {self.name}", lambda: not Path(f"/proc/{init}").exists(), 15)
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(holder, 0)  # the process that started the holder has to reap it
        self.socket.unlink(missing_ok=True)

    def start(self, part: Part) -> bool:
        """Start the part with this recipe. Returns whether it had to be started."""
        with self.log(part.name).open("ab") as log:
            request = {
                "do": "start",
                "name": part.name,
                "recipe": part.recipe,
                "argv": part.argv,
                "env": {**ENV, **part.env},
            }
            return bool(self.send_request(request, log.fileno())["started"])

    def stop(self, part: str, grace: float = 10.0) -> None:
        self.send_request({"do": "stop", "name": part, "grace": grace})

    def run(
        self,
        *command: str,
        check: bool = True,
        input: bytes | None = None,  # noqa: A002 - the name that subprocess.run uses
        stdin: IO[bytes] | int | None = None,
        timeout: float | None = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the node, without ssh."""
        result = subprocess.run(
            ["nsenter", "-t", str(self.init_pid()), "-n", "-m", "-p", "-u", "-i", "--", *command],
            env=self.env,
            input=input,
            stdin=(subprocess.DEVNULL if stdin is None else stdin) if input is None else None,
            capture_output=True,
            timeout=timeout,
            check=False,
            cwd="/",
        )
        out, err = result.stdout.decode(errors="replace"), result.stderr.decode(errors="replace")
        if check and result.returncode:
            raise BedError(f"{self.name}: {' '.join(command)} ended with {result.returncode}: {err or out}")
        return subprocess.CompletedProcess(command, result.returncode, out, err)


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def processes_beside(init: int) -> list[int]:
    """Every process in the pid namespace of this process."""
    try:
        space = Path(f"/proc/{init}/ns/pid").readlink()
    except OSError:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "ns/pid").readlink() == space:
                found.append(int(entry.name))
    return found


def bed_processes() -> Iterator[tuple[int, list[str]]]:
    """Every process of this bed on the machine, with its command line. The holders of the nodes are among them.

    Only processes of the caller's own pid namespace are listed. Processes in a node end with their holder, and another
    bed in its own container or namespace is not part of this bed.
    """
    mark = f"{paths.MARKER}=1".encode()
    for pid in processes_beside(os.getpid()):
        with contextlib.suppress(OSError):
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                yield pid, [word.decode(errors="replace") for word in command]
