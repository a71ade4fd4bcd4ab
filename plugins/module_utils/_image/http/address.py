# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The address of a request, and the proxy through which it goes."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from ..errors import ImageError
from .errors import HttpError

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class HttpAddress:
    """The parts of a URL; C(target) is path and query."""

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.target}"

    @classmethod
    def parse(cls, method: str, url: str) -> HttpAddress:
        problem = ""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise HttpError(method, url, "it is no URL") from None
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            problem = "the URL must begin with http:// or https:// and a host"
        elif parts.username is not None:
            problem = "the URL must contain no user name and no password; set them as options"
        elif not re.fullmatch(r"[!-~]+", url):
            problem = "the URL must contain no blanks, control characters or letters outside ASCII; encode them with %"
        if problem or parts.hostname is None:
            raise HttpError(method, url, problem)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme], target)


@dataclass(frozen=True)
class HttpProxy:
    """A proxy, and the header that logs in to it."""

    host: str
    port: int
    authorization: str = field(repr=False)


class ProxySettings:
    """The proxy variables, read as curl reads them: the lower-case name takes precedence."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        def get_value(name: str) -> str:
            return environ.get(name) or environ.get(name.upper()) or ""

        self._urls = {scheme: get_value(f"{scheme}_proxy") for scheme in DEFAULT_PORTS}
        self._no_proxy = [entry.strip().lower() for entry in get_value("no_proxy").split(",") if entry.strip()]

    def find_proxy(self, address: HttpAddress) -> HttpProxy | None:
        url = self._urls[address.scheme]
        if not url or any(self._matches(entry, address) for entry in self._no_proxy):
            return None
        name = f"{address.scheme}_proxy"
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port or 80
        except ValueError:
            host, port = None, 0
        if not host or parts.scheme != "http":
            raise ImageError(
                f"The variable {name} of this host names no http:// proxy. Set it to http://[user:password@]host:port."
            )
        authorization = ""
        if parts.username is not None:
            authorization = format_basic_auth(unquote(parts.username), unquote(parts.password or ""))
        return HttpProxy(host, port, authorization)

    @staticmethod
    def _matches(entry: str, address: HttpAddress) -> bool:
        if entry == "*":
            return True
        is_ip = False
        with suppress(ValueError):
            ip = ipaddress.ip_address(address.host)
            is_ip = True
            return ip in ipaddress.ip_network(entry, strict=False)
        name, port = entry.split(":") if entry.count(":") == 1 else (entry, "")
        if port and port != str(address.port):
            return False
        name = name.lstrip(".")
        return address.host == name or (not is_ip and address.host.endswith(f".{name}"))


def format_basic_auth(username: str, password: str) -> str:
    """Formats the Authorization header of a user name and a password."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
