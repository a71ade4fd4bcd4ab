# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs ansible-playbook, each run in a fork of a process that has its code loaded: a run starts in a third of the time.

It reads a run as JSON from each line of its input: arguments, environment, working directory, and the file for the
output. It answers with the run's process id when the run begins, and with its exit code when it ends. What ansible-core
reads from the environment while it is loaded is the same for all runs of a server: the variables ANSIBLE_*.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.cli.playbook import PlaybookCLI
from ansible.plugins import loader

ARCHIVES = "ansiballz_cache"


def preload() -> None:
    """Load what every run of ansible-playbook needs."""
    loader.init_plugin_loader()
    for name in (
        "ansible.executor.module_common",
        "ansible.executor.playbook_executor",
        "ansible_collections.ansible.builtin",
        "ansible_collections.daytwo.aws",
    ):
        importlib.import_module(name)
    Path(constants.DEFAULT_LOCAL_TMP, ARCHIVES).mkdir()
    for plugins in (  # a run lists all of these
        loader.become_loader,
        loader.callback_loader,
        loader.connection_loader,
        loader.inventory_loader,
        loader.shell_loader,
        loader.vars_loader,
    ):
        list(plugins.all(class_only=True))
    for plugins in (loader.filter_loader, loader.test_loader):
        list(plugins.all())
    for plugins, name in (
        (loader.action_loader, "normal"),
        (loader.callback_loader, "default"),
        (loader.connection_loader, "local"),
        (loader.shell_loader, "sh"),
        (loader.strategy_loader, "linear"),
    ):
        plugins.get(name, class_only=True)


def run(job: dict[str, Any]) -> int:
    """Run ansible-playbook in this process, as its console script does. Return the exit code."""
    os.setsid()
    os.environ.clear()
    os.environ.update(job["env"])
    os.chdir(job["directory"])
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
        os.dup2(file, stream)
    sys.executable = job["python"]  # the interpreter of modules on the controller
    sys.argv = ["ansible-playbook", *job["arguments"]]
    with local_tmp():
        try:
            PlaybookCLI.cli_executor(sys.argv)
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


@contextlib.contextmanager
def local_tmp() -> Iterator[None]:
    """Give this run a directory of its own for temporary files. Of the server's it has the archives of modules."""
    shared = Path(constants.DEFAULT_LOCAL_TMP)
    with tempfile.TemporaryDirectory(prefix="ansible-local-", dir=shared.parent) as own:
        Path(own, ARCHIVES).symlink_to(shared / ARCHIVES)
        constants.DEFAULT_LOCAL_TMP = own
        yield


def main() -> None:
    preload()
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        child = os.fork()
        if not child:
            code = 250
            try:
                code = run(json.loads(line))
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)  # the handlers of atexit belong to the server: they remove what its runs share
        print(child, file=answers, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)


if __name__ == "__main__":
    main()
