# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a call of AL2's bootstrap.sh, and add sysctls to it. No byte of the user's own is changed.

docs/facts/sysctl_nodegroup.md#al2-and-bootstrapsh
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ..errors import SysctlError
from ..sysctls import merge_lists
from .shell_model import UNKNOWN, ShellCommand, ShellScript, ShellWord

BOOTSTRAP_SCRIPT = "/etc/eks/bootstrap.sh"
EXTRA_ARGS_FLAG = "--kubelet-extra-args"
ENVIRONMENT_NAME = "KUBELET_EXTRA_ARGS"
LIST_FLAG = "--allowed-unsafe-sysctls"
_OPTIONS = (
    EXTRA_ARGS_FLAG,
    "--use-max-pods",
    "--b64-cluster-ca",
    "--apiserver-endpoint",
    "--enable-docker-bridge",
    "--aws-api-retry-attempts",
    "--docker-config-json",
    "--containerd-config-file",
    "--pause-container-account",
    "--pause-container-version",
    "--dns-cluster-ip",
    "--container-runtime",
    "--ip-family",
    "--service-ipv4-cidr",
    "--service-ipv6-cidr",
    "--enable-local-outpost",
    "--cluster-id",
    "--mount-bpf-fs",
    "--local-disks",
)
_LIST = re.compile(r"(?:[a-z0-9._*/-]+(?:,[a-z0-9._*/-]+)*)?")
_SUGGESTION = f"Write one argument in quotes: {EXTRA_ARGS_FLAG} '...'"


@dataclass(frozen=True)
class BootstrapCall:
    """One call. C(value): the argument after --kubelet-extra-args. C(end): behind the last argument."""

    start: int
    end: int
    value: Optional[ShellWord]
    patterns: tuple[str, ...]

    def get_insertion(self, added: Sequence[str]) -> tuple[int, str]:
        """Get the position and the text that add sysctls. A flag that is repeated adds to the kubelet's list."""
        flag = f"{LIST_FLAG}={','.join(added)}"
        if self.value is None:
            return self.end, f" {EXTRA_ARGS_FLAG} '{flag}'"
        return self.value.start, f"'{flag} '"


def remove_insertions(text: str, added: Sequence[str]) -> str:
    """Remove what C(get_insertion) inserted for sysctls of C(added)."""

    def remove_known(found: re.Match[str]) -> str:
        return "" if set(found.group(1).split(",")) <= set(added) else found.group()

    listed = r"([a-z0-9._*/,-]+)"
    text = re.sub(rf" {EXTRA_ARGS_FLAG} '{LIST_FLAG}={listed}'", remove_known, text)
    return re.sub(rf"'{LIST_FLAG}={listed} '", remove_known, text)


def build_call(
    script: ShellScript,
    command: ShellCommand,
    arguments: Sequence[ShellWord],
    constants: Mapping[str, str],
    label: str,
) -> BootstrapCall:
    """Read the arguments as bootstrap.sh reads them. Reject a call that is not known in full, or cannot boot."""

    def fail(at: int, reason: str, suggestion: str) -> None:
        raise SysctlError(
            f"{label}, line {script.count_line(at)}: the call of {BOOTSTRAP_SCRIPT} {reason}. {suggestion}"
        )

    values: list[ShellWord] = []
    positional = 0
    rest = list(arguments)
    for argument in rest:
        if not argument.is_single_field(constants):
            fail(
                argument.start,
                f"has the argument {argument.raw}, of which the shell can make any number of arguments",
                "Write it in double quotes, or write out its value",
            )
    while rest:
        argument = rest.pop(0)
        text = argument.resolve(constants)
        if text in _OPTIONS:
            if not rest:
                fail(argument.start, f"has {text} and nothing after it", "Add its value")
            value = rest.pop(0)
            if text == EXTRA_ARGS_FLAG:
                values.append(value)
        elif text.startswith(EXTRA_ARGS_FLAG + "="):
            fail(argument.start, f"has {EXTRA_ARGS_FLAG}=..., which it ignores", _SUGGESTION)
        elif text in ("-h", "--help", ""):
            fail(argument.start, f"has the argument {argument.raw}, with which it ends", "Remove it")
        elif UNKNOWN in text and (
            positional or text.startswith("-") or (rest and rest[0].resolve(constants) not in _OPTIONS)
        ):
            fail(argument.start, f"has the argument {argument.raw}, whose value is not known", "Write out its value")
        else:
            positional += 1
    if not positional:
        fail(command.start, "names no cluster", "Add the name of the cluster")
    if len(values) > 1:
        fail(values[1].start, f"has {EXTRA_ARGS_FLAG} {len(values)} times, and only the last counts", _SUGGESTION)
    last = arguments[-1].end
    if not values:
        return BootstrapCall(command.start, last, None, ())
    text = values[0].resolve(constants)
    try:
        patterns = parse_extra_args(text)
    except ValueError as error:
        fail(values[0].start, f"has {EXTRA_ARGS_FLAG} {values[0].raw}, which cannot be read: {error}", _SUGGESTION)
    return BootstrapCall(command.start, last, values[0], tuple(patterns))


def parse_extra_args(text: str) -> list[str]:
    """Parse the kubelet's arguments as systemd does, and return the sysctls that they allow.

    bootstrap.sh writes them between single quotes into a unit. docs/facts/sysctl_nodegroup.md#al2-and-bootstrapsh
    """
    if re.search(r"[\n\r\\]", text):
        raise ValueError("systemd drops arguments with a line end or a backslash")
    if text.count("'") % 2 or any(re.search(r"[\s\"]", inner) for inner in text.split("'")[1::2]):
        raise ValueError("bootstrap.sh writes it between single quotes, which end at a single quote inside")
    plain = text.replace("'", "")
    if plain.count('"') % 2:
        raise ValueError("a quote in it does not end")
    arguments = [entry.replace('"', "") for entry in re.findall(r'(?:[^\s"]|"[^"]*")+', plain)]
    return list_flag_sysctls(arguments)


def list_flag_sysctls(arguments: Sequence[str]) -> list[str]:
    """List the sysctls that arguments of the kubelet allow. Repeated flags add to the list."""
    result: list[str] = []
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if not re.match("-*" + LIST_FLAG.strip("-"), name.replace("_", "-")):
            continue
        previous = arguments[number - 1] if number else ""
        if name.replace("_", "-") != LIST_FLAG or (previous.startswith("-") and "=" not in previous):
            raise ValueError(f"{argument} can belong to another argument".replace(UNKNOWN, "..."))
        if not equals:
            value = arguments[number + 1] if number + 1 < len(arguments) else UNKNOWN
        if not _LIST.fullmatch(value):
            raise ValueError(
                f"{LIST_FLAG} has a value with other characters than those of a list. Write A,B without quotes"
            )
        result = merge_lists(result, [pattern for pattern in value.split(",") if pattern])
    return result
