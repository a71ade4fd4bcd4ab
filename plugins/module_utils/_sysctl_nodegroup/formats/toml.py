# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edit one key in the text of Bottlerocket's TOML user data, in each of TOML's notations, and read the edit back."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..errors import SysctlError

try:
    import tomllib

    HAS_TOML = True
except ImportError:  # Python before 3.11
    HAS_TOML = False

SYSCTLS_KEY = "allowed-unsafe-sysctls"
_TABLE_PATH = ("settings", "kubernetes")
_MARK = "\ufeff"
_BLANK = re.compile(r"[ \t]*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\r\n]+")


@dataclass(frozen=True)
class TomlEntry:
    """One assignment. C(table): the path of its table; C(keys): its own dotted key, as written and as read."""

    table: tuple[str, ...]
    keys: tuple[str, ...]
    raw_keys: tuple[str, ...]
    key_start: int
    value_start: int
    value_end: int
    inline: bool  # inside of an inline table

    @property
    def path(self) -> tuple[str, ...]:
        return (*self.table, *self.keys)


@dataclass(frozen=True)
class TomlHeader:
    path: tuple[str, ...]
    raw: str
    start: int
    end: int


class _TomlScanner:
    """Find the positions of headers and assignments in text that is known to be TOML."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 1 if text.startswith(_MARK) else 0
        self.headers: list[TomlHeader] = []
        self.entries: list[TomlEntry] = []

    def match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if not found:
            raise SysctlError(
                f"the user data's TOML cannot be edited: line {self.text.count(chr(10), 0, self.at) + 1} is not "
                "understood. Write it in a simpler way"
            )
        self.at = found.end()
        return found.group()

    @property
    def sign(self) -> str:
        return self.text[self.at : self.at + 1]

    def scan(self) -> None:
        table: tuple[str, ...] = ()
        self.match(_BLANK_LINES)
        while self.sign:
            if self.sign == "[":
                start = self.at
                self.match(re.compile(r"\[\[?[ \t]*"))
                path = tuple(key for key, dummy in self.read_key())
                is_array = self.match(re.compile(r"[ \t]*\]\]?")).endswith("]]")
                self.headers.append(TomlHeader(path, self.text[start : self.at], start, self.at))
                table = (*path, "[]") if is_array else path
            else:
                self.read_assignment(table, False)
            self.match(_BLANK_LINES)

    def read_key(self) -> list[tuple[str, str]]:
        keys = []
        while True:
            self.match(_BLANK)
            raw = self.match(_STRING) if self.sign in "\"'" else self.match(_BARE_KEY)
            keys.append((json.loads(raw) if raw[0] == '"' else raw.strip("'"), raw))
            self.match(_BLANK)
            if self.sign != ".":
                return keys
            self.at += 1

    def read_assignment(self, table: tuple[str, ...], inline: bool) -> None:
        start = self.at
        keys = self.read_key()
        self.match(re.compile(r"[ \t]*=[ \t]*"))
        value = self.at
        path = tuple(key for key, dummy in keys)
        self.read_value((*table, *path))
        raw = tuple(entry for dummy, entry in keys)
        self.entries.append(TomlEntry(table, path, raw, start, value, self.at, inline))

    def read_value(self, path: tuple[str, ...]) -> None:
        if self.sign == "[":
            self.at += 1
            self.match(_BLANK_LINES)
            while self.sign != "]":
                self.read_value((*path, "[]"))
                self.match(_BLANK_LINES)
                if self.sign == ",":
                    self.at += 1
                self.match(_BLANK_LINES)
            self.at += 1
        elif self.sign == "{":
            self.at += 1
            self.match(_BLANK_LINES)
            while self.sign != "}":
                self.read_assignment(path, True)
                self.match(_BLANK_LINES)
                if self.sign == ",":
                    self.at += 1
                self.match(_BLANK_LINES)
            self.at += 1
        elif self.sign and self.sign in "\"'":
            self.match(_STRING)
        else:
            value = self.match(_BARE_VALUE)
            self.at -= len(value) - len(value.rstrip())


def parse(text: str) -> dict[str, Any]:
    text = text[1:] if text.startswith(_MARK) else text
    if not text.strip():
        return {}
    if not HAS_TOML:
        raise SysctlError(
            "Bottlerocket's user data cannot be read: the module runs on a Python before 3.11, which has no tomllib. "
            "Use Python 3.11 or newer"
        )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SysctlError(
            f"the user data is not TOML: {error}. Bottlerocket reads TOML and never MIME: write the user data as TOML"
        ) from error


def scan_text(text: str) -> _TomlScanner:
    scanner = _TomlScanner(text)
    scanner.scan()
    return scanner


def check_eks_restrictions(text: str) -> None:
    """Reject what EKS does not accept when it joins its own settings. docs/facts/sysctl_nodegroup.md#bottlerocket"""
    tree = parse(text)
    scanner = scan_text(text)
    if any(re.search(r"[\"']", header.raw) for header in scanner.headers):
        raise SysctlError(
            "EKS does not accept Bottlerocket user data with quoted keys in a bracketed header: remove the quotes"
        )
    for entry in scanner.entries:
        strings = _STRING.findall(text[entry.value_start : entry.value_end])
        if any('\\"' in found for found in strings if found.startswith('"')):
            raise SysctlError(
                'EKS does not accept Bottlerocket user data with escaped quotes (\\") in values: use single quotes'
            )
        if any(re.search(r"[\"']", key) for key in entry.keys):
            raise SysctlError("EKS does not accept Bottlerocket user data with quotes within quoted keys: remove them")

    def check_value(value: Any) -> None:
        if isinstance(value, dict):
            for entry in value.values():
                check_value(entry)
        elif isinstance(value, list):
            if len({type(item) for item in value}) > 1:
                raise SysctlError("EKS does not accept Bottlerocket user data with arrays of mixed types: use one type")
            for entry in value:
                check_value(entry)

    check_value(tree)


def get_kubernetes_table(tree: dict[str, Any]) -> dict[str, Any]:
    found: Any = tree
    for key in _TABLE_PATH:
        found = found.get(key, {})
        if not isinstance(found, dict):
            raise SysctlError(
                f"the user data's {'.'.join(_TABLE_PATH)} is no table, and Bottlerocket rejects it. Write it as a table"
            )
    return dict(found)


def list_allowed_sysctls(text: str) -> list[str]:
    found = get_kubernetes_table(parse(text)).get(SYSCTLS_KEY, [])
    if not isinstance(found, list) or any(not isinstance(pattern, str) for pattern in found):
        raise SysctlError(
            f"the user data's {'.'.join(_TABLE_PATH)}.{SYSCTLS_KEY} is not a list of strings, and Bottlerocket then "
            'rejects the user data. Write ["A", "B"]'
        )
    return list(found)


def set_allowed_sysctls(text: str, patterns: Sequence[str]) -> str:
    """Set settings.kubernetes.allowed-unsafe-sysctls in the text, and change nothing else."""
    return set_value(text, SYSCTLS_KEY, list(patterns))


def set_value(text: str, key: str, value: Any) -> str:
    """Set a key of settings.kubernetes in the text. Read it back, because the edit works on text."""
    desired = copy.deepcopy(parse(text))
    desired.setdefault("settings", {}).setdefault("kubernetes", {})[key] = value
    rendered = format_value(value)
    result = _edit_text(text, key, rendered)
    if HAS_TOML and parse(result) != desired:
        raise SysctlError(
            "the user data's TOML cannot be edited safely, because the edited text does not read back as planned. "
            f"Write {key} = {rendered} under [settings.kubernetes] yourself"
        )
    return result


def format_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {format_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(format_value(entry) for entry in value) + "]"
    return json.dumps(value)


def find_statement_start(text: str, key: str) -> int:
    """Find the position of the line that begins the statement with a key of settings.kubernetes."""
    scanner = scan_text(text)
    entry = _find_entry(scanner, (*_TABLE_PATH, key))
    if entry is None:
        return 0
    outer = [other for other in scanner.entries if not other.inline and other.key_start <= entry.key_start]
    line_start = text.rfind("\n", 0, max(other.key_start for other in outer)) + 1
    return line_start or len(text) - len(text.lstrip(_MARK))


def _find_entry(scanner: _TomlScanner, path: tuple[str, ...]) -> Optional[TomlEntry]:
    return next((entry for entry in scanner.entries if entry.path == path), None)


def _edit_text(text: str, name: str, value: str) -> str:
    """Write the assignment where the text has the table already: by value, header, inline table or dotted keys."""
    newline = "\r\n" if "\r\n" in text else "\n"
    scanner = scan_text(text)
    size = len(_TABLE_PATH)
    line = f"{name} = {value}"
    entry = _find_entry(scanner, (*_TABLE_PATH, name))
    if entry:
        return text[: entry.value_start] + value + text[entry.value_end :]
    header = next((found for found in scanner.headers if found.path == _TABLE_PATH), None)
    if header:
        at = text.find("\n", header.end)
        return text + newline + line + newline if at < 0 else text[: at + 1] + line + newline + text[at + 1 :]
    for path, content in ((_TABLE_PATH, line), (_TABLE_PATH[:1], f"{_TABLE_PATH[1]} = {{ {line} }}")):
        table = _find_entry(scanner, path)
        has_sibling = any(found.path[:size] == _TABLE_PATH and found.path != _TABLE_PATH for found in scanner.entries)
        if table and (path == _TABLE_PATH or not has_sibling):
            at = table.value_start + 1
            is_empty = not text[at : table.value_end - 1].strip()
            return text[:at] + f" {content}" + (" " if is_empty else ",") + text[at:]
    for found in scanner.entries:
        depth = size - len(found.table)
        if found.path[:size] == _TABLE_PATH and 0 < depth < len(found.keys):
            dotted = ".".join([*found.raw_keys[:depth], line])
            return text[: found.key_start] + dotted + (", " if found.inline else newline) + text[found.key_start :]
    block = f"[{'.'.join(_TABLE_PATH)}]{newline}{line}{newline}"
    below = next((found for found in scanner.headers if found.path[:size] == _TABLE_PATH), None)
    if below:
        return text[: below.start] + block + newline + text[below.start :]
    if text.strip(_MARK) and not text.endswith("\n"):
        text += newline
    return text + (newline if text.strip(_MARK) else "") + block
