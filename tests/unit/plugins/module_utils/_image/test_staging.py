# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The staging directory: private, found after a kill, removed by its last user; other files stay."""

from __future__ import annotations

import multiprocessing
import os
import stat
import time
from pathlib import Path

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import (
    Staging,
    check_root,
    get_default_root,
    get_root,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import digest_of, stage, tree

KEY = "loaded-" + "0" * 20
OTHER = "saved-" + "1" * 20
DATA = b"content"
DIGEST = digest_of(DATA)
WEEK = 7 * 86400


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(str(tmp_path / "root"), KEY)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_this_user_can_read_what_is_staged(staging: Staging, umask: int) -> None:
    before = os.umask(umask)
    try:
        with staging.hold_lock():
            pass
    finally:
        os.umask(before)
    assert [mode(path) for path in (staging.root, staging.directory, staging.get_path(DIGEST).parent)] == [0o700] * 3
    assert mode(staging.directory / "in_use") == 0o600


@pytest.mark.parametrize("bits", [0o720, 0o702, 0o777, 0o1777])
@pytest.mark.parametrize("inner", [False, True], ids=["root", "directory"])
def test_a_directory_that_others_may_write_to_is_refused(staging: Staging, bits: int, inner: bool) -> None:
    staging.create()
    directory = staging.directory if inner else staging.root
    directory.chmod(bits)
    with pytest.raises(ImageError, match=f"mode {bits:04o}.*Remove it, or set another staging_dir"):
        staging.create()


@pytest.mark.parametrize("inner", [False, True], ids=["root", "directory"])
def test_a_symlink_is_refused_and_nothing_is_made_behind_it(tmp_path: Path, staging: Staging, inner: bool) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "blobs").mkdir(parents=True)
    if inner:
        staging.root.mkdir(mode=0o700)
        staging.directory.symlink_to(elsewhere)
    else:
        staging.root.symlink_to(elsewhere)
    with pytest.raises(ImageError, match="is not a directory that only user id"):
        staging.create()
    assert tree(elsewhere) == ["blobs"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
@pytest.mark.parametrize("inner", [False, True], ids=["root", "directory"])
def test_a_directory_of_another_user_is_refused(staging: Staging, inner: bool) -> None:
    staging.create()
    os.chown(staging.directory if inner else staging.root, 65534, 65534)
    with pytest.raises(ImageError, match=r"only user id 0 can write to \(owner 65534"):
        staging.create()


def test_a_file_in_the_way_is_rejected_with_a_message(staging: Staging) -> None:
    staging.root.write_text("")
    with pytest.raises(
        ImageError, match=r"staging_dir: cannot create .*: File exists\. Set a staging_dir that user id"
    ):
        staging.create()


def test_the_default_root_is_this_user_s_own() -> None:
    assert get_default_root() == f"/var/tmp/daytwo-image-transfer-{os.geteuid()}"  # noqa: S108


def test_a_staging_dir_counts_from_the_root_of_the_file_system() -> None:
    assert get_root(None) == get_root("") == get_default_root()
    assert get_root("/srv/staging") == "/srv/staging"
    with pytest.raises(ImageError, match="staging_dir: 'srv/staging' is not absolute"):
        get_root("srv/staging")


def test_a_blob_grows_beside_its_place_and_is_published_by_rename(staging: Staging) -> None:
    staging.create()
    assert (staging.get_size(DIGEST), staging.is_complete(DIGEST)) == (0, False)
    staging.get_partial_path(DIGEST).write_bytes(DATA[:3])
    assert (staging.get_size(DIGEST), staging.is_complete(DIGEST)) == (3, False)
    staging.get_partial_path(DIGEST).write_bytes(DATA)
    staging.publish(DIGEST)
    assert (staging.get_size(DIGEST), staging.is_complete(DIGEST), staging.verify(DIGEST)) == (len(DATA), True, True)
    assert not staging.get_partial_path(DIGEST).exists()


def test_a_blob_with_other_content_is_taken_away_with_what_grows_beside_it(staging: Staging) -> None:
    stage(staging, {DIGEST: b"Content"})
    staging.get_partial_path(DIGEST).write_bytes(b"C")
    assert not staging.verify(DIGEST)
    assert (staging.get_size(DIGEST), staging.is_complete(DIGEST)) == (0, False)


def test_discarding_what_is_not_there_is_no_error(staging: Staging) -> None:
    staging.create()
    staging.discard(DIGEST)


# -- kills, and two runs at once


def _killed_in_the_middle(staging: Staging) -> None:
    with staging.hold_lock():
        staging.get_partial_path(DIGEST).write_bytes(DATA[:3])
        os.kill(os.getpid(), 9)


def test_a_run_finds_what_a_killed_run_left_and_removes_it(staging: Staging) -> None:
    killed = multiprocessing.get_context("fork").Process(target=_killed_in_the_middle, args=(staging,))
    killed.start()
    killed.join(10)
    assert killed.exitcode == -9
    assert staging.exists()
    with staging.hold_lock():
        assert staging.get_size(DIGEST) == 3
    assert staging.remove()
    assert not staging.root.exists()


def test_nobody_removes_a_directory_that_is_in_use(staging: Staging) -> None:
    with staging.hold_lock():
        stage(staging, {DIGEST: DATA})
        with staging.hold_lock():
            assert not staging.remove()
        assert not Staging(str(staging.root), KEY).remove()
        assert staging.is_complete(DIGEST)
    assert staging.remove()


def _hold(staging: Staging, held: multiprocessing.synchronize.Event, end: multiprocessing.synchronize.Event) -> None:
    with staging.hold_lock():
        held.set()
        end.wait(10)


def test_a_directory_that_another_process_uses_stays(staging: Staging) -> None:
    context = multiprocessing.get_context("fork")
    held, end = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(staging, held, end))
    other.start()
    try:
        assert held.wait(10)
        assert not staging.remove()
        assert staging.exists()
    finally:
        end.set()
        other.join(10)
    assert staging.remove()


def test_the_root_is_removed_with_its_last_directory(staging: Staging) -> None:
    other = Staging(str(staging.root), OTHER)
    staging.create()
    other.create()
    assert staging.remove()
    assert staging.root.exists()
    assert other.remove()
    assert not staging.root.exists()


def test_removing_what_is_not_there_is_no_error(staging: Staging) -> None:
    assert not staging.remove()


def _churn(staging: Staging, rounds: int) -> None:
    mine = digest_of(str(os.getpid()).encode())
    for _number in range(rounds):
        with staging.hold_lock():
            staging.get_partial_path(mine).write_bytes(DATA)
            staging.publish(mine)
            staging.discard(mine)
        staging.remove()


def test_concurrent_runs_never_lose_the_directory_that_they_use(staging: Staging) -> None:
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=_churn, args=(staging, 100)) for number in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0] * 4
    staging.remove()
    assert not staging.root.exists()


def test_a_directory_that_another_run_is_creating_is_complete_when_it_is_in_use(tmp_path: Path) -> None:
    """Two runs create it at once, after a third has removed it."""

    class Begun(Staging):
        def create(self) -> None:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    staging = Begun(str(tmp_path / "root"), KEY)
    with staging.hold_lock():
        staging.get_partial_path(DIGEST).write_bytes(DATA)


# -- abandoned transfers


def aged(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_transfer_that_nobody_came_back_to_is_removed_by_the_next(staging: Staging) -> None:
    old, recent, used = (Staging(str(staging.root), f"saved-{number:020x}") for number in (1, 2, 3))
    for transfer in (old, recent, used):
        stage(transfer, {DIGEST: DATA})
        (transfer.directory / "in_use").touch()
    with used.hold_lock():
        aged(old.directory, WEEK + 60)
        aged(recent.directory, WEEK - 60)
        aged(used.directory, WEEK + 60)
        staging.create()
        assert [transfer.exists() for transfer in (old, recent, used)] == [False, True, True]


def test_what_a_run_that_was_killed_while_it_cleaned_has_left_is_removed(staging: Staging) -> None:
    half = staging.root / f"{KEY}.removed-17-4"
    half.mkdir(parents=True)
    (half / "in_use").touch()
    staging.root.chmod(0o700)
    staging.create()
    assert not half.exists()


def test_coming_back_to_a_transfer_keeps_it(staging: Staging) -> None:
    staging.create()
    aged(staging.directory, WEEK + 60)
    staging.create()
    Staging(str(staging.root), OTHER).create()
    assert staging.exists()


@pytest.mark.parametrize(
    "name", ["data", "loaded-", "saved-" + "z" * 20, "backup-" + "0" * 20, KEY + ".old", KEY + ".removed-"]
)
def test_a_staging_dir_with_other_files_in_it_keeps_them(staging: Staging, name: str) -> None:
    """staging_dir is any directory of this user, such as its home."""
    other = staging.root / name
    (other / "precious").mkdir(parents=True)
    staging.root.chmod(0o700)
    (staging.root / "file").write_text("")
    for path in (other, staging.root / "file"):
        aged(path, 10 * WEEK)
    staging.create()
    assert staging.remove()
    assert tree(staging.root) == sorted([name, f"{name}/precious", "file"])


def test_a_link_to_an_old_directory_is_not_followed(tmp_path: Path, staging: Staging) -> None:
    (tmp_path / "precious" / "inner").mkdir(parents=True)
    aged(tmp_path / "precious", 10 * WEEK)
    staging.root.mkdir(mode=0o700)
    (staging.root / OTHER).symlink_to(tmp_path / "precious")
    staging.create()
    assert tree(tmp_path / "precious") == ["inner"]


def test_an_open_root_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    check_root(str(tmp_path / "not there yet"))
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ImageError, match="only user id"):
        check_root(str(tmp_path / "open"))
