# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bash script as the grammar reads it: its commands, with their words and positions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

UNKNOWN = "\0"  # stands for the value of an expansion that is not known
_SAFE_FIELD = re.compile(r"[A-Za-z0-9_./:=,@%+-]+", re.ASCII)
_EXPANDED = re.compile(r"[*?]|\[.*\]|\{.*(?:,|\.\.).*\}|\A~", re.DOTALL)  # patterns, braces, a home directory


class ShellSyntaxError(Exception):
    """The script has something that the grammar does not cover."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True)
class ShellSegment:
    """A stretch of a word: text, or an expansion. C(variable): of a plain C($NAME)."""

    text: str
    quoted: bool = False
    expansion: bool = False
    variable: Optional[str] = None
    many_fields: bool = False


@dataclass(frozen=True)
class ShellWord:
    """One word with its quotes, from C(start) to C(end) of the script."""

    raw: str
    start: int
    end: int
    segments: tuple[ShellSegment, ...]

    def resolve(self, constants: Mapping[str, str]) -> str:
        """Resolve quotes and known variables. What is not known is C(UNKNOWN)."""
        return "".join(
            constants.get(segment.variable or "", UNKNOWN) if segment.expansion else segment.text
            for segment in self.segments
        )

    def is_single_field(self, constants: Mapping[str, str]) -> bool:
        """Whether the shell makes exactly one argument of this word, whatever the unknown values are."""
        bare = ""
        for segment in self.segments:
            if segment.many_fields:
                return False
            if segment.quoted:
                bare += UNKNOWN
            elif not segment.expansion:
                bare += segment.text
            elif not _SAFE_FIELD.fullmatch(constants.get(segment.variable or "", "")):
                return False
        return bool(self.segments) and not _EXPANDED.search(bare)


@dataclass(frozen=True)
class ShellAssignment:
    name: str
    value: ShellWord
    start: int
    plain: bool = True  # NAME=value, neither an array nor +=


@dataclass(frozen=True)
class ShellRedirection:
    operator: str
    target: ShellWord


@dataclass(frozen=True)
class ShellCommand:
    """A simple command, or the head of a compound one (C(kind): simple, test, arithmetic, for, case, function)."""

    start: int
    end: int
    arguments: tuple[ShellWord, ...] = ()
    assignments: tuple[ShellAssignment, ...] = ()
    redirections: tuple[ShellRedirection, ...] = ()
    kind: str = "simple"
    conditional: bool = False  # runs not at all, not once, or not in the script's own shell
    captured: bool = False  # its output goes to another command or into a value


@dataclass(frozen=True)
class ShellScript:
    text: str
    commands: tuple[ShellCommand, ...]
    comments: tuple[tuple[int, int], ...]
    here_documents: tuple[tuple[int, int], ...]
    functions: tuple[str, ...]

    def count_line(self, at: int) -> int:
        return self.text.count("\n", 0, at) + 1
