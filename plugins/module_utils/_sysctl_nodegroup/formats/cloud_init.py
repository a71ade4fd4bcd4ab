# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the parts that cloud-init runs: scripts and cloud-config. Add sysctls to their calls of bootstrap.sh.

docs/facts/sysctl_nodegroup.md#mime-and-cloud-init
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..errors import SysctlError
from ..sysctls import merge_lists
from .bootstrap_calls import BootstrapCall, remove_insertions
from .mime import BYTE_ORDER_MARK, GZIP, SHELL, MimePart
from .scripts import OWN_CALL, RISKS, ScriptReading, read_script

try:
    import yaml

    HAS_YAML = True
except ImportError:
    HAS_YAML = False

WRITER_NAME = "daytwo.aws.eks_sysctl_nodegroup"
CLOUD_CONFIG, BOOT_HOOK = "text/cloud-config", "text/cloud-boothook"
SCRIPT_TYPES = (SHELL, BOOT_HOOK)
_ADDED_NOTE = re.compile(rf"(?m)^# {re.escape(WRITER_NAME)} added: ([^\r\n]*)\r?\n")
_BOOT_HOOK_LINE = "#cloud-boothook"
# How cloud-init finds the type of a part whose header does not name one. The first that matches counts.
_PREFIXES = (
    ("#include", "text/x-include-url"),
    ("#!", SHELL),
    ("#cloud-config-archive", "text/cloud-config-archive"),
    ("#cloud-config-jsonp", "text/cloud-config-jsonp"),
    ("#cloud-config", CLOUD_CONFIG),
    ("#upstart-job", "text/upstart-job"),
    ("#part-handler", "text/part-handler"),
    (_BOOT_HOOK_LINE, BOOT_HOOK),
    ("## template: jinja", "text/jinja2"),
)
_FETCHED_TYPES = ("text/x-include-url", "text/x-include-once-url")


def format_note(added: Sequence[str], newline: str = "\n") -> str:
    return f"# {WRITER_NAME} added: {' '.join(added)}{newline}"


def extract_note(text: str) -> tuple[list[str], str]:
    """Extract the note of an earlier rendering: the patterns that it added to the user's list, and the other text."""
    found = [pattern for note in _ADDED_NOTE.findall(text) for pattern in note.split()]
    return found, _ADDED_NOTE.sub("", text)


def decode_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise SysctlError(f"the user data cannot be read: it is not UTF-8 text: {error}. Set it as UTF-8") from error


def get_prefix_type(data: bytes) -> str:
    """Get the type that cloud-init finds by the first characters; empty where there is none."""
    start = data[:200].decode("utf-8", "replace").lstrip().lower()
    return next((media_type for prefix, media_type in _PREFIXES if start.startswith(prefix)), "")


def get_content_type(part: MimePart) -> str:
    """Get the type by which cloud-init handles a part."""
    declared = part.media_type or "text/plain"
    if declared in ("text/plain", "text/x-not-multipart", SHELL):
        return get_prefix_type(part.content) or declared
    return declared


@dataclass(frozen=True)
class TextEdit:
    """Text to insert at a position of the part's text."""

    at: int
    text: str


@dataclass(frozen=True)
class PartReading:
    """A part as cloud-init runs it. C(locate): turns a position of the script into one of the part's text."""

    text: str = ""
    calls: tuple[BootstrapCall, ...] = ()
    hidden: Optional[str] = None
    locate: Callable[[int], int] = int

    @property
    def patterns(self) -> list[str]:
        """The sysctls that each of the calls allows, whichever runs."""
        lists = [call.patterns for call in self.calls]
        return [pattern for pattern in merge_lists(*lists) if all(pattern in listed for listed in lists)]

    def list_edits(self, sysctls: Sequence[str]) -> tuple[list[str], list[TextEdit]]:
        """List what is added, and the edits from the last to the first, so that each keeps its position."""
        added: list[str] = []
        edits = []
        for call in self.calls:
            missing = [sysctl for sysctl in sysctls if sysctl not in call.patterns]
            if missing:
                at, text = call.get_insertion(missing)
                edits.append(TextEdit(self.locate(at), text))
                added = merge_lists(added, missing)
        return added, sorted(edits, key=lambda edit: -edit.at)


def read_part(part: MimePart, mode: str, label: str) -> PartReading:
    """Read a part. Refuse what could set the kubelet's list in a way that is not understood."""
    media_type = get_content_type(part)
    if media_type in SCRIPT_TYPES:
        return _read_script_part(part, media_type, mode, label)
    if media_type == CLOUD_CONFIG:
        return _read_cloud_config(decode_text(part.content), mode, label)
    if media_type in _FETCHED_TYPES:
        raise SysctlError(
            f"{label} is not understood: it names addresses (#include) whose content cannot be known. "
            "Put the content into user_data"
        )
    if part.content.startswith(GZIP):
        raise SysctlError(f"{label} is not understood: it is compressed (gzip). Set it without compression")
    if RISKS[mode].search(part.content.decode("utf-8", "replace")):
        raise SysctlError(
            f"{label} is not understood: it concerns the kubelet or bootstrap.sh, and has the type {media_type}. "
            f"Write it as a script of type {SHELL}"
        )
    is_ignored = media_type.startswith(("application/", "text/plain", "text/x-not-multipart"))
    return PartReading(hidden=None if is_ignored else f"{label}, of type {media_type}")


def edit_part(part: MimePart, reading: PartReading, sysctls: Sequence[str]) -> MimePart:
    """Add the sysctls to each call, and a note that says which."""
    added, edits = reading.list_edits(sysctls)
    if not added:
        return part
    text = reading.text
    for edit in edits:
        text = text[: edit.at] + edit.text + text[edit.at :]
    first = text.index("\n") + 1
    if text.startswith(_BOOT_HOOK_LINE):
        first = text.index("\n", first) + 1
    note = format_note(added, "\r\n" if text[first - 2 : first - 1] == "\r" else "\n")
    result = part.replace_content((text[:first] + note + text[first:]).encode())
    if get_content_type(part) == CLOUD_CONFIG:
        _verify_cloud_config(reading, result, sysctls)
    return result


def remove_edit(part: MimePart) -> MimePart:
    """Remove what C(edit_part) added. The user's bytes come back."""
    if get_content_type(part) not in (*SCRIPT_TYPES, CLOUD_CONFIG):
        return part
    added, text = extract_note(decode_text(part.content))
    return part.replace_content(remove_insertions(text, added).encode()) if added else part


# Scripts


def _read_script_part(part: MimePart, media_type: str, mode: str, label: str) -> PartReading:
    text = decode_text(part.content)
    offset = 0
    if media_type == BOOT_HOOK and text.startswith(_BOOT_HOOK_LINE):
        offset = text.find("\n") + 1 or len(text)
    reading, locate = _read_lines(text, offset, mode, label)
    if part.content.startswith(BYTE_ORDER_MARK) and reading.calls:
        raise SysctlError(f"{label} begins with a byte order mark, and does not run. Remove the mark")
    return PartReading(text, reading.calls, reading.hidden, locate)


def _read_lines(text: str, offset: int, mode: str, label: str) -> tuple[ScriptReading, Callable[[int], int]]:
    """Read a script whose lines can end with CRLF, which cloud-init converts where the first line has it."""
    raw = text[offset:]
    if not re.match(r"[^\n]*\r\n", raw):
        if "\r" in raw and RISKS[mode].search(raw):
            raise SysctlError(
                f"{label} is not understood: it has carriage returns, but not in its first line, so cloud-init keeps "
                "them. Remove the carriage returns"
            )
        return read_script(raw, mode, label), lambda at: at + offset
    lines = raw.replace("\r\n", "\n")
    positions = [found.start() for found in re.finditer(r"(?:[^\r]|\r(?!\n))", raw)] + [len(raw)]

    def find_position(at: int) -> int:
        # An insertion stands before the carriage return that belongs to the end of its line.
        return offset + (positions[at - 1] + 1 if at else 0)

    return read_script(lines, mode, label), find_position


# cloud-config


def _compose_cloud_config(text: str, label: str) -> Any:
    if not HAS_YAML:
        raise SysctlError(f"{label} cannot be read: PyYAML is missing. Install PyYAML where the module runs")
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise SysctlError(f"{label} cannot be read: it is not YAML: {error}. Correct it") from error


def _list_scalars(node: Any) -> list[Any]:
    if isinstance(node, yaml.ScalarNode):
        return [node]
    children = node.value if node is not None else []
    if isinstance(node, yaml.MappingNode):
        children = [entry for pair in children for entry in pair]
    return [scalar for child in children for scalar in _list_scalars(child)]


def _read_cloud_config(text: str, mode: str, label: str) -> PartReading:
    """Read cloud-config. Its C(runcmd) strings are one script of sh; nothing else may concern the kubelet."""
    if not RISKS[mode].search(text) and not (mode == OWN_CALL and re.search(r"(?m)^[\"']?(?:run|boot)cmd", text)):
        return PartReading(text)
    root = _compose_cloud_config(text, label)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    names = [key.value for key, dummy in pairs]
    commands = [value for key, value in pairs if key.value == "runcmd"]
    items = [entry for value in commands if isinstance(value, yaml.SequenceNode) for entry in value.value]
    lines = [entry for entry in items if isinstance(entry, yaml.ScalarNode)]
    others = [scalar for scalar in _list_scalars(root) if not any(scalar is entry for entry in lines)]
    if len(names) != len(set(names)) or any(RISKS[mode].search(scalar.value) for scalar in others):
        raise SysctlError(
            f"{label} is not understood: cloud-config concerns the kubelet or bootstrap.sh elsewhere than in the "
            f"strings of one runcmd. Write it as a script of type {SHELL}"
        )
    script = "#!/bin/sh\n"
    starts = []
    for entry in lines:
        starts.append(len(script))
        script += entry.value + "\n"
    reading = read_script(script, mode, f"runcmd of {label}")

    def find_position(at: int) -> int:
        number = max(index for index, start in enumerate(starts) if start <= at)
        return _find_in_scalar(text, lines[number], at - starts[number], label)

    hides = "bootcmd" in names or len(lines) < len(items)
    return PartReading(text, reading.calls, reading.hidden or (label if hides else None), find_position)


def _find_in_scalar(text: str, scalar: Any, at: int, label: str) -> int:
    """Find the position in the YAML text of a position in a scalar: one of a single line, or a literal block."""
    start, end = scalar.start_mark.index, scalar.end_mark.index
    if scalar.style is None and text[start:end] == scalar.value:
        return int(start + at)
    if scalar.style == "|":
        number = scalar.value.count("\n", 0, at)
        column = at - (scalar.value.rfind("\n", 0, at) + 1)
        value = scalar.value.split("\n")[number]
        raw = text[start:end].split("\n")
        line = raw[number + 1].rstrip("\r")
        if line.endswith(value):
            before = sum(len(entry) + 1 for entry in raw[: number + 1])
            return int(start + before + len(line) - len(value) + column)
    raise SysctlError(
        f"{label} cannot be edited safely: its call of bootstrap.sh is in a YAML string with quotes or folded lines. "
        "Write it without quotes around it, or as a block that begins with |"
    )


def _verify_cloud_config(reading: PartReading, part: MimePart, sysctls: Sequence[str]) -> None:
    """Check that the edited text is the same cloud-config with the same calls, and that each has the sysctls."""
    text = decode_text(part.content)
    edited = _read_cloud_config(text, OWN_CALL, "cloud-config of the user data")
    original = yaml.safe_load(reading.text)
    added, restored_text = extract_note(text)
    restored = yaml.safe_load(remove_insertions(restored_text, added))
    if restored != original or any(sysctl not in edited.patterns for sysctl in sysctls):
        raise SysctlError(
            "the user data's cloud-config cannot be edited safely, because the edited text does not read back as "
            f"planned. Write the call as a script of type {SHELL}"
        )
