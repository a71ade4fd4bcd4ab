# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception of this capability that an operator is meant to read, and words for a disk that fails."""

from __future__ import annotations

import errno


class ImageError(Exception):
    """An image cannot be carried: what was being done to which thing, what was answered, and what can be done."""


def format_disk_error(error: OSError) -> str:
    """What a fault of the staging folder's disk means to an operator."""
    words = f"{error.strerror or error}: {error.filename or 'the staging folder'}"
    return words + (". Make room there, or give another staging_dir." if error.errno == errno.ENOSPC else "")
