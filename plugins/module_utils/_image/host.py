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
from .model import Bundle, TransferTarget, get_digest_hex, parse_digest
from .run_command import RunCommand
from .staging import Staging, check_root, get_root
from .throttle import Throttle
from .worker import BackgroundJob

if TYPE_CHECKING:
    from .engine import Engine, ProgressCallback
    from .http import HttpClient
    from .plan import ImagePlan
    from .push import EngineExport
    from .source import RegistrySource, SourceOffer
    from .transfer import BlobSource, TransferRequest

# A URL is good for some minutes, so the last of many must not wait for long; then it is signed anew.
SEND_SECONDS = 60.0
READ_ONLY_PHASES = ("gather_facts", "inspect")
PHASES = {
    "saved": ("inspect", "export", "send", "prepare_push", "clean"),
    "pushed": ("push", "clean"),
    "authorized": ("authorize",),
    "loaded": ("gather_facts", "inspect", "load", "clean"),
    "revoked": ("revoke",),
}


def apply_phase(params: Mapping[str, Any], run: RunCommand) -> dict[str, Any]:
    """Does one phase of one state, as the option C(work) says, and returns what the controller needs then."""
    state, phase = params["state"], params["work"]["phase"]
    phases = PHASES.get(state, ())
    if phase not in phases:
        raise ImageError(
            f"work.phase: {phase!r} is none of the phases ({', '.join(phases)}) of state={state} on a host."
        )
    host: Any = _SourcePhases(params, run) if state in ("saved", "pushed") else _TargetPhases(params, run)
    result: dict[str, Any] = getattr(host, phase)()
    return result


def make_engine(params: Mapping[str, Any]) -> Engine:
    """The engine that the options name."""
    from .docker import DockerEngine

    return DockerEngine(params["docker_host"], float(params["timeout"]))


class _HostPhases:
    """What source and target share: options, staging folder, HTTP."""

    def __init__(self, params: Mapping[str, Any], run: RunCommand) -> None:
        self.params = params
        self.run = run
        self.work: Mapping[str, Any] = params["work"]
        self.seconds = float(self.work["seconds"])
        self.throttle = Throttle(params["bandwidth_limit"])

    @property
    def root(self) -> str:
        return get_root(self.params["staging_dir"])

    def make_client(self) -> HttpClient:
        from .http import HttpClient

        return HttpClient(ca_path=self.params["ca_path"])

    def parse_transfers(self) -> Sequence[TransferRequest]:
        from .transfer import TransferRequest

        return [TransferRequest.parse(entry) for entry in self.work["transfers"] or ()]

    def make_staging(self, role: str, bundle: Optional[Bundle] = None) -> Staging:
        # A host may be source and target of the same images at once; the two must not clean up after each other.
        bundle = bundle or Bundle.parse(self.params["bundle"])
        return Staging(self.root, bundle.get_directory_name(role))


class _SourcePhases(_HostPhases):
    def inspect(self) -> dict[str, Any]:
        """Resolves all images without reading a layer."""
        from .source import EngineSource, parse_requested_images

        source: Any = (
            self._make_registry_source()
            if self.params["source"] == "registry"
            else EngineSource(make_engine(self.params))
        )
        offer: SourceOffer = source.make_offer(parse_requested_images(self.params["images"], self.work["platform"]))
        return {
            "bundle": offer.bundle.to_dict(),
            "estimates": dict(offer.estimates),
            "leftover": self.make_staging("saved", offer.bundle).exists(),
        }

    def export(self) -> dict[str, Any]:
        """Has the engine write the wanted blobs into the staging folder; asked again until it is done."""
        from .source import EngineSource, parse_requested_images

        staging = self.make_staging("saved")
        digests = [parse_digest(digest, "work.digests") for digest in self.work["digests"] or ()]
        requested = parse_requested_images(self.params["images"])
        source = EngineSource(make_engine(self.params))

        def stage_blobs(progress: Any) -> dict[str, Any]:
            source.stage(requested, digests, staging, progress)
            return {"sizes": {digest: staging.get_size(digest) for digest in digests}}

        with staging.hold_lock():
            return BackgroundJob(staging.directory).advance(self.work["token"], stage_blobs, self.seconds).to_dict()

    def send(self) -> dict[str, Any]:
        """PUTs blobs to the store, from the registry or from the staging folder; asked again until it is done."""
        from .transfer import StagedBlobSource, send

        staging, transfers = self.make_staging("saved"), self.parse_transfers()
        from_registry = self.params["source"] == "registry"
        source: BlobSource = self._make_registry_source() if from_registry else StagedBlobSource(staging)

        def run_send(progress: ProgressCallback) -> dict[str, Any]:
            report_progress = job.add_idle_timeout(progress)
            outcomes = send(transfers, source, self.make_client(), SEND_SECONDS, self.throttle, report_progress)
            return {"outcomes": [outcome.to_dict() for outcome in outcomes]}

        with staging.hold_lock():
            job = BackgroundJob(staging.directory)
            state = job.advance(self.work["token"], run_send, self.seconds)
        # What comes from a registry leaves nothing in the folder but how far it is. What an engine has written stays:
        # should this answer be lost, the call that is made again needs it.
        cleaned = from_registry and state.status == "done"
        if cleaned:
            staging.remove()
        return {**state.to_dict(), "cleaned": cleaned}

    def prepare_push(self) -> dict[str, Any]:
        """Resolves all images and, where a target lacks something of them, starts the process that will push.

        It holds the key and waits for the targets' permission. The controller plans by the same rules as this call.
        """
        from .plan import get_rejection_reasons, list_blob_needs
        from .push import PushSession
        from .ssh import get_own_address

        inspection = self.inspect()
        bundle = Bundle.parse(inspection["bundle"])
        targets = [TransferTarget.parse(entry, "work.targets") for entry in self.work["targets"] or ()]
        rejected = get_rejection_reasons(bundle, targets)
        accepting_targets = [target for target in targets if target.host not in rejected]
        needs = list_blob_needs(bundle, accepting_targets) if accepting_targets else ()
        if not needs:
            return {**inspection, "public_key": None, "addresses": {}}
        hosts_to_push = {name for need in needs for name in need.hosts}
        addresses = {
            target.host: get_own_address(target.address, target.port)
            for target in accepting_targets
            if target.host in hosts_to_push
        }
        source: Union[BlobSource, EngineExport] = (
            self._make_registry_source()
            if self.params["source"] == "registry"
            else self._make_export([need.blob.digest for need in needs])
        )
        session = PushSession(self.root, self.work["token"])
        public_key = session.start(bundle, source, self.make_staging("saved", bundle), self.throttle, self.run)
        return {**inspection, "public_key": public_key, "addresses": addresses}

    def push(self) -> dict[str, Any]:
        """Tells the waiting process the grants, and how far it is; asked again until it is done, which ends it."""
        from .push import PushSession

        session = PushSession(self.root, self.work["token"])
        state = session.advance(self.work["authorizations"] or (), self.seconds, self.work["retry"])
        cleaned = state.status != "running"
        if cleaned:
            self.clean()
        return {**state.to_dict(), "cleaned": cleaned}

    def clean(self) -> dict[str, Any]:
        if self.work["token"]:
            from .push import PushSession

            PushSession(self.root, self.work["token"]).remove()
        return {"removed": self.make_staging("saved").remove()}

    def _make_export(self, digests: Sequence[str]) -> EngineExport:
        from .push import EngineExport
        from .source import EngineSource, parse_requested_images

        return EngineExport(
            EngineSource(make_engine(self.params)), parse_requested_images(self.params["images"]), digests
        )

    def _make_registry_source(self) -> RegistrySource:
        from .source import RegistryLogin, RegistrySource

        params = self.params
        login = RegistryLogin(
            params["registry_username"],
            params["registry_password"],
            params["registry_config_path"],
            bool(params["plain_http"]),
        )
        return RegistrySource(self.make_client(), login, self.run)


class _TargetPhases(_HostPhases):
    def gather_facts(self) -> dict[str, Any]:
        """What the host has, before there is a bundle."""
        check_root(self.root)
        return {"target": {"host": self.work["host"], **make_engine(self.params).read_facts(self.root).to_dict()}}

    def inspect(self) -> dict[str, Any]:
        """Compares the bundle with what the engine has. Refuses a load that is certain not to fit."""
        bundle, staging = Bundle.parse(self.params["bundle"]), self.make_staging("loaded")
        leftover = staging.exists()
        return {**self._compare_bundle(bundle, staging, make_engine(self.params)), "leftover": leftover}

    def load(self) -> dict[str, Any]:
        """Fetches what is lacking, verifies, loads, proves and tags; asked again until it is done.

        Where all is well it cleans up in the same call. Where C(transfers) are not all, or some must be signed anew,
        nothing is loaded yet. A permission to push, if there is one, is taken away before anything else.
        """
        from .authorized_keys import remove_staging, revoke_key
        from .preload import preload_in_background
        from .target import load_bundle
        from .transfer import fetch

        bundle, staging = Bundle.parse(self.params["bundle"]), self.make_staging("loaded")
        if self.work["public_key"]:
            revoke_key(staging, self.work["public_key"])
        preload_job = self._get_preload_job(staging)
        preload_state = preload_job.stop(self.seconds)
        if preload_state:
            return {**replace(preload_state, status="running").to_dict(), "cleaned": False}
        engine, transfers, preload_error = make_engine(self.params), self.parse_transfers(), preload_job.get_error()

        def run_load(progress: ProgressCallback) -> dict[str, Any]:
            comparison = self._compare_bundle(bundle, staging, engine)
            missing_digests = {digest for plan in comparison["plans"] for digest in plan["blobs"]}
            requests = [transfer for transfer in transfers if transfer.digest in missing_digests]
            verified: set[str] = set()
            # What others have pushed was loaded ahead when it came.
            preload: AbstractContextManager[list[str]] = nullcontext([])
            if requests:
                preload = preload_in_background(bundle, engine, staging, verified, progress)
            with preload as preload_errors:
                outcomes = fetch(
                    requests, staging, self.make_client(), verified, self.throttle, job.add_idle_timeout(progress)
                )
            result = {
                **comparison,
                "outcomes": [outcome.to_dict() for outcome in outcomes],
                "loaded": None,
                "cleanup_error": None,
            }
            result["preload_errors"] = [preload_error] if preload_error else preload_errors
            if self.work["has_more"] or any(not outcome.is_final for outcome in outcomes):
                return result
            return {**result, **load_bundle(bundle, engine, staging, progress, verified)}

        with staging.hold_lock():
            job = BackgroundJob(staging.directory)
            state = job.advance(self.work["token"], run_load, self.seconds)
        loaded = (state.result or {}).get("loaded") or []
        # Should this answer be lost, the call that is made again finds the images there.
        cleaned = bool(loaded) and all(outcome["done"] for outcome in loaded)
        if cleaned:
            remove_staging(staging, loaded=True)
        return {**state.to_dict(), "cleaned": cleaned}

    def _compare_bundle(self, bundle: Bundle, staging: Staging, engine: Engine) -> dict[str, Any]:
        from .plan import get_load_warnings, get_rejection_reason, plan_load

        facts = engine.read_facts(self.root)
        plans = plan_load(bundle, facts)
        # What is loaded already takes no more room.
        remaining_plans = plan_load(bundle, facts.include_preloaded(staging.directory.name))
        staged_bytes = sum(
            {blob.digest: staging.get_size(blob.digest) for plan in remaining_plans for blob in plan.blobs}.values()
        )
        rejection_reason = get_rejection_reason(remaining_plans, staged_bytes, facts)
        if rejection_reason:
            raise ImageError(f"The target cannot take the images: {rejection_reason}")
        return {
            "plans": [_plan_to_dict(plan) for plan in plans],
            "engine": f"{facts.engine} {facts.version}",
            "load_warnings": get_load_warnings(plans, facts),
        }

    def authorize(self) -> dict[str, Any]:
        """Permits the source to push what is lacking here, and starts a process that loads it as it comes."""
        from .authorized_keys import authorize_key, get_user, scan_host_keys

        work, staging = self.work, self.make_staging("loaded")
        sizes = {parse_digest(entry["digest"], "work.blobs"): entry["size"] for entry in work["blobs"] or ()}
        hexadecimal = {get_digest_hex(digest): size for digest, size in sizes.items()}
        authorize_key(staging, work["public_key"], work["addresses"] or (), hexadecimal, work["expires"])
        self._start_preload(staging, list(sizes))
        return {"user": get_user(), "host_keys": scan_host_keys(work["port"], self.run)}

    def revoke(self) -> dict[str, Any]:
        """Takes the permission away at once; what had come with it when nothing is loaded from that any more."""
        from .authorized_keys import remove_withdrawn, withdraw_key

        staging, key = self.make_staging("loaded"), self.work["public_key"]
        revoked = withdraw_key(staging, key)
        busy = self._get_preload_job(staging).stop(self.seconds) is not None
        cleanup_error = None
        if not busy:
            cleanup_error = self._remove_preloaded(staging) if staging.exists() else None
            remove_withdrawn(staging, key)
        return {"revoked": revoked, "busy": busy, "cleanup_error": cleanup_error}

    def clean(self) -> dict[str, Any]:
        from .authorized_keys import remove_staging
        from .plan import plan_load

        staging = self.make_staging("loaded")
        busy = self._get_preload_job(staging).stop(self.seconds) is not None
        cleanup_error = None if busy else self._remove_preloaded(staging)
        try:
            plans = plan_load(Bundle.parse(self.params["bundle"]), make_engine(self.params).read_facts(self.root))
            loaded = all(plan.action == "none" for plan in plans)
        except ImageError:
            loaded = False
        return {"removed": remove_staging(staging, loaded=loaded), "busy": busy, "cleanup_error": cleanup_error}

    @staticmethod
    def _get_preload_job(staging: Staging) -> BackgroundJob:
        return BackgroundJob(staging.directory, "preload")

    def _remove_preloaded(self, staging: Staging) -> Optional[str]:
        from .preload import remove_preloaded

        # The load of another run that is at work here counts on it, and removes it.
        return (
            None
            if BackgroundJob(staging.directory).is_running()
            else remove_preloaded(make_engine(self.params), staging)
        )

    def _start_preload(self, staging: Staging, digests: Sequence[str]) -> None:
        from .preload import PushedBlobs, preload_layers, remove_preloaded

        bundle, engine, job = (
            Bundle.parse(self.params["bundle"]),
            make_engine(self.params),
            self._get_preload_job(staging),
        )

        def run_preload(progress: ProgressCallback) -> dict[str, Any]:
            pushed = PushedBlobs(staging, digests, job.should_stop)
            preload_layers(bundle, engine, staging, pushed, progress)
            # Where the run was killed, nobody else may come for it.
            return {"cleanup_error": remove_preloaded(engine, staging) if pushed.has_timed_out() else None}

        with staging.hold_lock():
            # Another run of the same images may be at it already, or beyond.
            if not job.is_running() and not BackgroundJob(staging.directory).is_running():
                job.advance(os.urandom(16).hex(), run_preload, 0)


def _plan_to_dict(plan: ImagePlan) -> dict[str, Any]:
    step = plan.to_step()
    return {
        "name": plan.image.tag,
        "action": plan.action,
        "reason": plan.reason,
        "previous": plan.previous,
        "blobs": [blob.digest for blob in plan.blobs],
        "step": step.to_dict() if step else None,
    }
