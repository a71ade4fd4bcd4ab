# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planted secrets are searched for wherever a transfer could leave them; and the search finds them when they leak."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from integration.targets.image_offline_transfer.kit import (
    AUTH,
    BUCKET,
    HOSTS,
    LOAD,
    MODULE,
    ROLE,
    SAVE,
    Ansible,
    Case,
    Ran,
    own_case,
)
from testbed import Bed, registry
from testbed.gate import Fault

NAME = f"{AUTH}/it-small:v1"
LEAK = "/var/tmp/it-leak"  # noqa: S108
TOKEN = "it-planted-session-token-FwoGZXIvYXdzEBYaDJ"
KEYS = ("aws_access_key_id", "aws_secret_access_key")
REGISTRY_CA = "/opt/testbed/registry-ca.pem"
PYTHONS = {"public": "3.11", "private-a": "3.9", "private-b": "3.13"}


class Search:
    """Known values, and the parameters of every presigned URL."""

    def __init__(self, bed: Bed) -> None:
        self.values = {
            "secret key": bed.env["AWS_SECRET_ACCESS_KEY"],
            "session token": TOKEN,
            "registry password": registry.password(),
        }
        signed = ("X-Amz-Signature=", "X-Amz-Credential=", "X-Amz-Security-Token=")
        self.pattern = re.compile("|".join(map(re.escape, [*self.values.values(), *signed])).encode())
        self.names = {value: name for name, value in self.values.items()}

    def __call__(self, text: bytes) -> set[str]:
        return {self.names.get(found.decode(), found.decode()) for found in self.pattern.findall(text)}


@dataclass
class Watch:
    """Looks at the hosts' processes and files, over and over, while something runs."""

    bed: Bed
    search: Search
    found: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    pythons: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    checks: Counter[Callable[[], None]] = field(default_factory=Counter)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        spaces = {Path(f"/proc/{self.bed.host(name).init_pid()}/ns/mnt").readlink(): name for name in HOSTS}
        over = threading.Event()

        def again(check: Callable[[], None]) -> None:
            while not over.is_set():
                check()
                self.checks[check] += 1
                over.wait(0.01)

        # Apart: files take longer to read than a process may live.
        threads = [
            threading.Thread(target=again, args=(check,), daemon=True)
            for check in (lambda: self._processes(spaces), self._files)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _processes(self, spaces: dict[Path, str]) -> None:
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                host = spaces.get((entry / "ns/mnt").readlink())
                command = (entry / "cmdline").read_bytes()
                if host is None:
                    if b"ansible" in command or b"ssh" in command:
                        self._note("controller: process list", command)
                    continue
                self._note(f"{host}: process list", command)
                self._note(f"{host}: environment of processes", (entry / "environ").read_bytes())
                program = (entry / "exe").readlink().name
                if program.startswith("python") and b"init.py" not in command:  # the bed's own PID 1
                    self.pythons[host].add(program)

    def _files(self) -> None:
        for name in HOSTS:
            folder = Path(self.bed.host(name).folder)
            for top in (folder / "root" / ".ansible", folder / "vartmp", folder / "tmp"):
                for path in _files_below(top):
                    with contextlib.suppress(OSError):
                        self._note(f"{name}: files", path.read_bytes())

    def _note(self, where: str, text: bytes) -> None:
        if observed := self.search(text):
            self.found[where] |= observed


def _files_below(top: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for path in top.iterdir():
            if path.is_dir() and not path.is_symlink():
                if path.name != "blobs":  # content of images, megabytes of it
                    yield from _files_below(path)
            elif path.is_file():
                yield path


@dataclass(frozen=True)
class Observed:
    """A run, and which secrets were found where."""

    ran: Ran
    found: dict[str, set[str]]
    watch: Watch
    cache: str


def observe(ansible: Ansible, search: Search, plays: list[dict[str, Any]], variables: dict[str, Any]) -> Observed:
    folder = ansible.folder / f"secrets-{len(plays)}-{ansible.runs}"
    folder.mkdir()
    env = {
        "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "facts"),
        "ANSIBLE_LOG_PATH": str(folder / "log.txt"),
    }
    watch = Watch(ansible.bed, search)
    with watch.watching():
        ran = ansible.run(plays, variables, "-vvv", env=env)
    cache = b"".join(path.read_bytes() for path in sorted((folder / "facts").iterdir()))
    texts = {
        "output": ran.output.encode(),
        "results": json.dumps([task.result for task in ran.tasks]).encode(),
        "log": (folder / "log.txt").read_bytes(),
        "fact cache": cache,
    }
    assert all(texts.values()), "nothing to search in"
    found = {where: observed for where, text in texts.items() if (observed := search(text))}
    return Observed(ran, {**found, **watch.found}, watch, cache.decode())


@pytest.fixture(scope="module")
def search(bed: Bed) -> Search:
    return Search(bed)


@pytest.fixture(scope="module")
def transfer(bed: Bed, ansible: Ansible, search: Search) -> Iterator[tuple[Case, Observed]]:
    """The role with a registry that wants a password. One host gets its blobs, the other is refused them."""
    with own_case(bed, ansible) as case:
        variables = case.variables(
            NAME,
            plain_http=False,
            ca_path="/opt/testbed/ca.pem",
            registry_username=registry.USER,
            registry_password=registry.password(),
        )
        keep = {
            f"it_{name}": f"{{{{ __image_transfer_{name} | default({{}}) }}}}"
            for name in ("target_facts", "saved", "first_load")
        }
        play = {"hosts": "private", "gather_facts": True}
        always = {"name": "All that was registered", "ansible.builtin.set_fact": {**keep, "cacheable": True}}
        role = {"name": "Transfer", "ansible.builtin.include_role": {"name": ROLE}}
        # The bed's S3 knows no session tokens: it refuses this one, and its words must not repeat it either.
        login = {"registry_username": registry.USER, "registry_password": registry.password()}
        images = [{"name": NAME}]
        probe = {"state": "saved", "images": images, "bucket": BUCKET, "ca_path": REGISTRY_CA, **login}
        refused = {"delegate_to": "public", "run_once": True, "ignore_errors": True}
        keys = {name.upper(): f"{{{{ {name} }}}}" for name in KEYS}
        environment = {**keys, "AWS_SESSION_TOKEN": TOKEN}
        options = {name: f"{{{{ {name} }}}}" for name in KEYS}
        tasks = [
            {"name": "Token of the task", MODULE: probe, "environment": environment, **refused},
            {"name": "Token as an option", MODULE: {**probe, **options, "aws_session_token": TOKEN}, **refused},
            {"name": "Role", "block": [role], "always": [always], "environment": keys},
        ]
        variables |= {name: bed.env[name.upper()] for name in KEYS}
        denial = Fault(
            "error", "GetObject", key=f"{case.prefix}/*", client="private-b", status=403, code="AccessDenied"
        )
        with bed.recorder.failing(denial):
            yield case, observe(ansible, search, [{**play, "tasks": tasks}], variables)


def test_the_transfer_took_place(transfer: tuple[Case, Observed]) -> None:
    case, observed = transfer
    case.proves("private-a", NAME, case.image("it-small:v1"))
    assert observed.ran.single(SAVE).result["changed"] is True
    refused = observed.ran.single(LOAD, "private-b")
    assert "403" in refused.message
    assert "AccessDenied" in refused.message
    assert case.calls(operation="GetObject", client="private-b") != []
    for name in ("Token of the task", "Token as an option"):
        assert "InvalidToken" in observed.ran.single(name).message
    assert min(observed.watch.checks.values()) >= 20
    assert len(observed.watch.checks) == 2


def test_nothing_planted_is_found(transfer: tuple[Case, Observed]) -> None:
    assert transfer[1].found == {}
    assert "it_saved" in transfer[1].cache, "the fact cache holds what the role registered"


def test_the_interpreters_of_the_inventory_were_used(transfer: tuple[Case, Observed]) -> None:
    for host, version in PYTHONS.items():
        assert transfer[1].watch.pythons[host] == {f"python{version}"}, host


@pytest.mark.full
def test_the_search_finds_a_leak(bed: Bed, ansible: Ansible, search: Search) -> None:
    url = "https://it.example/key?X-Amz-Credential=AKIA%2F1&X-Amz-Signature=0af"
    secrets = {**{name.replace(" ", "_"): value for name, value in search.values.items()}, "url": url}
    every = "{{ secret_key }} {{ session_token }} {{ registry_password }} {{ url }}"
    leaks = [
        {"name": "To the output", "ansible.builtin.debug": {"msg": every}},
        {"name": "To the fact cache", "ansible.builtin.set_fact": {"it_leak": every, "cacheable": True}},
        {"name": "To the file system", "ansible.builtin.copy": {"dest": LEAK, "content": every}},
        {"name": "To the process list", "ansible.builtin.command": {"argv": ["sh", "-c", "sleep 1; true", every]}},
        {
            "name": "To an environment",
            "ansible.builtin.command": "sleep 1",
            "environment": {"AWS_SECRET_ACCESS_KEY": every},
        },
        {"name": "Gone", "ansible.builtin.file": {"path": LEAK, "state": "absent"}},
    ]
    observed = observe(ansible, search, [{"hosts": "all", "gather_facts": False, "tasks": leaks}], secrets)
    observed.ran.succeed()
    all_of_them = {*search.values, "X-Amz-Credential=", "X-Amz-Signature="}
    places = ["output", "results", "log", "fact cache", "controller: process list"]
    for host in HOSTS:
        places += [f"{host}: process list", f"{host}: environment of processes", f"{host}: files"]
    assert {place: observed.found.get(place) for place in places} == dict.fromkeys(places, all_of_them)
