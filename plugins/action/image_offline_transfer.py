# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side: credentials, planning, presigned URLs, progress. Each call of the module does one phase."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Optional

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ..module_utils._image.errors import ImageError
from ..module_utils._image.model import Bundle, TransferTarget
from ..module_utils._image.plan import MIN_PART
from ..modules.image_offline_transfer import CONTROLLER_OPTIONS, HOST_OPTIONS, PLAYBOOK_STATES, REQUIRED_IF
from ..plugin_utils._aws_environment import hide_aws_environment
from ..plugin_utils._image.absent import delete_blobs
from ..plugin_utils._image.flow import HostModuleError, ProgressReporter
from ..plugin_utils._image.loaded import load_bundle
from ..plugin_utils._image.pushed import authorize_push, prepare_push, push_all, revoke_push
from ..plugin_utils._image.s3 import BucketOptions, S3BlobStore
from ..plugin_utils._image.s3_client import make_s3_client, set_environment
from ..plugin_utils._image.saved import save_bundle
from ..plugin_utils._image.source_inspection import SaveOptions

_CONNECTION_RETRIES = 5
_SOURCE_OPTIONS = {
    *("images", "source", "archive_path", "plain_http"),
    *("registry_username", "registry_password", "registry_config_path"),
}
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|arn:[a-z0-9:/.-]+", re.IGNORECASE)


class ActionModule(ActionBase):
    """Runs on the controller; see the module's documentation."""

    TRANSFERS_FILES = False
    _supports_async = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        if "work" in self._task.args:
            raise AnsibleActionFail("work: the action plugin sets this option. Remove it from the task.")
        options = self.validate_argument_spec({**CONTROLLER_OPTIONS, **HOST_OPTIONS}, required_if=REQUIRED_IF)[1]
        # A presigned URL is a secret: with pipelining it reaches the module without a file on the host.
        if self._connection.has_pipelining:
            self._connection.set_option("pipelining", True)
        try:
            with hide_aws_environment(self) as task_environment, set_environment(task_environment):
                return {**result, **self._apply_state(options, variables)}
        except HostModuleError as failure:
            return {**result, **failure.result}
        except ImageError as error:
            # Not raised: Ansible ignores failed_when where an action raises, and the role uses failed_when.
            return {**result, "failed": True, "msg": str(error)}
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _apply_state(self, options: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        for name in ("timeout", "bandwidth_limit"):
            if options[name] is not None and options[name] < 1:
                raise ImageError(f"{name}: {options[name]} is below 1. Set 1 or more, or leave the option out.")
        targets = [TransferTarget.parse(entry, f"targets[{index}]") for index, entry in enumerate(options["targets"])]
        # Only the source gets the options of the registry, because they include its password.
        host_options = set(HOST_OPTIONS) - (set() if options["state"] in ("saved", "pushed") else _SOURCE_OPTIONS)
        host_arguments = {name: value for name, value in options.items() if name in host_options and value is not None}
        # A path belongs to the host. Validation has expanded it with the controller's home and variables.
        host_arguments.update(
            {name: self._task.args[name] for name in host_arguments if HOST_OPTIONS[name]["type"] == "path"}
        )
        bucket = _parse_bucket_options(options) if options["transport"] == "s3" else None
        name = str(variables.get("inventory_hostname") if not self._task.delegate_to else self._task.delegate_to)
        progress = ProgressReporter(lambda line: self._display_progress(options, f"{name}: {line}"))

        def call_host(call: Mapping[str, Any]) -> dict[str, Any]:
            return self._call_host({**host_arguments, **call}, variables)

        check_mode, diff = bool(self._task.check_mode), bool(self._task.diff)
        if options["state"] == "saved":
            corrupt = {entry["digest"]: entry["etag"] for entry in options["corrupt"]}
            from_engine, limit = options["source"] != "registry", options["bandwidth_limit"]
            settings = SaveOptions(from_engine, targets, corrupt, check_mode, diff, limit)
            if bucket:
                return save_bundle(
                    call_host, lambda: S3BlobStore(make_s3_client(options, bucket), bucket), settings, progress
                )
            return prepare_push(call_host, settings, progress)
        store = S3BlobStore(make_s3_client(options, bucket), bucket) if bucket else None
        bundle = Bundle.parse(options["bundle"])
        if options["state"] == "loaded":
            inventory_name = variables.get("inventory_hostname")
            target_facts = next((target.facts for target in targets if target.host == inventory_name), None)
            push = options["push"] or {}
            # Only a target of this push has an authorization to revoke.
            public_key = push["public_key"] if inventory_name in push.get("targets", {}) else None
            return load_bundle(call_host, store, bundle, target_facts, check_mode, diff, progress, public_key)
        if store is not None:
            if options["state"] == "absent":
                return delete_blobs(store, bundle, check_mode, diff)
            raise ImageError(
                f"state: {options['state']} is a part of the role image_transfer, for transport=scp. Use the role, or "
                f"one of {', '.join(PLAYBOOK_STATES)} here."
            )
        if options["state"] == "authorized":
            name = variables["inventory_hostname"]
            return authorize_push(call_host, bundle, options["push"] or {}, name, options["source_address"], check_mode)
        if options["state"] == "pushed":
            return push_all(call_host, bundle, options["push"] or {}, options["authorizations"], check_mode, progress)
        if options["state"] == "revoked":
            return revoke_push(call_host, bundle, options["push"] or {}, check_mode)
        raise ImageError(
            "state: absent is for transport=s3. With transport=scp, no blob stays between the hosts. Remove this task."
        )

    def _call_host(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Runs the module once on the host. Retries after a dropped connection; the host keeps the finished work."""
        for attempt in range(_CONNECTION_RETRIES):
            try:
                result = self._execute_module(module_args=dict(arguments), task_vars=variables)
                break
            except AnsibleConnectionFailure as error:
                if attempt == _CONNECTION_RETRIES - 1:
                    raise
                self._display.warning(f"The connection dropped. Retrying: {error}")
                time.sleep(2**attempt)
                self._connection.reset()
                arguments = {**arguments, "work": {**arguments["work"], "retry": True}}
        if result.get("failed"):
            raise HostModuleError(result)
        return dict(result)

    def _display_progress(self, options: Mapping[str, Any], line: str) -> None:
        if options["show_progress"]:
            self._display.display(line)


def _parse_bucket_options(options: Mapping[str, Any]) -> BucketOptions:
    if not options["bucket"]:
        raise ImageError("bucket: is required with transport=s3. Set it to a bucket that exists.")
    if not _BUCKET_NAME.fullmatch(options["bucket"]):
        raise ImageError(
            f"bucket: {options['bucket']!r} is not a bucket name. Set the name alone (or an access point's ARN), and "
            "the key prefix in 'prefix'."
        )
    if ".." in options["prefix"].split("/"):
        raise ImageError(f"prefix: {options['prefix']!r} has a part '..', which has no meaning in a key. Remove it.")
    if options["part_size"] < MIN_PART:
        raise ImageError(
            f"part_size: {options['part_size']} is below {MIN_PART}, the minimum of S3. Set a larger size."
        )
    if options["kms_key_id"] and not (options["sse"] or "").startswith("aws:kms"):
        raise ImageError("kms_key_id: requires sse=aws:kms or sse=aws:kms:dsse. Set sse, or leave kms_key_id out.")
    return BucketOptions(
        options["bucket"],
        options["prefix"],
        options["sse"],
        options["kms_key_id"],
        options["expected_bucket_owner"],
        options["part_size"],
    )
