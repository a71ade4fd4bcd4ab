# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Split and join MIME multipart user data. An unchanged part keeps its bytes.

Two programs read it: nodeadm with Go's parser, which is strict, and cloud-init with Python's.
docs/facts/sysctl_nodegroup.md#mime-and-cloud-init
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import SysctlError

NODE_CONFIG = "application/node.eks.aws"
SHELL = "text/x-shellscript"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"  # the first bytes of compressed data
_HEADER = re.compile(rb"^([!-9;-~]+):[ \t]*(.*(?:\r?\n[ \t]+.*)*)", re.MULTILINE)
_HEADER_LINES = re.compile(rb"(?:[!-9;-~]+:[^\r\n]*\r?\n(?:[ \t]+[^\r\n]*\r?\n)*)*")
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf'{_NAME}/{_NAME}(?:\s*;\s*{_NAME}\s*=\s*(?:{_NAME}|"(?:[^"\\]|\\.)*"))*\s*;?\s*')


@dataclass(frozen=True)
class MimePart:
    """One part, byte for byte: its header lines, the blank line after them, its body, and the line end after it."""

    head: bytes
    body: bytes
    gap: bytes = b"\n"
    end: bytes = b"\n"

    def get_header(self, name: str) -> str:
        for found in _HEADER.finditer(self.head):
            if found.group(1).decode("ascii").lower() == name:
                return re.sub(r"\s+", " ", found.group(2).decode("utf-8", "replace")).strip()
        return ""

    @property
    def media_type(self) -> str:
        return self.get_header("content-type").split(";")[0].strip().lower()

    @property
    def encoding(self) -> str:
        return self.get_header("content-transfer-encoding").lower()

    @property
    def content(self) -> bytes:
        """The body as cloud-init reads it: decoded by its header."""
        if self.encoding == "base64":
            try:
                return base64.b64decode(self.body)
            except binascii.Error as error:
                raise SysctlError(
                    f"the user data cannot be read: a part declares base64 and is not base64: {error}. Correct the part"
                ) from error
        if self.encoding == "quoted-printable":
            return quopri.decodestring(self.body)
        if self.encoding not in ("", "7bit", "8bit", "binary"):
            raise SysctlError(
                f"the user data cannot be read: a part has the Content-Transfer-Encoding {self.encoding}. "
                "Use base64, or none"
            )
        return self.body

    def replace_content(self, content: bytes) -> MimePart:
        body = content
        if self.encoding == "base64":
            body = base64.encodebytes(content).strip()
        elif self.encoding == "quoted-printable":
            body = quopri.encodestring(content)
        result = replace(self, body=body)
        if result.content != content:
            raise SysctlError(
                "the user data cannot be edited: a part's quoted-printable encoding does not keep its text. "
                "Write the part without Content-Transfer-Encoding"
            )
        return result


@dataclass(frozen=True)
class MimeDocument:
    """A multipart document. C(head) ends before the first boundary line."""

    head: bytes
    boundary: bytes
    parts: tuple[MimePart, ...]
    tail: bytes = b""
    newline: bytes = b"\n"

    def to_bytes(self) -> bytes:
        result = self.head
        for part in self.parts:
            result += b"--" + self.boundary + self.newline + part.head + part.gap + part.body + part.end
        return result + b"--" + self.boundary + b"--" + self.tail


def _split_head(data: bytes) -> tuple[bytes, bytes]:
    """Split a document into its header lines and the rest, which begins with a blank line in a proper document."""
    start = len(BYTE_ORDER_MARK) if data.startswith(BYTE_ORDER_MARK) else 0
    found = _HEADER_LINES.match(data, start)
    end = found.end() if found else start
    return data[start:end], data[end:]


def is_multipart(data: bytes) -> bool:
    """Whether the data begins with headers of which one is for MIME."""
    head = _split_head(data)[0]
    part = MimePart(head, b"")
    return bool(part.get_header("mime-version")) or part.media_type.startswith("multipart/")


def parse(data: bytes) -> MimeDocument:
    """Parse a multipart document. Reject what both parsers at boot reject."""
    head, rest = _split_head(data)
    headers = MimePart(head, b"")
    boundary = re.search(r'(?i)boundary\s*=\s*(?:"([^"]+)"|([^\s;]+))', headers.get_header("content-type"))
    if not re.match(rb"\r?\n", rest) or not headers.media_type.startswith("multipart/") or not boundary:
        raise SysctlError(
            "the user data cannot be read: it begins like MIME but has no header "
            "'Content-Type: multipart/mixed; boundary=...' with a blank line after it, so a node ignores it at boot. "
            "Add that header"
        )
    name = (boundary.group(1) or boundary.group(2)).encode()
    lines = list(re.finditer(rb"^--" + re.escape(name) + rb"(--)?[ \t]*(\r?\n|\Z)", data, re.MULTILINE))
    last = next((number for number, line in enumerate(lines) if line.group(1)), None)
    if last is None or last != len(lines) - 1:
        raise SysctlError(
            f"the user data cannot be read: its parts do not begin and end at its boundary --{name.decode()}. Add the "
            f"boundary lines, and the line that closes the last part (--{name.decode()}--)"
        )
    parts = tuple(
        _parse_part(data[here.end() : after.start()]) for here, after in zip(lines[:last], lines[1 : last + 1])
    )
    end = lines[last]
    tail = data[end.start() + len(b"--" + name + b"--") :]
    return MimeDocument(data[: lines[0].start()], name, parts, tail, lines[0].group(2) or b"\n")


def _parse_part(raw: bytes) -> MimePart:
    ending = re.search(rb"\r?\n\Z", raw)
    head = _HEADER_LINES.match(raw)
    size = head.end() if head else 0
    blank = re.match(rb"\r?\n", raw[size:])
    start = size + (blank.end() if blank else 0)
    stop = max(ending.start() if ending else len(raw), start)
    return MimePart(raw[:size], raw[start:stop], blank.group() if blank else b"", raw[stop:])


def has_missing_blank_line(document: MimeDocument) -> bool:
    return any(not part.gap for part in document.parts)


def check_strict(data: bytes, document: MimeDocument) -> None:
    """Reject what Go's parser rejects, and what EKS therefore cannot join with its own part."""
    if has_missing_blank_line(document):
        raise SysctlError(
            "the user data cannot be read: a part has no blank line between its headers and its content. "
            "Add the blank line"
        )
    headers = [_split_head(data)[0], *(part.head for part in document.parts)]
    for head in headers:
        media_type = MimePart(head, b"").get_header("content-type")
        found = set(re.findall(rf";\s*({_NAME})\s*=\s*([^;\s]*)", media_type.lower()))
        names = [name for name, dummy in found]
        if media_type and (not _MEDIA_TYPE.fullmatch(media_type) or len(names) != len(set(names))):
            raise SysctlError(
                f"the user data cannot be read: nodeadm rejects the header Content-Type: {media_type}. "
                'Write TYPE/SUBTYPE; NAME="VALUE"'
            )
    lines = re.findall(rb"(?m)^--" + re.escape(document.boundary) + rb"(?:--)?[ \t]*(\r?\n|\Z)", data)
    if any(line not in (document.newline, b"") for line in lines):
        raise SysctlError(
            "the user data cannot be read: its boundary lines have different line ends (CRLF and LF), and nodeadm "
            "rejects that. Use the same line end in all of them"
        )


def check_cloud_init(data: bytes) -> None:
    """Reject an envelope that cloud-init does not recognize, so that no script of it would run."""
    if data.startswith(BYTE_ORDER_MARK):
        raise SysctlError(
            "the user data cannot be read: it begins with a byte order mark, and cloud-init then runs none of its "
            "parts. Remove the mark"
        )
    if b"mime-version:" not in data[:4096].lower():
        raise SysctlError(
            "the user data cannot be read: it has no header MIME-Version, and cloud-init then runs none of its parts. "
            "Add 'MIME-Version: 1.0'"
        )


def compose(parts: Sequence[MimePart]) -> MimeDocument:
    """Compose a new document around parts. Its boundary is the shortest of its kind that no part holds."""
    boundary = b"//"
    while any(b"--" + boundary in part.head + part.body for part in parts):
        boundary += b"/"
    head = b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="' + boundary + b'"\n\n'
    return MimeDocument(head, boundary, tuple(parts), b"\n")


def make_part(media_type: str, body: bytes, newline: bytes = b"\n") -> MimePart:
    charset = '; charset="us-ascii"' if media_type == SHELL else ""
    head = f"Content-Type: {media_type}{charset}".encode() + newline
    return MimePart(head, body, newline, newline)
