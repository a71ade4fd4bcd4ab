# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries that lie, forget, change in the meantime and ask for logins in turns, imitated on both sides."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional
from urllib.parse import parse_qs, urlsplit

import pytest
from integration.targets.image_copy.images import INDEX, MANIFEST, Client, Content, make_multi_platform, random_layer
from integration.targets.image_copy.imitation import Handler, Imitation, served
from integration.targets.image_copy.kit import copy, copy_all

SECRET = "5ec4e7-pa55w04d"
Result = dict[str, Any]


@pytest.fixture
def source() -> Iterator[Imitation]:
    imitation = Imitation("team/app", "team/other")
    imitation.is_open = True
    with imitation.run():
        yield imitation


@pytest.fixture
def destination() -> Iterator[Imitation]:
    imitation = Imitation("mirror/app", "mirror/other")
    imitation.is_open = True
    with imitation.run():
        yield imitation


def make_image(*layers: bytes) -> Content:
    made = Content()
    made.image(*(layers or (random_layer(),)))
    return made


def push(registry: Imitation, content: Content, repository: str = "team/app", tag: str = "v1") -> str:
    return Client(registry.host).push(repository, content, tag)


def run(source: Imitation, destination: Imitation, check: bool = False, **options: Any) -> Result:
    return copy(f"{source.host}/team/app:v1", f"{destination.host}/mirror/app", check, **options)


def item_of(result: Result) -> Result:
    (item,) = result["results"]
    return item


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{user}-{SECRET}".encode()).decode()


class BasicLogins:
    """Each repository has a user of its own; a mount needs to read both."""

    def __init__(self, users: dict[str, str]) -> None:
        self.users = users
        self.used: set[tuple[str, str]] = set()

    def __call__(self, h: Handler) -> bool:
        found = re.match(r"/v2/(.+)/(manifests|blobs|referrers|tags)/", urlsplit(h.path).path)
        needed = [found.group(1)] if found else []
        needed += parse_qs(urlsplit(h.path).query).get("from", [])
        authorization = h.headers.get("Authorization", "")
        if all(authorization == basic(self.users[name]) for name in needed):
            self.used.update((name, self.users[name]) for name in needed)
            return False
        h.close_connection = True
        h.fail(401, "UNAUTHORIZED", f"denied {authorization}", WWW_Authenticate='Basic realm="r"')
        return True


def test_two_logins_of_the_same_registry(source: Imitation) -> None:
    content = make_multi_platform(random_layer())
    push(source, content, "team/other")
    source.intercept = logins = BasicLogins({"team/other": "reader", "team/app": "writer"})
    names = f"{source.host}/team/other:v1", f"{source.host}/team/app"
    options = {
        f"{side}_{name}": value
        for side, user in (("source", "reader"), ("destination", "writer"))
        for name, value in (("username", user), ("password", f"{user}-{SECRET}"))
    }
    # A mount would need a user who may read both: it is an upload.
    source.has_mounts = True
    item = item_of(copy(*names, **options))
    assert (item["status"], item["blobs_mounted"]) == ("changed", 0), item
    assert logins.used == {("team/other", "reader"), ("team/app", "writer")}
    source.check("team/app", content, "v1")


def test_a_login_for_each_repository_of_a_registry(source: Imitation, tmp_path: Path) -> None:
    contents = {name: make_image() for name in ("team/app", "team/other")}
    for name, content in contents.items():
        push(source, content, name)
    users = {"team/app": "a", "team/other": "b", "mirror/app": "c", "mirror/other": "d"}
    for name in ("mirror/app", "mirror/other"):
        source.blobs[name], source.manifests[name], source.tags[name] = {}, {}, {}
    source.intercept = BasicLogins(users)
    auths = {
        f"{source.host}/{name}": {"auth": base64.b64encode(f"{user}:{user}-{SECRET}".encode()).decode()}
        for name, user in users.items()
    }
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": auths}))
    images = [
        {"name": f"{source.host}/team/{name}:v1", "to": f"{source.host}/mirror/{name}"} for name in ("app", "other")
    ]
    paths = {"source_config_path": str(config), "destination_config_path": str(config)}
    assert [item["status"] for item in copy_all(images, **paths)["results"]] == ["changed", "changed"]
    for name, content in contents.items():
        source.check(name.replace("team", "mirror"), content, "v1")


class Tokens:
    """A token server in the registry. C(refuses): scopes for which it gives no token. Tokens can expire."""

    def __init__(self, registry: Imitation, refuses: str = "") -> None:
        self.registry = registry
        self.refuses = refuses
        self.valid: set[str] = set()
        self.scopes: list[list[str]] = []
        self.expires: Callable[[Handler], bool] = lambda _handler: False
        self.has_challenges = True  # public.ecr.aws has none for a token that expired

    def __call__(self, h: Handler) -> bool:
        parts = urlsplit(h.path)
        if parts.path == "/token":
            scopes = parse_qs(parts.query).get("scope", [])
            if h.headers.get("Authorization") != basic("user") or (self.refuses and self.refuses in scopes):
                sent = h.headers.get("Authorization", "")
                h.fail(403, "DENIED", f"no token for {sent} {base64.b64decode(sent.partition(' ')[2]).decode()}")
                return True
            self.scopes.append(scopes)
            token = f"{SECRET}-{len(self.scopes)}"
            self.valid.add(token)
            h.answer(200, json.dumps({"token": token}).encode())
            return True
        token = h.headers.get("Authorization", "").partition(" ")[2]
        if token in self.valid and self.expires(h):
            self.valid.discard(token)
        if token in self.valid:
            return False
        h.close_connection = True
        if token and not self.has_challenges:
            h.fail(400, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
            return True
        challenge = f'Bearer realm="http://{self.registry.host}/token",service="r"'
        h.fail(401, "UNAUTHORIZED", f"token {token} is not valid", WWW_Authenticate=challenge)
        return True


LOGIN = {"destination_username": "user", "destination_password": f"user-{SECRET}"}


@pytest.mark.parametrize("has_challenges", [True, False])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_token_that_expires_in_the_middle_of_an_upload(
    source: Imitation, destination: Imitation, method: str, has_challenges: bool
) -> None:
    content = make_image(random_layer(9_000_000))
    push(source, content)
    destination.intercept = tokens = Tokens(destination)
    tokens.has_challenges = has_challenges
    if method == "PATCH":
        destination.largest_body = 4 * 1024 * 1024
    count = 0

    def expires(h: Handler) -> bool:
        nonlocal count
        count += h.command == method and "/blobs/" in h.path
        return h.command == method and "/blobs/" in h.path and count == 2

    tokens.expires = expires
    assert item_of(run(source, destination, parallel=1, **LOGIN))["status"] == "changed"
    destination.check("mirror/app", content, "v1")
    assert len(tokens.scopes) == 2
    assert destination.sessions_open == set()


def test_the_second_repository_of_a_registry_needs_no_refusal_first(source: Imitation, destination: Imitation) -> None:
    push(source, make_image())
    destination.intercept = tokens = Tokens(destination)
    refused: list[str] = []
    images = [{"name": f"{source.host}/team/app:v1", "to": f"{destination.host}/mirror/{name}"} for name in ("app",)]
    copy_all(images, **LOGIN)
    images.append({**images[0], "to": f"{destination.host}/mirror/other"})

    def count(h: Handler) -> bool:
        if not h.headers.get("Authorization"):
            refused.append(h.path)
        return tokens(h)

    destination.intercept = count
    assert not copy_all(images, parallel=1, **LOGIN).get("failed")
    # Requests that begin at the same time may be refused beside each other.
    assert len(refused) <= 2


def test_a_mount_without_a_token_for_its_source_is_an_upload(destination: Imitation) -> None:
    content = make_image()
    push(destination, content, "mirror/other")
    destination.intercept = Tokens(destination, refuses="repository:mirror/other:pull")
    names = f"{destination.host}/mirror/other:v1", f"{destination.host}/mirror/app"
    refusing = destination.intercept

    def intercept(h: Handler) -> bool:
        # Everyone may read the source, but the token server gives nobody a token for that.
        return False if h.command in ("GET", "HEAD") and "/v2/mirror/other/" in h.path else refusing(h)

    destination.intercept = intercept
    item = item_of(copy(*names, **LOGIN))
    assert (item["status"], item["blobs_mounted"], item["blobs_transferred"]) == ("changed", 0, 2), item


def test_a_tag_of_the_source_that_moves_in_the_meantime_is_reported(source: Imitation, destination: Imitation) -> None:
    content, later = make_multi_platform(random_layer()), make_image()
    push(source, content)
    is_moved = False

    def move(h: Handler) -> bool:
        nonlocal is_moved
        if h.command == "POST" and not is_moved:
            is_moved = True
            push(source, later)
        return False

    destination.intercept = move
    result = run(source, destination)
    item = item_of(result)
    assert (item["status"], item["digest"]) == ("changed", content.root)
    assert f"changed during the copy, from {content.root} to {later.root}" in item["reason"]
    assert len(result["warnings"]) == 1
    destination.check("mirror/app", content, "v1")
    assert item_of(run(source, destination))["digest"] == later.root


def test_the_same_copy_twice_is_done_once(source: Imitation, destination: Imitation) -> None:
    push(source, make_image())
    image = {"name": f"{source.host}/team/app:v1", "to": f"{destination.host}/mirror/app"}
    result = copy_all([image, {**image, "to": f"{image['to']}:v1"}])
    assert item_of(result)["status"] == "changed"
    assert destination.count("PUT") == 3


def test_an_index_that_is_incomplete_is_refused(source: Imitation, destination: Imitation) -> None:
    content = make_multi_platform(random_layer())
    push(source, content)
    child = json.loads(content.manifests[content.root][0])["manifests"][2]["digest"]
    del source.manifests["team/app"][child]
    for check in (True, False):
        item = item_of(run(source, destination, check))
        assert item["status"] == "failed"
        assert f"lists the manifest {child}" in item["reason"]
        assert "The source is incomplete" in item["reason"]
    assert destination.count("PUT", "POST") == 0


def test_a_repository_that_the_first_push_creates(source: Imitation, destination: Imitation) -> None:
    """As ECR does where a repository creation template applies on push."""
    content = make_multi_platform(random_layer())
    push(source, content)

    def create(h: Handler) -> bool:
        if h.command == "POST" and "/v2/auto/new/" in h.path and "auto/new" not in destination.blobs:
            destination.blobs["auto/new"], destination.manifests["auto/new"] = {}, {}
            destination.tags["auto/new"] = {}
        return False

    destination.intercept = create
    images = [{"name": f"{source.host}/team/app:v1", "to": f"{destination.host}/auto/new"}]
    predicted, done, again = copy_all(images, True), copy_all(images), copy_all(images)
    assert predicted["steps"] == done["steps"]
    assert len(predicted["warnings"]) == 1
    assert [result["changed"] for result in (predicted, done, again)] == [True, True, False]
    destination.check("auto/new", content, "v1")


def test_a_registry_that_announces_no_digest(source: Imitation, destination: Imitation) -> None:
    content = make_multi_platform(random_layer())
    push(source, content)
    for registry in (source, destination):
        registry.announces_digests = False
    results = [run(source, destination, check) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    destination.check("mirror/app", content, "v1")


def test_a_manifest_with_another_digest_is_refused(source: Imitation, destination: Imitation) -> None:
    content = make_multi_platform(random_layer())
    push(source, content)
    child = json.loads(content.manifests[content.root][0])["manifests"][0]["digest"]
    data, media_type = source.manifests["team/app"][child]
    source.manifests["team/app"][child] = data + b" ", media_type
    item = item_of(run(source, destination))
    assert item["status"] == "failed"
    assert "the bytes that the registry sent have the digest" in item["reason"]
    assert destination.count("PUT", "POST") == 0


def nest(depth: int) -> Content:
    made = make_image()
    for _level in range(depth):
        data, media_type = made.manifests[made.root]
        made.index({"mediaType": media_type, "digest": made.root, "size": len(data)})
    return made


def make_wide(count: int) -> Content:
    made = make_image()
    data, media_type = made.manifests[made.root]
    entry = {"mediaType": media_type, "digest": made.root, "size": len(data)}
    made.index(*({**entry, "digest": "sha256:" + f"{number:064x}"} for number in range(count)))
    return made


def make_large() -> Content:
    made = Content()
    made.manifest({"schemaVersion": 2, "config": made.blob(b"{}", "x/y"), "layers": [], "x": "y" * 5_000_000})
    return made


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(nest(4), "nested more than 4 times", id="deep"),
        pytest.param(make_wide(1001), "more than the limit of 1000", id="wide"),
        pytest.param(make_large(), "larger than 4194304 bytes", id="large"),
    ],
)
def test_documents_without_bounds_are_refused(
    source: Imitation, destination: Imitation, content: Content, expected: str
) -> None:
    source.manifests["team/app"].update(content.manifests)
    source.blobs["team/app"].update(content.blobs)
    source.tags["team/app"]["v1"] = content.root
    item = item_of(run(source, destination))
    assert item["status"] == "failed"
    assert expected in item["reason"]
    assert destination.count("PUT", "POST") == 0


def test_nested_indexes_are_copied(source: Imitation, destination: Imitation) -> None:
    content = nest(3)
    push(source, content)
    assert item_of(run(source, destination))["status"] == "changed"
    destination.check("mirror/app", content, "v1")


class Pages:
    """Referrers, one on a page."""

    def __init__(self, registry: Imitation, make_link: Callable[[str, int], str]) -> None:
        self.registry = registry
        self.make_link = make_link

    def __call__(self, h: Handler) -> bool:
        parts = urlsplit(h.path)
        found = re.fullmatch(r"/v2/team/app/referrers/(.+)", parts.path)
        if not found:
            return False
        entries = []
        for digest, (data, media_type) in self.registry.manifests["team/app"].items():
            if (json.loads(data).get("subject") or {}).get("digest") == found.group(1):
                entries.append({"mediaType": media_type, "digest": digest, "size": len(data)})
        page = int(parse_qs(parts.query).get("page", ["0"])[0])
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries[page : page + 1]}).encode()
        more = {"Link": self.make_link(parts.path, page + 1)} if page + 1 < len(entries) else {}
        h.answer(200, body, Content_Type=INDEX, **more)
        return True


def push_with_signatures(registry: Imitation, count: int) -> tuple[Content, list[str]]:
    content = make_image()
    subject = {"mediaType": MANIFEST, "digest": push(registry, content), "size": 1}
    signatures = []
    for number in range(count):
        signature = Content()
        signature.artifact("application/x.sig", f"signature {number}".encode(), subject)
        signatures.append(Client(registry.host).push("team/app", signature))
    return content, signatures


def test_pages_of_referrers(source: Imitation, destination: Imitation) -> None:
    _content, signatures = push_with_signatures(source, 4)
    source.intercept = Pages(source, lambda path, page: f'<{path}?page={page}>; rel="next"')
    assert sorted(item_of(run(source, destination))["referrers"]) == sorted(signatures)


@pytest.mark.parametrize("link", ["<http://other.example/v2/x>; rel=next", "<http://[>; rel=next"])
def test_a_list_of_referrers_that_continues_elsewhere_is_not_taken_for_whole(
    source: Imitation, destination: Imitation, link: str
) -> None:
    push_with_signatures(source, 2)
    source.intercept = Pages(source, lambda _path, _page: link)
    item = item_of(run(source, destination))
    assert item["status"] == "failed"
    assert "not the next page of this registry" in item["reason"] or "is no URL" in item["reason"]


def test_a_referrer_that_is_deleted_in_the_meantime_is_named(source: Imitation, destination: Imitation) -> None:
    content, signatures = push_with_signatures(source, 2)

    def delete(h: Handler) -> bool:
        if h.path.endswith(f"/manifests/{signatures[1]}"):
            source.manifests["team/app"].pop(signatures[1], None)
        return False

    source.intercept = delete
    item = item_of(run(source, destination))
    assert item["status"] == "failed"
    assert [entry["name"] for entry in item["referrers_failed"]] == [signatures[1]]
    assert item["referrers"] == [signatures[0]]
    destination.check("mirror/app", content, "v1")


def test_no_secret_in_a_message(source: Imitation, destination: Imitation) -> None:
    push(source, make_image())
    for intercept in (BasicLogins({"mirror/app": "nobody"}), Tokens(destination)):
        destination.intercept = intercept
        result = run(source, destination, destination_username="other", destination_password=f"other-{SECRET}")
        assert item_of(result)["status"] == "failed"
        assert SECRET not in json.dumps(result), result
        assert basic("other")[6:] not in json.dumps(result), result


def test_an_upload_to_another_host_gets_no_login(source: Imitation, destination: Imitation) -> None:
    content = make_image()
    push(source, content)
    authorizations: list[Optional[str]] = []

    def store(h: Handler) -> None:
        authorizations.append(h.headers.get("Authorization"))
        data = h.rfile.read(int(h.headers.get("Content-Length") or 0))
        if h.command == "PUT":
            destination.blobs["mirror/app"][parse_qs(urlsplit(h.path).query)["digest"][0]] = data
        h.answer(201)

    with served(store) as storage:
        tokens = Tokens(destination)

        def intercept(h: Handler) -> bool:
            if tokens(h):
                return True
            if h.command == "POST":
                h.answer(202, Location=f"http://{storage}/session?X-Amz-Signature={SECRET}")
                return True
            return False

        destination.intercept = intercept
        assert item_of(run(source, destination, **LOGIN))["status"] == "changed"
    assert authorizations == [None, None]
    destination.check("mirror/app", content, "v1")


@pytest.mark.parametrize("location", ["", "http://[", "ftp://x/y", "http://user:pw@x/y"])
def test_an_address_that_is_none_is_refused(source: Imitation, destination: Imitation, location: str) -> None:
    push(source, make_image())

    def intercept(h: Handler) -> bool:
        if h.command == "POST":
            h.answer(202, **({"Location": location} if location else {}))
        return h.command == "POST"

    destination.intercept = intercept
    item = item_of(run(source, destination))
    assert item["status"] == "failed"
    assert "pw" not in item["reason"]
    assert destination.tags["mirror/app"] == {}


def test_a_refused_upload_is_cancelled(source: Imitation, destination: Imitation) -> None:
    push(source, make_image())

    def refuse(h: Handler) -> bool:
        if h.command != "PUT":
            return False
        h.close_connection = True
        h.fail(400, "BLOB_UPLOAD_INVALID", "no")
        return True

    destination.intercept = refuse
    item = item_of(run(source, destination))
    assert item["status"] == "failed"
    assert "BLOB_UPLOAD_INVALID" in item["reason"]
    assert destination.sessions_open == set()
    assert destination.count("DELETE") == 2


def test_a_missing_repository_whose_upload_ends_the_connection(
    source: Imitation, destination: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(source, make_image())
    monkeypatch.setattr("time.sleep", lambda _seconds: None)

    def drop(h: Handler) -> bool:
        if h.command == "POST":
            h.drop()
        return h.command == "POST"

    destination.intercept = drop
    item = item_of(copy(f"{source.host}/team/app:v1", f"{destination.host}/mirror/new"))
    assert item["status"] == "failed"
    assert "mirror/new does not exist, and the upload does not create it" in item["reason"]
