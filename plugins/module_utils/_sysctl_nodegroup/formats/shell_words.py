# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the words of a bash script: quotes, expansions, redirections, and the lines between commands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import NoReturn, Optional

from .shell_model import ShellCommand, ShellRedirection, ShellSegment, ShellSyntaxError, ShellWord

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_REDIRECTION = re.compile(r"(?:\d+|\{[A-Za-z_]\w*\})?(<<<|<<-|<<|<>|<&|>>|>&|>\||<(?!\()|>(?!\())|(&>>|&>)")
_BARE = re.compile(r"[^\s;&|()<>\"'`$\\]+")
META = " \t\n;&|()<>"
_ANSI = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass
class ShellWordParser:
    """The position in the text, and what was found up to it. C(parse_list) parses the commands of a substitution."""

    text: str
    at: int = 0
    end: int = -1
    commands: list[ShellCommand] = field(default_factory=list)
    comments: list[tuple[int, int]] = field(default_factory=list)
    here_documents: list[tuple[int, int]] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    pending: list[tuple[str, bool]] = field(default_factory=list)  # here-documents: delimiter, tabs stripped

    def parse_list(self, ends: tuple[str, ...]) -> None:
        raise NotImplementedError

    def __post_init__(self) -> None:
        self.end = len(self.text) if self.end < 0 else self.end

    def fail(self, reason: str, at: Optional[int] = None) -> NoReturn:
        raise ShellSyntaxError(self.text.count("\n", 0, self.at if at is None else at) + 1, reason)

    def has_token(self, token: str) -> bool:
        return self.text.startswith(token, self.at) and self.at + len(token) <= self.end

    @property
    def sign(self) -> str:
        return self.text[self.at] if self.at < self.end else ""

    # Blanks, comments and ends of lines

    def skip_blanks(self) -> None:
        while self.at < self.end:
            if self.sign in " \t":
                self.at += 1
            elif self.has_token("\\\n"):
                self.at += 2
            elif self.sign == "#":
                line_end = self.text.find("\n", self.at, self.end)
                line_end = self.end if line_end < 0 else line_end
                self.comments.append((self.at, line_end))
                self.at = line_end
            else:
                break

    def skip_lines(self) -> None:
        self.skip_blanks()
        while self.sign == "\n":
            self.read_line_end()
            self.skip_blanks()

    def read_line_end(self) -> None:
        self.at += 1
        for delimiter, strip_tabs in self.pending:
            start = self.at
            while True:
                if self.at >= self.end:
                    self.fail(f"the here-document that ends at {delimiter} has no end", start)
                line_end = self.text.find("\n", self.at, self.end)
                line_end = self.end if line_end < 0 else line_end
                line = self.text[self.at : line_end]
                self.at = min(line_end + 1, self.end)
                if (line.lstrip("\t") if strip_tabs else line) == delimiter:
                    break
            self.here_documents.append((start, self.at))
        self.pending.clear()

    # Words
    def mark(self, first: int, conditional: bool = False, captured: bool = False) -> None:
        for number in range(first, len(self.commands)):
            command = self.commands[number]
            self.commands[number] = replace(
                command, conditional=command.conditional or conditional, captured=command.captured or captured
            )

    def parse_word(self, also: str = "") -> ShellWord:
        """Parse one word. C(also): operators that belong to it, as in the pattern after C(=~)."""
        start = self.at
        segments: list[ShellSegment] = []
        while self.at < self.end:
            sign = self.sign
            if (self.has_token("<(") or self.has_token(">(")) and sign not in also:
                begin = self.at
                self.at += 1
                self.parse_substitution()
                segments.append(ShellSegment(self.text[begin : self.at], quoted=True, expansion=True))
            elif sign in META and sign not in also:
                break
            elif self.has_token("\\\n"):
                self.at += 2
            elif sign == "\\":
                if self.at + 1 >= self.end:
                    self.fail("a backslash at the end is not understood")
                segments.append(ShellSegment(self.text[self.at + 1], quoted=True))
                self.at += 2
            elif sign == "'":
                close = self.text.find("'", self.at + 1, self.end)
                if close < 0:
                    self.fail("a quote does not end")
                segments.append(ShellSegment(self.text[self.at + 1 : close], quoted=True))
                self.at = close + 1
            elif self.has_token("$'"):
                segments.append(self.parse_ansi_quote())
            elif sign == '"' or self.has_token('$"'):
                self.at += 1 if sign == '"' else 2
                segments += self.parse_double_quote()
            elif sign in "$`":
                segments.append(self.parse_expansion(False))
            else:
                found = _BARE.match(self.text, self.at, self.end)
                text = found.group() if found else sign
                segments.append(ShellSegment(text))
                self.at += len(text)
        if self.at == start:
            self.fail(f"{self.sign!r} is not expected here" if self.sign else "the script ends in the middle")
        return ShellWord(self.text[start : self.at], start, self.at, tuple(segments))

    def parse_ansi_quote(self) -> ShellSegment:
        start = self.at
        self.at += 2
        value = ""
        while self.sign != "'":
            if self.sign == "":
                self.fail("a quote does not end", start)
            if self.sign != "\\":
                value += self.sign
                self.at += 1
                continue
            sign = self.text[self.at + 1 : self.at + 2]
            if sign not in _ANSI:
                self.fail(f"the escape \\{sign} in $'...' is not understood")
            value += _ANSI[sign]
            self.at += 2
        self.at += 1
        return ShellSegment(value, quoted=True)

    def parse_double_quote(self) -> list[ShellSegment]:
        start = self.at
        segments = [ShellSegment("", quoted=True)]
        while self.sign != '"':
            if self.sign == "":
                self.fail("a quote does not end", start - 1)
            if self.sign == "\\":
                sign = self.text[self.at + 1 : self.at + 2]
                if sign != "\n":
                    segments.append(ShellSegment(sign if sign in '$`"\\' else "\\" + sign, quoted=True))
                self.at += 2
            elif self.sign in "$`":
                segments.append(self.parse_expansion(True))
            else:
                found = re.compile(r'[^"\\$`]+').match(self.text, self.at, self.end)
                text = found.group() if found else self.sign
                segments.append(ShellSegment(text, quoted=True))
                self.at += len(text)
        self.at += 1
        return segments

    def parse_expansion(self, quoted: bool) -> ShellSegment:
        start = self.at
        if self.sign == "`":
            self.parse_backquote()
            return ShellSegment(self.text[start : self.at], quoted, True)
        self.at += 1
        if self.has_token("(("):
            self.skip_arithmetic(self.at + 2)
            return ShellSegment(self.text[start : self.at], quoted, True)
        if self.sign == "(":
            self.parse_substitution()
            return ShellSegment(self.text[start : self.at], quoted, True)
        if self.sign == "{":
            self.at += 1
            self.skip_braces(quoted)
            raw = self.text[start : self.at]
            plain = re.fullmatch(r"\$\{([A-Za-z_]\w*)\}", raw, re.ASCII)
            return ShellSegment(raw, quoted, True, plain.group(1) if plain else None, bool(re.search(r"[@*]", raw)))
        found = _NAME.match(self.text, self.at, self.end)
        if found:
            self.at = found.end()
            return ShellSegment(self.text[start : self.at], quoted, True, found.group())
        if self.sign and self.sign in "@*#?$!-0123456789":
            self.at += 1
            return ShellSegment(self.text[start : self.at], quoted, True, None, self.text[self.at - 1] in "@*")
        return ShellSegment("$", quoted)

    def skip_braces(self, quoted: bool) -> None:
        start = self.at
        while self.sign != "}":
            if self.sign == "":
                self.fail("${ has no end", start)
            if self.sign == "\\":
                self.at += 2
            elif self.sign == "'" and not quoted:
                close = self.text.find("'", self.at + 1, self.end)
                if close < 0:
                    self.fail("a quote does not end")
                self.at = close + 1
            elif self.sign == '"':
                self.at += 1
                self.parse_double_quote()
            elif self.sign in "$`":
                self.parse_expansion(quoted)
            else:
                self.at += 1
        self.at += 1

    def parse_substitution(self) -> None:
        """Parse the commands of a substitution, whose parenthesis is at C(at)."""
        start, first, pending = self.at, len(self.commands), self.pending
        self.pending = []
        self.at += 1
        self.parse_list(())
        self.skip_lines()
        if self.sign != ")":
            self.fail("a substitution has no end", start)
        if self.pending:
            self.fail("a here-document has no content", start)
        self.at += 1
        self.pending = pending
        self.mark(first, conditional=True, captured=True)

    def parse_backquote(self) -> None:
        start, first, end = self.at, len(self.commands), self.end
        close = self.text.find("`", self.at + 1, self.end)
        if close < 0:
            self.fail("a backquote does not end")
        if "\\" in self.text[start:close]:
            self.fail("a backslash between backquotes is not understood")
        pending, self.pending = self.pending, []
        self.at, self.end = start + 1, close
        self.parse_list(())
        if self.at < close or self.pending:
            self.fail("the commands between backquotes are not understood")
        self.at, self.end, self.pending = close + 1, end, pending
        self.mark(first, conditional=True, captured=True)

    def parse_redirection(self) -> Optional[ShellRedirection]:
        found = _REDIRECTION.match(self.text, self.at, self.end)
        if not found:
            return None
        self.at = found.end()
        operator = found.group(1) or found.group(2)
        self.skip_blanks()
        target = self.parse_word()
        if operator in ("<<", "<<-"):
            delimiter = "".join(segment.text for segment in target.segments)
            if any(segment.expansion for segment in target.segments):
                self.fail("the delimiter of a here-document is not understood")
            self.pending.append((delimiter, operator == "<<-"))
        return ShellRedirection(operator, target)

    def skip_arithmetic(self, at: int) -> None:
        """Skip an arithmetic expression that begins at C(at), after its two parentheses."""
        depth, start = 2, at
        while depth and at < self.end:
            sign = self.text[at]
            if sign in "\"'`\\#\n":
                self.fail(f"{sign!r} in an arithmetic expression is not understood", at)
            depth += {"(": 1, ")": -1}.get(sign, 0)
            if depth == 1 and self.text[at : at + 2] != "))":
                self.fail("this arithmetic expression is not understood", start)
            at += 1
        if depth:
            self.fail("an arithmetic expression has no end", start)
        self.at = at
