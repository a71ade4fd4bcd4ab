# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edit one key in the text of Bottlerocket's TOML user data, and read it back to check the edit."""

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


def check_eks_restrictions(text: str) -> None:
    # docs/facts/sysctl_nodegroup.md#bottlerocket
    if re.search(r"(?m)^[ \t]*\[[^\]\r\n]*[\"']", text):
        raise SysctlError(
            "EKS does not accept Bottlerocket user data with quoted keys in a bracketed header: remove the quotes"
        )
    if '\\"' in text:
        raise SysctlError(
            'EKS does not accept Bottlerocket user data with escaped quotes (\\") in values: use single quotes'
        )

    def check_value(value: Any) -> None:
        if isinstance(value, dict):
            for entry in value.values():
                check_value(entry)
        elif isinstance(value, list):
            if len({type(item) for item in value}) > 1:
                raise SysctlError("EKS does not accept Bottlerocket user data with arrays of mixed types: use one type")
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
    """Find the position after the array that begins at C(at)."""
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
    """Set settings.kubernetes.allowed-unsafe-sysctls in the text, and change nothing else."""
    return set_value(text, SYSCTLS_KEY, list(patterns))


def set_value(text: str, key: str, value: Any) -> str:
    """Set a key of settings.kubernetes in the text. Read it back, because the edit works on text."""
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
            "the user data's TOML cannot be edited safely, because the edited text does not read back as planned. "
            f"Write {key} = {rendered} under [settings.kubernetes] yourself"
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
