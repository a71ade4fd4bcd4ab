# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role writes an archive: from a real registry, through a bucket, by ansible-playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

import boto3
import pytest
from integration.targets.image_archive_target.kit import Media
from integration.targets.image_copy.kit import DebianRegistry, ensure_programs
from integration.targets.image_engines.images import Made
from integration.targets.image_engines.test_engines import make_versions
from moto.server import ThreadedMotoServer

BUCKET = "my-images"
FILES = ["images.tar", "images.tar.load.txt", "images.tar.sha256"]


class Site:
    """A registry, a bucket, and a host with a medium."""

    def __init__(self, root: Path, registry: DebianRegistry, endpoint: str) -> None:
        self.root, self.registry, self.endpoint = root, registry, endpoint
        self.media = Media(root)
        self.env = {
            **os.environ,
            "HOME": str(root),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def push(self, made: Made) -> None:
        repository = f"http://{self.registry.host}/v2/{made.image.tag.partition('/')[2].rpartition(':')[0]}"
        assert made.image.manifest
        for digest, data in made.content.items():
            if digest == made.manifest:
                continue
            location = self.request("POST", f"{repository}/blobs/uploads/")["Location"]
            self.request("PUT", f"{location}&digest={digest}", data, "application/octet-stream")
        tag = made.image.tag.rpartition(":")[2]
        self.request(
            "PUT", f"{repository}/manifests/{tag}", made.content[made.manifest], made.image.manifest.media_type
        )

    def request(
        self, method: str, url: str, data: Optional[bytes] = None, media_type: str = "text/plain"
    ) -> Mapping[str, str]:
        request = urllib.request.Request(url, data, {"Content-Type": media_type}, method=method)  # noqa: S310
        with urllib.request.urlopen(request) as response:  # noqa: S310
            return dict(response.headers)

    def play(self, made: Made, *arguments: str, **variables: Any) -> str:
        """Runs the role. Returns its output."""
        given = {
            "image_transfer_source_host": "bastion",
            "image_transfer_bucket": BUCKET,
            "image_transfer_plain_http": True,
            "image_transfer_target_archive_path": str(self.media.path),
            "image_transfer_staging_dir": str(self.media.root),
            "image_transfer_images": [{"name": made.image.tag}],
            **variables,
        }
        defaults = {"group/daytwo.aws.aws": {"endpoint_url": self.endpoint}}
        role = {"role": "daytwo.aws.image_transfer", "vars": given}
        play = {"hosts": "writer", "gather_facts": False, "module_defaults": defaults, "roles": [role]}
        (self.root / "play.yml").write_text(json.dumps([play]))
        (self.root / "hosts").write_text(
            f"bastion\nwriter\n[all:vars]\nansible_connection=local\nansible_python_interpreter={sys.executable}\n"
        )
        done = subprocess.run(
            ["ansible-playbook", "-i", str(self.root / "hosts"), str(self.root / "play.yml"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=self.env,
        )
        return f"{done.stdout}{done.stderr}"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    ensure_programs()
    registry, server = DebianRegistry(tmp_path / "registry"), ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    registry.start()
    server.start()
    try:
        made = Site(tmp_path, registry, "http://{}:{}".format(*server.get_host_and_port()))
        s3 = boto3.client(
            "s3",
            endpoint_url=made.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        s3.create_bucket(Bucket=BUCKET)
        yield made
    finally:
        server.stop()
        registry.end()


@pytest.mark.full
def test_the_role_writes_an_archive_then_nothing_then_the_new_version(site: Site) -> None:
    first, second = make_versions(f"{site.registry.host}/team/app:v1")
    site.push(first)
    predicted = site.play(first, "--check")
    assert "team/app:v1: changed: there is no archive yet" in predicted
    assert "would: write" in predicted
    assert (site.media.list_files(), site.media.root.exists()) == ([], False)
    output = site.play(first)
    assert "team/app:v1: changed: there is no archive yet" in output
    site.media.check()
    assert (site.media.list_files(), site.media.root.exists()) == (FILES, False)
    checksum = (site.media.directory / FILES[2]).read_text().split()[0]
    assert f"images.tar: sha256 {checksum}" in output
    inode = site.media.path.stat().st_ino
    again = site.play(first)
    assert "team/app:v1: ok: the archive has this image already" in again
    assert "changed=0" in again
    assert "0.0 MB of 1.0 MB missing, 0.0 MB received" in again
    assert site.media.path.stat().st_ino == inode
    site.push(second)
    for arguments in (["--check", "--diff"], ["--diff"]):
        update = site.play(second, *arguments)
        assert "team/app:v1: changed: the archive has another image of this name (1.2 kB)" in update
        assert f'-    "image": "{first.config}"' in update
        assert f'+    "image": "{second.config}"' in update
    site.media.check()
    assert site.media.plan(second) == ({"none"}, set())


@pytest.mark.full
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"image_transfer_target_archive_path": "images.tar"}, "target_archive_path: 'images.tar' is not an absolute"),
        ({"image_transfer_target_archive_part_size": 1000}, "target_archive_part_size: 1000 is below 1048576 bytes"),
    ],
)
def test_the_role_refuses_bad_input_before_the_first_write(site: Site, variables: dict[str, Any], message: str) -> None:
    first, _second = make_versions(f"{site.registry.host}/team/app:v1")
    output = site.play(first, **variables)
    assert message in output
    assert "Find the missing blobs" not in output
    assert (site.media.list_files(), site.media.root.exists()) == ([], False)
