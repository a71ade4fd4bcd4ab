# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role from every source to every target, and by every transport from one source, on real engines.

Each row: check mode, the first version, the same again, the next version. A whole run writes docs/image_matrix.md.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from integration.targets.image_matrix.ends import DIRECTORY, DISCARD, ENDS, NEW, REGISTRY, SOURCES, ContainerdEnd, End
from integration.targets.image_offline_transfer.kit import PLAIN, Case, Image, Ran, size, small_blobs
from testbed import Bed

V1, V2 = f"{PLAIN}/it-small:v1", f"{PLAIN}/it-small:v2"
# A sample of the matrix, on what Debian has, is in every run: another one for each seed.
SEED = int(os.environ.get("DAYTWO_MATRIX_SEED", "1"))
OLD = [name for name in ENDS if name not in NEW]
SAMPLE = random.Random(SEED).choice([name for name in SOURCES if name not in NEW])  # noqa: S311  no secret
SOURCE_HOST = "public"
TARGET_HOSTS = {"docker": "private-a", "containerd": "private-a", "containerd-2": "private-a"}
TARGET_HOSTS |= {"docker-29": "private-b", "podman": "private-b"}
INTRODUCTION = """\
# Matrix: sources and targets of image transfers

`pytest tests/integration/targets/image_matrix` writes this page on the test bed, with real engines. Each cell is a
transfer by the role: check mode, a first version, the same again (nothing changed, 0 bytes), and the next version. A
cell has the bytes of the next version that moved, in percent of the image. Then it names the digest of the manifest on
the target: `kept` where it is the registry's, `new` where the engine makes its own.

`none` stands where the engine has no digest for an image that it did not pull itself. A container of each image ran,
and printed its version.
"""
PAGE = Path(__file__).parents[4] / "docs" / "image_matrix.md"


@dataclass
class Cell:
    """What a transfer of the next version has moved, in percent of the image, and what became of its digest."""

    percent: int
    digest: str

    def __str__(self) -> str:
        return f"{self.percent} %, {self.digest}"


@dataclass
class Table:
    """What the tests of this session have shown. Only a whole table becomes a page."""

    transports: dict[str, dict[str, Cell]] = field(default_factory=dict)
    sources: dict[str, dict[str, Cell]] = field(default_factory=dict)

    def is_whole(self) -> bool:
        return set(self.sources) == set(SOURCES) and all(set(row) == set(ENDS) for row in self.sources.values())

    def write(self) -> None:
        lines = [
            INTRODUCTION,
            "## By S3, from each source",
            "",
            *self._format(self.sources, "source"),
            "",
            "## From a registry, by each transport",
            "",
            *self._format(self.transports, "transport"),
            "",
        ]
        PAGE.write_text("\n".join(lines))

    def _format(self, rows: dict[str, dict[str, Cell]], name: str) -> list[str]:
        labels = [kind.label for kind in ENDS.values()]
        lines = [f"| {name} | {' | '.join(labels)} |", f"|---|{'---|' * len(labels)}"]
        for row, cells in rows.items():
            label = ENDS[row].label if row in ENDS else row
            lines.append(f"| {label} | {' | '.join(str(cells[target]) for target in ENDS)} |")
        return lines


@pytest.fixture(scope="session")
def table() -> Iterator[Table]:
    made = Table()
    yield made
    if made.is_whole():
        made.write()


@pytest.fixture(scope="module")
def ends(bed: Bed) -> Iterator[Ends]:
    with ExitStack() as stack:
        yield Ends(bed, stack)


class Ends:
    """Engines on the hosts, each started when it is needed first."""

    def __init__(self, bed: Bed, stack: ExitStack) -> None:
        self.bed, self.stack = bed, stack
        self._started: dict[tuple[str, str], End] = {}

    def get(self, name: str, host: str) -> End:
        if (name, host) not in self._started:
            end = ENDS[name](self.bed.host(host))
            if isinstance(end, ContainerdEnd) and host != SOURCE_HOST:
                end.config = DISCARD
            self.stack.callback(end.end)
            end.start()
            # A host of the bed is as it was: an engine with images would be one that its user uses.
            self.stack.callback(end.clean)
            self._started[name, host] = end
        return self._started[name, host]

    def targets(self, names: Sequence[str]) -> dict[str, End]:
        return {name: self.get(name, TARGET_HOSTS[name]) for name in names}


class Row:
    """Transfers from one source to several engines, each of which is a host of the inventory."""

    def __init__(self, case: Case, ends: Ends, source: str, targets: Sequence[str], transport: str = "s3") -> None:
        self.case = case
        self.targets = ends.targets(targets)
        self.source = None if source == REGISTRY else ends.get(source, SOURCE_HOST)
        self.transport = transport
        for end in (*self.targets.values(), self.source):
            if end:
                end.clean()
        hosts = [*{end.host for end in self.targets.values()}, case.bed.host(SOURCE_HOST)]
        for host in hosts:
            for name in targets:
                (host.folder / DIRECTORY.removeprefix("/") / "staging" / name).mkdir(parents=True, exist_ok=True)

    def inventory_name(self, target: str) -> str:
        return f"matrix-{target}"

    def _hosts(self) -> dict[str, dict[str, Any]]:
        return {
            self.inventory_name(name): {
                "ansible_host": end.host.address,
                # Several of these are one machine: each has its own staging directory.
                "image_transfer_staging_dir": f"{DIRECTORY}/staging/{name}",
                **end.interpreter_variables(),
                **end.target_variables(),
            }
            for name, end in self.targets.items()
        }

    def transfer(self, name: str, check: bool = False) -> Ran:
        more: dict[str, Any] = {"targets": "matrix-*", "first": self._hosts(), "transport": self.transport}
        if self.source:
            more |= self.source.source_variables()
            more["hosts"] = {SOURCE_HOST: self.source.interpreter_variables()}
        return (self.case.check if check else self.case.transfer)(name, **more).succeed()

    def report(self, ran: Ran, target: str) -> dict[str, Any]:
        return ran.report(self.inventory_name(target))

    def hold(self, name: str) -> None:
        """The source has the image, as its registry has it."""
        if self.source:
            self.source.pull(name)

    def run(self) -> dict[str, Cell]:
        v1, v2 = self.case.image("it-small:v1"), self.case.image("it-small:v2")
        self.hold(V1)
        planned = self.transfer(V1, check=True)
        ran = self.transfer(V1)
        for target in self.targets:
            steps = [[(s["action"], s["target"]) for s in self.report(run, target)["steps"]] for run in (planned, ran)]
            assert steps[0] == steps[1] != []
        self.verify(V1, v1)

        self.case.mark()
        again = self.transfer(V1)
        assert again.changed() == []
        assert self.case.received() == 0
        assert self.case.writes() == []

        self.hold(V2)
        self.case.mark()
        updated = self.transfer(V2)
        self.verify(V2, v2)
        self.verify(V1, v1)
        return {target: self.measure(updated, target, v1, v2) for target in self.targets}

    def verify(self, name: str, image: Image) -> None:
        for target, end in self.targets.items():
            assert end.run_container(name) == f"{image.repository} {image.tag}", target

    def measure(self, updated: Ran, target: str, v1: Image, v2: Image) -> Cell:
        end, report = self.targets[target], self.report(updated, target)
        moved = report["bytes_transferred"]
        new = [layer for layer in v2.layers if layer not in v1.layers]
        assert 0 < moved <= 1.02 * size(new, raw=True) + 2 * small_blobs(v2)
        digest = end.read_digest(V2)
        shown = "none" if not digest else "kept" if digest == v2.digest else "new"
        if self.is_digest_known() and isinstance(end, ContainerdEnd):
            assert shown == "kept", target
        return Cell(round(100 * moved / report["bytes_full"]), shown)

    def is_digest_known(self) -> bool:
        return self.source is None or self.source.name in (ContainerdEnd.name, *NEW)


def run_row(case: Case, ends: Ends, source: str, targets: Sequence[str]) -> dict[str, Cell]:
    row = Row(case, ends, source, targets)
    cells = row.run()
    # The gate has counted the bytes of the last transfer, and knows nothing of the role.
    for host in {end.host for end in row.targets.values()}:
        on_host = [target for target, end in row.targets.items() if end.host is host]
        assert case.received(host.name) > 0, on_host
    return cells


def test_a_sample(case: Case, ends: Ends) -> None:
    run_row(case, ends, SAMPLE, OLD)


@pytest.mark.full
@pytest.mark.parametrize("source", SOURCES)
def test_from_each_source(case: Case, ends: Ends, table: Table, source: str) -> None:
    table.sources[source] = run_row(case, ends, source, list(ENDS))
    if source == REGISTRY:
        table.transports["s3"] = table.sources[source]


@pytest.mark.full
def test_by_ssh(case: Case, ends: Ends, table: Table) -> None:
    # Two targets that are one machine and user do not work by SSH at the same time.
    table.transports["scp"] = {}
    for target in ENDS:
        table.transports["scp"] |= Row(case, ends, REGISTRY, [target], "scp").run()
