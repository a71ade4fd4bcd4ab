# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forced command, run as sshd runs it: it writes the authorized blobs into its own directory, whatever it gets."""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import os
import resource
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths import receiver
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths.authorized_keys import remove_staging
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import tree

DATA = b"content of a blob"
HEX = hashlib.sha256(DATA).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()
STRANGE = hashlib.sha256(b"not announced").hexdigest()
SIZE = len(DATA)
GRANT = "authorization-0.json"
MIB = 1024 * 1024


def head(name: Any = HEX, offset: Any = 0, length: Any = SIZE, size: Any = SIZE) -> bytes:
    return json.dumps({"hex": name, "offset": offset, "length": length, "size": size}).encode() + b"\n"


def frame(data: bytes, kind: bytes = receiver.RAW) -> bytes:
    return receiver.build_frame_head(kind, len(data)) + data


def deflated(data: bytes) -> bytes:
    return frame(zlib.compress(data, 1), receiver.DEFLATED)


FRAME = frame(DATA)
HALF = len(FRAME) - len(DATA) + 7  # of the frame: 7 bytes of the blob


class Room:
    """A target's staging directory as C(authorize_key) leaves it, with a file beside it that must stay unchanged."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.directory = top / "staging" / "loaded-0"
        self.blobs = self.directory / "blobs"
        self.blobs.mkdir(parents=True)
        (self.directory / "receive.py").write_text(inspect.getsource(receiver))
        (top / "precious").write_text("precious")
        self.authorization({HEX: len(DATA), OTHER: 5})

    def authorization(self, sizes: dict[str, Any], expires: Optional[float] = None) -> None:
        expires = time.time() + 60 if expires is None else expires
        (self.directory / GRANT).write_text(json.dumps({"expires": expires, "sizes": sizes}))

    def start(self, original_command: Optional[str] = receiver.COMMAND, memory: int = 0) -> subprocess.Popen[bytes]:
        env = {"PATH": os.environ["PATH"]}
        if original_command is not None:
            env["SSH_ORIGINAL_COMMAND"] = original_command

        process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(self.directory / "receive.py"), GRANT],
            env=env,
            cwd=self.top,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if memory:
            resource.prlimit(process.pid, resource.RLIMIT_AS, (memory, memory))
        return process

    def talk(self, data: bytes, original_command: Optional[str] = receiver.COMMAND) -> tuple[int, list[Any], str]:
        """Exit status, answers, and what went to the error stream."""
        process = self.start(original_command)
        output, errors = process.communicate(data, timeout=30)
        return process.returncode, [json.loads(line) for line in output.splitlines()], errors.decode()

    def answer(self, data: bytes) -> tuple[int, list[Any]]:
        """Exit status and answers, without a process of its own; anything but an answer is an error of the test."""
        output = io.BytesIO()
        source = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]
        idle, receiver._IDLE_TIMEOUT_SECONDS = receiver._IDLE_TIMEOUT_SECONDS, 0
        try:
            code = receiver.receive(self.directory, GRANT, receiver.COMMAND, source, output)
        finally:
            receiver._IDLE_TIMEOUT_SECONDS = idle
        return code, [json.loads(line) for line in output.getvalue().splitlines()]

    def held(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.blobs.iterdir() if not path.is_symlink()}


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


@contextmanager
def untouched(room: Room) -> Iterator[None]:
    """Nothing is created or changed outside the directory of blobs, but for the lock."""

    def outside() -> dict[str, bytes]:
        return {
            name: (room.top / name).read_bytes()
            for name in tree(room.top)
            if (room.top / name).is_file() and not name.startswith("staging/loaded-0/blobs/") and "in_use" not in name
        }

    before = outside()
    yield
    assert outside() == before
    assert (room.top / "precious").read_text() == "precious"


def test_a_blob_arrives(room: Room) -> None:
    with untouched(room):
        code, responses, errors = room.talk(head() + FRAME + head(OTHER, 0, 5, 5) + frame(b"other"))
    assert (code, errors) == (0, "")
    assert responses == [
        {"have": {HEX: 0, OTHER: 0}, "complete": []},
        {"hex": HEX, "size": len(DATA)},
        {"hex": OTHER, "size": 5},
    ]
    assert room.held() == {HEX: DATA, OTHER: b"other"}
    assert (room.blobs / HEX).stat().st_mode & 0o777 == 0o600
    assert room.talk(b"")[1] == [{"have": {HEX: len(DATA), OTHER: 5}, "complete": [HEX, OTHER]}]


def test_an_empty_blob_arrives(room: Room) -> None:
    empty = hashlib.sha256(b"").hexdigest()
    room.authorization({empty: 0})
    assert room.talk(head(empty, 0, 0, 0))[1][1:] == [{"hex": empty, "size": 0}]
    assert room.held() == {empty: b""}


@pytest.mark.parametrize("kept", [0, 1, 5, len(DATA) - 1])
def test_what_came_before_the_connection_ended_is_kept_and_gone_on_from(room: Room, kept: int) -> None:
    code, responses, errors = room.talk(head() + FRAME[: len(FRAME) - len(DATA) + kept])
    assert (code, len(responses), errors) == (1, 1, "")
    assert room.held() == {f"{HEX}.part": DATA[:kept]}
    code, responses, _errors = room.talk(head(HEX, kept, len(DATA) - kept) + frame(DATA[kept:]))
    assert (code, responses[0]["have"][HEX], responses[0]["complete"]) == (0, kept, [])
    assert room.held() == {HEX: DATA}


def test_a_part_that_is_longer_than_the_offset_is_cut(room: Room) -> None:
    (room.blobs / f"{HEX}.part").write_bytes(b"content OF SOMETHING LONG, AND WRONG")
    assert room.talk(head(HEX, 7, len(DATA) - 7) + frame(DATA[7:]))[0] == 0
    assert room.held() == {HEX: DATA}


@pytest.mark.parametrize(
    "original_command",
    [
        None,
        "",
        " receive",
        "receive ",
        "receive; id",
        "sh -c id",
        "scp -t /tmp",
        "internal-sftp",
        "/usr/lib/openssh/sftp-server",
        "rsync --server . /",
        "receive\nid",
        "RECEIVE",
    ],
)
def test_any_other_command_is_refused(room: Room, original_command: Optional[str]) -> None:
    with untouched(room):
        code, responses, errors = room.talk(head() + FRAME, original_command)
    assert (code, responses, errors) == (1, [{"error": "this key is for 'receive' only"}], "")
    assert room.held() == {}


def test_a_grant_that_has_expired_is_refused(room: Room) -> None:
    room.authorization({HEX: len(DATA)}, time.time() - 1)
    assert room.talk(head() + FRAME)[:2] == (1, [{"error": "this key has expired"}])
    assert room.held() == {}


# Content that compression does not shorten, and content that it does, in chunks up to the limit.
PIECES = (os.urandom(70_000), b"a" * receiver.MAX_FRAME_BYTES, b"text " * 1000, b"x")


@pytest.mark.parametrize("kinds", ["zzzz", "rzrz", "zrzr", "rrrr"])
def test_compressed_frames_and_others_make_up_a_blob(room: Room, kinds: str) -> None:
    whole = b"".join(PIECES)
    name = hashlib.sha256(whole).hexdigest()
    room.authorization({name: len(whole)})
    frames = [deflated(piece) if kind == "z" else frame(piece) for kind, piece in zip(kinds, PIECES)]
    code, responses, errors = room.talk(head(name, 0, len(whole), len(whole)) + b"".join(frames))
    assert (code, responses[1:], errors) == (0, [{"hex": name, "size": len(whole)}], "")
    assert room.held() == {name: whole}


@pytest.mark.parametrize("cut", [1, 4, 5, 20])
def test_after_a_connection_that_ends_in_a_compressed_frame_the_next_continues_behind_the_last_complete_frame(
    room: Room, cut: int
) -> None:
    first, second = b"first " * 9, b"second" * 9
    name = hashlib.sha256(first + second).hexdigest()
    size = len(first + second)
    room.authorization({name: size})
    code, responses, errors = room.talk(head(name, 0, size, size) + deflated(first) + deflated(second)[:-cut])
    assert (code, len(responses), errors) == (1, 1, "")
    assert room.held() == {f"{name}.part": first}
    assert room.talk(head(name, len(first), len(second), size) + deflated(second))[0] == 0
    assert room.held() == {name: first + second}


def compressed(data: bytes) -> bytes:
    return zlib.compress(data, 9)


BOMB = frame(compressed(bytes(200 * MIB)), b"z")  # as long as a frame may be
TOO_BIG = receiver.MAX_FRAME_BYTES + 1
MANY = 8 * MIB
DAMAGED = "a compressed frame is damaged"
BAD_FRAMES = {
    # What is sent behind the announcement of MANY bytes, what is refused, and how many bytes of the blob are kept.
    "another kind": (frame(b"x", b"q"), "b'q' is not a frame type", 0),
    "no bytes": (frame(b""), f"a frame has 0 bytes, but 1 to {MANY} are allowed", 0),
    "no compressed bytes": (
        frame(b"", b"z"),
        f"a frame has 0 bytes, but 1 to {receiver.MAX_FRAME_BYTES} are allowed",
        0,
    ),
    "more than the blob": (
        receiver.build_frame_head(b"r", MANY + 1),
        f"a frame has {MANY + 1} bytes, but 1 to {MANY}",
        0,
    ),
    "more than is left": (
        frame(b"x") + receiver.build_frame_head(b"r", MANY),
        f"a frame has {MANY} bytes, but 1 to {MANY - 1} are allowed",
        1,
    ),
    "a compressed one over the limit": (
        receiver.build_frame_head(b"z", TOO_BIG),
        f"a frame has {TOO_BIG} bytes, but 1 to {receiver.MAX_FRAME_BYTES} are allowed",
        0,
    ),
    "a huge one": (receiver.build_frame_head(b"z", 2**32 - 1), f"but 1 to {receiver.MAX_FRAME_BYTES} are allowed", 0),
    "one byte too much in it": (deflated(b"x" * TOO_BIG), f"holds more than {receiver.MAX_FRAME_BYTES} bytes", 0),
    "a bomb": (BOMB, f"holds more than {receiver.MAX_FRAME_BYTES} bytes", 0),
    "a bomb at the end": (
        frame(bytes(MANY - 5)) + BOMB,
        "holds more than 5 bytes, the allowed maximum",
        MANY - 5,
    ),
    "nothing in it": (deflated(b""), DAMAGED, 0),
    "no zlib": (frame(b"no zlib stream", b"z"), DAMAGED, 0),
    "a gzip stream": (frame(b"\x1f\x8b\x08\0\0\0\0\0\0\3", b"z"), DAMAGED, 0),
    "another checksum": (frame(compressed(b"abc")[:-1] + b"!", b"z"), DAMAGED, 0),
    "other bytes": (frame(compressed(b"abc" * 99)[:5] + b"!!" + compressed(b"abc" * 99)[7:], b"z"), DAMAGED, 0),
    "its end is missing": (frame(compressed(b"abc")[:-1], b"z"), DAMAGED, 0),
    "something behind its end": (frame(compressed(b"abc") + b"x", b"z"), DAMAGED, 0),
    "two in one": (frame(compressed(b"abc") * 2, b"z"), DAMAGED, 0),
    "a dictionary of its own": (frame(b"\x78\xbb\0\0\0\0abc", b"z"), DAMAGED, 0),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_frame_that_cannot_be_a_part_of_the_blob_is_refused_with_a_message(room: Room, name: str) -> None:
    data, message, kept = BAD_FRAMES[name]
    room.authorization({HEX: MANY})
    with untouched(room):
        process = room.start(memory=96 * MIB)
        output, errors = process.communicate(head(HEX, 0, MANY, MANY) + data + b"more" * 9, timeout=30)
    responses = [json.loads(line) for line in output.splitlines()]
    assert (process.returncode, errors, len(responses)) == (1, b"", 2)
    assert f"{HEX}: " in responses[1]["error"]
    assert message in responses[1]["error"]
    assert {name: len(content) for name, content in room.held().items()} == {f"{HEX}.part": kept}
    # What came before it counts, and it still takes the rest.
    rest = frame(bytes(MANY - kept))
    assert room.answer(head(HEX, kept, MANY - kept, MANY) + rest)[1][-1] == {"hex": HEX, "size": MANY}


NOT_ANNOUNCED = "this blob is not authorized"
NO_COUNT = "offset, length and size must be numbers of bytes"
WRONG_SIZE = f"{HEX} is authorized with {len(DATA)} bytes"
NO_HEAD = "the line is not an announcement of a blob"
HOSTILE = {
    "another blob": (head(STRANGE), NOT_ANNOUNCED),
    "parent directory": (head("../../../precious"), NOT_ANNOUNCED),
    "two dots": (head(".."), NOT_ANNOUNCED),
    "one dot": (head("."), NOT_ANNOUNCED),
    "no name": (head(""), NOT_ANNOUNCED),
    "absolute path": (head("/etc/cron.d/x"), NOT_ANNOUNCED),
    "the name behind a slash": (head(f"../blobs/{HEX}"), NOT_ANNOUNCED),
    "the name and a slash": (head(f"{HEX}/x"), NOT_ANNOUNCED),
    "the name and a zero byte": (head(f"{HEX}\0"), NOT_ANNOUNCED),
    "the name in capitals": (head(HEX.upper()), NOT_ANNOUNCED),
    "the receiver": (head("../receive.py"), NOT_ANNOUNCED),
    "the authorization": (head(f"../{GRANT}"), NOT_ANNOUNCED),
    "the part": (head(f"{HEX}.part"), NOT_ANNOUNCED),
    "a name that is null": (head(None), NOT_ANNOUNCED),
    "a name that is a number": (head(1), NOT_ANNOUNCED),
    "a name that is a list": (head([HEX]), NOT_ANNOUNCED),
    "a name that is an object": (head({HEX: 1}), NOT_ANNOUNCED),
    "half a surrogate": (b'{"hex": "\\ud800", "offset": 0, "length": 1, "size": 1}\n', NOT_ANNOUNCED),
    "too long": (head(HEX, 0, len(DATA) + 1, len(DATA) + 1), WRONG_SIZE),
    "too short": (head(HEX, 0, 1, 1), WRONG_SIZE),
    "more than is announced to follow": (head(HEX, 0, len(DATA) + 1, len(DATA)), WRONG_SIZE),
    "less than is announced to follow": (head(HEX, 1, len(DATA) - 2, len(DATA)), WRONG_SIZE),
    "huge": (head(HEX, 0, 10**300, 10**300), WRONG_SIZE),
    "huge offset": (head(HEX, 10**300, 0, len(DATA)), WRONG_SIZE),
    "negative length": (head(HEX, len(DATA) + 1, -1, len(DATA)), NO_COUNT),
    "negative offset": (head(HEX, -1, len(DATA) + 1, len(DATA)), NO_COUNT),
    "negative size": (head(HEX, 0, 0, -1), NO_COUNT),
    "bool": (head(HEX, False, len(DATA), len(DATA)), NO_COUNT),
    "bool as length": (head(HEX, len(DATA) - 1, True, len(DATA)), NO_COUNT),
    "fraction": (head(HEX, 0.0, float(len(DATA)), len(DATA)), NO_COUNT),
    "NaN": (head(HEX, float("nan"), len(DATA), len(DATA)), NO_COUNT),
    "infinite": (head(HEX, float("-inf"), float("inf"), len(DATA)), NO_COUNT),
    "text": (head(HEX, "0", len(DATA), len(DATA)), NO_COUNT),
    "null": (head(HEX, 0, len(DATA), None), NO_COUNT),
    "list": (head(HEX, [], len(DATA), len(DATA)), NO_COUNT),
    "an offset beyond what is there": (
        head(HEX, 3, len(DATA) - 3) + DATA[3:],
        "only 0 bytes are here, not 3",
    ),
    "no offset": (json.dumps({"hex": HEX, "length": 1, "size": 1}).encode() + b"\n", NO_HEAD),
    "an empty object": (b"{}\n", NO_HEAD),
    "an empty line": (b"\n", NO_HEAD),
    "no JSON": (b"GET / HTTP/1.1\r\n\r\n", NO_HEAD),
    "a list for an object": (b"[1, 2]\n", NO_HEAD),
    "a number for an object": (b"7\n", NO_HEAD),
    "null for an object": (b"null\n", NO_HEAD),
    "text for an object": (b'"hex"\n', NO_HEAD),
    "bytes that are no text": (b"\xff\xfe\x00\n", NO_HEAD),
    "deep JSON": (b"[" * 4000 + b"\n", NO_HEAD),
    "a deep object": (b'{"a":' * 800 + b"\n", NO_HEAD),
    "a line over the bound": (head()[:-2] + b" " * 5000 + b"}\n" + DATA, NO_HEAD),
    "a number of too many digits": (b'{"hex": ' + b"9" * 4080 + b"}\n", NO_HEAD),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_any_other_announcement_is_refused_with_a_message(room: Room, name: str) -> None:
    data, message = HOSTILE[name]
    with untouched(room):
        code, responses = room.answer(data + FRAME)
    assert code == 1
    assert len(responses) == 2
    assert message in responses[1]["error"]
    assert set(room.held()) <= {f"{HEX}.part"}
    assert b"".join(room.held().values()) == b""
    # And it still takes the blob.
    assert room.answer(head() + FRAME)[0] == 0


@pytest.mark.parametrize("planted", ["precious", "missing", "folder"])
@pytest.mark.parametrize("name", [f"{HEX}.part", HEX])
def test_a_planted_link_is_not_followed(room: Room, planted: str, name: str) -> None:
    if planted == "folder":
        (room.top / planted).mkdir()
    link = room.blobs / name
    link.symlink_to(room.top / planted)
    with untouched(room):
        code, responses = room.answer(head() + FRAME)
    assert not (room.top / "missing").exists()
    if name != HEX:
        assert (code, responses[-1]["error"]) == (1, f"Too many levels of symbolic links: {link}")
    elif planted == "missing":  # where the blob goes by rename: the link itself is replaced
        assert (code, room.held()) == (0, {HEX: DATA})
    else:  # it counts as a blob that is there; the load finds that it is not the content
        assert (code, room.held()) == (0, {})


def test_a_full_disk_is_reported(room: Room) -> None:
    room.authorization({HEX: 8 * MIB})

    # A limit of the size of files stands for a disk that is full: write fails in the same place.
    limited = ["bash", "-c", "trap '' XFSZ; ulimit -f 2048; exec \"$@\"", "bash"]
    process = subprocess.Popen(
        [*limited, sys.executable, "-I", "-B", str(room.directory / "receive.py"), GRANT],
        env={"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": receiver.COMMAND},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    output = process.communicate(head(HEX, 0, 8 * MIB, 8 * MIB) + frame(b"x" * 8 * MIB), timeout=30)[0]
    assert process.returncode == 1
    assert json.loads(output.splitlines()[-1])["error"].startswith("File too large")


def test_memory_is_bounded_whatever_the_size(room: Room) -> None:
    size = 48 * MIB
    room.authorization({HEX: size})
    process = room.start(memory=96 * MIB)  # a bare interpreter maps some 30 MiB
    output, errors = process.communicate(head(HEX, 0, size, size) + frame(b"\0" * size), timeout=60)
    assert (process.returncode, errors) == (0, b"")
    assert json.loads(output.splitlines()[-1]) == {"hex": HEX, "size": size}


def test_a_line_without_an_end_does_not_fill_the_memory(room: Room) -> None:
    process = room.start(memory=96 * MIB)
    output, errors = process.communicate(b"{" * 200 * MIB, timeout=60)
    assert (process.returncode, errors) == (1, b"")
    assert json.loads(output.splitlines()[-1]) == {"error": NO_HEAD}


def test_the_folder_stays_while_blobs_arrive(room: Room) -> None:
    staging = Staging(str(room.directory.parent), room.directory.name)
    process = room.start()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    assert staging.remove() is False
    process.stdin.close()
    process.wait(10)
    process.stdout.close()
    assert staging.remove() is True


@pytest.mark.parametrize("sent", [head() + FRAME[:HALF], b""], ids=["in a blob", "between blobs"])
def test_a_push_of_images_that_are_loaded_is_disconnected_and_the_directory_is_removed(room: Room, sent: bytes) -> None:
    """As after a SIGKILL of the controller, when its source pushes on while the next run has loaded the images."""
    staging = Staging(str(room.directory.parent), room.directory.name)
    process = _begin(room, sent)
    assert process.stdin is not None
    if sent:
        _wait_for((room.blobs / f"{HEX}.part").exists)
    removed: list[bool] = []
    removing = threading.Thread(target=lambda: removed.append(remove_staging(staging, room.top, loaded=True)))
    removing.start()
    _wait_for(lambda: not (room.directory / GRANT).exists())
    process.stdin.write(FRAME[HALF:] if sent else b"\n")
    output, _errors = process.communicate(timeout=10)
    removing.join(10)
    assert process.returncode != 0
    assert b"this authorization was revoked" in output
    assert removed == [True]
    assert not room.directory.exists()


def test_a_dead_connection_does_not_block_the_next_connection(room: Room) -> None:
    """A link that goes dead is noticed by the sender within a minute; the receiver's side may take hours."""
    script = room.directory / "receive.py"
    impatient = script.read_text().replace("_IDLE_TIMEOUT_SECONDS = 120", "_IDLE_TIMEOUT_SECONDS = 2")
    assert impatient != script.read_text()
    script.write_text(impatient)
    dead = room.start()
    assert dead.stdin is not None
    assert dead.stdout is not None
    dead.stdout.readline()
    dead.stdin.write(head() + FRAME[:HALF])
    dead.stdin.flush()
    _wait_for((room.blobs / f"{HEX}.part").exists)
    try:
        done: list[Any] = []
        again = threading.Thread(target=lambda: done.append(room.talk(head() + FRAME)), daemon=True)
        again.start()
        again.join(10)
        assert done, "the second one waits for the first"
        assert done[0][0] == 0
        assert room.held() == {HEX: DATA}
    finally:
        dead.kill()
        dead.wait()
        dead.stdout.close()
        if dead.stderr:
            dead.stderr.close()


def _begin(room: Room, data: bytes) -> subprocess.Popen[bytes]:
    """A receiver that has got this far."""
    process = room.start()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    process.stdin.write(data)
    process.stdin.flush()
    return process


def test_two_runs_that_push_the_same_blob_at_once_both_end_right(room: Room) -> None:
    """The second waits for the first, and what the first has published stays as it is, for a load may read it now."""
    first = _begin(room, head() + FRAME[:HALF])
    _wait_for((room.blobs / f"{HEX}.part").exists)
    second = _begin(room, head() + FRAME)
    _wait_for(lambda: _waits(second.pid))
    output, errors = first.communicate(FRAME[HALF:], timeout=10)
    assert (first.returncode, json.loads(output), errors) == (0, {"hex": HEX, "size": len(DATA)}, b"")
    published = (room.blobs / HEX).stat()
    output, errors = second.communicate(timeout=10)
    assert (second.returncode, json.loads(output), errors) == (0, {"hex": HEX, "size": len(DATA)}, b"")
    found = (room.blobs / HEX).stat()
    assert (found.st_ino, found.st_mtime_ns) == (published.st_ino, published.st_mtime_ns)
    assert room.held() == {HEX: DATA}


def _waits(pid: int) -> bool:
    """Whether a process waits for a lock of a file."""
    return f" {pid} " in "".join(
        line for line in Path("/proc/locks").read_text().splitlines(keepends=True) if "->" in line
    )


@pytest.mark.parametrize("kind", ["raw", "deflated"])
def test_a_slow_sender_is_waited_for_as_long_as_something_comes(room: Room, kind: str) -> None:
    script = room.directory / "receive.py"
    script.write_text(script.read_text().replace("_IDLE_TIMEOUT_SECONDS = 120", "_IDLE_TIMEOUT_SECONDS = 1"))
    process = _begin(room, head())
    assert process.stdin is not None
    sent = FRAME if kind == "raw" else deflated(DATA)
    for number in range(0, len(sent), 5):
        time.sleep(0.4)
        process.stdin.write(sent[number : number + 5])
        process.stdin.flush()
    assert json.loads(process.communicate(timeout=10)[0]) == {"hex": HEX, "size": len(DATA)}
    assert room.held() == {HEX: DATA}


def _wait_for(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
