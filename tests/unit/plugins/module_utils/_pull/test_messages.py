# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of failed pulls. C(messages.json) has real ones with their source. Accounts are replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._pull import messages
from ansible_collections.daytwo.aws.plugins.module_utils._pull.messages import choose_message, classify_message

CORPUS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "messages.json").read_text())


@pytest.mark.parametrize("entry", CORPUS, ids=lambda entry: f"{entry['kind']} {entry['source']}")
def test_a_real_message_has_its_class(entry: dict[str, Any]) -> None:
    message = classify_message(entry["text"])
    assert message.kind == entry["kind"]
    for name in ("stage", "host", "address", "mirror_of"):
        if name in entry:
            assert getattr(message, name) == entry[name]


def test_the_corpus_is_large_and_names_its_sources() -> None:
    assert len(CORPUS) >= 70
    assert all(entry["source"].startswith("github.com/") and entry["program"] for entry in CORPUS)
    programs = " ".join(entry["program"] for entry in CORPUS)
    assert all(name in programs for name in ("containerd 1.6", "containerd 1.7", "containerd 2.x", "docker", "kubelet"))
    assert len({entry["kind"] for entry in CORPUS}) > 20


STATUS = "unexpected status from HEAD request to https://registry.example/v2/app/manifests/1: "
HEAD = 'failed to do request: Head "https://registry.example/v2/app/manifests/1": '


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        # A newer kubelet repeats the cause behind the back-off.
        (
            f'Back-off pulling image "registry.example/app:1": ErrImagePull: {HEAD}dial tcp 10.0.1.7:443: i/o timeout',
            "timeout",
        ),
        (f"{HEAD}dial tcp: lookup registry.example: no such host", "dns"),
        (
            f"{HEAD}dial tcp: lookup registry.example on 10.0.0.2:53: connection refused",
            "dns",
        ),
        (f"{HEAD}proxyconnect tcp: dial tcp 10.0.9.9:3128: i/o timeout", "proxy"),
        (f"{HEAD}proxyconnect tcp: dial tcp: lookup proxy.example: no such host", "proxy"),
        (f"{HEAD}Proxy Authentication Required", "proxy"),
        (f"{HEAD}dial tcp 10.0.1.7:443: connect: connection timed out", "timeout"),
        (f"{HEAD}remote error: tls: handshake failure", "tls"),
        (
            f"{HEAD}x509: certificate is valid for *.dkr.ecr.eu-west-1.amazonaws.com, not registry.example",
            "certificate",
        ),
        (f"{STATUS}401 Unauthorized", "unauthorized"),
        (f"{STATUS}502 Bad Gateway", "server_error"),
        # The image's own name is no cause.
        ('Back-off pulling image "registry.example/no-such-host/x509:timeout"', "back_off"),
        ('Failed to pull image "registry.example/i/o:toomanyrequests": blocked by a plugin', "unknown"),
        ("SignatureValidationFailed: image pull failed for app because the signature validation failed", "signature"),
        # Words around a cause do not outrank it.
        (
            "pull access denied, repository does not exist or may require authorization: failed to authorize: dial tcp "
            "10.0.1.7:443: i/o timeout",
            "timeout",
        ),
        ("failed to resolve reference: 429 Too Many Requests: back-off: connection reset by peer", "rate_limit"),
        ("", "unknown"),
        ("   \n ", "unknown"),
        ("Ein Fehler", "unknown"),
    ],
)
def test_the_innermost_cause_decides(text: str, kind: str) -> None:
    assert classify_message(text).kind == kind


def test_of_several_messages_the_newest_decisive_message_is_chosen() -> None:
    back_off, cause = 'Back-off pulling image "a"', f"{HEAD}dial tcp 10.0.1.7:443: i/o timeout"
    chosen = choose_message([back_off, cause, f"{HEAD}no such host"])
    assert chosen is not None
    assert (chosen.kind, chosen.host, chosen.address) == ("timeout", "registry.example", "10.0.1.7")
    assert getattr(choose_message([back_off, "Error: ImagePullBackOff"]), "kind", None) == messages.BACK_OFF
    assert getattr(choose_message([back_off, "blocked by a plugin"]), "kind", None) == messages.UNKNOWN
    assert choose_message(["", " "]) is None


def test_a_huge_message_is_classified_in_no_time() -> None:
    assert classify_message("lookup " * 20_000 + "x" * 100_000).kind == messages.UNKNOWN
