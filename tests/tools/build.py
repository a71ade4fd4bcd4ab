# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the artifact, check its content, install it into an empty path, and run its playbooks there by full name."""

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

# Files that no operator needs, and that show a build from the wrong tree.
UNWANTED = ("tests/", ".ci/", ".git", "extensions/molecule/", "Makefile", "pyproject.toml")
REQUIRED_FILES = ("README.md", "LICENSE", "meta/runtime.yml", "meta/execution-environment.yml", "requirements.txt")
DIRECTORIES = ("plugins", "roles", "playbooks")


@contextlib.contextmanager
def artifact() -> Iterator[Path]:
    """Build the tarball in a directory that is removed afterwards."""
    with tempfile.TemporaryDirectory(dir=CACHE) as directory, staged() as here:
        built = run(VENV / "bin/ansible-galaxy", "collection", "build", "--output-path", directory, cwd=here)
        if built.returncode:
            raise SystemExit(f"{built.output}ansible-galaxy collection build exits {built.returncode}")
        (tarball,) = Path(directory).glob("*.tar.gz")
        yield tarball


def contents(directory: Path) -> dict[str, str]:
    """Return every file below a directory with a hash of its content."""
    return {
        str(file.relative_to(directory)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in directory.rglob("*")
        if file.is_file()
    }


def check_contents(tarball: Path) -> list[str]:
    """Return what must not be in the artifact, and what is missing from it."""
    with tarfile.open(tarball) as archive:
        names = archive.getnames()
    wrong = [f"{name} must not be in the artifact" for name in names if name.startswith(UNWANTED)]
    wrong += [f"{name} is missing from the artifact" for name in REQUIRED_FILES if name not in names]
    wrong += [f"{name}/ is missing from the artifact" for name in DIRECTORIES if name not in names]
    print(f"{tarball.name}: {len(names)} entries, {tarball.stat().st_size // 1024} KiB", flush=True)
    return wrong


def run_installed(tarball: Path) -> Counts:
    """Install the artifact alone and run its playbooks by full name, from a read-only directory."""
    counts = Counts()
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        path = Path(directory) / "collections"
        elsewhere = Path(directory) / "elsewhere"
        elsewhere.mkdir()
        # Ansible finds the dependencies in the venv, and nothing in the checkout.
        env = {"ANSIBLE_COLLECTIONS_PATH": str(path), "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": ""}
        galaxy = (VENV / "bin/ansible-galaxy", "collection", "install", "--no-deps", "--offline")
        installed = run(*galaxy, "-p", path, tarball, cwd=elsewhere, env=env)
        if installed.returncode:
            print(installed.output)
            return Counts(failed=1)
        collection = path / "ansible_collections/daytwo/aws"
        before = contents(collection)
        for file in (collection, *collection.rglob("*")):
            file.chmod(file.stat().st_mode & ~0o222)  # root can still write, so the content is compared below
        playbooks = sorted((collection / "playbooks").glob("*.yml"))
        for playbook in playbooks:
            # A real run without variables, or with an invalid value: the role's argument validation refuses it, or
            # Ansible where a playbook has no role.
            text = playbook.read_text()
            wrong = dict.fromkeys(re.findall(r"(?m)^[ -]*hosts: .*\{\{\s*(\w+)", text), "localhost")
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
                r"|'(\w+)' is undefined|(No cluster) by kubeconfig",
                ran.output,
            )
            if ran.returncode == 2 and refused:
                print(
                    f"ansible-playbook {' '.join(command)}: requires {next(filter(None, refused.groups()))}",
                    flush=True,
                )
                counts += Counts(passed=1)
            else:
                print(f"{ran.output}ansible-playbook {' '.join(command)}: exit {ran.returncode}, not a refusal")
                counts += Counts(failed=1)
        if not playbooks:
            print("the artifact contains no playbook")
            counts += Counts(failed=1)
        if contents(collection) != before:
            print("running the playbooks changed the installed collection")
            counts += Counts(failed=1)
        for file in (collection, *collection.rglob("*")):
            file.chmod(file.stat().st_mode | 0o200)
    return counts


def main() -> None:
    with artifact() as tarball:
        wrong = check_contents(tarball)
        counts = Counts(failed=1) if wrong else Counts(passed=1)
        for line in wrong:
            print(line)
        shutil.copy2(tarball, ROOT)
        (counts + run_installed(tarball)).exit()


if __name__ == "__main__":
    os.umask(0o022)
    main()
