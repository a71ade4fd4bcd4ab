# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first step of state=saved: what the source has, and which targets cannot load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ...module_utils._image.model import Bundle, TransferTarget
from ...module_utils._image.plan import get_rejection_reasons
from .flow import CallHost, ProgressReporter, build_work, run_job


@dataclass(frozen=True)
class SaveOptions:
    """The task's options. C(corrupt): digests whose object failed on a target, with its entity tag."""

    from_engine: bool
    targets: Sequence[TransferTarget]
    corrupt: Mapping[str, Optional[str]]
    check_mode: bool
    diff: bool
    bandwidth_limit: Optional[int] = None


@dataclass(frozen=True)
class SourceInspection:
    """What a source has. C(leftover): a killed run has left its staging directory there.

    C(public_key): the key of the process that waits to push. C(addresses): from where it reaches each target.
    """

    bundle: Bundle
    estimates: Mapping[str, int]
    leftover: bool
    rejected: Mapping[str, str]
    targets: Sequence[TransferTarget]
    public_key: Optional[str]
    addresses: Mapping[str, str]

    def estimate_sizes(self, bundle: Bundle) -> Bundle:
        """Fills in an estimated size wherever the size is unknown."""
        unknown = {blob.digest for blob in bundle.list_blobs() if blob.size is None}
        return bundle.fill_sizes({digest: size for digest, size in self.estimates.items() if digest in unknown})


def inspect_source(host: CallHost, options: SaveOptions, token: Optional[str] = None) -> SourceInspection:
    """Inspects the source, and leaves out the targets that cannot load the images.

    C(token): of a push. With it, the source waits to push after this call, if some target lacks blobs.
    """
    # For a multi-platform image, the targets' common platform is chosen.
    platforms = {target.facts.platform for target in options.targets}
    common = platforms.pop() if len(platforms) == 1 else None
    work = build_work("inspect", platform=common)
    if token:
        target_entries = [target.to_dict() for target in options.targets]
        work = build_work("prepare_push", platform=common, token=token, targets=target_entries)
    response = host({"work": work})
    bundle = Bundle.parse(response["bundle"])
    rejected = get_rejection_reasons(bundle, options.targets)
    targets = [target for target in options.targets if target.host not in rejected]
    leftover, public_key, addresses = (
        bool(response["leftover"]),
        response.get("public_key"),
        response.get("addresses") or {},
    )
    return SourceInspection(bundle, response["estimates"], leftover, rejected, targets, public_key, addresses)


def export_blobs(host: CallHost, bundle: Bundle, digests: Sequence[str], progress: ProgressReporter) -> Bundle:
    """Has the source's engine export these blobs into its staging directory. Returns the bundle with their sizes."""
    return bundle.fill_sizes(run_job(host, bundle, "export", progress.report_job, digests=list(digests))["sizes"])
