# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real registries in processes of their own, and runs of the module."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ansible_collections.daytwo.aws.plugins.module_utils._image.copy.run import copy_images
from ansible_collections.daytwo.aws.plugins.modules.image_copy import OPTIONS
from integration.targets.image_copy.images import Client
from testbed import packages, small_programs

MODULE = "ansible_collections.daytwo.aws.plugins.modules.image_copy"
SECONDS = 60


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RegistryProcess:
    """A registry, and the requests in its log."""

    name = ""
    has_referrers = False
    request = ""  # in the log

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.host = f"127.0.0.1:{find_port()}"
        self.log = directory / f"{self.name}.log"
        self.process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.get_command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        ended = time.monotonic() + SECONDS
        while not self.is_up():
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < ended, self.log.read_text()[-2000:]
            time.sleep(0.05)

    def is_up(self) -> bool:
        with socket.socket() as probe:
            address, _colon, port = self.host.partition(":")
            return probe.connect_ex((address, int(port))) == 0

    def end(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(SECONDS)
            self.process = None

    @property
    def client(self) -> Client:
        return Client(self.host)

    def list_requests(self) -> list[str]:
        """The methods of all requests so far. A registry logs a request after its response."""
        text = ""
        while text != self.log.read_text():
            text = self.log.read_text()
            time.sleep(0.1)
        return re.findall(self.request, text)

    def get_command(self) -> list[str]:
        raise NotImplementedError


class DebianRegistry(RegistryProcess):
    """Debian's docker-registry, without the referrers API."""

    name = "distribution"
    request = r'"([A-Z]+) /v2/\S* HTTP/1.1" \d'

    def get_config(self) -> dict[str, Any]:
        return {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(self.directory / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.host, "secret": "s" * 32},
        }

    def get_command(self) -> list[str]:
        path = self.directory / "config.yml"
        path.write_text(json.dumps(self.get_config()))  # JSON is valid YAML
        program = shutil.which("docker-registry", path=packages.SEARCH)
        assert program
        return [program, "serve", str(path)]


class ReferrersRegistry(RegistryProcess):
    """The registry of go-containerregistry, with the referrers API."""

    name = "referrers"
    has_referrers = True
    request = r" ([A-Z]+) /v2/\S*"

    def get_command(self) -> list[str]:
        return [str(small_programs.ensure("referrers_registry")), self.host]


def ensure_programs() -> None:
    if missing := packages.missing():
        packages.install(missing)
    small_programs.ensure("referrers_registry")


def make_params(images: Sequence[Mapping[str, str]], **options: Any) -> dict[str, Any]:
    defaults = {name: spec.get("default") for name, spec in OPTIONS.items()}
    plain = {"source_plain_http": True, "destination_plain_http": True, "timeout": 10}
    return {**defaults, **plain, "images": list(images), **options}


def run_program(command: list[str], text: str, _descriptors: tuple[int, ...]) -> tuple[int, str, str]:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def copy(source: str, to: str, check: bool = False, **options: Any) -> dict[str, Any]:
    """A run for one image, in this process."""
    return copy_all([{"name": source, "to": to}], check, **options)


def copy_all(images: Sequence[Mapping[str, str]], check: bool = False, **options: Any) -> dict[str, Any]:
    return copy_images(make_params(images, **options), check, True, run_program)


def start_module(directory: Path, images: Sequence[Mapping[str, str]], **options: Any) -> subprocess.Popen[bytes]:
    """A run of the module in a process of its own."""
    given = {name: value for name, value in make_params(images, **options).items() if value is not None}
    arguments = directory / f"arguments-{time.monotonic_ns()}.json"
    arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": given}))
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, str(arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "HOME": str(directory)},
    )
