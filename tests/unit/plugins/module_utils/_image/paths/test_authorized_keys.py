# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line in authorized_keys: what it permits, and that its addition and removal change no other line."""

from __future__ import annotations

import json
import multiprocessing
import os
import pwd
import re
import shlex
import stat
import sys
import time
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths import receiver
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths.authorized_keys import (
    authorize_key,
    get_authorized_keys_path,
    get_user,
    remove_staging,
    revoke_key,
    scan_host_keys,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import tree

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1h6Rxa3sq4GJXKUrXLX6OYt0J8mWdLhOJ7w1Y0bXcN"
SECOND = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBB3sq4GJXKUrXLX6OYt0J8mWdLhOJ7w1Y0bXcN"
FROM = ("10.0.3.17",)
HEX = "ab" * 32
NAME = "loaded-" + "0" * 20
OTHER_NAME = "loaded-" + "1" * 20
NOW = int(time.time())

# What administrators, tools and decades leave in such a file.
THEIRS = {
    "one key": b"ssh-ed25519 AAAA somebody@somewhere\n",
    "no newline at the end": b"ssh-rsa AAAA a\nssh-rsa BBBB b",
    "carriage returns": b"ssh-rsa AAAA a\r\nssh-rsa BBBB b\r\n",
    "comments and empty lines": b"# keys of the team\n\n\n  ssh-rsa AAAA a  \n\t\n",
    "options with spaces": b'command="echo a b c",no-pty ssh-rsa AAAA a\n',
    "latin-1": b"ssh-rsa AAAA J\xfcrgen\n",
    "no text at all": b"\x00\xff\xfe\n",
    "separators of other alphabets": "ssh-rsa AAAA a\u2028b\x0bc\x0cd\x1ce\x85f\n".encode(),
    "empty": b"",
    "only a newline": b"\n",
    "a comment like ours": b"ssh-rsa AAAA daytwo-image-transfer\nssh-rsa AAAA x-daytwo-image-transfer loaded-1 1\n",
    "ours as text": b"# daytwo-image-transfer\nssh-rsa AAAA daytwo-image-transfer for the fleet\n",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(str(tmp_path / "root"), NAME)


def keys(home: Path) -> Path:
    return home / ".ssh" / "authorized_keys"


def write(home: Path, content: bytes, mode: int = 0o600) -> Path:
    path = keys(home)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def permit(staging: Staging, home: Path, key: str = KEY, seconds: int = 60, **more: Any) -> None:
    authorize_key(staging, key, more.get("addresses", FROM), more.get("sizes", {HEX: 3}), seconds, home)


def ours(home: Path) -> list[bytes]:
    return [line for line in keys(home).read_bytes().split(b"\n") if b'command="' in line and b"receive.py" in line]


def test_the_line_permits_a_single_command_from_a_single_address_until_it_expires(staging: Staging, home: Path) -> None:
    began = time.time()
    permit(staging, home, seconds=900)
    line = keys(home).read_text()
    found = re.fullmatch(
        r'restrict,expiry-time="(\d{14})",from="10\.0\.3\.17",command="([^"]+)" (ssh-ed25519 \S+) [^\n]+\n', line
    )
    assert found, line
    assert found[3] == KEY
    expires = time.mktime(time.strptime(found[1], "%Y%m%d%H%M%S"))
    assert began + 899 <= expires <= time.time() + 901
    python, isolated, no_cache, script, grant = shlex.split(found[2])
    assert (python, isolated, no_cache) == (sys.executable, "-I", "-B")
    granted = json.loads((staging.directory / grant).read_text())
    assert granted["sizes"] == {HEX: 3}
    assert granted["expires"] == pytest.approx(expires, abs=2)
    assert Path(script).parent == staging.directory
    assert Path(script).read_text() == Path(str(receiver.__file__)).read_text()
    assert stat.S_IMODE(Path(script).stat().st_mode) == 0o600
    assert (stat.S_IMODE(keys(home).stat().st_mode), stat.S_IMODE(keys(home).parent.stat().st_mode)) == (0o600, 0o700)


@pytest.mark.parametrize("name", THEIRS)
def test_what_was_in_the_file_stays_byte_for_byte(staging: Staging, home: Path, name: str) -> None:
    path = write(home, THEIRS[name])
    permit(staging, home)
    assert len(ours(home)) == 1
    assert path.read_bytes().startswith(THEIRS[name])
    assert len(path.read_bytes()[len(THEIRS[name]) :].split()) > 5
    assert path.read_bytes().endswith(b"\n") == (THEIRS[name] == b"" or THEIRS[name].endswith(b"\n"))
    assert revoke_key(staging, KEY, home) is True
    assert path.read_bytes() == THEIRS[name]


@pytest.mark.parametrize("name", THEIRS)
def test_nothing_is_written_where_there_is_nothing_to_revoke(staging: Staging, home: Path, name: str) -> None:
    path = write(home, THEIRS[name])
    before = path.stat()
    assert revoke_key(staging, KEY, home) is False
    assert path.read_bytes() == THEIRS[name]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_where_there_was_no_file_there_is_none_afterwards(staging: Staging, home: Path) -> None:
    permit(staging, home)
    assert revoke_key(staging, KEY, home) is True
    assert not keys(home).exists()
    assert revoke_key(staging, KEY, home) is False
    assert tree(home) == [".ssh"]


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o644])
def test_the_mode_stays(staging: Staging, home: Path, mode: int) -> None:
    path = write(home, THEIRS["one key"], mode)
    permit(staging, home)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    revoke_key(staging, KEY, home)
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(staging: Staging, home: Path) -> None:
    path = write(home, THEIRS["one key"])
    os.chown(path, 1234, 2345)
    permit(staging, home)
    revoke_key(staging, KEY, home)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_a_link_stays_a_link_and_the_file_behind_it_is_edited(staging: Staging, home: Path, tmp_path: Path) -> None:
    real = tmp_path / "managed" / "keys"
    real.parent.mkdir()
    real.write_bytes(THEIRS["one key"])
    keys(home).parent.mkdir()
    keys(home).symlink_to(real)
    permit(staging, home)
    assert keys(home).is_symlink()
    assert real.read_bytes().startswith(THEIRS["one key"])
    assert len(ours(home)) == 1
    revoke_key(staging, KEY, home)
    assert (keys(home).is_symlink(), real.read_bytes()) == (True, THEIRS["one key"])


def line_of(name: str, expires: int, key: str = SECOND) -> bytes:
    """A line that an earlier run has left."""
    return f'restrict,command="x receive.py" {key} daytwo-image-transfer {name} {expires}\n'.encode()


def test_lines_of_ours_that_have_expired_go_and_nobody_else_s(staging: Staging, home: Path) -> None:
    theirs = b"ssh-rsa AAAA a\nssh-rsa BBBB daytwo-image-transfer loaded-x never\n"
    live = line_of(OTHER_NAME, NOW + 600)
    path = write(home, line_of(OTHER_NAME, NOW - 1) + theirs + live + line_of("loaded-" + "2" * 20, NOW - 86400))
    permit(staging, home)
    assert path.read_bytes().startswith(theirs + live)
    assert len(ours(home)) == 2
    assert revoke_key(staging, KEY, home) is True
    assert path.read_bytes() == theirs + live


def test_a_permission_that_is_given_again_replaces_the_first(staging: Staging, home: Path) -> None:
    """A connection that drops while the module runs: the controller calls it again."""
    path = write(home, THEIRS["one key"])
    permit(staging, home)
    permit(staging, home)
    assert len(ours(home)) == 1
    revoke_key(staging, KEY, home)
    assert path.read_bytes() == THEIRS["one key"]


def test_two_runs_that_push_into_the_same_directory_do_not_revoke_each_other(staging: Staging, home: Path) -> None:
    """Two operators transfer the same images to the same host: each has its own key, and its own sizes."""
    permit(staging, home)
    permit(staging, home, SECOND, sizes={HEX: 3, "cd" * 32: 4})
    assert len(ours(home)) == 2
    for digest in (HEX, "cd" * 32):
        staging.get_path(f"sha256:{digest}").write_bytes(b"x")
    assert revoke_key(staging, KEY, home) is True
    (line,) = ours(home)
    assert SECOND.encode() in line
    assert len(list(staging.directory.glob("authorization-*.json"))) == 1
    # The first has loaded and would clean up; the second is still to push.
    assert remove_staging(staging, home) is False
    assert staging.exists()
    assert revoke_key(staging, SECOND, home) is True
    assert not keys(home).exists()
    assert remove_staging(staging, home) is True
    assert not staging.exists()


def test_a_permission_that_has_expired_does_not_keep_the_folder(staging: Staging, home: Path) -> None:
    permit(staging, home, seconds=-5)
    assert remove_staging(staging, home) is True


@pytest.mark.parametrize("complete", [True, False])
def test_blobs_stay_for_the_load_only_when_all_have_come(staging: Staging, home: Path, complete: bool) -> None:
    permit(staging, home, sizes={HEX: 3, "cd" * 32: 4})
    staging.get_path(f"sha256:{HEX}").write_bytes(b"x")
    if complete:
        staging.get_path(f"sha256:{'cd' * 32}").write_bytes(b"x")
    revoke_key(staging, KEY, home)
    assert staging.exists() == complete
    assert list(staging.directory.glob("authorization-*.json")) == []


def test_without_a_key_every_permission_for_the_folder_goes(staging: Staging, home: Path) -> None:
    path = write(home, THEIRS["one key"])
    permit(staging, home)
    permit(staging, home, SECOND)
    assert revoke_key(staging, None, home) is True
    assert path.read_bytes() == THEIRS["one key"]
    assert not staging.exists()


def test_who_it_is_does_not_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After su, LOGNAME and USER may name who called it; sshd goes by the user database."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert get_user() == pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get_authorized_keys_path() == Path(pwd.getpwuid(os.geteuid()).pw_dir).resolve() / ".ssh" / "authorized_keys"


def test_two_transfers_do_not_revoke_each_other(home: Path, tmp_path: Path) -> None:
    first, second = (Staging(str(tmp_path / "root"), name) for name in (NAME, OTHER_NAME))
    permit(first, home)
    permit(second, home, SECOND)
    assert revoke_key(first, KEY, home) is True
    (line,) = ours(home)
    assert SECOND.encode() in line


def _permit_and_revoke(home: Path, root: Path, number: int, keep: bool) -> None:
    staging = Staging(str(root), f"loaded-{number:020}")
    for _round in range(5):
        permit(staging, home)
        if not keep:
            revoke_key(staging, KEY, home)


def test_many_at_once_lose_no_line(home: Path, tmp_path: Path) -> None:
    write(home, THEIRS["no newline at the end"])
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=_permit_and_revoke, args=(home, tmp_path / "root", number, number % 2 == 0))
        for number in range(6)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 6
    assert len(ours(home)) == 3
    assert keys(home).read_bytes().startswith(THEIRS["no newline at the end"] + b"\n")
    assert sorted(path.name for path in keys(home).parent.iterdir()) == ["authorized_keys"]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ssh-ed25519",
        "ssh-rsa AAAA",
        f"{KEY}\n{SECOND}",
        f"{KEY}\n",
        f"{KEY} comment",
        f'command="sh" {KEY}',
        f"{KEY}\r",
        f"{KEY}\x00",
        "ssh-ed25519 AAA=A",
        "ssh-ed25519  AAAA",
        "ssh-ed25519 AAAÄ",
    ],
)
def test_only_a_bare_key_is_taken(staging: Staging, home: Path, key: str) -> None:
    with pytest.raises(ImageError, match="public_key: is not an Ed25519 public key"):
        permit(staging, home, key)
    assert not keys(home).exists()


@pytest.mark.parametrize(
    "addresses",
    [
        (),
        ("",),
        ("*",),
        ("10.0.0.1", "*"),
        ("10.0.0.0/8",),
        ("host.example",),
        ('10.0.0.1",command="sh',),
        ("10.0.0.1\n",),
        ("10.0.0.1,*",),
        ("!10.0.0.1",),
        ("10.0.0.?",),
        ("1",),
        ("10.0.0",),
        (":::",),
        ("fe80::1%eth0",),
    ],
)
def test_only_addresses_are_taken(staging: Staging, home: Path, addresses: tuple[str, ...]) -> None:
    with pytest.raises(ImageError, match="must be IP addresses of the source"):
        permit(staging, home, addresses=addresses)
    assert not keys(home).exists()


def test_addresses_of_either_kind(staging: Staging, home: Path) -> None:
    permit(staging, home, addresses=("10.0.0.1", "2001:db8::1"))
    assert b'from="10.0.0.1,2001:db8::1"' in ours(home)[0]


@pytest.mark.parametrize("name", ['a"b', "a'b", "a\nb", "a\rb", 'x\nssh-rsa AAAA evil\n#"', "a\0b"])
def test_no_folder_s_name_becomes_a_line_of_its_own(tmp_path: Path, home: Path, name: str) -> None:
    write(home, THEIRS["one key"])
    with pytest.raises(ImageError, match="staging_dir"):
        permit(Staging(str(tmp_path / name), NAME), home)
    assert keys(home).read_bytes() == THEIRS["one key"]


@pytest.mark.parametrize("name", ["with space", "a$(id)b", "a;b", "a\\b", "ä", "a%b", "-x", "a,b", "a#b"])
def test_a_folder_with_a_strange_name_is_quoted(tmp_path: Path, home: Path, name: str) -> None:
    staging = Staging(str(tmp_path / name), NAME)
    permit(staging, home)
    command = ours(home)[0].decode().split('command="')[1].split('"')[0]
    assert str(staging.directory / "receive.py") in shlex.split(command)


def test_a_file_that_cannot_be_edited_is_reported(staging: Staging, home: Path) -> None:
    (home / ".ssh").write_text("no directory")
    with pytest.raises(ImageError, match=r"transport: cannot edit .*authorized_keys: "):
        permit(staging, home)


def scan(lines: str, error: Optional[OSError] = None) -> Any:
    """A server that has these keys."""

    def run(command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        if error:
            raise error
        requested_ports = [word for word in command if word not in ("-t", "ed25519")]
        assert requested_ports in [["ssh-keyscan", "-T", "5", "-p", port, "127.0.0.1"] for port in ("2222", "22")]
        kind = command[command.index("-t") + 1] if "-t" in command else ""
        return 0, "".join(line for line in lines.splitlines(True) if kind in line), ""

    return run


def test_the_host_s_own_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    head, port = "# 127.0.0.1:2222 SSH-2.0-OpenSSH_9.2\n", "[127.0.0.1]:2222"
    lines = f"{head}{port} ssh-ed25519 AAAA\n{port} ssh-rsa BBBB\n"
    assert scan_host_keys(2222, scan(lines)) == ["ssh-ed25519 AAAA"]
    # All that there are, where there is none of this kind.
    lines = f"{head}{port} ecdsa-sha2-nistp256 AAAA\n{port} ssh-rsa BBBB\n"
    assert scan_host_keys(2222, scan(lines)) == ["ecdsa-sha2-nistp256 AAAA", "ssh-rsa BBBB"]
    with pytest.raises(ImageError, match="no SSH server answers at this host's loopback, port 2222, 22"):
        scan_host_keys(2222, scan("# 127.0.0.1:2222\n"))
    with pytest.raises(ImageError, match=r"ssh-keyscan cannot run on this host: .* Install the OpenSSH client"):
        scan_host_keys(2222, scan("", FileNotFoundError(2, "No such file or directory")))


def test_once_the_images_are_loaded_no_permission_to_push_them_stays(home: Path, staging: Staging) -> None:
    """Those of killed runs are removed. Another transfer's stays, and so does the directory while a process uses it."""
    other = Staging(str(staging.root), OTHER_NAME)
    for folder, key in ((staging, KEY), (staging, SECOND), (other, KEY)):
        authorize_key(folder, key, FROM, {HEX: 5}, 900, home)
    with staging.hold_lock():
        assert remove_staging(staging, home, loaded=True) is False
    (line,) = get_authorized_keys_path(home).read_text().splitlines()
    assert OTHER_NAME in line
    assert remove_staging(staging, home, loaded=True) is True
    assert not staging.directory.exists()
    assert other.directory.exists()


def test_the_key_of_a_server_behind_a_forwarded_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens here at the port by which the source comes; the controller came by the server's own."""
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 50000 10.0.0.2 2022")
    requested_ports = []

    def run(command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        requested_ports.append(command[command.index("-p") + 1])
        return 0, "[127.0.0.1]:2022 ssh-ed25519 AAAA\n" if requested_ports[-1] == "2022" else "", ""

    assert scan_host_keys(45439, run) == ["ssh-ed25519 AAAA"]
    assert requested_ports == ["45439", "45439", "2022"]
