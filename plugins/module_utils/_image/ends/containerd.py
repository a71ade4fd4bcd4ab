# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""containerd through its client C(ctr): containerd_client.py runs it. Nodes of Kubernetes run containerd.

containerd keeps no image without a name. So an image is imported under a temporary name, which has the staging
directory of its transfer. Once the image is verified, it gets its own name, and the temporary one is removed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import BinaryIO, Optional, cast
from urllib.parse import quote

from ..errors import ImageError
from ..formats.archive import NamedDocument, build_naming_archive
from ..formats.manifest import find_index_image, parse_index
from ..formats.reference import ImagePlatform, ImageReference, is_digest
from ..model import Blob, EngineFacts, StoredImage, compute_chain_ids, compute_digest
from ..progress import ProgressCallback
from ..run_command import RunCommand
from .containerd_client import ContainerdClient, end_program
from .containerd_state import (
    TEMPORARY_PREFIX,
    ContainerdContent,
    ContainerdReader,
    ContainerdReference,
    ContainerdState,
    is_unpacked,
)
from .disk_space import read_disk_space, read_nearest_disk_space
from .engine import EngineError, ExportedBlobs, KeptIndex, LoadableArchive

_MANAGED_LABEL = "io.cri-containerd.image=managed"
_PINNED_LABEL = "io.cri-containerd.pinned=pinned"
_DEFAULT_SNAPSHOTTER = "overlayfs"
_CRI_SECONDS = 10.0
_POLL_SECONDS = 0.05
# A load may take its timeout, and longer for an archive that takes longer at this speed.
_MIN_BYTES_PER_SECOND = 1024 * 1024
_CHUNK = 64 * 1024


class ContainerdEngine:
    """An Engine. C(timeout) is the seconds that a load may take; a large archive gets more.

    C(pinned): images that are tagged also get the label that keeps them from the kubelet's garbage collection.
    """

    # Whether a namespace that does not exist is a mistake.
    requires_namespace = True

    def __init__(
        self, address: str, namespace: str, timeout: float, run: RunCommand, pinned: bool = True, program: str = "ctr"
    ) -> None:
        self._client = ContainerdClient(address, namespace, run, program)
        self._timeout = timeout
        self._pinned = pinned
        self._platform = ImagePlatform.detect_host()
        self._reader = ContainerdReader(self._client, namespace, self._platform, self.requires_namespace)

    def read_facts(self, staging_path: str) -> EngineFacts:
        state = self._reader.read_state()
        version = self._reader.read_version()
        images: list[StoredImage] = []
        kept: set[str] = set()
        preloaded: dict[str, set[str]] = {}
        for content, references in self._reader.collect_groups(state):
            chains = set(compute_chain_ids(content.config.diff_ids))
            directories = [reference.directory for reference in references if reference.directory is not None]
            if directories and all(reference.is_own for reference in references):
                for directory in directories:
                    preloaded.setdefault(os.path.basename(directory), set()).update(chains & state.snapshots)
            else:
                incomplete = [reference for reference in references if not self._is_complete(reference, content)]
                image = _to_stored_image(content, [found for found in references if found not in incomplete])
                # An image that is not unpacked is not usable. It is loaded like one that is missing.
                images.append(image if is_unpacked(content, state) else replace(image, config_digest=None))
                # A name that a killed run left without its labels is given again.
                named = _to_stored_image(content, incomplete)
                images += [replace(named, config_digest=None, digest_names=())] if named.names else []
                kept.update(chains)
        snapshotter = self._reader.snapshotter or _DEFAULT_SNAPSHOTTER
        return EngineFacts(
            engine="containerd",
            version=version,
            storage=snapshotter,
            platform=str(self._platform),
            images=tuple(images),
            chain_ids=state.snapshots.difference(set().union(*preloaded.values()) - kept),
            staging=read_nearest_disk_space(staging_path),
            root=read_disk_space(self._reader.read_plugins().roots.get(snapshotter, "")),
            # (docs/facts/image_transfer.md#containerd-and-ctr)
            zstd=not re.match(r"(?:0|1\.[0-4])\.", version),
            preloaded={directory: frozenset(chains) for directory, chains in preloaded.items()},
            keeps_digests=True,
        )

    def list_preloaded(self) -> Sequence[tuple[StoredImage, str]]:
        # An image that cannot be read is listed, too: its temporary name is to be removed.
        return [
            (StoredImage(reference.name, None, (), (), str(self._platform), 0), reference.directory)
            for reference in self._reader.list_references()
            if reference.directory is not None
        ]

    def find(self, name_or_id: str) -> Optional[StoredImage]:
        state = self._reader.read_state()
        if is_digest(name_or_id):
            groups = [
                group
                for group in self._reader.collect_groups(state)
                if name_or_id in (group[0].digest, group[0].manifest.config.digest)
            ]
            # Of two images with one config, the one that can be used.
            groups.sort(key=lambda group: not is_unpacked(group[0], state))
            return _to_stored_image(*groups[0]) if groups else None
        requested = ImageReference.parse(name_or_id)
        reference = _find_reference(state, requested)
        if reference is None:
            return None
        digest = self._reader.read_content(reference, state).digest
        content, references = next(group for group in self._reader.collect_groups(state) if group[0].digest == digest)
        index = self._find_index(content, reference, requested, references, state)
        return replace(_to_stored_image(content, references), index=index)

    def estimate_layer_sizes(self, image: StoredImage) -> Sequence[Optional[int]]:
        # The manifest has the sizes of the blobs that are exported.
        return [None] * len(image.diff_ids)

    def list_blobs(self, image: StoredImage) -> ExportedBlobs:
        state = self._reader.read_state()
        content, references = self._find_group(image, state)
        missing = [layer.digest for layer in content.manifest.layers if layer.digest not in state.blobs]
        if missing:
            raise EngineError(
                f"containerd cannot export {_format_names(image)}: it has only snapshots of {len(missing)} of its "
                f"{len(image.diff_ids)} layers, and no blobs. It discards them where discard_unpacked_layers is set, "
                "as on EKS nodes, and never had those that a transfer left out. Use source=registry, or the host that "
                "pushed the image."
            )
        data = self._reader.read_blob(content.digest, state, references[0])
        manifest = Blob(content.digest, len(data), content.media_type)
        return ExportedBlobs(manifest, content.manifest.config, content.manifest.layers)

    @contextmanager
    def export(self, image: StoredImage) -> Iterator[BinaryIO]:
        _content, references = self._find_group(image, self._reader.read_state())
        platform = [] if image.platform.endswith("/unknown") else ["--platform", image.platform]
        # The archive of an index has the index, too.
        names = [found.name for found in references if image.index and found.digest == image.index.digest]
        name = [*names, references[0].name][0]
        command = ["images", "export", *self._client.get_local_flag("export"), *platform, "-", name]
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
        prefix = TEMPORARY_PREFIX + quote(archive.directory)
        name = f"{prefix}@{archive.manifest_digest}"
        if self._reader.snapshotter is None:
            self._reader.read_state()
        try:
            options = ["--base-name", prefix, "--digests"]
            messages = self._run_import(archive, archive.length, options, progress)
            state = self._reader.read_state()
            reference = next((found for found in state.references if found.name == name), None)
            if reference is None or not is_unpacked(self._reader.read_content(reference, state), state):
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

    def tag(
        self, image: StoredImage, name: str, digest: Optional[str] = None, index: Optional[KeptIndex] = None
    ) -> None:
        state = self._reader.read_state()
        content, references = self._find_group(image, state)
        reference = ImageReference.parse(name)
        tag = reference.canonical_string
        manifest, config = (
            self._reader.read_blob(blob, state, references[0])
            for blob in (content.digest, content.manifest.config.digest)
        )
        # containerd gives the names in this order. The tag is the last: a killed run leaves no tag without the others.
        documents: list[NamedDocument] = []
        if digest == content.digest:
            documents.append(NamedDocument(f"{reference.name}@{digest}", content.media_type, manifest))
        if index is not None:
            name_of_index = f"{reference.name}@{compute_digest(index.data)}"
            documents.append(NamedDocument(name_of_index, index.media_type, index.data))
        # The name of an index that has this image, such as the kubelet's, is right already.
        if not any(found.name == tag and found.digest != content.digest for found in references):
            documents.append(NamedDocument(tag, content.media_type, manifest))
        self._give_names(documents, manifest, config, tag)
        if self._pinned:
            # Only the tag: an image that loses it to a newer one must not stay on the node for ever.
            self._client.request("images", "label", tag, _PINNED_LABEL)
        if not self._wait_for_cri([tag, *(document.name for document in documents)]):
            raise EngineError(
                f"containerd has {tag}, but its CRI plugin did not take the name over within {_CRI_SECONDS:.0f} "
                "seconds, so pods do not find the image. Check the log of containerd, and run again."
            )
        for temporary in references:
            if temporary.directory is not None:
                self._remove_reference(temporary.name)

    def _give_names(self, documents: Sequence[NamedDocument], manifest: bytes, config: bytes, tag: str) -> None:
        # ctr images tag deletes the name before it creates it again. An import changes it in one step.
        archive = build_naming_archive(documents, [manifest, config])
        # With a platform, ctr takes no other one, and the images that an index has for others may be absent.
        has_index = any(document.data != manifest for document in documents)
        options = ["--platform", str(self._platform)] if has_index else []
        messages = self._run_import([archive], len(archive), options, lambda *_arguments: None)
        tagged = {found.name: found.digest for found in self._reader.list_references()}
        absent = [document.name for document in documents if tagged.get(document.name) != document.digest]
        if absent:
            raise EngineError(
                f"containerd could not name the image {tag}, and has no {' and no '.join(absent)}: "
                f"{messages or 'ctr gave no reason'}"
            )

    def remove(self, image: StoredImage) -> None:
        for reference in self._reader.list_references():
            if reference.directory is not None and image.engine_id in (reference.name, reference.digest):
                self._remove_reference(reference.name)

    def _is_complete(self, reference: ContainerdReference, content: ContainerdContent) -> bool:
        """Whether a name has the labels that it gets with C(tag)."""
        # This module gives no tag to an index. Somebody else did, and needs no labels.
        if reference.digest != content.digest and not reference.has_digest:
            return True
        is_pinned = self._pinned and not reference.has_digest
        expected = [_PINNED_LABEL] * is_pinned + [_MANAGED_LABEL] * self._reader.read_plugins().has_cri
        return all(label in reference.labels for label in expected)

    def _find_index(
        self,
        content: ContainerdContent,
        named: ContainerdReference,
        requested: ImageReference,
        references: Sequence[ContainerdReference],
        state: ContainerdState,
    ) -> Optional[Blob]:
        """Finds the index that a name refers to, or else the only one of the same repository with this image."""
        prefix = f"{requested.name}@"
        candidates = {found.digest for found in references if found.name.startswith(prefix)} - {content.digest}
        if named.digest != content.digest:
            candidates = {named.digest}
        if len(candidates) != 1:
            return None
        digest = candidates.pop()
        data = self._reader.read_blob(digest, state, named)
        index = parse_index(data, "", f"containerd: {digest}")
        is_usable = find_index_image(index, self._platform) == content.digest
        return Blob(digest, len(data), index.media_type) if is_usable else None

    def _remove_reference(self, name: str) -> None:
        """Removes a temporary name, and the id that the CRI gave its image, unless somebody else has named it."""
        references = self._reader.list_references()
        digest = next((found.digest for found in references if found.name == name), None)
        if digest is None:
            return
        others = [found for found in references if found.digest == digest and found.name != name]
        names = [name, *(found.name for found in others if all(other.is_own for other in others))]
        if any(found.directory is not None for found in others):
            names = [name]
        self._client.run_to_end(["images", "rm", *names])
        if any(found.name == name for found in self._reader.list_references()):
            command = " ".join(self._client.make_command(["images", "rm", name]))
            raise EngineError(f"containerd could not remove the temporary name {name}. Remove it with {command}.")

    def _find_group(
        self, image: StoredImage, state: ContainerdState
    ) -> tuple[ContainerdContent, tuple[ContainerdReference, ...]]:
        for group in self._reader.collect_groups(state):
            if group[0].digest == image.engine_id:
                return group
        raise EngineError(f"containerd has {_format_names(image)} no longer. Run again.")

    def _wait_for_cri(self, names: Collection[str]) -> bool:
        """Waits until the CRI has taken over these names, or those of them that exist. Returns whether it has."""
        if not self._reader.read_plugins().has_cri:
            return True
        deadline = time.monotonic() + _CRI_SECONDS
        while True:
            references = [reference for reference in self._reader.list_references() if reference.name in names]
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
            *self._reader.get_snapshotter_option(),
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


def _find_reference(state: ContainerdState, requested: ImageReference) -> Optional[ContainerdReference]:
    """Finds a name as the CRI resolves it: by the digest alone, if there is one."""
    named = next((found for found in state.references if found.name == requested.canonical_string), None)
    if named or not requested.digest:
        return named
    prefixes = (f"{requested.name}:", f"{requested.name}@")
    return next(
        (found for found in state.references if found.digest == requested.digest and found.name.startswith(prefixes)),
        None,
    )


def _to_stored_image(content: ContainerdContent, references: Sequence[ContainerdReference]) -> StoredImage:
    blobs = (content.manifest.config, *content.manifest.layers)
    names = [name for name in (reference.familiar_name for reference in references) if name]
    return StoredImage(
        engine_id=content.digest,
        config_digest=content.manifest.config.digest,
        names=tuple(name for name in names if "@" not in name),
        diff_ids=content.config.diff_ids,
        platform=str(content.config.platform),
        size=sum(blob.size or 0 for blob in blobs),
        digest_names=tuple(name for name in names if "@" in name),
    )


def _format_names(image: StoredImage) -> str:
    return ", ".join(image.names) or image.engine_id
