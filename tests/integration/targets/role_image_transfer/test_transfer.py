# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role on real engines: from registries and docker to two private hosts; what is transferred and what is not."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from integration.targets.image_offline_transfer.kit import (
    AUTH,
    HOSTS,
    LOAD,
    PLAIN,
    PRIVATE,
    SAVE,
    Case,
    size,
    small_blobs,
)
from testbed import registry

V1 = f"{PLAIN}/it-app:v1"
V2 = f"{PLAIN}/it-app:v2"
SMALL = f"{PLAIN}/it-small:v1"
REGISTRY_CA = "/opt/testbed/registry-ca.pem"


def nothing_was_written(case: Case) -> None:
    assert case.writes() == []
    assert [case.events(host) for host in HOSTS] == [[], [], []]
    assert [case.stray(host) for host in HOSTS] == [[], [], []]


def nothing_happens_again(case: Case, image: str) -> None:
    for again in (case.check, case.transfer):
        case.mark()
        assert again(image).succeed().changed() == []
        nothing_was_written(case)
        assert case.received() == 0


@pytest.mark.full
def test_from_a_registry(case: Case) -> None:
    v1, v2 = case.image("it-app:v1"), case.image("it-app:v2")
    full = size(v1.layers) + small_blobs(v1)

    planned = case.check(V1).succeed()
    nothing_was_written(case)
    assert case.keys() == []

    ran = case.transfer(V1).succeed()
    for host in PRIVATE:
        case.proves(host, V1, v1)
        assert ran.report(host)["steps"] == planned.report(host)["steps"] != []
        assert [image["status"] for image in ran.report(host)["images"]] == ["changed"]
        assert planned.report(host)["estimated"] is False
        assert ran.report(host)["bytes_transferred"] == case.received(host) == full
    assert planned.single(SAVE).result["bytes_transferred"] == full, "exact, for a registry"
    assert case.sent() == full, "once, for both hosts"
    assert case.events("public") == [], "no engine takes part on the source"

    nothing_happens_again(case, V1)

    case.mark()
    case.transfer(V2).succeed()
    new = size([layer for layer in v2.layers if layer not in v1.layers])
    assert new < case.sent() <= 1.02 * new
    for host in PRIVATE:
        assert new < case.received(host) <= 1.02 * new
        case.proves(host, V2, v2)
        case.proves(host, V1, v1)
    assert [case.stray(host) for host in HOSTS] == [[], [], []]


def test_from_docker(case: Case) -> None:
    v1, v2 = case.image("it-app:v1"), case.image("it-app:v2")
    case.bed.images.into_docker(case.bed.host("public"), v1, V1)
    case.bed.images.into_docker(case.bed.host("public"), v2, V2)
    full = size(v1.layers, raw=True) + len(v1.config)

    case.mark()
    planned = case.check(V1, source="docker").succeed()
    nothing_was_written(case)
    assert planned.report("private-a")["estimated"] is True
    assert planned.single(SAVE).result["bytes_transferred"] == pytest.approx(full, rel=0.2)

    ran = case.transfer(V1, source="docker").succeed()
    for host in PRIVATE:
        case.proves(host, V1, v1)
        names = [(step["action"], step["target"]) for step in ran.report(host)["steps"]]
        assert names == [(step["action"], step["target"]) for step in planned.report(host)["steps"]] != []
        assert case.received(host) == full
    assert case.sent() == full, "once, for both hosts"
    assert case.events("public") == [f"save {v1.config_digest}"]

    case.mark()
    assert case.transfer(V1, source="docker").succeed().changed() == []
    nothing_was_written(case)
    assert case.received() == 0

    case.mark()
    case.transfer(V2, source="docker").succeed()
    new = size([layer for layer in v2.layers if layer not in v1.layers], raw=True)
    assert new < case.sent() <= 1.02 * new
    for host in PRIVATE:
        assert new < case.received(host) <= 1.02 * new
        case.proves(host, V2, v2)
    assert [case.stray(host) for host in HOSTS] == [[], [], []]


@pytest.mark.full
def test_the_engine_unpacks_while_more_is_on_its_way(case: Case) -> None:
    v1 = case.image("it-app:v1")
    ran = case.transfer(V1, targets="private-a", bandwidth_limit=8_000_000).succeed()
    assert case.list_preloaded("private-a")
    case.proves("private-a", V1, v1)
    assert [image["status"] for image in ran.single(LOAD, "private-a").result["images"]] == ["changed"]
    assert [case.stray(host) for host in HOSTS] == [[], [], []]


@pytest.mark.full
def test_the_source_sends_as_much_for_two_targets_as_for_a_single_target(case: Case) -> None:
    case.transfer(SMALL, targets="private-a").succeed()
    for_single = case.sent()
    case.clean()
    case.mark()
    case.transfer(SMALL).succeed()
    assert case.sent() == for_single > 0
    case.proves("private-b", SMALL, case.image("it-small:v1"))


SECURE = {"plain_http": False, "ca_path": REGISTRY_CA}


def login() -> dict[str, str]:
    """Read when a test runs, not when it is collected: the bed makes the password."""
    return {"registry_username": registry.USER, "registry_password": registry.password()}


@pytest.mark.full
def test_a_registry_with_tls_and_a_password(case: Case) -> None:
    name = f"{AUTH}/it-small:v1"
    wrong = case.transfer(name, **SECURE, registry_username=registry.USER, registry_password="wrong").fail()
    assert f"The registry {AUTH} denies the user '{registry.USER}'" in wrong.single(SAVE).message
    nothing_was_written(case)
    case.transfer(name, **SECURE, **login()).succeed()
    for host in PRIVATE:
        case.proves(host, name, case.image("it-small:v1"))


@pytest.mark.full
def test_a_registry_that_is_not_trusted_or_not_logged_in_to(case: Case) -> None:
    name = f"{AUTH}/it-small:v1"
    refused = case.transfer(name, **SECURE).fail()
    assert f"The registry {AUTH} denies a request without login" in refused.single(SAVE).message
    untrusted = case.transfer(name, plain_http=False, **login()).fail()
    assert "its certificate is not trusted" in untrusted.single(SAVE).message
    nothing_was_written(case)


@pytest.mark.full
def test_a_login_from_docker_s_config_file(case: Case) -> None:
    name = f"{AUTH}/it-small:v2"
    folder = case.bed.host("public").folder / "root" / case.prefix
    folder.mkdir()
    try:
        auth = registry_login()
        (folder / "config.json").write_text(json.dumps({"auths": {AUTH: {"auth": auth}}}))
        path = f"/root/{case.prefix}/config.json"
        case.transfer(name, plain_http=False, ca_path=REGISTRY_CA, registry_config_path=path).succeed()
    finally:
        (folder / "config.json").unlink()
        folder.rmdir()
    for host in PRIVATE:
        case.proves(host, name, case.image("it-small:v2"))


def registry_login() -> str:
    return b64encode(f"{registry.USER}:{registry.password()}".encode()).decode()


@pytest.mark.full
def test_what_held_the_name_stays_and_is_named(case: Case) -> None:
    v1, v2 = case.image("it-small:v1"), case.image("it-small:v2")
    case.transfer({"name": SMALL, "tag_as": "it-service:production"}).succeed()
    ran = case.transfer(
        {"name": f"{PLAIN}/it-small:v2", "tag_as": "it-service:production"}, options=("--diff",)
    ).succeed()
    for host in PRIVATE:
        (entry,) = ran.report(host)["images"]
        assert entry["previous_image"] == v1.config_digest
        assert case.held(host, "it-service:production") == v2.config_digest
        assert case.held(host, v1.config_digest) == v1.config_digest, "the image that lost its name is still there"
        assert ran.single(LOAD, host).result["diff"] == [
            {
                "before_header": "it-service:production",
                "after_header": "it-service:production",
                "before": {"image": v1.config_digest},
                "after": {"image": v2.config_digest},
            }
        ]
    added = {entry["after_header"] for entry in ran.single(SAVE).result["diff"]}
    assert added == {v2.digest, v2.config_digest, v2.layers[-1].digest}
    # The content exists: only the name moves back, and nothing is transferred.
    case.mark()
    back = case.transfer({"name": SMALL, "tag_as": "it-service:production"}).succeed()
    assert (case.writes(), case.received()) == ([], 0)
    assert [step["action"] for step in back.report("private-a")["steps"]] == ["tag"]
    assert case.held("private-a", "it-service:production") == v1.config_digest


@pytest.mark.full
def test_an_image_by_its_digest(case: Case) -> None:
    image = case.image("it-pinned")
    name = f"{PLAIN}/it-pinned@{image.digest}"
    both = f"{PLAIN}/it-small:v1@{case.image('it-small:v1').digest}"
    ran = case.transfer({"name": name, "tag_as": "it-pinned:chosen"}, both).succeed()
    assert ran.single(SAVE).result["bundle"]["images"][0]["manifest"]["digest"] == image.digest
    for host in PRIVATE:
        assert case.held(host, "it-pinned:chosen") == image.config_digest
        assert case.prints(host, "it-pinned:chosen") == "it-pinned"
        case.proves(host, SMALL, case.image("it-small:v1"))


@pytest.mark.full
def test_an_image_of_several_platforms(case: Case) -> None:
    """The targets' own platform is transferred. Another one is refused before any transfer, unless it was requested."""
    name = f"{PLAIN}/it-multi:v1"
    amd64, arm64 = case.image("it-multi:v1"), case.image("it-multi:v1", "arm64")
    other_platform = {"name": f"{PLAIN}/it-multi@{arm64.digest}", "tag_as": "it-multi:foreign"}
    refused = case.transfer(other_platform).fail()
    failed = [task for task in refused.tasks if task.status == "failed"]
    assert {task.host for task in failed} == set(PRIVATE)
    assert all("is for linux/arm64, and docker on this host runs linux/amd64" in task.message for task in failed)
    nothing_was_written(case)
    ran = case.transfer(name, {"name": name, "platform": "linux/arm64", "tag_as": "it-multi:foreign"}).succeed()
    warned = (
        "may not start on this host: it is for linux/arm64, as its 'platform' requests, and docker runs linux/amd64."
    )
    assert warned in " ".join(ran.output.split())
    for host in PRIVATE:
        case.proves(host, name, amd64)
        assert case.held(host, "it-multi:foreign") == arm64.config_digest


@pytest.mark.full
def test_objects_that_are_not_kept(case: Case) -> None:
    ran = case.transfer(SMALL, keep_objects=False).succeed()
    assert case.keys() == []
    for host in PRIVATE:
        case.proves(host, SMALL, case.image("it-small:v1"))
    assert [task.status for task in ran.all("Delete the blobs from the bucket")] == ["ok"]


@pytest.mark.full
@pytest.mark.parametrize("bucket", ["daytwo-encrypted", "daytwo-elsewhere"])
def test_buckets_with_rules_of_their_own(case: Case, bucket: str) -> None:
    encryption = {"sse": "aws:kms", "kms_key_id": case.bed.s3.kms_key} if bucket == "daytwo-encrypted" else {}
    if encryption:
        refused = case.transfer(V1, bucket=bucket).fail().single(SAVE).message
        assert "AccessDenied" in refused
    case.transfer(V1, bucket=bucket, part_size=5 * 1024 * 1024, **encryption).succeed()
    assert case.keys(bucket) != []
    for host in PRIVATE:
        case.proves(host, V1, case.image("it-app:v1"))
