# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules, each in a fork of a process that has everything loaded. A run takes tens of milliseconds.

It reads a job as JSON from each line of its input, and writes its outcome as a line. In a job's process, botocore's
retries do not wait, there are two attempts, and a response may take 3 seconds.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from integration.models import read_models_once

ATTEMPTS = 2
READ_TIMEOUT = 3
CLIENTS: dict[tuple[Any, ...], Any] = {}  # made before the fork: a client takes longer than all of its calls
MISSING: list[tuple[Any, ...]] = []
PACKAGE = "ansible_collections.daytwo.aws.plugins.modules"


def prepare_botocore() -> None:
    """Loads the services' models once, and shortens what botocore waits for."""
    import botocore.args
    import botocore.endpoint
    import botocore.retries.bucket

    read_models_once()
    plain_create = botocore.endpoint.EndpointCreator.create_endpoint

    def create_endpoint(self: Any, *arguments: Any, **options: Any) -> Any:
        return plain_create(self, *arguments, **{**options, "timeout": (2, READ_TIMEOUT)})

    botocore.endpoint.EndpointCreator.create_endpoint = create_endpoint
    plain_compute = botocore.args.ClientArgsCreator._compute_retry_config

    def compute_retry_config(self: Any, config_kwargs: dict[str, Any]) -> None:
        plain_compute(self, config_kwargs)
        config_kwargs["retries"] = {"mode": "standard", "total_max_attempts": ATTEMPTS}

    botocore.args.ClientArgsCreator._compute_retry_config = compute_retry_config

    class NoWait:
        @staticmethod
        def sleep(_seconds: float) -> None:
            """A retry comes at once."""

    botocore.endpoint.time = NoWait
    prepare_clients()
    plain_sleep = time.sleep
    time.sleep = lambda seconds: plain_sleep(min(seconds, 0.05))


def prepare_clients() -> None:
    """Makes boto3's sessions return clients that were made before the fork."""
    import boto3.session

    plain_client = boto3.session.Session.client

    def client(self: Any, service_name: str, region_name: Any = None, **options: Any) -> Any:
        region = region_name or self.region_name
        unsigned = getattr(options.get("config"), "signature_version", None) is not None
        key = (service_name, region, options.get("endpoint_url") or os.environ.get("AWS_ENDPOINT_URL"), unsigned)
        if key not in CLIENTS:
            MISSING.append(key)
            return plain_client(self, service_name, region_name=region_name, **options)
        return CLIENTS[key]

    boto3.session.Session.client = client


def make_client(service: str, region: str, endpoint: str, unsigned: bool) -> Any:
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config

    session = botocore.session.get_session()
    session.set_credentials("AKIATESTBEDOWNAWS000", "testbed")
    config = Config(signature_version=UNSIGNED) if unsigned else None
    return session.create_client(service, region_name=region, endpoint_url=endpoint, config=config)


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Runs the module's main in this process. Returns what it printed, and its traceback if it has one."""
    from ansible.module_utils import basic

    os.environ.update(job["env"])
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": job["args"]}).encode()
    basic._ANSIBLE_PROFILE = "legacy"
    output, errors = io.StringIO(), ""
    with contextlib.redirect_stdout(output):
        try:
            importlib.import_module(f"{PACKAGE}.{job['module']}").main()
        except SystemExit:
            pass
        except BaseException:
            errors = traceback.format_exc()
    lines = output.getvalue().strip().splitlines()
    return {"result": json.loads(lines[-1]) if lines else None, "traceback": errors, "missing": MISSING}


def main() -> None:
    prepare_botocore()
    for module in sys.argv[1:]:
        importlib.import_module(f"{PACKAGE}.{module}")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="aws-faults-") as directory:
        for line in sys.stdin:
            answer = Path(directory, "answer")
            answer.unlink(missing_ok=True)
            child = os.fork()
            if not child:
                outcome: dict[str, Any] = {"result": None, "traceback": "the process ended"}
                with contextlib.suppress(BaseException):
                    outcome = run_job(json.loads(line))
                answer.write_text(json.dumps(outcome))
                os._exit(0)
            os.waitpid(child, 0)
            text = answer.read_text() if answer.exists() else '{"result": null, "traceback": "the process died"}'
            for key in json.loads(text).get("missing") or ():
                CLIENTS[tuple(key)] = make_client(*key)
            sys.stdout.write(text + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
