# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m testbed.nodes RECIPE`: the nodes' controller. `up` starts it if a cluster exists."""

from __future__ import annotations

from .controller import Controller

if __name__ == "__main__":
    Controller().run()
