# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker with the containerd image store, the default of new installations since Docker 29.

Docker's own API is no evidence there: it reports success for broken loads, and shows no config digest. So images are
read from and imported into docker's namespace of containerd, whose state docker reads for each of its commands
(docs/facts/image_transfer.md#docker-with-the-containerd-image-store).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Optional

from ..formats.reference import ImageReference
from ..model import EngineFacts, StoredImage
from ..run_command import RunCommand
from .containerd import ContainerdEngine
from .docker import DockerInfo
from .engine import EngineError, KeptIndex

# Docker gives this name to an image that loses its last one.
_DANGLING_NAME = "moby-dangling"


class DockerStoreEngine(ContainerdEngine):
    """An Engine: docker's namespace of containerd, which docker creates with its first image."""

    requires_namespace = False

    def __init__(self, info: DockerInfo, timeout: float, run: RunCommand, program: str = "ctr") -> None:
        if not (info.containerd_address and info.containerd_namespace):
            raise EngineError(
                f"docker {info.version} on this host keeps images in the containerd image store, and does not report "
                "where its containerd listens. Update docker to 27 or later, use a graph driver "
                '("features": {"containerd-snapshotter": false} in daemon.json), or source=registry on a source.'
            )
        super().__init__(info.containerd_address, info.containerd_namespace, timeout, run, False, program)
        self._version = info.version

    def read_facts(self, staging_path: str) -> EngineFacts:
        with _explain_containerd_error():
            facts = super().read_facts(staging_path)
        return replace(facts, engine="docker", version=self._version)

    def tag(
        self, image: StoredImage, name: str, digest: Optional[str] = None, index: Optional[KeptIndex] = None
    ) -> None:
        self._keep_without_name(ImageReference.parse(name).canonical_string, image.engine_id)
        super().tag(image, name, digest, index)
        dangling = f"{_DANGLING_NAME}@{image.engine_id}"
        if any(reference.name == dangling for reference in self._reader.list_references()):
            self._client.request("images", "rm", dangling)

    def _keep_without_name(self, name: str, digest: str) -> None:
        """Keeps the image that has the name now, as docker does. Without a name, containerd would remove it."""
        references = self._reader.list_references()
        held = next((found for found in references if found.name == name and found.digest != digest), None)
        if held and all(found.digest != held.digest for found in references if found.name != name):
            self._client.request("images", "tag", name, f"{_DANGLING_NAME}@{held.digest}")


@contextmanager
def _explain_containerd_error() -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        raise EngineError(
            f"docker on this host keeps images in the containerd image store, so they are read from containerd. {error}"
        ) from error
