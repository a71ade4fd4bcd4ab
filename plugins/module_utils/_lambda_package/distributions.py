# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of installed Python distributions and of their requirements, from their installation records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Optional

from .archive import PackageError

# The metadata of a distribution that is the same on every machine, above all the licences.
METADATA_PATTERN = re.compile(
    r"^[^/]+\.dist-info/(METADATA|top_level\.txt|(licenses/.*|(LICEN[CS]E|NOTICE|COPYING)[^/]*))$"
)
COMPILED_SUFFIXES = (".so", ".pyd", ".dll", ".dylib")


@dataclass(frozen=True)
class DistributionRequirement:
    """A distribution by name, with its minimum (C(>=)) or exact (C(==)) version."""

    name: str
    operator: str = ""
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> DistributionRequirement:
        match = re.fullmatch(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:(==|>=)\s*([0-9][0-9.]*))?\s*", text)
        if not match:
            raise PackageError(f"{text!r} is not a valid requirement. Write NAME, NAME==VERSION or NAME>=VERSION.")
        return cls(match.group(1), match.group(2) or "", match.group(3) or "")

    def allows(self, version: str) -> bool:
        if self.operator == "==":
            return version == self.version
        return not self.operator or _parse_release(version) >= _parse_release(self.version)

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{self.version}"


def _parse_release(version: str) -> list[int]:
    """The release of a version as numbers without trailing zeros: 1.39 and 1.39.0 are equal."""
    numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[a-z+!-]", version)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def normalize_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class InstalledDistributions:
    """The distributions on a path. The first distribution with a name counts, as in an import."""

    def __init__(self, path: Optional[Sequence[str]] = None) -> None:
        self.location = "in " + ", ".join(path) if path else "installed for the Python that runs this module"
        self._by_name: dict[str, metadata.Distribution] = {}
        for distribution in metadata.distributions(path=list(path)) if path else metadata.distributions():
            if distribution.metadata["Name"]:
                self._by_name.setdefault(normalize_name(distribution.metadata["Name"]), distribution)

    def resolve_requirements(self, requirements: Sequence[DistributionRequirement]) -> list[metadata.Distribution]:
        """The requested distributions with all that they require. Extras are excluded; optional ones may be absent."""
        found: dict[str, metadata.Distribution] = {}
        pending = [(requirement, True) for requirement in requirements]
        while pending:
            requirement, is_required = pending.pop()
            name = normalize_name(requirement.name)
            distribution = self._by_name.get(name)
            if distribution is None:
                if is_required:
                    raise PackageError(
                        f"{requirement.name} is not {self.location}. Install it there, or into a directory with "
                        f"'pip install --target DIRECTORY {requirement}', and name that directory."
                    )
                continue
            if not requirement.allows(distribution.version):
                raise PackageError(
                    f"{requirement} is required, but {distribution.version} is {self.location}. Install the required "
                    "version."
                )
            if name in found:
                continue
            found[name] = distribution
            for text in distribution.requires or ():
                head, _dummy, marker = text.partition(";")
                if "extra" not in marker:
                    required_name = re.match(r"[A-Za-z0-9._-]+", head.strip())
                    if required_name:
                        pending.append((DistributionRequirement(required_name.group(0)), not marker))
        return [found[name] for name in sorted(found)]


def list_distribution_files(distribution: metadata.Distribution) -> list[tuple[str, Path]]:
    """The importable files of a distribution, by their import path."""
    name, recorded_files = distribution.metadata["Name"], distribution.files
    if not recorded_files:
        raise PackageError(
            f"{name} {distribution.version} has no record of its files, like a package of the operating system. "
            f"Install it with 'pip install --target DIRECTORY {name}=={distribution.version}', and name that directory."
        )
    found = []
    for entry in recorded_files:
        path = PurePosixPath(str(entry))
        top_directory = path.parts[0]
        if top_directory == ".." or path.is_absolute():
            continue  # a program outside the library
        if top_directory.endswith((".dist-info", ".egg-info")) and not METADATA_PATTERN.match(str(path)):
            continue
        if path.suffix in COMPILED_SUFFIXES:
            raise PackageError(
                f"{name} {distribution.version} has compiled code ({path}), which runs on this platform only. "
                "Package it on the platform of the function's runtime."
            )
        found.append((str(path), Path(str(distribution.locate_file(entry)))))
    return found
