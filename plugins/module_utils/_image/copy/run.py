# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy between registries: observe, plan, apply, verify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional

from ..._result import ItemResult
from ..ends.artifact_registry import ArtifactRegistry
from ..ends.registry_pool import RegistryLogin, RegistryPool
from ..ends.registry_push import PushRegistry
from ..errors import ImageError
from ..http.client import HttpClient
from ..run_command import RunCommand
from ..throttle import Throttle
from .apply import CopyOutcome, ImageCopier
from .observe import CopySides, observe_image
from .plan import ObservedImage, plan_copy
from .report import make_failed_item, make_item, make_result
from .request import CopyRequest, parse_copy_requests, parse_platforms

MAX_PARALLEL = 32


def copy_images(params: Mapping[str, Any], check_mode: bool, diff: bool, run: RunCommand) -> dict[str, Any]:
    """Copies the images of the module's options, and returns its result. Raises ImageError for wrong options."""
    requests = parse_copy_requests(params["images"])
    platforms = parse_platforms(params["platforms"])
    parallel = params["parallel"]
    if not 1 <= parallel <= MAX_PARALLEL:
        raise ImageError(f"parallel: {parallel} is not between 1 and {MAX_PARALLEL}.")
    throttle = Throttle(params["bandwidth_limit"])
    source, destination = (RegistryLogin.parse(side, params) for side in ("source", "destination"))
    source.check([request.source for request in requests])
    destination.check([request.destination for request in requests])
    client = HttpClient(ca_path=params["ca_path"], timeout=params["timeout"])
    sources = RegistryPool(ArtifactRegistry, client, source, run)
    destinations = RegistryPool(PushRegistry, client, destination, run)
    try:
        with ThreadPoolExecutor(parallel) as executor, ThreadPoolExecutor(parallel) as readers:

            def observe(request: CopyRequest) -> ObservedImage | ImageError:
                try:
                    sides = CopySides(
                        sources.get(request.source), destinations.get(request.destination), request, readers
                    )
                    return observe_image(sides, platforms, params["referrers"])
                except ImageError as error:
                    return error

            observed = list(executor.map(observe, requests))
            plans = plan_copy([image for image in observed if isinstance(image, ObservedImage)])
            outcomes: Optional[list[CopyOutcome]] = None
            if not check_mode:
                outcomes = ImageCopier(sources, destinations, executor, throttle).apply(plans)
    finally:
        client.close()
    done: Sequence[Optional[CopyOutcome]] = [None] * len(plans) if outcomes is None else outcomes
    made = iter(map(make_item, plans, done))
    items: list[ItemResult] = [
        make_failed_item(request, str(image)) if isinstance(image, ImageError) else next(made)
        for request, image in zip(requests, observed)
    ]
    missing = sorted({plan.image.destination.name for plan in plans if plan.image.is_repository_missing})
    result = make_result(items, plans, outcomes, diff)
    return {**result, "warnings": [_format_missing(name) for name in missing] if check_mode else []}


def _format_missing(name: str) -> str:
    return (
        f"The registry has no repository {name} yet. Some registries create it at the first push. In ECR, create it, "
        "or a repository creation template that applies on push; else the run will fail."
    )
