# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception of this capability that an operator is meant to read."""

from __future__ import annotations


class ImageError(Exception):
    """An image cannot be carried: what was being done to which thing, what was answered, and what can be done."""
