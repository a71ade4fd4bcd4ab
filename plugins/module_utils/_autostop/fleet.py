# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several regions at once, and the options that say which: what the modules share. Knows no Ansible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional

from .._clock import Clock
from . import ec2
from .errors import AutostopApiError
from .model import SWEEP_POLICIES, AutostopOptions
from .plan import is_named
from .run import RegionOutcome, WaitOptions, run_region

# Older ones drop GlobalClusterIdentifier from answers without a word (facts: autostop).
MINIMUM_BOTOCORE = "1.39.0"
WORKERS = 8
ALL_REGIONS = "all"

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "regions": {"type": "list", "elements": "str"},
    "tag_key": {"type": "str", "default": "autostop", "no_log": False},
    "tag_values": {"type": "list", "elements": "str", "default": ["yes"]},
    "clusters": {"type": "list", "elements": "str", "default": []},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "include_instances": {"type": "bool", "default": False},
    "migrate_tags": {"type": "bool", "default": False},
    "sweep_policy": {"type": "str", "choices": list(SWEEP_POLICIES), "default": "all"},
    "finish_maintenance": {"type": "bool", "default": False},
    "fail_on_pending": {"type": "bool", "default": False},
}

# Adaptive retries slow all calls of a client down together when AWS throttles, and end after these attempts. The
# time-outs bound what a region that cannot be reached costs.
CLIENT_CONFIG: dict[str, Any] = {
    "retries": {"mode": "adaptive", "total_max_attempts": 8},
    "connect_timeout": 5,
    "read_timeout": 60,
}

ClientFactory = Callable[[str, str], Any]


class OptionError(Exception):
    """Options that cannot be followed: which, why, and what to write instead."""


def parse_options(params: Mapping[str, Any]) -> AutostopOptions:
    """The wish that the options express."""
    if not params["tag_key"]:
        raise OptionError("tag_key is empty. Name the tag that says which clusters are to be off.")
    if not params["tag_values"]:
        raise OptionError("tag_values is empty, so nothing could ever match. Give at least one value.")
    clusters = _strip_names(params["clusters"])
    if params["clusters"] and not clusters:
        raise OptionError(
            "clusters has nothing but blanks. Name clusters, or leave it out to mean every one that is tagged."
        )
    return AutostopOptions(
        tag_key=params["tag_key"],
        tag_values=tuple(params["tag_values"]),
        clusters=clusters,
        exclude=_strip_names(params["exclude"]),
        include_instances=params["include_instances"],
        migrate_tags=params["migrate_tags"],
        sweep_policy=params["sweep_policy"],
        finish_maintenance=params["finish_maintenance"],
        wait=bool(params.get("wait")),
    )


def parse_wait_options(params: Mapping[str, Any]) -> Optional[WaitOptions]:
    """How to wait, if at all."""
    if not params["wait"]:
        return None
    if params["wait_timeout"] < 1 or params["wait_delay"] < 1:
        raise OptionError("wait_timeout and wait_delay are seconds, and at least 1.")
    return WaitOptions(params["wait_timeout"], params["wait_delay"])


def _strip_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names without the blanks that stand around commas in a survey's answer. Tag values keep theirs: they count."""
    return tuple(name.strip() for name in names if name.strip())


def resolve_regions(
    params: Mapping[str, Any],
    default_region: Optional[str],
    environment_regions: Sequence[Optional[str]],
    make_client: ClientFactory,
) -> list[str]:
    """The regions to work in. C(default): the connection's own. C(surrounding): what the environment says.

    The option region falls back to the environment, so that its value alone does not tell whether somebody chose it
    against C(regions).
    """
    regions, region_ = params["regions"], params["region"]
    if regions is None:
        if not default_region:
            raise OptionError("No region. Give regions, or region, or set AWS_REGION.")
        return [default_region]
    if region_ and region_ not in environment_regions:
        raise OptionError(f"regions and region exclude each other: put {region_} into regions, and leave region out.")
    regions = _strip_names(regions)
    if not regions:
        raise OptionError("regions is empty. Name regions, or 'all' for every region that the account has enabled.")
    if ALL_REGIONS not in regions:
        return list(dict.fromkeys(regions))
    if len(regions) > 1:
        raise OptionError("regions: 'all' stands alone. Name regions, or 'all'.")
    try:
        return list(ec2.list_enabled_regions(make_client("ec2", default_region or "us-east-1")))
    except AutostopApiError as error:
        raise OptionError(
            f"regions: 'all' asks the account for its regions, and that failed. {error}. Allow ec2:DescribeRegions, "
            "or name the regions."
        ) from error


def run_regions(
    make_client: ClientFactory,
    region_names: Sequence[str],
    options: AutostopOptions,
    act: bool,
    wait_options: Optional[WaitOptions] = None,
    clock: Optional[Clock] = None,
) -> list[RegionOutcome]:
    """All regions, some at a time. One that fails is its own result."""
    clock = clock or Clock()
    clients = {
        name: make_client("rds", name) for name in region_names
    }  # not in threads: making one may end the process
    with ThreadPoolExecutor(min(WORKERS, len(region_names))) as pool:
        return list(
            pool.map(lambda name: run_region(clients[name], options, name, clock, act, wait_options), region_names)
        )


def get_unknown_name_warnings(options: AutostopOptions, region_outcomes: Sequence[RegionOutcome]) -> list[str]:
    """What to say of names that nothing bears; nothing while a region could not be read, where they may be."""
    if any(one.error for one in region_outcomes):
        return []
    databases = [outcome.database for one in region_outcomes for outcome in one.outcomes]
    lost = {
        "clusters": [
            name for name in options.clusters if not any(is_named(database, [name]) for database in databases)
        ],
        "exclude": [name for name in options.exclude if all(name in one.unmatched_excludes for one in region_outcomes)],
    }
    return [f"Nothing that was read is called {name!r}, which {key} names." for key in lost for name in lost[key]]
