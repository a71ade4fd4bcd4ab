# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""PID 1 of a node (a host, or the cloud): it mounts, starts the requested parts, reaps, and reports what runs.

It runs with Debian's own Python and the standard library only, imported at the start. The mounts below may hide the
controller's home, and with it the interpreter and the packages of a virtual environment.
It restarts nothing by itself. A killed part stays dead until the next `up`, so tests find the effect of a kill.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any


class Init:
    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.recipes: dict[str, str] = {}
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def prepare(self) -> None:
        socket.sethostname(self.spec["name"])
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for source, target, options in self.spec["mounts"]:
            if options.startswith("tmpfs"):
                command = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=755,ro", source, target]
            else:
                command = ["mount", "--rbind", *(["-o", options] if options else []), source, target]
            subprocess.run(command, check=True)
        for command in self.spec["prepare"]:
            subprocess.run(command, check=True)

    def reap(self) -> None:
        """Collect every zombie, also zombies that dead parents have left to PID 1."""
        own = {child.pid: child for child in self.children.values()}
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in own:
                    own[pid].returncode = os.waitstatus_to_exitcode(status)

    def alive(self, name: str) -> bool:
        self.reap()
        return name in self.children and self.children[name].returncode is None

    def stop(self, name: str, grace: float = 10.0) -> None:
        if self.alive(name):
            child = self.children[name]
            os.kill(child.pid, signal.SIGTERM)
            end = time.monotonic() + grace
            while self.alive(name):
                if time.monotonic() > end:
                    os.kill(child.pid, signal.SIGKILL)
                time.sleep(0.02)
        self.children.pop(name, None)  # a stopped part does not count as killed

    def start(self, name: str, recipe: str, argv: list[str], env: dict[str, str], log: int) -> bool:
        if self.alive(name):
            if self.recipes[name] == recipe:
                return False
            self.stop(name)
        self.children[name] = subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
        self.recipes[name] = recipe
        return True

    def answer(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        if request["do"] == "start":
            return {"started": self.start(request["name"], request["recipe"], request["argv"], request["env"], fds[0])}
        if request["do"] == "stop":
            self.stop(request["name"], request["grace"])
        return {
            "recipe": self.spec["recipe"],
            "running": {name: child.pid for name, child in self.children.items() if self.alive(name)},
            "killed": [name for name, child in self.children.items() if child.returncode == -signal.SIGKILL],
        }

    def serve(self, listener: socket.socket) -> None:
        listener.settimeout(1.0)
        while True:
            self.reap()
            try:
                connection, _dummy = listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(5.0)
                fds: list[int] = []
                try:
                    data, fds, _dummy, _dummy = socket.recv_fds(connection, 1 << 20, 1)
                    connection.sendall(json.dumps(self.answer(json.loads(data), fds)).encode())
                except (OSError, ValueError, KeyError, IndexError) as error:
                    # PID 1 must survive a bad request, because the kernel ends the whole node with it.
                    with contextlib.suppress(OSError):
                        connection.sendall(json.dumps({"error": repr(error)}).encode())
                finally:
                    for fd in fds:
                        os.close(fd)


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    # Bind before the mounts, which may hide the directory. Listen after them, so that a client finds all mounts done.
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(spec["socket"])
    listener.bind(spec["socket"])
    init = Init(spec)
    init.prepare()
    listener.listen(16)
    init.serve(listener)


if __name__ == "__main__":
    main()
