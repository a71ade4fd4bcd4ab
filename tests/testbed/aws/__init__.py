# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's AWS: moto in one process with the rules of this directory, which restore the real services' refusals."""

from __future__ import annotations

import importlib
import pkgutil

from .rules import RULES, Rule, installed, rule

__all__ = ["RULES", "Rule", "installed", "load", "rule"]


def load() -> list[Rule]:
    """Load every rule of every module in this directory."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        if not module.name.endswith((".server", ".rules")):
            importlib.import_module(module.name)
    return RULES
