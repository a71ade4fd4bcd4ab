# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registries store the images byte for byte, and engines pull them."""

from __future__ import annotations

import hashlib
import json
import ssl
from pathlib import Path

import pytest
from testbed import Bed
from testbed.images import DOCKER, OCI, Images, Registry


def plain(bed: Bed) -> Registry:
    return Registry(bed.registry.plain)


def tls(bed: Bed, password: str | None) -> Registry:
    context = ssl.create_default_context(cafile=bed.registry.ca)
    return Registry(bed.registry.auth, bed.registry.user if password else None, password, context)


def test_app_is_about_60_mb_in_four_layers_of_which_v2_shares_three(bed: Bed) -> None:
    v1, v2 = bed.images.get("app:v1"), bed.images.get("app:v2")
    assert 55e6 < sum(layer.raw_size for layer in v1.layers) < 65e6
    assert len(v1.layers) == len(v2.layers) == 4
    assert v1.layers[:3] == v2.layers[:3]
    assert v1.layers[3] != v2.layers[3]


@pytest.mark.parametrize("reference", ["app:v1", "app:v2"])
def test_the_registry_has_every_byte(bed: Bed, reference: str) -> None:
    image = bed.images.get(reference)
    path = f"/v2/{image.repository}"
    status, _dummy, manifest = plain(bed).call("GET", f"{path}/manifests/{image.tag}", Accept=DOCKER["manifest"])
    assert status == 200
    assert manifest == image.manifest
    for digest in [image.config_digest, *(layer.digest for layer in image.layers)]:
        status, _dummy, blob = plain(bed).call("GET", f"{path}/blobs/{digest}")
        assert status == 200
        assert "sha256:" + hashlib.sha256(blob).hexdigest() == digest


def test_auth_is_required_and_accepted(bed: Bed) -> None:
    path = "/v2/app/manifests/v1"
    status, headers, _dummy = tls(bed, None).call("GET", path, Accept=DOCKER["manifest"])
    assert status == 401
    assert headers["www-authenticate"].startswith("Basic ")
    assert tls(bed, "wrong").call("GET", path, Accept=DOCKER["manifest"])[0] == 401
    status, _dummy, manifest = tls(bed, bed.registry.password).call("GET", path, Accept=DOCKER["manifest"])
    assert status == 200
    assert manifest == bed.images.get("app:v1").manifest


def test_pinned_is_found_by_its_digest_alone(bed: Bed) -> None:
    image = bed.images.get("pinned")
    status, _dummy, manifest = plain(bed).call("GET", f"/v2/pinned/manifests/{image.digest}", Accept=DOCKER["manifest"])
    assert status == 200
    assert manifest == image.manifest
    assert "sha256:" + hashlib.sha256(manifest).hexdigest() == image.digest
    tags = json.loads(plain(bed).call("GET", "/v2/pinned/tags/list")[2])
    assert not tags.get("tags")


@pytest.mark.parametrize(("reference", "media"), [("multi:v1", DOCKER), ("multi-oci:v1", OCI)])
def test_an_index_lists_both_platforms(bed: Bed, reference: str, media: dict[str, str]) -> None:
    repository, tag = reference.split(":")
    status, headers, index = plain(bed).call("GET", f"/v2/{repository}/manifests/{tag}", Accept=media["index"])
    assert status == 200
    assert headers["content-type"] == media["index"]
    assert headers["docker-content-digest"] == bed.images.index_digest(reference)
    listed = {entry["platform"]["architecture"]: entry for entry in json.loads(index)["manifests"]}
    assert set(listed) == {"amd64", "arm64"}
    for architecture, entry in listed.items():
        assert entry["mediaType"] == media["manifest"]
        assert entry["digest"] == bed.images.get(reference, architecture).digest


def test_an_engine_pulls_and_runs_what_was_built_without_an_engine(bed: Bed) -> None:
    host = bed.host("public")
    try:
        for reference, output in (("app:v1", "app v1"), ("app:v2", "app v2"), ("pinned", "pinned")):
            image = bed.images.get(reference)
            host.docker("pull", "--quiet", image.ref)
            assert host.docker("run", "--rm", "--network", "none", image.ref).stdout == f"{output}\n"
            described = json.loads(host.docker("image", "inspect", image.ref).stdout)[0]
            assert described["Id"] == image.config_digest
            assert described["RootFS"]["Layers"] == [layer.diff_id for layer in image.layers]
        multi = bed.images.get("multi:v1")
        host.docker("pull", "--quiet", multi.ref)
        assert json.loads(host.docker("image", "inspect", multi.ref).stdout)[0]["Id"] == multi.config_digest
    finally:
        for reference in ("app:v1", "app:v2", "pinned", "multi:v1"):
            host.docker("rmi", bed.images.get(reference).ref, check=False)


def test_an_image_can_be_in_an_engine_alone(bed: Bed) -> None:
    host, image = bed.host("private-a"), bed.images.get("app:v1")
    name = bed.images.into_docker(host, image, "nowhere/else:v1")
    described = json.loads(host.docker("image", "inspect", name).stdout)[0]
    host.docker("rmi", name)
    assert described["Id"] == image.config_digest
    assert not described["RepoDigests"]  # so the engine has no registry for it


def test_the_same_recipe_gives_the_same_digests(bed: Bed, tmp_path: Path) -> None:
    again = Images()
    again.directory = tmp_path
    assert again.get("multi:v1").digest == bed.images.get("multi:v1").digest
    assert list(tmp_path.rglob("layers/*.json"))  # it was built anew


@pytest.mark.full
def test_big_is_500_mb_raw_and_159_mb_compressed(bed: Bed) -> None:
    v1, v2 = bed.images.ensure("big")
    assert 495e6 < sum(layer.raw_size for layer in v1.layers) < 505e6
    assert 155e6 < sum(layer.size for layer in v1.layers) < 163e6
    assert len(v1.layers) == 4
    assert v1.layers[:3] == v2.layers[:3]
    assert 7e6 < v2.layers[3].size < 8.2e6
    assert plain(bed).has_manifest("big", "v2", v2.digest)
