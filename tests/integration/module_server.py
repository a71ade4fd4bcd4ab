# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python interpreter for modules on the controller that has their imports loaded: they take most of a module's time.

module_server.py INTERPRETER: write an executable that Ansible takes for Python, and serve its modules until input ends.
Each module runs in a fork, with the environment, working directory and open files of its caller. What it imports comes
from the checkout, not from the archive that Ansible sends: the tests with hosts, molecule and the demo use the archive.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from integration.models import read_models_once

SERVICES = ("autoscaling", "ec2", "eks", "events", "iam", "lambda", "logs", "rds", "sqs", "sts")
OTHERS = {"amazon.aws": ("iam_role", "lambda"), "community.aws": ("sqs_queue",)}
CLIENT = """#!{python} -IS
import array, json, os, socket, sys
if sys.argv[1:]:  # not a module, whose code is the standard input
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
text = json.dumps([dict(os.environ), os.getcwd()]).encode()
server.sendmsg([len(text).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
server.sendall(text)
code = int(server.recv(16) or b"250")
sys.exit(code if code >= 0 else 128 - code)
"""


def preload() -> None:
    """Load the modules of this collection, what those of others import, and the models of AWS's services."""
    import boto3

    read_models_once()
    session = boto3.Session("AKIATESTBEDMODULES00", "testbed", region_name="us-east-1")
    for service in SERVICES:
        session.client(service)
    threshold = gc.get_threshold()
    own = sorted(file.stem for file in (Path(__file__).parents[2] / "plugins/modules").glob("[a-z]*.py"))
    for collection, names in (("daytwo.aws", own), *OTHERS.items()):
        for name in names:
            importlib.import_module(f"ansible_collections.{collection}.plugins.modules.{name}")
    gc.set_threshold(*threshold)  # a module may have set its own


def run(env: dict[str, str], directory: str) -> NoReturn:
    """Run the module that stands in the standard input. An interpreter that ends takes a second to free what is loaded,
    so this process ends as soon as the module's own handlers have run."""
    code = 1
    try:
        os.environ.clear()
        os.environ.update(env)
        os.chdir(directory)
        sys.argv = [""]
        exec(compile(sys.stdin.read(), "<stdin>", "exec"), {"__name__": "__main__"})  # noqa: S102
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve(connection: socket.socket) -> None:
    """Run one module, and answer with its exit code. The module ends with its caller."""
    head, ancillary, _flags, _address = connection.recvmsg(4, socket.CMSG_SPACE(12))
    if not head:
        return  # the caller was killed
    files = array.array("i", ancillary[0][2])
    text = b""
    while len(text) < int.from_bytes(head, "big"):
        part = connection.recv(1 << 20)
        if not part:
            return
        text += part
    env, directory = json.loads(text)
    child = os.fork()
    if not child:
        connection.close()
        for stream, file in enumerate(files):
            os.dup2(file, stream)
            os.close(file)
        run(env, directory)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(child)
    if ended not in select.select([connection, ended], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    connection.sendall(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def main(interpreter: Path) -> None:
    preload()
    gc.freeze()
    address = f"{interpreter}.socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    interpreter.write_text(CLIENT.format(python=sys.executable, address=address))
    interpreter.chmod(0o700)
    print("ready", flush=True)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection = listener.accept()[0]
        handler = os.fork()
        if not handler:
            if os.fork():  # init reaps the second, which serves
                os._exit(0)
            listener.close()
            serve(connection)
            os._exit(0)
        os.waitpid(handler, 0)
        connection.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
