# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each call of each module fails in each way. The result is true, and the next run comes to the same end.

The calls are those that a run without failures makes. SCENARIO and SELECT in the environment limit the full matrix: a
regular expression over the scenario's name, and one over "call failure".
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.targets.aws_faults.faults import FAILURES, ApiCall
from integration.targets.aws_faults.kit import SCENARIOS, AccountCopies, Scenario, State, Worker

NOT_KNOWN = "not known whether"
NOT_AWS = "something that is not AWS"


@dataclass
class Normal:
    """A scenario's account, and what a run without failures makes of it."""

    port: int
    account: Any
    before: State
    after: State
    calls: list[ApiCall]
    failed: bool


@dataclass
class Matrix:
    aws: AccountCopies
    worker: Worker
    normals: dict[str, Normal] = field(default_factory=dict)
    prepared: dict[Any, tuple[int, Any]] = field(default_factory=dict)
    cells: dict[tuple[str, str, str], str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def get_normal(self, scenario: Scenario) -> Normal:
        if scenario.name not in self.normals:
            if scenario.prepare not in self.prepared:
                port = self.aws.copy(self.aws.first_port)
                self.aws.switch(port)
                self.prepared[scenario.prepare] = (port, scenario.prepare(self.aws))
            port, account = self.prepared[scenario.prepare]
            kept = len(self.aws.copies)
            for _time in range(2):  # the first run learns which clients the worker has to have ready
                self.aws.switch(self.aws.copy(port))
                before = scenario.read_state(account)
                self.aws.gate.start(None, "")
                outcome = self.worker.run(scenario, self.aws.env)
            calls = sorted(set(self.aws.gate.order), key=str)
            assert outcome["result"], outcome["traceback"]
            after = scenario.read_state(account)
            failed = bool(outcome["result"].get("failed"))
            assert failed == scenario.fails, outcome["result"]
            self.normals[scenario.name] = Normal(port, account, before, after, calls, failed)
            self.aws.end_copies(kept)
        return self.normals[scenario.name]

    def try_failure(self, scenario: Scenario, call: ApiCall, failure: str) -> None:
        """One cell: a run with the failure, and a run without it on the same account."""
        normal = self.get_normal(scenario)
        kept = len(self.aws.copies)
        self.aws.switch(self.aws.copy(normal.port))
        self.aws.gate.start(call, failure)
        outcome = self.worker.run(scenario, self.aws.env)
        middle = scenario.read_state(normal.account)
        self.aws.gate.start(None, "")
        again = self.worker.run(scenario, self.aws.env)
        end = scenario.read_state(normal.account)
        self.aws.end_copies(kept)
        problems = list(find_problems(scenario, normal, failure, outcome, middle))
        problems += find_problems_of_rerun(normal, again, end)
        result = outcome["result"] or {}
        self.cells[scenario.name, str(call), failure] = (
            "WRONG" if problems else "failed" if result.get("failed") else "passed"
        )
        if problems:
            text = json.dumps(result)
            self.wrong.append(f"{scenario.name}, {call}, {failure}: {' '.join(problems)} {text[:1500]}")

    def print(self) -> None:
        """The matrix: calls x failures."""
        names = dict.fromkeys((scenario, call) for scenario, call, _failure in self.cells)
        print(f"\n{'':70}" + " ".join(f"{failure:>16}" for failure in FAILURES))
        for scenario, call in names:
            row = [self.cells.get((scenario, call, failure), "") for failure in FAILURES]
            print(f"{scenario + ', ' + call:70}" + " ".join(f"{cell:>16}" for cell in row))
        print(f"{len(names)} calls, {len(self.cells)} cells: {dict(Counter(self.cells.values()))}")


def find_problems(
    scenario: Scenario, normal: Normal, failure: str, outcome: dict[str, Any], after: State
) -> Iterable[str]:
    """What is not true about the result of the run with the failure."""
    result = outcome["result"]
    if outcome["traceback"] or result is None:
        yield f"It ended with a traceback: {outcome['traceback'][-800:]}"
        return
    text, message = json.dumps(result), str(result.get("msg") or "")
    if re.search(r"Traceback|Module failed|object has no attribute|NoneType", text) or re.fullmatch(r"'\w+'", message):
        yield "The message is of the program, not for people."
    if result.get("failed") and not message:
        yield "It failed without a message."
    differs = after != normal.before
    if bool(result.get("changed")) != differs and NOT_KNOWN not in text:
        yield f"It reports changed={result.get('changed')}, and the account {'differs' if differs else 'is the same'}."
    if differs and scenario.items and not result.get(scenario.items):
        yield "The results of the other items are lost."
    if not result.get("failed") and after != normal.after:
        yield "It did not fail, and it has not done everything."
    of_other = failure in ("HTML page", "empty body", "wrong content")
    if of_other and result.get("failed") and not normal.failed and NOT_AWS not in text:
        yield "It does not name what answered."


def find_problems_of_rerun(normal: Normal, outcome: dict[str, Any], after: State) -> Iterable[str]:
    """What the next run, without a failure, does not put right."""
    result = outcome["result"] or {}
    if bool(result.get("failed")) != normal.failed or outcome["traceback"]:
        yield f"The next run failed: {result.get('msg')} {outcome['traceback'][-300:]}"
    elif after != normal.after:
        yield f"The next run came to another end: {after} instead of {normal.after}."


def list_cells(matrix: Matrix) -> list[tuple[Scenario, ApiCall, str]]:
    return [
        (scenario, call, failure)
        for scenario in SCENARIOS
        if re.search(os.environ.get("SCENARIO", ""), scenario.name)
        for call in matrix.get_normal(scenario).calls
        for failure in FAILURES
        if call.mutating or failure != "reset after once"  # a repeated reading is a reading
    ]


def try_all(matrix: Matrix, cells: Iterable[tuple[Scenario, ApiCall, str]]) -> None:
    for scenario, call, failure in cells:
        matrix.try_failure(scenario, call, failure)
    matrix.print()
    assert matrix.wrong == [], "\n\n".join(matrix.wrong)


@pytest.fixture(scope="module")
def matrix(aws: AccountCopies, worker: Worker) -> Matrix:
    return Matrix(aws, worker)


# Action plugins and what calls no AWS: the target image_transfer_faults is theirs.
NOT_HERE = {"image_offline_transfer", "image_offline_transfer_info"}


def test_every_module_that_calls_aws_is_in_the_matrix() -> None:
    group = yaml.safe_load((Path(__file__).parents[4] / "meta/runtime.yml").read_text())["action_groups"]["aws"]
    modules = {name for name in group if isinstance(name, str)}
    assert modules - NOT_HERE == {scenario.module for scenario in SCENARIOS}


@pytest.mark.full
def test_every_module_makes_calls(matrix: Matrix) -> None:
    for scenario in SCENARIOS:
        assert matrix.get_normal(scenario).calls, scenario.name


@pytest.mark.full
def test_every_failure_of_every_call_has_a_true_result(matrix: Matrix) -> None:
    select = os.environ.get("SELECT", "")
    cells = [cell for cell in list_cells(matrix) if re.search(select, f"{cell[1]} {cell[2]}")]
    try_all(matrix, cells)
