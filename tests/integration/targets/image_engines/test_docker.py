# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only docker has: a socket that a group may use, and the containerd image store of Docker 29."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import EngineError
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import plan_load
from integration.targets.image_engines.images import Made, add_index
from integration.targets.image_engines.kit import DockerHost, NewDockerHost
from integration.targets.image_engines.test_containerd import ARM
from integration.targets.image_engines.test_engines import load, make_versions, read_text

# Neither is a user or a group of the machine.
USER, GROUP = 64_321, 64_322


def run_as_user(user: int, group: int, function: Callable[[], Any]) -> Any:
    """Runs a function in a process of this user without any other group, and returns its result."""

    def run() -> None:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
        try:
            sender.send(function())
        except Exception as error:
            sender.send(error)

    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    result = receiver.recv()
    process.join()
    if isinstance(result, Exception):
        raise result
    return result


def test_a_user_of_the_group_of_the_socket_needs_no_become(docker: DockerHost) -> None:
    made, _second = make_versions()
    os.chown(docker.socket, 0, GROUP)
    docker.directory.chmod(0o711)
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, USER, GROUP)

        def transfer() -> dict[str, object]:
            return load(docker, made, Path(home) / "staging")

        with pytest.raises(
            EngineError, match=r"docker denies access: user id 64321 has no permission .* Use become, or"
        ):
            run_as_user(USER, USER, lambda: docker.make_engine().read_facts(home))
        assert run_as_user(USER, GROUP, transfer)["error"] is None
        facts = run_as_user(USER, GROUP, lambda: docker.make_engine().read_facts(home))
        assert [plan.action for plan in plan_load(made.bundle, facts)] == ["none"]
        assert os.listdir(home) == []
    assert docker.run_container(made.image.tag) == read_text(made)


@pytest.mark.full
def test_the_containerd_image_store_has_names_digests_and_the_old_image_as_docker_knows_them(
    new_docker: NewDockerHost, tmp_path: Path
) -> None:
    first, second = (add_index(made, ARM) for made in make_versions())
    repository = first.image.tag.rpartition(":")[0]
    before = new_docker.list_names()
    assert load(new_docker, first, tmp_path)["error"] is None
    shown = {name.split()[0] for name in new_docker.list_names() - before}
    assert shown <= {first.image.tag, f"{repository}:<none>"}
    assert first.image.tag in shown
    for name in (first.image.tag, f"{repository}@{first.manifest}", f"{repository}@{first.index}"):
        assert new_docker.run_container(name) == read_text(first)
    old = json.loads(new_docker.call("inspect", first.image.tag))[0]["Id"]
    assert load(new_docker, second, tmp_path)["error"] is None
    assert new_docker.run_container(first.image.tag) == read_text(second)
    # The old image stays, as docker keeps it.
    assert new_docker.run_container(old) == read_text(first)
    facts = new_docker.make_engine().read_facts(str(tmp_path))
    assert [plan.action for plan in plan_load(second.bundle, facts)] == ["none"]
    assert not [name for name in new_docker.containerd_names() if "image-transfer" in name]


@pytest.mark.full
def test_an_old_image_without_another_name_is_kept_as_docker_keeps_it(
    new_docker: NewDockerHost, tmp_path: Path
) -> None:
    first, second = make_versions()
    plain = Made(replace(first.image, manifest=None), first.content)
    assert load(new_docker, plain, tmp_path)["error"] is None
    old = json.loads(new_docker.call("inspect", first.image.tag))[0]["Id"]
    assert load(new_docker, second, tmp_path)["error"] is None
    assert f"moby-dangling@{old}" in new_docker.containerd_names()
    assert new_docker.run_container(old) == read_text(first)
    # With its name it is no image without a name any longer; the other one is.
    assert load(new_docker, plain, tmp_path)["error"] is None
    assert f"moby-dangling@{old}" not in new_docker.containerd_names()
    assert load(new_docker, second, tmp_path)["error"] is None
    new_docker.call("image", "prune", "--force")
    assert f"moby-dangling@{old}" not in new_docker.containerd_names()
    assert new_docker.run_container(first.image.tag) == read_text(second)
