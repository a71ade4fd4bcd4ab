# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: each is refused before anything is written, with a message that names what failed, why and what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from integration.targets.image_offline_transfer.kit import (
    BUCKET,
    HOSTS,
    MODULE,
    PLAIN,
    Ansible,
    Case,
    Ran,
    own_case,
)
from testbed import Bed
from testbed.gate import Fault

SMALL = f"{PLAIN}/it-small:v1"
NO_DIGEST = "sha256:" + "0" * 64
NOWHERE = "/run/it-nowhere.sock"
OTHER = "daytwo-elsewhere"
# Refusals that the bed's gateway does not give by itself: one each, in the order of the table.
REFUSALS = (
    Fault("error", "ListObjectsV2", bucket=OTHER, times=1, status=403, code="AccessDenied", message="Access Denied"),
    Fault("error", "ListObjectsV2", bucket=OTHER, times=1, status=400, code="ExpiredToken", message="It has expired."),
    Fault("error", "ListObjectsV2", bucket=OTHER, times=1, status=403, code="InvalidAccessKeyId", message="Not known."),
)


@dataclass(frozen=True)
class Bad:
    """A task that must fail, and what its message must hold."""

    name: str
    options: dict[str, Any]
    messages: tuple[str, ...]
    keywords: dict[str, Any] = field(default_factory=dict)


def saved(name: str, *messages: str, image: str | list[Any] = SMALL, **options: Any) -> Bad:
    images = [{"name": image}] if isinstance(image, str) else image
    return Bad(
        name, {"state": "saved", "images": images, "plain_http": True, **options}, messages, {"delegate_to": "public"}
    )


def loaded(name: str, *messages: str, keywords: dict[str, Any] | None = None, **options: Any) -> Bad:
    return Bad(name, {"state": "loaded", "bundle": "{{ good.bundle }}", **options}, messages, keywords or {})


NOBODY = {"become": True, "become_method": "ansible.builtin.su", "become_user": "nobody", "become_flags": "-s /bin/sh"}
ESCAPING = {"digest": "../../etc/passwd", "size": 1, "media_type": "application/json"}

REFERENCES = (
    saved("capitals", "'it/App:v1' is malformed", "'App' is no part of a path", "lower-case", image="it/App:v1"),
    saved("a URL", "'http://it/app'", "it is a URL", "Leave out http://", image="http://it/app"),
    saved("a bad tag", "'-v1' is no tag", "does not begin with", image=f"{PLAIN}/it-small:-v1"),
    saved("a bad digest", "'sha256:12' is no digest", "64 lower-case", image=f"{PLAIN}/it-small@sha256:12"),
    saved("an image id", "it is an image id", "Give the image a tag", image="0" * 64),
    saved("no image", "images: is empty", "Name at least one", image=[]),
    saved(
        "two images for one name",
        f"two entries would get the name {SMALL}",
        "another tag_as",
        image=[{"name": SMALL}, {"name": f"{PLAIN}/it-small:v2", "tag_as": SMALL}],
    ),
    saved("a digest and no name", "names a digest only", "Set tag_as", image=f"{PLAIN}/it-small@{NO_DIGEST}"),
    saved("tag_as with a digest", "without a digest", image=[{"name": SMALL, "tag_as": f"it-small:x@{NO_DIGEST}"}]),
    saved(
        "tag and digest disagree",
        "tag and digest disagree",
        NO_DIGEST,
        "Remove the wrong part",
        image=f"{SMALL}@{NO_DIGEST}",
    ),
)
SOURCES = (
    saved(
        "an unknown tag",
        f"The registry {PLAIN} does not have the manifest nine",
        "Check the name",
        image=f"{PLAIN}/it-small:nine",
    ),
    saved(
        "an unknown repository", f"The registry {PLAIN} does not have", "Check the name", image=f"{PLAIN}/it-nothing:v1"
    ),
    saved(
        "two unknown images, both named",
        "it-nothing",
        "manifest nine",
        image=[{"name": f"{PLAIN}/it-nothing:v1"}, {"name": f"{PLAIN}/it-small:nine"}, {"name": SMALL}],
    ),
    saved("a malformed platform", "'amd64'", "os/architecture", image=[{"name": SMALL, "platform": "amd64"}]),
    saved(
        "an absent platform",
        "has no image for linux/s390x",
        "Available are: linux/amd64, linux/arm64",
        image=[{"name": f"{PLAIN}/it-multi:v1", "platform": "linux/s390x"}],
    ),
    saved(
        "another platform than the only one",
        "is for linux/amd64, but linux/arm64 is requested",
        "Omit the platform",
        image=[{"name": SMALL, "platform": "linux/arm64"}],
    ),
    saved("no registry there", "10.231.77.10:5999", "Connection refused", image="10.231.77.10:5999/it-small:v1"),
    saved("a registry without TLS", "TLS", PLAIN, plain_http=False),
    saved("unknown to docker", "has no it-nothing:v1", "source=registry", source="docker", image="it-nothing:v1"),
    saved("no docker on the source", NOWHERE, "set docker_host", source="docker", docker_host=f"unix://{NOWHERE}"),
    saved(
        "no such login file", "/root/it-nowhere.json", "cannot be read", registry_config_path="/root/it-nowhere.json"
    ),
    saved("no such authorities", "ca_path /root/it-nowhere.pem", ca_path="/root/it-nowhere.pem"),
)
BUCKETS = (
    saved("no bucket", "bucket: is required with transport=s3", bucket=""),
    saved("a missing bucket", "s3://it-nowhere", "The bucket does not exist", bucket="it-nowhere"),
    saved("somebody else's bucket", "999999999999", "the bucket's policy", expected_bucket_owner="999999999999"),
    saved("a bucket that is denied", "AccessDenied", "Check the IAM policy", bucket=OTHER),
    saved("an expired token", "ExpiredToken", "renew them and run again", bucket=OTHER),
    saved("an unknown key", "InvalidAccessKeyId", "not valid: renew them", bucket=OTHER),
    saved("a key that the bed does not have", "No user exists", access_key="AKIAIOSFODNN7EXAMPLE", secret_key="it-no"),
    saved("a wrong secret", "SignatureDoesNotMatch", "secret_key", access_key="{{ key_id }}", secret_key="it-no"),
    saved("a profile beside keys", "profile: excludes access_key", profile="it", access_key="AKIA", secret_key="it-no"),
    saved("no such profile", "it-nowhere", profile="it-nowhere"),
    saved("no endpoint there", "10.231.77.20:444", "endpoint_url", endpoint_url="https://10.231.77.20:444"),
    saved("small parts", "part_size: 1024 is below 5242880", "Set a larger size", part_size=1024),
    saved("a key without encryption", "kms_key_id: requires sse=aws:kms", "Set sse", kms_key_id="alias/it"),
    saved("a key for another encryption", "kms_key_id: requires sse=aws:kms", sse="AES256", kms_key_id="alias/it"),
)
TARGETS = (
    saved("targets of another shape", "targets[0]", "image_offline_transfer_info", targets=[{"host": "x"}]),
    saved("work from a task", "work: the action plugin sets this option", work={"phase": "send", "seconds": 1}),
    loaded("no docker", f"{NOWHERE} does not exist", "set docker_host", docker_host=f"unix://{NOWHERE}"),
    loaded("docker by network", "'tcp://10.0.0.1:2375' is no Unix", "Set unix:///", docker_host="tcp://10.0.0.1:2375"),
    loaded("no permission", "user id 65534 has no permission for /var/run/docker.sock", "Use become", keywords=NOBODY),
    loaded("too little disk", "/run/it-disk has", "needs at least", "Free space", staging_dir="/run/it-disk"),
    loaded("an open directory", "staging_dir: /run/it-open", "only user id 0 can write to", staging_dir="/run/it-open"),
    loaded("an empty bundle", "bundle: version None is not 1", "Pass the 'bundle'", bundle={}),
    loaded("a bundle of nothing", "bundle: 'images' must be a list", bundle={"version": 1, "images": []}),
    loaded(
        "a bundle that escapes",
        "bundle.images[0]",
        "is no digest",
        bundle="{{ good.bundle | combine({'images': [good.bundle.images[0] | combine({'config': escaping})]}) }}",
    ),
    loaded("blobs that nobody uploaded", "is not in s3://", "Run state=saved", prefix="{{ prefix }}-other"),
)
TABLE = (*REFERENCES, *SOURCES, *BUCKETS, *TARGETS)
# Unit tests of the same rules have these cases. The table keeps a case of each rule's kind without them.
IN_UNIT_TESTS = {
    *(bad.name for bad in REFERENCES if bad.name != "capitals"),
    "two unknown images, both named",
    "a malformed platform",
    "docker by network",
    "an empty bundle",
    "a bundle of nothing",
}


def chosen(request: pytest.FixtureRequest) -> list[Bad]:
    """The cases of this session, in the order of the table."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function) and "bad" in item.fixturenames]
    names = {item.callspec.params["bad"].name for item in items}
    return [bad for bad in TABLE if bad.name in names]


@pytest.fixture(scope="module")
def outcome(request: pytest.FixtureRequest, bed: Bed, ansible: Ansible) -> Iterator[tuple[Case, Ran]]:
    """The cases in one run, each task on its own; and one image uploaded before, for a bundle that is good."""
    with own_case(bed, ansible) as case:
        common = {"bucket": BUCKET, "prefix": "{{ prefix }}"}
        good = {"state": "saved", "images": [{"name": SMALL}], "plain_http": True, **common}
        mark = {"name": "mark", "ansible.builtin.command": "date +%s.%N", "delegate_to": "localhost"}
        tasks = [
            {"name": "a good bundle", MODULE: good, "delegate_to": "public", "register": "good"},
            mark,
            *(
                {"name": bad.name, MODULE: {**common, **bad.options}, "ignore_errors": True, **bad.keywords}
                for bad in chosen(request)
            ),
        ]
        play = {"hosts": "private-a", "gather_facts": False, "tasks": tasks}
        variables = {"prefix": case.prefix, "key_id": bed.env["AWS_ACCESS_KEY_ID"], "escaping": ESCAPING}
        local = {"localhost": {"ansible_connection": "local"}}
        with bed.recorder.failing(*REFUSALS), small_disk(bed):
            yield case, ansible.run([play], variables, first=local)


@contextlib.contextmanager
def small_disk(bed: Bed) -> Iterator[None]:
    """On a target: a file system with no room, and a directory that everybody may write to."""
    run = bed.host("private-a").run
    run(
        "sh", "-c", "mkdir -p /run/it-disk && mount -t tmpfs -o size=256k it /run/it-disk && mkdir -pm 777 /run/it-open"
    )
    try:
        yield
    finally:
        # Both are there: what a refused task was given is not its own to remove.
        run("sh", "-c", "umount /run/it-disk && rmdir /run/it-disk /run/it-open")


@pytest.mark.parametrize(
    "bad",
    [pytest.param(bad, marks=pytest.mark.full if bad.name in IN_UNIT_TESTS else (), id=bad.name) for bad in TABLE],
)
def test_bad_input(outcome: tuple[Case, Ran], bad: Bad) -> None:
    task = outcome[1].single(bad.name)
    assert task.status == "failed", task.result
    for message_part in bad.messages:
        assert message_part in task.message
    assert "Traceback" not in task.message
    assert "unexpected" not in task.message
    assert task.result.get("changed") in (None, False)


def test_nothing_was_written(outcome: tuple[Case, Ran]) -> None:
    case, ran = outcome
    began = float(ran.single("mark").result["stdout"])
    assert [call for call in case.calls(mutating=True) if call.began < began] != [], "the good bundle was uploaded"
    assert [call for call in case.calls(mutating=True) if call.began >= began] == []
    assert [case.events(host) for host in HOSTS] == [[], [], []]
    assert [case.stray(host) for host in HOSTS] == [[], [], []]
