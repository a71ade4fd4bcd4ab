# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods with budgets, and how an eviction ends. The unit tests run them, and the real API server does, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LABELS = {"app": "web", "tier": "front"}
SELECTOR = {"matchLabels": {"app": "web"}}
ACCEPTED, BLOCKED, FAILED = 201, 429, 500


def budget(at_least: int, *selectors: Any, **more: Any) -> dict[str, Any]:
    """A budget for the labels app=web, or with another selector, or, where that is None, without any."""
    (selector,) = selectors or (SELECTOR,)
    return {"minAvailable": at_least, **({} if selector is None else {"selector": selector}), **more}


def expression(operator: str, *values: str, key: str = "app") -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


ALWAYS = {"unhealthyPodEvictionPolicy": "AlwaysAllow"}
IF_HEALTHY = {"unhealthyPodEvictionPolicy": "IfHealthyBudget"}


@dataclass(frozen=True)
class EvictionCase:
    """A pod beside C(companions) healthy pods with the same labels, under these budgets."""

    name: str
    status: int
    budgets: tuple[dict[str, Any], ...] = ()
    companions: int = 0
    phase: str = "Running"
    ready: bool = True
    terminating: bool = False
    labels: Any = None

    @property
    def pod_labels(self) -> dict[str, str]:
        return dict(LABELS if self.labels is None else self.labels)


CASES = [
    EvictionCase("no budget", ACCEPTED),
    EvictionCase("the last healthy pod", BLOCKED, (budget(1),)),
    EvictionCase("one of two", ACCEPTED, (budget(1),), 1),
    EvictionCase("one of two that are both required", BLOCKED, (budget(2),), 1),
    EvictionCase("not Ready, and enough others are", ACCEPTED, (budget(1),), 1, ready=False),
    EvictionCase("not Ready, and enough others are, said", ACCEPTED, (budget(1, **IF_HEALTHY),), 1, ready=False),
    EvictionCase("not Ready, and too few others are", BLOCKED, (budget(2),), 1, ready=False),
    EvictionCase("not Ready, and too few, but always allowed", ACCEPTED, (budget(2, **ALWAYS),), 1, ready=False),
    EvictionCase("not Ready, and none is required", BLOCKED, (budget(0),), ready=False),
    EvictionCase("not Ready, none is required, always allowed", ACCEPTED, (budget(0, **ALWAYS),), ready=False),
    EvictionCase("Ready, and always allowed if not", BLOCKED, (budget(1, **ALWAYS),)),
    EvictionCase("Pending", ACCEPTED, (budget(1),), phase="Pending", ready=False),
    EvictionCase("Succeeded", ACCEPTED, (budget(1),), phase="Succeeded", ready=False),
    EvictionCase("Failed", ACCEPTED, (budget(1),), phase="Failed", ready=False),
    EvictionCase("Unknown", BLOCKED, (budget(1),), phase="Unknown", ready=False),
    EvictionCase("terminating", ACCEPTED, (budget(1),), terminating=True),
    EvictionCase("two budgets", FAILED, (budget(0), budget(0)), 1),
    EvictionCase("two budgets, not Ready", FAILED, (budget(0, **ALWAYS), budget(0, **ALWAYS)), 1, ready=False),
    EvictionCase("two budgets, Pending", ACCEPTED, (budget(0), budget(0)), phase="Pending", ready=False),
    EvictionCase("two budgets, Failed", ACCEPTED, (budget(0), budget(0)), phase="Failed", ready=False),
    EvictionCase("two budgets, terminating", ACCEPTED, (budget(0), budget(0)), terminating=True),
    EvictionCase("two budgets, one of which selects it", BLOCKED, (budget(1), budget(1, expression("In", "db")))),
    EvictionCase("an empty selector", BLOCKED, (budget(1, {}),)),
    EvictionCase("no selector", ACCEPTED, (budget(1, None),)),
    EvictionCase("an empty selector, and a pod without labels", BLOCKED, (budget(1, {}),), labels={}),
    EvictionCase("In", BLOCKED, (budget(1, expression("In", "web", "db")),)),
    EvictionCase("In others", ACCEPTED, (budget(1, expression("In", "db")),)),
    EvictionCase("NotIn", ACCEPTED, (budget(1, expression("NotIn", "web")),)),
    EvictionCase("NotIn for a label that it lacks", BLOCKED, (budget(1, expression("NotIn", "x", key="team")),)),
    EvictionCase("Exists", BLOCKED, (budget(1, expression("Exists")),)),
    EvictionCase("DoesNotExist", ACCEPTED, (budget(1, expression("DoesNotExist")),)),
    EvictionCase("labels and expressions", ACCEPTED, (budget(1, SELECTOR | expression("In", "back", key="tier")),)),
]
