# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's programs that run in its own Python: the gate, and AWS behind it."""

from __future__ import annotations

import functools
import http.client
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

from . import gate, paths, pki
from .node import Node, Part, wait_for


def part(name: str, module: str, sources: list[str], *reads: object) -> Part:
    """Describe a program of the bed's own Python."""
    # Restarted when its source changed, or when another checkout's bed takes over: no test runs on stale code.
    directory = Path(__file__).parent
    texts = [path.read_text() for pattern in sources for path in sorted(directory.glob(pattern))]
    env = {
        "PYTHONPATH": str(paths.TESTS),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        # moto sometimes searches for credentials; it gets none of the caller's.
        "AWS_ACCESS_KEY_ID": "testbed",
        "AWS_SECRET_ACCESS_KEY": "testbed",
        "AWS_EC2_METADATA_DISABLED": "true",
        "TMPDIR": str(paths.STATE / "tmp"),
    }
    # The environment's own path, not that of a link to it: the part is the same for every way to call `up`.
    python = Path(sys.prefix).resolve() / "bin" / "python"
    return Part(name, [str(python), "-m", module], env, [texts, *reads])


AWS_READS = (
    *("aws/*.py", "audit.py", "control_plane.py", "function.py", "node.py", "paths.py", "pki.py", "programs.py"),
    "proxy.py",
    *(f"nodes/{name}.py" for name in ("model", "mime", "bottlerocket", "kubelet")),
)


def parts() -> list[Part]:
    certificates = [(pki.DIRECTORY / name).read_text() for name in ("s3.pem", "names.pem", "ecr.pem")]
    return [
        part("aws", "testbed.aws.server", list(AWS_READS)),
        part("gate", "testbed.gate", ["gate.py", "proxy.py", "identify.py", "paths.py"], certificates),
    ]


def wait(cloud: Node) -> None:
    """Wait until everything behind the gate responds: the gate returns 502 while nothing does."""
    trust = ssl.create_default_context(cafile=pki.S3_CA)
    for part, path in (
        *(("aws", "/moto-api/"), (f"s3-{paths.REGION}", f"/{gate.BUCKETS_BY_REGION[paths.REGION]}")),
        (f"s3-{paths.OTHER_REGION}", f"/{gate.BUCKETS_BY_REGION[paths.OTHER_REGION]}"),
    ):
        if part == "aws":
            made = functools.partial(http.client.HTTPConnection, paths.AWS, paths.AWS_PORT, timeout=5)
        else:
            made = functools.partial(http.client.HTTPSConnection, paths.S3, paths.S3_PORT, timeout=5, context=trust)
        wait_for(part, functools.partial(_answers, made, path), 30, cloud.log(part))


def _answers(made: Callable[[], http.client.HTTPConnection], path: str) -> bool:
    connection = made()
    try:
        connection.request("GET", path, headers={gate.HOUSEKEEPING: "1"})
        return connection.getresponse().status != 502
    except OSError:
        return False
    finally:
        connection.close()
