# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reproducible zip archive: entries are sorted and stored, with one timestamp and one mode."""

from __future__ import annotations

import fnmatch
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest timestamp of a zip archive
FILE_MODE = 0o100644
MAX_PACKAGE_BYTES = 50 * 1024 * 1024  # limit of a direct upload (Lambda quotas)


class PackageError(Exception):
    """A packaging error: which file or distribution, why, and what to do."""


@dataclass(frozen=True)
class EntryFilter:
    """Which entries to package: all that C(include) matches, and all others that C(exclude) does not match."""

    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()

    def allows(self, name: str) -> bool:
        if _matches_pattern(name, self.include):
            return True
        return not _matches_pattern(name, self.exclude)


def _matches_pattern(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def is_compiled_cache(name: str) -> bool:
    return name.endswith((".pyc", ".pyo")) or "__pycache__" in PurePosixPath(name).parts


def list_files(source: Path, dest: str) -> Iterator[tuple[str, Path]]:
    """The files at or below a path, by their names in the archive. C(dest) is the name of the path itself."""
    if source.is_file():
        yield dest, source
    elif source.is_dir():
        for path in source.rglob("*"):
            if path.is_file():
                yield str(PurePosixPath(dest) / path.relative_to(source).as_posix()), path
    else:
        raise PackageError(f"{source} does not exist. Name a file or a directory on the host where this module runs.")


def collect_entries(files: Sequence[tuple[str, Path]], entry_filter: EntryFilter) -> dict[str, Path]:
    """One file per name. Two files with the same name are an error: one would overwrite the other."""
    entries: dict[str, Path] = {}
    for name, path in files:
        if is_compiled_cache(name) or not entry_filter.allows(name):
            continue
        if not name:
            raise PackageError(f"{path} has no name in the archive. Give dest as a relative path.")
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise PackageError(f"{name} is outside the archive. Give dest as a relative path without '..'.")
        if entries.get(name, path) != path:
            raise PackageError(
                f"{entries[name]} and {path} would both be {name} in the archive. Change dest of one of them."
            )
        entries[name] = path
    if not entries:
        raise PackageError("Nothing is left to package. Check sources, distributions, exclude and include.")
    return entries


def pack_archive(entries: Mapping[str, Path]) -> bytes:
    """The bytes of the archive. Entries are stored, because compressed bytes differ between versions of zlib."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system = 3  # Unix, on every platform
            info.external_attr = FILE_MODE << 16
            archive.writestr(info, entries[name].read_bytes())
    packed = buffer.getvalue()
    if len(packed) > MAX_PACKAGE_BYTES:
        raise PackageError(
            f"The package has {len(packed)} bytes, and Lambda accepts at most {MAX_PACKAGE_BYTES} in an upload. "
            "Exclude more files."
        )
    return packed
