# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the transfer's own module, so that Ansible packs one module for both; rejects plays that are not in lockstep."""

from __future__ import annotations

from typing import Any, Optional

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ..modules.image_offline_transfer_info import OPTIONS
from ..plugin_utils._aws_environment import hide_aws_environment
from ..plugin_utils._image.flow import build_work

# C(debug) is C(linear) with a debugger.
_LOCKSTEP_STRATEGIES = ("linear", "debug")
_ENGINE_OPTIONS = (
    *("engine", "docker_host", "containerd_address", "containerd_namespace", "containerd_pinned"),
    *("target_archive_part_size", "target_archive_platform"),
)


class ActionModule(ActionBase):
    """Runs on the controller; see the module's documentation."""

    _supports_async = True

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._task.args
        strategy = self._get_strategy()
        if (
            boolean(given.get("lockstep", False))
            and strategy.removeprefix("ansible.builtin.") not in _LOCKSTEP_STRATEGIES
        ):
            raise AnsibleActionFail(
                f"The play's strategy is {strategy!r}. The transfer is planned once for all targets, so their tasks "
                "must run in lockstep. Use the strategy 'linear' (Ansible's default) for this play, with any forks and "
                "serial."
            )
        variables = task_vars or {}
        name = variables.get("inventory_hostname")
        address = given.get("address") or self._templar.template(variables.get("ansible_host")) or name
        raw_port = given.get("port") or self._templar.template(variables.get("ansible_port")) or 22
        try:
            port = int(raw_port)
        except ValueError:
            raise AnsibleActionFail(
                f"port: {raw_port!r} is not a number. Set the port of this host's SSH server."
            ) from None
        options = self.validate_argument_spec(OPTIONS)[1]
        arguments = {
            "state": "loaded",
            "bundle": {},
            **{name: options[name] for name in _ENGINE_OPTIONS},
            # As the task has them: a path belongs to the host. Validation has expanded it with the controller's home.
            "staging_dir": given.get("staging_dir"),
            "target_archive_path": given.get("target_archive_path"),
            "work": build_work("gather_facts", host=options["name"] or name),
        }
        # As for the transfer itself: pipelining saves one connection call for each file.
        if self._connection.has_pipelining:
            self._connection.set_option("pipelining", True)
        with hide_aws_environment(self):
            result.update(
                self._execute_module(
                    module_name="daytwo.aws.image_offline_transfer",
                    module_args=arguments,
                    task_vars=task_vars,
                    wrap_async=self._task.async_val,
                )
            )
        result["invocation"] = {"module_args": options}
        if "target" in result:
            result["target"] = {**result["target"], "address": address, "port": port}
        return result

    def _get_strategy(self) -> str:
        """The strategy of the task's play."""
        parent = self._task
        while parent is not None:
            play = getattr(parent, "_play", None)
            if play is not None:
                return str(play.strategy)
            parent = getattr(parent, "_parent", None)
        return "unknown"
