# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Lambda function's handler imports with the packaged files alone, as the role lists them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[5]
UTILS = ROOT / "plugins/module_utils"

# -I and -S: neither the environment nor site-packages add anything to what can be imported.
IMPORT = [sys.executable, "-I", "-S", "-c"]
PROGRAM = """
import importlib.util, sys
sys.path.insert(0, sys.argv[1])
for name in ("ansible", "ansible_collections", "boto3", "botocore"):
    assert importlib.util.find_spec(name) is None, name
from daytwo_aws._autostop import handler
print(handler.__file__, callable(handler.handle))
"""


def packaged_sources() -> dict[str, Path]:
    """Source files by their name in the package, from the role's own task."""
    tasks = yaml.safe_load((ROOT / "roles/aurora_autostop/tasks/guard_present.yml").read_text())
    steps: list[dict[str, Any]] = [step for task in tasks for step in task.get("block", [task])]
    (options,) = [step["daytwo.aws.lambda_package"] for step in steps if "daytwo.aws.lambda_package" in step]
    return {source["dest"]: UTILS / source["src"].rsplit("/", 1)[-1] for source in options["sources"]}


def unpack(directory: Path, leave_out: str = "") -> Path:
    for name, path in packaged_sources().items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name == leave_out:
            continue
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, target)
    return directory


def test_the_handler_imports_with_the_packaged_files_alone(tmp_path: Path) -> None:
    output = subprocess.run([*IMPORT, PROGRAM, unpack(tmp_path)], capture_output=True, text=True, check=True).stdout
    assert output.split() == [str(tmp_path / "daytwo_aws/_autostop/handler.py"), "True"]


@pytest.mark.parametrize("name", [name for name in packaged_sources() if name.endswith(".py")])
def test_no_packaged_file_is_superfluous(tmp_path: Path, name: str) -> None:
    completed = subprocess.run(
        [*IMPORT, PROGRAM, unpack(tmp_path, leave_out=name)], capture_output=True, text=True, check=False
    )
    assert completed.returncode != 0
    assert "ImportError" in completed.stderr or "ModuleNotFoundError" in completed.stderr
