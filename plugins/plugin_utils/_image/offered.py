# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How every state=saved begins: what the source has, and which targets are certain not to take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ...module_utils._image.model import Bundle, Target
from ...module_utils._image.plan import refusals
from .flow import Host, Progress, run_job, slice_of


@dataclass(frozen=True)
class SaveOptions:
    """What the flow needs of the task. C(corrupt): digests whose object failed on a target, with its entity tag."""

    from_engine: bool
    targets: Sequence[Target]
    corrupt: Mapping[str, Optional[str]]
    check_mode: bool
    diff: bool
    bandwidth_limit: Optional[int] = None


@dataclass(frozen=True)
class Offered:
    """What a source offers. C(leftover): a run that was killed has left its staging folder there.

    C(public_key): of the process that waits to push, with the addresses from which it reaches the targets.
    """

    bundle: Bundle
    estimates: Mapping[str, int]
    leftover: bool
    refused: Mapping[str, str]
    targets: Sequence[Target]
    public_key: Optional[str]
    addresses: Mapping[str, str]

    def estimated(self, bundle: Bundle) -> Bundle:
        """The bundle with an estimated size wherever none is known."""
        unknown = {blob.digest for blob in bundle.blobs() if blob.size is None}
        return bundle.with_sizes({digest: size for digest, size in self.estimates.items() if digest in unknown})


def ask(host: Host, options: SaveOptions, token: Optional[str] = None) -> Offered:
    """Asks the source, and leaves out the targets for which nothing is to be carried.

    C(token): of a push, for which the source waits after this, if some target lacks something.
    """
    # An image of several platforms is chosen by what the targets have in common.
    platforms = {target.facts.platform for target in options.targets}
    common = platforms.pop() if len(platforms) == 1 else None
    work = slice_of("inspect", platform=common)
    if token:
        everybody = [target.to_dict() for target in options.targets]
        work = slice_of("offer", platform=common, token=token, targets=everybody)
    answer = host({"work": work})
    bundle = Bundle.parse(answer["bundle"])
    refused = refusals(bundle, options.targets)
    targets = [target for target in options.targets if target.host not in refused]
    leftover, key, addresses = bool(answer["leftover"]), answer.get("public_key"), answer.get("addresses") or {}
    return Offered(bundle, answer["estimates"], leftover, refused, targets, key, addresses)


def export(host: Host, bundle: Bundle, digests: Sequence[str], progress: Progress) -> Bundle:
    """Has the source's engine write these blobs into its staging folder; then their sizes are known."""
    return bundle.with_sizes(run_job(host, bundle, "export", progress.job, digests=list(digests))["sizes"])
