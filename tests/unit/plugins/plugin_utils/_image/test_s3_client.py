# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's S3 client: whose credentials it uses, where it goes, and how it signs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, Optional

import botocore.httpsession
import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.s3 import BucketOptions, S3BlobStore
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.s3_client import make_s3_client, set_environment
from botocore.awsrequest import AWSResponse

BUCKET = BucketOptions("images")
OPTION = {"access_key": "AKIAOPTION", "secret_key": "option-secret"}
TASK = {"AWS_ACCESS_KEY_ID": "AKIATASK", "AWS_SECRET_ACCESS_KEY": "task-secret"}
CONTROLLER = {"AWS_ACCESS_KEY_ID": "AKIACONTROLLER", "AWS_SECRET_ACCESS_KEY": "controller-secret"}


class _Raw:
    def stream(self, **_dummy: Any) -> Iterator[bytes]:
        return iter([b""])


class Aws:
    """Stands where requests leave botocore, and remembers them."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.answer: Callable[[Any], tuple[int, dict[str, str]]] = lambda request: (200, {})

    def send(self, request: Any) -> AWSResponse:
        self.requests.append(request)
        status, headers = self.answer(request)
        return AWSResponse(request.url, status, headers, _Raw())

    def header(self, name: str) -> str:
        value = self.requests[-1].headers.get(name, "")
        return value.decode() if isinstance(value, bytes) else str(value)

    @property
    def key(self) -> str:
        """The access key that signed the last request."""
        found = re.search(r"Credential=([^/]+)/", self.header("Authorization"))
        return found[1] if found else ""


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Aws:
    made = Aws()

    def send(self: Any, request: Any) -> AWSResponse:
        return made.send(request)

    monkeypatch.setattr(botocore.httpsession.URLLib3Session, "send", send)
    for name in [name for name in os.environ if name.startswith("AWS_") or name.endswith("CA_BUNDLE")]:
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text("[profile named]\nregion = eu-west-3\n")
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = x\n"
        "[named]\naws_access_key_id = AKIANAMED\naws_secret_access_key = x\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return made


@pytest.mark.parametrize(
    ("options", "task", "controller", "key"),
    [
        (OPTION, TASK, CONTROLLER, "AKIAOPTION"),
        ({}, TASK, CONTROLLER, "AKIATASK"),
        ({}, {}, CONTROLLER, "AKIACONTROLLER"),
        ({}, {}, {}, "AKIADEFAULT"),
        ({"profile": "named"}, TASK, CONTROLLER, "AKIANAMED"),
        ({}, {"AWS_PROFILE": "named"}, {}, "AKIANAMED"),
        ({}, {"AWS_PROFILE": "named"}, CONTROLLER, "AKIANAMED"),
    ],
    ids=[
        "options",
        "task",
        "controller",
        "files",
        "profile over all variables",
        "profile of the task",
        "profile of the task over the controller's keys",
    ],
)
def test_options_come_first_then_the_task_s_environment_then_the_controller_s(
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
    options: Mapping[str, str],
    task: Mapping[str, str],
    controller: Mapping[str, str],
    key: str,
) -> None:
    for name, value in controller.items():
        monkeypatch.setenv(name, value)
    with set_environment(task):
        make_s3_client({"region": "eu-west-1", **options}, BUCKET)
    assert aws.key == key


@pytest.mark.parametrize(
    ("options", "task", "token"),
    [
        (OPTION, {}, ""),
        ({**OPTION, "session_token": "option-token"}, {}, "option-token"),
        ({}, TASK, ""),
        ({}, {**TASK, "AWS_SESSION_TOKEN": "task-token"}, "task-token"),
        ({}, {}, "controller-token"),
    ],
    ids=["options", "options with token", "task", "task with token", "controller"],
)
def test_a_session_token_is_never_combined_with_the_keys_of_another_source(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, options: Mapping[str, str], task: Mapping[str, str], token: str
) -> None:
    for name, value in {**CONTROLLER, "AWS_SESSION_TOKEN": "controller-token"}.items():
        monkeypatch.setenv(name, value)
    with set_environment(task):
        make_s3_client({"region": "eu-west-1", **options}, BUCKET)
    assert aws.header("X-Amz-Security-Token") == token
    assert os.environ["AWS_SESSION_TOKEN"] == "controller-token"


def test_the_task_s_environment_ends_with_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "before")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), set_environment({"AWS_REGION": "task", "AWS_PROFILE": "task"}):  # noqa: PT012
        assert (os.environ["AWS_REGION"], os.environ["AWS_PROFILE"]) == ("task", "task")
        raise ZeroDivisionError
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "named", "access_key": "AKIA", "secret_key": "x"}, "profile: excludes access_key and secret_key"),
        ({"access_key": "AKIA"}, "access_key: is not a complete set of credentials"),
        ({"secret_key": "x"}, "secret_key: is not a complete set of credentials"),
        ({"session_token": "x"}, "session_token: is not a complete set of credentials"),
        ({"profile": "absent"}, "absent"),
        ({"endpoint_url": "no-url"}, "no-url"),
    ],
)
def test_options_that_make_no_client_are_refused_with_a_message(
    aws: Aws, options: Mapping[str, str], message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        make_s3_client({"region": "eu-west-1", **options}, BUCKET)
    assert aws.requests == []


@pytest.mark.parametrize(
    ("status", "region", "found"),
    [
        *((status, region, "eu-north-1") for status in (200, 301, 400, 403) for region in ("us-east-1", "eu-north-1")),
        *((status, None, None) for status in (200, 400, 403, 404)),
    ],
)
def test_the_bucket_s_own_region_is_found_also_from_a_refusal(
    aws: Aws, status: int, region: Optional[str], found: Optional[str]
) -> None:
    aws.answer = lambda request: (status, {"x-amz-bucket-region": found} if found else {})
    client = make_s3_client({**OPTION, "region": region or "us-west-2"}, BUCKET)
    assert client.meta.region_name == (found or "us-west-2")


def test_s3_urls_are_signed_with_v4_and_puts_have_no_checksum_of_boto_s_own(aws: Aws) -> None:
    """facts: S3: boto3 >= 1.36 adds CRC32 by default, and presigns with SigV2 by default for some regions."""
    for endpoint in (None, "https://s3.internal:9000"):
        client = make_s3_client({**OPTION, "region": "us-east-1", "endpoint_url": endpoint}, BUCKET)
        url = client.generate_presigned_url("put_object", Params={"Bucket": "images", "Key": "k"}, ExpiresIn=60)
        assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url
        assert "crc32" not in url.lower()
        assert "option-secret" not in url
        if endpoint:
            assert url.startswith(f"{endpoint}/images/k?")


@pytest.mark.parametrize(
    ("options", "verify"),
    [
        ({}, True),
        ({"validate_certs": True}, True),
        ({"validate_certs": False}, False),
        ({"aws_ca_bundle": "/ca"}, "/ca"),
    ],
)
def test_certificates_are_validated_by_default(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, options: Mapping[str, Any], verify: Any
) -> None:
    verified: list[Any] = []
    real = botocore.httpsession.URLLib3Session.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        verified.append(kwargs.get("verify", args[0] if args else None))
        real(self)

    monkeypatch.setattr(botocore.httpsession.URLLib3Session, "__init__", init)
    make_s3_client({**OPTION, "region": "us-east-1", **options}, BUCKET)
    assert set(verified) == {verify}


def test_aws_config_reaches_the_client(aws: Aws) -> None:
    client = make_s3_client(
        {**OPTION, "region": "us-east-1", "aws_config": {"s3": {"addressing_style": "path"}}}, BUCKET
    )
    path = S3BlobStore(client, BUCKET)
    assert path.get_key  # the path takes it as it is
    assert client.meta.config.s3 == {"addressing_style": "path"}
    assert client.meta.config.signature_version == "s3v4"
