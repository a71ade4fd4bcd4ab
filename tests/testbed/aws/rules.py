# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame for rules: each rule is a function around a method of a moto backend (or around a function of a moto
module), and cites its fact.

@rule(RDSBackend, "stop_db_instance", fact="what the real service does")
def aurora_members_are_not_stopped(plain, backend, *args, **kwargs):
    ...refuse by raising what moto's own code would, or...
    return plain(backend, *args, **kwargs)
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    name: str
    fact: str
    owner: Any  # a class, or a module
    method: str
    function: Callable[..., Any]
    new: bool = False  # an operation that moto does not have

    def install(self) -> Callable[[], None]:
        """Put the rule around the current method, which may be another rule. Return a function that undoes it."""
        if self.new:
            return self._add()
        plain = getattr(self.owner, self.method)  # a method that moto renamed fails here, at the start

        @functools.wraps(plain)
        def ruled(*args: Any, **kwargs: Any) -> Any:
            return self.function(plain, *args, **kwargs)

        setattr(self.owner, self.method, ruled)
        return lambda: setattr(self.owner, self.method, plain)

    def _add(self) -> Callable[[], None]:
        if hasattr(self.owner, self.method):
            raise TypeError(f"moto has {self.owner.__name__}.{self.method} by now: put the rule around it")
        setattr(self.owner, self.method, lambda backend: self.function(None, backend))
        return lambda: delattr(self.owner, self.method)


RULES: list[Rule] = []


def rule(owner: Any, method: str, fact: str, new: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        RULES.append(Rule(function.__name__, fact, owner, method, function, new))
        return function

    return register


@contextlib.contextmanager
def installed(rules: list[Rule]) -> Iterator[None]:
    """Install rules in this process's moto: for unit tests that use moto's own decorator, and for the server."""
    undo = [entry.install() for entry in rules]
    try:
        yield
    finally:
        for step in reversed(undo):
            step()
