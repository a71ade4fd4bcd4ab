# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The AWS API of ECR, as moto has it, beside an imitation of its registry, which a proxy gives the name of ECR."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from integration.targets.image_copy.images import Client, Content, make_multi_platform, random_layer
from integration.targets.image_copy.imitation import ACCOUNT, Handler, Imitation, served
from integration.targets.image_copy.kit import copy, copy_all
from moto.server import ThreadedMotoServer

REGION = "eu-west-1"
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def source() -> Iterator[Imitation]:
    imitation = Imitation("team/app")
    imitation.is_open = True
    with imitation.run():
        yield imitation


class Account:
    """An account, whose registry has the repositories of its API."""

    def __init__(self, registry: Imitation, endpoint: str) -> None:
        self.registry = registry
        self.api = boto3.client("ecr", region_name=REGION, endpoint_url=endpoint)
        for repository in self.api.describe_repositories()["repositories"]:
            self.api.delete_repository(repositoryName=repository["repositoryName"], force=True)
        registry.blobs.clear()
        token = self.api.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        registry.login = base64.b64decode(token).decode()
        registry.intercept = self.follow
        self.ecr = {"create_repository": False, "endpoint_url": endpoint}

    def follow(self, _handler: Handler) -> bool:
        """The registry has the repositories, and the immutable tags, that the API has."""
        for repository in self.api.describe_repositories()["repositories"]:
            name = repository["repositoryName"]
            if name not in self.registry.blobs:
                self.registry.blobs[name], self.registry.manifests[name] = {}, {}
                self.registry.tags[name] = {}
            (self.registry.immutable.add if repository["imageTagMutability"] == "IMMUTABLE" else id)(name)
        return False

    def options(self, **ecr: Any) -> dict[str, Any]:
        empty = dict.fromkeys(
            ("tag_mutability", "exclusion_filters", "scan_on_push", "encryption_type", "kms_key", "profile")
        )
        return {"ecr": {**empty, **self.ecr, **ecr}}

    def describe(self, name: str) -> dict[str, Any]:
        (repository,) = self.api.describe_repositories(repositoryNames=[name])["repositories"]
        return dict(repository)


@pytest.fixture
def account(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():  # pragma: allowlist secret
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("PROFILE", "SESSION_TOKEN", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    registry = Imitation()
    with registry.run():
        monkeypatch.setenv("http_proxy", f"http://{registry.host}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield Account(registry, endpoint)


def push(registry: Imitation, content: Content, tag: str = "v1") -> str:
    Client(registry.host).push("team/app", content, tag)
    return f"{registry.host}/team/app:{tag}"


def make_image() -> Content:
    made = Content()
    made.image(random_layer())
    return made


def test_missing_repositories_are_created_once(source: Imitation, account: Account) -> None:
    content = make_multi_platform(random_layer())
    name = push(source, content)
    settings = {
        "create_repository": True,
        "tag_mutability": "IMMUTABLE_WITH_EXCLUSION",
        "exclusion_filters": ["latest", "dev-*"],
        "scan_on_push": True,
        "encryption_type": "KMS",
        "kms_key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/00000000-0000-4000-8000-000000000000",
    }
    images = [{"name": name, "to": f"{HOST}/{to}"} for to in ("mirror/a", "mirror/a:v2", "mirror/b")]
    options = account.options(**settings)
    predicted, done, again = copy_all(images, True, **options), copy_all(images, **options), copy_all(images, **options)
    assert not done.get("failed"), done
    assert predicted["steps"] == done["steps"]
    assert predicted["warnings"] == []
    created = [step["target"] for step in done["steps"] if step["action"] == "create_repository"]
    assert created == [f"{HOST}/mirror/a", f"{HOST}/mirror/b"]
    assert (again["changed"], again["steps"]) == (False, [])
    account.registry.check("mirror/a", content, "v2")
    repository = account.describe("mirror/b")
    assert repository["imageTagMutability"] == "IMMUTABLE_WITH_EXCLUSION"
    assert [entry["filter"] for entry in repository["imageTagMutabilityExclusionFilters"]] == ["latest", "dev-*"]
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    assert repository["encryptionConfiguration"] == {"encryptionType": "KMS", "kmsKey": settings["kms_key"]}


def test_a_repository_with_the_defaults_of_ecr(source: Imitation, account: Account) -> None:
    name = push(source, make_image())
    assert copy(name, f"{HOST}/mirror/a", **account.options(create_repository=True))["changed"]
    assert account.describe("mirror/a")["imageTagMutability"] == "MUTABLE"


@pytest.mark.parametrize(
    ("mutability", "filters", "tag", "is_moved"),
    [
        ("MUTABLE", (), "v1", True),
        ("IMMUTABLE", (), "v1", False),
        ("IMMUTABLE_WITH_EXCLUSION", ("dev-*", "latest"), "v1", False),
        ("IMMUTABLE_WITH_EXCLUSION", ("dev-*", "latest"), "dev-7", True),
        ("MUTABLE_WITH_EXCLUSION", ("v*",), "v1", False),
        ("MUTABLE_WITH_EXCLUSION", ("v*",), "latest", True),
    ],
)
def test_an_immutable_tag_is_refused_before_any_upload(
    source: Imitation, account: Account, mutability: str, filters: tuple[str, ...], tag: str, is_moved: bool
) -> None:
    more = {"imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": text} for text in filters]}
    account.api.create_repository(repositoryName="mirror/a", imageTagMutability=mutability, **(more if filters else {}))
    first, second = make_image(), make_image()
    name, to = push(source, first, tag), f"{HOST}/mirror/a"
    options = account.options()
    assert copy(name, to, **options)["changed"]
    # The same digest is ok.
    assert not copy(name, to, **options)["changed"]
    push(source, second, tag)
    before = account.registry.count("POST", "PUT", "PATCH")
    for check in (True, False):
        result = copy(name, to, check, **options)
        (item,) = result["results"]
        assert (item["status"] == "changed") is is_moved, item
        assert is_moved or "is immutable" in item["reason"]
        assert result["changed"] is is_moved
    assert (account.registry.count("POST", "PUT", "PATCH") > before) is is_moved
    assert account.registry.tags["mirror/a"][tag] == (second if is_moved else first).root


def test_a_signature_that_changed_behind_an_immutable_tag_is_predicted(source: Imitation, account: Account) -> None:
    account.api.create_repository(repositoryName="mirror/a", imageTagMutability="IMMUTABLE")
    content = make_image()
    name, to, options = push(source, content), f"{HOST}/mirror/a", account.options()
    tag = content.root.replace(":", "-") + ".sig"
    for _version in range(2):
        push(source, make_image(), tag)
        results = [copy(name, to, check, **options) for check in (True, False)]
        assert results[0]["steps"] == results[1]["steps"]
        assert [result["results"][0]["referrers_failed"] for result in results[:1]] == [
            result["results"][0]["referrers_failed"] for result in results[1:]
        ]
    assert [entry["name"] for entry in results[1]["results"][0]["referrers_failed"]] == [tag]


class Templates:
    """An API that has repository creation templates, which moto does not know; and one that refuses."""

    def __init__(self, *prefixes: str, applied_for: str = "CREATE_ON_PUSH") -> None:
        self.templates = [{"prefix": prefix, "appliedFor": [applied_for]} for prefix in prefixes]

    def __call__(self, h: Handler) -> None:
        action = h.headers["X-Amz-Target"].rpartition(".")[2]
        h.rfile.read(int(h.headers["Content-Length"]))
        if action == "GetAuthorizationToken":
            token = base64.b64encode(b"AWS:token").decode()
            h.answer(200, json.dumps({"authorizationData": [{"authorizationToken": token}]}).encode())
        elif action == "DescribeRepositoryCreationTemplates" and self.templates:
            h.answer(200, json.dumps({"registryId": ACCOUNT, "repositoryCreationTemplates": self.templates}).encode())
        else:
            body = {"__type": "AccessDeniedException", "message": f"not authorized to perform: ecr:{action}"}
            h.answer(400, json.dumps(body).encode(), Content_Type="application/x-amz-json-1.1")


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        (Templates("mirror"), "changed"),
        (Templates("ROOT"), "changed"),
        (Templates("mirror", applied_for="REPLICATION"), "failed"),
        (Templates("mir"), "failed"),
        (Templates("other", "mirror/a/b"), "failed"),
        # Nobody knows: the registry itself decides.
        (Templates(), "changed"),
    ],
)
def test_a_missing_repository_needs_a_template(
    source: Imitation, account: Account, templates: Templates, expected: str
) -> None:
    name = push(source, make_image())
    account.registry.login = "AWS:token"
    account.registry.intercept = lambda _handler: False
    with served(templates) as api:
        options = account.options(endpoint_url=f"http://{api}")
        (item,) = copy(name, f"{HOST}/mirror/a", True, **options)["results"]
    assert item["status"] == expected, item
    assert expected == "changed" or "no repository creation template" in item["reason"]
    assert account.registry.count("POST", "PUT") == 0


def test_a_creation_that_is_denied_fails_before_any_upload(source: Imitation, account: Account) -> None:
    name = push(source, make_image())
    account.registry.login = "AWS:token"
    account.registry.intercept = lambda _handler: False
    with served(Templates()) as api:
        options = account.options(endpoint_url=f"http://{api}", create_repository=True)
        result = copy(name, f"{HOST}/mirror/a", **options)
    assert "AccessDeniedException: not authorized to perform: ecr:CreateRepository" in result["msg"]
    assert "Allow ecr:CreateRepository to these credentials" in result["msg"]
    assert not result["changed"]
    assert account.registry.count("POST", "PUT") == 0


def test_moto_has_no_templates(account: Account) -> None:
    """What moto differs in. With this, the test with an API of our own can go."""
    with pytest.raises(ClientError):
        account.api.describe_repository_creation_templates()
