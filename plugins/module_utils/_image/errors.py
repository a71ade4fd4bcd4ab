# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exception of this capability that an operator reads, and the message for a disk error."""

from __future__ import annotations

import errno


class ImageError(Exception):
    """An image cannot be transferred. The text has three parts: what failed, why, and what to do."""


def format_disk_error(error: OSError) -> str:
    """Formats an error of the staging directory's disk."""
    message = f"{error.strerror or error}: {error.filename or 'the staging directory'}"
    return message + (". Free space there, or set another staging_dir." if error.errno == errno.ENOSPC else "")
