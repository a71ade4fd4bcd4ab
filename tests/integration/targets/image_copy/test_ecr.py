# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies to and from an imitation of ECR, which can refuse, drop, pause and damage."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from integration.targets.image_copy.images import Client, Content, digest_of, make_multi_platform, random_layer
from integration.targets.image_copy.imitation import Imitation
from integration.targets.image_copy.kit import RegistryProcess, copy, copy_all, start_module

Registries = dict[str, RegistryProcess]


@pytest.fixture
def source(registries: Registries) -> RegistryProcess:
    return registries["referrers"]


def login(ecr: Imitation, side: str = "destination") -> dict[str, Any]:
    return {f"{side}_username": "AWS", f"{side}_password": ecr.password}


def push(ecr: Imitation, content: Content, tag: str = "v1", repository: str = "team/app") -> str:
    return Client(ecr.host, ecr.login).push(repository, content, tag)


def make_image(*layers: bytes) -> Content:
    made = Content()
    made.image(*(layers or (random_layer(),)))
    return made


def copy_to(ecr: Imitation, name: str, check: bool = False, tag: str = "v1", **options: Any) -> dict[str, Any]:
    return copy(name, f"{ecr.host}/team/app:{tag}", check, **login(ecr), **options)


def test_an_index_with_referrers(source: RegistryProcess, ecr: Imitation, repository: str) -> None:
    content, signature = make_multi_platform(random_layer()), Content()
    index = source.client.push(repository, content, "v1")
    signature.artifact("application/x.sig", b"s", {"mediaType": "x/y", "digest": index, "size": 1})
    source.client.push(repository, signature)
    name = f"{source.host}/{repository}:v1"
    results = [copy_to(ecr, name, check) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["steps"] == results[1]["steps"]
    # The signature is there before the tag, and a tag is written once.
    pushed = [path.rpartition("/")[2] for method, path in ecr.requests if method == "PUT" and "/manifests/" in path]
    assert pushed[-2:] == [signature.root, "v1"]
    assert pushed.count("v1") == 1
    assert ecr.tags["team/app"] == {"v1": index}
    assert ecr.sessions_open == set()


def test_from_ecr_the_storage_gets_no_login(registries: Registries, ecr: Imitation, repository: str) -> None:
    content = make_multi_platform(random_layer())
    push(ecr, content)
    destination = registries["distribution"]
    result = copy(f"{ecr.host}/team/app:v1", f"{destination.host}/{repository}", **login(ecr, "source"))
    assert result["results"][0]["status"] == "changed", result
    assert ecr.storage_errors == []
    destination.client.check(repository, content, "v1")


def test_a_mount_that_is_not_allowed_is_an_upload(ecr: Imitation) -> None:
    content = make_image()
    push(ecr, content, repository="team/other")
    options = {**login(ecr), **login(ecr, "source")}
    result = copy(f"{ecr.host}/team/other:v1", f"{ecr.host}/team/app:v1", **options)
    assert result["results"][0]["blobs_transferred"] == 2
    ecr.has_mounts = True
    push(ecr, second := make_image(), repository="team/other")
    (item,) = copy(f"{ecr.host}/team/other:v1", f"{ecr.host}/team/app:v1", **options)["results"]
    assert (item["blobs_mounted"], item["bytes_transferred"]) == (2, 0)
    assert ecr.tags["team/app"]["v1"] == second.root
    assert ecr.sessions_open == set()


def test_an_immutable_tag(source: RegistryProcess, ecr: Imitation, repository: str) -> None:
    ecr.immutable.add("team/app")
    first, second = make_image(), make_image()
    source.client.push(repository, first, "v1")
    source.client.push(repository, second, "v2")
    name = f"{source.host}/{repository}"
    assert copy_to(ecr, f"{name}:v1")["changed"]
    # The same digest is ok, without a PUT.
    before = ecr.count("PUT", "POST")
    assert copy_to(ecr, f"{name}:v1")["results"][0]["status"] == "ok"
    assert ecr.count("PUT", "POST") == before
    result = copy_to(ecr, f"{name}:v2")
    (item,) = result["results"]
    assert item["status"] == "failed"
    assert "cannot be overwritten because the repository is immutable" in item["reason"]
    assert "copy to another tag" in item["reason"]
    assert ecr.tags["team/app"] == {"v1": first.root}
    assert list(ecr.manifests["team/app"]) == [first.root]
    assert result["diff"] == []
    # Under another tag, the blobs are there already.
    (item,) = copy_to(ecr, f"{name}:v2", tag="v2")["results"]
    assert (item["status"], item["bytes_transferred"]) == ("changed", 0)


def test_a_signature_that_changed_behind_an_immutable_tag_is_reported(
    source: RegistryProcess, ecr: Imitation, repository: str
) -> None:
    ecr.immutable.add("team/app")
    content = make_image()
    digest = source.client.push(repository, content, "v1")
    tag = digest.replace(":", "-") + ".sig"
    name = f"{source.host}/{repository}:v1"
    source.client.push(repository, make_image(), tag)
    assert copy_to(ecr, name)["results"][0]["referrers"] == [tag]
    source.client.push(repository, make_image(), tag)
    result = copy_to(ecr, name)
    (item,) = result["results"]
    assert item["status"] == "failed"
    assert [entry["name"] for entry in item["referrers_failed"]] == [tag]
    assert "immutable" in item["referrers_failed"][0]["reason"]
    assert tag in item["reason"]
    assert ecr.tags["team/app"]["v1"] == digest


def test_a_missing_repository(source: RegistryProcess, ecr: Imitation, repository: str) -> None:
    source.client.push(repository, make_image(), "v1")
    images = [{"name": f"{source.host}/{repository}:v1", "to": f"{ecr.host}/{to}"} for to in ("team/new", "team/app")]
    predicted, result = copy_all(images, True, **login(ecr)), copy_all(images, **login(ecr))
    assert len(predicted["warnings"]) == 1
    assert "team/new" in predicted["warnings"][0]
    failed, done = result["results"]
    assert "The repository with name 'team/new' does not exist" in failed["reason"]
    assert "Create the repository" in failed["reason"]
    assert done["status"] == "changed"


def test_a_wrong_login(source: RegistryProcess, ecr: Imitation, repository: str, tmp_path: Path) -> None:
    source.client.push(repository, make_image(), "v1")
    secret = "5ec4e7-pa55w04d"
    images = [{"name": f"{source.host}/{repository}:v1", "to": f"{ecr.host}/team/app"}]
    process = start_module(tmp_path, images, destination_username="AWS", destination_password=secret)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "denies the user 'AWS'" in json.loads(output)["msg"]
    assert secret not in (output + errors).decode()
    assert ecr.count("PUT", "POST") == 0


def test_a_credential_helper(source: RegistryProcess, ecr: Imitation, repository: str, tmp_path: Path) -> None:
    source.client.push(repository, make_image(), "v1")
    helper = tmp_path / "docker-credential-fake"
    helper.write_text(f"#!/bin/sh\necho '{json.dumps({'Username': 'AWS', 'Secret': ecr.password})}'\n")
    helper.chmod(0o755)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"credHelpers": {ecr.host: "fake"}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        result = copy(f"{source.host}/{repository}:v1", f"{ecr.host}/team/app", destination_config_path=str(config))
    assert result["results"][0]["status"] == "changed", result


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_dropped_connection_restarts_the_upload(
    source: RegistryProcess, ecr: Imitation, repository: str, method: str
) -> None:
    content = make_image(random_layer(3_000_000))
    source.client.push(repository, content, "v1")
    ecr.drops["PUT"] = 2 if method == "PUT" else 0
    ecr.statuses_first = [(r"POST .*/uploads/", 503, {})] if method == "POST" else []
    result = copy_to(ecr, f"{source.host}/{repository}:v1")
    assert result["results"][0]["status"] == "changed", result
    ecr.check("team/app", content, "v1")
    assert ecr.sessions_open == set()


def test_retry_after_is_honored(source: RegistryProcess, ecr: Imitation, repository: str) -> None:
    source.client.push(repository, make_image(), "v1")
    ecr.statuses_first = [("PUT .*/blobs/", 429, {"Retry_After": "1"}), ("PUT .*/manifests/", 500, {})]
    assert copy_to(ecr, f"{source.host}/{repository}:v1")["results"][0]["status"] == "changed"


def test_a_source_that_drops_is_resumed(registries: Registries, ecr: Imitation, repository: str) -> None:
    layer = random_layer(3_000_000)
    content = make_image(layer)
    push(ecr, content)
    ecr.truncated.add(digest_of(layer))
    destination = registries["distribution"]
    result = copy(f"{ecr.host}/team/app:v1", f"{destination.host}/{repository}", **login(ecr, "source"))
    assert result["results"][0]["status"] == "changed", result
    destination.client.check(repository, content, "v1")


@pytest.mark.parametrize("size", [500, 3_000_000])
def test_a_damaged_blob_is_never_completed(registries: Registries, ecr: Imitation, repository: str, size: int) -> None:
    layer = random_layer(size)
    content = make_image(layer)
    push(ecr, content)
    ecr.damaged.add(digest_of(layer))
    destination = registries["distribution"]
    name, to = f"{ecr.host}/team/app:v1", f"{destination.host}/{repository}"
    (item,) = copy(name, to, **login(ecr, "source"))["results"]
    assert item["status"] == "failed"
    assert "damaged in the source registry" in item["reason"]
    assert destination.client.get_blob(repository, digest_of(layer)) is None
    assert destination.client.get_manifest(repository, "v1") is None
    ecr.damaged.clear()
    (item,) = copy(name, to, **login(ecr, "source"))["results"]
    # The config was there already.
    assert item["bytes_transferred"] == size


def test_a_registry_that_limits_requests_gets_chunks(source: RegistryProcess, ecr: Imitation, repository: str) -> None:
    content = make_image(random_layer(9_000_000))
    source.client.push(repository, content, "v1")
    ecr.largest_body = 4 * 1024 * 1024
    result = copy_to(ecr, f"{source.host}/{repository}:v1")
    assert result["results"][0]["status"] == "changed", result
    assert ecr.count("PATCH") == 3
    assert ecr.sessions_open == set()
    ecr.check("team/app", content, "v1")


PHASES = {
    "upload": ("POST", "/blobs/uploads/"),
    "blob": ("PUT", "/blobs/uploads/"),
    "child": ("PUT", "/manifests/sha256:"),
    "tag": ("PUT", "/manifests/v1$"),
    "verification": ("HEAD", "/manifests/v1$"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_killed_and_run_again(
    source: RegistryProcess, ecr: Imitation, repository: str, tmp_path: Path, phase: str
) -> None:
    old, content, signature = make_image(), make_multi_platform(random_layer()), Content()
    push(ecr, old)
    index = source.client.push(repository, content, "v1")
    signature.artifact("application/x.sig", b"s", {"mediaType": "x/y", "digest": index, "size": 1})
    source.client.push(repository, signature)
    images = [{"name": f"{source.host}/{repository}:v1", "to": f"{ecr.host}/team/app"}]
    expected, pattern = PHASES[phase]
    has_begun: list[bool] = []

    def matches(method: str, path: str) -> bool:
        has_begun.extend([True] if method in ("POST", "PUT") else [])
        return method == expected and bool(re.search(pattern, path)) and bool(has_begun)

    ecr.paused_at = matches
    process = start_module(tmp_path, images, **login(ecr))
    assert ecr.paused.wait(60), process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    tag = ecr.tags["team/app"]["v1"]
    assert tag == (index if phase == "verification" else old.root)
    ecr.resumed.set()
    for _run in range(2):
        result = copy_all(images, **login(ecr))
        assert not result.get("failed"), result
    assert not result["changed"]
    ecr.check("team/app", content, "v1")
    assert signature.root in ecr.manifests["team/app"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"images": []}, "images: is empty"),
        ({"images": [{"name": "x.example/a", "to": "y.example/b@sha256:" + "0" * 64}]}, "has a digest"),
        ({"images": [{"name": "x.example/A", "to": "y.example/b"}]}, "malformed"),
        (
            {
                "images": [
                    {"name": "x.example/a:1", "to": "y.example/b:1"},
                    {"name": "x.example/c:1", "to": "y.example/b"},
                ]
            },
            "two entries would be copied to y.example/b:1",
        ),
        ({"platforms": []}, "platforms: is empty"),
        ({"platforms": ["all", "linux/amd64"]}, "includes all others"),
        ({"platforms": ["amd64"]}, "malformed"),
        ({"parallel": 0}, "parallel: 0"),
        ({"bandwidth_limit": -1}, "bandwidth_limit"),
        ({"ca_path": "/does/not/exist"}, "ca_path"),
        (
            {
                "source_username": "u",
                "images": [{"name": "x.example/a", "to": "y.example/b"}, {"name": "z.example/a", "to": "y.example/c"}],
            },
            "source_username: would be sent to x.example and z.example",
        ),
    ],
)
def test_wrong_options_are_refused_before_any_request(change: dict[str, Any], expected: str) -> None:
    images = change.pop("images", [{"name": "x.example/a", "to": "y.example/b"}])
    with pytest.raises(ImageError, match=re.escape(expected)):
        copy_all(images, **change)
