# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a transfer by SSH touches beside the engines: authorized_keys, staging directories, processes, the wire."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.targets.image_offline_transfer.kit import HOSTS, PLAIN, PRIVATE, Case, Ran, Running
from testbed.node import processes_beside

V1, V2 = f"{PLAIN}/it-app:v1", f"{PLAIN}/it-app:v2"
SMALL, SMALL2 = f"{PLAIN}/it-small:v1", f"{PLAIN}/it-small:v2"
OFFER = "upload them to the bucket once"
PUSH = "Push to all authorized targets"
PERMIT = "Authorize the source to push the missing blobs, and nothing else"
NOT_PUSHED = "Leave out a target that could not be pushed to"
# What stands in such files: no newline at its end, a carriage return, bytes that are no UTF-8.
THEIRS = b"# J\xfcrgen's keys\r\n# a\xe2\x80\xa8b"


@dataclass(frozen=True)
class Wire:
    """Bytes that a host has sent and received."""

    sent: int
    received: int

    def __sub__(self, other: Wire) -> Wire:
        return Wire(self.sent - other.sent, self.received - other.received)


class Ground:
    """The hosts as a transfer by SSH finds them; a staging directory of the test's own."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.bed = case.bed
        self.name = f"daytwo-image-transfer-{case.prefix}"
        self.staging = f"/var/tmp/{self.name}"  # noqa: S108
        self._were = {host: self.keys_file(host).read_bytes() for host in HOSTS}
        for host in PRIVATE:
            with self.keys_file(host).open("ab") as file:
                file.write(THEIRS)
        self.keys = self.read_keys()

    def restore(self) -> None:
        for host in HOSTS:
            self.keys_file(host).write_bytes(self._were[host])
            for pid in self.processes(host):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.bed.host(host).run("rm", "-rf", self.staging)

    # Runs

    def variables(self, **more: Any) -> dict[str, Any]:
        return {"bucket": None, "staging_dir": self.staging, **more}

    def transfer(self, *names: str, **more: Any) -> Ran:
        return self.case.transfer(*names, **self.variables(**more))

    def check(self, *names: str, **more: Any) -> Ran:
        return self.case.check(*names, **self.variables(**more))

    def start(self, *names: str, **more: Any) -> Running:
        return self.case.start(*names, **self.variables(**more))

    # What is true on the hosts

    def keys_file(self, host: str) -> Path:
        return Path(self.bed.host(host).folder) / "root" / ".ssh" / "authorized_keys"

    def read_keys(self) -> dict[str, bytes]:
        return {host: self.keys_file(host).read_bytes() for host in HOSTS}

    def lines(self, host: str) -> list[bytes]:
        """The lines that authorize a push into our staging directory."""
        return [line for line in self.keys_file(host).read_bytes().split(b"\n") if self.name.encode() in line]

    def folder(self, host: str) -> Path:
        return Path(self.bed.host(host).folder) / "vartmp" / self.name

    def processes(self, host: str) -> list[int]:
        """Processes that have something of our staging directory open, or name it."""
        found = []
        for pid in processes_beside(self.bed.host(host).init_pid()):
            proc = Path(f"/proc/{pid}")
            with contextlib.suppress(OSError):
                held = [str(link.readlink()) for link in (proc / "fd").iterdir()]
                if any(
                    self.name in text for text in [*held, (proc / "cmdline").read_bytes().decode("utf-8", "replace")]
                ):
                    found.append(pid)
        return found

    def stray(self) -> list[str]:
        """Whatever a transfer has left, anywhere."""
        _settle(lambda: not any(self.processes(host) for host in HOSTS))
        left = [line for host in HOSTS for line in self.case.stray(host)]
        left += [str(self.folder(host)) for host in HOSTS if self.folder(host).exists()]
        left += [f"{host}: process {pid}" for host in HOSTS for pid in self.processes(host)]
        for host in HOSTS:
            ssh = self.keys_file(host).parent
            left += [str(path) for path in ssh.iterdir() if "daytwo" in path.name]
        return left

    def untouched(self) -> None:
        """Everything is as it was before: keys byte for byte, no file, no process."""
        left, keys = self.stray(), self.read_keys()
        assert left == [], left
        assert keys == self.keys, keys

    def wire(self, host: str) -> Wire:
        for line in self.bed.host(host).run("cat", "/proc/net/dev").stdout.splitlines():
            name, _dummy, numbers = line.partition(":")
            if name.strip() == "eth0":
                fields = numbers.split()
                return Wire(int(fields[8]), int(fields[0]))
        raise AssertionError("the host has no wire")

    @contextmanager
    def measured(self, host: str) -> Iterator[list[Wire]]:
        """What passes a host's wire meanwhile."""
        before, measured = self.wire(host), []
        yield measured
        measured.append(self.wire(host) - before)

    # Calls of the module, one by one

    def call(self, host: str, **options: Any) -> Ran:
        task = {
            "name": "Call",
            "daytwo.aws.image_offline_transfer": {"transport": "scp", "staging_dir": self.staging, **options},
        }
        return self.case.ansible.run([{"hosts": host, "gather_facts": False, "tasks": [task]}])

    def bundle(self, content: Mapping[str, int]) -> dict[str, Any]:
        """A bundle of blobs with these digests and sizes; the first is the config."""
        blobs = [{"digest": digest, "size": size, "media_type": "x"} for digest, size in content.items()]
        layers = [{**blob, "diff_id": blob["digest"]} for blob in blobs[1:]]
        tag = f"it-scp:{self.case.prefix}"
        image = {"reference": tag, "tag": tag, "platform": "linux/amd64", "manifest": None, "config": blobs[0]}
        return {"version": 1, "images": [{**image, "layers": layers}]}

    def push(self, public_key: str, hosts: Sequence[str], digests: Sequence[str], source: str) -> dict[str, Any]:
        """What state=saved returns for state=authorized, with a key of the test's own."""
        targets = {
            host: {
                "host": host,
                "address": self.bed.host(host).address,
                "port": 22,
                "from": source,
                "digests": list(digests),
            }
            for host in hosts
        }
        return {"token": "0" * 32, "public_key": public_key, "seconds": 900, "targets": targets}


def _settle(condition: Any, seconds: float = 3) -> None:
    """A process that is requested to stop needs a moment. The caller asserts that it exits."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
