# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies between real registries: with and without the referrers API, in both directions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from integration.plays import play, playbook_of
from integration.targets.image_copy.images import Content, make_multi_platform, random_layer
from integration.targets.image_copy.kit import RegistryProcess, copy, copy_all

Registries = dict[str, RegistryProcess]
# Within the registry of go-containerregistry, all repositories share their blobs: there is nothing to copy.
DIRECTIONS = [
    ("distribution", "referrers"),
    ("referrers", "distribution"),
    ("distribution", "distribution"),
]
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"


class Pair:
    """Source and destination, with a repository that no other test has."""

    def __init__(self, source: RegistryProcess, destination: RegistryProcess, repository: str) -> None:
        self.source = source
        self.destination = destination
        self.repository = repository
        self.mirror = f"mirror/{repository}"

    def name(self, tag: str = "v1") -> str:
        return f"{self.source.host}/{self.repository}:{tag}"

    def to(self, tag: str = "v1") -> str:
        return f"{self.destination.host}/{self.mirror}:{tag}"

    def push(self, content: Content, tag: str = "v1") -> str:
        return self.source.client.push(self.repository, content, tag)

    def copy(self, tag: str = "v1", check: bool = False, **options: Any) -> dict[str, Any]:
        return copy(self.name(tag), self.to(tag), check, **options)

    def check(self, content: Content, tag: str = "v1") -> None:
        self.destination.client.check(self.mirror, content, tag)


@pytest.fixture(params=DIRECTIONS, ids="-to-".join)
def pair(registries: Registries, repository: str, request: pytest.FixtureRequest) -> Pair:
    source, destination = request.param
    return Pair(registries[source], registries[destination], repository)


@pytest.fixture
def plain(registries: Registries, repository: str) -> Pair:
    return Pair(registries["distribution"], registries["referrers"], repository)


def steps_of(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["action"], step["target"]) for step in result["steps"]]


def test_check_run_check_run_of_an_index_with_all_that_belongs_to_it(pair: Pair) -> None:
    base = random_layer(20000)
    content = make_multi_platform(base)
    index_digest = pair.push(content)
    index = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": index_digest, "size": 10}
    child = json.loads(content.manifests[index_digest][0])["manifests"][0]
    # A signature of the index, an SBOM of an image, a signature of that SBOM; cosign's tag.
    signature, sbom, second, tagged = Content(), Content(), Content(), Content()
    signature.artifact(SIGNATURE, b"signature", index)
    described = sbom.artifact("application/spdx+json", b'{"spdx": 1}', child)
    second.artifact(SIGNATURE, b"signature of the SBOM", described)
    tagged.image(b"old signature")
    client = pair.source.client
    for made, subject in ((signature, index_digest), (sbom, child["digest"]), (second, described["digest"])):
        client.push(pair.repository, made)
        if not pair.source.has_referrers:
            entries = [
                {
                    "mediaType": made.manifests[made.root][1],
                    "digest": made.root,
                    "size": len(made.manifests[made.root][0]),
                }
            ]
            listed = Content()
            listed.index(*entries)
            client.push(pair.repository, listed, subject.replace(":", "-"))
    cosign_tag = index_digest.replace(":", "-") + ".sig"
    client.push(pair.repository, tagged, cosign_tag)

    before = len(pair.destination.list_requests())
    predicted = pair.copy(check=True)
    assert set(pair.destination.list_requests()[before:]) <= {"GET", "HEAD"}
    assert predicted["changed"]
    assert not predicted.get("failed"), predicted
    assert pair.destination.client.get_manifest(pair.mirror, "v1") is None

    done = pair.copy()
    assert not done.get("failed"), done
    assert done["changed"]
    assert done["steps"] == predicted["steps"]
    (item,) = done["results"]
    blobs = {digest: data for made in (content, signature, sbom, second, tagged) for digest, data in made.blobs.items()}
    assert item["digest"] == item["source_digest"] == index_digest
    assert set(item["referrers"]) == {signature.root, sbom.root, second.root, cosign_tag}
    if pair.source is not pair.destination:
        assert item["bytes_transferred"] == item["bytes_missing"] == sum(map(len, blobs.values()))
    pair.check(content)
    for made, subject in ((signature, index_digest), (sbom, child["digest"]), (second, described["digest"])):
        (entry,) = pair.destination.client.list_referrers(pair.mirror, subject)
        assert entry["digest"] == made.root
        if not pair.destination.has_referrers:  # the list is ours; that of go-containerregistry has the config's type
            assert entry["artifactType"] == json.loads(made.manifests[made.root][0])["artifactType"]
            assert entry["annotations"] == {"org.example.kind": entry["artifactType"]}
        assert pair.destination.client.get_manifest(pair.mirror, made.root) == made.manifests[made.root][0]
    pair.destination.client.check(pair.mirror, tagged, cosign_tag)

    before = len(pair.destination.list_requests())
    again = [pair.copy(check=True), pair.copy()]
    assert set(pair.destination.list_requests()[before:]) <= {"GET", "HEAD"}
    for result in again:
        assert not result["changed"]
        assert result["bytes_transferred"] == 0
        assert result["steps"] == []
        assert result["results"][0]["status"] == "ok"
        assert result["diff"] == []


def test_an_update_transfers_the_bytes_of_the_new_layer_only(pair: Pair) -> None:
    base, first, second = random_layer(50000), random_layer(), random_layer(7000)
    old, new = Content(), Content()
    old.image(base, first)
    new.image(base, second)
    pair.push(old)
    before = pair.copy()["results"][0]["digest"]
    pair.push(new)
    predicted, done = pair.copy(check=True), pair.copy()
    assert done["steps"] == predicted["steps"]
    (item,) = done["results"]
    assert item["bytes_missing"] == new.size - len(base)
    assert item["blobs_missing"] == 2
    assert done["diff"][0]["before"] == {"digest": before}
    assert done["diff"][0]["after"] == {"digest": new.root}
    pair.check(new)


def test_a_second_run_without_referrers_is_two_requests(plain: Pair) -> None:
    content = make_multi_platform(random_layer())
    plain.push(content)
    assert plain.copy(referrers=False)["changed"]
    before = [len(registry.list_requests()) for registry in (plain.source, plain.destination)]
    assert not plain.copy(referrers=False)["changed"]
    after = [len(registry.list_requests()) for registry in (plain.source, plain.destination)]
    assert [now - then for now, then in zip(after, before)] == [1, 1]


def test_a_second_run_of_an_image_is_few_requests(registries: Registries, repository: str) -> None:
    pair = Pair(registries["referrers"], registries["distribution"], repository)
    content = Content()
    content.image(random_layer())
    pair.push(content)
    assert pair.copy()["changed"]
    before = [len(registry.list_requests()) for registry in (pair.source, pair.destination)]
    assert not pair.copy()["changed"]
    after = [len(registry.list_requests()) for registry in (pair.source, pair.destination)]
    # The manifest, its referrers and the tags; the tag.
    assert [now - then for now, then in zip(after, before)] == [3, 1]


def test_a_chart_is_copied(pair: Pair) -> None:
    chart = Content()
    config = chart.blob(b'{"name": "app"}', "application/vnd.cncf.helm.config.v1+json")
    layer = chart.blob(random_layer(), "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    chart.manifest({"schemaVersion": 2, "config": config, "layers": [layer]})
    pair.push(chart, "1.2.3")
    # It has no platform, so the option does not concern it.
    assert pair.copy("1.2.3", platforms=["linux/arm64"])["results"][0]["status"] == "changed"
    pair.check(chart, "1.2.3")


def test_platforms(pair: Pair) -> None:
    content = make_multi_platform(random_layer())
    third = content.image(random_layer(), architecture="s390x")
    document = json.loads(next(data for data, kind in content.manifests.values() if kind.endswith("index.v1+json")))
    entries = [*document["manifests"], {**third, "platform": {"os": "linux", "architecture": "s390x"}}]
    content.index(*entries)
    pair.push(content)
    (single,) = pair.copy(platforms=["linux/arm64"])["results"]
    # The tag names the image of the platform, unchanged.
    assert single["digest"] == entries[2]["digest"]
    assert single["source_digest"] == content.root
    assert "platforms were left out" in single["reason"]
    for _run in range(2):
        result = pair.copy(platforms=["linux/amd64", "linux/arm64"])
    assert not result["changed"]
    (several,) = result["results"]
    assert several["digest"] not in (single["digest"], content.root)
    index = json.loads(pair.destination.client.get_manifest(pair.mirror, "v1") or b"")
    assert index["manifests"] == entries[:4]
    (refused,) = pair.copy(platforms=["linux/riscv64"])["results"]
    assert refused["status"] == "failed"
    assert "linux/riscv64. Available are: linux/amd64, linux/arm64, linux/s390x" in refused["reason"]
    (every,) = pair.copy(platforms=["linux/amd64", "linux/arm64", "linux/s390x"])["results"]
    assert every["digest"] == content.root


def test_a_blob_of_another_repository_of_this_run_is_mounted(registries: Registries, repository: str) -> None:
    pair = Pair(registries["referrers"], registries["distribution"], repository)
    base = random_layer(30000)
    first, second = Content(), Content()
    first.image(base)
    second.image(base, random_layer())
    pair.push(first, "a")
    pair.push(second, "b")
    images = [
        {"name": pair.name("a"), "to": pair.to("a")},
        {"name": pair.name("b"), "to": f"{pair.to('b')}".replace(pair.mirror, f"{pair.mirror}/b")},
    ]
    result = copy_all(images)
    assert [item["blobs_mounted"] for item in result["results"]] == [0, 1]
    assert result["results"][1]["bytes_transferred"] == second.size - len(base)
    pair.destination.client.check(f"{pair.mirror}/b", second, "b")


def test_a_copy_within_a_registry_mounts_everything(registries: Registries, repository: str) -> None:
    registry = registries["distribution"]
    pair = Pair(registry, registry, repository)
    content = make_multi_platform(random_layer())
    pair.push(content)
    (item,) = pair.copy()["results"]
    assert item["bytes_transferred"] == 0
    assert item["blobs_mounted"] == item["blobs_missing"] > 0
    pair.check(content)


def test_images_that_share_layers_transfer_them_once(plain: Pair) -> None:
    base = random_layer(30000)
    contents = {tag: Content() for tag in ("a", "b", "c")}
    for tag, content in contents.items():
        content.image(base, random_layer())
        plain.push(content, tag)
    images = [{"name": plain.name(tag), "to": plain.to(tag)} for tag in contents]
    predicted, done = copy_all(images, check=True), copy_all(images)
    assert predicted["steps"] == done["steps"]
    assert done["bytes_transferred"] == sum(content.size for content in contents.values()) - 2 * len(base)
    for tag, content in contents.items():
        plain.check(content, tag)


def test_a_failure_leaves_the_others_copied(plain: Pair) -> None:
    content = Content()
    content.image(random_layer())
    plain.push(content)
    result = copy_all([{"name": plain.name(tag), "to": plain.to(tag)} for tag in ("absent", "v1")])
    assert [item["status"] for item in result["results"]] == ["failed", "changed"]
    assert result["changed"]
    assert result["failed"]
    assert "does not have the manifest absent" in result["msg"]
    plain.check(content)


def test_an_image_without_a_tag_is_copied_under_its_digest(pair: Pair) -> None:
    content = make_multi_platform(random_layer())
    digest = pair.push(content)
    name = f"{pair.source.host}/{pair.repository}@{digest}"
    to = f"{pair.destination.host}/{pair.mirror}"
    results = [copy(name, to, check) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    pair.check(content, digest)
    # A pinned reference with a tag has to agree.
    (item,) = copy(f"{pair.source.host}/{pair.repository}:v1@sha256:{'0' * 64}", to)["results"]
    assert "tag and digest disagree" in item["reason"]


def test_a_layer_that_is_published_elsewhere_is_left_there(registries: Registries, repository: str) -> None:
    pair = Pair(registries["referrers"], registries["referrers"], repository)
    content = Content()
    layer_elsewhere = {
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "digest": "sha256:" + "a" * 64,
        "size": 10**9,
        "urls": ["https://layers.example/base"],
    }
    config = content.blob(b"{}", "application/vnd.oci.image.config.v1+json")
    layer = content.blob(random_layer(), "application/vnd.oci.image.layer.v1.tar+gzip")
    content.manifest({"schemaVersion": 2, "config": config, "layers": [layer_elsewhere, layer]})
    pair.push(content)
    (item,) = pair.copy()["results"]
    assert (item["status"], item["blobs_nondistributable"], item["blobs_missing"]) == ("changed", 1, 2)


def test_a_play(plain: Pair, tmp_path: Path) -> None:
    content = make_multi_platform(random_layer())
    plain.push(content)
    options = {
        "images": [{"name": plain.name(), "to": plain.to()}],
        "source_plain_http": True,
        "destination_plain_http": True,
        "destination_username": "AWS",
        "destination_password": "5ec4e7-pa55w04d",
    }
    tasks = [
        {"daytwo.aws.image_copy": options, "check_mode": check, "diff": True} for check in (True, False, True, False)
    ]
    tasks.append({"daytwo.aws.image_copy": {"images": []}, "ignore_errors": True})
    recorded = play(tmp_path, 1, playbook_of(tmp_path, 1, tasks), "-vvv", env={})
    results = [task["result"] for task in recorded.tasks]
    assert [result["changed"] for result in results[:4]] == [True, True, False, False]
    assert results[0]["steps"] == results[1]["steps"]
    assert "images: is empty" in results[4]["msg"]
    assert "5ec4e7-pa55w04d" not in recorded.output
    assert not re.search("5ec4e7", json.dumps(recorded.tasks))
    plain.check(content)
