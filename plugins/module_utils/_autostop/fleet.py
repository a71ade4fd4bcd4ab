# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several regions at once, and the options that the modules share. Independent of Ansible."""

from __future__ import annotations

import re
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
REGION_PATTERN = re.compile(r"[a-z]+(-[a-z]+)+-[0-9]+")  # eu-central-1, us-gov-west-1, eusc-de-east-1
DENIED_BY_ORGANIZATION = "A service control policy of the organization denies this region."

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "regions": {"type": "list", "elements": "str"},
    "tag_key": {"type": "str", "default": "autostop", "no_log": False},
    "tag_values": {"type": "list", "elements": "raw", "default": ["yes"]},  # raw: a boolean stays recognizable
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

QUOTE_REMEDIATION = 'YAML reads yes, no, on, off, true and false as booleans: quote the value, such as "yes".'

ClientFactory = Callable[[str, str], Any]


class OptionError(Exception):
    """An invalid option: which option, why, and what to write instead."""


def parse_options(params: Mapping[str, Any]) -> AutostopOptions:
    """Validates the module's parameters."""
    tag_key = params["tag_key"]
    if not tag_key.strip():
        raise OptionError("tag_key is empty. Give the key of the tag that selects the clusters to stop.")
    if tag_key in ("True", "False"):
        raise OptionError(f"tag_key is the boolean {tag_key.lower()}. {QUOTE_REMEDIATION}")
    clusters = _strip_names(params["clusters"])
    if params["clusters"] and not clusters:
        raise OptionError(
            "clusters contains only blanks. Name clusters, or omit clusters to select every tagged cluster."
        )
    return AutostopOptions(
        tag_key=tag_key,
        tag_values=_parse_tag_values(params["tag_values"]),
        clusters=clusters,
        exclude=_strip_names(params["exclude"]),
        include_instances=params["include_instances"],
        migrate_tags=params["migrate_tags"],
        sweep_policy=params["sweep_policy"],
        finish_maintenance=params["finish_maintenance"],
        wait=bool(params.get("wait")),
    )


def _parse_tag_values(values: Sequence[Any]) -> tuple[str, ...]:
    """The values as text. A boolean would become True, which hardly any tag has: nothing would be stopped."""
    if not values:
        raise OptionError("tag_values is empty, so no tag can match. Give at least one value.")
    for value in values:
        if isinstance(value, bool):
            raise OptionError(f"tag_values has the boolean {str(value).lower()}. {QUOTE_REMEDIATION}")
        if value is None or isinstance(value, (list, dict)):
            raise OptionError(f"tag_values has {value!r}, which is no text. Give the values as a list of texts.")
    return tuple(str(value) for value in values)


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


def uses_all_regions(params: Mapping[str, Any]) -> bool:
    """Whether the option regions selects every region that the account has enabled."""
    return _strip_names(params["regions"] or ()) == (ALL_REGIONS,)


def resolve_regions(params: Mapping[str, Any], default_region: Optional[str], make_client: ClientFactory) -> list[str]:
    """The regions to work in. C(default_region) is the connection's region, which counts only without C(regions)."""
    if params["regions"] is None:
        if not default_region:
            raise OptionError("No region is set. Set regions, region, or AWS_REGION.")
        return [default_region]
    regions = _strip_names(params["regions"])
    if not regions:
        raise OptionError("regions is empty. Name regions, or 'all' for every region that the account has enabled.")
    unknown = [name for name in regions if name != ALL_REGIONS and not REGION_PATTERN.fullmatch(name)]
    if unknown:
        raise OptionError(
            f"regions has {unknown[0]!r}, which is no name of a region. Name regions such as eu-central-1, or 'all'."
        )
    if ALL_REGIONS not in regions:
        return list(dict.fromkeys(regions))
    if len(regions) > 1:
        raise OptionError("regions: 'all' cannot be combined with other regions. Name regions, or 'all' alone.")
    try:
        return list(ec2.list_enabled_regions(make_client("ec2", default_region or "us-east-1")))
    except ApiError as error:
        alternative = "" if error.is_credential_error else " Or name the regions."
        raise OptionError(
            f"regions: 'all' could not list the account's regions. {error.explanation}{alternative}"
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


def skip_denied_regions(params: Mapping[str, Any], region_outcomes: Sequence[RegionOutcome]) -> list[RegionOutcome]:
    """Skips the regions that a service control policy denies, for C(regions=all): the organization closed them.

    If it denies every region, nothing was read, and each stays a failure.
    """
    is_denied = [region_outcome.is_denied_by_organization for region_outcome in region_outcomes]
    if not uses_all_regions(params) or all(is_denied):
        return list(region_outcomes)
    return [
        RegionOutcome(region_outcome.region, skip_reason=f"{DENIED_BY_ORGANIZATION} {region_outcome.api_error}.")
        if region_outcome.is_denied_by_organization
        else region_outcome
        for region_outcome in region_outcomes
    ]


def get_unknown_name_warnings(options: AutostopOptions, region_outcomes: Sequence[RegionOutcome]) -> list[str]:
    """A warning for each name in C(clusters) and C(exclude) that has no effect.

    No warning that a name is unknown while a region could not be read: the database may be there.
    """
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
    named_members = {
        name: region_outcome.member_clusters[name.casefold()]
        for region_outcome in region_outcomes
        for name in (*options.clusters, *options.exclude)
        if name.casefold() in region_outcome.member_clusters
    }
    is_complete = not any(region_outcome.error for region_outcome in region_outcomes)
    instances_remark = "" if options.include_instances else " DB instances are read with include_instances: true only."
    warnings = []
    for option in ("clusters", "exclude"):
        for name in getattr(options, option):
            if name in named_members:
                cluster = named_members[name]
                warnings.append(
                    f"{option} names {name!r}, which is an instance of cluster {cluster}. AWS stops a cluster only as "
                    f"a whole: name cluster {cluster}."
                )
            elif is_complete and name in unknown_names[option]:
                warnings.append(
                    f"{option} names {name!r}, but no database that was read has that name. Check the spelling."
                    f"{instances_remark}"
                )
    return warnings
