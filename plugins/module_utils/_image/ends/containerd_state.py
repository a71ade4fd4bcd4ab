# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what a containerd has: names, content, snapshots and plugins, from the output of C(ctr)."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Optional
from urllib.parse import unquote

from ..errors import ImageError
from ..formats.manifest import (
    CONFIG_LIMIT,
    INDEX_TYPES,
    ImageConfig,
    ImageManifest,
    check_layers,
    detect_media_type,
    parse_config,
    parse_index,
    parse_manifest,
)
from ..formats.reference import ImagePlatform, ImageReference, is_digest
from ..model import compute_chain_ids, compute_digest, get_digest_hex
from .containerd_client import SHORT_TIMEOUT, ContainerdClient, end_program
from .engine import KUBERNETES_NAMESPACE, EngineError

TEMPORARY_PREFIX = "daytwo.aws.image-transfer:"

_IMAGE_LINE = re.compile(r"(?P<name>\S.*?)\s+(?P<type>\S+)\s+(?P<digest>sha256:[0-9a-f]{64})\s+(?P<rest>.*)")
_BLOB_LINE = re.compile(r"(sha256:[0-9a-f]{64})\s.*")
_SNAPSHOT_LABEL = re.compile(r"containerd\.io/gc\.ref\.snapshot\.([A-Za-z0-9][A-Za-z0-9_.-]*)=sha256:[0-9a-f]{64}")
_SNAPSHOT_LINE = re.compile(r"(sha256:[0-9a-f]{64})\s+(?:\S+\s+)?Committed\s*")
_SERVER_VERSION = re.compile(r"^Server:\s+Version:\s*v?(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class ContainerdReference:
    """A name in containerd, and the manifest or index that it refers to."""

    name: str
    media_type: str
    digest: str
    labels: str

    @property
    def directory(self) -> Optional[str]:
        """The staging directory of the transfer that gave a temporary name; None for any other name."""
        if not self.name.startswith(TEMPORARY_PREFIX):
            return None
        return unquote(self.name[len(TEMPORARY_PREFIX) :].rpartition("@")[0])

    @property
    def is_own(self) -> bool:
        """Whether it is a name that only this collection and containerd's CRI give: a temporary name, or an id."""
        return self.directory is not None or is_digest(self.name)

    @property
    def familiar_name(self) -> Optional[str]:
        """The name as docker shows it. A name in another form is found by neither CRI nor docker."""
        with suppress(ImageError):
            parsed = ImageReference.parse(self.name)
            if parsed.canonical_string == self.name:
                return parsed.familiar_string
        return None

    @property
    def has_digest(self) -> bool:
        """Whether it is a name with a digest, by which an image stays even when its tag moves."""
        return "@" in self.name


@dataclass(frozen=True)
class ContainerdContent:
    """The image of one platform, from its manifest and its config as containerd has them."""

    digest: str
    media_type: str
    manifest: ImageManifest
    config: ImageConfig


@dataclass(frozen=True)
class ContainerdPlugins:
    """What containerd's plugins report: the directories of content and snapshots, and whether its CRI runs."""

    roots: Mapping[str, str]
    snapshotters: frozenset[str]
    has_cri: bool


@dataclass(frozen=True)
class ContainerdState:
    """The names, blobs and committed snapshots of a namespace, read at one time."""

    references: tuple[ContainerdReference, ...]
    blobs: frozenset[str]
    snapshots: frozenset[str]


class ContainerdReader:
    """Reads the state of a namespace. C(snapshotter) is known once the state was read, and None without an image."""

    def __init__(
        self, client: ContainerdClient, namespace: str, platform: ImagePlatform, requires_namespace: bool = True
    ) -> None:
        self.snapshotter: Optional[str] = None
        self._client = client
        self._namespace = namespace
        self._platform = platform
        self._plugins: Optional[ContainerdPlugins] = None
        self._is_checked = namespace == KUBERNETES_NAMESPACE or not requires_namespace
        # Manifests and configs by digest. Their content never changes.
        self._contents: dict[str, bytes] = {}

    def read_state(self) -> ContainerdState:
        self._check_namespace()
        references = self.list_references()
        listed = self._client.list_lines("DIGEST SIZE AGE LABELS", "content", "ls")
        blobs = frozenset(match[1] for match in map(_BLOB_LINE.fullmatch, listed) if match)
        unpacked_for = {name for line in listed for name in _SNAPSHOT_LABEL.findall(line)}
        self.snapshotter = _choose_snapshotter(unpacked_for & self.read_plugins().snapshotters)
        lines = self._client.list_lines("KEY PARENT KIND", "snapshots", *self.get_snapshotter_option(), "ls")
        snapshots = frozenset(match[1] for match in map(_SNAPSHOT_LINE.fullmatch, lines) if match)
        return ContainerdState(references, blobs, snapshots)

    def list_references(self) -> tuple[ContainerdReference, ...]:
        lines = self._client.list_lines("REF TYPE DIGEST SIZE PLATFORMS LABELS", "images", "ls")
        matches = filter(None, map(_IMAGE_LINE.fullmatch, lines))
        return tuple(
            ContainerdReference(match["name"], match["type"], match["digest"], match["rest"]) for match in matches
        )

    def collect_groups(
        self, state: ContainerdState
    ) -> Iterator[tuple[ContainerdContent, tuple[ContainerdReference, ...]]]:
        """Yields each image of this host's platform with its names. Other content of containerd is no image."""
        groups: dict[str, tuple[ContainerdContent, list[ContainerdReference]]] = {}
        for reference in state.references:
            with suppress(ImageError):
                content = self.read_content(reference, state)
                groups.setdefault(content.digest, (content, []))[1].append(reference)
        for content, references in groups.values():
            yield content, tuple(references)

    def read_content(self, reference: ContainerdReference, state: ContainerdState) -> ContainerdContent:
        """Reads the image that a name refers to. Of an index, this is the image that this host runs."""
        where = f"containerd: {reference.name}"
        data = self.read_blob(reference.digest, state, reference)
        if detect_media_type(data, reference.media_type, where) not in INDEX_TYPES:
            return self._read_manifest(reference.digest, reference.media_type, reference, state)
        entries = parse_index(data, reference.media_type, where).entries
        own = [entry for entry in entries if entry.platform and entry.platform.matches(self._platform)]
        present = [entry for entry in own or entries if entry.digest in state.blobs]
        if not present or not (own or len(present) == 1):
            raise EngineError(f"{where} is an index, of which containerd has no image for {self._platform}.")
        return self._read_manifest(present[0].digest, "", reference, state)

    def _read_manifest(
        self, digest: str, media_type: str, reference: ContainerdReference, state: ContainerdState
    ) -> ContainerdContent:
        where = f"containerd: {reference.name}"
        manifest = parse_manifest(self.read_blob(digest, state, reference), media_type, where)
        config = parse_config(self.read_blob(manifest.config.digest, state, reference), where)
        check_layers(manifest, config, where)
        return ContainerdContent(digest, manifest.media_type, manifest, config)

    def read_blob(self, digest: str, state: ContainerdState, reference: ContainerdReference) -> bytes:
        """Reads a manifest, index or config of the image that a name refers to, and verifies its digest."""
        if digest not in state.blobs:
            raise EngineError(f"containerd has no content {digest}.")
        if digest not in self._contents:
            content = self._read_content_file(digest) or self._get_content(digest)
            if compute_digest(content) != digest:
                found = [other for other in state.references if other.digest == reference.digest]
                # The temporary name of a transfer is removed by the transfer itself.
                names = [other.name for other in found if other.directory is None]
                command = " ".join(self._client.make_command(["images", "rm", *names]))
                raise EngineError(
                    f"containerd: the content {digest} of the image {reference.name} is damaged. "
                    f"Remove the image by all its names, and run again: {command}"
                )
            self._contents[digest] = content
        return self._contents[digest]

    def _read_content_file(self, digest: str) -> bytes:
        """Reads content from containerd's directory: a program per blob takes seconds on a node of many images."""
        path = os.path.join(self.read_plugins().roots.get("content", "/"), "blobs/sha256", get_digest_hex(digest))
        with suppress(OSError), open(path, "rb") as file:
            return file.read(CONFIG_LIMIT + 1)
        return b""

    def _get_content(self, digest: str) -> bytes:
        program = self._client.start(["content", "get", digest], SHORT_TIMEOUT)
        try:
            return program.stdout.read(CONFIG_LIMIT + 1)
        finally:
            end_program(program)

    def read_plugins(self) -> ContainerdPlugins:
        if self._plugins is None:
            roots, has_cri = {}, False
            snapshotters: set[str] = set()
            for block in re.split(r"\n[ \t]*\n", self._client.request("plugins", "ls", "-d")):
                kind = re.search(r"^Type:\s+(\S+)", block, re.MULTILINE)
                name = re.search(r"^ID:\s+(\S+)", block, re.MULTILINE)
                root = re.search(r"^\s+root\s+(/.*?)\s*$", block, re.MULTILINE)
                if kind is None or name is None or re.search(r"^Error:", block, re.MULTILINE):
                    continue
                if root and kind[1] in ("io.containerd.content.v1", "io.containerd.snapshotter.v1"):
                    roots[name[1]] = root[1]
                if kind[1] == "io.containerd.snapshotter.v1":
                    snapshotters.add(name[1])
                has_cri = has_cri or (kind[1], name[1]) == ("io.containerd.grpc.v1", "cri")
            self._plugins = ContainerdPlugins(
                roots, frozenset(snapshotters), has_cri and self._namespace == KUBERNETES_NAMESPACE
            )
        return self._plugins

    def read_version(self) -> str:
        match = _SERVER_VERSION.search(self._client.request("version"))
        return match[1] if match else "unknown"

    def get_snapshotter_option(self) -> list[str]:
        return ["--snapshotter", self.snapshotter] if self.snapshotter else []

    def _check_namespace(self) -> None:
        """Refuses a namespace that does not exist, since containerd would create one for a mistyped name."""
        if not self._is_checked:
            namespaces = self._client.request("namespaces", "list", "--quiet").split()
            if self._namespace not in namespaces:
                raise EngineError(
                    f"containerd has no namespace {self._namespace}. It has {', '.join(namespaces) or 'none'}. Set "
                    f"containerd_namespace to one of these, or create it: ctr namespaces create {self._namespace}"
                )
            self._is_checked = True


def _choose_snapshotter(unpacked_for: Collection[str]) -> Optional[str]:
    """Chooses the snapshotter that all images are unpacked for; None where there is no image yet."""
    if len(unpacked_for) > 1:
        # On an EKS node with FastImagePull, these are overlayfs and soci.
        raise EngineError(
            f"containerd has images that are unpacked for the snapshotters {' and '.join(sorted(unpacked_for))}. Which "
            "of them pods use is not known here. Use nodes with one snapshotter, or a registry that they reach."
        )
    return next(iter(unpacked_for), None)


def is_unpacked(content: ContainerdContent, state: ContainerdState) -> bool:
    chain = compute_chain_ids(content.config.diff_ids)
    return not chain or chain[-1] in state.snapshots
