# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lambda and the queues that feed it: functions run as processes of this machine, from the packages that were uploaded.

A function's process has the function's own environment and its role's credentials. It has no package of the bed's own
environment, so that a package that is missing from the upload is missing at run time.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import moto.awslambda.models
import moto.logs.models
import moto.sqs.models
from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaBackend, LambdaFunction
from moto.awslambda.utils import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_api._internal import mock_random
from moto.sqs.models import Queue, SQSBackend, sqs_backends
from moto.sts.models import sts_backends

from .. import paths
from . import timeline
from .clock import CLOCK
from .control import command
from .rules import rule

BOOTSTRAP = Path(__file__).parents[1] / "function.py"
Ran = tuple[str, bool, str]  # what the handler returned, whether it failed, what it printed


class Machine:
    """Where functions run, and the AWS endpoint that they use."""

    def __init__(self) -> None:
        self.endpoint = f"http://{paths.AWS}:{paths.AWS_PORT}"
        self.run: Callable[[Any, Any], Ran] = run_process
        self.packages: dict[str, Path] = {}
        self.directory: tempfile.TemporaryDirectory[str] | None = None
        self.lock = threading.Lock()

    def unpacked(self, function: Any) -> Path:
        """Unpack the function's package once, and return its directory."""
        with self.lock:
            if self.directory is None:
                self.directory = tempfile.TemporaryDirectory(prefix="testbed-functions-")
                atexit.register(self.directory.cleanup)
            known = self.packages.get(function.code_sha_256)
            if known is None:
                known = Path(self.directory.name) / str(len(self.packages))
                zipfile.ZipFile(io.BytesIO(function.code_bytes)).extractall(known)
                self.packages[function.code_sha_256] = known
            return known


@command("lambda/endpoint")
def set_endpoint(url: str) -> None:
    MACHINE.endpoint = url


def run_process(function: Any, event: Any) -> Ran:
    """Run an invocation in its own process: always a cold start."""
    request = str(mock_random.uuid4())
    role = sts_backends[function.account_id]["aws"].assume_role(
        region_name=function.region,
        role_session_name=function.function_name,
        role_arn=function.role,
        policy="",
        duration=3600,
        external_id="",
    )
    task = MACHINE.unpacked(function)
    payload = {
        "handler": function.handler,
        "event": event,
        "offset": CLOCK.offset,
        "context": {
            "aws_request_id": request,
            "function_name": function.function_name,
            "function_version": str(function.version),
            "invoked_function_arn": function.function_arn,
            "memory_limit_in_mb": str(function.memory_size),
            "log_group_name": function.logs_group_name,
            "timeout": function.timeout,
        },
    }
    env = {
        "PATH": os.environ.get("PATH", ""),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "LAMBDA_TASK_ROOT": str(task),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
        "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
        "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
        "AWS_REGION": function.region,
        "AWS_DEFAULT_REGION": function.region,
        "AWS_ACCESS_KEY_ID": role.access_key_id,
        "AWS_SECRET_ACCESS_KEY": role.secret_access_key,
        "AWS_SESSION_TOKEN": role.session_token,
        "AWS_ENDPOINT_URL": MACHINE.endpoint,
        **{str(name): str(value) for name, value in function.environment_vars.items()},
    }
    with tempfile.TemporaryFile() as answer:
        # -I and -S: neither this environment's variables and directory, nor its packages.
        argv = [sys.executable, "-I", "-S", str(BOOTSTRAP), str(answer.fileno())]
        try:
            ran = subprocess.run(
                argv,
                input=json.dumps(payload),
                env=env,
                cwd=task,
                pass_fds=[answer.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=function.timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            output = error.output.decode(errors="replace") if isinstance(error.output, bytes) else error.output or ""
            message = f"RequestId: {request} Error: Task timed out after {function.timeout:.2f} seconds"
            return json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": message}), True, f"{output}{message}\n"
        answer.seek(0)
        returned = answer.read().decode()
    if ran.returncode and not returned:
        message = f"RequestId: {request} Error: Runtime exited with error: exit status {ran.returncode}"
        returned = json.dumps({"errorType": "Runtime.ExitError", "errorMessage": message})
    return returned, ran.returncode != 0, ran.stdout


MACHINE = Machine()


@rule(
    LambdaFunction,
    "_invoke_lambda",
    fact="A function's handler runs in its own environment, with its variables and its role's credentials "
    "(Lambda guide); moto starts a docker container with its own image, or fails",
)
def functions_run(plain: Callable[..., Any], function: Any, event: Any = None) -> Ran:
    function.logs_backend.ensure_log_group(function.logs_group_name)
    returned, failed, output = MACHINE.run(function, event)
    function.save_logs(output)
    return returned, failed, output


# Queues on the bed's clock


@rule(
    moto.sqs.models,
    "unix_time",
    fact="A message's age, delay and visibility time-out end in time (SQS guide); the bed's time can be moved",
)
def queues_go_by_the_clock(plain: Callable[..., Any], when: datetime | None = None) -> float:
    return float(plain(when)) if when else CLOCK.now().timestamp()


@rule(
    moto.sqs.models,
    "unix_time_millis",
    fact="A message's age, delay and visibility time-out end in time (SQS guide); the bed's time can be moved",
)
def queues_go_by_the_clock_in_milliseconds(plain: Callable[..., Any], when: datetime | None = None) -> float:
    return float(plain(when)) if when else CLOCK.now().timestamp() * 1000.0


@rule(
    moto.awslambda.models,
    "unix_time_millis",
    fact="A function's log has the time of each line (Lambda guide); the bed's time can be moved",
)
def logs_go_by_the_clock(plain: Callable[..., Any], when: datetime | None = None) -> float:
    return float(plain(when)) if when else CLOCK.now().timestamp() * 1000.0


@rule(
    moto.logs.models,
    "utcnow",
    fact="CloudWatch Logs refuses lines more than two hours in the future (PutLogEvents); the bed's time can be moved",
)
def logs_stay_within_the_clock(plain: Callable[..., Any]) -> datetime:
    return CLOCK.now().replace(tzinfo=None)


_ADDING = threading.Lock()


@rule(
    Queue,
    "add_message",
    fact="A delayed message reaches a function when its delay is over (SQS guide); moto hands it over at once",
)
def messages_wait_for_their_delay(plain: Callable[..., Any], queue: Any, message: Any) -> None:
    with _ADDING:
        mappings, queue.lambda_event_source_mappings = queue.lambda_event_source_mappings, {}
        try:
            plain(queue, message)
        finally:
            queue.lambda_event_source_mappings = mappings


@rule(
    SQSBackend,
    "receive_message",
    fact="A message older than the queue's retention period is deleted (SQS guide); moto keeps it, and gives nothing "
    "that came after it",
)
def old_messages_go(plain: Callable[..., Any], backend: SQSBackend, queue_name: str, *args: Any, **kwargs: Any) -> Any:
    queue = backend.queues.get(queue_name)
    if queue:
        oldest = (CLOCK.now().timestamp() - queue.message_retention_period) * 1000
        queue._messages = [message for message in queue._messages if message.sent_timestamp > oldest]
    return plain(backend, queue_name, *args, **kwargs)


@rule(
    LambdaBackend,
    "create_event_source_mapping",
    fact="A queue's visibility time-out is at least the function's own: InvalidParameterValueException, 'Queue "
    "visibility timeout: N seconds is less than Function timeout: M seconds' (public reports)",
)
def mappings_leave_time_to_finish(plain: Callable[..., Any], backend: LambdaBackend, spec: dict[str, Any]) -> Any:
    queue = sqs_backends[backend.account_id][backend.region_name].queues.get(
        str(spec.get("EventSourceArn")).rpartition(":")[2]
    )
    if queue and spec.get("FunctionName"):
        function = backend.get_function(spec["FunctionName"])
        if queue.visibility_timeout < function.timeout:
            raise LambdaClientError(
                "InvalidParameterValueException",
                f"Queue visibility timeout: {queue.visibility_timeout} seconds is less than Function timeout: "
                f"{function.timeout} seconds",
            )
    return plain(backend, spec)


# Event source mappings


def _fed() -> list[Any]:
    """Return the queues that are the source of a function."""
    return [
        queue
        for backend in list(sqs_backends[DEFAULT_ACCOUNT_ID].values())
        for queue in list(backend.queues.values())
        if any(mapping.enabled for mapping in queue.lambda_event_source_mappings.values())
    ]


def _due() -> datetime | None:
    moments = [max(message.visible_at, message.delayed_until) for queue in _fed() for message in queue._messages]
    # A message is visible just after that time, not at it.
    return datetime.fromtimestamp(min(moments) / 1000, timezone.utc) + timedelta(milliseconds=2) if moments else None


def _settle() -> None:
    for queue in _fed():
        for mapping in list(queue.lambda_event_source_mappings.values()):
            if mapping.enabled:
                feed(queue, mapping)


timeline.source(_due, _settle)


def feed(queue: Any, mapping: Any) -> None:
    """Send batches to the function until no message is visible. A failed message returns after the visibility time-out,
    and goes to the dead-letter queue after the queue's maximum of receives (Lambda guide, "Using Lambda with SQS")."""
    queues = sqs_backends[queue.account_id][queue.region]
    functions = get_backend(queue.account_id, queue.region)
    while batch := queues.receive_message(queue.name, min(mapping.batch_size, 10), 0, queue.visibility_timeout):
        headers: dict[str, Any] = {}
        event = {"Records": [_record(queue, message) for message in batch]}
        returned = functions.invoke(mapping.function_arn, None, json.dumps(event), {}, headers)
        failed = {message.id for message in batch}
        if "x-amz-function-error" not in headers:
            failed = _kept(returned, failed) if mapping.function_response_types else set()
        for message in batch:
            if message.id not in failed:
                queue.delete_message(message.receipt_handle)


def _kept(returned: Any, sent: set[str]) -> set[str]:
    """Return the messages that stay in the queue, by ReportBatchItemFailures. The whole batch stays if the response
    cannot be read or names a message that was not sent (Lambda guide)."""
    try:
        answer = json.loads(returned or "null")
        named = {entry["itemIdentifier"] for entry in (answer or {}).get("batchItemFailures") or []}
    except (ValueError, TypeError, KeyError, AttributeError):
        return sent
    return named if named <= sent else sent


def _record(queue: Any, message: Any) -> dict[str, Any]:
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": str(message.approximate_receive_count),
            "SentTimestamp": str(message.sent_timestamp),
            "SenderId": message.sender_id,
            "ApproximateFirstReceiveTimestamp": str(message.approximate_first_receive_timestamp),
        },
        "messageAttributes": {},
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.queue_arn,
        "awsRegion": queue.region,
    }
