# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real botocore clients of each protocol against a server that answers like AWS, or like something else."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._aws_call import (
    NOT_AWS_CODE,
    ApiError,
    ServiceResponse,
    call_api,
    paginate,
)

botocore = pytest.importorskip("botocore.session")
Config = pytest.importorskip("botocore.config").Config

Answer = Callable[[Any], None]  # writes a response by the request's handler


class AnyServer:
    """Answers each request by the next of C(answers); the last one stays."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests = 0
        self.session = botocore.get_session()
        self.clients: dict[tuple[str, int], Any] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = server.answers[min(server.requests, len(server.answers) - 1)]
                server.requests += 1
                answer(self)

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815

            def log_message(self, *_arguments: Any) -> None:
                """Silent."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def get_client(self, service: str, attempts: int = 1) -> Any:
        if (service, attempts) not in self.clients:  # a client takes longer than all of its tests
            self.clients[service, attempts] = self.make_client(service, attempts)
        return self.clients[service, attempts]

    def make_client(self, service: str, attempts: int) -> Any:
        session = self.session
        session.set_credentials("AKIAEXAMPLE", "not-a-secret")
        return session.create_client(
            service,
            region_name="eu-central-1",
            endpoint_url=self.url,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": attempts},
                read_timeout=1,
                connect_timeout=1,
                s3={"addressing_style": "path"},
            ),
        )


@pytest.fixture(scope="module")
def any_server() -> Iterator[AnyServer]:
    started = AnyServer()
    yield started
    started.http.shutdown()
    started.http.server_close()


@pytest.fixture
def server(any_server: AnyServer) -> AnyServer:
    any_server.answers, any_server.requests = [], 0
    return any_server


def reply(body: str | bytes, content_type: str = "text/html", status: int = 200, **headers: str) -> Answer:
    content = body.encode() if isinstance(body, str) else body

    def answer(handler: Any) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(content)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    return answer


def reset(handler: Any) -> None:
    handler.connection.close()


def hang(handler: Any) -> None:
    threading.Event().wait(3)


def cut_short(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"<DescribeDBClustersResponse>")
    handler.wfile.flush()
    handler.connection.close()


PAGE = "<!DOCTYPE html>\n<html><head><title>Log in</title></head><body>Welcome<br></body></html>"
XHTML = '<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml"><head/><body><p>Log in</p></body></html>'

# Service, operation and arguments; whether AWS sends a body; a response of AWS.
OPERATIONS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "rest-json": ("eks", "DescribeCluster", {"name": "blue"}, '{"cluster": {"name": "blue"}}'),
    "rest-json, list": ("eks", "ListNodegroups", {"clusterName": "blue"}, '{"nodegroups": []}'),
    "rest-json, write": (
        "eks",
        "UpdateNodegroupConfig",
        {"clusterName": "blue", "nodegroupName": "a"},
        '{"update": {"id": "1"}}',
    ),
    "ec2": (
        "ec2",
        "DescribeRegions",
        {},
        "<DescribeRegionsResponse><requestId>1</requestId><regionInfo/></DescribeRegionsResponse>",
    ),
    "query": (
        "rds",
        "DescribeDBClusters",
        {},
        "<DescribeDBClustersResponse><DescribeDBClustersResult><DBClusters/></DescribeDBClustersResult>"
        "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></DescribeDBClustersResponse>",
    ),
    "query, no output": (
        "iam",
        "UpdateAssumeRolePolicy",
        {"RoleName": "a", "PolicyDocument": "{}"},
        '<?xml version="1.0"?>\n<UpdateAssumeRolePolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></UpdateAssumeRolePolicyResponse>",
    ),
    "query, sts": (
        "sts",
        "GetCallerIdentity",
        {},
        "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account>"
        "</GetCallerIdentityResult></GetCallerIdentityResponse>",
    ),
    "json": ("sqs", "ListQueues", {}, "{}"),
    "json, events": ("events", "DescribeRule", {"Name": "a"}, '{"Name": "a"}'),
    "json, alarms": ("cloudwatch", "DescribeAlarms", {}, '{"MetricAlarms": []}'),
    "json, trail": ("cloudtrail", "LookupEvents", {}, '{"Events": []}'),
    "rest-json, lambda": ("lambda", "ListEventSourceMappings", {}, '{"EventSourceMappings": []}'),
    "rest-json, no output": (
        "eks",
        "UntagResource",
        {"resourceArn": "arn:aws:eks:eu-central-1:123456789012:cluster/blue", "tagKeys": ["a"]},
        "{}",
    ),
    "json, no output": ("events", "DeleteRule", {"Name": "a"}, ""),
    "rest-xml": ("s3", "ListObjectsV2", {"Bucket": "images"}, "<ListBucketResult><Name>a</Name></ListBucketResult>"),
}
# AWS sends it with every response, and the JSON protocols as a header.
REQUEST_ID = {"x-amzn-RequestId": "0f2a"}
WRITES = [
    name
    for name, (_service, operation, *_rest) in OPERATIONS.items()
    if operation.startswith(("Update", "Untag", "Delete"))
]


def call(server: AnyServer, name: str, *answers: Answer, attempts: int = 1) -> Any:
    service, operation, arguments, _body = OPERATIONS[name]
    server.answers, server.requests = list(answers), 0
    return call_api(server.get_client(service, attempts), operation, **arguments)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_response_of_aws_is_returned(server: AnyServer, name: str) -> None:
    # A service that imitates AWS may send another content type than AWS does.
    assert call(server, name, reply(OPERATIONS[name][3], **REQUEST_ID))["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(
    "body", [PAGE, XHTML, "OK", "<wrong><answer/></wrong>", '{"unexpected": 1}', "[]", "null", b"\xff\xfe\x00", ""]
)
def test_what_is_not_of_aws_is_an_error_of_its_own(server: AnyServer, name: str, body: Any) -> None:
    with pytest.raises(ApiError) as failure:
        call(server, name, reply(body))
    assert failure.value.code == NOT_AWS_CODE
    assert f"the endpoint {server.url} answered something that is not AWS: " in failure.value.message
    assert failure.value.outcome_unknown == (name in WRITES)
    assert len(failure.value.explanation) < 600
    assert ".." not in failure.value.explanation.replace("...", "")


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reset, "ConnectionClosedError"),
        (hang, "ReadTimeoutError"),
        (cut_short, ""),
        (reply("", status=502), "502"),
        (reply(PAGE, status=503), NOT_AWS_CODE),
    ],
    ids=["reset", "hang", "cut short", "bad gateway", "page"],
)
def test_a_broken_connection_is_an_error_of_the_call(server: AnyServer, name: str, answer: Answer, code: str) -> None:
    with pytest.raises(ApiError) as failure:
        call(server, name, answer)
    assert failure.value.code == code or not code
    assert failure.value.outcome_unknown == (name in WRITES)
    assert ("It is not known whether AWS did it." in failure.value.suggestion) == (name in WRITES)


@pytest.mark.parametrize("status", [302, 403, 404, 407])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_page_with_an_error_status_is_not_a_refusal_of_aws(server: AnyServer, name: str, status: int) -> None:
    with pytest.raises(ApiError, match="something that is not AWS") as failure:
        call(server, name, reply(PAGE, status=status, Location="http://login.example"))
    assert f"status {status}" in failure.value.message


def test_a_page_of_a_busy_load_balancer_is_retried(server: AnyServer) -> None:
    name = "query"
    assert call(server, name, reply(PAGE, status=503), reply(OPERATIONS[name][3]), attempts=2)["DBClusters"] == []


DENIED = '{"__type": "AccessDeniedException", "message": "no"}'


def test_a_refusal_after_a_lost_response_leaves_the_outcome_unknown(server: AnyServer) -> None:
    refusal = reply(DENIED, status=403)
    with pytest.raises(ApiError) as failure:
        call(server, "rest-json, write", reset, refusal, attempts=2)
    assert (failure.value.code, failure.value.outcome_unknown) == ("AccessDeniedException", True)
    with pytest.raises(ApiError) as failure:
        call(server, "rest-json, write", refusal, attempts=2)
    assert (failure.value.code, failure.value.outcome_unknown) == ("AccessDeniedException", False)
    assert failure.value.suggestion == "Allow eks:UpdateNodegroupConfig to these credentials."


@pytest.mark.parametrize(
    ("status", "code", "unknown"),
    [(500, "ServerException", True), (503, "ServiceUnavailableException", True), (429, "ThrottlingException", False)],
)
def test_a_failure_of_the_service_is_no_refusal(server: AnyServer, status: int, code: str, unknown: bool) -> None:
    with pytest.raises(ApiError) as failure:
        call(server, "rest-json, write", reply(json.dumps({"__type": code, "message": "m"}), status=status))
    assert (failure.value.code, failure.value.outcome_unknown) == (code, unknown)


def test_no_server_is_known_not_to_have_done_it() -> None:
    stopped = AnyServer()
    stopped.http.shutdown()
    stopped.http.server_close()
    with pytest.raises(ApiError) as failure:
        call(stopped, "rest-json, write", reset)
    assert (failure.value.code, failure.value.outcome_unknown) == ("EndpointConnectionError", False)
    assert stopped.url in failure.value.suggestion


def test_missing_credentials_and_bad_arguments_are_errors_of_the_call(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    bare = botocore.get_session().create_client("eks", region_name="eu-central-1", endpoint_url=server.url)
    with pytest.raises(ApiError) as failure:
        call_api(bare, "DescribeCluster", name="blue")
    assert failure.value.code == "NoCredentialsError"
    assert failure.value.suggestion.startswith("Give AWS credentials")
    with pytest.raises(ApiError) as failure:
        call_api(server.get_client("eks"), "DeleteNodegroup", clusterName="blue", nodegroupName=[""])
    assert (failure.value.code, failure.value.outcome_unknown) == ("ParamValidationError", False)
    assert server.requests == 0


def test_a_missing_key_of_the_response_is_an_error_of_the_call(server: AnyServer) -> None:
    name = "rest-json"
    empty = call(server, name, reply('{"cluster": {}}'))
    with pytest.raises(ApiError, match="something that is not AWS: the response has no arn"):
        empty["cluster"]["arn"]
    assert empty["cluster"].get("arn") is None
    with pytest.raises(KeyError):
        ServiceResponse()["arn"]
    assert not isinstance(copy.deepcopy(empty)["cluster"], ServiceResponse)


def test_a_list_without_its_list_is_not_an_empty_list(server: AnyServer) -> None:
    server.answers = [reply("{}")]
    with pytest.raises(ApiError, match="the response has no nodegroups"):
        list(paginate(server.get_client("eks"), "ListNodegroups", "nodegroups", clusterName="blue"))


def test_pages_are_read_to_their_end(server: AnyServer) -> None:
    pages = [{"nodegroups": ["a"], "nextToken": "1"}, {"nodegroups": ["b"], "nextToken": "2"}, {"nodegroups": ["c"]}]
    server.answers = [reply(json.dumps(page)) for page in pages]
    names = paginate(server.get_client("eks"), "ListNodegroups", "nodegroups", clusterName="blue")
    assert list(names) == ["a", "b", "c"]
    server.answers, server.requests = [reply(json.dumps(pages[0]))], 0
    with pytest.raises(ApiError, match="RepeatedToken"):
        list(paginate(server.get_client("eks"), "ListNodegroups", "nodegroups", clusterName="blue"))


@pytest.mark.parametrize(
    ("code", "message", "text"),
    [
        ("ExpiredToken", "", "Renew them"),
        ("TokenRetrievalError", "", "Renew them"),
        ("UnrecognizedClientException", "", "does not accept these credentials"),
        ("SSLError", "", "Check the certificate"),
        ("Throttling", "", "Run again later"),
        ("AccessDenied", "with an explicit deny in a service control policy", "An Allow does not help"),
        ("NoRegionError", "", "Set the region"),
        ("Other", "", "Fix the cause"),
    ],
)
def test_a_suggestion_follows_from_the_code(code: str, message: str, text: str) -> None:
    assert text in ApiError("rds", "StopDBCluster", code, message).explanation
