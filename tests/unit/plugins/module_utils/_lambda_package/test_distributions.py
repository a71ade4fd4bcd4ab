# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Distributions as they are installed, with what they require."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._lambda_package.archive import PackageError
from ansible_collections.daytwo.aws.plugins.module_utils._lambda_package.distributions import (
    DistributionRequirement,
    InstalledDistributions,
    list_distribution_files,
)


def install(
    site: Path, name: str, version: str = "1.0", requires: tuple[str, ...] = (), record: Optional[list[str]] = None
) -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {requirement}" for requirement in requires)]
    (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
    if record is not None:
        (info / "RECORD").write_text("".join(f"{entry},,\n" for entry in record))
        for entry in record:
            (site / entry).parent.mkdir(parents=True, exist_ok=True)
            (site / entry).touch()


def names(site: Path, *requirements: str) -> list[str]:
    distributions = InstalledDistributions([str(site)]).resolve_requirements(
        [DistributionRequirement.parse(requirement) for requirement in requirements]
    )
    return [distribution.metadata["Name"] for distribution in distributions]


def test_what_is_required_comes_along(tmp_path: Path) -> None:
    install(
        tmp_path,
        "botocore",
        requires=(
            "jmespath<2.0.0,>=0.7.1",
            'urllib3!=2.2.0,<3,>=1.25.4; python_version >= "3.10"',
            'old-thing; python_version < "3.10"',
            'awscrt==0.31.2; extra == "crt"',
            "python-dateutil<3.0.0,>=2.1",
        ),
    )
    install(tmp_path, "jmespath")
    install(tmp_path, "urllib3")
    install(tmp_path, "awscrt")
    install(tmp_path, "Python_Dateutil", requires=("six>=1.5",))
    install(tmp_path, "six", requires=("botocore",))  # round in a circle
    install(tmp_path, "unrelated")
    assert names(tmp_path, "botocore") == ["botocore", "jmespath", "Python_Dateutil", "six", "urllib3"]


def test_a_missing_distribution_is_reported_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"pip install --target DIRECTORY botocore>=1.39"):
        names(tmp_path, "botocore>=1.39")
    install(tmp_path, "botocore", requires=("jmespath>=0.7",))
    with pytest.raises(PackageError, match="jmespath is not in"):
        names(tmp_path, "botocore")


@pytest.mark.parametrize(
    ("requirement", "installed", "admitted"),
    [
        ("x>=1.39.0", "1.39", True),
        ("x>=1.39.0", "1.100.2", True),
        ("x>=1.39.0", "1.38.46", False),
        ("x==1.44.5", "1.44.5", True),
        ("x==1.44.5", "1.44.6", False),
        ("x>=2.9", "2.9.0.post0", True),
        ("x>=2.9", "2.9.0rc1", True),
        ("x", "0.1", True),
    ],
)
def test_versions(tmp_path: Path, requirement: str, installed: str, admitted: bool) -> None:
    install(tmp_path, "x", installed)
    if admitted:
        assert names(tmp_path, requirement) == ["x"]
    else:
        with pytest.raises(PackageError, match=f"{installed} is"):
            names(tmp_path, requirement)


@pytest.mark.parametrize("text", ["", "x<2", "x==", "x ~= 1", "../x", "x; y"])
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(PackageError, match="not a valid requirement"):
        DistributionRequirement.parse(text)


def of(site: Path, record: Optional[list[str]]) -> list[str]:
    install(site, "x", record=record)
    (distribution,) = InstalledDistributions([str(site)]).resolve_requirements([DistributionRequirement("x")])
    return [name for name, _dummy in list_distribution_files(distribution)]


def test_what_differs_from_machine_to_machine_stays_out(tmp_path: Path) -> None:
    info = "x-1.0.dist-info"
    kept = ["x/__init__.py", "x/data/table.json", f"{info}/METADATA", f"{info}/LICENSE", f"{info}/licenses/NOTICE.txt"]
    local = [f"{info}/RECORD", f"{info}/INSTALLER", f"{info}/direct_url.json", "../../bin/x"]
    assert of(tmp_path / "lib/site", kept + local) == kept


def test_what_has_no_record_or_is_compiled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="no record of its files"):
        of(tmp_path / "debian", None)
    with pytest.raises(PackageError, match=r"compiled code \(x/fast.cpython-313-x86_64-linux-gnu.so\)"):
        of(tmp_path / "wheel", ["x/fast.cpython-313-x86_64-linux-gnu.so"])
