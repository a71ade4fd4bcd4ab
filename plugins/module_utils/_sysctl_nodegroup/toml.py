# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bottlerocket's TOML: one key edited in the text, and the edit checked by reading it back."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from typing import Any

from .errors import SysctlError

try:
    import tomllib

    HAS_TOML = True
except ImportError:  # Python before 3.11
    HAS_TOML = False

SYSCTLS_KEY = "allowed-unsafe-sysctls"
_TABLE = re.compile(r"(?m)^[ \t]*\[[ \t]*settings[ \t]*\.[ \t]*kubernetes[ \t]*\][ \t]*(?:#[^\r\n]*)?\r?$")
_SUB_TABLE = re.compile(r"(?m)^[ \t]*\[[ \t]*settings[ \t]*\.[ \t]*kubernetes[ \t]*\.")
_HEADER = re.compile(r"(?m)^[ \t]*\[")


def parse(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    if not HAS_TOML:
        raise SysctlError("to read Bottlerocket's user data, Python 3.11 or newer is needed where the module runs")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SysctlError(f"the user data is no TOML, which Bottlerocket wants (never MIME): {error}") from error


def check_eks_restrictions(text: str) -> None:
    if re.search(r"(?m)^[ \t]*\[[^\]\r\n]*[\"']", text):
        raise SysctlError("EKS does not take Bottlerocket user data with quoted keys in a bracketed header")
    if '\\"' in text:
        raise SysctlError('EKS does not take Bottlerocket user data with escaped quotes (\\") in values')

    def check_value(value: Any) -> None:
        if isinstance(value, dict):
            for entry in value.values():
                check_value(entry)
        elif isinstance(value, list):
            if len({type(item) for item in value}) > 1:
                raise SysctlError("EKS does not take Bottlerocket user data with arrays of mixed types")
            for entry in value:
                check_value(entry)

    check_value(parse(text))


def get_kubernetes_table(tree: dict[str, Any]) -> dict[str, Any]:
    found = tree.get("settings", {})
    found = found.get("kubernetes", {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def list_allowed_sysctls(text: str) -> list[str]:
    return [str(pattern) for pattern in get_kubernetes_table(parse(text)).get(SYSCTLS_KEY, [])]


def _find_array_end(text: str, at: int) -> int:
    """Behind the array that begins at C(at)."""
    depth, quote = 0, ""
    while at < len(text):
        sign = text[at]
        if quote:
            if sign == "\\" and quote == '"':
                at += 1
            elif sign == quote:
                quote = ""
        elif sign in "\"'":
            quote = sign
        elif sign == "#":
            at = text.find("\n", at)
            if at < 0:
                break
        elif sign == "[":
            depth += 1
        elif sign == "]":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return len(text)


def set_allowed_sysctls(text: str, patterns: Sequence[str]) -> str:
    """The text with this list at settings.kubernetes.allowed-unsafe-sysctls, and nothing else changed."""
    return set_value(text, SYSCTLS_KEY, list(patterns))


def set_value(text: str, key: str, value: Any) -> str:
    """The text with this value at a key of settings.kubernetes; read back, because the edit is one of text."""
    desired = copy.deepcopy(parse(text))
    desired.setdefault("settings", {}).setdefault("kubernetes", {})[key] = value
    rendered = json.dumps(value)
    try:
        result = _edit_text(text, key, rendered)
        is_safe = not HAS_TOML or parse(result) == desired
    except SysctlError:
        is_safe = False
    if not is_safe:
        raise SysctlError(
            "the user data's TOML is written in a way that cannot be edited safely: write "
            f"{key} = {rendered} under [settings.kubernetes] in it yourself"
        )
    return result


def _edit_text(text: str, name: str, value: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    dotted = re.search(rf"(?m)^[ \t]*settings[ \t]*\.[ \t]*kubernetes[ \t]*\.[ \t]*{name}[ \t]*=[ \t]*", text)
    if dotted:
        return text[: dotted.end()] + value + text[_find_array_end(text, dotted.end()) :]
    line = f"{name} = {value}"
    header = _TABLE.search(text)
    if header:
        following = _HEADER.search(text, header.end())
        plain = re.compile(rf"(?m)^[ \t]*{name}[ \t]*=[ \t]*")
        key = plain.search(text, header.end(), following.start() if following else len(text))
        if key:
            return text[: key.end()] + value + text[_find_array_end(text, key.end()) :]
        at = text.find("\n", header.end() - 1)
        if at < 0:
            return text + newline + line + newline
        return text[: at + 1] + line + newline + text[at + 1 :]
    block = f"[settings.kubernetes]{newline}{line}{newline}"
    sub_table = _SUB_TABLE.search(text)
    if sub_table:
        return text[: sub_table.start()] + block + newline + text[sub_table.start() :]
    if text and not text.endswith("\n"):
        text += newline
    return text + (newline if text else "") + block
