# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse a bash script into its commands, each with its position. What the grammar does not cover is an error.

It covers words, quotes, expansions, redirections, here-documents, lists, pipelines, functions and compound commands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .shell_model import ShellAssignment, ShellCommand, ShellRedirection, ShellScript, ShellSegment, ShellWord
from .shell_words import META, ShellWordParser

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\[[^\]\s]*\])?\+?=", re.ASCII)
_ENDS = ("then", "elif", "else", "fi", "do", "done", "esac", "}")


def parse_shell(text: str) -> ShellScript:
    parser = _ShellParser(text)
    try:
        parser.parse_list(())
    except RecursionError:
        parser.fail("it is nested too deep")
    if parser.at < len(text):
        parser.fail(f"{text[parser.at]!r} is not expected here")
    if parser.pending:
        parser.fail("a here-document has no content")
    return ShellScript(
        text,
        tuple(parser.commands),
        tuple(parser.comments),
        tuple(parser.here_documents),
        tuple(parser.functions),
    )


@dataclass
class _ShellParser(ShellWordParser):
    # Lists and pipelines

    def parse_list(self, ends: tuple[str, ...]) -> None:
        """Parse commands up to one of C(ends): a reserved word, C()) or C(;;)."""
        while True:
            self.skip_lines()
            if self.at >= self.end or self.is_end(ends):
                return
            first = len(self.commands)
            self.parse_and_or()
            self.skip_blanks()
            if self.has_token(";;") or self.has_token(";&"):
                return
            if self.sign == "&":
                self.mark(first, conditional=True)
                self.at += 1
            elif self.sign == ";":
                self.at += 1
            elif self.at < self.end and self.sign not in "\n)" and not self.is_end(ends):
                self.fail(f"{self.sign!r} is not expected here")

    def is_end(self, ends: tuple[str, ...]) -> bool:
        if self.sign == ")" or self.has_token(";;") or self.has_token(";&"):
            return True
        name = self.reserved
        if name in _ENDS and name not in ends:
            self.fail(f"{name} is not expected here")
        return name in ends

    def parse_and_or(self) -> None:
        self.parse_pipeline()
        while True:
            self.skip_blanks()
            if not (self.has_token("&&") or self.has_token("||")):
                return
            self.at += 2
            self.skip_lines()
            first = len(self.commands)
            self.parse_pipeline()
            self.mark(first, conditional=True)

    def parse_pipeline(self) -> None:
        self.skip_blanks()
        while self.reserved in ("!", "time"):
            self.at += len(self.reserved)
            self.skip_blanks()
            if self.has_token("-p "):
                self.at += 2
            self.skip_blanks()
        first = len(self.commands)
        self.parse_command()
        self.skip_blanks()
        while self.sign == "|" and not self.has_token("||"):
            self.mark(first, conditional=True, captured=True)
            self.at += 2 if self.has_token("|&") else 1
            self.skip_lines()
            last = len(self.commands)
            self.parse_command()
            self.mark(last, conditional=True)
            self.skip_blanks()

    @property
    def reserved(self) -> str:
        """The reserved word at this position; empty where there is none."""
        found = re.compile(r"(?:[a-z]+|[{}!])(?=[ \t\n;&|()<>]|\Z)|\[\[(?=[ \t\n])").match(self.text, self.at, self.end)
        return found.group() if found else ""

    def require(self, name: str) -> None:
        self.skip_lines()
        if self.reserved != name:
            self.fail(f"{name} is missing")
        self.at += len(name)

    # Commands

    def parse_command(self) -> None:
        name = self.reserved
        first = len(self.commands)
        if self.has_token("(("):
            self.parse_arithmetic()
        elif self.sign == "(":
            self.at += 1
            self.parse_list(())
            self.require_sign(")")
        elif name == "{":
            self.at += 1
            self.parse_list(("}",))
            self.require("}")
            self.parse_compound_redirections(first)
            return
        elif name == "if":
            self.parse_if()
        elif name in ("while", "until"):
            self.at += len(name)
            self.parse_list(("do",))
            self.parse_do()
        elif name in ("for", "select"):
            self.parse_for()
        elif name == "case":
            self.parse_case()
        elif name == "[[":
            self.parse_test()
            return
        elif name == "function":
            self.at += len(name)
            self.skip_blanks()
            start = self.at
            self.parse_function(self.parse_word().raw, start)
            return
        elif name == "coproc" or name in _ENDS:
            self.fail(f"{name} is not understood here")
        else:
            self.parse_simple()
            return
        self.mark(first, conditional=True)
        self.parse_compound_redirections(first)

    def parse_compound_redirections(self, first: int) -> None:
        redirections, start = [], self.at
        while True:
            self.skip_blanks()
            redirection = self.parse_redirection()
            if redirection is None:
                break
            redirections.append(redirection)
        if redirections:
            self.mark(first, captured=True)
            self.commands.append(ShellCommand(start, self.at, redirections=tuple(redirections), kind="redirection"))

    def require_sign(self, sign: str) -> None:
        self.skip_lines()
        if self.sign != sign:
            self.fail(f"{sign} is missing")
        self.at += 1

    def parse_if(self) -> None:
        self.at += 2
        self.parse_list(("then",))
        self.require("then")
        self.parse_list(("elif", "else", "fi"))
        while self.reserved == "elif":
            self.at += 4
            self.parse_list(("then",))
            self.require("then")
            self.parse_list(("elif", "else", "fi"))
        if self.reserved == "else":
            self.at += 4
            self.parse_list(("fi",))
        self.require("fi")

    def parse_do(self) -> None:
        self.require("do")
        self.parse_list(("done",))
        self.require("done")

    def parse_for(self) -> None:
        start = self.at
        self.at += len(self.reserved)
        self.skip_blanks()
        if self.has_token("(("):
            self.parse_arithmetic()
        else:
            arguments = [self.parse_word()]
            self.skip_lines()
            if self.reserved == "in":
                self.at += 2
                arguments += self.parse_until(";\n")
            self.add_command(start, "for", tuple(arguments))
        self.skip_blanks()
        if self.sign == ";":
            self.at += 1
        self.parse_do()

    def parse_until(self, ends: str) -> list[ShellWord]:
        found: list[ShellWord] = []
        while True:
            self.skip_blanks()
            if self.sign == "" or self.sign in ends:
                return found
            found.append(self.parse_word())

    def parse_case(self) -> None:
        start = self.at
        self.at += 4
        self.skip_blanks()
        self.add_command(start, "case", (self.parse_word(),))
        self.require("in")
        while True:
            self.skip_lines()
            if self.reserved == "esac":
                break
            if self.sign == "(":
                self.at += 1
            start, patterns = self.at, []
            while True:
                self.skip_blanks()
                patterns.append(self.parse_word())
                self.skip_blanks()
                if self.sign != "|":
                    break
                self.at += 1
            self.add_command(start, "case", tuple(patterns))
            self.require_sign(")")
            self.parse_list(("esac",))
            if self.has_token(";;&"):
                self.at += 3
            elif self.sign == ";":
                self.at += 2
        self.require("esac")

    def parse_test(self) -> None:
        start = self.at
        self.at += 2
        arguments = [ShellWord("[[", start, self.at, (ShellSegment("[["),))]
        while True:
            self.skip_lines()
            if self.sign == "":
                self.fail("]] is missing", start)
            if self.sign in "()&|<>!" and not self.has_token("<(") and not self.has_token(">("):
                self.at += 1
                continue
            is_pattern = bool(arguments) and arguments[-1].raw == "=~"
            argument = self.parse_word("()|<>&" if is_pattern else "")
            if argument.raw == "]]":
                break
            arguments.append(argument)
        self.add_command(start, "test", tuple(arguments))
        self.parse_compound_redirections(len(self.commands))

    def parse_arithmetic(self) -> None:
        start = self.at
        self.skip_arithmetic(self.at + 2)
        self.add_command(start, "arithmetic", ())

    def parse_function(self, name: str, start: int) -> None:
        self.skip_blanks()
        if self.sign == "(":
            self.at += 1
            self.require_sign(")")
        self.functions.append(name)
        self.add_command(start, "function", ())
        self.skip_lines()
        first = len(self.commands)
        if self.sign not in "({" and self.reserved not in ("if", "while", "until", "for", "case", "[["):
            self.fail(f"the body of the function {name} is not understood")
        self.parse_command()
        self.mark(first, conditional=True)

    def add_command(self, start: int, kind: str, arguments: tuple[ShellWord, ...]) -> None:
        self.commands.append(ShellCommand(start, self.at, arguments, kind=kind))

    def parse_simple(self) -> None:
        start, last = self.at, self.at
        arguments: list[ShellWord] = []
        assignments: list[ShellAssignment] = []
        redirections: list[ShellRedirection] = []
        while True:
            self.skip_blanks()
            redirection = self.parse_redirection()
            if redirection is not None:
                redirections.append(redirection)
            elif self.sign == "" or self.sign in "\n;&|)":
                break
            elif self.sign == "(":
                if len(arguments) != 1 or assignments or redirections:
                    self.fail("( is not understood here")
                self.parse_function(arguments[0].raw, start)
                return
            else:
                found = _ASSIGNMENT.match(self.text, self.at, self.end)
                name = arguments[0].raw if arguments else ""
                if found and (not arguments or name in ("export", "readonly", "declare", "local", "typeset")):
                    assignments.append(self.parse_assignment(found))
                else:
                    arguments.append(self.parse_word())
            last = self.at
        if not (arguments or assignments or redirections):
            self.fail("a command is missing")
        self.commands.append(
            ShellCommand(
                start,
                last,
                tuple(arguments),
                tuple(assignments),
                tuple(redirections),
            )
        )

    def parse_assignment(self, found: re.Match[str]) -> ShellAssignment:
        start = self.at
        self.at = found.end()
        plain = not found.group(2) and not found.group().endswith("+=")
        if self.sign != "(":
            empty = self.sign == "" or self.sign in META
            value = ShellWord("", self.at, self.at, ()) if empty else self.parse_word()
            return ShellAssignment(found.group(1), value, start, plain)
        self.at += 1
        while True:
            self.skip_lines()
            if self.sign == ")":
                break
            self.parse_word()
        self.at += 1
        raw = self.text[found.end() : self.at]
        value = ShellWord(raw, found.end(), self.at, (ShellSegment(raw, many_fields=True),))
        return ShellAssignment(found.group(1), value, start, False)
