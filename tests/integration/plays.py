# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of ansible-playbook that record each task's outcome, by play_server.py."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CALLBACKS = HERE / "targets/image_offline_transfer/callbacks"
KEPT = ("PATH", "LC_ALL", "ANSIBLE_COLLECTIONS_PATH")  # kept from the environment of the tests


@dataclass(frozen=True)
class Recorded:
    """The output of a run, and the records of its callback: status, task and result of each task."""

    output: str
    tasks: list[dict[str, Any]]


class Server:
    """A process that answers in lines. It ends when its input does."""

    def __init__(self, program: str, *arguments: str, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / program), *arguments],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        _servers.append(self)

    def answer(self, timeout: float) -> str:
        assert self.process.stdout
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            raise TimeoutError(f"no answer after {timeout} seconds")
        line = self.process.stdout.readline().decode().strip()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait(60)}")
        return line

    def close(self) -> None:
        """End the server, also where it still runs something."""
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            kill_tree(self.process.pid)
            self.process.wait()


def kill_tree(root: int) -> None:
    """SIGKILL to a process and all below it.

    Ansible's workers have sessions of their own: a signal to the group would miss them, and they would finish.
    """
    os.kill(root, signal.SIGSTOP)  # no new ones meanwhile
    for pid in [*list_descendants(root), root]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def list_descendants(root: int) -> list[int]:
    """All processes below one, whatever their session; the nearest first."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


class PlayServer(Server):
    """A play_server.py, which runs ansible-playbook with the same variables ANSIBLE_* each time, one run at a time."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        home = tempfile.mkdtemp(prefix="play-server-", dir=get_directory())
        self.env = {"HOME": home, "ANSIBLE_HOME": home, "ANSIBLE_CONFIG": f"{home}/ansible.cfg", **variables}
        Path(self.env["ANSIBLE_CONFIG"]).touch()
        super().__init__("play_server.py", env=self.env)

    def start(
        self, arguments: Sequence[str], env: Mapping[str, str], directory: Path, output: Path, python: str
    ) -> int:
        """Return the process id of the run."""
        job = {
            "arguments": arguments,
            "env": {**self.env, **env},
            "directory": str(directory),
            "output": str(output),
            "python": python,
        }
        assert self.process.stdin
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        return int(self.answer(60))


class PlayProcess:
    """An ansible-playbook that runs, with the methods of C(Popen). It is in a session of its own."""

    def __init__(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        directory: Path,
        output: Path,
        python: str = sys.executable,
    ) -> None:
        fixed = {name: value for name, value in env.items() if name.startswith("ANSIBLE_") or name in KEPT}
        with _lock:
            self._idle = _idle.setdefault(frozenset(fixed.items()), [])
            server = self._idle.pop() if self._idle else None
        self._server = server or PlayServer(fixed)
        own = {name: value for name, value in env.items() if name not in fixed}
        self.pid = self._server.start(arguments, own, directory, output, python)
        self.returncode: int | None = None

    def wait(self, timeout: float = 60) -> int:
        if self.returncode is None:
            self.returncode = int(self._server.answer(timeout))
            with _lock:
                self._idle.append(self._server)
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(TimeoutError):
            self.wait(0)
        return self.returncode

    def kill(self) -> None:
        """SIGKILL to the run and all that it started, so that nobody is left to clean up."""
        if self.poll() is None:
            kill_tree(self.pid)
            self.wait()


_servers: list[Server] = []
_idle: dict[frozenset[tuple[str, str]], list[PlayServer]] = {}
_lock = threading.Lock()


@functools.cache
def get_directory() -> Path:
    """Start the server of modules. Return the directory of all servers, which is removed with them."""
    directory = Path(tempfile.mkdtemp(prefix="it-ansible-"))
    modules = Server(
        "module_server.py", str(directory / "python"), env={name: os.environ[name] for name in ("PATH", "PYTHONPATH")}
    )

    @atexit.register
    def close() -> None:
        for server in reversed(_servers):  # that of the modules is the first
            server.close()
        shutil.rmtree(directory)

    assert modules.answer(60) == "ready"
    return directory


def playbook_of(directory: Path, number: int, tasks: Sequence[Mapping[str, Any]]) -> str:
    """Write a playbook with these tasks as a play on the controller, and return its path."""
    path = directory / f"playbook-{number}.yml"
    path.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}]))
    return str(path)


def play(directory: Path, number: int, *arguments: str, env: Mapping[str, str], timeout: float = 240) -> Recorded:
    """Run ansible-playbook with these arguments in C(directory), which is its home. The environment has only C(env) and
    what ansible-playbook needs. C(number) distinguishes the runs of a directory; C(timeout) is in seconds."""
    record, output = directory / f"record-{number}.jsonl", directory / f"output-{number}.txt"
    given = {
        **{name: os.environ[name] for name in KEPT if name in os.environ},
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "record",
        "HOME": str(directory),
        "IT_RECORD": str(record),
        **env,
    }
    process = PlayProcess(arguments, given, directory, output, str(get_directory() / "python"))
    try:
        process.wait(timeout)
    except TimeoutError:
        process.kill()
        raise
    text = output.read_text(errors="replace")
    assert record.exists(), text
    return Recorded(text, [json.loads(line) for line in record.read_text().splitlines()])
