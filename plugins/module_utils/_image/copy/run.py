# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy between registries: observe, plan, apply, verify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Optional

from ..._result import ItemResult
from ..ends.artifact_registry import ArtifactRegistry
from ..ends.ecr import EcrApi, EcrHost, EcrSettings
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
    ecr = None if params["ecr"] is None else EcrApi(EcrSettings.parse(params["ecr"]))
    if ecr is not None and not any(EcrHost.parse(request.destination.host) for request in requests):
        raise ImageError("ecr: is set, but no destination is a private registry of ECR. Leave it out, or correct to.")
    client = HttpClient(ca_path=params["ca_path"], timeout=params["timeout"])
    sources = RegistryPool(ArtifactRegistry, client, source, run)
    find_credentials = (lambda _host: None) if ecr is None else ecr.find_credentials
    destinations = RegistryPool(PushRegistry, client, destination, run, find_credentials)
    try:
        with ExitStack() as stack:
            # Observers and readers wait for registries most of the time; observers wait for readers, too.
            sizes = (parallel, min(MAX_PARALLEL, len(requests)), MAX_PARALLEL)
            executor, observers, readers = (stack.enter_context(ThreadPoolExecutor(size)) for size in sizes)

            def observe(request: CopyRequest) -> ObservedImage | ImageError:
                try:
                    sides = CopySides(
                        sources.get(request.source), destinations.get(request.destination), request, readers
                    )
                    image = observe_image(sides, platforms, params["referrers"])
                    return image if ecr is None else check_with_ecr(image, ecr)
                except ImageError as error:
                    return error

            observed = list(observers.map(observe, requests))
            plans = plan_copy([image for image in observed if isinstance(image, ObservedImage)])
            outcomes: Optional[list[CopyOutcome]] = None
            if not check_mode:
                create = (lambda _destination: False) if ecr is None else ecr.create_repository
                copier = ImageCopier(sources, destinations, executor, observers, throttle, create)
                outcomes = copier.apply(plans)
    finally:
        client.close()
    done: Sequence[Optional[CopyOutcome]] = [None] * len(plans) if outcomes is None else outcomes
    made = iter(map(make_item, plans, done))
    items: list[ItemResult] = [
        make_failed_item(request, str(image)) if isinstance(image, ImageError) else next(made)
        for request, image in zip(requests, observed)
    ]
    missing = sorted(
        {
            plan.image.destination.name
            for plan in plans
            if plan.image.is_repository_missing and plan.image.repository_settings is None
        }
    )
    result = make_result(items, plans, outcomes, diff)
    moved = [outcome.moved for outcome in outcomes or () if outcome.moved]
    return {**result, "warnings": [*moved, *(_format_missing(name) for name in missing if check_mode)]}


def check_with_ecr(image: ObservedImage, ecr: EcrApi) -> ObservedImage:
    """Adds what the AWS API reports, before the first write. Raises ImageError where the run would fail."""
    destination = image.destination
    if EcrHost.parse(destination.host) is None:
        return image
    if image.is_repository_missing:
        if ecr.settings.create_repository:
            return replace(image, repository_settings=ecr.settings.get_arguments())
        if ecr.is_created_on_push(destination) is False:
            raise ImageError(
                f"The registry {destination.host} has no repository {destination.path}, and no repository creation "
                "template that applies on push creates it. Create it, or set create_repository."
            )
        return image
    if image.tree.tag and image.tree.tag_digest not in (None, image.tree.digest):
        ecr.check_move(destination, image.tree.tag)
    attached, unreadable = [], list(image.unreadable)
    for tree in image.attached:
        try:
            if tree.tag and tree.tag_digest not in (None, tree.digest):
                ecr.check_move(destination, tree.tag)
            attached.append(tree)
        except ImageError as error:
            unreadable.append((tree.tag, str(error)))
    return replace(image, attached=tuple(attached), unreadable=tuple(unreadable))


def _format_missing(name: str) -> str:
    return (
        f"The registry has no repository {name} yet. Some registries create it at the first push. In ECR, create it, "
        "or a repository creation template that applies on push; else the run will fail."
    )
