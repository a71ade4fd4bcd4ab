# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the free space of the disks that a load writes to."""

from __future__ import annotations

import os
from typing import Optional

from ..model import DiskSpace
from .engine import EngineError


def read_disk_space(path: str) -> Optional[DiskSpace]:
    try:
        usage, device = os.statvfs(path), os.stat(path).st_dev
    except OSError:
        # An engine's directory is often closed to its users. Then the space on its disk is unknown.
        return None
    return DiskSpace(path, usage.f_bavail * usage.f_frsize, device)


def read_nearest_disk_space(path: str) -> DiskSpace:
    """The disk of a directory that may not exist yet: that of its nearest existing parent."""
    while True:
        disk = read_disk_space(path)
        if disk is not None:
            return disk
        parent = os.path.dirname(path)
        if parent == path:
            raise EngineError(
                f"staging_dir: user id {os.geteuid()} cannot read any parent of {path!r}. Set another staging_dir."
            )
        path = parent
