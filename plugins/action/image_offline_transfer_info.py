# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names the host by its inventory name, and refuses plays whose hosts do not stay in step where that is asked for."""

from __future__ import annotations

from typing import Any, Optional

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ..plugin_utils._aws_environment import kept_from_hosts

# C(debug) is C(linear) with a debugger.
_IN_STEP = ("linear", "debug")


class ActionModule(ActionBase):
    """Runs on the controller; see the module's documentation."""

    _supports_async = True

    def run(self, tmp: Optional[str] = None, task_vars: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        strategy = self._strategy()
        if boolean(arguments.pop("lockstep", False)) and strategy.removeprefix("ansible.builtin.") not in _IN_STEP:
            raise AnsibleActionFail(
                f"The play's strategy is {strategy!r}. What to carry is planned once, from what all targets lack, so "
                "they must stay in step: use the strategy 'linear' (Ansible's default) for this play, with forks and "
                "serial as you like."
            )
        variables = task_vars or {}
        name = variables.get("inventory_hostname")
        address = arguments.pop("address", None) or self._templar.template(variables.get("ansible_host")) or name
        given = arguments.pop("port", None) or self._templar.template(variables.get("ansible_port")) or 22
        try:
            port = int(given)
        except ValueError:
            raise AnsibleActionFail(f"port: {given!r} is no number. Give the port of this host's SSH server.") from None
        arguments.setdefault("name", name)
        # As for the transfer itself; it spares a call for each file that Ansible would put there.
        if self._connection.has_pipelining:
            self._connection.set_option("pipelining", True)
        with kept_from_hosts(self):
            result.update(
                self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=self._task.async_val)
            )
        if "target" in result:
            result["target"] = {**result["target"], "address": address, "port": port}
        return result

    def _strategy(self) -> str:
        """The strategy of the play that the task stands in."""
        parent = self._task
        while parent is not None:
            play = getattr(parent, "_play", None)
            if play is not None:
                return str(play.strategy)
            parent = getattr(parent, "_parent", None)
        return "unknown"
