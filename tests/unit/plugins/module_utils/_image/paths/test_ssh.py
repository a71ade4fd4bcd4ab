# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source's side of a push, against a real sshd: what arrives, what is refused, and what is reported."""

from __future__ import annotations

import io
import os
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.blobs import BlobDescriptor, BlobSource, TransferRequest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.http.errors import HttpError
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import DOCKER_LAYER, get_digest_hex
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths import ssh
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths.authorized_keys import revoke_key, scan_host_keys
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths.ssh import (
    EphemeralKey,
    PushAuthorization,
    PushOutcome,
    get_own_address,
    push,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from ansible_collections.daytwo.aws.plugins.module_utils._image.throttle import NO_LIMIT, Throttle
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import digest_of, nothing, tree
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.sshd import (
    Link,
    Server,
    needs_sshd,
    run,
    servers,
)

SMALL, LARGE = b"a small blob", bytes(range(256)) * 4096 * 6  # 6 MiB
SMALL_HEX = get_digest_hex(digest_of(SMALL))


class Blobs(BlobSource):
    """What a source has; C(opened) are the offsets from which it was read."""

    def __init__(self, *contents: bytes, media_type: str = "application/x") -> None:
        self.content = {digest_of(data): data for data in contents}
        self.pieces = {
            digest: BlobDescriptor(digest, len(data), media_type, "registry.test/app:v1")
            for digest, data in self.content.items()
        }
        self.sizes = {digest: len(data) for digest, data in self.content.items()}
        self.opened: list[tuple[str, int]] = []
        self.fail: Callable[[bytes], Any] = io.BytesIO

    @property
    def digests(self) -> list[str]:
        return list(self.content)

    @property
    def arrived(self) -> dict[str, bytes]:
        return {get_digest_hex(digest): data for digest, data in self.content.items()}

    @contextmanager
    def open(self, transfer: TransferRequest) -> Iterator[Any]:
        self.opened.append((transfer.digest, transfer.offset))
        yield self.fail(self.content[transfer.digest][transfer.offset :])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with servers(tmp_path) as (sshd,):
        yield sshd


@pytest.fixture
def source(tmp_path: Path) -> Staging:
    staging = Staging(str(tmp_path / "source"), "push-" + "0" * 32)
    staging.create()
    return staging


@pytest.fixture
def key(source: Staging) -> Iterator[EphemeralKey]:
    needs_sshd()
    made = EphemeralKey(source.directory, run)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow one another at once; the pauses between them are no part of what is tested."""
    sleep = time.sleep
    monkeypatch.setattr(ssh.time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))


def pushed(
    grants: Sequence[PushAuthorization], blobs: Blobs, key: EphemeralKey, source: Staging, **more: Any
) -> list[PushOutcome]:
    throttle, progress = more.get("throttle", NO_LIMIT), more.get("progress", nothing)
    return push(grants, blobs.pieces, blobs, key, source, throttle, progress, run)


OWN = "chacha20-poly1305@openssh.com,aes128-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com"
AES_FIRST = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr"


@pytest.mark.parametrize(
    ("cpu", "result", "ciphers"),
    [
        ("model name\t: x\nflags\t\t: fpu aes sse\n", (0, f"port 22\nciphers {OWN}\n", ""), AES_FIRST),
        ("Features\t: fp asimd aes pmull\n", (0, f"ciphers {OWN}\n", ""), AES_FIRST),
        ("flags\t\t: fpu aes\n", (0, "ciphers aes128-ctr,aes128-cbc\n", ""), "aes128-ctr,aes128-cbc"),
        ("flags\t\t: fpu vaes\n", (0, f"ciphers {OWN}\n", ""), None),
        ("", (0, f"ciphers {OWN}\n", ""), None),
        ("flags\t\t: aes\n", (255, "", "unknown option -- G"), None),
    ],
    ids=["x86", "arm", "no GCM", "no AES", "prints nothing", "old client"],
)
def test_the_client_s_own_ciphers_are_requested_in_the_order_of_the_processor(
    tmp_path: Path, cpu: str, result: tuple[int, str, str], ciphers: Optional[str]
) -> None:
    (tmp_path / "cpuinfo").write_text(cpu)
    assert ssh.choose_fast_ciphers(lambda *_dummy: result, tmp_path / "cpuinfo") == ciphers


def test_a_host_without_ssh_has_no_ciphers_to_order(tmp_path: Path) -> None:
    def run(*_dummy: Any) -> Any:
        raise FileNotFoundError("ssh")

    (tmp_path / "cpuinfo").write_text("flags\t: aes\n")
    assert ssh.choose_fast_ciphers(run, tmp_path / "cpuinfo") is None
    assert ssh.choose_fast_ciphers(run, tmp_path / "none") is None


def test_blobs_arrive_and_only_once(server: Server, source: Staging, key: EphemeralKey) -> None:
    blobs = Blobs(SMALL, LARGE, b"")
    server.permit(key, blobs.sizes)
    reports: list[tuple[str, int, int]] = []
    grant = server.grant(blobs.digests)
    (outcome,) = pushed([grant], blobs, key, source, progress=lambda *message: reports.append(message))
    assert outcome == PushOutcome("one", len(SMALL) + len(LARGE), None, blobs.digests)
    assert server.held() == blobs.arrived
    assert reports[-1] == ("pushing to one", outcome.bytes_sent, outcome.bytes_sent)
    assert [done for _doing, done, _all in reports] == sorted(done for _doing, done, _all in reports)

    blobs.opened.clear()
    assert pushed([grant], blobs, key, source) == [PushOutcome("one", 0, None, [])]
    assert blobs.opened == []
    assert tree(source.directory) == ["blobs"], "no key, no known_hosts"


def test_what_is_there_in_part_is_gone_on_from(server: Server, source: Staging, key: EphemeralKey) -> None:
    blobs = Blobs(LARGE)
    server.permit(key, blobs.sizes)
    (server.staging.directory / "blobs" / f"{get_digest_hex(digest_of(LARGE))}.part").write_bytes(LARGE[:5_000_000])
    (outcome,) = pushed([server.grant(blobs.digests)], blobs, key, source)
    assert (outcome.bytes_sent, outcome.error) == (len(LARGE) - 5_000_000, None)
    assert blobs.opened == [(digest_of(LARGE), 5_000_000)]
    assert server.held() == blobs.arrived


def test_a_connection_that_breaks_in_mid_blob_goes_on_behind_what_has_arrived(
    server: Server, source: Staging, key: EphemeralKey
) -> None:
    blobs = Blobs(SMALL, LARGE)
    server.permit(key, blobs.sizes)
    link = Link(server.port, 2_000_000, 1_500_000)
    try:
        (outcome,) = pushed([server.grant(blobs.digests, port=link.port)], blobs, key, source)
    finally:
        link.close()
    assert (outcome.error, link.broken) == (None, 2)
    assert server.held() == blobs.arrived
    assert server.accepted() == 3
    offsets = [offset for digest, offset in blobs.opened if digest == digest_of(LARGE)]
    assert len(offsets) == 3
    assert 0 == offsets[0] < offsets[1] < offsets[2]
    assert [digest for digest, _offset in blobs.opened].count(digest_of(SMALL)) == 1


def test_a_link_that_always_breaks_is_given_up(server: Server, source: Staging, key: EphemeralKey) -> None:
    blobs = Blobs(SMALL)
    server.permit(key, blobs.sizes)
    link = Link(server.port, *[1] * 20)
    try:
        (outcome,) = pushed([server.grant(blobs.digests, port=link.port)], blobs, key, source)
    finally:
        link.close()
    assert link.broken == 5
    assert outcome.error is not None
    assert outcome.error.startswith("one: the connection ended. ")
    assert server.held() == {}


def test_another_host_key_is_refused_and_nothing_is_sent(server: Server, source: Staging, key: EphemeralKey) -> None:
    blobs = Blobs(SMALL)
    server.permit(key, blobs.sizes)
    wrong = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1h6Rxa3sq4GJXKUrXLX6OYt0J8mWdLhOJ7w1Y0bXcN"
    (outcome,) = pushed([server.grant(blobs.digests, host_keys=[wrong])], blobs, key, source)
    assert outcome.bytes_sent == 0
    assert f"the SSH server at 127.0.0.1 port {server.port} has another host key than the target reported" in str(
        outcome.error
    )
    assert "Nothing was sent. Set image_transfer_address and image_transfer_port" in str(outcome.error)
    assert (server.held(), server.accepted(), blobs.opened) == ({}, 0, [])


def test_the_host_key_that_the_target_reports_is_the_server_s(server: Server) -> None:
    assert scan_host_keys(server.port, run) == [server.host_key]


def test_a_key_that_is_not_authorized_is_reported(server: Server, source: Staging, key: EphemeralKey) -> None:
    blobs = Blobs(SMALL)
    server.permit(key, blobs.sizes)
    assert revoke_key(server.staging, key.public_key, server.home) is True
    (outcome,) = pushed([server.grant(blobs.digests)], blobs, key, source)
    assert "sshd rejected the key that was authorized for user" in str(outcome.error)
    assert "Permission denied (publickey)" in str(outcome.error)


def test_nobody_listens(source: Staging, key: EphemeralKey, server: Server) -> None:
    blobs = Blobs(SMALL)
    link = Link(server.port)
    link.close()
    (outcome,) = pushed([server.grant(blobs.digests, port=link.port)], blobs, key, source)
    assert "Connection refused" in str(outcome.error)


def test_a_rejection_of_the_receiver_is_quoted(server: Server, source: Staging, key: EphemeralKey) -> None:
    blobs = Blobs(SMALL, LARGE)
    server.permit(key, {**blobs.sizes, digest_of(LARGE): 5})
    (outcome,) = pushed([server.grant(blobs.digests)], blobs, key, source)
    assert (
        outcome.error
        == f"one: the receiver rejected the push: {get_digest_hex(digest_of(LARGE))} is authorized with 5 bytes."
    )
    assert server.held() == {get_digest_hex(digest_of(SMALL)): SMALL}
    assert outcome.digests == [digest_of(SMALL)]


@pytest.mark.parametrize(
    "answer",
    [
        "5",
        "null",
        "[]",
        "{}",
        '{"complete": 1, "have": {}}',
        '{"have": {}, "complete": []}',
        f'{{"have": {{"{SMALL_HEX}": -5}}, "complete": []}}',
        "Welcome!",
        "",
        "[[[[",
        "NaN",
        "[" * 100_000,
    ],
    ids=lambda answer: str(answer)[:30] or "nothing",
)
def test_something_else_that_answers_costs_only_that_target(
    tmp_path: Path, source: Staging, key: EphemeralKey, answer: str
) -> None:
    """A login script that prints, a forced command of the administrator's: whatever comes is no reason to fall over."""
    blobs = Blobs(SMALL)
    with servers(tmp_path, 2) as (strange, good):
        good.permit(key, blobs.sizes)
        (tmp_path / "answer").write_text(answer + "\n" if answer else "")
        strange.keys.write_text(f'command="cat {tmp_path}/answer",restrict {key.public_key}\n')
        grants = [strange.grant(blobs.digests, "strange"), good.grant(blobs.digests, "good")]
        failed, done = pushed(grants, blobs, key, source)
        assert failed.error is not None
        assert failed.error.startswith("strange: ")
        assert done == PushOutcome("good", len(SMALL), None, blobs.digests)
        assert good.held() == blobs.arrived


def test_several_targets_in_parallel_and_a_target_that_fails(
    tmp_path: Path, source: Staging, key: EphemeralKey
) -> None:
    blobs = Blobs(SMALL, LARGE)
    with servers(tmp_path, 3) as found:
        for server in (found[0], found[2]):
            server.permit(key, blobs.sizes)
        outcomes = pushed(
            [server.grant(blobs.digests, str(number)) for number, server in enumerate(found)], blobs, key, source
        )
        assert [outcome.host for outcome in outcomes] == ["0", "1", "2"]
        assert [outcome.error is None for outcome in outcomes] == [True, False, True]
        assert [server.held() for server in found] == [blobs.arrived, {}, blobs.arrived]


class Broken:
    """A registry that stops in the middle."""

    def __init__(self, data: bytes, error: Exception) -> None:
        self._data, self._error = io.BytesIO(data[: len(data) // 2]), error

    def read(self, size: int) -> bytes:
        data = self._data.read(size)
        if not data:
            raise self._error
        return data


@pytest.mark.parametrize(
    ("error", "attempts", "message"),
    [
        (HttpError("GET", "http://registry.test/v2/", "the answer broke off", retryable=True), 5, "broke off"),
        (HttpError("GET", "http://registry.test/v2/", "404 not found", status=404), 1, "404 not found"),
        (ImageError("the blob is damaged"), 1, "the blob is damaged"),
        (OSError(5, "Input/output error", "/staging/blobs/x"), 1, "Input/output error"),
    ],
)
def test_what_goes_wrong_on_the_source_is_not_blamed_on_the_target(
    server: Server, source: Staging, key: EphemeralKey, error: Exception, attempts: int, message: str
) -> None:
    blobs = Blobs(LARGE)
    blobs.fail = lambda data: Broken(data, error)
    server.permit(key, blobs.sizes)
    (outcome,) = pushed([server.grant(blobs.digests)], blobs, key, source)
    assert message in str(outcome.error)
    assert "the connection broke" not in str(outcome.error)
    assert len(blobs.opened) == attempts
    assert [name for name in server.held() if not name.endswith(".part")] == []


def test_a_source_whose_blob_became_shorter_is_reported(server: Server, source: Staging, key: EphemeralKey) -> None:
    blobs = Blobs(LARGE)
    blobs.fail = lambda data: io.BytesIO(data[:-1])
    server.permit(key, blobs.sizes)
    (outcome,) = pushed([server.grant(blobs.digests)], blobs, key, source)
    assert f"{digest_of(LARGE)} ended 1 bytes early on the source" in str(outcome.error)


def test_two_runs_to_the_same_target_at_once_both_succeed(tmp_path: Path, server: Server) -> None:
    """Each with its own key and its own authorization, for the same blobs in the same directory."""
    blobs = Blobs(SMALL, LARGE)
    outcomes: list[PushOutcome] = []

    def push_once(number: int) -> None:
        staging = Staging(str(tmp_path / "source"), f"push-{number:032}")
        staging.create()
        key = EphemeralKey(staging.directory, run)
        server.permit(key, blobs.sizes)
        outcomes.extend(pushed([server.grant(blobs.digests)], blobs, key, staging))
        key.close()

    threads = [threading.Thread(target=push_once, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert server.held() == blobs.arrived


def test_the_limit_holds_for_all_targets_together(tmp_path: Path, source: Staging, key: EphemeralKey) -> None:
    blobs = Blobs(b"x" * 600_000)
    with servers(tmp_path, 2) as found:
        for server in found:
            server.permit(key, blobs.sizes)
        began = time.monotonic()
        grants = [server.grant(blobs.digests, str(number)) for number, server in enumerate(found)]
        throttle = Throttle(600_000, sleep=_real_sleep)
        outcomes = pushed(grants, blobs, key, source, throttle=throttle)
        # 1.2 MB in chunks of 0.6 MB: the last one begins a second after the first.
        assert time.monotonic() - began >= 1.0
        assert [outcome.error for outcome in outcomes] == [None, None]


_real_sleep = time.sleep
TEXT = b"".join(b"line %d of a layer\n" % number for number in range(150_000))  # 3 MB
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


@pytest.mark.parametrize("media_type", [DOCKER_LAYER, OCI_LAYER])
def test_a_slow_wire_gets_layers_compressed(
    server: Server, source: Staging, key: EphemeralKey, media_type: str
) -> None:
    noise = os.urandom(300_000)
    blobs = Blobs(TEXT + noise + TEXT[:500_000], SMALL, media_type=media_type)
    server.permit(key, blobs.sizes)
    reports: list[int] = []
    (outcome,) = pushed(
        [server.grant(blobs.digests)],
        blobs,
        key,
        source,
        throttle=Throttle(2_000_000, sleep=_real_sleep),
        progress=lambda _doing, done, in_all: reports.extend((done, in_all)),
    )
    assert (outcome.error, outcome.digests) == (None, blobs.digests)
    assert server.held() == blobs.arrived
    assert len(noise) < outcome.bytes_sent < len(TEXT) / 2, "on the wire"
    assert set(reports[1::2]) == {sum(blobs.sizes.values())}, "of the blobs"
    assert reports[-2] == reports[-1]


@pytest.mark.parametrize("media_type", [f"{OCI_LAYER}+gzip", f"{OCI_LAYER}+zstd", f"{DOCKER_LAYER}.gzip", "x/config"])
def test_nothing_else_is_compressed_however_slow_the_wire(
    server: Server, source: Staging, key: EphemeralKey, media_type: str
) -> None:
    blobs = Blobs(TEXT[:1_000_000], media_type=media_type)
    server.permit(key, blobs.sizes)
    throttle = Throttle(2_000_000, sleep=_real_sleep)
    (outcome,) = pushed([server.grant(blobs.digests)], blobs, key, source, throttle=throttle)
    assert (outcome.error, outcome.bytes_sent) == (None, 1_000_000)
    assert server.held() == blobs.arrived


def test_a_connection_that_breaks_amid_compressed_frames_continues_behind_the_last_complete_frame(
    server: Server, source: Staging, key: EphemeralKey
) -> None:
    blobs = Blobs(TEXT * 3, media_type=DOCKER_LAYER)
    server.permit(key, blobs.sizes)
    link = Link(server.port, 700_000, 600_000)
    try:
        grant = server.grant(blobs.digests, port=link.port)
        (outcome,) = pushed([grant], blobs, key, source, throttle=Throttle(2_000_000, sleep=_real_sleep))
    finally:
        link.close()
    assert (outcome.error, link.broken) == (None, 2)
    assert server.held() == blobs.arrived
    offsets = [offset for _digest, offset in blobs.opened]
    assert 0 == offsets[0] < offsets[1] < offsets[2]


def test_the_key_is_in_memory_only(source: Staging) -> None:
    needs_sshd()
    commands = []

    def watching(command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        commands.append(command)
        before = os.umask(0)
        try:
            answer = run(command, text, descriptors)
        finally:
            os.umask(before)
        # For this moment it is a file, for its owner alone.
        assert stat.S_IMODE((source.directory / "key").stat().st_mode) == 0o600
        return answer

    key = EphemeralKey(source.directory, watching)
    assert tree(source.directory) == ["blobs"]
    assert key.public_key.startswith("ssh-ed25519 AAAA")
    private = Path(key.path)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert private.read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    assert "memfd:key" in os.readlink(key.path)
    assert not any("PRIVATE" in word for command in commands for word in command)
    key.close()
    assert not private.exists()


def test_a_key_that_a_killed_run_has_left_is_replaced(source: Staging) -> None:
    needs_sshd()
    (source.directory / "key").write_text("old")
    key = EphemeralKey(source.directory, run)
    assert "old" not in Path(key.path).read_text()
    key.close()
    assert tree(source.directory) == ["blobs"]


def test_a_source_without_openssh_is_reported(source: Staging) -> None:
    def missing(command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        raise FileNotFoundError(2, "No such file or directory", command[0])

    def failing(command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        return 1, "", "unknown key type ed25519\n"

    with pytest.raises(
        ImageError, match=r"cannot create a key on the source: .*ssh-keygen.*Install OpenSSH's client on the source"
    ):
        EphemeralKey(source.directory, missing)
    with pytest.raises(ImageError, match="ssh-keygen failed on the source: unknown key type"):
        EphemeralKey(source.directory, failing)
    assert tree(source.directory) == ["blobs"]


def test_the_address_as_a_target_sees_it() -> None:
    assert get_own_address("127.0.0.1", 22) == "127.0.0.1"
    with pytest.raises(
        ImageError, match=r"the source has no route to no-such-host.invalid: .*Set image_transfer_address"
    ):
        get_own_address("no-such-host.invalid", 22)
