# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill ansible with SIGKILL when a task starts: the task whose name contains IT_DIE, or the task whose number among all
started tasks is IT_DIE_AT. The name of the task is the last line of the record."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: die
type: aggregate
short_description: Stop ansible with SIGKILL at the start of a task
description:
  - The task whose name contains the variable C(IT_DIE), or whose number, from 1 on, is C(IT_DIE_AT).
requirements:
  - enable in configuration
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "die"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.started = 0

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self.started += 1
        task_name = os.environ.get("IT_DIE")
        if (task_name and task_name in task.get_name()) or os.environ.get("IT_DIE_AT") == str(self.started):
            entry = {"status": "killed", "task": task.get_name()}
            with open(os.environ["IT_RECORD"], "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
            os.kill(os.getpid(), signal.SIGKILL)
