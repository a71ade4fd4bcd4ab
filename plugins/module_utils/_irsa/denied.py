# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse AccessDenied messages and decide which side denied (refused) a request: trust, identity or permission.

Pure: it reads the text and nothing else. Reading is tolerant (C(denial.reader)), the classification strict
(C(denial.sentences), C(denial.errors), C(denial.documents)).
"""

from __future__ import annotations

import re
from dataclasses import replace

from .denial.documents import SUBJECT_PATTERN, parse_decoded_message, parse_event, parse_partial_message
from .denial.model import IDENTITY, PERMISSION, SIDES, TRUST, UNKNOWN, AccessDenial, Caller
from .denial.reader import find_authorization_message, find_documents, find_events, flatten_text, list_strings
from .denial.sentences import read_denial

__all__ = [
    "IDENTITY",
    "PERMISSION",
    "SIDES",
    "TRUST",
    "UNKNOWN",
    "AccessDenial",
    "Caller",
    "parse_decoded_message",
    "parse_message",
]


def parse_message(message: str) -> AccessDenial:
    """Decide which side denied (which side refused) the request: the entry point for every message.

    A message is a log line, a controller's JSON log, a CloudTrail event, an error of a command, or a decoded
    authorization message.
    """
    documents = find_documents(message)
    for document in documents:
        events = [parse_event(event) for event in find_events(document)]
        if events:
            return next((event for event in events if event.kind != "no_denial"), events[0])
        decoded = find_authorization_message(document)
        if decoded is not None:
            return parse_decoded_message(decoded)
    text = flatten_text(message)
    denial = parse_partial_message(text) or read_denial(text)
    if denial.kind in ("no_denial", "bare_error_code"):
        for document in documents:
            inner = read_denial(flatten_text(" \n".join(list_strings(document))))
            if inner.kind not in ("no_denial", denial.kind):
                denial = inner
                break
    return _add_subject(denial, message)


def _add_subject(denial: AccessDenial, text: str) -> AccessDenial:
    found = set(re.findall(SUBJECT_PATTERN, text))
    if denial.side == UNKNOWN or denial.subject or len(found) != 1:
        return denial
    namespace, name = found.pop()
    return replace(denial, subject=(namespace, name))
