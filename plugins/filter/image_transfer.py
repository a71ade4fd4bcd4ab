# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the role image_transfer; the YAML files beside it document them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plugin_utils._image.report import build_report, choose_transport, find_unpushed


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "image_transfer_report": build_report,
            "image_transfer_transport": choose_transport,
            "image_transfer_unpushed": find_unpushed,
        }
