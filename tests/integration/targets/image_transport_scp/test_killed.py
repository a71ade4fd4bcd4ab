# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller is killed while a target is open and the source pushes: nothing stays open, nothing stays at all."""

from __future__ import annotations

import time

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths.push import AUTHORIZATION_TIMEOUT_SECONDS
from integration.targets.image_offline_transfer.kit import PRIVATE, Case
from integration.targets.image_transport_scp.ground import V1, Ground


def converges(case: Case, ground: Ground) -> None:
    ground.transfer(V1).succeed()
    for host in PRIVATE:
        case.proves(host, V1, case.image("it-app:v1"))
    assert ground.read_keys() == ground.keys


@pytest.mark.full
def test_in_mid_push(case: Case, ground: Ground) -> None:
    """Slow enough that there is a middle. What has been authorized ends by itself, and with the next run."""
    run = ground.start(V1, bandwidth_limit=4_000_000)
    try:
        run.until("the blobs come", lambda: any(ground.folder("private-a").glob("loaded-*/blobs/*")))
    finally:
        run.kill()
    for host in PRIVATE:
        (line,) = ground.lines(host)
        assert int(line.split()[-1]) - time.time() < 2000
    pushing = set(ground.processes("public"))
    assert pushing
    converges(case, ground)
    assert [ground.lines(host) for host in PRIVATE] == [[], []]
    # No controller reads the outcome of the source's process: it exits after its timeout.
    end = time.monotonic() + AUTHORIZATION_TIMEOUT_SECONDS + 30
    while pushing & set(ground.processes("public")):
        assert time.monotonic() < end
        time.sleep(1)
    assert ground.stray() == []


@pytest.mark.full
def test_between_the_offer_and_the_push(case: Case, ground: Ground) -> None:
    """Nobody comes back to the source: it goes by itself, and takes along what docker has written meanwhile."""
    case.bed.images.into_docker(case.bed.host("public"), case.image("it-app:v1"), V1)
    case.mark()
    run = ground.start(V1, source="docker")
    began = time.monotonic()
    try:
        run.until("the source has a key", lambda: any(ground.folder("public").glob("push-*/key.public")))
    finally:
        run.kill()
    end = began + AUTHORIZATION_TIMEOUT_SECONDS + 20
    while not any(ground.folder("public").glob("saved-*/blobs/*")):
        assert time.monotonic() < end, "docker has written nothing"
        time.sleep(0.1)
    while ground.folder("public").exists() or ground.processes("public"):
        assert time.monotonic() < end, list(ground.folder("public").iterdir())
        time.sleep(1)
    assert time.monotonic() - began > AUTHORIZATION_TIMEOUT_SECONDS / 2, "it has waited"
    converges(case, ground)
    assert ground.stray() == []
