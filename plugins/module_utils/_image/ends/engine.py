# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface of a container engine that is a source or a target. Each engine has a file that implements it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Optional, Protocol

from ..errors import ImageError
from ..model import DOCKER_CONFIG, DOCKER_LAYER, Blob, EngineFacts, StoredImage, compute_chain_ids
from ..progress import ProgressCallback

DEFAULT_DOCKER_HOST = "unix:///var/run/docker.sock"
DEFAULT_CONTAINERD_ADDRESS = "/run/containerd/containerd.sock"
# The kubelet finds images in this namespace of containerd only
# (docs/facts/image_transfer.md#eks-nodes-and-containerd).
KUBERNETES_NAMESPACE = "k8s.io"
# The label of an image without a name, which holds preloaded layers until their own image is loaded. Its value is the
# staging directory of that transfer.
PRELOADED_LABEL = "daytwo.aws.image-transfer.preloaded"


class EngineError(ImageError):
    """The engine cannot be reached, or refused a call. The text quotes its message."""


class LoadableArchive(Protocol):
    """An archive to load that is built while it is read, so that it never is in memory."""

    @property
    def length(self) -> int:
        """The size of the archive in bytes."""

    @property
    def manifest_digest(self) -> str:
        """The digest of the manifest of the image in the archive."""

    @property
    def directory(self) -> str:
        """The staging directory of the transfer. An engine without unnamed images makes a name of it."""

    @property
    def leaves_out_layers(self) -> bool:
        """Whether the engine has to find layers in its own storage."""

    def convert_to_layout(self, by_diff_id: bool = False) -> LoadableArchive:
        """Makes an archive of the same image that is an OCI layout only.

        C(by_diff_id): its own manifest names the layers that are left out by their diffIDs.
        """

    def __iter__(self) -> Iterator[bytes]:
        """Yields the archive from its first byte on, in each iteration."""


@dataclass(frozen=True)
class ExportedBlobs:
    """The blobs of an image in the archive of C(export). The manifest is None if the engine keeps none.

    A size is None if the engine does not report it. There is a layer for each diffID of the image.
    """

    manifest: Optional[Blob]
    config: Blob
    layers: tuple[Blob, ...]


@dataclass(frozen=True)
class KeptIndex:
    """An index whose image for the engine's platform is the one that gets a name, and its own bytes."""

    media_type: str
    data: bytes = field(repr=False)


class Engine(Protocol):
    """Reads the images of an engine and writes images into it. Methods raise EngineError with the engine's message."""

    def read_facts(self, staging_path: str) -> EngineFacts:
        """Reads everything that planning needs, in bulk."""

    def list_preloaded(self) -> Sequence[tuple[StoredImage, str]]:
        """Lists the images that no name of an operator keeps, and the staging directory of the transfer of each.

        With docker, these are the images with PRELOADED_LABEL. C(read_facts) lists them apart from the others.
        """

    def find(self, name_or_id: str) -> Optional[StoredImage]:
        """Finds an image, or None if the engine has no image of that name or id."""

    def estimate_layer_sizes(self, image: StoredImage) -> Sequence[Optional[int]]:
        """Estimates each layer's uncompressed bytes; None where the engine does not report them."""

    def list_blobs(self, image: StoredImage) -> ExportedBlobs:
        """Lists the blobs that C(export) writes. Raises EngineError where the engine cannot export the image."""

    def export(self, image: StoredImage) -> AbstractContextManager[BinaryIO]:
        """Opens the engine's own archive of an image as a stream."""

    def load(self, archive: LoadableArchive, progress: ProgressCallback) -> None:
        """Sends an archive to the engine. Its return is no evidence: find the image afterwards and compare it."""

    def tag(
        self, image: StoredImage, name: str, digest: Optional[str] = None, index: Optional[KeptIndex] = None
    ) -> None:
        """Gives the image the name. The image that had the name before stays, without it.

        C(digest): the manifest's digest in the registry. C(index): an index of it. An engine whose facts have
        C(keeps_digests) finds the image by their digests as well.
        """

    def remove(self, image: StoredImage) -> None:
        """Removes an image that has no name."""


# -- what engines have in common that know an image by its config digest, and save layers uncompressed


def list_uncompressed_blobs(image: StoredImage) -> ExportedBlobs:
    """Lists the blobs of an archive whose layers are uncompressed, so their digests are the diffIDs."""
    layers = tuple(Blob(diff_id, None, DOCKER_LAYER) for diff_id in image.diff_ids)
    return ExportedBlobs(None, Blob(str(image.config_digest), None, DOCKER_CONFIG), layers)


def get_layer_sizes(image: StoredImage, history: Sequence[Any]) -> Sequence[Optional[int]]:
    """Gets each layer's size from the sizes of the image's history, whose newest entry is the first."""
    sizes = [int(size) for size in reversed(history) if size]
    # The history does not show which of its empty entries are layers, so it counts only where the numbers agree.
    return sizes if len(sizes) == len(image.diff_ids) else [None] * len(image.diff_ids)


@dataclass(frozen=True)
class SortedImages:
    """The images of an engine, apart from those that hold preloaded layers; fields as in EngineFacts."""

    images: tuple[StoredImage, ...]
    chain_ids: frozenset[str]
    preloaded: Mapping[str, frozenset[str]]

    @classmethod
    def sort(cls, found: Iterable[tuple[StoredImage, str]]) -> SortedImages:
        """Sorts images by the value of their PRELOADED_LABEL, which is empty for others."""
        images: list[StoredImage] = []
        chains: set[str] = set()
        preloaded: dict[str, frozenset[str]] = {}
        for image, directory in found:
            # An image with a name belongs to somebody.
            if directory and not image.names:
                name = os.path.basename(directory)
                preloaded[name] = preloaded.get(name, frozenset()).union(compute_chain_ids(image.diff_ids))
            else:
                images.append(image)
                chains.update(compute_chain_ids(image.diff_ids))
        return cls(tuple(images), frozenset(chains), preloaded)
