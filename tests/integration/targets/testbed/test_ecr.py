# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ECR's registry: tokens, immutable tags, redirects to S3 and permissions, with docker, ctr, crane and image_copy."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError
from integration.targets.image_copy.images import INDEX, MANIFEST, Content, make_multi_platform, random_layer
from integration.targets.image_copy.kit import copy
from moto import mock_aws
from moto.ecr.models import ecr_backends
from testbed import Bed, aws, gate, paths
from testbed.aws import ecr_store
from testbed.ecr import ensure_credential_provider
from testbed.gate import Fault
from testbed.images import Registry
from testbed.node import BedError

AWS = f"http://{paths.AWS}:{paths.AWS_PORT}"
ARTIFACT = "application/vnd.example.sbom"
CRANE = "/opt/crane"  # on the host


@pytest.fixture(autouse=True)
def names(bed: Bed) -> Iterator[None]:
    with bed.ecr.resolving():
        yield


@pytest.fixture
def ecr(client: Any) -> Any:
    return client("ecr")


@dataclass(frozen=True)
class Repository:
    name: str
    bed: Bed
    ecr: Any

    @property
    def host(self) -> str:
        return self.bed.ecr.host

    def registry(self, password: str | None = None) -> Registry:
        context = ssl.create_default_context(cafile=self.bed.ca)
        return Registry(self.host, "AWS", password or self.bed.ecr.password(self.ecr), context)

    def reference(self, tag: str) -> str:
        return f"{self.host}/{self.name}:{tag}"

    def push(self, content: Content, tag: str = "") -> str:
        registry = self.registry()
        for digest, data in content.blobs.items():
            registry.push_bytes(self.name, digest, data)
        for digest, (data, media_type) in content.manifests.items():
            registry.push_manifest(self.name, tag if tag and digest == content.root else digest, media_type, data)
        return content.root

    def details(self) -> dict[str, Any]:
        found = self.ecr.describe_images(repositoryName=self.name)["imageDetails"]
        return {entry["imageDigest"]: entry for entry in found}


@pytest.fixture
def make(bed: Bed, ecr: Any) -> Iterator[Callable[..., Repository]]:
    made: list[str] = []

    def create(name: str = "", **options: Any) -> Repository:
        made.append(name or f"team/{secrets.token_hex(4)}")
        ecr.create_repository(repositoryName=made[-1], **options)
        return Repository(made[-1], bed, ecr)

    yield create
    for name in made:
        ecr.delete_repository(repositoryName=name, force=True)


@pytest.fixture
def repository(make: Callable[..., Repository]) -> Repository:
    return make()


def image(*layers: bytes) -> Content:
    made = Content()
    made.image(*(layers or (random_layer(),)))
    return made


def refused(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def error_of(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str, str]:
    (found,) = json.loads(answer[2])["errors"]
    return answer[0], found["code"], found["message"]


# Tokens


def test_a_token_lets_its_caller_in_for_twelve_hours(repository: Repository, bed: Bed) -> None:
    (data,) = repository.ecr.get_authorization_token()["authorizationData"]
    assert data["proxyEndpoint"] == f"https://{bed.ecr.host}"
    user, _colon, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    assert user == "AWS"
    assert repository.registry(password).call("GET", "/v2/")[0] == 200
    for wrong in ("no token", password[:-8] + "AAAAAAA="):
        status, headers, body = repository.registry(wrong).call("GET", "/v2/")
        assert (status, body) == (401, b"Not Authorized\n")
        assert headers["www-authenticate"] == f'Basic realm="https://{bed.ecr.host}/",service="ecr.amazonaws.com"'


def test_moto_gives_tokens_that_have_expired() -> None:
    def expires() -> Any:
        client = boto3.client("ecr", paths.REGION, aws_access_key_id="AKIAX", aws_secret_access_key="x")
        return client.get_authorization_token()["authorizationData"][0]["expiresAt"]

    with mock_aws():
        assert expires().year == 2015
        with aws.installed(aws.load()), pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", "AKIAX")
            assert expires().year > 2025


def test_moto_takes_images_without_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAX")
    content = image()
    manifest, digest = content.manifests[content.root][0].decode(), content.root
    put = {"repositoryName": "app", "imageManifest": manifest, "imageTag": "v1"}
    with mock_aws():
        client = boto3.client("ecr", paths.REGION, aws_access_key_id="AKIAX", aws_secret_access_key="x")
        client.create_repository(repositoryName="app")
        assert client.put_image(**put)["image"]["imageId"]["imageDigest"] != digest
        client.delete_repository(repositoryName="app", force=True)
        with aws.installed(aws.load()):
            client.create_repository(repositoryName="app")
            code, message = refused(client.put_image, **put)
            assert code == "LayersNotFoundException"
            assert all(blob in message for blob in content.blobs)


# Repositories


def test_an_unknown_repository(repository: Repository) -> None:
    registry = repository.registry()
    message = f"The repository with name 'nowhere' does not exist in the registry with id '{paths.ACCOUNT}'"
    for method, path in (("GET", "manifests/v1"), ("POST", "blobs/uploads/"), ("GET", "tags/list")):
        assert error_of(registry.call(method, f"/v2/nowhere/{path}")) == (404, "NAME_UNKNOWN", message)


def test_a_template_creates_a_repository_on_push(repository: Repository, make: Callable[..., Repository]) -> None:
    prefix = f"auto-{secrets.token_hex(4)}"
    ecr, registry = repository.ecr, repository.registry()
    ecr.create_repository_creation_template(
        prefix=prefix, appliedFor=["CREATE_ON_PUSH"], imageTagMutability="IMMUTABLE", resourceTags=[]
    )
    try:
        made = Repository(f"{prefix}/app", repository.bed, ecr)
        assert registry.call("GET", f"/v2/{made.name}/tags/list")[0] == 404  # a read creates nothing
        digest = made.push(image(), "v1")
        (found,) = ecr.describe_repositories(repositoryNames=[made.name])["repositories"]
        assert found["imageTagMutability"] == "IMMUTABLE"
        assert list(made.details()) == [digest]
        ecr.delete_repository(repositoryName=made.name, force=True)
    finally:
        ecr.delete_repository_creation_template(prefix=prefix)
    assert registry.call("POST", f"/v2/{prefix}/other/blobs/uploads/")[0] == 404


# Images


def test_what_a_push_leaves_in_the_api(repository: Repository) -> None:
    content = make_multi_platform(random_layer())
    index = repository.push(content, "v1")
    details = repository.details()
    assert set(details) == set(content.manifests)
    for digest, (data, media_type) in content.manifests.items():
        assert details[digest]["imageManifestMediaType"] == media_type
        if media_type == MANIFEST:
            document = json.loads(data)
            size = document["config"]["size"] + sum(layer["size"] for layer in document["layers"])
            assert details[digest]["imageSizeInBytes"] == len(data) + size
    assert details[index]["imageTags"] == ["v1"]
    (got,) = repository.ecr.batch_get_image(repositoryName=repository.name, imageIds=[{"imageTag": "v1"}])["images"]
    assert got["imageManifest"].encode() == content.manifests[index][0]
    # An index that loses its tag stays, without it.
    repository.push(image(), "v1")
    assert "imageTags" not in repository.details()[index]


def test_an_index_comes_last_and_leaves_first(repository: Repository) -> None:
    content = make_multi_platform(random_layer())
    data, media_type = content.manifests[content.root]
    answer = repository.registry().call("PUT", f"/v2/{repository.name}/manifests/v1", data, Content_Type=media_type)
    status, code, message = error_of(answer)
    assert (status, code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert message.startswith("Images with digests '[sha256:")
    assert f"required for pushing image into repository with name '{repository.name}'" in message
    manifest, media_type = next(iter(image().manifests.values()))
    answer = repository.registry().call("PUT", f"/v2/{repository.name}/manifests/v1", manifest, Content_Type=media_type)
    assert error_of(answer)[:2] == (400, "MANIFEST_BLOB_UNKNOWN")
    repository.push(content, "v1")
    child = next(digest for digest, (_data, kind) in content.manifests.items() if kind == MANIFEST)
    (failure,) = repository.ecr.batch_delete_image(repositoryName=repository.name, imageIds=[{"imageDigest": child}])[
        "failures"
    ]
    assert failure["failureCode"] == "ImageReferencedByManifestList"
    blobs = {path.name for path in repository.bed.ecr.blobs()}
    for digest in reversed(content.manifests):  # by the registry's own API
        assert repository.registry().call("DELETE", f"/v2/{repository.name}/manifests/{digest}")[0] == 202
    assert repository.details() == {}
    left = {path.name for path in repository.bed.ecr.blobs()}
    assert blobs - left == {digest.partition(":")[2] for digest in content.blobs}


@pytest.mark.parametrize("tag", ["v1", "dev-1"])
def test_an_immutable_tag(make: Callable[..., Repository], tag: str) -> None:
    repository = make(
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "dev-*"}],
    )
    first, second = image(), image()
    digest = repository.push(first, tag)
    if tag == "dev-1":
        repository.push(first, tag)
        repository.push(second, tag)
        return
    message = (
        f"The image tag 'v1' already exists in the '{repository.name}' repository and cannot be overwritten because "
        "the tag is immutable."
    )
    for content in (first, second):  # the same digest as well
        with pytest.raises(BedError, match="TAG_INVALID"):
            repository.push(content, tag)
    manifest = second.manifests[second.root][0].decode()
    put = repository.ecr.put_image
    assert refused(put, repositoryName=repository.name, imageManifest=manifest, imageTag="v1") == (
        "ImageTagAlreadyExistsException",
        message,
    )
    same = first.manifests[digest][0].decode()
    code, _message = refused(put, repositoryName=repository.name, imageManifest=same, imageTag="v1")
    assert code == "ImageAlreadyExistsException"
    assert repository.details()[digest]["imageTags"] == ["v1"]


def test_referrers(repository: Repository) -> None:
    content, sbom = image(), Content()
    digest = repository.push(content, "v1")
    data, media_type = content.manifests[digest]
    sbom.artifact(ARTIFACT, b"{}", {"mediaType": media_type, "digest": digest, "size": len(data)})
    repository.push(sbom)
    registry = repository.registry()
    path = f"/v2/{repository.name}/manifests/{sbom.root}"
    pushed, pushed_type = sbom.manifests[sbom.root]
    assert registry.call("PUT", path, pushed, Content_Type=pushed_type)[1]["oci-subject"] == digest
    for query, expected in (("", [sbom.root]), (f"?artifactType={ARTIFACT}", [sbom.root]), ("?artifactType=x/y", [])):
        status, headers, body = registry.call("GET", f"/v2/{repository.name}/referrers/{digest}{query}")
        assert (status, headers["content-type"]) == (200, INDEX)
        assert [entry["digest"] for entry in json.loads(body)["manifests"]] == expected
        assert headers.get("oci-filters-applied") == ("artifactType" if query else None)
    assert repository.details()[sbom.root]["subjectManifestDigest"] == digest


# Blobs


def test_a_mount_begins_an_upload_unless_the_account_allows_it(make: Callable[..., Repository], recorder: Any) -> None:
    source, target = make(), make()
    content = image()
    source.push(content, "v1")
    blob = next(iter(content.blobs))
    path = f"/v2/{target.name}/blobs/uploads/?mount={blob}&from={source.name}"
    status, headers, _body = target.registry().call("POST", path)
    assert status == 202
    assert headers["location"].startswith(f"https://{target.host}/v2/{target.name}/blobs/uploads/")
    target.ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    try:
        assert target.registry().call("POST", path)[0] == 201
        assert target.registry().call("HEAD", f"/v2/{target.name}/blobs/{blob}")[0] == 200
    finally:
        target.ecr.put_account_setting(name="BLOB_MOUNTING", value="DISABLED")
    loose = random_layer()
    digest = "sha256:" + hashlib.sha256(loose).hexdigest()
    source.registry().push_bytes(source.name, digest, loose)
    assert target.registry().call("HEAD", f"/v2/{target.name}/blobs/{digest}")[0] == 404


def test_chunks_behind_the_first_are_lost(repository: Repository) -> None:
    registry, data = repository.registry(), os.urandom(3000)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    location = registry.call("POST", f"/v2/{repository.name}/blobs/uploads/")[1]["location"]
    path = urlsplit(location).path
    for offset in (0, 1000, 2000):
        status, headers, _body = registry.call(
            "PATCH", path, data[offset : offset + 1000], Content_Range=f"{offset}-{offset + 999}"
        )
        assert (status, headers["range"]) == (201, "0-999")
    answer = registry.call("PUT", f"{path}?digest={digest}", b"")
    assert error_of(answer) == (
        400,
        "BLOB_UPLOAD_INVALID",
        "None of the provided layer digests match the calculated layer digest",
    )


def test_a_blob_is_in_s3_with_a_single_signature(repository: Repository, bed: Bed, recorder: Any) -> None:
    content = image()
    repository.push(content, "v1")
    blob, data = next((digest, data) for digest, data in content.blobs.items() if len(data) > 4000)
    status, headers, _body = repository.registry().call("GET", f"/v2/{repository.name}/blobs/{blob}")
    assert status == 307
    url = urlsplit(headers["location"])
    assert url.netloc == f"{bed.ecr.bucket}.s3.{paths.REGION}.amazonaws.com"
    storage = Registry(url.netloc, ssl=ssl.create_default_context(cafile=bed.ca))
    assert storage.call("GET", f"{url.path}?{url.query}")[2] == data
    assert storage.call("GET", f"{url.path}?{url.query[:-2]}00")[0] == 403
    status, _headers, body = storage.call("GET", f"{url.path}?{url.query}", Authorization="Basic QVdTOng=")
    assert status == 400
    assert b"Only one auth mechanism allowed" in body
    assert storage.call("GET", url.path)[0] == 403
    (call,) = recorder.calls(service="s3", operation="GetObject", status=200)
    assert (call.bucket, call.bytes_out) == (bed.ecr.bucket, len(data))


def test_parts_by_the_api(repository: Repository) -> None:
    ecr, name = repository.ecr, {"repositoryName": repository.name}
    for sizes, code in (((5 << 20, 100), ""), ((100, 100), "LayerPartTooSmallException")):
        data = os.urandom(sum(sizes))
        upload = ecr.initiate_layer_upload(**name)["uploadId"]
        begin = 0
        for size in sizes:
            part = {"partFirstByte": begin, "partLastByte": begin + size - 1}
            ecr.upload_layer_part(**name, uploadId=upload, **part, layerPartBlob=data[begin : begin + size])
            begin += size
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        end = {**name, "uploadId": upload, "layerDigests": [digest]}
        if code:
            assert refused(ecr.complete_layer_upload, **end)[0] == code
            continue
        assert ecr.complete_layer_upload(**end)["layerDigest"] == digest
        _status, headers, _body = repository.registry().call("HEAD", f"/v2/{repository.name}/blobs/{digest}")
        assert headers["content-length"] == str(len(data))
        # A layer has a URL as soon as an image has it.
        download = {**name, "layerDigest": digest}
        assert refused(ecr.get_download_url_for_layer, **download)[0] == "LayerInaccessibleException"


# Permissions, records, restarts


@pytest.fixture
def role(client: Any) -> Iterator[Callable[[], Any]]:
    """A role without policies. Calling it gives a client for ECR with a session of the role."""
    iam, name = client("iam"), f"node-{secrets.token_hex(4)}"
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    arn = f"arn:aws:iam::{paths.ACCOUNT}:role/{name}"

    def session() -> Any:
        made = client("sts").assume_role(RoleArn=arn, RoleSessionName="i-0123")["Credentials"]
        return boto3.client(
            "ecr",
            paths.REGION,
            endpoint_url=AWS,
            aws_access_key_id=made["AccessKeyId"],
            aws_secret_access_key=made["SecretAccessKey"],
            aws_session_token=made["SessionToken"],
        )

    session.name, session.arn = name, arn  # type: ignore[attr-defined]
    yield session
    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    iam.delete_role(RoleName=name)


def test_policies_decide_what_a_role_may_do(repository: Repository, role: Any, client: Any, bed: Bed) -> None:
    repository.push(image(), "v1")
    ecr, path = role(), f"/v2/{repository.name}"
    session = f"arn:aws:sts::{paths.ACCOUNT}:assumed-role/{role.name}/i-0123"
    assert refused(ecr.get_authorization_token) == (
        "AccessDeniedException",
        f"User: {session} is not authorized to perform: ecr:GetAuthorizationToken on resource: * because no "
        "identity-based policy allows the ecr:GetAuthorizationToken action",
    )
    pull_only = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
    client("iam").attach_role_policy(RoleName=role.name, PolicyArn=pull_only)
    registry = repository.registry(bed.ecr.password(ecr))
    assert registry.call("GET", f"{path}/manifests/v1")[0] == 200
    status, code, message = error_of(registry.call("POST", f"{path}/blobs/uploads/"))
    arn = f"arn:aws:ecr:{paths.REGION}:{paths.ACCOUNT}:repository/{repository.name}"
    assert (status, code) == (403, "DENIED")
    assert message == (
        f"User: {session} is not authorized to perform: ecr:InitiateLayerUpload on resource: {arn} because no "
        "identity-based policy allows the ecr:InitiateLayerUpload action"
    )
    for effect, action, method, tail in (
        ("Allow", "ecr:InitiateLayerUpload", "POST", "blobs/uploads/"),
        ("Deny", "ecr:BatchGetImage", "GET", "manifests/v1"),
    ):
        statement = {"Effect": effect, "Principal": {"AWS": role.arn}, "Action": action}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        repository.ecr.set_repository_policy(repositoryName=repository.name, policyText=policy)
        assert registry.call(method, f"{path}/{tail}")[0] == (202 if effect == "Allow" else 403)
    assert repository.registry().call("GET", f"{path}/manifests/v1")[0] == 200  # others may


def test_the_gate_records_denies_and_breaks_calls(repository: Repository, recorder: Any) -> None:
    content = image()
    digest = repository.push(content, "v1")
    config, layer = content.blobs
    calls = recorder.calls(service="ecr", protocol="registry")
    assert {call.client for call in calls} == {"controller"}
    assert [(call.action, call.key) for call in calls if call.mutating and call.operation != "InitiateLayerUpload"] == [
        ("ecr:CompleteLayerUpload", f"{repository.name}@{config}"),
        ("ecr:CompleteLayerUpload", f"{repository.name}@{layer}"),
        ("ecr:PutImage", f"{repository.name}:v1"),
    ]
    assert sum(call.bytes_in for call in calls) == content.size + len(content.manifests[digest][0])
    registry = repository.registry()
    with recorder.denying("ecr:BatchGetImage"):
        answer = registry.call("GET", f"/v2/{repository.name}/manifests/v1")
        assert error_of(answer)[:2] == (403, "DENIED")
    fault = Fault("error", operation="BatchGetImage", status=429, code="TOOMANYREQUESTS", message="Rate exceeded")
    with recorder.failing(fault):
        answer = registry.call("GET", f"/v2/{repository.name}/manifests/v1")
        assert error_of(answer) == (429, "TOOMANYREQUESTS", "Rate exceeded")
    denied, failed = recorder.calls(operation="BatchGetImage")
    assert (denied.denied, denied.error, failed.error) == (True, "DENIED", "TOOMANYREQUESTS")


def test_a_restart_of_aws_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    monkeypatch.setattr(ecr_store, "IN_BED", True)
    monkeypatch.setattr(ecr_store, "root", lambda: tmp_path)
    monkeypatch.setattr(gate, "DATA", tmp_path / "s3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAX")
    rules = aws.load()
    with mock_aws(), aws.installed(rules):
        client = boto3.client("ecr", paths.REGION, aws_access_key_id="AKIAX", aws_secret_access_key="x")
        name = {"repositoryName": "team/app"}
        filters = [{"filterType": "WILDCARD", "filter": "dev-*"}]
        client.create_repository(
            **name,
            imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=filters,
            tags=[{"Key": "team", "Value": "a"}],
        )
        client.create_repository_creation_template(prefix="auto", appliedFor=["CREATE_ON_PUSH"])
        content = image(b"layer")
        for digest, data in content.blobs.items():
            upload = client.initiate_layer_upload(**name)["uploadId"]
            part = {"partFirstByte": 0, "partLastByte": len(data) - 1, "layerPartBlob": data}
            client.upload_layer_part(**name, uploadId=upload, **part)
            client.complete_layer_upload(**name, uploadId=upload, layerDigests=[digest])
        client.put_image(**name, imageManifest=content.manifests[content.root][0].decode(), imageTag="v1")
        calls = (
            lambda: client.describe_repositories()["repositories"],
            lambda: client.describe_images(**name)["imageDetails"],
            lambda: client.list_tags_for_resource(
                resourceArn=f"arn:aws:ecr:{paths.REGION}:{paths.ACCOUNT}:repository/team/app"
            )["tags"],
            lambda: client.describe_repository_creation_templates()["repositoryCreationTemplates"],
            lambda: client.batch_check_layer_availability(**name, layerDigests=list(content.blobs))["layers"],
        )
        before = [call() for call in calls]
        assert all(before)
        backend = ecr_backends[paths.ACCOUNT][paths.REGION]
        ecr_backends[paths.ACCOUNT][paths.REGION] = type(backend)(paths.REGION, paths.ACCOUNT)  # as a new process does
        assert [call() for call in calls] == before
        assert len(list((tmp_path / "s3").rglob("*/*/*/*"))) == len(content.blobs)
        ecr_backends[paths.ACCOUNT][paths.REGION].reset()
        assert client.describe_repositories()["repositories"] == []
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# Clients


@pytest.fixture
def logged_in(repository: Repository, bed: Bed) -> Iterator[Repository]:
    """The engine of the host C(public) has a login."""
    host = bed.host("public")
    password = bed.ecr.password(repository.ecr).encode()
    host.run("docker", "login", "-u", "AWS", "--password-stdin", repository.host, input=password)
    yield repository
    host.docker("logout", repository.host, check=False)


def test_docker_pushes_and_pulls(logged_in: Repository, bed: Bed, recorder: Any) -> None:
    host, name = bed.host("public"), logged_in.reference("v1")
    try:
        host.run("sh", "-c", f"tar -C / -c bin/busybox | docker import - {name}")
        pushed = host.docker("push", name).stdout
        (digest,) = logged_in.details()
        assert f"digest: {digest}" in pushed
        assert recorder.calls(service="ecr", client="public", operation="PutImage", status=201)
        host.docker("rmi", name)
        host.docker("pull", name)
        assert host.docker("run", "--rm", "--network=none", name, "/bin/busybox", "echo", "ran").stdout == "ran\n"
        (got,) = recorder.calls(service="s3", client="public", operation="GetObject", bucket=bed.ecr.bucket)[-1:]
        assert got.status == 200
        missing = host.docker("pull", logged_in.reference("nothing"), check=False)
        assert "Requested image not found" in missing.stderr
        nowhere = f"{logged_in.host}/nowhere:v1"
        host.docker("tag", name, nowhere)
        refusal = host.docker("push", nowhere, check=False)
        assert "name unknown: The repository with name 'nowhere' does not exist in the registry" in refusal.stderr
        host.docker("logout", logged_in.host)
        assert "no basic auth credentials" in host.docker("push", name, check=False).stderr
    finally:
        for left in (name, f"{logged_in.host}/nowhere:v1"):
            host.docker("rmi", "-f", left, check=False)


def test_containerd_pulls(repository: Repository, bed: Bed) -> None:
    host, image_of_bed = bed.host("public"), bed.images.get("app:v1")
    result = copy(
        f"{bed.registry.plain}/app:v1",
        repository.reference("v1"),
        destination_username="AWS",
        destination_password=bed.ecr.password(repository.ecr),
        destination_plain_http=False,
        ca_path=str(bed.ca),
    )
    assert result["results"][0]["status"] == "changed", result
    ctr = ["ctr", "-a", "/run/docker/containerd/containerd.sock", "-n", "ecr-test", "images"]
    login = ["--user", f"AWS:{bed.ecr.password(repository.ecr)}"]
    try:
        host.run(*ctr, "pull", *login, repository.reference("v1"))
        assert image_of_bed.digest in host.run(*ctr, "ls").stdout
        refusal = host.run(*ctr, "pull", "--user", "AWS:wrong", repository.reference("v1"), check=False)
        assert refusal.returncode
        assert "401 Unauthorized" in refusal.stderr
    finally:
        host.run(*ctr, "rm", "--sync", repository.reference("v1"), check=False)


def test_image_copy(make: Callable[..., Repository], bed: Bed, recorder: Any) -> None:
    repository = make(imageTagMutability="IMMUTABLE")
    options = {
        "destination_username": "AWS",
        "destination_password": bed.ecr.password(repository.ecr),
        "destination_plain_http": False,
        "ca_path": str(bed.ca),
    }

    def transfer(source: str, tag: str, check: bool = False) -> dict[str, Any]:
        return copy(f"{bed.registry.plain}/{source}", repository.reference(tag), check, **options)

    results = [transfer("multi-oci:v1", "v1", check) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["steps"] == results[1]["steps"]
    index = bed.images.index_digest("multi-oci:v1")
    assert repository.details()[index]["imageTags"] == ["v1"]
    (item,) = transfer("app:v1", "v1")["results"]
    assert item["status"] == "failed"
    assert "because the tag is immutable" in item["reason"]
    assert repository.details()[index]["imageTags"] == ["v1"]
    missing = Repository("team/nowhere", bed, repository.ecr)
    (item,) = copy(f"{bed.registry.plain}/multi-oci:v1", missing.reference("v1"), **options)["results"]
    assert "The repository with name 'team/nowhere' does not exist" in item["reason"]


@pytest.mark.full  # the first build takes a minute
def test_the_credential_provider_of_kubelets(repository: Repository, bed: Bed) -> None:
    request = {
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "kind": "CredentialProviderRequest",
        "image": repository.reference("v1"),
    }
    env = {**os.environ, **bed.env, "AWS_ENDPOINT_URL_ECR": AWS}
    program = str(ensure_credential_provider())
    result = subprocess.run([program], input=json.dumps(request), env=env, capture_output=True, text=True, check=True)
    response = json.loads(result.stdout)
    assert response["cacheKeyType"] == "Registry"
    ((host, login),) = response["auth"].items()
    assert (host, login["username"]) == (repository.host, "AWS")
    assert repository.registry(login["password"]).call("GET", "/v2/")[0] == 200


def test_crane(repository: Repository, bed: Bed) -> None:
    crane = next((paths.cache() / "bin").glob("crane-*"), None)
    if crane is None:
        pytest.skip("crane is built for the benchmark only")
    host = bed.host("public")
    host.run("sh", "-c", f"cat > {CRANE} && chmod 755 {CRANE}", input=crane.read_bytes())
    try:
        password = bed.ecr.password(repository.ecr).encode()
        host.run(CRANE, "auth", "login", "-u", "AWS", "--password-stdin", repository.host, input=password)
        host.run(CRANE, "copy", "--insecure", f"{bed.registry.plain}/multi:v1", repository.reference("v1"))
        assert bed.images.index_digest("multi:v1") in repository.details()
        assert host.run(CRANE, "ls", f"{repository.host}/{repository.name}").stdout == "v1\n"
    finally:
        host.run("sh", "-c", f"rm -f {CRANE} /root/.docker/config.json", check=False)
