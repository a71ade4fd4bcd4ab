# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker through its API socket: the only file that calls it, by the Docker Engine API 1.41.

Images are kept by a graph driver. Those of the containerd image store are in docker_store.py.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Callable, Optional, cast
from urllib.parse import quote, urlencode

from ..formats.reference import ImagePlatform
from ..model import EngineFacts, StoredImage, parse_digest
from ..progress import ProgressCallback
from .disk_space import read_disk_space, read_nearest_disk_space
from .engine import (
    DEFAULT_DOCKER_HOST,
    PRELOADED_LABEL,
    EngineError,
    ExportedBlobs,
    KeptIndex,
    LoadableArchive,
    SortedImages,
    get_layer_sizes,
    list_uncompressed_blobs,
)

# A response about an image has some kilobytes; a list of thousands of images has a few megabytes.
_MAX_RESPONSE = 64 * 1024 * 1024
_MAX_LINE = 1024 * 1024
_CHUNK = 64 * 1024
_SHORT_TIMEOUT = 60.0
# Docker takes zstd layers since 23.0; 20.10 refuses them (docs/facts/image_transfer.md#archive-formats).
_MIN_ZSTD_VERSION = 23


@contextmanager
def _translate_response_errors() -> Iterator[None]:
    """Reports a response of another shape than the API's as an EngineError instead of a traceback."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise EngineError(
            f"docker sent a response that its API does not have ({type(error).__name__}: {error}). Check that docker "
            "listens on this socket."
        ) from error


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _ExportStream:
    """The body of a response as a file to read."""

    def __init__(
        self, response: http.client.HTTPResponse, translate_errors: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._response = response
        self._translate_errors = translate_errors

    def read(self, size: int) -> bytes:
        with self._translate_errors():
            return self._response.read(size)


@dataclass(frozen=True)
class DockerInfo:
    """What docker reports of itself. C(root): the directory of its data.

    C(has_containerd_store): it keeps images in the containerd image store. Its containerd's address and namespace are
    empty where it does not report them.
    """

    version: str
    storage: str
    root: str
    has_containerd_store: bool
    containerd_address: str
    containerd_namespace: str


class DockerEngine:
    """An Engine: docker with a graph driver.

    C(host) is a C(unix://) address; C(timeout) is the seconds that a load or save may be silent.
    """

    def __init__(self, host: str = DEFAULT_DOCKER_HOST, timeout: float = 1800.0) -> None:
        if not host.startswith("unix:///"):
            raise EngineError(
                f"docker_host: {host!r} is no Unix socket. The module uses the docker of the host that it runs on. "
                "Set unix:///path/to/docker.sock, and run the task on that host."
            )
        self._path = host[len("unix://") :]
        self._timeout = timeout
        self._info: Optional[DockerInfo] = None

    @_translate_response_errors()
    def read_facts(self, staging_path: str) -> EngineFacts:
        info = self.read_info()
        version = self._request_json("GET", "/version")
        entries = self._request_json("GET", "/images/json")
        found = [(self.find(str(entry["Id"])), (entry.get("Labels") or {}).get(PRELOADED_LABEL)) for entry in entries]
        sorted_images = SortedImages.sort((image, str(label or "")) for image, label in found if image is not None)
        return EngineFacts(
            engine="docker",
            version=str(version.get("Version")),
            storage=info.storage,
            platform=f"{version.get('Os')}/{version.get('Arch')}",
            images=sorted_images.images,
            chain_ids=sorted_images.chain_ids,
            staging=read_nearest_disk_space(staging_path),
            root=read_disk_space(info.root),
            zstd=_parse_major_version(str(version.get("Version"))) >= _MIN_ZSTD_VERSION,
            preloaded=sorted_images.preloaded,
        )

    @_translate_response_errors()
    def list_preloaded(self) -> Sequence[tuple[StoredImage, str]]:
        query = urlencode({"filters": json.dumps({"label": [PRELOADED_LABEL]}, separators=(",", ":"))})
        labels = {
            str(entry["Id"]): entry["Labels"][PRELOADED_LABEL]
            for entry in self._request_json("GET", f"/images/json?{query}")
        }
        found = [(self.find(image_id), str(label)) for image_id, label in labels.items()]
        return [(image, label) for image, label in found if image is not None]

    @_translate_response_errors()
    def find(self, name_or_id: str) -> Optional[StoredImage]:
        details = self._request_json("GET", f"/images/{quote(name_or_id, safe='/:@')}/json", absent_ok=True)
        if details is None:
            return None
        os_name, architecture, variant = (str(details.get(name) or "") for name in ("Os", "Architecture", "Variant"))
        image_id = parse_digest(details.get("Id"), "docker: image id")
        return StoredImage(
            engine_id=image_id,
            # With a graph driver the id is the config digest (docs/facts/image_transfer.md#identity-and-names).
            config_digest=image_id,
            names=tuple(map(str, details.get("RepoTags") or ())),
            diff_ids=tuple(parse_digest(item, "docker: diffID") for item in details["RootFS"].get("Layers") or ()),
            platform=str(ImagePlatform.from_config(os_name, architecture, variant)),
            size=int(details.get("Size") or 0),
        )

    @_translate_response_errors()
    def estimate_layer_sizes(self, image: StoredImage) -> Sequence[Optional[int]]:
        history = self._request_json("GET", f"/images/{image.engine_id}/history")
        return get_layer_sizes(image, [entry.get("Size") for entry in history])

    def list_blobs(self, image: StoredImage) -> ExportedBlobs:
        # An engine with a graph driver saves its own layers.
        return list_uncompressed_blobs(image)

    @contextmanager
    def export(self, image: StoredImage) -> Iterator[BinaryIO]:
        with self._open_response("GET", f"/images/{image.engine_id}/get", self._timeout) as response:
            yield cast(BinaryIO, _ExportStream(response, self._translate_connection_errors))

    def load(self, archive: LoadableArchive, progress: ProgressCallback) -> None:
        connection = _UnixConnection(self._path, self._timeout)
        try:
            with self._translate_connection_errors():
                connection.putrequest("POST", "/images/load?quiet=0")
                connection.putheader("Content-Type", "application/x-tar")
                connection.putheader("Content-Length", str(archive.length))
                connection.endheaders()
            sent = 0
            for chunk in archive:
                with self._translate_connection_errors():
                    try:
                        connection.send(chunk)
                    except (BrokenPipeError, ConnectionResetError):
                        break  # the daemon stopped reading; its response has the reason, so read that
                sent += len(chunk)
                progress("sending to docker", sent, archive.length)
            with self._translate_connection_errors():
                response = connection.getresponse()
                _raise_for_status(response, "load an image")
                _follow_load(response, progress)
        finally:
            connection.close()

    def tag(
        self, image: StoredImage, name: str, digest: Optional[str] = None, index: Optional[KeptIndex] = None
    ) -> None:
        repository, tag = split_tag(name)
        query = urlencode({"repo": repository, "tag": tag})
        self._request_json("POST", f"/images/{image.engine_id}/tag?{query}")

    def remove(self, image: StoredImage) -> None:
        self._request_json("DELETE", f"/images/{image.engine_id}?force=0&noprune=0", absent_ok=True)

    @_translate_response_errors()
    def read_info(self) -> DockerInfo:
        """Reads what docker reports of itself, once."""
        if self._info is not None:
            return self._info
        info = self._request_json("GET", "/info")
        containerd = info.get("Containerd") or {}
        self._info = DockerInfo(
            version=str(info.get("ServerVersion")),
            storage=str(info.get("Driver")),
            root=str(info.get("DockerRootDir")),
            has_containerd_store=["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or []),
            containerd_address=str(containerd.get("Address") or ""),
            containerd_namespace=str((containerd.get("Namespaces") or {}).get("Containers") or ""),
        )
        return self._info

    def _request_json(self, method: str, path: str, absent_ok: bool = False) -> Any:
        with self._open_response(method, path, _SHORT_TIMEOUT, absent_ok) as response:
            with self._translate_connection_errors():
                body = _read_body(response)
            if response.status == 404:
                return None
            if not body or response.status == 204:
                return {}
            try:
                return json.loads(body)
            except (ValueError, RecursionError):
                # An empty response would mean that this host has no images.
                raise EngineError(
                    f"docker responded to {method} {path.split('?')[0]} with what is no JSON. Check that docker "
                    "listens on this socket."
                ) from None

    @contextmanager
    def _open_response(
        self, method: str, path: str, timeout: float, absent_ok: bool = False
    ) -> Iterator[http.client.HTTPResponse]:
        connection = _UnixConnection(self._path, timeout)
        try:
            with self._translate_connection_errors():
                connection.request(method, path)
                response = connection.getresponse()
                if not (absent_ok and response.status == 404):
                    _raise_for_status(response, f"{method} {path.split('?')[0]}")
            yield response
        finally:
            connection.close()

    @contextmanager
    def _translate_connection_errors(self) -> Iterator[None]:
        """Translates errors of the connection. Errors of files meanwhile pass unchanged: they are not docker's."""
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            raise self._make_unreachable_error(error) from error

    def _make_unreachable_error(self, error: Exception) -> EngineError:
        if isinstance(error, FileNotFoundError):
            return EngineError(
                f"docker is missing: {self._path} does not exist. Start docker on this host, or set docker_host."
            )
        if isinstance(error, PermissionError):
            return EngineError(
                f"docker denies access: user id {os.geteuid()} has no permission for {self._path}. "
                "Use become, or add the user to the socket's group."
            )
        if isinstance(error, ConnectionRefusedError):
            return EngineError(f"docker does not run: nothing listens on {self._path}. Start docker on this host.")
        return EngineError(
            f"docker at {self._path} broke off the connection: {type(error).__name__}: {error}. Check its log, and run "
            "again."
        )


def split_tag(name: str) -> tuple[str, str]:
    """Splits a name such as C(host:5000/app:v1) into repository and tag."""
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return name, "latest"
    return repository, tag


def _parse_major_version(version: str) -> int:
    """The first number of a version, or 0 if it has none."""
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else 0


def _raise_for_status(response: http.client.HTTPResponse, action: str) -> None:
    if response.status < 400:
        return
    body = response.read(_MAX_LINE)
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body.decode("utf-8", "replace").strip()
    raise EngineError(f"docker refused to {action}: {response.status} {message}")


def _read_body(response: http.client.HTTPResponse) -> bytes:
    """Reads a response's body in chunks: Python 3.9 allocates as much memory as read() is called with."""
    chunks: list[bytes] = []
    remaining = _MAX_RESPONSE
    while chunk := response.read(min(remaining, _CHUNK)):
        chunks.append(chunk)
        remaining -= len(chunk)
    return b"".join(chunks)


def _follow_load(response: http.client.HTTPResponse, progress: ProgressCallback) -> None:
    """Reads the response to a load to its end: lines of JSON, of which one may report an error."""
    while True:
        line = response.readline(_MAX_LINE)
        if not line:
            return
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(message, dict):
            continue
        if message.get("error"):
            raise EngineError(f"docker could not load the image: {message['error']}")
        detail = message.get("progressDetail")
        if isinstance(detail, dict) and isinstance(detail.get("current"), int):
            total = detail.get("total")
            bytes_total = total if isinstance(total, int) else 0
            progress(f"docker unpacks layer {message.get('id', '')}", detail["current"], bytes_total)
