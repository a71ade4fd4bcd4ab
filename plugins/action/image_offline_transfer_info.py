# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks by the module of the transfer, so that Ansible packs one for both; refuses plays that do not stay in step."""

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
                f"The play's strategy is {strategy!r}. What to carry is planned once, from what all targets lack, so "
                "they must stay in step: use the strategy 'linear' (Ansible's default) for this play, with forks and "
                "serial as you like."
            )
        variables = task_vars or {}
        name = variables.get("inventory_hostname")
        address = given.get("address") or self._templar.template(variables.get("ansible_host")) or name
        raw_port = given.get("port") or self._templar.template(variables.get("ansible_port")) or 22
        try:
            port = int(raw_port)
        except ValueError:
            raise AnsibleActionFail(
                f"port: {raw_port!r} is no number. Give the port of this host's SSH server."
            ) from None
        options = self.validate_argument_spec(OPTIONS)[1]
        arguments = {
            "state": "loaded",
            "bundle": {},
            "docker_host": options["docker_host"],
            # The host's, as it stands in the task; validation has put this machine's home and variables into it.
            "staging_dir": given.get("staging_dir"),
            "work": build_work("gather_facts", host=options["name"] or name),
        }
        # As for the transfer itself; it spares a call for each file that Ansible would put there.
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
        """The strategy of the play that the task stands in."""
        parent = self._task
        while parent is not None:
            play = getattr(parent, "_play", None)
            if play is not None:
                return str(play.strategy)
            parent = getattr(parent, "_parent", None)
        return "unknown"
