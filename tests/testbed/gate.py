# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate: every call to the bed's AWS and S3 passes here. It records, denies and injects faults. It adds to S3 what a
gateway does not have (buckets in two regions, a bucket that requires encryption). It runs in the cloud as
`python -m testbed.gate`.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import random
import re
import socket
import ssl
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from . import hosts, identify, paths, pki
from .identify import Identified
from .proxy import Answer, Forward, Front, Proxy, Request, Reset

SOCKET = paths.RUN / "gate.sock"
MOTO = ("127.0.0.1", 5001)
GATEWAYS = {paths.REGION: ("127.0.0.1", 7071), paths.OTHER_REGION: ("127.0.0.1", 7072)}
BUCKETS = {
    "daytwo-images": paths.REGION,
    "daytwo-encrypted": paths.REGION,
    "daytwo-elsewhere": paths.OTHER_REGION,
}
BUCKETS_BY_REGION = {region: bucket for bucket, region in BUCKETS.items()}
ENCRYPTED = "daytwo-encrypted"
HOUSEKEEPING = "x-testbed-housekeeping"  # a request of the bed itself, which is not recorded
KMS_KEY = f"arn:aws:kms:{paths.REGION}:{paths.ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
DATA = paths.STATE / "s3"
ISSUERS = paths.STATE / "cluster" / "issuers"  # a cluster's published issuer documents, by its address

CLIENTS = {site.address: name for name, site in hosts.SITES.items()} | {paths.CONTROLLER: "controller"}
DENIALS = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedAccess", "DENIED")
TWO_SIGNATURES = (
    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or "
    "the Authorization header should be specified"
)
# Never recorded: a reader of the record could act as the caller with them.
SECRET_HEADERS = ("x-amz-security-token", "x-amz-date", "x-amz-content-sha256")


@dataclass(frozen=True)
class Fault:
    """An injected fault: its kind, its calls, its frequency. Patterns are globs; the default matches everything."""

    kind: str  # "error": a response with status and code; "reset": RST; "delay": wait, then forward
    operation: str = "*"
    service: str = "*"
    bucket: str = "*"
    key: str = "*"
    client: str = "*"  # public, private-a, ..., controller
    status: int = 503
    code: str = "SlowDown"
    message: str = "Please reduce your request rate."
    after_bytes: int = 0  # of a reset: of the request's body (PUT) or of the response's (GET); 0: before any response
    seconds: float = 0.0  # of a delay
    times: int | None = None  # how many calls; None: until cleared
    rate: float = 1.0  # the share of the matching calls
    seed: int = 1


@dataclass
class Rules:
    """The denials and faults that tests set, and the calls since the last reset."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    faults: list[tuple[Fault, random.Random, list[int]]] = field(default_factory=list)
    lock: threading.Condition = field(default_factory=threading.Condition)
    under_way: int = 0

    def begin(self) -> None:
        with self.lock:
            self.under_way += 1

    def end(self, record: dict[str, Any] | None) -> None:
        with self.lock:
            self.under_way -= 1
            if record:
                self.calls.append(record)
            self.lock.notify_all()

    def settle(self) -> None:
        """Wait a moment for the records of calls whose response is just out. Do not wait for long calls."""
        self.lock.wait_for(lambda: not self.under_way, timeout=0.5)

    def denies(self, action: str, region: str) -> bool:
        """Return whether a pattern denies the action (rds:Stop*), or the action in the region (rds:*@us-west-2)."""
        names = (action.lower(), f"{action}@{region}".lower())
        return any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in self.denied for name in names)

    def fault_for(self, call: Identified, client: str) -> Fault | None:
        with self.lock:
            for fault, dice, used in self.faults:
                pairs = (
                    *((call.operation, fault.operation), (call.service, fault.service), (call.bucket, fault.bucket)),
                    *((call.key, fault.key), (client, fault.client)),
                )
                if all(fnmatch.fnmatchcase(value, pattern) for value, pattern in pairs):
                    if fault.times is not None and used[0] >= fault.times:
                        continue
                    if dice.random() < fault.rate:
                        used[0] += 1
                        return fault
        return None


class Gate:
    """The steps of all fronts: identify, deny, inject faults, forward, record."""

    wants_body = True

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._in_progress: dict[int, tuple[Identified, dict[str, Any]]] = {}

    def identify(self, request: Request) -> Identified:
        return identify.aws(request)

    def route(self, request: Request, call: Identified) -> Answer | Forward:
        return Forward(MOTO)

    def decide(self, request: Request) -> Answer | Forward | Reset:
        call = self.identify(request)
        self.rules.begin()
        notes: dict[str, Any] = {"denied": False, "fault": ""}
        self._in_progress[id(request)] = (call, notes)
        fault = self.rules.fault_for(call, CLIENTS.get(request.client, request.client))
        if fault:
            notes["fault"] = fault.kind
            if fault.kind == "delay":
                time.sleep(fault.seconds)
            elif fault.kind == "error":
                return error(call, fault.status, fault.code, fault.message)
            elif not fault.after_bytes:
                return Reset()
        if self.rules.denies(call.action, call.region):
            notes["denied"] = True
            return access_denied(call)
        verdict = self.route(request, call)
        if fault and fault.kind == "reset" and isinstance(verdict, Forward):
            upload = request.method in ("PUT", "POST")
            return Forward(
                verdict.backend,
                cut_request=fault.after_bytes if upload else None,
                cut_response=None if upload else fault.after_bytes,
            )
        return verdict

    def done(self, request: Request) -> None:
        if id(request) not in self._in_progress:  # cut before the request was complete
            return
        call, notes = self._in_progress.pop(id(request))
        if request.path.startswith("/moto-api") or request.head.get(HOUSEKEEPING):
            self.rules.end(None)
            return
        code = error_code(request)
        record = {
            **asdict(call),
            "client": CLIENTS.get(request.client, request.client),
            "method": request.method,
            "path": request.path,
            "status": request.status,
            "error": code,
            "denied": notes["denied"] or code in DENIALS,
            "fault": notes["fault"],
            "bytes_in": request.bytes_in,
            "bytes_out": request.bytes_out,
            "began": request.began,
            "seconds": time.time() - request.began,
            "headers": amz_headers(request),
        }
        self.rules.end(record)


class NamesGate(Gate):
    """The front of AWS's own names, as the cloud resolves them: the APIs, and the published issuer documents."""

    def route(self, request: Request, call: Identified) -> Answer | Forward:
        host = request.head.get("host")
        if not host.startswith("oidc.eks."):
            return Forward(MOTO)
        headers = (("Content-Type", "application/json"),)
        file = (ISSUERS / host / request.path.lstrip("/")).resolve()
        if request.method == "GET" and file.is_relative_to(ISSUERS) and file.is_file():
            return Answer(200, file.read_bytes(), headers)
        return Answer(404, b'{"message":"Not Found"}', headers)


class S3Gate(Gate):
    wants_body = False

    def identify(self, request: Request) -> Identified:
        return identify.s3(request)

    def route(self, request: Request, call: Identified) -> Answer | Forward:
        if request.head.get("authorization") and "X-Amz-Signature" in request.query:
            return error(call, 400, "InvalidArgument", TWO_SIGNATURES)
        if call.bucket in map(layer_bucket, GATEWAYS) and not (
            request.method in ("GET", "HEAD") and "X-Amz-Signature" in request.query
        ):
            return error(call, 403, "AccessDenied", "Access Denied")
        home = region_of(call.bucket)
        if home and call.region and call.region != home:
            return elsewhere(call, home)
        if call.bucket == ENCRYPTED and call.operation in ("PutObject", "CreateMultipartUpload", "CopyObject"):
            sent = amz_headers(request)
            required = {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": KMS_KEY,
            }
            if any(sent.get(name) != value for name, value in required.items()):
                return error(call, 403, "AccessDenied", f"{who(call)} with an explicit deny in a resource-based policy")
        extra: list[tuple[str, str]] = []
        if call.bucket and home and not call.key:
            extra.append(("x-amz-bucket-region", home))
        if call.operation in ("PutObject", "CreateMultipartUpload"):
            # The gateway accepts the encryption headers and drops them; AWS repeats them in its response.
            sse = {k: v for k, v in amz_headers(request).items() if k.startswith("x-amz-server-side-encryption")}
            extra += list(sse.items())
        return Forward(GATEWAYS.get(home or call.region, GATEWAYS[paths.REGION]), tuple(extra))


class RegistryGate(Gate):
    """The front of ECR's registry. Bodies stream."""

    wants_body = False

    def identify(self, request: Request) -> Identified:
        return identify.registry(request)


def layer_bucket(region: str) -> str:
    """Name ECR's own bucket of layers."""
    return f"prod-{region}-starport-layer-bucket"


def region_of(bucket: str) -> str | None:
    return next((region for region in GATEWAYS if bucket and (DATA / region / bucket).is_dir()), None)


def amz_headers(request: Request) -> dict[str, str]:
    """Return the x-amz-* headers and presigned parameters that describe the request, none that authenticate."""
    signed = {name.lower(): value for name, value in request.query.items() if name.lower().startswith("x-amz-server-")}
    named = {name.lower(): value for name, value in request.head.headers if name.lower().startswith(("x-amz-", "if-"))}
    named |= {"range": request.head.get("range")} if request.head.get("range") else {}
    return {name: value for name, value in {**signed, **named}.items() if name not in SECRET_HEADERS}


# Responses, each with the message and form of the real service


def error(call: Identified, status: int, code: str, message: str, *headers: tuple[str, str], more: str = "") -> Answer:
    xml = (("Content-Type", "application/xml"), *headers)
    core = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
    if call.service == "s3":
        document = f"<Error>{core}{more}<RequestId>TESTBED</RequestId></Error>"
        return Answer(status, f'<?xml version="1.0" encoding="UTF-8"?>\n{document}'.encode(), xml)
    if call.protocol == "registry":
        code = "DENIED" if code in DENIALS else code
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        return Answer(status, body, (("Content-Type", "application/json"), *headers))
    if call.protocol == "query":
        document = f"<Error><Type>Sender</Type>{core}</Error><RequestId>testbed</RequestId>"
        return Answer(status, f"<ErrorResponse>{document}</ErrorResponse>".encode(), xml)
    if call.protocol == "ec2":
        document = f"<Errors><Error>{core}</Error></Errors><RequestID>testbed</RequestID>"
        return Answer(status, f"<Response>{document}</Response>".encode(), xml)
    text = json.dumps({"__type": code, "message": message}).encode()
    named = (("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code), *headers)
    return Answer(400 if call.protocol == "json" and status == 403 else status, text, named)


def who(call: Identified) -> str:
    resource = f"arn:aws:s3:::{call.bucket}{'/' + call.key if call.key else ''}" if call.service == "s3" else "*"
    if call.protocol == "registry":
        name = re.split("[:@]", call.key)[0]
        resource = f"arn:aws:ecr:{call.region}:{paths.ACCOUNT}:repository/{name}"
    caller = f"arn:aws:iam::{paths.ACCOUNT}:user/testbed"
    return f"User: {caller} is not authorized to perform: {call.action} on resource: {resource}"


def access_denied(call: Identified) -> Answer:
    code = {"rest-xml": "AccessDenied", "query": "AccessDenied", "ec2": "UnauthorizedOperation"}
    message = f"{who(call)} because no identity-based policy allows the {call.action} action"
    return error(call, 403, code.get(call.protocol, "AccessDeniedException"), message)


def elsewhere(call: Identified, home: str) -> Answer:
    """Respond to a request for a bucket in the wrong region. The global endpoint's region (us-east-1) gets an error
    that names the bucket's region, a regional endpoint gets a redirect."""
    region = ("x-amz-bucket-region", home)
    if call.region == "us-east-1":
        message = f"The authorization header is malformed; the region '{call.region}' is wrong; expecting '{home}'"
        return error(call, 400, "AuthorizationHeaderMalformed", message, region, more=f"<Region>{home}</Region>")
    message = (
        "The bucket you are attempting to access must be addressed using the specified endpoint. "
        "Please send all future requests to this endpoint."
    )
    endpoint = f"<Endpoint>{call.bucket}.s3.{home}.amazonaws.com</Endpoint><Bucket>{call.bucket}</Bucket>"
    return error(call, 301, "PermanentRedirect", message, region, more=endpoint)


def error_code(request: Request) -> str:
    if request.status is None or request.status < 400:
        return ""
    found = re.search(rb"<Code>([^<]+)</Code>", request.error_body) or re.search(
        rb'(?:"__type"\s*:|"errors"\s*:\s*\[\{"code"\s*:)\s*"(?:[^"#]*#)?([^"]+)"', request.error_body
    )
    return found.group(1).decode() if found else f"HTTP {request.status}"


# The control socket


def control(rules: Rules, command: dict[str, Any]) -> bytes:
    with rules.lock:
        if command["do"] in ("calls", "reset"):
            rules.settle()
        if command["do"] == "calls":
            return json.dumps(rules.calls).encode()
        if command["do"] == "reset":
            rules.calls = []
        elif command["do"] == "deny":
            rules.denied = list(command["actions"])
        elif command["do"] == "faults":
            faults = [Fault(**fault) for fault in command["faults"]]
            rules.faults = [(fault, random.Random(fault.seed), [0]) for fault in faults]  # noqa: S311
        return b"null"


def serve_control(rules: Rules) -> None:
    SOCKET.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(SOCKET))
        SOCKET.chmod(0o600)
        listener.listen(16)
        while True:
            connection, _dummy = listener.accept()
            with connection, connection.makefile("rb") as reader, contextlib.suppress(OSError, ValueError, KeyError):
                connection.sendall(control(rules, json.loads(reader.readline())))


def main() -> None:
    rules = Rules()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pki.DIRECTORY / "s3.pem", pki.DIRECTORY / "s3.key")
    names = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names.load_cert_chain(pki.DIRECTORY / "names.pem", pki.DIRECTORY / "names.key")
    ecr = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ecr.load_cert_chain(pki.DIRECTORY / "ecr.pem", pki.DIRECTORY / "ecr.key")
    fronts: list[tuple[tuple[str, int], Front, ssl.SSLContext | None]] = [
        ((paths.AWS, paths.AWS_PORT), Gate(rules), None),
        ((paths.S3, paths.S3_PORT), S3Gate(rules), tls),
        ((paths.NAMES, 443), NamesGate(rules), names),
        ((paths.ECR, 443), RegistryGate(rules), ecr),
        ((paths.ECR_API, 443), Gate(rules), ecr),
    ]
    for address, front, context in fronts:
        threading.Thread(target=Proxy(address, front, context).serve, daemon=True).start()
    serve_control(rules)


if __name__ == "__main__":
    main()
