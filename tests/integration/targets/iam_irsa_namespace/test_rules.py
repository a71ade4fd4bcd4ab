# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test bed's rules for IAM and STS, in this process: plain moto's answers, and AWS's, which the bed restores."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws
from testbed import aws as rules
from testbed.aws.clock import CLOCK
from testbed.aws.iam import set_settings as iam_settings
from testbed.aws.iam import set_trust
from testbed.aws.sts import publish
from testbed.aws.sts import set_settings as sts_settings
from testbed.issuer import Issuer

REGION = "eu-central-1"
ISSUER = "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
NAME = ISSUER.removeprefix("https://")
PROVIDER = f"arn:aws:iam::123456789012:oidc-provider/{NAME}"
SUB = "system:serviceaccount:a:one"
OWN = Issuer(ISSUER)


@functools.cache
def client(service: str) -> Any:
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return boto3.client(service, REGION, **keys, config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture(autouse=True)
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield
    CLOCK.reset()
    iam_settings()
    sts_settings()


@pytest.fixture
def ruled() -> Iterator[None]:
    with rules.installed(rules.load()):
        yield


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return OWN


def trust(condition: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{NAME}:sub": SUB, f"{NAME}:aud": "sts.amazonaws.com"}}
        if condition is None
        else condition,
        **more,
    }


def document(*statements: Any, **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **more})


SERVICE = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}


def provider() -> str:
    return str(
        client("iam").create_open_id_connect_provider(Url=ISSUER, ClientIDList=["sts.amazonaws.com"])[
            "OpenIDConnectProviderArn"
        ]
    )


def role(text: str | None = None, name: str = "lbc") -> str:
    answer = client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=text or document(SERVICE))
    return str(answer["Role"]["Arn"])


def update(text: str) -> None:
    client("iam").update_assume_role_policy(RoleName="lbc", PolicyDocument=text)


def current(name: str = "lbc") -> Any:
    return client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in SERVICE.items() if key != name}


ROLE_ARN = "arn:aws:iam::123456789012:role/gone"
# Trust policies that plain moto accepts, and the error of AWS for each.
REFUSED = [
    ("no JSON", "{", "MalformedPolicyDocument", "invalid Json"),
    ("no statement", document(), "MalformedPolicyDocument", "Statement is empty"),
    ("no principal", document(without("Principal")), "MalformedPolicyDocument", "Missing required field Principal"),
    ("empty principal", document({**SERVICE, "Principal": {}}), "MalformedPolicyDocument", "Invalid principal"),
    ("an unknown provider", document(trust()), "MalformedPolicyDocument", f'"FEDERATED":"{PROVIDER}"'),
    (
        "a federated principal that is no provider",
        document({**trust(), "Principal": {"Federated": "x"}}),
        "MalformedPolicyDocument",
        "Federated principals must be valid domain names",
    ),
    (
        "a role that is not there",
        document({**SERVICE, "Principal": {"AWS": ROLE_ARN}}),
        "MalformedPolicyDocument",
        f'"AWS":"{ROLE_ARN}"',
    ),
    (
        "a deleted principal",
        document({**SERVICE, "Principal": {"AWS": "AROAEXAMPLEEXAMPLE123"}}),
        "MalformedPolicyDocument",
        '"AWS":"AROAEXAMPLEEXAMPLE123"',
    ),
    ("a resource", document({**SERVICE, "Resource": "*"}), "MalformedPolicyDocument", "prohibited field Resource"),
    ("another action", document({**SERVICE, "Action": "s3:*"}), "MalformedPolicyDocument", "may only specify STS"),
    ("an empty list", document(trust({"StringEquals": {"a:sub": []}})), "MalformedPolicyDocument", "Syntax errors"),
    ("an unknown operator", document(trust({"StringIs": {"a:sub": "x"}})), "MalformedPolicyDocument", "StringIs"),
    ("an unknown effect", document({**SERVICE, "Effect": "Perhaps"}), "MalformedPolicyDocument", "Syntax errors"),
    (
        "the same Sid twice",
        document({**SERVICE, "Sid": "A"}, {**SERVICE, "Sid": "A"}),
        "MalformedPolicyDocument",
        "SID",
    ),
    ("too much", document(*[SERVICE] * 40), "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048"),
]
TEXTS = [case[1] for case in REFUSED]
NAMES = [case[0] for case in REFUSED]


@pytest.mark.parametrize("text", TEXTS, ids=NAMES)
def test_plain_moto_takes_it(text: str) -> None:
    role(text)


@pytest.mark.parametrize(("text", "code", "message"), [case[1:] for case in REFUSED], ids=NAMES)
def test_the_bed_refuses_it(ruled: None, text: str, code: str, message: str) -> None:
    if "empty list" in text or "StringIs" in text or "a:sub" in text:
        provider()
    with pytest.raises(ClientError) as caught:
        role(text)
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert message in error["Message"]
    role()
    with pytest.raises(ClientError) as caught:
        update(text)
    assert caught.value.response["Error"]["Code"] == code
    assert current() == json.loads(document(SERVICE))


@pytest.mark.parametrize(
    "text",
    [
        document({**SERVICE, "Action": "sts:*"}),
        document({**SERVICE, "Action": ["sts:SetContext", "sts:TagSession"]}),
        json.dumps({"Statement": SERVICE}),
    ],
)
def test_the_bed_takes_what_plain_moto_refuses(text: str) -> None:
    role()
    with pytest.raises(ClientError, match=r"Policy document must be version|actions can only be"):
        update(text)
    with rules.installed(rules.load()):
        update(text)
    assert current() == json.loads(text)


def test_the_quota_is_the_accounts(ruled: None) -> None:
    iam_settings(trust_quota=4096)
    assert client("iam").get_account_summary()["SummaryMap"]["AssumeRolePolicySizeQuota"] == 4096
    role(document(*[SERVICE] * 40))


def test_plain_moto_knows_a_deleted_role_by_its_arn() -> None:
    arn = role(name="gone")
    role(document({**SERVICE, "Principal": {"AWS": arn}}))
    client("iam").delete_role(RoleName="gone")
    assert current()["Statement"][0]["Principal"]["AWS"] == arn


def test_the_bed_knows_a_deleted_role_by_its_id(ruled: None) -> None:
    arn = role(name="gone")
    role(document({**SERVICE, "Principal": {"AWS": [arn]}}))
    client("iam").delete_role(RoleName="gone")
    (left,) = current()["Statement"][0]["Principal"]["AWS"]
    assert left.startswith("AROA")
    with pytest.raises(ClientError, match=f'Invalid principal in policy: "AWS":"{left}"'):
        update(json.dumps(current()))


def test_the_bed_knows_a_deleted_user_by_its_id(ruled: None) -> None:
    arn = client("iam").create_user(UserName="gone")["User"]["Arn"]
    role(document({**SERVICE, "Principal": {"AWS": arn}}))
    client("iam").delete_user(UserName="gone")
    assert current()["Statement"][0]["Principal"]["AWS"].startswith("AIDA")


def test_readings_are_late_on_request(ruled: None) -> None:
    role()
    iam_settings(stale_reads=2)
    update(document({**SERVICE, "Sid": "New"}))
    assert ["Sid" in current()["Statement"][0] for _dummy in range(3)] == [False, False, True]
    update(document({**SERVICE, "Sid": "Newer"}))
    (listed,) = client("iam").list_roles()["Roles"]
    assert listed["AssumeRolePolicyDocument"]["Statement"][0]["Sid"] == "New"


def test_plain_moto_shows_writes_at_once_and_cannot_add_audiences() -> None:
    role()
    update(document({**SERVICE, "Sid": "New"}))
    assert current()["Statement"][0]["Sid"] == "New"
    with pytest.raises((ClientError, NotImplementedError)):
        client("iam").add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=provider(), ClientID="x")
    client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=f"{PROVIDER}x")


def test_providers(ruled: None) -> None:
    arn = provider()
    for _dummy in range(2):
        client("iam").add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="vault")
    provider_description = client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert provider_description["ClientIDList"] == ["sts.amazonaws.com", "vault"]
    with pytest.raises(ClientError, match="NoSuchEntity"):
        client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=f"{PROVIDER}x")


def test_a_trust_policy_from_the_past(ruled: None) -> None:
    role()
    set_trust("lbc", json.loads(document({**SERVICE, "Principal": {"AWS": "AROAEXAMPLEEXAMPLE123"}})))
    assert "AROAEXAMPLEEXAMPLE123" in json.dumps(current())


# STS


def assume(token: str, arn: str = "arn:aws:iam::123456789012:role/lbc") -> dict[str, Any]:
    answer: dict[str, Any] = client("sts").assume_role_with_web_identity(
        RoleArn=arn, RoleSessionName="it", WebIdentityToken=token
    )
    return answer


def answer_to(token: str, arn: str = "arn:aws:iam::123456789012:role/lbc") -> str:
    try:
        return str(assume(token, arn)["SubjectFromWebIdentityToken"])
    except ClientError as error:
        return f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"


def hs256(issuer: Issuer) -> str:
    """Signed with the published key as if it were a shared secret."""
    head, body, _signature = issuer.token("a", "one", header={"alg": "HS256"}).split(".")
    secret = json.dumps(issuer.jwks).encode()
    digest = hmac.digest(secret, f"{head}.{body}".encode(), hashlib.sha256)
    return f"{head}.{body}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def swapped(issuer: Issuer) -> str:
    """The claims of one token under the signature of another."""
    head, _body, signature = issuer.token("b", "two").split(".")
    return f"{head}.{issuer.token('a', 'one').split('.')[1]}.{signature}"


@functools.cache
def wrong_tokens(issuer: Issuer) -> dict[str, tuple[str, str]]:
    other = Issuer(ISSUER)  # other keys under the same name
    elsewhere = Issuer(f"{ISSUER}0")
    return {
        "no token": ("nonsense", "InvalidIdentityToken: The ID Token provided is not a valid JWT"),
        "another subject": (issuer.token("b", "one"), "AccessDenied: Not authorized to perform sts:AssumeRoleWith"),
        "another audience": (issuer.token("a", "one", "vault"), "InvalidIdentityToken: Incorrect token audience"),
        "expired": (issuer.token("a", "one", seconds=-1), "ExpiredTokenException: Token expired: current date/time"),
        "another cluster": (elsewhere.token("a", "one"), "InvalidIdentityToken: No OpenIDConnect provider found"),
        "another key": (other.token("a", "one"), "InvalidIdentityToken: The token's signature is not valid"),
        "an unknown key": (
            issuer.token("a", "one", header={"kid": "x"}),
            "InvalidIdentityToken: Couldn't retrieve verification key from your identity provider,  please",
        ),
        "alg none": (
            issuer.token("a", "one", header={"alg": "none"}).rpartition(".")[0] + ".",
            "InvalidIdentityToken: The token's signature algorithm",
        ),
        "alg HS256 with the public key": (hs256(issuer), "InvalidIdentityToken: The token's signature algorithm"),
        "a key of its own": (
            other.token("a", "one", header={"jwk": other.jwks["keys"][0]}),
            "InvalidIdentityToken: The token's signature is not valid",
        ),
        "claims under another signature": (swapped(issuer), "InvalidIdentityToken: The token's signature is not valid"),
        "no subject": (issuer.token("a", "one", sub=""), "InvalidIdentityToken: Missing a required claim: sub"),
    }


WRONG = list(wrong_tokens(OWN))


@pytest.mark.parametrize("name", WRONG)
def test_plain_moto_takes_any_token(issuer: Issuer, name: str) -> None:
    role()
    assert "AccessKeyId" in assume(wrong_tokens(issuer)[name][0])["Credentials"]


@pytest.mark.parametrize("name", WRONG)
def test_the_bed_verifies_tokens(ruled: None, issuer: Issuer, name: str) -> None:
    provider()
    role(document(trust()))
    publish(ISSUER, issuer.jwks)
    token, message = wrong_tokens(issuer)[name]
    assert answer_to(token).startswith(message)
    assert answer_to(issuer.token("a", "one")) == SUB


def test_the_bed_looks_for_the_keys_of_the_issuer(ruled: None, issuer: Issuer) -> None:
    provider()
    role(document(trust()))
    assert "Couldn't retrieve verification key" in answer_to(issuer.token("a", "one"))


def test_roles_that_are_not_there(ruled: None, issuer: Issuer) -> None:
    provider()
    publish(ISSUER, issuer.jwks)
    token = issuer.token("a", "one")
    assert answer_to(token, "role-without-arn-of-20").startswith("ValidationError: Request ARN is invalid")
    assert answer_to(token, ROLE_ARN) == "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity"


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([trust()], True),
        ([SERVICE], False),
        ([trust({"StringLike": {f"{NAME}:sub": "system:serviceaccount:a:*"}})], True),
        ([trust({"StringEquals": {f"{NAME}:sub": "system:serviceaccount:a:*"}})], False),
        ([trust({"StringEquals": {f"{NAME.upper()}:SUB": SUB}})], True),
        ([trust({"ForAllValues:StringEquals": {f"{NAME}:amr": "x"}})], True),
        ([trust({"StringEquals": {f"{NAME}:amr": "x"}})], False),
        ([trust({"IpAddress": {"aws:SourceIp": "198.51.100.0/24"}})], True),
        ([trust({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}})], False),
        ([trust({"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}})], True),
        ([trust({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}})], False),
        ([trust({"Bool": {"aws:SecureTransport": "true"}})], True),
        ([trust({"Null": {f"{NAME}:sub": "true"}})], False),
        ([trust(), trust(Effect="Deny")], False),
        ([trust(), {"Effect": "Deny", "Principal": "*", "Action": "sts:*"}], False),
        ([trust(Action="sts:TagSession")], False),
        ([trust(Action="STS:assumerole*")], True),
        ([trust(Principal="*")], True),
    ],
)
def test_the_bed_applies_the_trust_policy(
    ruled: None, issuer: Issuer, statements: list[dict[str, Any]], allowed: bool
) -> None:
    provider()
    role(document(*statements))
    publish(ISSUER, issuer.jwks)
    assert (answer_to(issuer.token("a", "one")) == SUB) is allowed


def test_a_session_is_the_roles(ruled: None, issuer: Issuer) -> None:
    provider()
    role(document(trust()))
    publish(ISSUER, issuer.jwks)
    session_response = assume(issuer.token("a", "one"))
    assert session_response["Provider"] == PROVIDER
    assert session_response["AssumedRoleUser"]["Arn"] == "arn:aws:sts::123456789012:assumed-role/lbc/it"
    keys = session_response["Credentials"]
    session = boto3.client(
        "sts",
        REGION,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    assert session.get_caller_identity()["Arn"] == "arn:aws:sts::123456789012:assumed-role/lbc/it"
