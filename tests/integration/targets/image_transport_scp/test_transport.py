# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role by SSH on real engines: what is transferred and what is not, what is refused, and that nothing is left."""

from __future__ import annotations

import time

import pytest
from integration.targets.image_offline_transfer.kit import HOSTS, LOAD, PRIVATE, Case, size, small_blobs
from integration.targets.image_transport_scp.ground import (
    NOT_PUSHED,
    OFFER,
    PERMIT,
    PUSH,
    SMALL,
    SMALL2,
    V1,
    V2,
    Ground,
)
from testbed.tcp import TcpProxy


def nothing_was_written(ground: Ground) -> None:
    assert [ground.case.events(host) for host in HOSTS] == [[], [], []]
    ground.untouched()


@pytest.mark.full
def test_from_a_registry(case: Case, ground: Ground) -> None:
    v1, v2 = case.image("it-app:v1"), case.image("it-app:v2")
    full = size(v1.layers) + small_blobs(v1)

    planned = ground.check(V1).succeed()
    nothing_was_written(ground)
    assert planned.report("private-a")["estimated"] is False
    assert "transport scp: image_transfer_bucket is not set" in planned.output

    with ground.measured("public") as wire:
        ran = ground.transfer(V1).succeed()
    for host in PRIVATE:
        case.proves(host, V1, v1)
        assert ran.report(host)["steps"] == planned.report(host)["steps"] != []
        assert ran.report(host)["bytes_transferred"] == full
    assert [target["bytes"] for target in ran.single(PUSH).result["targets"]] == [full, full]
    # From the registry twice, to the targets once each, and what SSH and Ansible add.
    assert 2 * full < wire[0].sent < 2.1 * full
    assert case.events("public") == [], "no engine takes part on the source"
    assert case.calls() == [], "nothing goes by way of S3"
    ground.untouched()

    case.mark()
    with ground.measured("public") as wire:
        ran = ground.transfer(V1).succeed()
    assert ran.changed() == []
    assert {task.status for task in ran.all(PERMIT)} == {"skipped"}
    assert wire[0].sent < 200_000
    nothing_was_written(ground)

    with ground.measured("public") as wire:
        ran = ground.transfer(V2).succeed()
    new = size([layer for layer in v2.layers if layer not in v1.layers])
    for host in PRIVATE:
        assert new < ran.report(host)["bytes_transferred"] <= 1.02 * new
        case.proves(host, V2, v2)
        case.proves(host, V1, v1)
    assert wire[0].sent < 2 * 1.05 * new + 200_000
    ground.untouched()


@pytest.mark.full
def test_from_docker(case: Case, ground: Ground) -> None:
    v1, v2 = case.image("it-app:v1"), case.image("it-app:v2")
    for image, name in ((v1, V1), (v2, V2)):
        case.bed.images.into_docker(case.bed.host("public"), image, name)
    full = size(v1.layers, raw=True) + len(v1.config)
    case.mark()
    planned = ground.check(V1, source="docker").succeed()
    nothing_was_written(ground)
    assert planned.report("private-a")["estimated"] is True

    ran = ground.transfer(V1, source="docker").succeed()
    for host in PRIVATE:
        case.proves(host, V1, v1)
        names = [(step["action"], step["target"]) for step in ran.report(host)["steps"]]
        assert names == [(step["action"], step["target"]) for step in planned.report(host)["steps"]] != []
        # Compressed in part, if this machine is too busy to send it all at once.
        assert 0 < ran.report(host)["bytes_transferred"] <= full == ran.report(host)["bytes_missing"]
    assert case.events("public") == [f"save {v1.config_digest}"]
    ground.untouched()

    case.mark()
    assert ground.transfer(V1, source="docker").succeed().changed() == []
    nothing_was_written(ground)

    ran = ground.transfer(V2, source="docker").succeed()
    new = size([layer for layer in v2.layers if layer not in v1.layers], raw=True)
    for host in PRIVATE:
        assert new < ran.report(host)["bytes_missing"] <= 1.02 * new
        assert 0 < ran.report(host)["bytes_transferred"] <= ran.report(host)["bytes_missing"]
        case.proves(host, V2, v2)
    ground.untouched()


@pytest.mark.parametrize("source", ["registry", pytest.param("docker", marks=pytest.mark.full)])
def test_the_engine_unpacks_while_more_is_on_its_way(case: Case, ground: Ground, source: str) -> None:
    v1 = case.image("it-app:v1")
    if source == "docker":
        case.bed.images.into_docker(case.bed.host("public"), v1, V1)
    case.mark()
    ran = ground.transfer(V1, source=source, targets="private-a", bandwidth_limit=6_000_000).succeed()
    assert case.list_preloaded("private-a")
    case.proves("private-a", V1, v1)
    assert [image["status"] for image in ran.single(LOAD, "private-a").result["images"]] == ["changed"]
    ground.untouched()


@pytest.mark.full
def test_a_slow_wire_gets_the_layers_out_of_docker_compressed(case: Case, ground: Ground) -> None:
    v1 = case.image("it-app:v1")
    case.bed.images.into_docker(case.bed.host("public"), v1, V1)
    full = size(v1.layers, raw=True) + len(v1.config)
    with ground.measured("public") as wire:
        ran = ground.transfer(V1, source="docker", targets="private-a", bandwidth_limit=full // 8).succeed()
    case.proves("private-a", V1, v1)
    carried = ran.report("private-a")["bytes_transferred"]
    assert [target["bytes"] for target in ran.single(PUSH).result["targets"]] == [carried]
    # As well as a registry's gzip, nearly, but for what fills the wire's buffers at first.
    assert 0.9 * size(v1.layers) < carried < 0.9 * full
    assert carried < wire[0].sent < 1.1 * carried + 500_000
    assert ran.report("private-a")["bytes_missing"] == full
    ground.untouched()


def test_what_answers_is_not_the_target(case: Case, ground: Ground) -> None:
    """The source reaches another host at the address that it was given: nothing is sent there."""
    other = {"private-a": {"image_transfer_address": case.bed.host("private-b").address}}
    ran = ground.transfer(SMALL, hosts=other).fail()
    failed = ran.single(NOT_PUSHED, "private-a")
    assert "has another host key than the target reported over the controller's connection" in failed.message
    assert "Nothing was sent. Set image_transfer_address" in failed.message
    (stopped,) = [t for t in ran.single(PUSH).result["targets"] if t["name"] == "private-a"]
    assert (stopped["bytes"], stopped["blobs"]) == (0, [])
    assert case.held("private-a", SMALL) is None
    case.proves("private-b", SMALL, case.image("it-small:v1"))
    ground.untouched()


@pytest.mark.full
def test_a_target_that_cannot_be_reached_leaves_the_other_done(case: Case, ground: Ground) -> None:
    nobody = {"private-a": {"image_transfer_port": 2222}}
    ran = ground.transfer(SMALL, hosts=nobody).fail()
    assert "Connection refused" in ran.single(NOT_PUSHED, "private-a").message
    assert [task.host for task in ran.tasks if task.status == "failed"] == ["private-a"]
    case.proves("private-b", SMALL, case.image("it-small:v1"))
    assert case.held("private-a", SMALL) is None
    ground.untouched()


@pytest.mark.full
def test_behind_a_tunnel(case: Case, ground: Ground) -> None:
    """The source cannot use Ansible's address of the target: it needs image_transfer_address."""
    target = case.bed.host("private-a")
    common = case.bed._inventory()["all"]["vars"]["ansible_ssh_common_args"]
    with TcpProxy((target.address, 22)) as tunnel:
        through = {
            "ansible_host": "127.0.0.1",
            "ansible_port": tunnel.port,
            "ansible_ssh_common_args": f"-o HostKeyAlias={target.address} {common}",
        }
        ran = ground.transfer(SMALL, targets="private-a", hosts={"private-a": through}).fail()
        assert "Connection refused" in ran.single(NOT_PUSHED, "private-a").message
        ground.untouched()
        overrides = {**through, "image_transfer_address": target.address, "image_transfer_port": 22}
        ground.transfer(SMALL, targets="private-a", hosts={"private-a": overrides}).succeed()
    assert tunnel.passed > 0
    case.proves("private-a", SMALL, case.image("it-small:v1"))
    ground.untouched()


@pytest.mark.full
def test_the_role_reports_the_transport_and_why(case: Case, ground: Ground) -> None:
    message = "transport s3: image_transfer_bucket is set, and through a bucket each blob leaves the source once"
    assert message in case.check(SMALL).succeed().output
    assert "transport scp: set by image_transfer_transport" in case.check(SMALL, transport="scp").succeed().output


@pytest.mark.full
def test_hosts_run_in_turn(case: Case, ground: Ground) -> None:
    ran = ground.transfer(SMALL, serial=1, options=("--forks", "1")).succeed()
    assert len(ran.all(OFFER)) == len(ran.all(PUSH)) == len(PRIVATE), "a batch each"
    for host in PRIVATE:
        case.proves(host, SMALL, case.image("it-small:v1"))
    ground.untouched()


@pytest.mark.full
@pytest.mark.parametrize("path", ["scp", "s3"])
def test_a_limit_of_bytes_per_second(case: Case, ground: Ground, path: str) -> None:
    image = case.image("it-app:v1")
    full = size(image.layers) + small_blobs(image)
    rate = full // 8
    more = {} if path == "scp" else {"bucket": "daytwo-images"}
    fast = ground.transfer(V1, targets="private-a", **more).succeed()
    case.clean()
    slow = ground.transfer(V1, targets="private-a", bandwidth_limit=rate, **more).succeed()
    case.proves("private-a", V1, image)
    # The source sends for 8 seconds, and with a bucket the target receives for 8 more.
    for task in (PUSH,) if path == "scp" else (OFFER, LOAD):
        without, limited = fast.single(task, None).result["seconds"], slow.single(task, None).result["seconds"]
        assert limited > 6.5, task
        assert limited - without > 3, task
    ground.untouched()


@pytest.mark.full
def test_two_runs_from_the_same_source_at_once(case: Case, ground: Ground) -> None:
    """The same images to the same targets, and others beside them."""
    case.bed.images.into_docker(case.bed.host("public"), case.image("it-small:v1"), SMALL)
    case.mark()
    runs = [ground.start(SMALL, source="docker"), ground.start(SMALL, source="docker"), ground.start(SMALL2)]
    for run in runs:
        ran = run.wait()
        case.runs.append(ran)
        ran.succeed()
    for host in PRIVATE:
        case.proves(host, SMALL, case.image("it-small:v1"))
        case.proves(host, SMALL2, case.image("it-small:v2"))
    ground.untouched()


@pytest.mark.full
def test_a_source_that_cannot_make_a_key(case: Case, ground: Ground) -> None:
    node = case.bed.host("public")
    script = "printf '#!/bin/sh\\necho no keys today >&2; exit 1\\n' > /opt/it-keygen && chmod +x /opt/it-keygen"
    node.run("sh", "-c", f"{script} && mount --bind /opt/it-keygen /usr/bin/ssh-keygen")
    try:
        failed = ground.transfer(SMALL).fail().single(OFFER)
    finally:
        node.run("sh", "-c", "umount /usr/bin/ssh-keygen; rm /opt/it-keygen")
    assert "ssh-keygen failed on the source: no keys today" in failed.message
    time.sleep(6)  # as long as the source keeps the reason
    ground.untouched()
