# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a message about a failed pull says: of the kubelet, containerd or docker. Pure.

Errors of Go programs wrap each other: each adds its own text in front. The cause is the last one, so the match that
ends last decides. What no rule knows stays unknown (docs/facts/pull.md#messages-of-pull-events).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Optional
from urllib.parse import urlsplit

TIMEOUT = "timeout"
DNS = "dns"
UNREACHABLE = "unreachable"
INTERRUPTED = "interrupted"
PROXY = "proxy"
TLS = "tls"
CERTIFICATE = "certificate"
NO_CREDENTIALS = "no_credentials"
CREDENTIALS_EXPIRED = "credentials_expired"
UNAUTHORIZED = "unauthorized"
FORBIDDEN = "forbidden"
NOT_FOUND = "not_found"
UPSTREAM = "upstream"
RATE_LIMIT = "rate_limit"
KUBELET_RATE_LIMIT = "kubelet_rate_limit"
SERVER_ERROR = "server_error"
PLATFORM = "platform"
DISK = "disk"
DAMAGED = "damaged"
SIGNATURE = "signature"
NAME_INVALID = "name_invalid"
NEVER_PULL = "never_pull"
BACK_OFF = "back_off"
UNKNOWN = "unknown"

# (class, pattern). Each is matched in the text without quoted names and URLs.
_PATTERNS: tuple[tuple[str, str], ...] = (
    (
        DNS,
        r"lookup \S{1,255}(?: on \S{1,64})?:? .{0,160}?(?:no such host|server misbehaving|i/o timeout"
        r"|temporary failure in name resolution"
        r"|connection refused|network is unreachable|cannot unmarshal DNS message|no answer from DNS server)",
    ),
    (DNS, r"no such host|temporary failure in name resolution|server misbehaving"),
    (
        PROXY,
        r"proxyconnect tcp: .{0,300}?(?:i/o timeout|connection refused|connection timed out|no such host"
        r"|no route to host|connection reset by peer|EOF|TLS handshake timeout|$)",
    ),
    (PROXY, r"proxy authentication required"),
    (
        TIMEOUT,
        r"i/o timeout|connection timed out|context deadline exceeded|Client\.Timeout exceeded[^)]*\)?"
        r"|request canceled while waiting for connection|timeout awaiting response headers",
    ),
    (
        UNREACHABLE,
        r"connect: connection refused|connection refused|no route to host|network is unreachable"
        r"|host is down",
    ),
    (
        INTERRUPTED,
        r"connection reset by peer|broken pipe|unexpected EOF|\bEOF\b|context canceled"
        r"|http2: server sent GOAWAY[^:]*|stream error: .*INTERNAL_ERROR|net/http: request canceled$",
    ),
    (
        TLS,
        r"TLS handshake timeout|server gave HTTP response to HTTPS client|remote error: tls: [^:]*"
        r"|tls: (?:handshake failure|first record does not look like a TLS handshake|internal error)",
    ),
    (CERTIFICATE, r"x509: .*"),
    (NO_CREDENTIALS, r"no basic auth credentials"),
    (
        CREDENTIALS_EXPIRED,
        r"authorization token has expired(?:\. [^:]*)?|security token included in the request is "
        r"(?:invalid|expired)",
    ),
    (
        UNAUTHORIZED,
        r"401 Unauthorized|unauthorized: [^:]*|insufficient_scope: authorization failed|authorization failed"
        r"|pull access denied|may require (?:authorization|'docker login')"
        r"|requested access to the resource is denied|unauthorized$|incorrect username or password",
    ),
    (
        FORBIDDEN,
        r"403 Forbidden|status code \[?[^\]]*\]?: 403|HTTP 403 response body.*|not authorized to perform: .*"
        r"|denied: User: .*|no (?:identity|resource)-based policy allows.*",
    ),
    (
        UPSTREAM,
        r"authentication to the upstream registry failed.*|upstream registry .*(?:failed|unavailable).*"
        r"|unable to import from (?:the )?upstream.*",
    ),
    (
        NOT_FOUND,
        r"404 Not Found|: not found|manifest unknown(?:: [^:]*)?|name unknown(?:: [^:]*)?|repository \S+ not found"
        r"|does not exist in the registry.*|not found$|no such manifest|requested image not found",
    ),
    (
        RATE_LIMIT,
        r"429 Too Many Requests.*|toomanyrequests.*|reached your (?:unauthenticated )?pull rate limit.*"
        r"|rate exceeded|Status 429 .*",
    ),
    (KUBELET_RATE_LIMIT, r"pull QPS exceeded"),
    (
        SERVER_ERROR,
        r"(?:500 Internal Server Error|502 Bad Gateway|503 Service Unavailable|504 Gateway Time-?out)"
        r"|received unexpected HTTP status: 5\d\d.*",
    ),
    (
        PLATFORM,
        r"no match for (?:current )?platform\b.*|no matching manifest for .*"
        r"|does not match the specified platform.*",
    ),
    (DISK, r"no space left on device|disk quota exceeded|low on resource: ephemeral-storage"),
    (
        DAMAGED,
        r"failed size validation.*|unexpected commit digest.*|failed precondition|invalid tar header"
        r"|archive/tar: .*|gzip: invalid (?:header|checksum)",
    ),
    (SIGNATURE, r"signature validation failed.*|SignatureValidationFailed.*|image verification failed.*"),
    (
        NAME_INVALID,
        r"couldn't parse image (?:reference|name).*|invalid reference format.*|InvalidImageName"
        r"|repository name must be (?:lowercase|canonical)",
    ),
    (NEVER_PULL, r"is not present with pull policy of Never|ErrImageNeverPull"),
    (
        BACK_OFF,
        r"Back-off pulling image|ImagePullBackOff|ErrImagePull|RegistryUnavailable"
        r"|because the registry is unavailable",
    ),
)
_COMPILED = [(kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _PATTERNS]
_WEAK = (BACK_OFF, UNKNOWN)
_LONGEST = 4096  # characters; an event has at most 1024, and the cause is at the end

_URL = re.compile(r"https?://[^\s\"'\\]+")
_QUOTED = re.compile(r"\\*\"(?:[^\"\\]|\\.)*?\\*\"")
_DIAL = re.compile(r"dial (?:tcp|udp) (?P<address>\[[0-9a-f:.]+\]|[\d.]+):(?P<port>\d+)")
_PEER = re.compile(r"read tcp \S+?->(?P<address>\[[0-9a-f:.]+\]|[\d.]+):(?P<port>\d+)")
_LOOKUP = re.compile(r"lookup (?P<host>[\w.-]+)(?: on (?P<server>\S+?):(?P<port>\d+))?")
_BLOB_TEXT = re.compile(r"failed to copy|httpReadSeeker|httpReaderSeeker|error pulling image configuration")


@dataclass(frozen=True)
class PullMessage:
    """A classified message. C(host) and C(address): what the node contacted. C(stage): C(manifest), C(blob), C(token).

    C(mirror_of): the host of the image, where the node contacted a mirror instead.
    """

    kind: str
    text: str = ""
    host: str = ""
    address: str = ""
    stage: str = ""
    mirror_of: str = field(default="")

    @property
    def is_decisive(self) -> bool:
        return self.kind not in _WEAK


def classify_message(text: str) -> PullMessage:
    flat = " ".join(text[-_LONGEST:].split())
    urls = _URL.findall(flat.replace("\\", ""))
    url = urls[-1].rstrip(":,)") if urls else ""
    dialed = _DIAL.search(flat) or _PEER.search(flat)
    lookup = _LOOKUP.search(flat)
    host = lookup["host"] if lookup else _get_host(url)
    return PullMessage(
        _find_kind(flat),
        text,
        host,
        dialed["address"].strip("[]") if dialed and dialed["port"] != "53" else "",
        _find_stage(flat, url),
        _find_mirrored_host(url),
    )


def choose_message(texts: Iterable[str]) -> Optional[PullMessage]:
    """The first decisive message, the newest first; else one that only names the back-off; None without any."""
    classified = [classify_message(text) for text in texts if text.strip()]
    for chosen in (
        next((message for message in classified if message.is_decisive), None),
        next((message for message in classified if message.kind == UNKNOWN), None),
    ):
        if chosen is not None:
            return chosen
    return classified[0] if classified else None


def _find_kind(text: str) -> str:
    """The class whose match ends last; of those that end together, the longest."""
    bare = _hide_names(text)
    best: tuple[int, int, str] = (-1, 0, UNKNOWN)
    weak = UNKNOWN
    for kind, pattern in _COMPILED:
        for match in pattern.finditer(bare):
            if kind == BACK_OFF:
                weak = BACK_OFF
            elif (match.end(), match.end() - match.start()) > best[:2]:
                best = (match.end(), match.end() - match.start(), kind)
    if best[2] == UNKNOWN:
        return weak if _is_only_back_off(bare) else UNKNOWN
    return best[2]


def _is_only_back_off(bare: str) -> bool:
    """Whether nothing follows the kubelet's own text that could be a cause."""
    rest = re.sub(
        r"Error: |Back-off pulling image|ImagePullBackOff|ErrImagePull|RegistryUnavailable|Failed to pull image"
        r"|image pull failed for .*? because the registry is unavailable\.?|[\s:\"\\.]",
        "",
        bare,
        flags=re.IGNORECASE,
    )
    return not rest


def _hide_names(text: str) -> str:
    """The text without the names and URLs in it, whose words are no cause. Every position stays as it is."""
    for pattern in (_QUOTED, _URL):
        text = pattern.sub(lambda match: _hide_name(match[0]), text)
    return text


def _hide_name(found: str) -> str:
    """A quoted sentence is an inner error, and stays; a quoted name or URL has no blanks."""
    return found if " " in found.strip('\\" ') else " " * len(found)


def _get_host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _find_mirrored_host(url: str) -> str:
    """containerd names the image's own host in C(ns) where it contacts a mirror."""
    match = re.search(r"[?&]ns=([\w.:-]+)", url)
    return match[1] if match else ""


def _find_stage(text: str, url: str) -> str:
    path = url.partition("://")[2]
    if "/manifests/" in path:
        return "manifest"
    if "/blobs/" in path or "starport-layer-bucket" in path or "/docker/registry/v2/" in path:
        return "blob"
    if re.search(r"/token\b|/auth\b", path):
        return "token"
    return "blob" if _BLOB_TEXT.search(text) else ""


def is_private_address(address: str) -> bool:
    try:
        return ip_address(address).is_private
    except ValueError:
        return False
