# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unwrap a message: the quoting of logs, JSON, XML, Python, terminals; and the documents that a text contains.

Tolerant: pasted text has any shape, and what cannot be parsed stays text. Nothing here decides what a message means.
"""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Optional

_MAX_ATTEMPTS = 300  # at finding a JSON document: each brace of a text may begin one
_MAX_LITERAL = 300_000  # characters of Python's notation
_MAX_DEPTH = 12

_ANSI = re.compile(r"(?:\x1b|\\{1,16}(?:x1b|u001b|033|e))\[[0-9;?]*[A-Za-z]", re.IGNORECASE)
_UNICODE_ESCAPE = re.compile(r"\\{1,16}u([0-9a-fA-F]{4})")
# Bounded, so that a run of backslashes takes linear time.
_ESCAPED_BLANK = re.compile(r"\\{1,16}[nrt]")
_ESCAPED_QUOTE = re.compile(r"\\{1,16}([\"'`/])")
_ENTITY = re.compile(r"&(?:quot|apos|lt|gt|amp|#\d{1,6}|#x[0-9a-fA-F]{1,5});")
_BOX = re.compile(r"^[ \t]*[│╷╵┃║╎|>]+", re.MULTILINE)  # Terraform's frames, and quotes of mails
_OPENING_TAG = re.compile(r"<([A-Za-z][\w:.-]{0,60})(?:\s[^<>]{0,300})?/?>")
_CLOSING_TAG = re.compile(r"</[A-Za-z][\w:.-]{0,60}>")
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u200b": "", "\ufeff": ""})


def _decode_unicode_escape(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return match[0] if 0xD800 <= code <= 0xDFFF else chr(code)


def flatten_text(text: str) -> str:
    """Join the text to one line with single blanks, and undo the quoting of logs, JSON, XML and terminals."""
    text = _BOX.sub(" ", _ANSI.sub("", text))
    text = _UNICODE_ESCAPE.sub(_decode_unicode_escape, text)
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = _ESCAPED_QUOTE.sub(r"\1", _ESCAPED_BLANK.sub(" ", text)).translate(_QUOTES)
    closed = {name.lower() for name in re.findall(r"</([A-Za-z][\w:.-]{0,60})>", text)}
    # A placeholder such as <ACCOUNT> within an ARN is no tag: a tag is closed somewhere.
    text = _OPENING_TAG.sub(lambda match: " " if match[1].lower() in closed else match[0], text)
    return " ".join(_CLOSING_TAG.sub(" ", text).split())


def list_strings(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth < _MAX_DEPTH and isinstance(value, (Mapping, list, tuple)):
        for entry in value.values() if isinstance(value, Mapping) else value:
            yield from list_strings(entry, depth + 1)


def _is_document(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value)
    )


def _find_json(text: str) -> Iterator[Any]:
    decoder, position = json.JSONDecoder(), 0
    for _attempt in range(_MAX_ATTEMPTS):
        match = re.compile(r"[{\[]").search(text, position)
        if match is None:
            return
        try:
            value, position = decoder.raw_decode(text, match.start())
        except ValueError:
            position = match.end()
            continue
        except RecursionError:
            return
        if _is_document(value):
            yield value


def _parse_literal(text: str) -> Optional[Any]:
    """Parse Python's notation of an object, as tracebacks and Ansible show it."""
    start, end = re.search(r"[{\[]", text), max(text.rfind("}"), text.rfind("]")) + 1
    if start is None or end <= start.start() or end - start.start() > _MAX_LITERAL:
        return None
    try:
        value = ast.literal_eval(text[start.start() : end])
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return value if _is_document(value) else None


def find_documents(text: str) -> list[Any]:
    """Find the objects in a text: JSON, several JSON lines, JSON in a string, or Python's notation."""
    found = list(_find_json(text))
    unescaped = text
    while not found and '\\"' in unescaped:
        unescaped = unescaped.replace('\\\\"', '\\"') if '\\\\"' in unescaped else unescaped.replace('\\"', '"')
        found = list(_find_json(unescaped))
    if not found:
        literal = _parse_literal(text)
        found = [] if literal is None else [literal]
    return found


def to_mapping(value: Any) -> Mapping[str, Any]:
    """Return the fields of an object, and an empty mapping for other values: pasted text may have any shape. Tables of
    events contain objects as JSON text.
    """
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, Mapping) else {}


def to_mappings(value: Any) -> list[Mapping[str, Any]]:
    return [to_mapping(entry) for entry in value] if isinstance(value, list) else []


def _iterate_objects(value: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Iterate over the objects within an object, outermost first, also those that a string contains as JSON."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, str):
        stripped = value.strip()
        if stripped[:1] in ("{", "[") and stripped[-1:] in ("}", "]"):
            for document in find_documents(stripped):
                yield from _iterate_objects(document, depth + 1)
    elif isinstance(value, Mapping):
        yield value
        for entry in value.values():
            yield from _iterate_objects(entry, depth + 1)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _iterate_objects(entry, depth + 1)


_EVENT_FIELDS = (
    "eventName",
    "errorCode",
    "errorMessage",
    "eventSource",
    "userIdentity",
    "requestParameters",
    "userAgent",
)


def find_events(document: Any) -> Iterator[Mapping[str, Any]]:
    """Find the CloudTrail events of failed calls: bare, or wrapped by LookupEvents, EventBridge, a log or a table."""
    names = {name.lower(): name for name in (*_EVENT_FIELDS, "resources")}
    for candidate in _iterate_objects(document):
        # Tables of Athena have the names of the fields in lower case.
        event = {names.get(str(key).lower(), str(key)): value for key, value in candidate.items()}
        if isinstance(event.get("eventName"), str) and (event.get("errorCode") or event.get("errorMessage")):
            yield event


def find_authorization_message(document: Any) -> Optional[Mapping[str, Any]]:
    """Find a decoded authorization message, also as STS returns it and as the AWS CLI prints it."""
    for candidate in _iterate_objects(document):
        if "allowed" in candidate and "context" in candidate:
            return candidate
    return None
