# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The phases of a transfer on a host. Each call takes some seconds; the controller decides which phase comes next.

Each phase imports only what it needs: a host compiles all imported code for every call, which is a large part of the
call's time. The code of a background job is imported before the job starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Optional, Union

from .errors import ImageError
from .model import Bundle, EngineFacts, TransferTarget, get_digest_hex, parse_digest
from .run_command import RunCommand
from .staging import Staging, check_root, get_root
from .throttle import Throttle
from .worker import BackgroundJob

if TYPE_CHECKING:
    from .blobs import BlobSource, TransferRequest
    from .ends.archive_source import ArchiveSource
    from .ends.archive_target import ArchiveTarget
    from .ends.engine import Engine
    from .ends.loaders import BundleLoader
    from .ends.source import RegistrySource, SourceOffer, StagedSource
    from .http.client import HttpClient
    from .paths.push import EngineExport
    from .plan import ImagePlan
    from .progress import ProgressCallback

# A presigned URL expires after some minutes. Requests that do not start within this time get a new URL.
SEND_SECONDS = 60.0
# The source and the target that are no engines, and the choice of the only target that a host has.
ARCHIVE, AUTO = "archive", "auto"
READ_ONLY_PHASES = ("gather_facts", "inspect")
PHASES = {
    "saved": ("inspect", "export", "send", "prepare_push", "clean"),
    "pushed": ("push", "clean"),
    "authorized": ("authorize",),
    "loaded": ("gather_facts", "inspect", "load", "clean"),
    "revoked": ("revoke",),
}


def apply_phase(params: Mapping[str, Any], run: RunCommand) -> dict[str, Any]:
    """Runs the phase of the option C(work) and returns its result for the controller."""
    state, phase = params["state"], params["work"]["phase"]
    phases = PHASES.get(state, ())
    if phase not in phases:
        raise ImageError(
            f"work.phase: {phase!r} is not a phase of state={state} on a host. The phases are: {', '.join(phases)}."
        )
    host: Any
    if state in ("saved", "pushed"):
        host = _SourcePhases(params, run)
    else:
        host = (_ArchivePhases if _has_archive(params) else _TargetPhases)(params, run)
    result: dict[str, Any] = getattr(host, phase)()
    return result


def _has_archive(params: Mapping[str, Any]) -> bool:
    """Whether the target is an archive. Its path names it, as the address of an engine does."""
    engine = params["engine"]
    return engine == ARCHIVE or (engine == AUTO and bool(params.get("target_archive_path")))


class _HostPhases:
    """The common parts of source and target: options, engine, staging directory, HTTP client."""

    engine_option: str

    def __init__(self, params: Mapping[str, Any], run: RunCommand) -> None:
        self.params = params
        self.run = run
        self.work: Mapping[str, Any] = params["work"]
        self.seconds = float(self.work["seconds"])
        self.throttle = Throttle(params["bandwidth_limit"])

    @property
    def root(self) -> str:
        return get_root(self.params["staging_dir"])

    def make_engine(self) -> Engine:
        """Makes the engine that the options name."""
        from .ends.engines import make_engine

        return make_engine(self.params[self.engine_option], self.params, self.run)

    def make_client(self) -> HttpClient:
        from .http.client import HttpClient

        return HttpClient(ca_path=self.params["ca_path"])

    def parse_transfers(self) -> Sequence[TransferRequest]:
        from .blobs import TransferRequest

        return [TransferRequest.parse(entry) for entry in self.work["transfers"] or ()]

    def make_staging(self, role: str, bundle: Optional[Bundle] = None) -> Staging:
        # A host can be source and target of the same images at once. Each role has its own staging directory, so that
        # neither removes the other's.
        bundle = bundle or Bundle.parse(self.params["bundle"])
        return Staging(self.root, bundle.get_directory_name(role))


class _SourcePhases(_HostPhases):
    engine_option = "source"

    def inspect(self) -> dict[str, Any]:
        """Resolves all images; reads no layer."""
        from .ends.source import parse_requested_images

        source: Any = self._make_blob_source() or self._make_staged_source()
        offer: SourceOffer = source.make_offer(parse_requested_images(self.params["images"], self.work["platform"]))
        return {
            "bundle": offer.bundle.to_dict(),
            "estimates": dict(offer.estimates),
            "leftover": self.make_staging("saved", offer.bundle).exists(),
        }

    def export(self) -> dict[str, Any]:
        """Writes the requested blobs into the staging directory; called repeatedly until it is done.

        The blobs of an archive that is not compressed are sent from where they are, so here they are only verified.
        """
        from .ends.source import parse_requested_images

        staging = self.make_staging("saved")
        digests = [parse_digest(digest, "work.digests") for digest in self.work["digests"] or ()]
        requested = parse_requested_images(self.params["images"])
        archive = self._make_archive_source()
        source = None if archive else self._make_staged_source(Bundle.parse(self.params["bundle"]))

        def stage_blobs(progress: Any) -> dict[str, Any]:
            if archive or source is None:
                return {"sizes": archive.verify(digests, progress) if archive else {}}
            source.stage(requested, digests, staging, progress)
            return {"sizes": {digest: staging.get_size(digest) for digest in digests}}

        with staging.hold_lock():
            return BackgroundJob(staging.directory).advance(self.work["token"], stage_blobs, self.seconds).to_dict()

    def send(self) -> dict[str, Any]:
        """PUTs blobs to the store, from the registry or the staging directory; called repeatedly until it is done."""
        from .blobs import StagedBlobSource
        from .paths.presigned import send

        staging, transfers = self.make_staging("saved"), self.parse_transfers()
        from_registry = self.params["source"] == "registry"
        source: BlobSource = self._make_blob_source() or StagedBlobSource(staging)

        def run_send(progress: ProgressCallback) -> dict[str, Any]:
            report_progress = job.add_idle_timeout(progress)
            outcomes = send(transfers, source, self.make_client(), SEND_SECONDS, self.throttle, report_progress)
            return {"outcomes": [outcome.to_dict() for outcome in outcomes]}

        with staging.hold_lock():
            job = BackgroundJob(staging.directory)
            state = job.advance(self.work["token"], run_send, self.seconds)
        # For a registry source, the directory holds only the job's state, so it is removed now. What an engine has
        # exported stays: if this response is lost, the retried call needs it.
        cleaned = from_registry and state.status == "done"
        if cleaned:
            staging.remove()
        return {**state.to_dict(), "cleaned": cleaned}

    def prepare_push(self) -> dict[str, Any]:
        """Resolves all images and, where a target lacks blobs of them, starts the process that pushes them.

        That process holds the key and waits for the targets' authorizations. The controller plans by the same rules as
        this call.
        """
        from .paths.push import PushSession
        from .paths.ssh import get_own_address
        from .plan import get_rejection_reasons, list_blob_needs

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
        source: Union[BlobSource, EngineExport] = self._make_blob_source(verify=True) or self._make_export(
            bundle, [need.blob.digest for need in needs]
        )
        session = PushSession(self.root, self.work["token"])
        public_key = session.start(bundle, source, self.make_staging("saved", bundle), self.throttle, self.run)
        return {**inspection, "public_key": public_key, "addresses": addresses}

    def push(self) -> dict[str, Any]:
        """Hands the authorizations to the waiting process and returns its progress.

        It is called repeatedly until the push is done, which ends that process.
        """
        from .paths.push import PushSession

        session = PushSession(self.root, self.work["token"])
        state = session.advance(self.work["authorizations"] or (), self.seconds, self.work["retry"])
        cleaned = state.status != "running"
        if cleaned:
            self.clean()
        return {**state.to_dict(), "cleaned": cleaned}

    def clean(self) -> dict[str, Any]:
        if self.work["token"]:
            from .paths.push import PushSession

            PushSession(self.root, self.work["token"]).remove()
        return {"removed": self.make_staging("saved").remove()}

    def _make_export(self, bundle: Bundle, digests: Sequence[str]) -> EngineExport:
        from .ends.source import parse_requested_images
        from .paths.push import EngineExport

        return EngineExport(self._make_staged_source(bundle), parse_requested_images(self.params["images"]), digests)

    def _make_blob_source(self, verify: bool = False) -> Union[RegistrySource, ArchiveSource, None]:
        """Makes a source whose blobs are read where they are, a registry or an archive; None for any other source."""
        return (
            self._make_registry_source() if self.params["source"] == "registry" else self._make_archive_source(verify)
        )

    def _make_archive_source(self, verify: bool = False) -> Optional[ArchiveSource]:
        if self.params["source"] != ARCHIVE:
            return None
        from .ends.archive_source import ArchiveSource, is_packed

        path = self.params["archive_path"]
        return None if is_packed(path) else ArchiveSource(path, verify)

    def _make_staged_source(self, bundle: Optional[Bundle] = None) -> StagedSource:
        """Makes a source whose blobs are staged: an engine, or an archive that is compressed as a whole."""
        if self.params["source"] == ARCHIVE:
            from .ends.archive_source import PackedArchiveSource

            sizes = {blob.digest: blob.size for blob in bundle.list_blobs()} if bundle else {}
            return PackedArchiveSource(self.params["archive_path"], sizes)
        from .ends.source import EngineSource

        return EngineSource(self.make_engine())

    def _make_registry_source(self) -> RegistrySource:
        from .ends.registry_pool import RegistryLogin
        from .ends.source import RegistrySource

        params = self.params
        login = RegistryLogin(
            params["registry_username"],
            params["registry_password"],
            params["registry_config_path"],
            bool(params["plain_http"]),
        )
        return RegistrySource(self.make_client(), login, self.run)


class _TargetPhases(_HostPhases):
    """An engine as a target."""

    engine_option = "engine"

    def gather_facts(self) -> dict[str, Any]:
        """Reads what the engine and the disk hold, before a bundle exists."""
        check_root(self.root)
        return {"target": {"host": self.work["host"], **self.read_facts().to_dict()}}

    def read_facts(self) -> EngineFacts:
        return self.make_engine().read_facts(self.root)

    def make_loader(self) -> BundleLoader:
        from .ends.loaders import EngineLoader

        return EngineLoader(self.make_engine(), self.root)

    def inspect(self) -> dict[str, Any]:
        """Compares the bundle with the images of the engine. Rejects a load that does not fit on the disk."""
        bundle, staging = Bundle.parse(self.params["bundle"]), self.make_staging("loaded")
        leftover = staging.exists()
        return {**self.compare_bundle(bundle, staging, self.read_facts()), "leftover": leftover}

    def load(self) -> dict[str, Any]:
        """Fetches the missing blobs, verifies, loads, verifies again and tags; called repeatedly until it is done.

        After a complete success it removes the staging directory in the same call. Nothing is loaded while C(transfers)
        is incomplete or a URL has expired. An authorization to push is revoked before anything else.
        """
        from .paths.authorized_keys import remove_staging, revoke_key
        from .paths.presigned import fetch

        bundle, staging = Bundle.parse(self.params["bundle"]), self.make_staging("loaded")
        if self.work["public_key"]:
            revoke_key(staging, self.work["public_key"])
        preload_job = self._get_preload_job(staging)
        preload_state = preload_job.stop(self.seconds)
        if preload_state:
            return {**replace(preload_state, status="running").to_dict(), "cleaned": False}
        loader, transfers, preload_error = self.make_loader(), self.parse_transfers(), preload_job.get_error()

        def run_load(progress: ProgressCallback) -> dict[str, Any]:
            comparison = self.compare_bundle(bundle, staging, loader.read_facts())
            missing_digests = {digest for plan in comparison["plans"] for digest in plan["blobs"]}
            requests = [transfer for transfer in transfers if transfer.digest in missing_digests]
            verified: set[str] = set()
            # Pushed blobs were preloaded when they arrived.
            preload: AbstractContextManager[list[str]] = nullcontext([])
            if requests:
                preload = loader.preload_in_background(bundle, staging, verified, progress)
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
            return {**result, **loader.load_bundle(bundle, staging, progress, verified)}

        with staging.hold_lock():
            job = BackgroundJob(staging.directory)
            state = job.advance(self.work["token"], run_load, self.seconds)
        loaded = (state.result or {}).get("loaded") or []
        # If this response is lost, the retried call finds the images in the engine.
        cleaned = bool(loaded) and all(outcome["done"] for outcome in loaded)
        if cleaned:
            remove_staging(staging, loaded=True)
        return {**state.to_dict(), "cleaned": cleaned}

    def compare_bundle(self, bundle: Bundle, staging: Staging, facts: EngineFacts) -> dict[str, Any]:
        from .plan import get_load_warnings, get_rejection_reason, plan_load

        plans = plan_load(bundle, facts)
        # Preloaded layers take no more disk space.
        remaining_plans = plan_load(bundle, facts.include_preloaded(staging.directory.name))
        staged_bytes = sum(
            {blob.digest: staging.get_size(blob.digest) for plan in remaining_plans for blob in plan.blobs}.values()
        )
        rejection_reason = get_rejection_reason(remaining_plans, staged_bytes, facts)
        if rejection_reason:
            raise ImageError(f"The target cannot take the images: {rejection_reason}")
        return {
            "plans": [_plan_to_dict(plan) for plan in plans],
            "engine": facts.label,
            "load_warnings": get_load_warnings(plans, facts),
        }

    def authorize(self) -> dict[str, Any]:
        """Authorizes the source to push the missing blobs, and starts a process that preloads them as they arrive."""
        from .paths.authorized_keys import authorize_key, get_user, scan_host_keys

        work, staging = self.work, self.make_staging("loaded")
        sizes = {parse_digest(entry["digest"], "work.blobs"): entry["size"] for entry in work["blobs"] or ()}
        hexadecimal = {get_digest_hex(digest): size for digest, size in sizes.items()}
        authorize_key(staging, work["public_key"], work["addresses"] or (), hexadecimal, work["expires"])
        self._start_preload(staging, list(sizes))
        return {"user": get_user(), "host_keys": scan_host_keys(work["port"], self.run)}

    def revoke(self) -> dict[str, Any]:
        """Revokes the authorization at once, and removes the pushed blobs once no process loads from them."""
        from .paths.authorized_keys import remove_withdrawn, withdraw_key

        staging, key = self.make_staging("loaded"), self.work["public_key"]
        revoked = withdraw_key(staging, key)
        busy = self._get_preload_job(staging).stop(self.seconds) is not None
        cleanup_error = None
        if not busy:
            cleanup_error = self._remove_preloaded(staging) if staging.exists() else None
            remove_withdrawn(staging, key)
        return {"revoked": revoked, "busy": busy, "cleanup_error": cleanup_error}

    def clean(self) -> dict[str, Any]:
        from .paths.authorized_keys import remove_staging
        from .plan import plan_load

        staging = self.make_staging("loaded")
        busy = self._get_preload_job(staging).stop(self.seconds) is not None
        cleanup_error = None if busy else self._remove_preloaded(staging)
        try:
            plans = plan_load(Bundle.parse(self.params["bundle"]), self.read_facts())
            loaded = all(plan.action == "none" for plan in plans)
        except ImageError:
            loaded = False
        return {"removed": remove_staging(staging, loaded=loaded), "busy": busy, "cleanup_error": cleanup_error}

    @staticmethod
    def _get_preload_job(staging: Staging) -> BackgroundJob:
        return BackgroundJob(staging.directory, "preload")

    def _remove_preloaded(self, staging: Staging) -> Optional[str]:
        # Another run that loads here uses these layers, and removes them itself.
        if BackgroundJob(staging.directory).is_running():
            return None
        return self.make_loader().remove_preloaded(staging)

    def _start_preload(self, staging: Staging, digests: Sequence[str]) -> None:
        from .ends.preload import PushedBlobs

        bundle, loader, job = (
            Bundle.parse(self.params["bundle"]),
            self.make_loader(),
            self._get_preload_job(staging),
        )

        def run_preload(progress: ProgressCallback) -> dict[str, Any]:
            pushed = PushedBlobs(staging, digests, job.should_stop)
            loader.preload_pushed(bundle, staging, pushed, progress)
            # After a timeout the run was killed, so no other process removes the layers.
            return {"cleanup_error": loader.remove_preloaded(staging) if pushed.has_timed_out() else None}

        with staging.hold_lock():
            # Another run of the same images may already preload or load them.
            if not job.is_running() and not BackgroundJob(staging.directory).is_running():
                job.advance(os.urandom(16).hex(), run_preload, 0)


class _ArchivePhases(_TargetPhases):
    """An archive as a target."""

    def make_archive(self) -> ArchiveTarget:
        from .ends.archive_target import ArchiveTarget

        params = self.params
        return ArchiveTarget(
            params["target_archive_path"], params["target_archive_part_size"], params["target_archive_platform"]
        )

    def read_facts(self) -> EngineFacts:
        return self.make_archive().read_facts(self.root, self._fingerprint)

    def make_loader(self) -> BundleLoader:
        from .ends.loaders import ArchiveLoader

        return ArchiveLoader(self.make_archive(), self.root, self._fingerprint)

    def inspect(self) -> dict[str, Any]:
        archive, result = self.make_archive(), super().inspect()
        is_leftover = result["leftover"] or archive.has_leftover()
        return {**result, "leftover": is_leftover, "archive_files": archive.list_files()}

    def _remove_preloaded(self, staging: Staging) -> Optional[str]:
        try:
            return super()._remove_preloaded(staging)
        except ImageError as error:
            return str(error)  # the medium is gone; the staging directory is removed all the same

    @property
    def _fingerprint(self) -> str:
        return str(self.work["archive_fingerprint"] or "")


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
