# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemctl on a node of the bed: the node's PID 1 starts services by their unit files, and timers.

Supported in a service: ExecStart, Environment and EnvironmentFile of [Service], and drop-ins. A variable without braces
is split into words, as systemd does. Nothing is globbed. Supported in a timer: OnCalendar with a single UTC time, after
which the timer starts the service of its name.
"""

from __future__ import annotations

import glob
import json
import os
import shlex
import socket
import sys
from datetime import datetime, timezone
from typing import Any

UNITS = ("kubelet", "containerd")  # known units, with or without their files
UNIT_DIRECTORY = "/etc/systemd/system"
SOCKET = "/run/testbed/init.sock"
BASE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}


def file_of(name: str) -> str:
    return f"{UNIT_DIRECTORY}/{name}" if name.endswith(".timer") else f"{UNIT_DIRECTORY}/{name}.service"


def read_settings(name: str, section_name: str = "[Service]") -> list[tuple[str, str]]:
    """The settings in a section of the unit. Those of drop-ins come after its own."""
    found = []
    path = file_of(name)
    for file in [path, *sorted(glob.glob(f"{path}.d/*.conf"))]:
        section = ""
        with open(file, encoding="utf-8") as text:
            for line in text:
                line = line.strip()
                if line.startswith("["):
                    section = line
                elif section == section_name and "=" in line and not line.startswith(("#", ";")):
                    key, _equals, value = line.partition("=")
                    found.append((key.strip(), value.strip()))
    return found


def split_arguments(text: str) -> list[str]:
    return shlex.split(text)


def timer(name: str) -> list[str]:
    """The command of a timer. It starts the service as another process, so stopping the timer does not stop it."""
    moment = datetime.strptime(dict(read_settings(name, "[Timer]"))["OnCalendar"], "%Y-%m-%d %H:%M:%S UTC")
    end = int(moment.replace(tzinfo=timezone.utc).timestamp())
    service = shlex.quote(name.removesuffix(".timer"))
    return ["sh", "-c", f'while [ "$(date +%s)" -lt {end} ]; do sleep 0.2; done; exec systemctl start {service}']


def command(name: str) -> tuple[list[str], dict[str, str]]:
    if name.endswith(".timer"):
        return timer(name), {}
    start, env = "", {}
    for key, value in read_settings(name):
        if key == "ExecStart":
            start = value  # an empty ExecStart clears the previous command
        elif key == "Environment":
            env.update(dict(word.partition("=")[::2] for word in split_arguments(value)))
        elif key == "EnvironmentFile":
            env.update(environment_file(value))
    argv: list[str] = []
    for word in split_arguments(start.lstrip("-@:+!")):
        if word.startswith("$") and not word.startswith("${"):
            argv += split_arguments(env.get(word[1:], "").replace("\\", "\\\\"))
        else:
            argv.append(word)
    return argv, env


def environment_file(path: str) -> dict[str, str]:
    if path.startswith("-") and not os.path.exists(path[1:]):
        return {}
    with open(path.removeprefix("-"), encoding="utf-8") as text:
        pairs = [word.partition("=")[::2] for line in text if line.strip() for word in split_arguments(line)]
    return dict(pairs)


def send_request(request: dict[str, Any], *fds: int) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(SOCKET)
        socket.send_fds(connection, [json.dumps(request).encode()], fds)
        connection.shutdown(socket.SHUT_WR)
        response: dict[str, Any] = json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
    if "error" in response:
        sys.exit(f"Failed: {response['error']}")
    return response


def start(name: str) -> None:
    argv, env = command(name)
    log = os.open(f"/var/log/{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    with open("/run/testbed/role", encoding="utf-8") as role:
        instance_role = json.load(role)
    recipe = json.dumps([argv, env])
    send_request(
        {"do": "start", "name": name, "recipe": recipe, "argv": argv, "env": {**BASE, **instance_role, **env}}, log
    )


def running(name: str) -> int:
    return int(send_request({"do": "list"})["running"].get(name, 0))


def show(name: str) -> None:
    pid = running(name)
    state = {
        "Id": os.path.basename(file_of(name)),
        "LoadState": "loaded" if os.path.exists(file_of(name)) else "not-found",
        "ActiveState": "active" if pid else "inactive",
        "SubState": "running" if pid else "dead",
        "UnitFileState": "enabled",
        "MainPID": str(pid),
        "FragmentPath": file_of(name),
    }
    print("\n".join(f"{key}={value}" for key, value in state.items()))


def main(argv: list[str]) -> int:
    arguments = [word for word in argv if not word.startswith("-")]
    verb, names = (arguments or ["status"])[0], [word.removesuffix(".service") for word in arguments[1:]]
    if verb in ("daemon-reload", "enable", "disable", "reset-failed", "preset"):
        return 0  # units are read again at every start, and only this program starts them
    if unknown := [name for name in names if name not in UNITS and not os.path.exists(file_of(name))]:
        print(f"Unit {os.path.basename(file_of(unknown[0]))} could not be found.", file=sys.stderr)
        return 4 if verb in ("status", "is-active") else 5
    for name in names:
        if verb in ("stop", "restart", "try-restart", "reload-or-restart"):
            send_request({"do": "stop", "name": name, "grace": 10.0})
        if verb in ("start", "restart", "reload-or-restart"):
            start(name)
        if verb == "show":
            show(name)
        if verb in ("is-active", "status"):
            up = bool(running(name))
            print("active" if up else "inactive")
            if not up:
                return 3
        if verb == "is-enabled":
            print("enabled")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
