# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the artefact, look into it, install it into an empty path and run its playbooks from there by full name."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from common import CACHE, ROOT, VENV, Counts, run, staged

# What an operator has no use for, and what tells that the wrong tree was packed.
UNWANTED = ("tests/", ".ci/", ".git", "extensions/molecule/", "Makefile", "pyproject.toml")
REQUIRED_FILES = ("README.md", "LICENSE", "meta/runtime.yml", "meta/execution-environment.yml", "requirements.txt")
ROOMS = ("plugins", "roles", "playbooks")


@contextlib.contextmanager
def artefact() -> Iterator[Path]:
    """The built tarball, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, staged() as here:
        built = run(VENV / "bin/ansible-galaxy", "collection", "build", "--output-path", folder, cwd=here)
        if built.returncode:
            raise SystemExit(f"{built.output}ansible-galaxy collection build exits {built.returncode}")
        (tarball,) = Path(folder).glob("*.tar.gz")
        yield tarball


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder with a hash of its content."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def check_contents(tarball: Path) -> list[str]:
    """What is in the artefact and should not be, and the reverse."""
    with tarfile.open(tarball) as archive:
        names = archive.getnames()
    wrong = [f"{name} must not be in the artefact" for name in names if name.startswith(UNWANTED)]
    wrong += [f"{name} is missing from the artefact" for name in REQUIRED_FILES if name not in names]
    wrong += [f"{room}/ is missing from the artefact" for room in ROOMS if room not in names]
    print(f"{tarball.name}: {len(names)} entries, {tarball.stat().st_size // 1024} KiB", flush=True)
    return wrong


def run_installed(tarball: Path) -> Counts:
    """Install the artefact alone and run its playbooks by full name, from a folder that nothing may write to."""
    counts = Counts()
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        path = Path(folder) / "collections"
        elsewhere = Path(folder) / "elsewhere"
        elsewhere.mkdir()
        # The dependencies are found in the venv; nothing may be found in the checkout.
        env = {"ANSIBLE_COLLECTIONS_PATH": str(path), "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": ""}
        galaxy = (VENV / "bin/ansible-galaxy", "collection", "install", "--no-deps", "--offline")
        installed = run(*galaxy, "-p", path, tarball, cwd=elsewhere, env=env)
        if installed.returncode:
            print(installed.output)
            return Counts(failed=1)
        collection = path / "ansible_collections/daytwo/aws"
        before = contents(collection)
        for file in (collection, *collection.rglob("*")):
            file.chmod(file.stat().st_mode & ~0o222)  # root writes nevertheless, so the content is compared below
        playbooks = sorted((collection / "playbooks").glob("*.yml"))
        for playbook in playbooks:
            # Run for real, without its variables or with a value that is none: the role's check of arguments answers,
            # or Ansible where a playbook has no role.
            text = playbook.read_text()
            wrong = dict.fromkeys(re.findall(r"hosts: .*\{\{\s*(\w+)", text), "localhost")
            options: dict[str, Any] = {}
            for name in re.findall(r"daytwo\.aws\.(\w+)", text):
                if (specs := collection / "roles" / name / "meta/argument_specs.yml").exists():
                    options.update(yaml.safe_load(specs.read_text())["argument_specs"]["main"]["options"])
            if options and not any(option.get("required") for option in options.values()):
                wrong[next(name for name, option in options.items() if "choices" in option)] = "neither"
            command = (f"daytwo.aws.{playbook.stem}", "-i", "localhost,", "-c", "local", "-e", json.dumps(wrong))
            ran = run(VENV / "bin/ansible-playbook", *command, cwd=elsewhere, env=env)
            refused = re.search(
                r"missing required arguments: ([\w, ]+)|value of (\w+ must be one of: [\w, ]+), got: neither"
                r"|'(\w+)' is undefined",
                ran.output,
            )
            if ran.returncode == 2 and refused:
                print(
                    f"ansible-playbook {' '.join(command)}: asks for {refused[1] or refused[2] or refused[3]}",
                    flush=True,
                )
                counts += Counts(passed=1)
            else:
                print(f"{ran.output}ansible-playbook {' '.join(command)}: exit {ran.returncode}, not a refusal")
                counts += Counts(failed=1)
        if not playbooks:
            print("the artefact holds no playbook")
            counts += Counts(failed=1)
        if contents(collection) != before:
            print("running the playbooks changed the installed collection")
            counts += Counts(failed=1)
        for file in (collection, *collection.rglob("*")):
            file.chmod(file.stat().st_mode | 0o200)
    return counts


def main() -> None:
    with artefact() as tarball:
        wrong = check_contents(tarball)
        counts = Counts(failed=1) if wrong else Counts(passed=1)
        for line in wrong:
            print(line)
        shutil.copy2(tarball, ROOT)
        (counts + run_installed(tarball)).exit()


if __name__ == "__main__":
    os.umask(0o022)
    main()
