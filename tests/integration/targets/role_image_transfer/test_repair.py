# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damage in the bucket, as the role meets it."""

from __future__ import annotations

import pytest
from integration.targets.image_offline_transfer.kit import BUCKET, LOAD, LOAD_AGAIN, PLAIN, PRIVATE, REPLACE, Case

SMALL = f"{PLAIN}/it-small:v1"


@pytest.mark.full
def test_a_damaged_object_is_replaced_once_and_reported(case: Case) -> None:
    image = case.image("it-small:v1")
    layer = image.layers[-1].digest
    case.transfer(SMALL, targets="public").succeed()
    case.bed.s3.flip(BUCKET, case.key(layer), offset=4000)
    case.mark()

    ran = case.transfer(SMALL).succeed()
    for host in PRIVATE:
        assert [entry["digest"] for entry in ran.single(LOAD, host).result["corrupt"]] == [layer]
        assert ran.single(LOAD_AGAIN, host).status == "ok"
        assert ran.report(host)["replaced"] == [layer]
        case.proves(host, SMALL, image)
        assert case.stray(host) == []
    reasons = [e["reason"] for t in ran.all(REPLACE) for e in t.result["blobs"] if e["status"] == "changed"]
    assert len(reasons) == 1
    assert reasons[0].startswith("replaced: the object failed its digest on a target")
    assert [(c.operation, c.key) for c in case.calls(mutating=True)] == [("PutObject", case.key(layer))]

    case.mark()
    assert case.transfer(SMALL).succeed().changed() == []
    assert (case.writes(), case.received()) == ([], 0)
