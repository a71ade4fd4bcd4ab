# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that are not what they should be: never loaded, named, replaced once."""

from __future__ import annotations

from typing import Any

import pytest
from integration.targets.image_offline_transfer.kit import BUCKET, MODULE, PLAIN, Case, Task
from testbed.images import Image

NAME = f"{PLAIN}/it-small:v1"
SERVICE = "it-service:production"


def module(case: Case, **options: Any) -> Task:
    """One task of the module: on the source for state=saved, else on a target."""
    if options["state"] == "saved":
        options |= {"images": [{"name": NAME, "tag_as": SERVICE}], "plain_http": True}
    task = {"name": "it", MODULE: {"bucket": BUCKET, "prefix": case.prefix, **options}}
    hosts = "public" if options["state"] == "saved" else "private-a"
    return case.ansible.run([{"hosts": hosts, "gather_facts": False, "tasks": [task]}]).single("it")


def before(case: Case) -> tuple[Image, dict[str, Any]]:
    """Another image holds the name on the target; the new one's blobs are in the bucket."""
    case.bed.images.into_docker(case.bed.host("private-a"), case.image("it-small:v2"), SERVICE)
    saved = module(case, state="saved")
    assert saved.status == "ok", saved.result
    case.mark()
    return case.image("it-small:v1"), saved.result["bundle"]


def untouched(case: Case) -> None:
    assert case.events("private-a") == []
    assert case.held("private-a", SERVICE) == case.image("it-small:v2").config_digest
    assert case.held("private-a", case.image("it-small:v1").config_digest) is None
    assert case.stray("private-a") == []


def test_a_flipped_byte(case: Case) -> None:
    image, bundle = before(case)
    layer = image.layers[-1].digest
    case.bed.s3.flip(BUCKET, case.key(layer), offset=4000)

    refused = module(case, state="loaded", bundle=bundle)
    assert refused.status == "failed"
    assert f"1 blobs failed their digest, nothing was loaded: {layer}" in refused.message
    assert [entry["digest"] for entry in refused.result["corrupt"]] == [layer]
    untouched(case)

    # Size and recorded checksum are right, so only a run that is told "corrupt" replaces the object, and only once.
    case.mark()
    assert module(case, state="saved").result["changed"] is False
    replaced = module(case, state="saved", corrupt=refused.result["corrupt"])
    assert [(e["name"], e["status"]) for e in replaced.result["blobs"] if e["status"] != "ok"] == [(layer, "changed")]
    assert module(case, state="saved", corrupt=refused.result["corrupt"]).result["changed"] is False
    assert [(c.operation, c.key) for c in case.calls(mutating=True)] == [("PutObject", case.key(layer))]

    loaded = module(case, state="loaded", bundle=bundle)
    assert (loaded.status, loaded.result["changed"]) == ("ok", True)
    case.proves("private-a", SERVICE, image)
    assert case.stray("private-a") == []


@pytest.mark.full
def test_a_truncated_object(case: Case) -> None:
    image, bundle = before(case)
    layer = image.layers[-1]
    with case.object(layer.digest).open("r+b") as file:
        file.truncate(layer.size // 2)

    refused = module(case, state="loaded", bundle=bundle)
    assert refused.status == "failed"
    assert f"{layer.digest} has {layer.size // 2} bytes" in refused.message
    assert f"instead of {layer.size}" in refused.message
    untouched(case)

    replaced = module(case, state="saved")
    (entry,) = [e for e in replaced.result["blobs"] if e["status"] == "changed"]
    assert entry["name"] == layer.digest
    assert f"the object has {layer.size // 2} bytes instead of {layer.size}" in entry["reason"]
    assert module(case, state="loaded", bundle=bundle).status == "ok"
    case.proves("private-a", SERVICE, image)


@pytest.mark.full
def test_an_object_without_its_checksum(case: Case) -> None:
    image, bundle = before(case)
    layer = image.layers[-1]
    content = case.object(layer.digest).read_bytes()
    case.client().put_object(Bucket=BUCKET, Key=case.key(layer.digest), Body=content)
    replaced = module(case, state="saved")
    (entry,) = [e for e in replaced.result["blobs"] if e["status"] == "changed"]
    assert entry["name"] == layer.digest
    assert "replaced: the object's recorded checksum is missing" in entry["reason"]
    assert module(case, state="loaded", bundle=bundle).status == "ok"
    case.proves("private-a", SERVICE, image)
