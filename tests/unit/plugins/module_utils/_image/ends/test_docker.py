# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker through its API, against a server on a Unix socket with the responses of the test."""

from __future__ import annotations

import errno
import http.client
import http.server
import json
import os
import socket
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional
from urllib.parse import unquote

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.docker import DockerEngine, split_tag
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.docker_store import DockerStoreEngine
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import PRELOADED_LABEL, Engine, EngineError
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engines import make_engine
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import StoredImage, compute_chain_ids
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import make, nothing

V1 = make(b"base", b"middle", b"top")
ID = V1.image.config.digest
INSPECTED = {
    "Id": ID,
    "RepoTags": ["registry.test/app:v1"],
    "RootFS": {"Type": "layers", "Layers": list(V1.image.diff_ids)},
    "Os": "linux",
    "Architecture": "amd64",
    "Size": 300,
}
VERSION = {"Version": "20.10.24+dfsg1", "Os": "linux", "Arch": "amd64"}
Answers = dict[str, Any]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Daemon

    def _any(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        answer = self.server.answers.get(f"{self.command} {self.path.partition('?')[0]}", (404, {"message": "no such"}))
        if callable(answer):
            answer(self)
        else:
            status, body = answer if isinstance(answer, tuple) else (200, answer)
            self.respond(status, body)

    do_GET = do_POST = do_DELETE = _any  # noqa: N815  the base class calls these names

    def respond(self, status: int, body: Any, length: Optional[int] = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


class Daemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A docker with the responses of the test."""

    daemon_threads = True

    def __init__(self, path: str, answers: Answers) -> None:
        super().__init__(path, _Handler)
        self.answers: Answers = {
            "GET /info": {"Driver": "overlay2", "DockerRootDir": "/", "DriverStatus": [["Backing Filesystem", "xfs"]]},
            "GET /version": VERSION,
            "GET /images/json": [{"Id": ID}],
            f"GET /images/{ID}/json": INSPECTED,
            **answers,
        }
        self.requests: list[str] = []

    def get_request(self) -> Any:
        return self.socket.accept()[0], ("unix", 0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@pytest.fixture
def directory() -> Iterator[str]:
    """A socket's path has at most 107 characters, and pytest's directories are long."""
    with tempfile.TemporaryDirectory() as made:
        yield made


class Docker:
    """Starts daemons and gives an engine that talks to the last one."""

    def __init__(self, directory: str) -> None:
        self.path = f"{directory}/docker.sock"
        self.daemon: Daemon

    def __call__(self, answers: Optional[Answers] = None) -> DockerEngine:
        self.daemon = Daemon(self.path, answers or {})
        threading.Thread(target=self.daemon.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return DockerEngine(f"unix://{self.path}", timeout=5)


@pytest.fixture
def docker(directory: str) -> Iterator[Docker]:
    made = Docker(directory)
    yield made
    made.daemon.shutdown()
    made.daemon.server_close()


class Bytes:
    """An archive."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.length = sum(map(len, chunks))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)


# -- what it has


def test_facts_are_what_the_daemon_reports(docker: Any, tmp_path: Path) -> None:
    engine = docker()
    facts = engine.read_facts(str(tmp_path / "not" / "there" / "yet"))
    assert (facts.engine, facts.version, facts.storage, facts.platform) == (
        "docker",
        "20.10.24+dfsg1",
        "overlay2",
        "linux/amd64",
    )
    assert facts.images == (StoredImage(ID, ID, ("registry.test/app:v1",), V1.image.diff_ids, "linux/amd64", 300),)
    assert facts.chain_ids == frozenset(compute_chain_ids(V1.image.diff_ids))
    assert (facts.staging.path, facts.staging.device) == (str(tmp_path), tmp_path.stat().st_dev)
    assert facts.staging.free_bytes > 0
    assert facts.root is not None
    assert facts.root.path == "/"


def test_preloaded_layers_are_listed_apart(docker: Any) -> None:
    part = make(b"base", b"more")
    part_id = part.image.config.digest
    inspected = {**INSPECTED, "Id": part_id, "RepoTags": [], "RootFS": {"Layers": list(part.image.diff_ids)}}
    answers = {
        "GET /images/json": [
            {"Id": ID, "Labels": {"a": "b"}},
            {"Id": part_id, "Labels": {PRELOADED_LABEL: "/staging/loaded-1"}},
        ],
        f"GET /images/{part_id}/json": inspected,
    }
    engine = docker(answers)
    facts = engine.read_facts("/")
    assert [image.engine_id for image in facts.images] == [ID]
    assert (facts.chain_ids, facts.preloaded) == (
        frozenset(compute_chain_ids(V1.image.diff_ids)),
        {"loaded-1": frozenset(compute_chain_ids(part.image.diff_ids))},
    )
    docker.daemon.answers["GET /images/json"] = answers["GET /images/json"][1:]
    ((image, label),) = engine.list_preloaded()
    assert (image.engine_id, image.names, label) == (part_id, (), "/staging/loaded-1")
    request = next(line for line in docker.daemon.requests if "filters=" in line)
    assert json.loads(unquote(request.partition("filters=")[2])) == {"label": [PRELOADED_LABEL]}


@pytest.mark.parametrize(
    ("version", "zstd"),
    [("20.10.24+dfsg1", False), ("22.06.0", False), ("23.0.1", True), ("29.7.2", True), ("x", False)],
)
def test_archive_formats_zstd_layers_are_for_docker_23_and_later(docker: Any, version: str, zstd: bool) -> None:
    engine = docker({"GET /version": {**VERSION, "Version": version}})
    assert engine.read_facts("/").zstd is zstd


def test_an_unreadable_engine_directory_is_an_unknown_disk(docker: Any) -> None:
    engine = docker({"GET /info": {"Driver": "overlay2", "DockerRootDir": "/no/such/folder", "DriverStatus": None}})
    assert engine.read_facts("/").root is None


def test_an_image_that_goes_away_while_facts_are_read_is_left_out(docker: Any) -> None:
    engine = docker({"GET /images/json": [{"Id": "sha256:" + "0" * 64}, {"Id": ID}]})
    assert [image.engine_id for image in engine.read_facts("/").images] == [ID]


@pytest.mark.parametrize(
    ("changes", "platform", "names", "layers"),
    [
        ({}, "linux/amd64", ("registry.test/app:v1",), 3),
        ({"Variant": "v8", "Architecture": "arm64"}, "linux/arm64/v8", ("registry.test/app:v1",), 3),
        ({"RepoTags": None}, "linux/amd64", (), 3),
        ({"RootFS": {"Type": "layers"}}, "linux/amd64", ("registry.test/app:v1",), 0),
        ({"Size": None}, "linux/amd64", ("registry.test/app:v1",), 3),
    ],
    ids=["plain", "variant", "no name", "no layers", "no size"],
)
def test_an_image_as_inspect_reports_it(
    docker: Any, changes: dict[str, Any], platform: str, names: tuple[str, ...], layers: int
) -> None:
    engine = docker({"GET /images/app:v1/json": {**INSPECTED, **changes}})
    found = engine.find("app:v1")
    assert (found.platform, found.names, len(found.diff_ids)) == (platform, names, layers)


@pytest.mark.parametrize("changes", [{"Id": "../../x"}, {"Id": None}, {"RootFS": {"Layers": ["x"]}}])
def test_an_answer_with_what_is_no_digest_is_refused(docker: Any, changes: dict[str, Any]) -> None:
    engine = docker({"GET /images/app:v1/json": {**INSPECTED, **changes}})
    with pytest.raises(ImageError, match=r"docker: .* is no digest"):
        engine.find("app:v1")


def test_an_image_that_is_not_there_is_none(docker: Any) -> None:
    engine = docker()
    assert engine.find("other:v1") is None


STORE = {
    "Driver": "overlayfs",
    "ServerVersion": "29.7.2",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
}
CONTAINERD = {
    "Address": "/run/containerd/containerd.sock",
    "Namespaces": {"Containers": "moby", "Plugins": "plugins.moby"},
}


def make_by_option(docker: Any, info: dict[str, Any]) -> Engine:
    docker({"GET /info": info})
    return make_engine("docker", {"docker_host": f"unix://{docker.path}", "timeout": 5}, run_nothing)


def run_nothing(*_arguments: object) -> tuple[int, str, str]:
    raise OSError("no program runs here")


@pytest.mark.parametrize(
    ("info", "kind"),
    [({"Driver": "overlay2"}, DockerEngine), ({**STORE, "Containerd": CONTAINERD}, DockerStoreEngine)],
)
def test_where_docker_keeps_its_images_decides_how_they_are_read(
    docker: Any, info: dict[str, Any], kind: type[Engine]
) -> None:
    """The API of a docker with the containerd image store is no evidence.

    See docs/facts/image_transfer.md#docker-with-the-containerd-image-store.
    """
    assert isinstance(make_by_option(docker, info), kind)


@pytest.mark.parametrize("containerd", [None, {}, {"Address": "/run/x.sock"}, {"Namespaces": {"Containers": "moby"}}])
def test_a_docker_that_does_not_report_its_containerd_is_refused(docker: Any, containerd: Any) -> None:
    with pytest.raises(EngineError, match=r"docker 29\.7\.2 .* containerd image store, .*Update docker to 27 or later"):
        make_by_option(docker, {**STORE, "Containerd": containerd})


def test_the_containerd_of_docker_needs_root(docker: Any, directory: str) -> None:
    address = f"{directory}/containerd.sock"
    engine = make_by_option(docker, {**STORE, "Containerd": {**CONTAINERD, "Address": address}})
    with pytest.raises(EngineError, match=r"docker on this host keeps images in the containerd image store.*missing"):
        engine.read_facts("/")


@pytest.mark.parametrize(
    ("history", "sizes"),
    [
        ([30, 0, 20, 10], [10, 20, 30]),
        ([30, 20, 10], [10, 20, 30]),
        ([30, 0, 10], [None, None, None]),
        ([30, 20, 10, 5], [None, None, None]),
        ([], [None, None, None]),
    ],
)
def test_history_counts_only_where_it_shows_plainly_which_layer_is_which(
    docker: Any, history: list[int], sizes: list[Optional[int]]
) -> None:
    engine = docker({f"GET /images/{ID}/history": [{"Size": size} for size in history]})
    assert list(engine.estimate_layer_sizes(engine.find(ID))) == sizes


# -- when it does not answer


def test_a_docker_that_is_not_there(directory: str) -> None:
    with pytest.raises(EngineError, match=r"docker is missing: .*/docker\.sock does not exist\. Start docker"):
        DockerEngine(f"unix://{directory}/docker.sock").find("x")


def test_a_docker_that_does_not_run(directory: str) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{directory}/docker.sock")
    with pytest.raises(EngineError, match=r"docker does not run: nothing listens on"):
        DockerEngine(f"unix://{directory}/docker.sock").find("x")


def test_a_docker_that_may_not_be_used(docker: Any, directory: str) -> None:
    engine = docker()
    os.chmod(f"{directory}/docker.sock", 0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(54321)  # no socket refuses root; and this id has no name, as in a container with any user id
    try:
        with pytest.raises(EngineError, match=r"docker denies access: user id \d+ .*\. Use become, or add the user"):
            engine.find("x")
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("host", ["tcp://10.0.0.1:2375", "ssh://host", "/var/run/docker.sock", "unix://run/x", ""])
def test_only_the_host_s_own_socket_is_taken(host: str) -> None:
    with pytest.raises(EngineError, match=r"docker_host: .* is no Unix socket"):
        DockerEngine(host)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((500, {"message": "layer does not exist"}), "docker refused to GET /info: 500 layer does not exist"),
        ((503, b"<html>busy</html>"), "docker refused to GET /info: 503 <html>busy</html>"),
        ((400, ["x"]), r'docker refused to GET /info: 400 \["x"\]'),
        ((404, {"message": "page not found"}), "docker refused to GET /info: 404 page not found"),
        (lambda handler: handler.connection.shutdown(socket.SHUT_RDWR), "docker at .* broke off the connection"),
        (
            lambda handler: handler.wfile.write(b"this is not HTTP\r\n\r\n"),
            "docker at .* broke off the connection: BadStatusLine",
        ),
        (lambda handler: handler.respond(200, b"{", length=100), "docker responded to GET /info with what is no JSON"),
    ],
    ids=["500", "no JSON", "no message", "404", "closed", "no HTTP", "cut off"],
)
def test_its_refusals_are_reported_with_its_own_message(docker: Any, answer: Any, message: str) -> None:
    engine = docker({"GET /info": answer})
    with pytest.raises(EngineError, match=message):
        engine.read_facts("/")


# -- save


def test_an_export_is_a_stream(docker: Any) -> None:
    engine = docker({f"GET /images/{ID}/get": b"x" * 100_000})
    with engine.export(engine.find(ID)) as stream:
        assert stream.read(10) == b"x" * 10
        assert stream.read(100_000) == b"x" * 99_990


def test_an_export_that_is_cut_off_is_docker_s_fault(docker: Any) -> None:
    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\n12345\r\n1000\r\nx")
        handler.close_connection = True

    engine = docker({f"GET /images/{ID}/get": answer})
    with engine.export(engine.find(ID)) as stream:
        assert stream.read(5) == b"12345"
        with pytest.raises(EngineError, match=r"docker at .* broke off the connection: IncompleteRead"):
            stream.read(512)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/staging/x"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/staging/x"),
        PermissionError(errno.EACCES, "Permission denied", "/staging/x"),
    ],
    ids=["full", "gone", "closed"],
)
def test_a_fault_of_the_staging_directory_is_not_reported_as_docker_s(docker: Any, error: OSError) -> None:
    engine = docker({f"GET /images/{ID}/get": b"x" * 1000})
    with pytest.raises(OSError, match=str(error.strerror)), engine.export(engine.find(ID)):
        raise error


# -- load


def load(engine: DockerEngine, *chunks: bytes) -> list[tuple[str, int, int]]:
    reported: list[tuple[str, int, int]] = []
    engine.load(Bytes(*chunks), lambda *line: reported.append(line))
    return reported


def taking(status: int, *lines: Any) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.server.body = handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.respond(status, b"\r\n".join(json.dumps(line).encode() for line in lines))

    return answer


def test_an_archive_is_sent_as_it_is(docker: Any) -> None:
    lines = [
        {"status": "Loading layer", "progressDetail": {"current": 5, "total": 9}, "id": "5dab7061"},
        {"stream": "Loaded image ID: sha256:x"},
    ]
    engine = docker({"POST /images/load": taking(200, *lines)})
    reported = load(engine, b"a" * 10, b"b" * 5)
    assert docker.daemon.body == b"a" * 10 + b"b" * 5
    assert reported == [
        ("sending to docker", 10, 15),
        ("sending to docker", 15, 15),
        ("docker unpacks layer 5dab7061", 5, 9),
    ]


@pytest.mark.parametrize(
    "line",
    [
        {"error": "open /x/layer.tar: no such file", "errorDetail": {"message": "open /x/layer.tar: no such file"}},
        {"errorDetail": {"message": "open /x/layer.tar: no such file"}, "error": "open /x/layer.tar: no such file"},
    ],
)
def test_an_exit_code_is_no_evidence_but_an_error_line_in_a_200_response_is(docker: Any, line: Any) -> None:
    """Other tools ignore errors in the response stream (docs/facts/image_transfer.md#what-other-tools-get-wrong)."""
    engine = docker({"POST /images/load": taking(200, {"stream": "Loaded image: x"}, line, {"stream": "more"})})
    with pytest.raises(EngineError, match=r"could not load the image: open /x/layer\.tar: no such file"):
        load(engine, b"archive")


def test_lines_that_are_no_messages_are_passed_over(docker: Any) -> None:
    engine = docker({"POST /images/load": taking(200, "text", 5, None, {"progressDetail": None}, {})})
    assert load(engine, b"archive") == [("sending to docker", 7, 7)]


def test_a_refused_load_is_reported_with_docker_s_message(docker: Any) -> None:
    engine = docker({"POST /images/load": taking(500, {"message": "no space left on device"})})
    with pytest.raises(EngineError, match=r"docker refused to load an image: 500 no space left on device"):
        load(engine, b"archive")


def test_the_response_of_a_daemon_that_stops_reading_is_read(docker: Any) -> None:
    def answer(handler: Any) -> None:
        handler.rfile.read(10)
        handler.respond(500, {"message": "no space left on device"})
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RD)

    engine = docker({"POST /images/load": answer})
    with pytest.raises(EngineError, match="500 no space left on device"):
        load(engine, *[b"x" * 100_000] * 100)


def test_a_blob_that_vanishes_while_it_is_sent_is_not_reported_as_docker_s_fault(docker: Any) -> None:
    engine = docker({"POST /images/load": taking(200)})

    class Vanishing(Bytes):
        def __iter__(self) -> Iterator[bytes]:
            yield b"x"
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/staging/blob")

    with pytest.raises(FileNotFoundError):
        engine.load(Vanishing(b"xx"), nothing)


# -- tag and remove


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("registry.test:5000/app:v1", "repo=registry.test%3A5000%2Fapp&tag=v1"),
        ("registry.test:5000/app", "repo=registry.test%3A5000%2Fapp&tag=latest"),
        ("app:v1", "repo=app&tag=v1"),
        ("app", "repo=app&tag=latest"),
    ],
)
def test_a_name_is_given_by_repository_and_tag(docker: Any, name: str, query: str) -> None:
    engine = docker({f"POST /images/{ID}/tag": (201, b"")})
    engine.tag(engine.find(ID), name)
    assert docker.daemon.requests[-1] == f"POST /images/{ID}/tag?{query}"
    assert f"repo={split_tag(name)[0]}".replace(":", "%3A").replace("/", "%2F") in query


def test_an_image_is_removed_without_force_and_may_be_gone(docker: Any) -> None:
    engine = docker()
    engine.remove(engine.find(ID))
    assert docker.daemon.requests[-1] == f"DELETE /images/{ID}?force=0&noprune=0"


def test_a_long_response_is_read_in_chunks(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.9 allocates the whole amount of a read: 64 MB for every short response, if it were read at once."""
    names = tuple(f"registry.test/app:v{number}" for number in range(20_000))
    amounts: list[int] = []
    read = http.client.HTTPResponse.read
    monkeypatch.setattr(
        http.client.HTTPResponse, "read", lambda response, amount: (amounts.append(amount), read(response, amount))[1]
    )
    found = docker({f"GET /images/{ID}/json": {**INSPECTED, "RepoTags": names}}).find(ID)
    assert found is not None
    assert found.names == names
    assert max(amounts) <= 1024 * 1024
