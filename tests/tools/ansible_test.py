# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-test with its caches inside this project's cache, and without a download from outside the package index."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from common import HOME, Ran, run, site_packages

GET_PIP = '''\
"""Installs pip from the wheel beside this file; replaces the script that ansible-test would download."""
import pathlib
import runpy
import sys

directory = pathlib.Path(__file__).parent
wheel = next(directory.glob("pip-{version}-*.whl"))
options = [option for option in sys.argv[1:] if option not in ("--no-setuptools", "--no-wheel")]
sys.argv[1:] = ["install", "--no-index", "--find-links", str(directory), *options]
sys.path.insert(0, str(wheel))
runpy.run_module("pip", run_name="__main__", alter_sys=True)
'''


def seed_get_pip(venv: Path) -> None:
    """Put the bootstrap script for the pip of this venv's ansible-test into its cache.

    (docs/facts/toolchain.md#offline)
    """
    source = (site_packages(venv) / "ansible_test/_internal/python_requirements.py").read_text()
    found = re.search(r"pip='([\d.]+)'", source)
    if not found:
        raise SystemExit("this ansible-test names its pip in another way: see get_venv_packages in its source")
    version = found[1]
    directory = HOME / ".ansible" / "test" / "cache"
    script = directory / f"get_pip_{version.replace('.', '_')}.py"
    if not script.exists():
        directory.mkdir(parents=True, exist_ok=True)
        pip = [str(venv / "bin/python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "download", "--no-deps", "--dest", str(directory), f"pip=={version}"], check=True)
        script.write_text(GET_PIP.format(version=version))
    own, users = HOME / ".config" / "pip", Path.home() / ".config" / "pip"
    if users.exists() and not own.exists():  # the user's configuration of the package index
        own.parent.mkdir(parents=True, exist_ok=True)
        own.symlink_to(users)


def ansible_test(*arguments: str, venv: Path, cwd: Path, path: str = "") -> Ran:
    """Run ansible-test of a venv in a staged collection; path has the directories of further interpreters."""
    seed_get_pip(venv)
    search = os.pathsep.join(filter(None, [str(venv / "bin"), path, os.environ["PATH"]]))
    return run(
        venv / "bin" / "ansible-test",
        *arguments,
        cwd=cwd,
        # PYTHONPATH would lead ansible-test to the checkout instead of the staged copy.
        env={"HOME": str(HOME), "PATH": search, "PYTHONPATH": ""},
    )
