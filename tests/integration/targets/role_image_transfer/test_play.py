# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role in plays as users write them: batches, hosts that are not there, one target that fails, a free strategy."""

from __future__ import annotations

from typing import Any

import pytest
from integration.targets.image_offline_transfer.kit import LOAD, PLAIN, PRIVATE, SAVE, Case, size, small_blobs

SMALL = f"{PLAIN}/it-small:v1"
# Nobody listens on port 22 of the registry's address.
GONE = {"it-gone": {"ansible_host": "10.231.77.10", "ansible_python_interpreter": "/usr/bin/python3"}}


@pytest.mark.full
def test_hosts_run_in_turn(case: Case) -> None:
    image = case.image("it-small:v1")
    ran = case.transfer(SMALL, serial=1, options=("--forks", "1")).succeed()
    assert len(ran.all(SAVE)) == len(PRIVATE), "a batch each"
    for host in PRIVATE:
        case.proves(host, SMALL, image)
    assert case.sent() == size(image.layers) + small_blobs(image), "the second batch found the first one's blobs"


@pytest.mark.full
def test_a_first_host_that_is_not_there(case: Case) -> None:
    ran = case.transfer(SMALL, first=GONE).fail()
    assert [t.host for t in ran.tasks if t.status == "unreachable"] == ["it-gone"]
    assert len(ran.all(SAVE)) == 1
    for host in PRIVATE:
        assert ran.single(LOAD, host).status == "ok"
        case.proves(host, SMALL, case.image("it-small:v1"))


@pytest.mark.full
def test_a_target_fails_and_the_other_is_done(case: Case) -> None:
    nowhere = {"image_transfer_docker_host": "unix:///run/it-nowhere.sock"}
    ran = case.transfer(SMALL, hosts={"private-a": nowhere}).fail()
    (failed,) = [task for task in ran.tasks if task.status == "failed"]
    assert failed.host == "private-a"
    assert "/run/it-nowhere.sock does not exist. Start docker on this host, or set docker_host." in failed.message
    case.proves("private-b", SMALL, case.image("it-small:v1"))
    assert case.held("private-a", SMALL) is None


@pytest.mark.full
def test_a_target_that_fails_while_it_loads(case: Case) -> None:
    """Its blobs cannot get there: the S3 endpoint refuses this one host."""
    from testbed.gate import Fault

    refusal = Fault("error", key=f"{case.prefix}/*", client="private-a", status=403, code="AccessDenied", message="no")
    with case.bed.recorder.failing(refusal):
        ran = case.transfer(SMALL).fail()
    (failed,) = [task for task in ran.tasks if task.status == "failed"]
    assert failed.host == "private-a"
    assert "403" in failed.message
    assert ran.single(LOAD, "private-a").result["images"][0]["status"] == "failed"
    assert ran.report("private-b")["images"][0]["status"] == "changed"
    case.proves("private-b", SMALL, case.image("it-small:v1"))
    assert case.held("private-a", SMALL) is None
    assert case.stray("private-a") == []
    case.transfer(SMALL).succeed()
    case.proves("private-a", SMALL, case.image("it-small:v1"))


def test_a_free_strategy_is_refused(case: Case) -> None:
    play: dict[str, Any] = {"hosts": "private", "strategy": "free", "gather_facts": False}
    play["roles"] = [{"role": "daytwo.aws.image_transfer"}]
    ran = case.ansible.run([play], case.variables(SMALL)).fail()
    failed = [task for task in ran.tasks if task.status == "failed"]
    assert {task.host for task in failed} == set(PRIVATE)
    assert all("The play's strategy is 'free'" in task.message for task in failed)
    assert ran.all(SAVE) == []
    assert (case.writes(), [case.events(host) for host in PRIVATE]) == ([], [[], []])


@pytest.mark.full
def test_the_group_s_defaults_reach_every_module_of_the_role(case: Case) -> None:
    """Credentials for the group, as users write them: modules that take no AWS options must not be in it."""
    defaults = {"group/daytwo.aws.aws": {"access_key": case.bed.env["AWS_ACCESS_KEY_ID"], "secret_key": "wrong"}}
    play: dict[str, Any] = {"hosts": "private-a", "gather_facts": False, "module_defaults": defaults}
    play["roles"] = [{"role": "daytwo.aws.image_transfer"}]
    refused = case.ansible.run([play], case.variables(SMALL)).fail()
    assert "SignatureDoesNotMatch" in refused.single(SAVE).message, "the defaults win over the environment"
    assert case.writes() == []
    defaults["group/daytwo.aws.aws"]["secret_key"] = case.bed.env["AWS_SECRET_ACCESS_KEY"]
    case.ansible.run([play], case.variables(SMALL)).succeed()
    case.proves("private-a", SMALL, case.image("it-small:v1"))
