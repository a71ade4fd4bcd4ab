# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every parser of bytes from outside: it accepts or rejects them, in bounded memory and in its own directory.

Archives of engines, saved archives (compressed ones, too), manifests, indexes, configs, docker's responses, podman's
output, bundles, the facts of a target, and the lines and frames that a receiver gets.
"""

from __future__ import annotations

import ast
import gzip
import io
import json
import os
import resource
import socket
import socketserver
import subprocess
import sys
import tarfile
import tempfile
import threading
import traceback
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.blobs import TransferRequest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.archive_source import (
    ArchiveSource,
    PackedArchiveSource,
    is_packed,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.archive_target import ArchiveTarget
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.containerd import ContainerdEngine
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.docker import DockerEngine
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.podman import PodmanEngine
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.source import parse_requested_images
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats import gzip_stream
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.archive import build_header, stage_from_archive
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.manifest import (
    detect_media_type,
    find_index_image,
    parse_config,
    parse_index,
    parse_manifest,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.reference import ImagePlatform
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Bundle, TransferTarget
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths import receiver
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import CHUNK, Staging
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    add_index,
    digest_of,
    facts,
    make,
    member_of,
    nothing,
    stage,
    tar_of,
    tree,
)

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

MIB = 1024 * 1024
# What may be held at a time: a chunk on its way in and out, and the interpreter's own.
BOUND = 6 * CHUNK
MADE = make(b"layer one", b"layer two" * 1000, packed=False)
CONFIG = MADE.image.config.digest
REQUESTED = list(MADE.content)
bounded = hypothesis.settings(
    deadline=None,
    max_examples=100,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


def parse_or_reject(call: Callable[[], Any]) -> Any:
    """Anything but an ImageError would reach the operator as a traceback."""
    try:
        return call()
    except ImageError as error:
        message = str(error)
    assert 0 < len(message) < 20_000
    return None


# Archives

_NAMES = st.one_of(
    st.sampled_from(
        ["", ".", "..", "/", "../x", "/etc/passwd", "a/../../b", "blobs/sha256/" + "a" * 64, "blobs/sha256/../../x"]
        + [
            "layer.tar",
            "1/layer.tar",
            "manifest.json",
            "index.json",
            "in_use",
            "job.json",
            "authorizations.json",
            "\\x",
            "a\nb",
        ]
        + [member_of(digest) for digest in REQUESTED]
    ),
    st.text(max_size=300),
)
_CONTENT = st.one_of(st.binary(max_size=2000), st.sampled_from(list(MADE.content.values())))
_KINDS = st.one_of(
    st.just(tarfile.REGTYPE),
    st.sampled_from([b"0", b"\0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"K", b"L", b"x", b"g", b"X", b"Z"]),
)
_PAX = st.dictionaries(
    st.sampled_from(
        ["path", "linkpath", "size", "GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.size", "mtime", "uid"]
    ),
    st.one_of(
        st.text(max_size=50), st.sampled_from(["-1", "1e400", "99999999999999999999", "../../x", "0,5,3", "nan"])
    ),
    max_size=3,
)


@st.composite
def _archives(draw: Any) -> bytes:
    """Members in any order, twice or not at all; then perhaps damaged or cut off."""
    out = io.BytesIO()
    for _number in range(draw(st.integers(0, 6))):
        info = tarfile.TarInfo()
        info.name = draw(_NAMES)
        info.type = draw(_KINDS)
        info.linkname = draw(_NAMES)
        content = draw(_CONTENT)
        info.size = draw(st.sampled_from([len(content), 0, 1, 10**12])) if draw(st.booleans()) else len(content)
        info.pax_headers = draw(_PAX)
        kind = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
        try:
            head = info.tobuf(kind, errors="surrogateescape")
        except (ValueError, UnicodeError):
            continue
        out.write(head + content + b"\0" * (-len(content) % 512))
    data = bytearray(out.getvalue() + b"\0" * 1024)
    for _number in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


class Room:
    """A staging directory with something beside it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.staging = Staging(str(top / "root"), "saved-" + "0" * 20)
        self.staging.create()
        (top / "precious").write_text("precious")
        self.before = set(tree(top))

    def stage(self, opened: Callable[[], Any]) -> None:
        stage_from_archive(opened, self.staging, REQUESTED, nothing)

    def check(self) -> None:
        """New files are complete blobs, and the file that was being written when an archive ended."""
        blobs = self.staging.get_path(CONFIG).parent
        for name in set(tree(self.top)) - self.before:
            path = self.top / name
            assert path.parent == blobs, name
            assert path.is_file(), name
            assert not path.is_symlink(), name
            if not name.endswith(".part"):
                assert "sha256:" + path.name in REQUESTED
                assert digest_of(path.read_bytes()) == "sha256:" + path.name
        assert (self.top / "precious").read_text() == "precious"


@contextmanager
def room() -> Iterator[Room]:
    with tempfile.TemporaryDirectory() as directory:
        yield Room(Path(directory))


@contextmanager
def opened(data: bytes) -> Iterator[Any]:
    yield io.BytesIO(data)


@hypothesis.given(_archives())
@bounded
def test_an_archive_is_taken_or_refused(data: bytes) -> None:
    with room() as here:
        tracemalloc.start()
        try:
            parse_or_reject(lambda: here.stage(lambda: opened(data)))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        here.check()
        assert peak < BOUND + len(data) * 4


@hypothesis.given(st.binary(max_size=4000))
@bounded
def test_bytes_that_are_no_archive_are_refused(data: bytes) -> None:
    with room() as here:
        parse_or_reject(lambda: here.stage(lambda: opened(data)))
        here.check()


def head(kind: bytes, size: int, name: str = "x") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


class Endless:
    """A stream of a beginning, and then the same again and again, up to a number of bytes."""

    def __init__(self, begin: bytes, again: bytes, size: int) -> None:
        self._begin, self._again, self._left = begin, again, size

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "a read without a bound"
        size = min(size, self._left)
        self._left -= size
        data, self._begin = self._begin[:size], self._begin[size:]
        while len(data) < size:
            data += self._again * max(1, (size - len(data)) // len(self._again))
        return data[:size]


def _sparse(number: int) -> bytes:
    """A block of an old GNU sparse map that announces another."""
    return (b"%011o\0%011o\0" % (number, 1)) * 21 + b"\1" + b"\0" * 7


_OLD_SPARSE = bytearray(head(b"S", 512))
_OLD_SPARSE[482] = 1
_OLD_SPARSE[148:156] = b" " * 8
_OLD_SPARSE[148:156] = b"%06o\0 " % sum(_OLD_SPARSE)
_NEW_SPARSE = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n".ljust(512, b"\0")
ENDLESS = {
    "a newer sparse map without an end": (
        head(b"x", 44) + _NEW_SPARSE + head(b"0", 1024**4) + b"999999999999\n",
        b"1\n" * 256,
    ),
    "a pax header of a gigabyte": (head(b"x", 1024**3), b"30 path=aaaaaaaaaaaaaaaaaaaaaa\n"),
    "a global pax header of a gigabyte": (head(b"g", 1024**3), b"30 path=aaaaaaaaaaaaaaaaaaaaaa\n"),
    "a long name of a gigabyte": (head(b"L", 1024**3), b"a" * 4096),
    "a long link of a gigabyte": (head(b"K", 1024**3), b"a" * 4096),
    "a Solaris header of a gigabyte": (head(b"X", 1024**3), b"30 path=aaaaaaaaaaaaaaaaaaaaaa\n"),
    "headers without a member": (b"", head(b"x", 512) + b"12 path=abc\n".ljust(512, b"\0")),
    "global headers without a member": (b"", head(b"g", 512) + b"12 path=abc\n".ljust(512, b"\0")),
    "long names without a member": (b"", head(b"L", 512) + b"a" * 512),
    "a sparse map without an end": (bytes(_OLD_SPARSE), _sparse(1)),
    "directories without an end": (b"", head(b"5", 0)),
    "links without an end": (b"", head(b"2", 0)),
    "a member of a gigabyte that is not wanted": (head(b"0", 1024**3, "blobs/sha256/" + "a" * 64), b"\0" * 4096),
    "empty members without an end": (b"", head(b"0", 0, "1/layer.tar")),
}


def compress_endless(begin: bytes, again: bytes, size: int) -> bytes:
    """In gzip's format: the beginning, and the same again and again. Each part of 1 MiB is compressed once."""
    part = again * (MIB // len(again))
    return gzip.compress(begin) + gzip.compress(part, 1) * (size // len(part))


def _flatten(members: dict[str, Any]) -> bytes:
    return tar_of(
        [(name, data if isinstance(data, bytes) else json.dumps(data).encode()) for name, data in members.items()]
    )


_ENTRY = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:" + "a" * 64, "size": 1}
_DOCKER_ENTRY = {"Config": "a.json", "RepoTags": ["app:v1"], "Layers": []}
HUGE_DOCUMENTS = {
    "an index that is nested without end": {"index.json": b"[" * 10**6},
    "a list of images that is nested without end": {"manifest.json": b'[{"Config":' * 10**5},
    "a number of a million digits": {"index.json": b'{"manifests":[{"size":' + b"9" * 10**6 + b"}]}"},
    "very many images in an index": {"index.json": {"manifests": [_ENTRY] * 6_000}},
    "very many images": {"manifest.json": [_DOCKER_ENTRY] * 6_000},
    "an index of many megabytes": {"index.json": b" " * 5 * MIB + b"{}"},
    "a config of many megabytes": {"manifest.json": [_DOCKER_ENTRY], "a.json": b" " * 9 * MIB + b"{}"},
    "very many layers": {"manifest.json": [{**_DOCKER_ENTRY, "Layers": ["a.json"] * 100_000}], "a.json": b"{}"},
    "documents of many megabytes": {
        **{f"{number}.json": b"[" + b" " * MIB for number in range(40)},
        "index.json": {"manifests": [_ENTRY]},
    },
}
_IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image import test_fuzz_foreign as fuzz
getattr(fuzz, sys.argv[2])(Path(sys.argv[1]))
"""


def stage_each_endless(top: Path) -> None:
    """Runs in a process of its own, with little memory. Prints a message and a peak of memory, or an error, by name."""
    found = {}
    tracemalloc.start()
    for number, (name, (begin, again)) in enumerate(ENDLESS.items()):
        # A gigabyte is cut to a size that the limit would still detect.
        size = 300 * MIB if "gigabyte" in name else 3 * MIB

        @contextmanager
        def endless(begin: bytes = begin, again: bytes = again, size: int = size) -> Iterator[Any]:
            yield Endless(begin, again, size)

        (top / str(number)).mkdir()
        here = Room(top / str(number))
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        message = ""
        try:
            try:
                here.stage(endless)
            except ImageError as error:
                message = str(error)
            here.check()
            found[name] = (message, tracemalloc.get_traced_memory()[1] - before, "")
        except BaseException:
            found[name] = (message, 0, traceback.format_exc())
    print(json.dumps(found))


def resolve_each_endless(top: Path) -> None:
    """As C(stage_each_endless), with saved archives."""
    path, found = top / "images.tar", {}

    def write_archives() -> Iterator[str]:
        for name, (begin, again) in ENDLESS.items():
            path.write_bytes(compress_endless(begin, again, (300 if "gigabyte" in name else 3) * MIB))
            yield f"{name}, compressed"
        for name, members in HUGE_DOCUMENTS.items():
            path.write_bytes(_flatten(members))
            yield name
            path.write_bytes(gzip.compress(_flatten(members), 1))
            yield f"{name}, compressed"

    tracemalloc.start()
    for name in write_archives():
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        message, error = "", ""
        try:
            resolve_saved(str(path))
        except ImageError as refusal:
            message = str(refusal)
        except BaseException:
            error = traceback.format_exc()
        found[name] = (message, tracemalloc.get_traced_memory()[1] - before, error)
    print(json.dumps(found))


@pytest.fixture(scope="module")
def staged_endless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, int, str]]:
    """What each archive without an end led to."""
    return run_in_little_memory("stage_each_endless", tmp_path_factory.mktemp("endless"))


def run_in_little_memory(function: str, directory: Path) -> dict[str, tuple[str, int, str]]:
    script = _IN_LITTLE_MEMORY.format(limit=400 * MIB)
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, str(directory), function],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, tuple[str, int, str]] = json.loads(done.stdout)
    return found


# Archives at the path of a target

ARCHIVED = add_index(make(b"layer one", b"layer two" * 1000))
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.just(ARCHIVED.image.config.digest)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["manifests", "annotations", "io.containerd.image.name", "digest", "RepoTags", "Config"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
_DOCUMENTS = st.one_of(
    st.binary(max_size=200),
    _VALUES.map(lambda value: json.dumps(value).encode()),
    st.just(b"[" * 100_000),
    st.just(b'{"manifests":[{"annotations":{"io.containerd.image.name":' + b"[" * 900 + b"]" * 900 + b"}}]}"),
)


def write_archive(root: Path) -> tuple[ArchiveTarget, bytes]:
    """An archive as this role writes it, and its bytes."""
    target = ArchiveTarget(str(root / "images.tar"), None, "linux/amd64")
    staging = Staging(str(root / "staging"), ARCHIVED.bundle.get_directory_name("loaded"))
    stage(staging, ARCHIVED.content)
    assert target.write(ARCHIVED.bundle, staging, nothing, target.read_facts(str(root)))[0].done
    staging.remove()
    return target, (root / "images.tar").read_bytes()


@bounded
@hypothesis.given(st.data())
def test_a_damaged_archive_of_a_target_is_refused_or_repaired(data: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        target, content = write_archive(root)
        damaged = bytearray(content)
        for offset in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
            damaged[offset] = data.draw(st.integers(0, 255))
        cut = data.draw(st.one_of(st.none(), st.integers(0, len(content))))
        (root / "images.tar").write_bytes(damaged[:cut] + data.draw(st.binary(max_size=600)))
        facts_now = parse_or_reject(lambda: target.read_facts(str(root)))
        if facts_now is None:
            return
        if (root / "images.tar").read_bytes() == content:
            assert facts_now.archive.problem is None
            return
        assert 0 < len(facts_now.archive.problem) < 1000
        staging = Staging(str(root / "staging"), ARCHIVED.bundle.get_directory_name("loaded"))
        needed = set(ARCHIVED.content) - facts_now.archive.blobs
        stage(staging, {digest: ARCHIVED.content[digest] for digest in needed})
        (outcome,) = target.write(ARCHIVED.bundle, staging, nothing, facts_now)
        assert (outcome.error, (root / "images.tar").read_bytes()) == (None, content)


@bounded
@hypothesis.given(st.lists(st.tuples(st.sampled_from(["oci-layout", "index.json", "manifest.json"]), _DOCUMENTS)))
def test_the_documents_of_an_archive_of_a_target(documents: list[tuple[str, bytes]]) -> None:
    layout = b'{"imageLayoutVersion":"1.0.0"}'
    members = [("oci-layout", layout), *documents]
    data = b"".join(
        build_header(name, len(content)) + content + bytes(-len(content) % 512) for name, content in members
    )
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "images.tar").write_bytes(data + bytes(1024))
        target = ArchiveTarget(str(Path(name) / "images.tar"), None, "linux/amd64")
        found = parse_or_reject(lambda: target.read_facts(name))
        assert found.archive.problem
        TransferTarget.parse(json.loads(json.dumps({"host": "a", **found.to_dict()})), "target")


@pytest.mark.parametrize("name", ENDLESS)
def test_what_has_no_end_fills_no_memory(staged_endless: dict[str, tuple[str, int, str]], name: str) -> None:
    message, peak, error = staged_endless[name]
    assert error == ""
    assert message.startswith("The engine saved an archive ")
    assert 0 < peak < 20 * MIB


# Saved archives


def resolve_saved(path: str) -> dict[str, bytes]:
    """The blobs of the image that an archive has by some name."""
    source: Any = PackedArchiveSource(path, {}) if is_packed(path) else ArchiveSource(path, verify=True)
    (image,) = source.make_offer(parse_requested_images([{"name": "app:v1"}], "linux/amd64")).bundle.images
    content = {}
    if isinstance(source, ArchiveSource):
        for blob in image.list_blobs():
            with source.open(TransferRequest(blob.digest, "x", 0, 0, 0, "https://x.test/", {}, "app:v1")) as file:
                content[blob.digest] = file.read(10**9)
    else:
        with room() as here:
            sizes = {blob.digest: blob.size for blob in image.list_blobs()}
            PackedArchiveSource(path, sizes).stage((), list(sizes), here.staging, nothing)
            content = {digest: here.staging.get_path(digest).read_bytes() for digest in sizes}
    assert all(digest_of(data) == digest for digest, data in content.items())
    return content


_SAVED = tar_of(
    [
        *((member_of(digest), data) for digest, data in MADE.content.items()),
        (
            "manifest.json",
            json.dumps(
                [{"Config": member_of(CONFIG), "RepoTags": None, "Layers": [*map(member_of, MADE.image.diff_ids)]}]
            ).encode(),
        ),
    ]
)


@hypothesis.given(_archives(), st.booleans(), st.booleans())
@bounded
def test_a_saved_archive_is_taken_or_refused(data: bytes, is_image: bool, is_compressed: bool) -> None:
    if is_image:  # with more members at its end
        data = _SAVED[:-1024] + data
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "images.tar"
        path.write_bytes(gzip.compress(data) if is_compressed else data)
        tracemalloc.start()
        try:
            parse_or_reject(lambda: resolve_saved(str(path)))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert os.listdir(directory) == ["images.tar"]
        assert peak < BOUND + len(data) * 8


@hypothesis.given(
    st.lists(st.one_of(st.binary(max_size=600), st.integers(0, len(_SAVED))), max_size=4),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=3),
    st.floats(0, 1),
)
@bounded
def test_a_damaged_gzip_stream_is_taken_or_refused(
    parts: list[Any], flips: list[tuple[float, int]], length: float
) -> None:
    """In several parts, with other bytes between them, flipped bytes, and cut off."""
    cuts = sorted(part for part in parts if isinstance(part, int))
    others = [part for part in parts if isinstance(part, bytes)]
    data = bytearray()
    for begin, end in zip([0, *cuts], [*cuts, len(_SAVED)]):
        data += gzip.compress(_SAVED[begin:end]) + (others.pop() if others else b"")
    for place, value in flips:
        data[int(place * len(data))] = value
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "images.tar"
        path.write_bytes(b"\x1f\x8b" + data[2 : int(length * len(data))])
        parse_or_reject(lambda: resolve_saved(str(path)))


@pytest.fixture(scope="module")
def resolved_endless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, int, str]]:
    return run_in_little_memory("resolve_each_endless", tmp_path_factory.mktemp("resolved"))


@pytest.mark.parametrize("name", [*(f"{name}, compressed" for name in (*ENDLESS, *HUGE_DOCUMENTS)), *HUGE_DOCUMENTS])
def test_what_has_no_end_in_a_saved_archive_fills_no_memory(
    resolved_endless: dict[str, tuple[str, int, str]], name: str
) -> None:
    message, peak, error = resolved_endless[name]
    assert error == ""
    assert 0 < len(message) < 1000
    assert 0 < peak < 80 * MIB


def test_a_small_archive_of_a_huge_layer_is_streamed(tmp_path: Path) -> None:
    """A layer of zeros is legal. It is read in chunks, and written only where it is requested."""
    size = 200 * MIB
    config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [CONFIG]}}).encode()
    entry = {"Config": "c.json", "RepoTags": ["app:v1"], "Layers": ["layer.tar"]}
    end = tar_of([("c.json", config), ("manifest.json", json.dumps([entry]).encode())])
    path = tmp_path / "images.tar"
    path.write_bytes(compress_endless(head(b"0", size, "layer.tar"), bytes(512), size) + gzip.compress(end))
    assert path.stat().st_size < MIB
    tracemalloc.start()
    try:
        offer = PackedArchiveSource(str(path), {}).make_offer(parse_requested_images([{"name": "app:v1"}]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [layer.blob.size for layer in offer.bundle.images[0].layers] == [size]
    assert peak < 2 * BOUND


@pytest.mark.parametrize(("limit", "message"), [("_MAX_BYTES", "has more than 5 bytes"), ("_MAX_MEMBERS", "5 parts")])
def test_what_inflates_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, message: str
) -> None:
    assert (gzip_stream._MAX_BYTES, gzip_stream._MAX_MEMBERS) == (256 * 1024**3, 10**6)
    monkeypatch.setattr(gzip_stream, limit, 5)
    path = tmp_path / "images.tar"
    path.write_bytes(gzip.compress(b"") * 10 + gzip.compress(_SAVED))
    with pytest.raises(ImageError, match=message):
        resolve_saved(str(path))


def test_nothing_is_inflated(tmp_path: Path) -> None:
    """A layer that inflates without end is for the engine to refuse: here it is bytes with a digest."""
    bomb = gzip.compress(b"\0" * 50 * MIB)
    assert len(bomb) < MIB
    here = Room(tmp_path)
    digest = digest_of(bomb)
    data = tar_of([(member_of(digest), bomb)])
    tracemalloc.start()
    try:
        stage_from_archive(lambda: opened(data), here.staging, [digest], nothing)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert here.staging.get_path(digest).read_bytes() == bomb
    assert peak < BOUND
    # And an archive that is itself compressed is none.
    with pytest.raises(ImageError, match="The engine saved an archive that cannot be read"):
        stage_from_archive(lambda: opened(gzip.compress(data)), here.staging, [CONFIG], nothing)


def test_no_code_of_ours_can_inflate_but_frames_of_a_push_and_saved_archives() -> None:
    """The receiver inflates a frame at most (test_receiver has the bombs); the other side of the push compresses.

    Saved archives are inflated in chunks.
    """
    directory = Path(str(receiver.__file__)).parents[1]
    imports: dict[str, set[str]] = {}
    inflates = set()
    for path in directory.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in names:
                imports.setdefault(name, set()).add(path.name)
            if isinstance(node, ast.Attribute) and "decompress" in node.attr:
                inflates.add(path.name)
    assert "tarfile" in imports, "the test reads the imports"
    assert not {"gzip", "bz2", "lzma", "zipfile", "shelve", "pickle", "marshal"} & set(imports), imports
    assert (imports["zlib"], inflates) == (
        {"receiver.py", "deflate.py", "gzip_stream.py"},
        {"receiver.py", "gzip_stream.py"},
    )


# JSON

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**25, max_value=10**30),
    st.floats(),
    st.text(max_size=40),
    st.sampled_from(["sha256:" + "a" * 64, "linux", "amd64", "layers", CONFIG, "../x", "sha256:../../x", ""]),
)
_KEYS = st.sampled_from(
    [
        *("schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size", "platform", "os"),
        *("architecture", "variant", "rootfs", "type", "diff_ids", "urls", "images", "version", "reference"),
        *("tag", "manifest", "media_type", "diff_id", "host", "engine", "storage", "chain_ids", "staging"),
        *("root", "path", "free_bytes", "device", "zstd", "Id", "RepoTags", "RootFS", "Layers", "Size"),
        *("Os", "Architecture", "Variant", "Driver", "DriverStatus", "DockerRootDir", "Version", "Arch"),
        *("hex", "offset", "length", "error", "progressDetail", "current", "total"),
    ]
)
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6), max_leaves=25
)


def _mutated(document: Any) -> Any:
    """A valid document in which some values are others."""

    @st.composite
    def strategy(draw: Any) -> Any:
        copy = json.loads(json.dumps(document))
        for _number in range(draw(st.integers(1, 3))):
            place = copy
            while isinstance(place, (dict, list)) and place:
                key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
                if isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
                    place = place[key]
                    continue
                if isinstance(place, dict) and draw(st.booleans()):
                    del place[key]
                else:
                    place[key] = draw(_JSON)
                break
        return copy

    return strategy()


_MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": CONFIG, "size": 5},
    "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": CONFIG, "size": 7}],
}
_INDEX = {
    "schemaVersion": 2,
    "manifests": [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": CONFIG,
            "size": 5,
            "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"},
        }
    ],
}
_CONFIG_DOCUMENT = {
    "os": "linux",
    "architecture": "amd64",
    "rootfs": {"type": "layers", "diff_ids": [CONFIG]},
}
DEEP = b"[" * 200_000
READERS = {"type": detect_media_type, "manifest": parse_manifest, "index": parse_index, "config": parse_config}


@hypothesis.given(
    st.one_of(
        st.binary(max_size=300),
        _JSON.map(json.dumps).map(str.encode),
        *(_mutated(document).map(json.dumps).map(str.encode) for document in (_MANIFEST, _INDEX, _CONFIG_DOCUMENT)),
    )
)
@hypothesis.example(DEEP)
@hypothesis.example(b'{"a":' * 100_000)
@hypothesis.example(b'{"schemaVersion": ' + b"9" * 5000 + b"}")
@hypothesis.example(b'{"schemaVersion": NaN}')
@hypothesis.example(b'{"config": {}, "config": {}, "layers": [], "manifests": []}')
@hypothesis.example("\ufeff{}".encode())
@hypothesis.example(b'"\\ud800"')
@bounded
def test_manifests_indexes_and_configs(data: bytes) -> None:
    for read in READERS.values():
        parse_or_reject(lambda read=read: read(data))  # type: ignore[misc]


@hypothesis.given(_mutated(_INDEX).map(json.dumps).map(str.encode), st.sampled_from(["linux/amd64", "linux/arm64"]))
@bounded
def test_the_image_of_an_index(data: bytes, platform: str) -> None:
    index = parse_or_reject(lambda: parse_index(data))
    if index is not None:
        found = find_index_image(index, ImagePlatform.parse(platform))
        assert found is None or found in {entry.digest for entry in index.entries}


BUNDLE = add_index(make(b"layer")).bundle.to_dict()
TARGET = {"host": "private-a", "address": "10.0.0.1", "port": 22, **facts(MADE.stored("x:1"), root=10**12).to_dict()}


@hypothesis.given(st.one_of(_JSON, _mutated(BUNDLE)))
@bounded
def test_bundles(value: Any) -> None:
    bundle = parse_or_reject(lambda: Bundle.parse(value))
    if bundle is not None:
        assert all(len(blob.digest) == 71 and "/" not in blob.digest for blob in bundle.list_blobs())
        assert Bundle.parse(bundle.to_dict()) == bundle


@hypothesis.given(st.one_of(_JSON, _mutated(TARGET)))
@bounded
def test_what_a_target_reports_of_itself(value: Any) -> None:
    parse_or_reject(lambda: TransferTarget.parse(value, "targets[0]"))


# Docker's answers

_INFO = {"Driver": "overlay2", "DriverStatus": [["a", "b"]], "DockerRootDir": "/", "ServerVersion": "20.10.24"}
_VERSION = {"Version": "20.10.24", "Os": "linux", "Arch": "amd64"}
_LISTED = [{"Id": CONFIG}]
_INSPECTED = {"Id": CONFIG, "RepoTags": ["a:1"], "RootFS": {"Type": "layers", "Layers": [CONFIG]}, "Os": "linux"}
_HISTORY = [{"Size": 5}, {"Size": 0}]


class Daemon(socketserver.ThreadingUnixStreamServer):
    """An engine that responds to each call with the test's data."""

    daemon_threads = True
    allow_reuse_address = True
    answers: dict[str, bytes]


class _Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        line = self.rfile.readline(4096).decode()
        while self.rfile.readline(4096).strip():
            pass
        path = line.split(" ")[1].split("?")[0]
        assert isinstance(self.server, Daemon)
        body = next(data for end, data in self.server.answers.items() if path.endswith(end))
        with suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@pytest.fixture(scope="module")
def daemon() -> Iterator[tuple[Daemon, DockerEngine]]:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/docker.sock"
        server = Daemon(path, _Answer)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server, DockerEngine(f"unix://{path}", 5.0)
        server.shutdown()
        server.server_close()


def _answer(document: Any) -> Any:
    valid = json.dumps(document).encode()
    return st.one_of(
        st.just(valid), st.just(valid), st.binary(max_size=50), _mutated(document).map(json.dumps).map(str.encode)
    ) | _JSON.map(json.dumps).map(str.encode)


@hypothesis.given(
    st.fixed_dictionaries(
        {
            "/info": _answer(_INFO),
            "/version": _answer(_VERSION),
            "/images/json": _answer(_LISTED),
            "/json": _answer(_INSPECTED),
            "/history": _answer(_HISTORY),
            "/load": st.lists(st.one_of(st.binary(max_size=50), _JSON.map(json.dumps).map(str.encode)), max_size=4).map(
                b"\n".join
            ),
        }
    )
)
@hypothesis.example(
    {"/info": DEEP, "/version": DEEP, "/images/json": DEEP, "/json": DEEP, "/history": DEEP, "/load": DEEP}
)
@hypothesis.example(
    {
        "/info": json.dumps(_INFO).encode(),
        "/version": json.dumps(_VERSION).encode(),
        "/images/json": json.dumps(_LISTED).encode(),
        "/json": DEEP,
        "/history": DEEP,
        "/load": b'{"progressDetail": {"current": 1, "total": "many"}}\n' + DEEP,
    }
)
@bounded
def test_what_docker_answers(daemon: tuple[Daemon, DockerEngine], answers: dict[str, bytes]) -> None:
    server, engine = daemon
    server.answers = answers

    class Nothing:
        length = 0

        def __iter__(self) -> Iterator[bytes]:
            return iter(())

    parse_or_reject(lambda: engine.read_facts("/"))
    stored = parse_or_reject(lambda: engine.find("a:1"))
    if stored is not None:
        parse_or_reject(lambda: engine.estimate_layer_sizes(stored))
    parse_or_reject(lambda: engine.load(Nothing(), nothing))


_PODMAN_INFO = {
    "store": {"graphDriverName": "overlay", "graphRoot": "/"},
    "version": {"Version": "4.3.1", "OsArch": "linux/amd64"},
}
_PODMAN_IMAGES = [{"Id": CONFIG[7:]}]
_PODMAN_INSPECTED = [{**_INSPECTED, "Id": CONFIG[7:], "Architecture": "amd64", "Labels": {"a": "b"}, "Size": 5}]


@hypothesis.given(
    st.fixed_dictionaries(
        {
            "info": _answer(_PODMAN_INFO),
            "images": _answer(_PODMAN_IMAGES),
            "image": _answer(_PODMAN_INSPECTED),
            "history": _answer([{"size": 5}, {"size": 0}]),
        }
    ),
    st.sampled_from([0, 0, 0, 1, 125]),
    st.one_of(st.text(max_size=100), st.just("Error: image not known"), st.just("x" * 100_000)),
)
@hypothesis.example({"info": DEEP, "images": DEEP, "image": DEEP, "history": DEEP}, 0, "")
@bounded
def test_what_podman_writes(answers: dict[str, bytes], status: int, errors: str) -> None:
    def run(command: list[str], _text: str, _descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        return status, answers.get(command[1], b"").decode("utf-8", "replace"), errors

    engine = PodmanEngine(run)
    parse_or_reject(lambda: engine.read_facts("/"))
    parse_or_reject(engine.list_preloaded)
    parse_or_reject(lambda: engine.remove(MADE.stored()))
    parse_or_reject(lambda: engine.tag(MADE.stored(), "a:1"))
    for name in ("a:1", "quay.io/a:1"):
        stored = parse_or_reject(lambda name=name: engine.find(name))
        if stored is not None:
            parse_or_reject(lambda stored=stored: engine.estimate_layer_sizes(stored))


# What ctr prints, and the content of a containerd

_CTR_NAMES = st.one_of(
    st.sampled_from(
        [
            *(
                "a.example/x:v1",
                "docker.io/library/a:1",
                "docker.io/library/a@" + CONFIG,
                "a:1",
                CONFIG,
                "a b",
                "@",
                ":",
            ),
            *("daytwo.aws.image-transfer:/a@" + CONFIG, "daytwo.aws.image-transfer:", "daytwo.aws.image-transfer:%00@"),
        ]
    ),
    st.text(max_size=40),
)
_CTR_LABELS = st.sampled_from(
    ["-", "io.cri-containerd.image=managed", "containerd.io/gc.ref.snapshot.overlayfs=" + CONFIG, "a=b,,=", "\x00"]
)
_CTR_DOCUMENTS = st.one_of(
    st.binary(max_size=100),
    *(_mutated(document).map(json.dumps).map(str.encode) for document in (_MANIFEST, _INDEX, _CONFIG_DOCUMENT)),
    st.sampled_from([MADE.content[CONFIG], b"[" * 50_000]),
)
_CTR_PLUGINS = (
    "Type: io.containerd.content.v1\nID: content\nExports:\n  root  /nowhere\n\n"
    "Type: io.containerd.snapshotter.v1\nID: overlayfs\nExports:\n  root  /\n\n"
    "Type: io.containerd.grpc.v1\nID: cri\n"
)


@st.composite
def _containerds(draw: Any) -> tuple[dict[str, str], dict[str, bytes]]:
    """What each command prints, and content by digest, of which some has other bytes."""
    documents = draw(st.lists(_CTR_DOCUMENTS, max_size=5))
    content = {digest_of(data): data for data in documents}
    for data in documents:
        # A manifest and an index that refer to documents.
        for template in (_MANIFEST, _INDEX):
            text = json.dumps(template).replace(CONFIG, digest_of(data)).replace("arm64", "amd64").encode()
            content[digest_of(text)] = text
    digests = st.sampled_from([*content, CONFIG, "sha256:x", ""])
    kinds = st.sampled_from(["application/vnd.oci.image.index.v1+json", "application/json", "x"])
    rows = [
        f"{draw(_CTR_NAMES)} {draw(kinds)} {draw(digests)} 1 KiB linux/amd64 {draw(_CTR_LABELS)}"
        for _number in range(draw(st.integers(0, 6)))
    ]
    blobs = [f"{digest}\t1kB\t4 minutes\t{draw(_CTR_LABELS)}" for digest in content]
    printed = {
        "images ls": "\n".join(["REF TYPE DIGEST SIZE PLATFORMS LABELS", *rows]),
        "content ls": "\n".join(["DIGEST SIZE AGE LABELS", *blobs]),
        "snapshots ls": f"KEY PARENT KIND\n{draw(digests)}  Committed\n{draw(st.text(max_size=80))} Committed",
        "plugins ls": draw(st.one_of(st.just(_CTR_PLUGINS), st.text(max_size=200))),
        "version": draw(st.sampled_from(["", "Server:\n  Version: 1.6.20\n", "Server:\n  Version: \x00\n"])),
        "namespaces list": draw(st.sampled_from(["default\n", "", "\x00\n"])),
    }
    if draw(st.booleans()):
        printed[draw(st.sampled_from(sorted(printed)))] = draw(st.text(max_size=300))
    if content and draw(st.booleans()):
        content[draw(st.sampled_from(sorted(content)))] = draw(st.binary(max_size=50))
    return printed, content


@pytest.fixture(scope="module")
def containerd_socket() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{directory}/c.sock")
        server.listen(1024)
        yield f"{directory}/c.sock"


@hypothesis.given(
    _containerds(),
    st.sampled_from([0, 0, 0, 0, 1]),
    st.text(max_size=100),
    st.sampled_from(["k8s.io", "default"]),
)
@bounded
def test_what_ctr_prints(
    containerd_socket: str, had: tuple[dict[str, str], dict[str, bytes]], status: int, errors: str, namespace: str
) -> None:
    printed, content = had

    def run(command: list[str], _text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        if descriptors:
            os.write(descriptors[1], content.get(command[-1], b""))
            return status, "", errors
        arguments = [argument for argument in command[7:] if argument in _CTR_COMMANDS]
        return status, printed.get(" ".join(arguments), ""), errors

    engine = ContainerdEngine(containerd_socket, namespace, 60, run)
    facts_or_none = parse_or_reject(lambda: engine.read_facts("/"))
    if facts_or_none is not None:
        assert TransferTarget.parse({"host": "a", **json.loads(json.dumps(facts_or_none.to_dict()))}, "a")
    parse_or_reject(engine.list_preloaded)
    for name in ("a:1", "a.example/x:v1", CONFIG, "a@" + CONFIG):
        stored = parse_or_reject(lambda name=name: engine.find(name))
        if stored is not None:
            parse_or_reject(lambda stored=stored: engine.list_blobs(stored))
            parse_or_reject(lambda stored=stored: engine.remove(stored))


_CTR_COMMANDS = ("images", "content", "snapshots", "plugins", "namespaces", "ls", "list", "version")


# Lines and frames that a receiver is sent

_HEX = CONFIG.partition(":")[2]
_HEADS = st.one_of(
    st.binary(max_size=100),
    _JSON.map(json.dumps).map(str.encode),
    st.fixed_dictionaries(
        {
            "hex": st.one_of(st.just(_HEX), _JSON),
            "offset": st.one_of(st.integers(-1, 20), _SCALARS),
            "length": st.one_of(st.integers(-1, 20), _SCALARS),
            "size": st.one_of(st.just(20), _SCALARS),
        }
    )
    .map(json.dumps)
    .map(str.encode),
)


_FRAMES = st.builds(
    lambda kind, data, more: receiver.build_frame_head(kind, max(0, len(data) + more)) + data,
    st.sampled_from([receiver.RAW, receiver.DEFLATED, b"?"]),
    st.one_of(st.binary(max_size=25), st.binary(max_size=25).map(zlib.compress)),
    st.sampled_from([0, 0, 0, -1, 1, 2**31]),
)
_SENT = st.one_of(st.binary(max_size=25), st.lists(_FRAMES, max_size=4).map(b"".join))


@hypothesis.given(st.lists(st.tuples(_HEADS, _SENT), max_size=5))
@bounded
def test_what_a_receiver_is_sent(conversation: list[tuple[bytes, bytes]]) -> None:
    timeout, receiver._IDLE_TIMEOUT_SECONDS = receiver._IDLE_TIMEOUT_SECONDS, 0
    try:
        with room() as here:
            directory = here.staging.directory
            (directory / "authorization-0.json").write_text(json.dumps({"expires": 2**40, "sizes": {_HEX: 20}}))
            here.before = {*tree(here.top), os.path.relpath(directory / "in_use", here.top)}
            sent = b"".join(line + b"\n" + content for line, content in conversation)
            answers = io.BytesIO()
            source = io.BufferedReader(io.BytesIO(sent))  # type: ignore[arg-type]
            assert receiver.receive(directory, "authorization-0.json", receiver.COMMAND, source, answers) in (0, 1)
            for line in answers.getvalue().splitlines():
                assert isinstance(json.loads(line), dict)
            for name in set(tree(here.top)) - here.before:
                path = here.top / name
                assert path in (here.staging.get_path(CONFIG), here.staging.get_partial_path(CONFIG)), name
                assert path.stat().st_size <= 20
    finally:
        receiver._IDLE_TIMEOUT_SECONDS = timeout


def test_the_limit_of_memory_holds() -> None:
    """A process with so little memory fails when it takes too much."""
    code = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({400 * MIB},) * 2); bytearray({500 * MIB})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MemoryError" in done.stderr
    assert resource.RLIMIT_AS >= 0
    assert socket.AF_UNIX
