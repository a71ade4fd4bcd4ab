# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong on the way, as a table: each fault, how it is made on each path, and what must come of it.

A fault is a context manager around a run; it starts the run, and may wait for a moment in it. With the bucket the gate
in front of S3 breaks requests; with SSH a TCP proxy between source and target cuts connections, and a proxy in front of
the registry stands for the store.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration.targets.image_offline_transfer.kit import PRIVATE, Ran, Running
from integration.targets.image_transfer_faults.place import Place, small_disk
from testbed import paths
from testbed.gate import Fault
from testbed.proxy import Answer, Forward, Proxy, Request, Reset
from testbed.tcp import TcpProxy

MIB = 1024 * 1024
Verdict = Callable[[Request, Forward], Answer | Forward | Reset]


@dataclass(frozen=True)
class Cell:
    """One fault on one path. C(fails): hosts that must fail, with a part of their message; none: the run succeeds."""

    fault: str
    path: str
    run: Callable[[Place], Ran]
    fails: dict[str, str] = field(default_factory=dict)
    allowed_error: str = ""  # a pattern: hosts may be refused with these words, or finish
    source: str = "registry"
    alone: bool = False  # stops parts of the bed that others use
    for_all: bool = False  # the source has nothing to send: the play ends for all, with the error on the first
    engine_gone: bool = False  # preloaded layers stay until the re-run


# Between source and targets, and in front of the registry


class Wire(TcpProxy):
    """A TCP proxy at an address that hosts reach."""

    def __init__(self, target: tuple[str, int], cut_after: int | None = None) -> None:
        super().__init__(target, cut_after)
        self._listener.close()
        self._listener = socket.create_server((paths.CONTROLLER, 0))
        self.port = self._listener.getsockname()[1]


@contextlib.contextmanager
def wire(place: Place, host: str, cut_after: int | None = None) -> Iterator[TcpProxy]:
    """The source reaches the target by a proxy, as by a forwarded port of a bastion."""
    with Wire((place.case.bed.host(host).address, 22), cut_after) as proxy:
        place.hosts[host] = {
            "image_transfer_address": paths.CONTROLLER,
            "image_transfer_port": proxy.port,
            "image_transfer_source_address": paths.CONTROLLER,
        }
        yield proxy


@dataclass
class Front:
    """In front of the registry: C(decide) decides about each request for a blob or manifest."""

    verdict: Verdict
    wants_body: bool = False
    struck: int = 0

    def decide(self, request: Request) -> Answer | Forward | Reset:
        forward = Forward((paths.REGISTRY, paths.REGISTRY_PORT))
        verdict = self.verdict(request, forward)
        self.struck += verdict is not forward
        return verdict

    def done(self, request: Request) -> None:
        pass


@contextlib.contextmanager
def registry(place: Place, verdict: Verdict) -> Iterator[tuple[str, Front]]:
    """Yields the image's name by way of the front."""
    front = Front(verdict)
    proxy = Proxy((paths.CONTROLLER, 0), front)
    address = "{}:{}".format(*proxy.listener.getsockname())

    def serve() -> None:
        with contextlib.suppress(OSError):  # its listener is closed at the end
            proxy.serve()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"{address}/{place.new.repository}:{place.new.tag}", front
    finally:
        proxy.listener.close()


def by_registry(verdict: Callable[[], Verdict]) -> Callable[[Place], Ran]:
    def run(place: Place) -> Ran:
        with registry(place, verdict()) as (name, front):
            ran = place.run(name)
        assert front.struck, "the fault did not happen"
        return ran

    return run


def sometimes(rate: float, *answers: Answer | Reset) -> Verdict:
    dice, lock = random.Random(7), threading.Lock()  # noqa: S311

    def verdict(request: Request, forward: Forward) -> Answer | Forward | Reset:
        with lock:
            return dice.choice(answers) if dice.random() < rate else forward

    return verdict


def times(count: int, answer: Answer, part: str = "/blobs/") -> Verdict:
    left, lock = [count], threading.Lock()

    def verdict(request: Request, forward: Forward) -> Answer | Forward | Reset:
        with lock:
            if part in request.path and left[0]:
                left[0] -= 1
                return answer
            return forward

    return verdict


def by_gate(*faults: Fault) -> Callable[[Place], Ran]:
    """The gate breaks requests of this test's own keys. That it did is looked up."""

    def run(place: Place) -> Ran:
        own = [Fault(**{**fault.__dict__, "key": f"{place.case.prefix}/*"}) for fault in faults]
        with place.case.bed.recorder.failing(*own):
            ran = place.run()
        struck = {call.fault for call in place.case.calls() if call.fault}
        assert struck == {fault.kind for fault in faults}, "the fault did not happen"
        return ran

    return run


# Moments in a run


def blobs(place: Place, host: str) -> list[Path]:
    """The blobs that have arrived in a host's staging directory."""
    return [*place.behind(host).glob("*/blobs/*")]


def arriving(place: Place, run: Running, host: str, size: int = MIB) -> None:
    """Until so many bytes have come to a host, and not yet all."""

    def come() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return sum(path.stat().st_size for path in blobs(place, host)) > size
        return False

    run.until("blobs arrive", come)


# Slow enough to have a middle, fast enough to end soon: the image has some 26 MB.
SLOW: dict[str, Any] = {"bandwidth_limit": 4 * MIB}


# The link


def cut_by_gate(place: Place) -> Ran:
    return by_gate(
        Fault("reset", "UploadPart", after_bytes=2 * MIB, times=2),
        Fault("reset", "GetObject", after_bytes=3 * MIB, times=3),
    )(place)


def cut_on_the_wire(place: Place) -> Ran:
    with wire(place, "private-a", cut_after=7 * MIB) as proxy:
        ran = place.run()
        assert proxy.cuts >= 2, "the fault did not happen"
    return ran


def link_down(place: Place) -> Ran:
    """The target's link is down for some seconds: no connection ends, all of them stand still."""
    host = place.case.bed.host("private-a")
    cloud = place.case.bed.cloud
    run = place.start(**SLOW)
    arriving(place, run, "private-a")
    cloud.run("ip", "link", "set", host.port, "down")
    try:
        time.sleep(5)
    finally:
        cloud.run("ip", "link", "set", host.port, "up")
    return place.finish(run)


# The controller's own connections


def controller_dropped(place: Place) -> Ran:
    run = place.start(**SLOW)
    arriving(place, run, "private-a")
    dropped = 0
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (entry / "cmdline").read_bytes().decode().startswith(f"ssh: {place.case.ansible.control}/"):
                os.kill(int(entry.name), signal.SIGKILL)
                dropped += 1
    assert dropped
    ran = place.finish(run)
    assert "The connection dropped. Retrying" in ran.output
    return ran


# Disks


def full_source(place: Place) -> Ran:
    with small_disk(place, "public", "3m") as disk:
        ran = place.run()
        assert list(disk.iterdir()) == []
    return ran


def small_target(place: Place) -> Ran:
    with small_disk(place, "private-a", "3m") as disk:
        ran = place.run()
        assert list(disk.iterdir()) == []
    return ran


def filling_target(place: Place) -> Ran:
    """Another program fills the disk while blobs arrive."""
    with small_disk(place, "private-a", "64m") as disk:
        run = place.start(**SLOW)

        def come() -> bool:
            with contextlib.suppress(FileNotFoundError):
                return sum(path.stat().st_size for path in disk.glob("*/blobs/*")) > MIB
            return False

        run.until("blobs arrive", come)
        free = shutil.disk_usage(disk).free
        with (disk / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - 2 * MIB)
        ran = place.finish(run)
        assert [path.name for path in disk.iterdir()] == ["filler"]
    return ran


# The engine


def engine_restarted(place: Place) -> Ran:
    """dockerd ends in order and comes back at once, while it is fed."""
    node = place.case.bed.host("private-a")
    run = place.start()

    def feeding() -> bool:
        return any('"sending to docker' in state or '"docker unpacks' in state for state in _jobs(place, "private-a"))

    run.until("the engine is fed", feeding)
    os.kill(node.pid_of("dockerd"), signal.SIGTERM)
    ended = time.monotonic() + 20
    while "dockerd" in node.running() and time.monotonic() < ended:
        time.sleep(0.05)
    place.case.bed.up()
    return place.finish(run)


def _jobs(place: Place, host: str) -> Iterator[str]:
    for path in place.behind(host).glob("loaded-*/[aj]*.json"):
        with contextlib.suppress(FileNotFoundError):
            yield path.read_text()


# Content


def damaged(damage: Callable[[Place, str], None]) -> Callable[[Place], Ran]:
    """Objects are damaged once they are in the bucket, and stay so; with SSH, blobs on the target before the load."""

    def run(place: Place) -> Ran:
        layer = place.new.layers[1].digest
        if place.path == "scp":
            running = place.start()
            running.until("the blob has come", lambda: [p for p in blobs(place, "private-a") if p.name == layer[7:]])
            damage(place, layer)
            return place.finish(running)
        delay = Fault("delay", "GetObject", key=f"{place.case.prefix}/*", seconds=3)
        with place.case.bed.recorder.failing(delay):
            running = place.start()
            running.until("all is in the bucket", lambda: len(place.case.keys()) == len(place.new.layers) + 1)
            time.sleep(1)  # the source has looked back by now
            damage(place, layer)
            return place.finish(running)

    return run


def stored(place: Place, digest: str) -> Path:
    """A blob where it lies before the load."""
    if place.path == "s3":
        return place.case.object(digest)
    (found,) = [path for path in blobs(place, "private-a") if path.name == digest[7:]]
    return found


def shorten(to: Callable[[int], int]) -> Callable[[Place, str], None]:
    def damage(place: Place, digest: str) -> None:
        path = stored(place, digest)
        os.truncate(path, to(path.stat().st_size))

    return damage


def flip_near_end(place: Place, digest: str) -> None:
    """The last 8 KiB are other bytes; the size is right."""
    path = stored(place, digest)
    with path.open("r+b") as file:
        file.seek(-8192, os.SEEK_END)
        file.write(bytes(8192))


def swap_config(place: Place, _layer: str) -> None:
    path = stored(place, place.new.config_digest)
    path.write_bytes(place.old.config)


def base_removed(place: Place) -> Ran:
    """An image that has most layers goes while the rest is fetched."""
    node = place.case.bed.host("private-a")
    for host in PRIVATE:
        place.case.bed.images.into_docker(place.case.bed.host(host), place.case.image("ft-app:v2"), "ft-base:v1")
    run = place.start(bandwidth_limit=MIB)
    arriving(place, run, "private-a", 100_000)
    node.docker("image", "rm", "ft-base:v1")
    return place.finish(run)


ERROR_500 = Answer(500, b"internal error")
TOO_MANY = Answer(429, b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}')
EXPIRED = "Request has expired"
A, B = "private-a", "private-b"

REFUSED = "failed their digest|bytes in s3://|bytes in the bucket|were not fetched|is not in s3://|arrived with"
NO_ROOM = "on the source"

CELLS = (
    Cell("link cut mid-blob", "s3", cut_by_gate),
    Cell("link cut mid-blob", "scp", cut_on_the_wire),
    Cell("link down for some seconds", "s3", link_down, alone=True),
    Cell("link down for some seconds", "scp", link_down, alone=True),
    Cell(
        "5xx and resets at 20 %",
        "s3",
        by_gate(
            Fault("error", rate=0.1, status=500, code="InternalError", message="We encountered an internal error."),
            Fault("reset", rate=0.1, seed=2),
        ),
    ),
    Cell("5xx and resets at 20 %", "scp", by_registry(lambda: sometimes(0.2, ERROR_500, Reset()))),
    Cell("throttling", "s3", by_gate(Fault("error", times=12))),
    Cell("throttling", "scp", by_registry(lambda: times(4, TOO_MANY, "/v2/"))),
    Cell(
        "signed URL expires",
        "s3",
        by_gate(
            *(
                Fault("error", name, status=403, code="AccessDenied", message=EXPIRED, times=3)
                for name in ("UploadPart", "GetObject")
            )
        ),
    ),
    Cell(
        "every signed URL expires",
        "s3",
        by_gate(Fault("error", "GetObject", status=403, code="AccessDenied", message=EXPIRED)),
        fails={A: EXPIRED, B: EXPIRED},
    ),
    Cell("connection of the controller dropped", "s3", controller_dropped),
    Cell("connection of the controller dropped", "scp", controller_dropped),
    Cell("source's disk is full", "s3", full_source, fails={A: "No space left"}, source="docker", for_all=True),
    Cell("source's disk is full", "scp", full_source, fails=dict.fromkeys((A, B), NO_ROOM), source="docker"),
    Cell("target's disk is small", "s3", small_target, fails={A: "too little disk"}),
    Cell("target's disk is small", "scp", small_target, fails={A: "too little disk"}),
    Cell("target's disk fills up", "s3", filling_target, fails={A: "No space left"}),
    Cell("target's disk fills up", "scp", filling_target, fails={A: "No space left"}),
    # It may be back before the last layers are there, which is when the image itself is loaded.
    Cell(
        "engine restarted mid-load", "s3", engine_restarted, allowed_error="docker.sock", alone=True, engine_gone=True
    ),
    Cell(
        "engine restarted mid-load", "scp", engine_restarted, allowed_error="docker.sock", alone=True, engine_gone=True
    ),
    Cell("cut off at 80 %", "s3", damaged(shorten(lambda size: size * 8 // 10)), allowed_error=REFUSED),
    Cell("cut off at 80 %", "scp", damaged(shorten(lambda size: size * 8 // 10)), allowed_error=REFUSED),
    Cell("cut off in the last 8 KiB", "s3", damaged(shorten(lambda size: size - 4000)), allowed_error=REFUSED),
    Cell("cut off in the last 8 KiB", "scp", damaged(shorten(lambda size: size - 4000)), allowed_error=REFUSED),
    Cell("other bytes in the last 8 KiB", "s3", damaged(flip_near_end), allowed_error=REFUSED),
    Cell("other bytes in the last 8 KiB", "scp", damaged(flip_near_end), allowed_error=REFUSED),
    Cell("config swapped", "s3", damaged(swap_config), allowed_error=REFUSED),
    Cell("config swapped", "scp", damaged(swap_config), allowed_error=REFUSED),
    Cell("base removed between probe and load", "s3", base_removed, allowed_error=REFUSED),
    Cell("base removed between probe and load", "scp", base_removed, allowed_error=REFUSED),
)
