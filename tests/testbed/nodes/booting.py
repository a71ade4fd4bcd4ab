# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot a node of any AMI family."""

from __future__ import annotations

from . import al2, al2023, bottlerocket
from .model import Boot, Order


def boot(order: Order) -> Boot:
    return {"al2023": al2023.boot, "al2": al2.boot, "bottlerocket": bottlerocket.boot}[order.family](order)
