# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parses image references and platforms as docker does."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass

from ..errors import ImageError

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")
_MAX_NAME_LENGTH = 255
_MAX_REFERENCE_LENGTH = _MAX_NAME_LENGTH + 1 + 128 + len("@sha256:") + 64


def is_digest(value: object) -> bool:
    """Whether this is a sha256 digest in its canonical form. Other algorithms are not supported."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


@dataclass(frozen=True)
class ImageReference:
    """C([host[:port]/]path[:tag][@sha256:hex]), normalized as docker does.

    C(tag) is None only beside a digest. A reference without either has the tag C(latest).
    """

    host: str
    path: str
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Raises ImageError that names the value, the rule and a suggestion."""
        if not isinstance(text, str) or not text:
            raise _make_malformed_error(text, "it is empty", "Write it as [host[:port]/]path[:tag][@sha256:digest]")
        if len(text) > _MAX_REFERENCE_LENGTH:
            raise _make_malformed_error(
                text[:40] + "...",
                f"it has {len(text)} characters, more than the limit of {_MAX_REFERENCE_LENGTH}",
                "Shorten it",
            )
        if "://" in text:
            raise _make_malformed_error(text, "it is a URL", f"Leave out {text.partition('://')[0]}://")
        name, at, digest = text.partition("@")
        if at and not is_digest(digest):
            raise _make_malformed_error(
                text, f"{digest!r} is no digest", "A digest is sha256: and 64 lower-case hexadecimal characters"
            )
        # A colon before the last slash belongs to the host's port.
        name, colon, tag = _split_tag(name)
        if colon and not _TAG.fullmatch(tag):
            raise _make_malformed_error(
                text,
                f"{tag!r} is no tag",
                "A tag has 1 to 128 letters, digits, '_', '.' and '-', and does not begin with '.' or '-'",
            )
        if not name:
            raise _make_malformed_error(text, "it has no name", "Write it as [host[:port]/]path[:tag][@sha256:digest]")
        if _IMAGE_ID.fullmatch(name):
            raise _make_malformed_error(
                text, "it is an image id, which other hosts do not know", "Give the image a tag and use that"
            )
        host, path = _split_host(name)
        if not _HOST.fullmatch(host):
            raise _make_malformed_error(
                text, f"{host!r} is no host", "A host is a name or an address, with an optional :port"
            )
        for component in path.split("/"):
            if not _COMPONENT.fullmatch(component):
                raise _make_malformed_error(
                    text,
                    f"{component!r} is no part of a path",
                    "Each part between slashes has lower-case letters and digits, joined by '.', '_', '__' or '-'",
                )
        if len(host) + 1 + len(path) > _MAX_NAME_LENGTH:
            raise _make_malformed_error(
                text, f"host and path have more than {_MAX_NAME_LENGTH} characters", "Shorten the path"
            )
        return cls(host, path, tag if colon else (None if at else DEFAULT_TAG), digest or None)

    @property
    def name(self) -> str:
        """Host and path: C(docker.io/library/busybox)."""
        return f"{self.host}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """Host and path as docker lists them: C(busybox)."""
        if self.host != DOCKER_HUB:
            return self.name
        return self.path[len("library/") :] if _is_official(self.path) else self.path

    @property
    def familiar_string(self) -> str:
        """The reference as docker lists it: C(busybox:latest)."""
        return self.familiar_name + self._format_suffix()

    @property
    def canonical_string(self) -> str:
        """The reference as containerd's CRI names an image: C(docker.io/library/busybox:latest), or name and digest."""
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    @property
    def tagged_name(self) -> str | None:
        """The familiar name and tag, which an engine can give an image; None if the reference has a digest only."""
        return f"{self.familiar_name}:{self.tag}" if self.tag else None

    def __str__(self) -> str:
        return self.familiar_string

    def _format_suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _make_malformed_error(text: object, problem: str, suggestion: str) -> ImageError:
    return ImageError(f"The image reference {text!r} is malformed: {problem}. {suggestion}.")


def _split_tag(name: str) -> tuple[str, str, str]:
    head, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    return head + slash + last, colon, tag


def _split_host(name: str) -> tuple[str, str]:
    """Splits off the host. As in docker, the text before the first slash is a host only if it has the form of one."""
    first, slash, rest = name.partition("/")
    if not slash or not (re.search(r"[.:\[]", first) or first == "localhost" or first != first.lower()):
        first, rest = DOCKER_HUB, name
    if first == "index.docker.io":
        first = DOCKER_HUB
    if first == DOCKER_HUB and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def _is_official(path: str) -> bool:
    return path.startswith("library/") and path.count("/") == 1


_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386"}
_ARM_MACHINES = {"armhf": "v7", "armv7l": "v7", "armel": "v6", "armv6l": "v6", "armv8l": "v7"}
# The default variant of an architecture.
_DEFAULT_VARIANTS = {"arm": "v7", "arm64": "v8", "amd64": "v1"}
DEFAULT_OS = "linux"
# The architecture of an image whose config has none. It contradicts no other.
UNKNOWN = "unknown"
_PLATFORM_PART = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class ImagePlatform:
    """C(os/architecture[/variant]). Compare with C(matches): C(linux/arm64) and C(linux/arm64/v8) are the same."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> ImagePlatform:
        """Raises ImageError that names the value and the rule."""
        parts = text.split("/") if isinstance(text, str) else []
        if len(parts) not in (2, 3) or not all(_PLATFORM_PART.fullmatch(part) for part in parts):
            raise ImageError(
                f"The platform {text!r} is malformed. Write it as os/architecture or os/architecture/variant, "
                "such as linux/amd64 or linux/arm/v7."
            )
        return cls.from_parts(*parts)

    @classmethod
    def parse_or_none(cls, text: str) -> ImagePlatform | None:
        """Parses the platform of an engine or a config; None if it is no platform."""
        try:
            return cls.parse(text)
        except ImageError:
            return None

    @classmethod
    def from_parts(cls, os: str, architecture: str, variant: str = "") -> ImagePlatform:
        """Makes a platform with the usual name of its architecture: C(x86_64) is C(amd64), C(aarch64) is C(arm64)."""
        os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
        if architecture in _ARM_MACHINES:
            return cls(os, "arm", variant or _ARM_MACHINES[architecture])
        if variant.isdigit():
            variant = f"v{variant}"
        return cls(os, _ARCHITECTURES.get(architecture, architecture), variant)

    @classmethod
    def from_config(cls, os: str, architecture: str, variant: str = "") -> ImagePlatform:
        """Makes the platform of an image's config. As in docker, an image without os is for linux."""
        system = os or DEFAULT_OS
        text = "/".join(part for part in (system, architecture or UNKNOWN, variant) if part)
        return cls.parse_or_none(text) or cls.parse_or_none(f"{system}/{UNKNOWN}") or cls(UNKNOWN, UNKNOWN)

    @classmethod
    def detect_host(cls) -> ImagePlatform:
        """Detects the platform that an engine on this host runs."""
        return cls.from_parts("linux", platform.machine())

    def matches(self, other: ImagePlatform) -> bool:
        """Whether both are the same platform. A missing variant is the default of the architecture."""
        return self._get_comparison_key() == other._get_comparison_key()

    def contradicts(self, other: ImagePlatform) -> bool:
        """Whether they cannot be the same platform. Many configs have no variant, which contradicts no other one."""
        if UNKNOWN in (self.architecture, other.architecture):
            return self.os != other.os
        if not self.variant or not other.variant:
            return (self.os, self.architecture) != (other.os, other.architecture)
        return not self.matches(other)

    def _get_comparison_key(self) -> tuple[str, str, str]:
        return self.os, self.architecture, self.variant or _DEFAULT_VARIANTS.get(self.architecture, "")

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
