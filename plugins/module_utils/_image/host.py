# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's side of a transfer, cut into calls of some seconds each. The controller decides which comes next.

Each phase imports what it alone needs: a host compiles all of it anew for every call, which is a good part of a call.
What a job does is imported before it starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Optional, Union

from .errors import ImageError
from .model import Bundle, Target, checked_digest, hex_of
from .run import Run
from .staging import Staging, check_root, root_for
from .throttle import Throttle
from .worker import Job

if TYPE_CHECKING:
    from .engine import Engine, Progress
    from .http import Client
    from .plan import ImagePlan
    from .push import Export
    from .source import Offer, RegistrySource
    from .transfer import BlobSource, Transfer

# A URL is good for some minutes, so the last of many must not wait for long; then it is signed anew.
SEND_SECONDS = 60.0
READ_ONLY_PHASES = ("facts", "inspect")
PHASES = {
    "saved": ("inspect", "export", "send", "offer", "clean"),
    "pushed": ("push", "clean"),
    "authorized": ("authorize",),
    "loaded": ("facts", "inspect", "load", "clean"),
    "revoked": ("revoke",),
}


def carry_out(params: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Does one phase of one state, as the option C(work) says, and returns what the controller needs then."""
    state, phase = params["state"], params["work"]["phase"]
    phases = PHASES.get(state, ())
    if phase not in phases:
        raise ImageError(
            f"work.phase: {phase!r} is none of the phases ({', '.join(phases)}) of state={state} on a host."
        )
    host: Any = _Source(params, run) if state in ("saved", "pushed") else _Target(params, run)
    result: dict[str, Any] = getattr(host, phase)()
    return result


def engine_of(params: Mapping[str, Any]) -> Engine:
    """The engine that the options name."""
    from .docker import DockerEngine

    return DockerEngine(params["docker_host"], float(params["timeout"]))


class _Host:
    """What source and target share: options, staging folder, HTTP."""

    def __init__(self, params: Mapping[str, Any], run: Run) -> None:
        self.params = params
        self.run = run
        self.work: Mapping[str, Any] = params["work"]
        self.seconds = float(self.work["seconds"])
        self.throttle = Throttle(params["bandwidth_limit"])

    @property
    def root(self) -> str:
        return root_for(self.params["staging_dir"])

    def client(self) -> Client:
        from .http import Client

        return Client(ca_path=self.params["ca_path"])

    def transfers(self) -> Sequence[Transfer]:
        from .transfer import Transfer

        return [Transfer.parse(entry) for entry in self.work["transfers"] or ()]

    def staging(self, role: str, bundle: Optional[Bundle] = None) -> Staging:
        # A host may be source and target of the same images at once; the two must not clean up after each other.
        bundle = bundle or Bundle.parse(self.params["bundle"])
        return Staging(self.root, bundle.folder(role))


class _Source(_Host):
    def inspect(self) -> dict[str, Any]:
        """Resolves all images without reading a layer."""
        from .source import EngineSource, parse_wanted

        source: Any = self._registry() if self.params["source"] == "registry" else EngineSource(engine_of(self.params))
        offer: Offer = source.offer(parse_wanted(self.params["images"], self.work["platform"]))
        return {
            "bundle": offer.bundle.to_dict(),
            "estimates": dict(offer.estimates),
            "leftover": self.staging("saved", offer.bundle).exists(),
        }

    def export(self) -> dict[str, Any]:
        """Has the engine write the wanted blobs into the staging folder; asked again until it is done."""
        from .source import EngineSource, parse_wanted

        staging = self.staging("saved")
        digests = [checked_digest(digest, "work.digests") for digest in self.work["digests"] or ()]
        wanted = parse_wanted(self.params["images"])
        source = EngineSource(engine_of(self.params))

        def stage(progress: Any) -> dict[str, Any]:
            source.stage(wanted, digests, staging, progress)
            return {"sizes": {digest: staging.size(digest) for digest in digests}}

        with staging.in_use():
            return Job(staging.folder).advance(self.work["token"], stage, self.seconds).to_dict()

    def send(self) -> dict[str, Any]:
        """PUTs blobs to the store, from the registry or from the staging folder; asked again until it is done."""
        from .transfer import StagedSource, send

        staging, transfers = self.staging("saved"), self.transfers()
        from_registry = self.params["source"] == "registry"
        source: BlobSource = self._registry() if from_registry else StagedSource(staging)

        def work(progress: Progress) -> dict[str, Any]:
            tell = job.watched(progress)
            outcomes = send(transfers, source, self.client(), SEND_SECONDS, self.throttle, tell)
            return {"outcomes": [outcome.to_dict() for outcome in outcomes]}

        with staging.in_use():
            job = Job(staging.folder)
            state = job.advance(self.work["token"], work, self.seconds)
        # What comes from a registry leaves nothing in the folder but how far it is. What an engine has written stays:
        # should this answer be lost, the call that is made again needs it.
        cleaned = from_registry and state.state == "done"
        if cleaned:
            staging.remove()
        return {**state.to_dict(), "cleaned": cleaned}

    def offer(self) -> dict[str, Any]:
        """Resolves all images and, where a target lacks something of them, starts the process that will push.

        It holds the key and waits for the targets' permission. The controller plans by the same rules as this call.
        """
        from .plan import needed_blobs, refusals
        from .push import PushFolder
        from .ssh import own_address

        seen = self.inspect()
        bundle = Bundle.parse(seen["bundle"])
        targets = [Target.parse(entry, "work.targets") for entry in self.work["targets"] or ()]
        refused = refusals(bundle, targets)
        able = [target for target in targets if target.host not in refused]
        needs = needed_blobs(bundle, able) if able else ()
        if not needs:
            return {**seen, "public_key": None, "addresses": {}}
        lacking = {name for need in needs for name in need.hosts}
        addresses = {target.host: own_address(target.address, target.port) for target in able if target.host in lacking}
        source: Union[BlobSource, Export] = (
            self._registry()
            if self.params["source"] == "registry"
            else self._export([need.blob.digest for need in needs])
        )
        waiting = PushFolder(self.root, self.work["token"])
        public_key = waiting.start(bundle, source, self.staging("saved", bundle), self.throttle, self.run)
        return {**seen, "public_key": public_key, "addresses": addresses}

    def push(self) -> dict[str, Any]:
        """Tells the waiting process the grants, and how far it is; asked again until it is done, which ends it."""
        from .push import PushFolder

        waiting = PushFolder(self.root, self.work["token"])
        state = waiting.advance(self.work["grants"] or (), self.seconds, self.work["again"])
        cleaned = state.state != "running"
        if cleaned:
            self.clean()
        return {**state.to_dict(), "cleaned": cleaned}

    def clean(self) -> dict[str, Any]:
        if self.work["token"]:
            from .push import PushFolder

            PushFolder(self.root, self.work["token"]).remove()
        return {"removed": self.staging("saved").remove()}

    def _export(self, digests: Sequence[str]) -> Export:
        from .push import Export
        from .source import EngineSource, parse_wanted

        return Export(EngineSource(engine_of(self.params)), parse_wanted(self.params["images"]), digests)

    def _registry(self) -> RegistrySource:
        from .source import Login, RegistrySource

        params = self.params
        login = Login(
            params["registry_username"],
            params["registry_password"],
            params["registry_config_path"],
            bool(params["plain_http"]),
        )
        return RegistrySource(self.client(), login, self.run)


class _Target(_Host):
    def facts(self) -> dict[str, Any]:
        """What the host has, before there is a bundle."""
        check_root(self.root)
        return {"target": {"host": self.work["host"], **engine_of(self.params).facts(self.root).to_dict()}}

    def inspect(self) -> dict[str, Any]:
        """Compares the bundle with what the engine has. Refuses a load that is certain not to fit."""
        bundle, staging = Bundle.parse(self.params["bundle"]), self.staging("loaded")
        leftover = staging.exists()
        return {**self._compared(bundle, staging, engine_of(self.params)), "leftover": leftover}

    def load(self) -> dict[str, Any]:
        """Fetches what is lacking, verifies, loads, proves and tags; asked again until it is done.

        Where all is well it cleans up in the same call. Where C(transfers) are not all, or some must be signed anew,
        nothing is loaded yet. A permission to push, if there is one, is taken away before anything else.
        """
        from .ahead import loading_ahead
        from .authorize import remove, revoke
        from .target import load_bundle
        from .transfer import fetch

        bundle, staging = Bundle.parse(self.params["bundle"]), self.staging("loaded")
        if self.work["public_key"]:
            revoke(staging, self.work["public_key"])
        ahead = self._ahead(staging)
        unpacking = ahead.end(self.seconds)
        if unpacking:
            return {**replace(unpacking, state="running").to_dict(), "cleaned": False}
        engine, transfers, problem = engine_of(self.params), self.transfers(), ahead.problem()

        def work(progress: Progress) -> dict[str, Any]:
            seen = self._compared(bundle, staging, engine)
            needed = {digest for plan in seen["plans"] for digest in plan["blobs"]}
            wanted = [transfer for transfer in transfers if transfer.digest in needed]
            verified: set[str] = set()
            # What others have pushed was loaded ahead when it came.
            beside: AbstractContextManager[list[str]] = nullcontext([])
            if wanted:
                beside = loading_ahead(bundle, engine, staging, verified, progress)
            with beside as problems:
                outcomes = fetch(wanted, staging, self.client(), verified, self.throttle, job.watched(progress))
            result = {**seen, "outcomes": [outcome.to_dict() for outcome in outcomes], "loaded": None, "left": None}
            result["not_ahead"] = [problem] if problem else problems
            if self.work["more"] or any(not outcome.settled for outcome in outcomes):
                return result
            return {**result, **load_bundle(bundle, engine, staging, progress, verified)}

        with staging.in_use():
            job = Job(staging.folder)
            state = job.advance(self.work["token"], work, self.seconds)
        loaded = (state.result or {}).get("loaded") or []
        # Should this answer be lost, the call that is made again finds the images there.
        cleaned = bool(loaded) and all(outcome["done"] for outcome in loaded)
        if cleaned:
            remove(staging, loaded=True)
        return {**state.to_dict(), "cleaned": cleaned}

    def _compared(self, bundle: Bundle, staging: Staging, engine: Engine) -> dict[str, Any]:
        from .plan import misgivings, plan_load, refusal

        facts = engine.facts(self.root)
        plans = plan_load(bundle, facts)
        # What is loaded already takes no more room.
        left = plan_load(bundle, facts.with_ahead(staging.folder.name))
        staged = sum({blob.digest: staging.size(blob.digest) for plan in left for blob in plan.blobs}.values())
        refused = refusal(left, staged, facts)
        if refused:
            raise ImageError(f"The target cannot take the images: {refused}")
        return {
            "plans": [_plan_dict(plan) for plan in plans],
            "engine": f"{facts.engine} {facts.version}",
            "misgivings": misgivings(plans, facts),
        }

    def authorize(self) -> dict[str, Any]:
        """Permits the source to push what is lacking here, and starts a process that loads it as it comes."""
        from .authorize import authorize, host_keys, user

        work, staging = self.work, self.staging("loaded")
        sizes = {checked_digest(entry["digest"], "work.blobs"): entry["size"] for entry in work["blobs"] or ()}
        hexadecimal = {hex_of(digest): size for digest, size in sizes.items()}
        authorize(staging, work["public_key"], work["addresses"] or (), hexadecimal, work["expires"])
        self._load_ahead(staging, list(sizes))
        return {"user": user(), "host_keys": host_keys(work["port"], self.run)}

    def revoke(self) -> dict[str, Any]:
        """Takes the permission away at once; what had come with it when nothing is loaded from that any more."""
        from .authorize import forget, withdraw

        staging, key = self.staging("loaded"), self.work["public_key"]
        revoked = withdraw(staging, key)
        busy = self._ahead(staging).end(self.seconds) is not None
        left = None
        if not busy:
            left = self._remove_ahead(staging) if staging.exists() else None
            forget(staging, key)
        return {"revoked": revoked, "busy": busy, "left": left}

    def clean(self) -> dict[str, Any]:
        from .authorize import remove
        from .plan import plan_load

        staging = self.staging("loaded")
        busy = self._ahead(staging).end(self.seconds) is not None
        left = None if busy else self._remove_ahead(staging)
        try:
            plans = plan_load(Bundle.parse(self.params["bundle"]), engine_of(self.params).facts(self.root))
            loaded = all(plan.action == "none" for plan in plans)
        except ImageError:
            loaded = False
        return {"removed": remove(staging, loaded=loaded), "busy": busy, "left": left}

    @staticmethod
    def _ahead(staging: Staging) -> Job:
        return Job(staging.folder, "ahead")

    def _remove_ahead(self, staging: Staging) -> Optional[str]:
        from .ahead import remove_ahead

        # The load of another run that is at work here counts on it, and removes it.
        return None if Job(staging.folder).running() else remove_ahead(engine_of(self.params), staging)

    def _load_ahead(self, staging: Staging, digests: Sequence[str]) -> None:
        from .ahead import Pushed, load_ahead, remove_ahead

        bundle, engine, job = Bundle.parse(self.params["bundle"]), engine_of(self.params), self._ahead(staging)

        def work(progress: Progress) -> dict[str, Any]:
            pushed = Pushed(staging, digests, job.stopped)
            load_ahead(bundle, engine, staging, pushed, progress)
            # Where the run was killed, nobody else may come for it.
            return {"left": remove_ahead(engine, staging) if pushed.given_up() else None}

        with staging.in_use():
            # Another run of the same images may be at it already, or beyond.
            if not job.running() and not Job(staging.folder).running():
                job.advance(os.urandom(16).hex(), work, 0)


def _plan_dict(plan: ImagePlan) -> dict[str, Any]:
    step = plan.step()
    return {
        "name": plan.image.tag,
        "action": plan.action,
        "reason": plan.reason,
        "previous": plan.previous,
        "blobs": [blob.digest for blob in plan.blobs],
        "step": step.to_dict() if step else None,
    }
