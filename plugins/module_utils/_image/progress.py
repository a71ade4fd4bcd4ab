# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a phase reports its progress."""

from __future__ import annotations

from typing import Callable

ProgressCallback = Callable[[str, int, int], None]
"""Called with the activity, the bytes done and the total bytes."""
# Activities that the controller, which knows the store, reports with a text of its own.
SENDING, FETCHING = "sending", "fetching"
