# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container engine must offer to be a source or a target. One file per engine implements it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Callable, Optional, Protocol

from .errors import ImageError
from .model import EngineFacts, StoredImage

DEFAULT_DOCKER_HOST = "unix:///var/run/docker.sock"
ProgressCallback = Callable[[str, int, int], None]
"""Called with what is being done, the bytes done and the bytes in all."""
# What is being done that the controller, which knows the store, tells in words of its own.
SENDING, FETCHING = "sending", "fetching"
# Of an image without a name that holds layers until the image comes that they belong to; its value is the staging
# folder of that transfer.
PRELOADED_LABEL = "daytwo.aws.image-transfer.preloaded"


class EngineError(ImageError):
    """The engine cannot be reached, or refused: with its own words."""


class LoadableArchive(Protocol):
    """An archive to load, produced while it is read: nothing of it is held in memory."""

    @property
    def length(self) -> int:
        """Its bytes in all."""

    def __iter__(self) -> Iterator[bytes]:
        """Its bytes, from the first on, each time anew."""


class Engine(Protocol):
    """Reads what an engine has and writes images into it. Methods raise EngineError with the engine's own words."""

    def read_facts(self, staging_path: str) -> EngineFacts:
        """Everything that planning needs, in bulk."""

    def list_preloaded(self) -> Sequence[tuple[StoredImage, str]]:
        """The images with AHEAD_LABEL, which C(facts) does not count among those of the engine; and its values."""

    def find(self, name_or_id: str) -> Optional[StoredImage]:
        """One image, or None where the engine has none of that name or id."""

    def estimate_layer_sizes(self, image: StoredImage) -> Sequence[Optional[int]]:
        """An estimate of each layer's uncompressed bytes; None where the engine does not tell."""

    def export(self, image: StoredImage) -> AbstractContextManager[BinaryIO]:
        """The engine's own archive of one image, as a stream."""

    def load(self, archive: LoadableArchive, progress: ProgressCallback) -> None:
        """Feeds an archive to the engine. That it returns proves nothing: read back what the engine has afterwards."""

    def tag(self, image: StoredImage, name: str) -> None:
        """Gives the image the name, which moves it from whatever held it; that image stays."""

    def remove(self, image: StoredImage) -> None:
        """Removes an image that has no name."""
