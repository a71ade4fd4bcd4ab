# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""containerd through its client C(ctr): containerd_client.py runs it. Nodes of Kubernetes run containerd.

containerd keeps no image without a name. So an image is imported under a temporary name, which has the staging
directory of its transfer. Once the image is verified, it gets its own name, and the temporary one is removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import BinaryIO, Optional, cast
from urllib.parse import quote, unquote

from ..errors import ImageError
from ..formats.archive import build_naming_archive
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
from ..model import Blob, EngineFacts, StoredImage, compute_chain_ids, get_digest_hex
from ..progress import ProgressCallback
from ..run_command import RunCommand
from .containerd_client import SHORT_TIMEOUT, ContainerdClient, end_program
from .disk_space import read_disk_space, read_nearest_disk_space
from .engine import KUBERNETES_NAMESPACE, EngineError, ExportedBlobs, LoadableArchive

_TEMPORARY_PREFIX = "daytwo.aws.image-transfer:"
_MANAGED_LABEL = "io.cri-containerd.image=managed"
_PINNED_LABEL = "io.cri-containerd.pinned=pinned"
_DEFAULT_SNAPSHOTTER = "overlayfs"
_CRI_SECONDS = 10.0
_POLL_SECONDS = 0.05
# A load may take its timeout, and longer for an archive that takes longer at this speed.
_MIN_BYTES_PER_SECOND = 1024 * 1024
_CHUNK = 64 * 1024

_IMAGE_LINE = re.compile(r"(?P<name>\S.*?)\s+(?P<type>\S+)\s+(?P<digest>sha256:[0-9a-f]{64})\s+(?P<rest>.*)")
_BLOB_LINE = re.compile(r"(sha256:[0-9a-f]{64})\s.*")
_SNAPSHOT_LABEL = re.compile(r"containerd\.io/gc\.ref\.snapshot\.([A-Za-z0-9][A-Za-z0-9_.-]*)=sha256:[0-9a-f]{64}")
_SNAPSHOT_LINE = re.compile(r"(sha256:[0-9a-f]{64})\s+(?:\S+\s+)?Committed\s*")
_SERVER_VERSION = re.compile(r"^Server:\s+Version:\s*v?(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class _Reference:
    """A name in containerd, and the manifest or index that it refers to."""

    name: str
    media_type: str
    digest: str
    labels: str

    @property
    def directory(self) -> Optional[str]:
        """The staging directory of the transfer that gave a temporary name; None for any other name."""
        if not self.name.startswith(_TEMPORARY_PREFIX):
            return None
        return unquote(self.name[len(_TEMPORARY_PREFIX) :].rpartition("@")[0])

    @property
    def is_own(self) -> bool:
        """Whether it is a name that only this collection and containerd's CRI give: a temporary name, or an id."""
        return self.directory is not None or is_digest(self.name)


@dataclass(frozen=True)
class _Content:
    """The image of one platform, from its manifest and its config as containerd has them."""

    digest: str
    media_type: str
    manifest: ImageManifest
    config: ImageConfig


@dataclass(frozen=True)
class _Plugins:
    """What containerd's plugins report: the directories of content and snapshots, and whether its CRI runs."""

    roots: Mapping[str, str]
    snapshotters: frozenset[str]
    has_cri: bool


@dataclass(frozen=True)
class _State:
    """The names, blobs and committed snapshots of a namespace, read at one time."""

    references: tuple[_Reference, ...]
    blobs: frozenset[str]
    snapshots: frozenset[str]


class ContainerdEngine:
    """An Engine. C(timeout) is the seconds that a load may take; a large archive gets more.

    C(pinned): images that are tagged also get the label that keeps them from the kubelet's garbage collection.
    """

    def __init__(
        self, address: str, namespace: str, timeout: float, run: RunCommand, pinned: bool = True, program: str = "ctr"
    ) -> None:
        self._client = ContainerdClient(address, namespace, run, program)
        self._namespace = namespace
        self._timeout = timeout
        self._pinned = pinned
        self._platform = ImagePlatform.detect_host()
        self._plugins: Optional[_Plugins] = None
        self._snapshotter: Optional[str] = None
        # Manifests and configs by digest. Their content never changes.
        self._contents: dict[str, bytes] = {}

    def read_facts(self, staging_path: str) -> EngineFacts:
        state = self._read_state()
        version = self._read_version()
        images: list[StoredImage] = []
        kept: set[str] = set()
        preloaded: dict[str, set[str]] = {}
        for content, references in self._collect_groups(state):
            chains = set(compute_chain_ids(content.config.diff_ids))
            directories = [reference.directory for reference in references if reference.directory is not None]
            if directories and all(reference.is_own for reference in references):
                for directory in directories:
                    preloaded.setdefault(os.path.basename(directory), set()).update(chains & state.snapshots)
            else:
                # The name of an index is never this module's own. Giving it again would take it from the index.
                direct = [reference for reference in references if reference.digest == content.digest]
                incomplete = [reference for reference in direct if not self._is_complete(reference)]
                image = _to_stored_image(content, [found for found in references if found not in incomplete])
                # An image that is not unpacked is not usable. It is loaded like one that is missing.
                images.append(image if _is_unpacked(content, state) else replace(image, config_digest=None))
                # A name that a killed run left without its labels is given again.
                named = _to_stored_image(content, incomplete)
                images += [replace(named, config_digest=None)] if named.names else []
                kept.update(chains)
        snapshotter = self._snapshotter or _DEFAULT_SNAPSHOTTER
        return EngineFacts(
            engine="containerd",
            version=version,
            storage=snapshotter,
            platform=str(self._platform),
            images=tuple(images),
            chain_ids=state.snapshots.difference(set().union(*preloaded.values()) - kept),
            staging=read_nearest_disk_space(staging_path),
            root=read_disk_space(self._read_plugins().roots.get(snapshotter, "")),
            # (docs/facts/image_transfer.md#containerd-and-ctr)
            zstd=not re.match(r"(?:0|1\.[0-4])\.", version),
            preloaded={directory: frozenset(chains) for directory, chains in preloaded.items()},
        )

    def list_preloaded(self) -> Sequence[tuple[StoredImage, str]]:
        # An image that cannot be read is listed, too: its temporary name is to be removed.
        return [
            (StoredImage(reference.name, None, (), (), str(self._platform), 0), reference.directory)
            for reference in self._list_references()
            if reference.directory is not None
        ]

    def find(self, name_or_id: str) -> Optional[StoredImage]:
        state = self._read_state()
        if is_digest(name_or_id):
            groups = [group for group in self._collect_groups(state) if group[0].manifest.config.digest == name_or_id]
            # Of two images with one config, the one that can be used.
            groups.sort(key=lambda group: not _is_unpacked(group[0], state))
            return _to_stored_image(*groups[0]) if groups else None
        reference = _find_reference(state, ImageReference.parse(name_or_id))
        if reference is None:
            return None
        digest = self._read_content(reference, state).digest
        return next(_to_stored_image(*group) for group in self._collect_groups(state) if group[0].digest == digest)

    def estimate_layer_sizes(self, image: StoredImage) -> Sequence[Optional[int]]:
        # The manifest has the sizes of the blobs that are exported.
        return [None] * len(image.diff_ids)

    def list_blobs(self, image: StoredImage) -> ExportedBlobs:
        state = self._read_state()
        content, _references = self._find_group(image, state)
        missing = [layer.digest for layer in content.manifest.layers if layer.digest not in state.blobs]
        if missing:
            raise EngineError(
                f"containerd cannot export {_format_names(image)}: it has only snapshots of {len(missing)} of its "
                f"{len(image.diff_ids)} layers, and no blobs. It discards them where discard_unpacked_layers is set, "
                "as on EKS nodes, and never had those that a transfer left out. Use source=registry, or the host that "
                "pushed the image."
            )
        manifest = Blob(content.digest, len(self._read_blob(content.digest, state)), content.media_type)
        return ExportedBlobs(manifest, content.manifest.config, content.manifest.layers)

    @contextmanager
    def export(self, image: StoredImage) -> Iterator[BinaryIO]:
        _content, references = self._find_group(image, self._read_state())
        platform = [] if image.platform.endswith("/unknown") else ["--platform", image.platform]
        command = ["images", "export", *self._client.get_local_flag("export"), *platform, "-", references[0].name]
        program = self._client.start(command, self._compute_timeout(image.size))
        messages = ""
        try:
            yield cast(BinaryIO, program.stdout)
        except ImageError as error:
            messages = end_program(program)
            if messages:
                raise EngineError(f"containerd could not export {_format_names(image)}: {messages}") from error
            raise
        finally:
            end_program(program)

    def load(self, archive: LoadableArchive, progress: ProgressCallback) -> None:
        prefix = _TEMPORARY_PREFIX + quote(archive.directory)
        name = f"{prefix}@{archive.manifest_digest}"
        if self._snapshotter is None:
            self._read_state()
        try:
            options = ["--base-name", prefix, "--digests"]
            messages = self._run_import(archive, archive.length, options, progress)
            state = self._read_state()
            reference = next((found for found in state.references if found.name == name), None)
            if reference is None or not _is_unpacked(self._read_content(reference, state), state):
                raise EngineError(f"containerd could not load the image: {messages or 'ctr gave no reason'}")
            # The CRI takes over a name some moments after its creation. It would restore a name that is removed then.
            self._wait_for_cri([name])
        except BaseException as error:
            try:
                self._wait_for_cri([name])
                self._remove_reference(name)
            except EngineError as cleanup_error:
                raise EngineError(f"{error} {cleanup_error}") from error
            raise

    def tag(self, image: StoredImage, name: str, digest: Optional[str] = None) -> None:
        state = self._read_state()
        content, references = self._find_group(image, state)
        reference = ImageReference.parse(name)
        names = [reference.canonical_string]
        if digest == content.digest:
            names.append(f"{reference.name}@{digest}")
        # ctr images tag deletes the name before it creates it again. An import changes it in one step.
        archive = build_naming_archive(
            content.media_type,
            self._read_blob(content.digest, state),
            self._read_blob(content.manifest.config.digest, state),
            names,
        )
        messages = self._run_import([archive], len(archive), [], lambda *_arguments: None)
        tagged = {found.name: found.digest for found in self._list_references()}
        if any(tagged.get(given) != content.digest for given in names):
            raise EngineError(f"containerd could not name the image {names[0]}: {messages or 'ctr gave no reason'}")
        if self._pinned:
            # Only the tag: an image that loses it to a newer one must not stay on the node for ever.
            self._client.request("images", "label", names[0], _PINNED_LABEL)
        if not self._wait_for_cri(names):
            raise EngineError(
                f"containerd has {names[0]}, but its CRI plugin did not take the name over within {_CRI_SECONDS:.0f} "
                "seconds, so pods do not find the image. Check the log of containerd, and run again."
            )
        for temporary in references:
            if temporary.directory is not None:
                self._remove_reference(temporary.name)

    def remove(self, image: StoredImage) -> None:
        for reference in self._list_references():
            if reference.directory is not None and image.engine_id in (reference.name, reference.digest):
                self._remove_reference(reference.name)

    def _is_complete(self, reference: _Reference) -> bool:
        """Whether a name has the labels that it gets with C(tag)."""
        expected = [_PINNED_LABEL] * self._pinned + [_MANAGED_LABEL] * self._read_plugins().has_cri
        return all(label in reference.labels for label in expected)

    def _remove_reference(self, name: str) -> None:
        """Removes a temporary name, and the id that the CRI gave its image, unless somebody else has named it."""
        references = self._list_references()
        digest = next((found.digest for found in references if found.name == name), None)
        if digest is None:
            return
        others = [found for found in references if found.digest == digest and found.name != name]
        names = [name, *(found.name for found in others if all(other.is_own for other in others))]
        if any(found.directory is not None for found in others):
            names = [name]
        self._client.run_to_end(["images", "rm", *names])
        if any(found.name == name for found in self._list_references()):
            command = " ".join(self._client.make_command(["images", "rm", name]))
            raise EngineError(f"containerd could not remove the temporary name {name}. Remove it with {command}.")

    # -- what containerd has

    def _read_state(self) -> _State:
        references = self._list_references()
        listed = self._client.list_lines("DIGEST SIZE AGE LABELS", "content", "ls")
        blobs = frozenset(match[1] for match in map(_BLOB_LINE.fullmatch, listed) if match)
        unpacked_for = {name for line in listed for name in _SNAPSHOT_LABEL.findall(line)}
        self._snapshotter = _choose_snapshotter(unpacked_for & self._read_plugins().snapshotters)
        lines = self._client.list_lines("KEY PARENT KIND", "snapshots", *self._get_snapshotter_option(), "ls")
        snapshots = frozenset(match[1] for match in map(_SNAPSHOT_LINE.fullmatch, lines) if match)
        return _State(references, blobs, snapshots)

    def _list_references(self) -> tuple[_Reference, ...]:
        lines = self._client.list_lines("REF TYPE DIGEST SIZE PLATFORMS LABELS", "images", "ls")
        matches = filter(None, map(_IMAGE_LINE.fullmatch, lines))
        return tuple(_Reference(match["name"], match["type"], match["digest"], match["rest"]) for match in matches)

    def _collect_groups(self, state: _State) -> Iterator[tuple[_Content, tuple[_Reference, ...]]]:
        """Yields each image of this host's platform with its names. Other content of containerd is no image."""
        groups: dict[str, tuple[_Content, list[_Reference]]] = {}
        for reference in state.references:
            with suppress(ImageError):
                content = self._read_content(reference, state)
                groups.setdefault(content.digest, (content, []))[1].append(reference)
        for content, references in groups.values():
            yield content, tuple(references)

    def _find_group(self, image: StoredImage, state: _State) -> tuple[_Content, tuple[_Reference, ...]]:
        for group in self._collect_groups(state):
            if group[0].digest == image.engine_id:
                return group
        raise EngineError(f"containerd has {_format_names(image)} no longer. Run again.")

    def _read_content(self, reference: _Reference, state: _State) -> _Content:
        """Reads the image that a name refers to. Of an index, this is the image that this host runs."""
        where = f"containerd: {reference.name}"
        data = self._read_blob(reference.digest, state)
        if detect_media_type(data, reference.media_type, where) not in INDEX_TYPES:
            return self._read_manifest(reference.digest, reference.media_type, where, state)
        entries = parse_index(data, reference.media_type, where).entries
        own = [entry for entry in entries if entry.platform and entry.platform.matches(self._platform)]
        present = [entry for entry in own or entries if entry.digest in state.blobs]
        if not present or not (own or len(present) == 1):
            raise EngineError(f"{where} is an index, of which containerd has no image for {self._platform}.")
        return self._read_manifest(present[0].digest, "", where, state)

    def _read_manifest(self, digest: str, media_type: str, where: str, state: _State) -> _Content:
        manifest = parse_manifest(self._read_blob(digest, state), media_type, where)
        config = parse_config(self._read_blob(manifest.config.digest, state), where)
        check_layers(manifest, config, where)
        return _Content(digest, manifest.media_type, manifest, config)

    def _read_blob(self, digest: str, state: _State) -> bytes:
        """Reads a manifest, index or config and verifies its digest."""
        if digest not in state.blobs:
            raise EngineError(f"containerd has no content {digest}.")
        if digest not in self._contents:
            content = self._read_content_file(digest) or self._get_content(digest)
            if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
                raise EngineError(f"containerd: the content {digest} is damaged. Remove its image, and run again.")
            self._contents[digest] = content
        return self._contents[digest]

    def _read_content_file(self, digest: str) -> bytes:
        """Reads content from containerd's directory: a program per blob takes seconds on a node of many images."""
        path = os.path.join(self._read_plugins().roots.get("content", "/"), "blobs/sha256", get_digest_hex(digest))
        with suppress(OSError), open(path, "rb") as file:
            return file.read(CONFIG_LIMIT + 1)
        return b""

    def _get_content(self, digest: str) -> bytes:
        program = self._client.start(["content", "get", digest], SHORT_TIMEOUT)
        try:
            return program.stdout.read(CONFIG_LIMIT + 1)
        finally:
            end_program(program)

    def _read_plugins(self) -> _Plugins:
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
            self._plugins = _Plugins(
                roots, frozenset(snapshotters), has_cri and self._namespace == KUBERNETES_NAMESPACE
            )
        return self._plugins

    def _read_version(self) -> str:
        match = _SERVER_VERSION.search(self._client.request("version"))
        return match[1] if match else "unknown"

    def _wait_for_cri(self, names: Collection[str]) -> bool:
        """Waits until the CRI has taken over these names, or those of them that exist. Returns whether it has."""
        if not self._read_plugins().has_cri:
            return True
        deadline = time.monotonic() + _CRI_SECONDS
        while True:
            references = [reference for reference in self._list_references() if reference.name in names]
            if all(_MANAGED_LABEL in reference.labels for reference in references):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)

    def _run_import(
        self, chunks: Iterable[bytes], length: int, options: Sequence[str], progress: ProgressCallback
    ) -> str:
        """Imports an archive and returns the messages of ctr."""
        command = [
            "images",
            "import",
            *self._client.get_local_flag("import"),
            *self._get_snapshotter_option(),
            *options,
            "-",
        ]
        program = self._client.start(command, self._compute_timeout(length))
        try:
            sent = 0
            for chunk in chunks:
                try:
                    program.stdin.write(chunk)
                except OSError:
                    break  # ctr stopped reading; its messages have the reason
                sent += len(chunk)
                progress("sending to containerd", sent, length)
            with suppress(OSError):
                program.stdin.close()
            progress("containerd unpacks the layers", 0, 0)
            while program.stdout.read(_CHUNK):
                pass
        finally:
            messages = end_program(program)
        return messages

    def _compute_timeout(self, size: int) -> int:
        return int(self._timeout) + size // _MIN_BYTES_PER_SECOND

    def _get_snapshotter_option(self) -> list[str]:
        return ["--snapshotter", self._snapshotter] if self._snapshotter else []


def _choose_snapshotter(unpacked_for: Collection[str]) -> Optional[str]:
    """Chooses the snapshotter that all images are unpacked for; None where there is no image yet."""
    if len(unpacked_for) > 1:
        # On an EKS node with FastImagePull, these are overlayfs and soci.
        raise EngineError(
            f"containerd has images that are unpacked for the snapshotters {' and '.join(sorted(unpacked_for))}. Which "
            "of them pods use is not known here. Use nodes with one snapshotter, or a registry that they reach."
        )
    return next(iter(unpacked_for), None)


def _find_reference(state: _State, requested: ImageReference) -> Optional[_Reference]:
    """Finds a name as the CRI resolves it: by the digest alone, if there is one."""
    named = next((found for found in state.references if found.name == requested.canonical_string), None)
    if named or not requested.digest:
        return named
    prefixes = (f"{requested.name}:", f"{requested.name}@")
    return next(
        (found for found in state.references if found.digest == requested.digest and found.name.startswith(prefixes)),
        None,
    )


def _is_unpacked(content: _Content, state: _State) -> bool:
    chain = compute_chain_ids(content.config.diff_ids)
    return not chain or chain[-1] in state.snapshots


def _to_stored_image(content: _Content, references: Sequence[_Reference]) -> StoredImage:
    blobs = (content.manifest.config, *content.manifest.layers)
    return StoredImage(
        engine_id=content.digest,
        config_digest=content.manifest.config.digest,
        names=tuple(name for name in map(_to_familiar_name, references) if name),
        diff_ids=content.config.diff_ids,
        platform=str(content.config.platform),
        size=sum(blob.size or 0 for blob in blobs),
    )


def _to_familiar_name(reference: _Reference) -> Optional[str]:
    """The name and tag as docker shows them. A name in another form is found by neither CRI nor docker."""
    with suppress(ImageError):
        parsed = ImageReference.parse(reference.name)
        if parsed.canonical_string == reference.name and not parsed.digest:
            return parsed.tagged_name
    return None


def _format_names(image: StoredImage) -> str:
    return ", ".join(image.names) or image.engine_id
