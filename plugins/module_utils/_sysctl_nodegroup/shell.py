# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read calls of AL2's bootstrap.sh in a shell script, and edit them in place with one quoted extra-args argument.

docs/facts/sysctl_nodegroup.md#al2-and-bootstrapsh
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from .errors import SysctlError
from .sysctls import merge_lists

BOOTSTRAP_SCRIPT = "/etc/eks/bootstrap.sh"
EXTRA_ARGS_FLAG = "--kubelet-extra-args"
_FLAG = re.compile(r"(?<!\S)--allowed-unsafe-sysctls(?:=|[ \t]+)(\S*)")
_LIST = re.compile(r"[a-z0-9._*/,-]*")
_SUGGESTION = f"Write one argument in single quotes: {EXTRA_ARGS_FLAG} '...'"


@dataclass(frozen=True)
class ShellWord:
    """One word of a command with its quotes, from C(start) to C(end) of the script."""

    raw: str
    start: int
    end: int

    @property
    def literal(self) -> Optional[str]:
        """The value, where the shell changes nothing but quotes; else None."""
        if re.fullmatch(r"'[^']*'", self.raw):
            return self.raw[1:-1]
        if re.fullmatch(r'"[^"\\$`]*"', self.raw):
            return self.raw[1:-1]
        if re.fullmatch(r"[A-Za-z0-9_./:=,@%+*-]+", self.raw):
            return self.raw
        return None


def _split_command(script: str, at: int) -> list[ShellWord]:
    """Split the command whose name ends at C(at) into words, up to an unquoted end of line or operator."""
    arguments: list[ShellWord] = []
    start: Optional[int] = None
    quote = ""
    while at < len(script):
        sign = script[at]
        if quote:
            if sign == "\\" and quote == '"':
                at += 1
            elif sign == quote:
                quote = ""
        elif sign == "\\":
            at += 1
            if script[at : at + 1] == "\n":  # a line continuation
                if start is not None:
                    arguments.append(ShellWord(script[start : at - 1], start, at - 1))
                    start = None
                at += 1
                continue
            start = at - 1 if start is None else start
        elif sign in " \t\r":
            if start is not None:
                arguments.append(ShellWord(script[start:at], start, at))
                start = None
        elif sign in "\n;|&)" or (sign == "#" and start is None):
            break
        else:
            quote = sign if sign in "'\"" else ""
            start = at if start is None else start
        at += 1
    if quote:
        raise SysctlError(
            f"the user data's call of {BOOTSTRAP_SCRIPT} cannot be read: it has a quote that does not end. "
            "Add the end quote"
        )
    if start is not None:
        arguments.append(ShellWord(script[start:at], start, at))
    return arguments


def find_bootstrap_calls(script: str) -> list[list[ShellWord]]:
    """Find the arguments of each call of bootstrap.sh. Comments do not count."""
    matches = re.finditer(r"(?m)^[^#\n]*?(/etc/eks/bootstrap\.sh)(?![\w.-])", script)
    return [_split_command(script, call.end(1)) for call in matches]


def _find_extra_args(arguments: Sequence[ShellWord]) -> Optional[ShellWord]:
    """Find the one extra-args argument. Reject what bootstrap.sh accepts and then silently drops."""
    for word in arguments:
        if word.raw.startswith(EXTRA_ARGS_FLAG + "="):
            raise SysctlError(
                f"the user data calls {BOOTSTRAP_SCRIPT} with {EXTRA_ARGS_FLAG}=..., which it ignores. {_SUGGESTION}"
            )
    at = [number for number, word in enumerate(arguments) if word.literal == EXTRA_ARGS_FLAG]
    if len(at) > 1:
        raise SysctlError(
            f"the user data calls {BOOTSTRAP_SCRIPT} with {EXTRA_ARGS_FLAG} {len(at)} times, and only the last counts. "
            f"{_SUGGESTION}"
        )
    if not at:
        return None
    if at[0] + 1 == len(arguments):
        raise SysctlError(
            f"the user data calls {BOOTSTRAP_SCRIPT} with {EXTRA_ARGS_FLAG} and nothing after it. {_SUGGESTION}"
        )
    return arguments[at[0] + 1]


def _read_content(word: ShellWord) -> str:
    """Read the text between the quotes. Variables in double quotes stay as they are."""
    if word.literal is not None:
        return word.literal
    if re.fullmatch(r'"(?:[^"\\`]|\\[$\\])*"', word.raw):
        return word.raw[1:-1]
    raise SysctlError(f"the user data's {EXTRA_ARGS_FLAG} {word.raw} cannot be read safely. {_SUGGESTION}")


def _parse_flags(text: str) -> list[str]:
    values = _FLAG.findall(text)
    for value in values:
        if not _LIST.fullmatch(value):
            raise SysctlError(
                f"the user data's --allowed-unsafe-sysctls={value} cannot be read, because it has "
                "other characters than those of a list. Write A,B without quotes"
            )
    return merge_lists([pattern for value in values for pattern in value.split(",") if pattern])


def list_allowed_sysctls(script: str) -> list[str]:
    """List the sysctls that the kubelet allows by these calls: those that any of the calls allows."""
    result: list[str] = []
    for arguments in find_bootstrap_calls(script):
        word = _find_extra_args(arguments)
        result = merge_lists(result, _parse_flags(_read_content(word)) if word else [])
    return result


def set_allowed_sysctls(script: str, patterns: Sequence[str]) -> str:
    """Edit every call to allow these patterns and no others. Without patterns, remove the flag.

    The extra arguments are always quoted: without quotes, bootstrap.sh drops them or the shell expands C(*).
    """
    for arguments in reversed(find_bootstrap_calls(script)):
        word = _find_extra_args(arguments)
        flag = f"--allowed-unsafe-sysctls={','.join(patterns)}" if patterns else ""
        if word is None:
            end = arguments[-1].end if arguments else script.index(BOOTSTRAP_SCRIPT) + len(BOOTSTRAP_SCRIPT)
            script = script[:end] + (f" {EXTRA_ARGS_FLAG} '{flag}'" if flag else "") + script[end:]
            continue
        text = _read_content(word)
        first = _FLAG.search(text)
        if first:
            before = text[: first.start()] + flag
            after = re.sub(r"[ \t]*" + _FLAG.pattern, "", text[first.end() :])
            text = (before + after) if flag else (before.rstrip() + " " + after.lstrip()).strip()
        elif flag:
            text = f"{text} {flag}" if text else flag
        quote = '"' if word.raw.startswith('"') else "'"
        script = script[: word.start] + quote + text + quote + script[word.end :]
    return script
