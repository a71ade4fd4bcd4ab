# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse user data as strictly as Go's net/mail and mime/multipart, which nodeadm uses.

docs/facts/sysctl_nodegroup.md#al2023-and-nodeadm
"""

from __future__ import annotations

import base64
import binascii
import gzip
import quopri
import re
from dataclasses import dataclass
from email.message import Message

from .model import BootError

HEADER = re.compile(rb"[!#-'*+\-.0-9A-Z^-z|~]+:")  # a field name, by RFC 7230
BASE64 = re.compile(rb"[A-Za-z0-9+/\r\n]+={0,2}[\r\n]*")


@dataclass(frozen=True)
class Part:
    media_type: str
    body: bytes


class NotMultipart(Exception):  # noqa: N818 - no error: then the user data is a single document
    """The user data is no MIME multipart document."""


def parts(data: bytes) -> list[Part]:
    """The parts of a multipart document. Raises NotMultipart for other data, and BootError for a broken document."""
    headers, body = _headers(data, NotMultipart)
    media_type, parameters = content_type(headers.get("content-type", ""), NotMultipart)
    if not media_type.startswith("multipart/"):
        raise NotMultipart
    return _split(body, parameters.get("boundary", "").encode())


def _headers(data: bytes, error: type[Exception]) -> tuple[dict[str, str], bytes]:
    """The headers up to the first empty line. A line that is neither a field nor a continuation is an error."""
    found: dict[str, str] = {}
    last = ""
    while True:
        line, newline, rest = data.partition(b"\n")
        line = line.rstrip(b"\r")
        if not line:
            return found, rest
        if line[:1] in b" \t" and last:
            found[last] += " " + line.strip().decode(errors="replace")
        elif HEADER.match(line):
            name, _colon, value = line.decode(errors="replace").partition(":")
            last = name.lower()
            found.setdefault(last, value.strip())
        else:
            raise error(f"malformed MIME header line: {line.decode(errors='replace')}")
        if not newline:
            raise error("unexpected EOF in a MIME header")
        data = rest


def content_type(value: str, error: type[Exception]) -> tuple[str, dict[str, str]]:
    if not value:
        raise error("mime: no media type")
    message = Message()
    message["Content-Type"] = value
    raw = value.partition(";")[0].strip().lower()
    if not re.fullmatch(r"[^\s/]+(/[^\s/]+)?", raw):
        raise error(f"mime: malformed media type: {value}")
    named = message.get_params(header="content-type", unquote=True) or []
    return raw, {key.lower(): str(text) for key, text in named[1:]}


def _split(body: bytes, boundary: bytes) -> list[Part]:
    mark = b"--" + boundary
    found: list[Part] = []
    lines = body.split(b"\n")
    at = next((n for n, line in enumerate(lines) if line.rstrip() in (mark, mark + b"--")), None)
    if at is None:
        raise BootError("multipart: NextPart: EOF")
    while lines[at].rstrip() != mark + b"--":
        end = next((n for n in range(at + 1, len(lines)) if lines[n].rstrip() in (mark, mark + b"--")), None)
        if end is None:
            raise BootError("unexpected EOF: the last part has no closing boundary")
        headers, text = _headers(b"\n".join(lines[at + 1 : end]) + b"\n", BootError)
        text = text[:-1].removesuffix(b"\r") if text.endswith(b"\n") else text
        encoding = headers.get("content-transfer-encoding", "").lower()
        if encoding == "quoted-printable":
            text = quopri.decodestring(text)
        media_type = content_type(headers["content-type"], BootError)[0] if headers.get("content-type") else ""
        found.append(Part(media_type, text))
        at = end
    return found


def plain(data: bytes) -> bytes:
    """The data without base64 and gzip, which need no header."""
    if BASE64.fullmatch(data):
        try:
            data = base64.b64decode(data.replace(b"\r", b"").replace(b"\n", b""), validate=True)
        except binascii.Error:
            return data
    if data[:2] == b"\x1f\x8b":
        try:
            return gzip.decompress(data)
        except (OSError, EOFError) as error:
            raise BootError(f"failed to decompress user data: {error}") from None
    return data
