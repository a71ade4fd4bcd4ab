# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a bundle gets into each kind of target: an engine, or an archive. The phases on a host call both alike."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Optional, Protocol

from ..model import Bundle, EngineFacts
from ..progress import ProgressCallback
from ..staging import Staging
from . import preload, target
from .archive_target import ArchiveTarget
from .engine import Engine


class BundleLoader(Protocol):
    """Puts the images of a bundle into a target."""

    def read_facts(self) -> EngineFacts:
        """Reads what the target has now."""

    def preload_in_background(
        self, bundle: Bundle, staging: Staging, verified: Collection[str], progress: ProgressCallback
    ) -> AbstractContextManager[list[str]]:
        """Preloads layers while the caller fetches blobs. Yields the errors of it."""

    def preload_pushed(
        self, bundle: Bundle, staging: Staging, pushed: preload.PushedBlobs, progress: ProgressCallback
    ) -> None:
        """Preloads layers as they are pushed, until no more arrive."""

    def load_bundle(
        self, bundle: Bundle, staging: Staging, progress: ProgressCallback, verified: Collection[str]
    ) -> dict[str, Any]:
        """Loads all images, and returns the outcome of each as C(loaded)."""

    def remove_preloaded(self, staging: Staging) -> Optional[str]:
        """Removes what a load has left. Returns the error where something could not be removed."""


class EngineLoader:
    """Loads into an engine. C(root) is the parent of the staging directories."""

    def __init__(self, engine: Engine, root: str) -> None:
        self._engine, self._root = engine, root

    def read_facts(self) -> EngineFacts:
        return self._engine.read_facts(self._root)

    def preload_in_background(
        self, bundle: Bundle, staging: Staging, verified: Collection[str], progress: ProgressCallback
    ) -> AbstractContextManager[list[str]]:
        return preload.preload_in_background(bundle, self._engine, staging, verified, progress)

    def preload_pushed(
        self, bundle: Bundle, staging: Staging, pushed: preload.PushedBlobs, progress: ProgressCallback
    ) -> None:
        preload.preload_layers(bundle, self._engine, staging, pushed, progress)

    def load_bundle(
        self, bundle: Bundle, staging: Staging, progress: ProgressCallback, verified: Collection[str]
    ) -> dict[str, Any]:
        return target.load_bundle(bundle, self._engine, staging, progress, verified)

    def remove_preloaded(self, staging: Staging) -> Optional[str]:
        return preload.remove_preloaded(self._engine, staging)


class ArchiveLoader:
    """Writes an archive. C(fingerprint): see C(ArchiveTarget.read_facts). Nothing is preloaded."""

    def __init__(self, archive: ArchiveTarget, root: str, fingerprint: str) -> None:
        self._archive, self._root, self._fingerprint = archive, root, fingerprint

    def read_facts(self) -> EngineFacts:
        facts = self._archive.read_facts(self._root, self._fingerprint)
        if facts.archive and not facts.archive.problem:
            self._fingerprint = facts.archive.fingerprint
        return facts

    def preload_in_background(
        self, bundle: Bundle, staging: Staging, verified: Collection[str], progress: ProgressCallback
    ) -> AbstractContextManager[list[str]]:
        return nullcontext([])

    def preload_pushed(
        self, bundle: Bundle, staging: Staging, pushed: preload.PushedBlobs, progress: ProgressCallback
    ) -> None:
        """Does nothing."""

    def load_bundle(
        self, bundle: Bundle, staging: Staging, progress: ProgressCallback, verified: Collection[str]
    ) -> dict[str, Any]:
        # What was fetched meanwhile may be in the archive by now.
        outcomes = self._archive.write(bundle, staging, progress, self.read_facts())
        return {
            "loaded": [outcome.to_dict() for outcome in outcomes],
            "cleanup_error": None,
            "archive_files": self._archive.list_files(),
        }

    def remove_preloaded(self, staging: Staging) -> Optional[str]:
        self._archive.remove_leftover()
        return None
