# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How every state=saved begins: what the source has, and which targets are certain not to take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ...module_utils._image.model import Bundle, Target
from ...module_utils._image.plan import plan_load, refusal
from .flow import Host, Progress, run_job, slice_of


@dataclass(frozen=True)
class SaveOptions:
    """What the flow needs of the task. C(corrupt): digests whose object failed on a target, with its entity tag."""

    from_engine: bool
    targets: Sequence[Target]
    corrupt: Mapping[str, Optional[str]]
    check_mode: bool
    diff: bool


@dataclass(frozen=True)
class Offered:
    """What a source offers. C(leftover): a run that was killed has left its staging folder there."""

    bundle: Bundle
    estimates: Mapping[str, int]
    leftover: bool
    refused: Mapping[str, str]
    targets: Sequence[Target]

    def estimated(self, bundle: Bundle) -> Bundle:
        """The bundle with an estimated size wherever none is known."""
        unknown = {blob.digest for blob in bundle.blobs() if blob.size is None}
        return bundle.with_sizes({digest: size for digest, size in self.estimates.items() if digest in unknown})


def ask(host: Host, options: SaveOptions) -> Offered:
    """Asks the source, and leaves out the targets for which nothing is to be carried."""
    # An image of several platforms is chosen by what the targets have in common.
    platforms = {target.facts.platform for target in options.targets}
    common = platforms.pop() if len(platforms) == 1 else None
    answer = host({"work": slice_of("inspect", platform=common)})
    bundle = Bundle.parse(answer["bundle"])
    reasons = {target.host: refusal(plan_load(bundle, target.facts), 0, target.facts) for target in options.targets}
    refused = {name: reason for name, reason in reasons.items() if reason}
    targets = [target for target in options.targets if target.host not in refused]
    return Offered(bundle, answer["estimates"], bool(answer["leftover"]), refused, targets)


def export(host: Host, bundle: Bundle, digests: Sequence[str], progress: Progress) -> Bundle:
    """Has the source's engine write these blobs into its staging folder; then their sizes are known."""
    return bundle.with_sizes(run_job(host, bundle, "export", progress.job, digests=list(digests))["sizes"])
