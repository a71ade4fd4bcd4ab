# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of image transfers share: real runs of ansible-playbook on the bed, and what is true there afterwards.

The truth never comes from the collection: images and events from each host's docker, bytes and writes from the gate in
front of S3, objects and files from the disks behind them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
import yaml
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import PRELOADED_LABEL
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Bundle
from integration.plays import PlayProcess
from testbed import Bed, images, paths, registry
from testbed.images import BASE, Image, LayerRecipe, Recipe
from testbed.recorder import Call

HOSTS = ("public", "private-a", "private-b")
PRIVATE = ("private-a", "private-b")
ROLE = "daytwo.aws.image_transfer"
MODULE = "daytwo.aws.image_offline_transfer"
PLAIN = registry.PLAIN
AUTH = registry.AUTH
BUCKET = "daytwo-images"
HOST_CA = "/opt/testbed/ca.pem"


def _tasks_of(entries: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for entry in entries:
        yield entry
        for part in ("block", "always"):
            yield from _tasks_of(entry.get(part, ()))


_ROLE_TASKS = list(
    _tasks_of(yaml.safe_load((Path(__file__).parents[4] / "roles/image_transfer/tasks/main.yml").read_text()))
)


def _registering(variable: str) -> str:
    """The name of the role's task that registers a variable, so that tests need not repeat it."""
    (name,) = (str(task["name"]) for task in _ROLE_TASKS if task.get("register") == f"__image_transfer_{variable}")
    return name


SAVE, LOAD, LOAD_AGAIN = _registering("saved"), _registering("first_load"), _registering("second_load")
(REPLACE,) = (str(task["name"]) for task in _ROLE_TASKS if "corrupt" in task.get(MODULE, {}))

# Layers of these tests alone: a host has them because a test put them there, and for no other reason.
_OWN_BASE = LayerRecipe("it-base", busybox=True)


def _app(tag: str) -> Recipe:
    own = LayerRecipe(f"it-app-{tag}", text_mib=2, random_mib=6, output=f"it-app {tag}")
    return Recipe(
        "it-app", tag, (_OWN_BASE, LayerRecipe("it-app-runtime", 22, 8), LayerRecipe("it-app-libraries", 10, 10), own)
    )


def _small(tag: str) -> Recipe:
    return Recipe("it-small", tag, (_OWN_BASE, LayerRecipe(f"it-small-{tag}", 1, 1, output=f"it-small {tag}")))


images.RECIPES["it"] = (
    *(_app("v1"), _app("v2"), _small("v1"), _small("v2")),
    Recipe("it-pinned", None, (_OWN_BASE, LayerRecipe("it-pinned", 1, 1, output="it-pinned"))),
    Recipe("it-multi", "v1", (BASE, LayerRecipe("it-multi", 1, 1, output="it-multi v1")), "oci", ("amd64", "arm64")),
)


@dataclass(frozen=True)
class Task:
    """What became of one task on one host, as a callback saw it."""

    status: str  # ok, failed, skipped, unreachable
    host: str
    task: str
    action: str
    result: dict[str, Any]

    @property
    def message(self) -> str:
        return str(self.result.get("msg", ""))


@dataclass(frozen=True)
class Ran:
    """A finished ansible-playbook."""

    returncode: int
    output: str
    tasks: tuple[Task, ...]
    seconds: float

    def all(self, task: str, host: str | None = None) -> list[Task]:
        return [t for t in self.tasks if t.task.endswith(task) and host in (None, t.host)]

    def single(self, task: str, host: str | None = None) -> Task:
        found = self.all(task, host)
        assert len(found) == 1, f"{len(found)} outcomes of {task!r} on {host or 'any host'}:\n{self.output}"
        return found[0]

    def changed(self) -> list[str]:
        return [f"{t.host}: {t.task}" for t in self.tasks if t.result.get("changed")]

    def report(self, host: str) -> dict[str, Any]:
        """The report of the role."""
        facts = self.single("Keep the report for later tasks", host).result["ansible_facts"]
        return dict(facts["image_transfer_report"])

    def succeed(self) -> Ran:
        assert self.returncode == 0, self.output
        return self

    def fail(self) -> Ran:
        assert self.returncode != 0, self.output
        return self


class Running:
    """An ansible-playbook that runs."""

    def __init__(self, process: PlayProcess, record: Path, log: Path) -> None:
        self.process = process
        self._record = record
        self.log = log
        self._began = time.monotonic()

    def wait(self, timeout: float = 240) -> Ran:
        try:
            code = self.process.wait(timeout)
        except TimeoutError:
            self.kill()
            raise AssertionError(f"still running after {timeout} s:\n{self.log.read_text()}") from None
        lines = self._record.read_text().splitlines() if self._record.exists() else []
        tasks = tuple(Task(**json.loads(line)) for line in lines)
        return Ran(code, self.log.read_text(errors="replace"), tasks, time.monotonic() - self._began)

    def kill(self) -> None:
        self.process.kill()

    def until(self, what: str, check: Callable[[], Any], seconds: float = 60) -> Any:
        """Waits until something is so while the run goes on; that the run ends first is a failure of the test."""
        end = time.monotonic() + seconds
        while not (result := check()):
            assert self.process.poll() is None, f"the run ended before {what}:\n{self.log.read_text()}"
            assert time.monotonic() < end, f"not within {seconds} s: {what}\n{self.log.read_text()}"
            time.sleep(0.02)
        return result


class Ansible:
    """Runs ansible-playbook as a user would, with an inventory of its own and nothing inherited from this machine."""

    def __init__(self, bed: Bed, folder: Path) -> None:
        self.bed = bed
        self.folder = folder
        # Short: the path of a Unix socket has at most 107 characters. Our own: tests cut these connections.
        self.control = Path(tempfile.mkdtemp(prefix="it-cp-"))
        self.remote_tmp = f".ansible/tmp/it-{secrets.token_hex(4)}"
        self.runs = 0

    def close(self) -> None:
        for socket in self.control.iterdir():
            argv = ["ssh", "-F", "/dev/null", "-o", f"ControlPath={socket}", "-O", "exit", "it"]
            subprocess.run(argv, capture_output=True, check=False, timeout=10)
        shutil.rmtree(self.control)
        for host in HOSTS:
            shutil.rmtree(self.bed.host(host).folder / "root" / self.remote_tmp, ignore_errors=True)

    def environment(self, extra: Mapping[str, str | None]) -> dict[str, str]:
        kept = ("PATH", "LC_ALL", "LANG", "ANSIBLE_COLLECTIONS_PATH")
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        (self.folder / "ansible.cfg").touch()
        env: dict[str, str | None] = {
            **{name: os.environ[name] for name in kept if name in os.environ},
            **self.bed.env,
            "HOME": str(home),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_REMOTE_TMP": f"~/{self.remote_tmp}",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            **extra,
        }
        return {name: value for name, value in env.items() if value is not None}

    def inventory(self, hosts: Mapping[str, Mapping[str, Any]], first: Mapping[str, Any]) -> Path:
        """The bed's, with own control sockets, further variables of hosts, and hosts that come first in `private`."""
        data = json.loads(Path(self.bed.inventory).read_text())
        everything = data["all"]
        everything["vars"]["ansible_control_path_dir"] = str(self.control)
        private = everything["children"]["private"]
        private["hosts"] = {**first, **private["hosts"]}
        for group in (everything["hosts"], private["hosts"]):
            for name, variables in group.items():
                variables.update(hosts.get(name, {}))
        path = self.folder / f"inventory-{self.runs}.yml"
        path.write_text(json.dumps(data))
        return path

    def start(
        self,
        playbook: str | Sequence[Mapping[str, Any]],
        variables: Mapping[str, Any] | None = None,
        *options: str,
        env: Mapping[str, str | None] | None = None,
        hosts: Mapping[str, Mapping[str, Any]] | None = None,
        first: Mapping[str, Any] | None = None,
    ) -> Running:
        """A playbook by its full name, or plays to write into a file."""
        self.runs += 1
        record = self.folder / f"record-{self.runs}.jsonl"
        log = self.folder / f"output-{self.runs}.txt"
        argv = ["-i", str(self.inventory(hosts or {}, first or {})), *options]
        if variables:
            extra = self.folder / f"variables-{self.runs}.json"
            extra.write_text(json.dumps(variables))
            argv += ["-e", f"@{extra}"]
        if not isinstance(playbook, str):
            path = self.folder / f"playbook-{self.runs}.yml"
            path.write_text(json.dumps(playbook, indent=1))
            playbook = str(path)
        environment = self.environment({"IT_RECORD": str(record), **(env or {})})
        process = PlayProcess([*argv, playbook], environment, self.folder, log)
        return Running(process, record, log)

    def run(self, *args: Any, **named: Any) -> Ran:
        return self.start(*args, **named).wait()


class Case:
    """One test's own corner of the bed: a prefix in the bucket, the hosts without our images, marks in the records."""

    def __init__(self, bed: Bed, ansible: Ansible) -> None:
        self.bed = bed
        self.ansible = ansible
        self.prefix = f"it-{secrets.token_hex(4)}"
        self.since = time.time()
        self.runs: list[Ran] = []
        self.mark()

    # Runs

    def variables(self, *names: str | Mapping[str, Any], **more: Any) -> dict[str, Any]:
        variables = {
            "targets": "private",
            "source_host": "public",
            "images": [{"name": name} if isinstance(name, str) else dict(name) for name in names],
            "plain_http": True,
            "bucket": BUCKET,
            "prefix": self.prefix,
            **more,
        }
        return {f"image_transfer_{name}": value for name, value in variables.items() if value is not None}

    def start(self, *names: str | Mapping[str, Any], options: Sequence[str] = (), **more: Any) -> Running:
        """The role by its playbook; keywords are its variables, but for env, hosts and first (see Ansible.start)."""
        named = {key: more.pop(key) for key in ("env", "hosts", "first") if key in more}
        return self.ansible.start(ROLE, self.variables(*names, **more), *options, **named)

    def transfer(self, *names: str | Mapping[str, Any], options: Sequence[str] = (), **more: Any) -> Ran:
        ran = self.start(*names, options=options, **more).wait()
        self.runs.append(ran)
        return ran

    def check(self, *names: str | Mapping[str, Any], options: Sequence[str] = (), **more: Any) -> Ran:
        return self.transfer(*names, options=("--check", *options), **more)

    # S3

    def mark(self) -> None:
        """Assertions count from this mark on. The mark itself is in the gate's record, so a lost record is detected."""
        self.since = time.time()
        self._mark = f"{self.prefix}/mark-{secrets.token_hex(4)}"
        with contextlib.suppress(Exception):
            self.client().head_object(Bucket=BUCKET, Key=self._mark)

    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.session.Session(
            aws_access_key_id=self.bed.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.bed.env["AWS_SECRET_ACCESS_KEY"],
            region_name=self.bed.env["AWS_REGION"],
        ).client(
            "s3",
            endpoint_url=self.bed.env["AWS_ENDPOINT_URL_S3"],
            verify=str(self.bed.ca),
            config=Config(signature_version="s3v4", request_checksum_calculation="when_required"),
        )

    def calls(self, **criteria: Any) -> list[Call]:
        """This test's calls on objects since the mark."""
        every = self.bed.recorder.calls()
        assert any(call.key == self._mark for call in every), "the gate's record was reset by somebody else; run again"
        own = [
            c for c in every if c.key.startswith(f"{self.prefix}/") and c.key != self._mark and c.began >= self.since
        ]
        return [call for call in own if all(getattr(call, name) == value for name, value in criteria.items())]

    def writes(self) -> list[str]:
        return [f"{c.client} {c.operation} {c.key}" for c in self.calls(mutating=True)]

    def sent(self) -> int:
        """Bytes of blobs that reached S3, whole or as parts."""
        return sum(call.bytes_in for call in self.calls() if call.operation in ("PutObject", "UploadPart"))

    def received(self, client: str | None = None) -> int:
        """Bytes of objects that left S3, for one host or for all."""
        return sum(
            c.bytes_out
            for c in self.calls(operation="GetObject")
            if client in (None, c.client) and c.status in (200, 206)
        )

    def keys(self, bucket: str = BUCKET) -> list[str]:
        return self.bed.s3.keys(bucket, f"{self.prefix}/")

    def key(self, digest: str) -> str:
        return f"{self.prefix}/blobs/sha256/{digest.partition(':')[2]}"

    def object(self, digest: str, bucket: str = BUCKET) -> Path:
        """The object as a file, behind S3's back."""
        return Path(self.bed.s3.path(bucket, self.key(digest)))

    def uploads(self) -> list[str]:
        """Keys of multipart uploads that are not complete."""
        answer = self.client().list_multipart_uploads(Bucket=BUCKET, Prefix=f"{self.prefix}/")
        return [upload["Key"] for upload in answer.get("Uploads", ())]

    # Hosts

    def image(self, name: str, architecture: str = "amd64") -> Image:
        return self.bed.images.get(name, architecture)

    def _events(self, host: str) -> list[dict[str, Any]]:
        until = f"{time.time():.6f}"
        argv = (
            "events",
            "--since",
            f"{self.since:.6f}",
            "--until",
            until,
            "--filter",
            "type=image",
            "--format",
            "{{json .}}",
        )
        return [json.loads(line) for line in self.bed.host(host).docker(*argv).stdout.splitlines()]

    def events(self, host: str) -> list[str]:
        """Docker's events for our images since the mark; of the reading operations, only a save is an event."""
        events = []
        for event in self._events(host):
            actor = event["Actor"]
            name = actor["Attributes"].get("name", "")
            if actor["ID"] in _config_digests(self.bed) or "/it-" in f"/{name}" or "/it-" in actor["ID"]:
                events.append(f"{event['Action']} {name or actor['ID']}")
        return events

    def list_preloaded(self, host: str) -> list[str]:
        """The images that were preloaded on the host since the mark. They are removed by now."""
        events = self._events(host)
        loaded = [
            e["Actor"]["ID"] for e in events if e["Action"] == "load" and PRELOADED_LABEL in e["Actor"]["Attributes"]
        ]
        assert set(loaded) <= {event["Actor"]["ID"] for event in events if event["Action"] == "delete"}
        return loaded

    def held(self, host: str, name: str) -> str | None:
        """The image id that a name holds."""
        answer = self.bed.host(host).docker("image", "inspect", "--format", "{{.Id}}", name, check=False)
        return answer.stdout.strip() or None

    def prints(self, host: str, name: str) -> str:
        """The output of a container of the image."""
        return self.bed.host(host).docker("run", "--rm", "--network", "none", name).stdout.strip()

    def proves(self, host: str, name: str, image: Image) -> None:
        """The name holds exactly this image, by config digest and every diffID, and it runs."""
        inspect = self.bed.host(host).docker("image", "inspect", name).stdout
        found = json.loads(inspect)[0]
        assert found["Id"] == image.config_digest
        assert found["RootFS"]["Layers"] == [layer.diff_id for layer in image.layers]
        assert self.prints(host, name) == f"{image.repository} {image.tag or ''}".strip()

    def stray(self, host: str) -> list[str]:
        """What transfers and Ansible have left on a host. Others may work beside us: what is theirs does not count."""
        own = self.bed.host(host).folder
        top = own / "root" / self.ansible.remote_tmp
        left = [path for path in (own / "vartmp").iterdir() if not path.name.startswith("daytwo-image-transfer-")]
        left += [path for key in self.staged for path in (own / "vartmp").glob(f"daytwo-image-transfer-*/*-{key}")]
        return [
            *list_preloaded_images(self.bed, host),
            *(str(path) for path in [*left, *top.glob("*")] if _newer(path, self.since)),
        ]

    @property
    def staged(self) -> set[str]:
        """The names of our staging directories, by the bundles that our runs have returned."""
        bundles = [t.result["bundle"] for ran in self.runs for t in ran.tasks if t.result.get("bundle")]
        return {Bundle.parse(bundle).compute_key() for bundle in bundles}

    def staging_key(self, images: Sequence[tuple[str, str]]) -> str:
        """The name of the staging directory for images by tag and config digest, also of a run that was killed."""
        parts = ({"digest": digest, "size": 1, "media_type": "x"} for _dummy, digest in images)
        entries = [
            {"reference": tag, "tag": tag, "platform": "linux/amd64", "manifest": None, "config": config, "layers": []}
            for (tag, _dummy), config in zip(images, parts, strict=True)
        ]
        return str(Bundle.parse({"version": 1, "images": entries}).compute_key())

    def clean(self) -> None:
        """No image, object or upload of ours is left."""
        for host in HOSTS:
            remove_images(self.bed, host)
        self.forget_objects()

    def forget_objects(self) -> None:
        client = self.client()
        for upload in client.list_multipart_uploads(Bucket=BUCKET, Prefix=f"{self.prefix}/").get("Uploads", ()):
            client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
        for bucket in self.bed.s3.buckets:
            shutil.rmtree(self.bed.s3.path(bucket, self.prefix), ignore_errors=True)


def _newer(path: Path, since: float) -> bool:
    with contextlib.suppress(FileNotFoundError):  # a live run's, and gone again
        return path.lstat().st_mtime >= since - 1
    return False


def _config_digests(bed: Bed) -> set[str]:
    found = set()
    for recipe in images.RECIPES["it"]:
        for architecture in recipe.architectures:
            reference = f"{recipe.repository}:{recipe.tag}" if recipe.tag else recipe.repository
            found.add(bed.images.get(reference, architecture).config_digest)
    return found


def list_preloaded_images(bed: Bed, host: str) -> list[str]:
    """The images there that hold layers until another one comes."""
    return bed.host(host).docker("image", "ls", "--quiet", "--filter", f"label={PRELOADED_LABEL}").stdout.split()


def remove_images(bed: Bed, host: str) -> None:
    listed = bed.host(host).docker("image", "ls", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").stdout
    ours = _config_digests(bed)
    gone = set()
    for line in listed.splitlines():
        name, _dummy, image_id = line.partition(" ")
        if image_id in ours or "/it-" in f"/{name}":
            gone.add(image_id)
    gone.update(list_preloaded_images(bed, host))
    if gone:
        bed.host(host).docker("image", "rm", "--force", *sorted(gone))


def size(layers: Sequence[images.Layer], *, raw: bool = False) -> int:
    return sum(layer.raw_size if raw else layer.size for layer in layers)


def small_blobs(image: Image) -> int:
    """Bytes of manifest and config."""
    return len(image.manifest) + len(image.config)


@contextlib.contextmanager
def bed_lock(*, exclusive: bool) -> Iterator[None]:
    """Shared by those who use the hosts; alone with it is who stops and restarts parts of them."""
    with Path("/run/daytwo-testbed/exclusive").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield


class Turn:
    """Our images and hosts are one test's at a time, on the whole machine: other sessions of these tests wait."""

    _file: IO[str] | None = None
    _depth = 0

    @classmethod
    @contextlib.contextmanager
    def taken(cls) -> Iterator[None]:
        """Taken again by a test while its module has it, which is once."""
        if cls._depth == 0:
            cls._file = (paths.RUN / "integration-image.lock").open("w")
            fcntl.flock(cls._file, fcntl.LOCK_EX)
        cls._depth += 1
        try:
            yield
        finally:
            cls._depth -= 1
            if cls._depth == 0 and cls._file:
                cls._file.close()


@contextlib.contextmanager
def own_case(bed: Bed, ansible: Ansible) -> Iterator[Case]:
    """A case from a clean start, and cleaned up behind."""
    with Turn.taken():
        made = Case(bed, ansible)
        made.clean()
        made.mark()
        try:
            yield made
        finally:
            made.clean()


@pytest.fixture(scope="session")
def bed() -> Bed:
    """The bed that is up, with the images of these tests."""
    found = Bed.load()
    with Turn.taken():
        found.images.ensure("it")
    return found


@pytest.fixture(scope="session")
def ansible(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ansible]:
    runner = Ansible(bed, tmp_path_factory.mktemp("ansible"))
    yield runner
    runner.close()


@pytest.fixture
def case(bed: Bed, ansible: Ansible) -> Iterator[Case]:
    with own_case(bed, ansible) as made:
        yield made
