# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller is killed at the start of each task of the role: a plain re-run converges, and nothing is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.targets.image_offline_transfer import kit
from integration.targets.image_offline_transfer.kit import PRIVATE, Case, Ran
from integration.targets.image_transfer_faults.place import Place

ROLE_TASKS = Path(__file__).parents[4] / "roles" / "image_transfer" / "tasks" / "main.yml"
CALLBACKS = f"{Path(kit.__file__).parent / 'callbacks'}:{Path(__file__).parent / 'callbacks'}"
WAYS = (("s3", "registry"), ("scp", "registry"), ("scp", "docker"))
# A source that waits for authorizations when the run is killed exits by itself after AUTHORIZATION_TIMEOUT_SECONDS.
WAIT = 120 + 15


def named(tasks: list[dict[str, Any]]) -> Iterator[str]:
    for task in tasks:
        parts = [task.get(part) for part in ("block", "rescue", "always")]
        if not any(parts):
            yield task["name"]
        for part in parts:
            yield from named(part or [])


TASKS = ["Validating arguments against arg spec 'main'", *named(yaml.safe_load(ROLE_TASKS.read_text()))]
# Killed in here, the source waits on.
WAITING = range(
    TASKS.index("Leave out a target that cannot load the images"),
    TASKS.index("Push to all authorized targets") + 1,
)


def cells() -> list[Any]:
    return [
        pytest.param(*(path, source, at), id=f"{path}-{source}-{at + 1}-{TASKS[at].replace(' ', '_')}")
        for path, source in WAYS
        for at in range(len(TASKS))
    ]


def watched(place: Place, kill_at: int) -> tuple[Ran, list[str]]:
    """A run, and the tasks that it has started."""
    started = place.case.ansible.folder / f"started-{place.case.prefix}"
    started.unlink(missing_ok=True)
    env = {
        "ANSIBLE_CALLBACK_PLUGINS": CALLBACKS,
        "ANSIBLE_CALLBACKS_ENABLED": "record,kill",
        "IT_STARTED": str(started),
        "IT_KILL_AT": str(kill_at),
    }
    ran = place.run(env=env)
    return ran, [name.partition(" - ")[0] for name in started.read_text().splitlines()]


@pytest.fixture(scope="module")
def abandoned() -> Iterator[list[tuple[Place, float, list[str]]]]:
    """What waits on sources whose run was killed, until when; at the end of the sweep it must have gone by itself."""
    left: list[tuple[Place, float, list[str]]] = []
    yield left
    for place, until, what in left:
        while (still := place.stray()) and time.time() < until:
            time.sleep(1)
        assert not still, f"{what} is still there: {still}"


@pytest.mark.parametrize(("path", "source"), WAYS[:2])
@pytest.mark.full
def test_the_sweep_knows_every_task(case: Case, path: str, source: str) -> None:
    ran, started = watched(Place.make(case, path, new="ft-small:v1", source=source), kill_at=0)
    ran.succeed()
    assert started == TASKS


@pytest.mark.parametrize(("path", "source", "at"), cells())
@pytest.mark.full
def test_killed_at(
    case: Case, path: str, source: str, at: int, abandoned: list[tuple[Place, float, list[str]]]
) -> None:
    place = Place.make(case, path, new="ft-small:v1", source=source)
    ran, started = watched(place, kill_at=at + 1)
    assert ran.returncode == -9, ran.output
    assert started == TASKS[: at + 1]
    loaded = at > TASKS.index("Load on each target, verify, and then move the name")
    assert [place.holds(host) for host in PRIVATE] == [place.new if loaded else place.old] * 2

    again = place.run()
    again.succeed()
    assert [place.holds(host) for host in PRIVATE] == [place.new] * 2, again.output
    left = place.stray()
    waits = path == "scp" and at in WAITING
    if waits:
        (push,) = [task.result["push"]["token"] for task in ran.tasks if task.result.get("push")]
        own = left.pop("public")
        # The process that waits, its directory, and the blobs' directory, which it keeps for the push.
        assert all(push in what or "process " in what or "/saved-" in what for what in own), own
        abandoned.append((place, time.time() + WAIT, own))
    assert left == {}, again.output
