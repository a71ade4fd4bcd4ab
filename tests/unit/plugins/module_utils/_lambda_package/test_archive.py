# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bytes of a package depend on names and contents alone."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._lambda_package import archive
from ansible_collections.daytwo.aws.plugins.module_utils._lambda_package.archive import EntryFilter, PackageError


def directory(path: Path, **contents: str) -> Path:
    for name, text in contents.items():
        file = path / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return path


def packed(path: Path) -> bytes:
    return archive.pack_archive(archive.collect_entries(list(archive.list_files(path, "code")), EntryFilter()))


def test_the_same_sources_make_the_same_bytes(tmp_path: Path) -> None:
    """Independent of the order of creation, times, modes and caches."""
    first = directory(tmp_path / "first", a="1", b="2")
    second = directory(tmp_path / "second", b="2", a="1")
    os.utime(second / "a.py", (1, 1))
    (second / "a.py").chmod(0o755)
    directory(second / "__pycache__", x="cache")
    (second / "a.pyc").write_text("cache")
    assert packed(first) == packed(second)
    (second / "a.py").write_text("3")
    assert packed(first) != packed(second)


def test_what_the_archive_holds(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(packed(directory(tmp_path / "x", b="2", a="1")))) as opened:
        assert [entry.filename for entry in opened.infolist()] == ["code/a.py", "code/b.py"]
        assert {entry.date_time for entry in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.external_attr >> 16 for entry in opened.infolist()} == {0o100644}  # readable to Lambda's user
        assert opened.read("code/b.py") == b"2"


@pytest.mark.parametrize(
    ("name", "goes_in"),
    [
        ("botocore/session.py", True),
        ("botocore/data/endpoints.json", True),
        ("botocore/data/ec2/2016-11-15/service-2.json.gz", False),
        ("botocore/data/rds/2014-10-31/service-2.json.gz", True),
    ],
)
def test_include_wins_over_exclude(name: str, goes_in: bool) -> None:
    assert EntryFilter(("botocore/data/*/*",), ("botocore/data/rds/*",)).allows(name) is goes_in


def test_what_cannot_be_packaged_has_its_reason(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="does not exist"):
        list(archive.list_files(tmp_path / "gone", "code"))
    file = directory(tmp_path / "x", a="1") / "a.py"
    other = directory(tmp_path / "y", a="2") / "a.py"
    with pytest.raises(PackageError, match="is outside"):
        archive.collect_entries([("../a.py", file)], EntryFilter())
    with pytest.raises(PackageError, match="has no name"):
        archive.collect_entries([("", file)], EntryFilter())
    with pytest.raises(PackageError, match="would both be"):
        archive.collect_entries([("a.py", file), ("a.py", other)], EntryFilter())
    with pytest.raises(PackageError, match="Nothing is left"):
        archive.collect_entries([("a.py", file)], EntryFilter(("*",)))


def test_a_package_beyond_lambdas_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_PACKAGE_BYTES", 100)
    with pytest.raises(PackageError, match="at most 100"):
        packed(directory(tmp_path / "x", a="1" * 200))
