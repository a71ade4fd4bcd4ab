# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills ansible, without a chance to tidy up, when the task begins whose name holds IT_DIE."""

from __future__ import annotations

import os
import signal
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: die
type: aggregate
short_description: Kills ansible at the start of a task
description:
  - The one whose name holds what the variable C(IT_DIE) says.
requirements:
  - enable in configuration
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "die"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        words = os.environ.get("IT_DIE")
        if words and words in task.get_name():
            os.kill(os.getpid(), signal.SIGKILL)
