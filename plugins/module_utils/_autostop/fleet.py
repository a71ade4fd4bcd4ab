# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several regions at once, and the options that the modules share. Independent of Ansible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional

from .._aws_call import ApiError
from .._clock import Clock
from . import ec2
from .model import SWEEP_POLICIES, AutostopOptions
from .plan import is_named
from .run import RegionOutcome, WaitOptions, run_region

# Older versions drop GlobalClusterIdentifier from responses silently (docs/facts/autostop.md#describedbclusters).
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

# Retries are adaptive: when AWS throttles, botocore slows down all calls of a client. It gives up after these attempts.
# The time-outs limit how long an unreachable region takes.
CLIENT_CONFIG: dict[str, Any] = {
    "retries": {"mode": "adaptive", "total_max_attempts": 8},
    "connect_timeout": 5,
    "read_timeout": 60,
}

ClientFactory = Callable[[str, str], Any]


class OptionError(Exception):
    """An invalid option: which option, why, and what to write instead."""


def parse_options(params: Mapping[str, Any]) -> AutostopOptions:
    """Validates the module's parameters."""
    if not params["tag_key"]:
        raise OptionError("tag_key is empty. Give the key of the tag that selects the clusters to stop.")
    if not params["tag_values"]:
        raise OptionError("tag_values is empty, so no tag can match. Give at least one value.")
    clusters = _strip_names(params["clusters"])
    if params["clusters"] and not clusters:
        raise OptionError(
            "clusters contains only blanks. Name clusters, or omit clusters to select every tagged cluster."
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
    """The wait options; None without C(wait)."""
    if not params["wait"]:
        return None
    if params["wait_timeout"] < 1 or params["wait_delay"] < 1:
        raise OptionError("wait_timeout and wait_delay must be at least 1 second. Increase them.")
    return WaitOptions(params["wait_timeout"], params["wait_delay"])


def _strip_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names without the blanks around commas in an AWX survey. Tag values keep their blanks: they are significant."""
    return tuple(name.strip() for name in names if name.strip())


def resolve_regions(
    params: Mapping[str, Any],
    default_region: Optional[str],
    environment_regions: Sequence[Optional[str]],
    make_client: ClientFactory,
) -> list[str]:
    """The regions to work in. C(default_region) is the connection's region.

    The option region falls back to the environment. Its value alone does not show whether the playbook sets it
    besides C(regions), so C(environment_regions) has the environment's values.
    """
    regions, region_option = params["regions"], params["region"]
    if regions is None:
        if not default_region:
            raise OptionError("No region is set. Set regions, region, or AWS_REGION.")
        return [default_region]
    if region_option and region_option not in environment_regions:
        raise OptionError(
            f"regions and region are mutually exclusive. Put {region_option} into regions, and omit region."
        )
    regions = _strip_names(regions)
    if not regions:
        raise OptionError("regions is empty. Name regions, or 'all' for every region that the account has enabled.")
    if ALL_REGIONS not in regions:
        return list(dict.fromkeys(regions))
    if len(regions) > 1:
        raise OptionError("regions: 'all' cannot be combined with other regions. Name regions, or 'all' alone.")
    try:
        return list(ec2.list_enabled_regions(make_client("ec2", default_region or "us-east-1")))
    except ApiError as error:
        raise OptionError(
            f"regions: 'all' could not list the account's regions. {error}. Allow ec2:DescribeRegions, or name the "
            "regions."
        ) from error


def run_regions(
    make_client: ClientFactory,
    region_names: Sequence[str],
    options: AutostopOptions,
    act: bool,
    wait_options: Optional[WaitOptions] = None,
    clock: Optional[Clock] = None,
) -> list[RegionOutcome]:
    """Runs all regions, C(WORKERS) at a time. A region that fails has its own result."""
    clock = clock or Clock()
    clients = {
        name: make_client("rds", name) for name in region_names
    }  # not in threads: creating a client can end the process
    with ThreadPoolExecutor(min(WORKERS, len(region_names))) as pool:
        return list(
            pool.map(lambda name: run_region(clients[name], options, name, clock, act, wait_options), region_names)
        )


def get_unknown_name_warnings(options: AutostopOptions, region_outcomes: Sequence[RegionOutcome]) -> list[str]:
    """A warning for each name in C(clusters) and C(exclude) that no database has.

    No warning while a region could not be read: the database may be there.
    """
    if any(region_outcome.error for region_outcome in region_outcomes):
        return []
    databases = [outcome.database for region_outcome in region_outcomes for outcome in region_outcome.outcomes]
    unknown_names = {
        "clusters": [
            name for name in options.clusters if not any(is_named(database, [name]) for database in databases)
        ],
        "exclude": [
            name
            for name in options.exclude
            if all(name in region_outcome.unmatched_excludes for region_outcome in region_outcomes)
        ],
    }
    return [
        f"{key} names {name!r}, but no database that was read has that name. Check the spelling."
        for key in unknown_names
        for name in unknown_names[key]
    ]
