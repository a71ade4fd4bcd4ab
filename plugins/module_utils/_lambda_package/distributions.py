# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of installed Python distributions and of all that they require, from their own records of installation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Optional

from .archive import PackageError

# Of a distribution's own description, what is the same wherever it is installed, licences above all.
METADATA_PATTERN = re.compile(
    r"^[^/]+\.dist-info/(METADATA|top_level\.txt|(licenses/.*|(LICEN[CS]E|NOTICE|COPYING)[^/]*))$"
)
COMPILED_SUFFIXES = (".so", ".pyd", ".dll", ".dylib")


@dataclass(frozen=True)
class DistributionRequirement:
    """A distribution by name, with its lowest (C(>=)) or its only (C(==)) version."""

    name: str
    operator: str = ""
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> DistributionRequirement:
        found = re.fullmatch(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:(==|>=)\s*([0-9][0-9.]*))?\s*", text)
        if not found:
            raise PackageError(f"{text!r} is no requirement of ours. Write NAME, NAME==VERSION or NAME>=VERSION.")
        return cls(found.group(1), found.group(2) or "", found.group(3) or "")

    def allows(self, version: str) -> bool:
        if self.operator == "==":
            return version == self.version
        return not self.operator or _parse_release(version) >= _parse_release(self.version)

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{self.version}"


def _parse_release(version: str) -> list[int]:
    """A version's release as numbers without zeros at its end: 1.39 and 1.39.0 are the same."""
    numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[a-z+!-]", version)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def normalize_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class InstalledDistributions:
    """The distributions on a path. The first of a name counts, as for an import."""

    def __init__(self, path: Optional[Sequence[str]] = None) -> None:
        self.location = "in " + ", ".join(path) if path else "installed for the Python that runs this module"
        self._by_name: dict[str, metadata.Distribution] = {}
        for one in metadata.distributions(path=list(path)) if path else metadata.distributions():
            if one.metadata["Name"]:
                self._by_name.setdefault(normalize_name(one.metadata["Name"]), one)

    def resolve_requirements(self, requirements: Sequence[DistributionRequirement]) -> list[metadata.Distribution]:
        """What is wanted and what that requires. Extras stay out, and what a marker makes optional may be absent."""
        found: dict[str, metadata.Distribution] = {}
        ahead = [(requirement, True) for requirement in requirements]
        while ahead:
            requirement, needed = ahead.pop()
            name = normalize_name(requirement.name)
            one = self._by_name.get(name)
            if one is None:
                if needed:
                    raise PackageError(
                        f"{requirement.name} is not {self.location}. Install it there, or into a folder with "
                        f"'pip install --target FOLDER {requirement}' and name that folder."
                    )
                continue
            if not requirement.allows(one.version):
                raise PackageError(
                    f"{requirement} is wanted, and {one.version} is {self.location}. Install the other one."
                )
            if name in found:
                continue
            found[name] = one
            for text in one.requires or ():
                head, _dummy, marker = text.partition(";")
                if "extra" not in marker:
                    required = re.match(r"[A-Za-z0-9._-]+", head.strip())
                    if required:
                        ahead.append((DistributionRequirement(required.group(0)), not marker))
        return [found[name] for name in sorted(found)]


def list_distribution_files(distribution: metadata.Distribution) -> list[tuple[str, Path]]:
    """The files that a distribution brings for import, by their names there."""
    name, listed = distribution.metadata["Name"], distribution.files
    if not listed:
        raise PackageError(
            f"{name} {distribution.version} has no record of its files, as from an operating system's packages. "
            f"Install it with 'pip install --target FOLDER {name}=={distribution.version}' and name that folder."
        )
    found = []
    for entry in listed:
        path = PurePosixPath(str(entry))
        inside = path.parts[0]
        if inside == ".." or path.is_absolute():
            continue  # a program beside the library
        if inside.endswith((".dist-info", ".egg-info")) and not METADATA_PATTERN.match(str(path)):
            continue
        if path.suffix in COMPILED_SUFFIXES:
            raise PackageError(
                f"{name} {distribution.version} has compiled code ({path}), which runs on this machine's kind only. "
                "Package it where the function's runtime is."
            )
        found.append((str(path), Path(str(distribution.locate_file(entry)))))
    return found
