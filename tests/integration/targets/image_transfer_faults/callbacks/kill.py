# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes down each task of the role as it starts, and kills the whole run at the start of the n-th."""

from __future__ import annotations

import os
import signal
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: kill
type: aggregate
short_description: Kills the run at the start of the n-th task of the role
description:
  - The variable C(IT_KILL_AT) is the number of the task, C(IT_STARTED) the file for the tasks that have started.
requirements:
  - enable in configuration
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "kill"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.started = 0

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if not task._role:
            return
        self.started += 1
        with open(os.environ["IT_STARTED"], "a", encoding="utf-8") as file:
            file.write(f"{task.name}\n")
        if self.started == int(os.environ["IT_KILL_AT"]):
            os.killpg(os.getpgid(0), signal.SIGKILL)
