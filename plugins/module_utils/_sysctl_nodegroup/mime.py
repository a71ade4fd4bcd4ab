# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Split and join MIME multipart user data. An unchanged part keeps its bytes."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .errors import SysctlError

NODE_CONFIG = "application/node.eks.aws"
SHELL = "text/x-shellscript"
_HEADER = re.compile(rb"^([!-9;-~]+):[ \t]*(.*(?:\r?\n[ \t]+.*)*)", re.MULTILINE)


@dataclass(frozen=True)
class MimePart:
    """One part: its header lines and its body, byte for byte."""

    head: bytes
    body: bytes

    def get_header(self, name: str) -> str:
        for found in _HEADER.finditer(self.head):
            if found.group(1).decode("ascii").lower() == name:
                return re.sub(r"\s+", " ", found.group(2).decode("utf-8", "replace")).strip()
        return ""

    @property
    def media_type(self) -> str:
        return self.get_header("content-type").split(";")[0].strip().lower()

    @property
    def _is_base64(self) -> bool:
        return self.get_header("content-transfer-encoding").lower() == "base64"

    @property
    def content(self) -> bytes:
        """The body, decoded."""
        if not self._is_base64:
            return self.body
        try:
            return base64.b64decode(self.body)
        except binascii.Error as error:
            raise SysctlError(
                f"the user data cannot be read: a part declares base64 and is not base64: {error}. Correct the part"
            ) from error

    def replace_content(self, content: bytes) -> MimePart:
        return replace(self, body=base64.encodebytes(content).strip() if self._is_base64 else content)


@dataclass(frozen=True)
class MimeDocument:
    """A multipart document. C(head) ends before the first boundary line."""

    head: bytes
    boundary: bytes
    parts: tuple[MimePart, ...]
    tail: bytes = b""
    newline: bytes = b"\n"

    def to_bytes(self) -> bytes:
        line = self.newline
        result = self.head
        for part in self.parts:
            result += b"--" + self.boundary + line + part.head + line + part.body + line
        return result + b"--" + self.boundary + b"--" + self.tail


def is_multipart(data: bytes) -> bool:
    return bool(re.match(rb"(?i)(mime-version:|content-type:\s*multipart/)", data))


def parse(data: bytes) -> MimeDocument:
    """Parse a multipart document. Reject what the parsers at boot reject."""
    found = re.search(rb"\r?\n\r?\n", data)
    headers = MimePart(data[: found.start()] + b"\n" if found else data, b"")
    boundary = re.search(r'(?i)boundary\s*=\s*(?:"([^"]+)"|([^\s;]+))', headers.get_header("content-type"))
    if not found or not headers.media_type.startswith("multipart/") or not boundary:
        raise SysctlError(
            "the user data cannot be read: it begins like MIME but has no header "
            "'Content-Type: multipart/mixed; boundary=...' with a blank line after it, so a node ignores it at boot. "
            "Add that header"
        )
    name = (boundary.group(1) or boundary.group(2)).encode()
    newline = b"\r\n" if b"\r\n" in found.group() else b"\n"
    lines = list(re.finditer(rb"^--" + re.escape(name) + rb"(--)?[ \t]*(?:\r?\n|\Z)", data, re.MULTILINE))
    if not lines or not lines[-1].group(1) or any(line.group(1) for line in lines[:-1]):
        raise SysctlError(
            f"the user data cannot be read: its parts do not begin and end at its boundary --{name.decode()}. Add the "
            f"boundary lines, and the line that closes the last part (--{name.decode()}--)"
        )
    parts = []
    for here, after in zip(lines, lines[1:]):
        raw = data[here.end() : after.start()]
        raw = re.sub(rb"\r?\n\Z", b"", raw)
        blank = re.match(rb"(?:[^\r\n]+\r?\n)*?(?=\r?\n)", raw)
        if not blank:
            raise SysctlError(
                "the user data cannot be read: a part has no blank line between its headers and its content. "
                "Add the blank line"
            )
        rest = re.sub(rb"\A\r?\n", b"", raw[blank.end() :])
        parts.append(MimePart(raw[: blank.end()], rest))
    end = lines[-1]
    tail = data[end.start() + len(b"--" + name + b"--") :]
    return MimeDocument(data[: lines[0].start()], name, tuple(parts), tail, newline)


def compose(parts: Sequence[MimePart]) -> MimeDocument:
    """Compose a new document around parts. Its boundary is the shortest of its kind that no part holds."""
    boundary = b"//"
    while any(b"--" + boundary in part.head + part.body for part in parts):
        boundary += b"/"
    head = b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="' + boundary + b'"\n\n'
    return MimeDocument(head, boundary, tuple(parts), b"\n")


def make_part(media_type: str, text: str) -> MimePart:
    charset = '; charset="us-ascii"' if media_type == SHELL else ""
    return MimePart(f"Content-Type: {media_type}{charset}\n".encode(), text.encode())
