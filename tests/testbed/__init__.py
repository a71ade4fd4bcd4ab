# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test bed for the collection: an AWS, two sites, registries and real hosts on one machine (docs/testbed.md)."""

from .bed import Bed
from .node import BedError

__all__ = ["Bed", "BedError"]
