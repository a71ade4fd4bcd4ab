# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities, and the resources that a pod requests, as the scheduler computes them. Pure.

docs/facts/sysctl_nodegroup.md#requests-of-a-pod
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

_QUANTITY = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d{1,3})|([A-Za-z]{0,2}))")
_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{name: Fraction(1000 ** (power + 1)) for power, name in enumerate(("k", "M", "G", "T", "P", "E"))},
    **{name: Fraction(1024 ** (power + 1)) for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))},
}
_POD_LEVEL = ("cpu", "memory")
_HUGE_PAGES = "hugepages-"


def parse_quantity(value: Any) -> Fraction:
    """The exact value of a quantity, such as C(100m), C(1.5Gi), C(2E) or C(12e6)."""
    found = _QUANTITY.fullmatch(str(value))
    if not found or (found.group(4) or "") not in _SUFFIXES:
        raise ValueError(f"{value!r} is not a Kubernetes quantity")
    sign, number, exponent, suffix = found.groups()
    factor = Fraction(10) ** int(exponent) if exponent else _SUFFIXES[suffix or ""]
    return Fraction(f"{sign}0{number}".rstrip(".")) * factor


def format_quantity(resource: str, value: Fraction) -> str:
    """An amount of a resource for people: CPU in thousandths, memory and other bytes in the largest whole unit."""
    if resource == "cpu":
        return f"{math.ceil(value * 1000)}m"
    number = math.ceil(value)
    for suffix in ("Gi", "Mi", "Ki"):
        if number and number % _SUFFIXES[suffix] == 0:
            return f"{number // int(_SUFFIXES[suffix])}{suffix}"
    return str(number)


def parse_resources(resources: Any) -> dict[str, Fraction]:
    return {str(key): parse_quantity(value) for key, value in (resources or {}).items()}


def add_resources(first: Mapping[str, Fraction], second: Mapping[str, Fraction]) -> dict[str, Fraction]:
    return {key: first.get(key, Fraction(0)) + second.get(key, Fraction(0)) for key in (*first, *second)}


def merge_maximum(first: Mapping[str, Fraction], second: Mapping[str, Fraction]) -> dict[str, Fraction]:
    return {key: max(first.get(key, Fraction(0)), second.get(key, Fraction(0))) for key in (*first, *second)}


def sum_requests(pod: Mapping[str, Any]) -> dict[str, Fraction]:
    """The effective requests of a pod.

    Native sidecars (init containers that restart) run beside the containers. Each other init container runs alone with
    the sidecars before it. Requests of the whole pod replace those of its containers. The overhead is added.
    """
    spec = pod.get("spec") or {}
    total: dict[str, Fraction] = {}
    for container in spec.get("containers") or []:
        total = add_resources(total, _parse_requests(container))
    sidecars: dict[str, Fraction] = {}
    starting: dict[str, Fraction] = {}
    for container in spec.get("initContainers") or []:
        requests = _parse_requests(container)
        if is_sidecar(container):
            total = add_resources(total, requests)
            sidecars = add_resources(sidecars, requests)
            starting = merge_maximum(starting, sidecars)
        else:
            starting = merge_maximum(starting, add_resources(sidecars, requests))
    total = merge_maximum(total, starting)
    for key, value in parse_resources((spec.get("resources") or {}).get("requests")).items():
        if key in _POD_LEVEL or key.startswith(_HUGE_PAGES):
            total[key] = value
    return add_resources(total, parse_resources(spec.get("overhead")))


def is_sidecar(init_container: Mapping[str, Any]) -> bool:
    return init_container.get("restartPolicy") == "Always"


def sum_all_requests(pods: Iterable[Mapping[str, Any]]) -> dict[str, Fraction]:
    """The requests of several pods together, with the number of the pods as the resource C(pods)."""
    total: dict[str, Fraction] = {}
    for pod in pods:
        total = add_resources(total, {**_convert_to_units(sum_requests(pod)), "pods": Fraction(1)})
    return total


def _parse_requests(container: Mapping[str, Any]) -> dict[str, Fraction]:
    """The requests of a container. A limit without a request is a request of the same amount."""
    resources = container.get("resources") or {}
    return parse_resources({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _convert_to_units(requests: Mapping[str, Fraction]) -> dict[str, Fraction]:
    """The scheduler counts CPU in thousandths, and everything else in whole numbers."""
    return {
        key: Fraction(math.ceil(value * 1000), 1000) if key == "cpu" else Fraction(math.ceil(value))
        for key, value in requests.items()
    }
