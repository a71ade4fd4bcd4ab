# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""References and platforms, as docker reads and writes them."""

from __future__ import annotations

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.reference import (
    ImagePlatform,
    ImageReference,
    is_digest,
)

HEX = "0123456789abcdef" * 4
D = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "host", "path", "tag", "digest", "familiar"),
    [
        ("app", "docker.io", "library/app", "latest", None, "app:latest"),
        ("app:v1", "docker.io", "library/app", "v1", None, "app:v1"),
        ("team/app:v1", "docker.io", "team/app", "v1", None, "team/app:v1"),
        ("docker.io/app:v1", "docker.io", "library/app", "v1", None, "app:v1"),
        (
            "index.docker.io/app",
            "docker.io",
            "library/app",
            "latest",
            None,
            "app:latest",
        ),
        (
            "docker.io/library/app",
            "docker.io",
            "library/app",
            "latest",
            None,
            "app:latest",
        ),
        (
            "library/a/b:1",
            "docker.io",
            "library/a/b",
            "1",
            None,
            "library/a/b:1",
        ),
        ("r.test/app", "r.test", "app", "latest", None, "r.test/app:latest"),
        ("r.test:5000/a/b:1.0", "r.test:5000", "a/b", "1.0", None, "r.test:5000/a/b:1.0"),
        ("localhost/app", "localhost", "app", "latest", None, "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000", "app", "latest", None, "localhost:5000/app:latest"),
        ("HOST/app", "HOST", "app", "latest", None, "HOST/app:latest"),
        ("10.0.0.1:80/app", "10.0.0.1:80", "app", "latest", None, "10.0.0.1:80/app:latest"),
        ("[fd00::1]:5000/app:x", "[fd00::1]:5000", "app", "x", None, "[fd00::1]:5000/app:x"),
        (f"app@{D}", "docker.io", "library/app", None, D, f"app@{D}"),
        (f"r.test/a/b:v1@{D}", "r.test", "a/b", "v1", D, f"r.test/a/b:v1@{D}"),
        ("a__b/c--d:_x", "docker.io", "a__b/c--d", "_x", None, "a__b/c--d:_x"),
    ],
)
def test_parse(text: str, host: str, path: str, tag: str | None, digest: str | None, familiar: str) -> None:
    reference = ImageReference.parse(text)
    assert reference == ImageReference(host, path, tag, digest)
    assert str(reference) == reference.familiar_string == familiar
    assert ImageReference.parse(reference.familiar_string) == reference


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("https://r.test/app", "it is a URL"),
        ("App", "'App' is no part of a path"),
        ("r.test/Team/app", "'Team' is no part of a path"),
        ("a//b", "'' is no part of a path"),
        ("/a", "'' is no part of a path"),
        ("a/", "'' is no part of a path"),
        ("a/../b", "'..' is no part of a path"),
        ("a___b", "'a___b' is no part of a path"),
        ("-a", "'-a' is no part of a path"),
        ("app:", "'' is no tag"),
        ("app:.x", "'.x' is no tag"),
        ("app:" + "x" * 129, "is no tag"),
        ("app:v1\n", "is no tag"),
        ("app\n", "is no part of a path"),
        ("app: v1", "is no tag"),
        (":v1", "it has no name"),
        ("app@sha256:abc", "'sha256:abc' is no digest"),
        ("app@", "'' is no digest"),
        (f"app@sha512:{HEX}{HEX}", "is no digest"),
        (f"app@{D.upper()}", "is no digest"),
        (f"app@{D}\n", "is no digest"),
        (f"app@{D}@{D}", "is no digest"),
        (HEX, "it is an image id"),
        ("r_x.test/app", "'r_x.test' is no host"),
        ("r.test:port/app", "'r.test:port' is no host"),
        ("r.test:5000000/app", "is no host"),
        ("a" * 600, "it has 600 characters"),
        ("r.test/" + "a" * 250, "have more than 255 characters"),
        ("\u00e4pp", "is no part of a path"),
        ("app:\u0661", "is no tag"),
    ],
)
def test_malformed_names_value_rule_and_suggestion(text: str, problem: str) -> None:
    with pytest.raises(ImageError) as caught:
        ImageReference.parse(text)
    message = str(caught.value)
    assert repr(text[:20])[:-1] in message
    assert problem in message
    assert len(message) < 900


def test_a_long_value_that_almost_matches_is_refused_at_once() -> None:
    with pytest.raises(ImageError):
        ImageReference.parse("a" + "-a" * 120 + "_-")


def test_tagged_is_what_an_engine_can_give() -> None:
    assert ImageReference.parse("r.test/app:v1").tagged_name == "r.test/app:v1"
    assert ImageReference.parse(f"app:v1@{D}").tagged_name == "app:v1"
    assert ImageReference.parse(f"app@{D}").tagged_name is None


@pytest.mark.parametrize("value", [D + "\n", D[:-1], "sha256:" + "A" * 64, None, 7, "sha256:" + "\u0661" * 64])
def test_no_digest(value: object) -> None:
    assert not is_digest(value)


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", ImagePlatform("linux", "amd64")),
        ("Linux/x86_64", ImagePlatform("linux", "amd64")),
        ("linux/aarch64", ImagePlatform("linux", "arm64")),
        ("linux/arm64/v8", ImagePlatform("linux", "arm64", "v8")),
        ("linux/arm64/8", ImagePlatform("linux", "arm64", "v8")),
        ("linux/armhf", ImagePlatform("linux", "arm", "v7")),
        ("linux/armv6l", ImagePlatform("linux", "arm", "v6")),
        ("linux/i686", ImagePlatform("linux", "386")),
        ("windows/amd64", ImagePlatform("windows", "amd64")),
    ],
)
def test_platform_parse(text: str, platform: ImagePlatform) -> None:
    assert ImagePlatform.parse(text) == platform


@pytest.mark.parametrize(
    "text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd64/", "linux/amd 64", "linux/a\n"]
)
def test_platform_malformed(text: str) -> None:
    with pytest.raises(ImageError, match="Write it as os/architecture"):
        ImagePlatform.parse(text)


@pytest.mark.parametrize(
    ("first", "second", "matches", "contradicts"),
    [
        ("linux/arm64", "linux/arm64/v8", True, False),
        ("linux/arm", "linux/arm/v7", True, False),
        ("linux/arm", "linux/arm/v6", False, False),
        ("linux/arm/v7", "linux/arm/v6", False, True),
        ("linux/amd64", "linux/amd64/v1", True, False),
        ("linux/amd64", "linux/amd64/v3", False, False),
        ("linux/amd64", "linux/arm64", False, True),
        ("linux/amd64", "windows/amd64", False, True),
        ("linux/ppc64le", "linux/ppc64le", True, False),
    ],
)
def test_platform_compared(first: str, second: str, matches: bool, contradicts: bool) -> None:
    for left, right in ((first, second), (second, first)):
        assert ImagePlatform.parse(left).matches(ImagePlatform.parse(right)) is matches
        assert ImagePlatform.parse(left).contradicts(ImagePlatform.parse(right)) is contradicts


def test_platform_shown() -> None:
    assert str(ImagePlatform.parse("linux/arm/v7")) == "linux/arm/v7"
    assert str(ImagePlatform.parse("linux/x86_64")) == "linux/amd64"
    assert ImagePlatform.detect_host().os == "linux"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("app", "docker.io/library/app:latest"),
        ("user/app:v1", "docker.io/user/app:v1"),
        ("localhost/app:v1", "localhost/app:v1"),
        ("registry.example:5000/a/b:v1", "registry.example:5000/a/b:v1"),
        (f"app@sha256:{'0' * 64}", f"docker.io/library/app@sha256:{'0' * 64}"),
        (f"app:v1@sha256:{'0' * 64}", f"docker.io/library/app@sha256:{'0' * 64}"),
    ],
)
def test_the_canonical_form_is_that_of_the_cri(text: str, canonical: str) -> None:
    assert ImageReference.parse(text).canonical_string == canonical
    assert ImageReference.parse(canonical).canonical_string == canonical
