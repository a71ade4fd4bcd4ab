# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying a 500 MB image and its update to a private host: the role, against what people do by hand.

Everything runs on the test bed, between the hosts public and private-a, over the same sshd. Engines are of this
benchmark alone, so that no layer is there by chance. By hand, the commands run on public, which has a key for
private-a; the image is in public's engine already (a pull is not counted). Ours is the whole of ansible-playbook, with
new connections. The bed's wires are as fast as memory; so all is measured once more with hosts that have the network of
a small server, and those of a line between sites. ROUNDS=1, TARGETS=2 and WIRE are for trying.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Union

from figures import ROUNDS, Figure, Goal, interleaved, publish, table
from testbed import Bed, packages, paths
from testbed.hosts import Host
from testbed.images import Image
from testbed.node import Part, wait_for

TARGETS = int(os.environ.get("TARGETS", "10"))
NAME = "daytwo-bench"
FOLDER = f"/var/tmp/{NAME}"  # noqa: S108 - on the hosts, of which each has its own
TAG = "bench/big"
CASES = ("first", "update")
MEGA = 1e6

# By whom the blobs are given, and how they travel.
OURS = (("registry", "s3"), ("registry", "scp"), ("docker", "s3"), ("docker", "scp"))
FILES, STREAM = "save + scp + load", "save | ssh load"
SKOPEO, SKOPEO_DAEMON = "skopeo + scp + skopeo", "skopeo, daemon to daemon"
PEERS = (FILES, STREAM, SKOPEO, SKOPEO_DAEMON)
GOALS = {"registry": {"first": 0.75, "update": 0.25}, "docker": {"first": 1.0, "update": 0.5}}  # of FILES
MEMORY = 64.0  # MB above a bare interpreter, all processes of one host together
Way = Union[tuple[str, str], str]
# Of each host's wire: none but the machine's own; what an m5.large has for good; and a line between sites, by fewer
# ways, since all of their time is the wire's. WIRE=name measures on one of them alone.
WIRES: Mapping[str, tuple[Union[str, None], tuple[Way, ...]]] = {
    "no limit": (None, (*OURS, *PEERS)),
    "750 Mbit/s": ("750mbit", (*OURS, *PEERS)),
    "100 Mbit/s": ("100mbit", (*OURS, FILES)),
}
WIRE = os.environ.get("WIRE")
Costs = Mapping[Way, Sequence[Mapping[str, "Cost"]]]  # of the rounds, by case


class Engine:
    """A docker engine of its own on a host of the bed."""

    def __init__(self, host: Host, number: int) -> None:
        self.host = host
        self.name = f"{NAME}-{number}"
        self.folder = f"{FOLDER}/{number}"
        self.address = f"unix:///run/{self.name}.sock"
        self.staging = f"{self.folder}/staging"

    @property
    def variables(self) -> dict[str, str]:
        """The engine as a target of the role."""
        return {"image_transfer_docker_host": self.address}

    def write_load_command(self, file: str) -> str:
        """The shell command that loads an archive by hand; `-` is the standard input."""
        options = "" if file == "-" else f" -i {file}"
        return f"docker -H {self.address} load --quiet{options}"

    def start(self) -> None:
        data = f"{self.folder}/data"
        self.host.run("mkdir", "-p", data)
        argv = [
            *("dockerd", "-H", self.address, "--data-root", data, "--exec-root", f"/run/{self.name}"),
            *("--pidfile", f"/run/{self.name}.pid", "--storage-driver=overlay2", "--bridge=none", "--iptables=false"),
            *("--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--shutdown-timeout=2"),
        ]
        self.host.start(Part(self.name, argv))

    def wait(self) -> None:
        log = self.host.log(self.name)
        wait_for(self.name, lambda: self.docker("version", check=False).returncode == 0, 60, log)

    def docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.host.run("docker", "-H", self.address, *arguments, check=check)

    def take(self, bed: Bed, image: Image) -> None:
        """The image, from the bed's own blobs."""
        here = copy.copy(self.host)
        here.docker_socket = paths.RUN / "hosts" / self.host.name / f"{self.name}.sock"
        bed.images.into_docker(here, image, f"{TAG}:{image.tag}")

    def drop(self) -> None:
        """No image, no file of a former run."""
        if images := self.docker("images", "--quiet", "--no-trunc").stdout.split():
            self.docker("rmi", "--force", *dict.fromkeys(images))
        self.host.run("rm", "-rf", self.staging)

    def verify(self, image: Image) -> None:
        """The tag refers to this image and no other, whatever the exit codes are."""
        found = self.docker("image", "inspect", "--format", "{{.Id}}", f"{TAG}:{image.tag}").stdout.strip()
        if found != image.config_digest:
            raise RuntimeError(f"{self.name}: {TAG}:{image.tag} is {found}, not {image.config_digest}")


@dataclass
class Peak:
    """Memory of a host's processes in bytes: of the one that took most, and of all at one time.

    All together by proportional set size: a worker shares most of its pages with the module that it was forked from.
    """

    largest: int = 0
    largest_name: str = ""
    together: int = 0


@dataclass
class Cost:
    """What one run took. Bytes are those of the hosts' network interfaces."""

    seconds: float = 0.0
    received: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    peaks: dict[str, Peak] = field(default_factory=dict)


class Meter:
    """Looks at hosts from outside while a run lasts."""

    EVERY = 0.05  # seconds; a process tells its own peak, so that it must only be met once towards its end

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._inits = {host.name: host.init_pid() for host in hosts}
        self._old = {name: set(self._pids(name)) for name in self._inits}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.cost = Cost(peaks={name: Peak() for name in self._inits})

    def __enter__(self) -> Meter:
        self._before = {name: self._counters(name) for name in self._inits}
        self._thread.start()
        self._began = time.monotonic()
        return self

    def __exit__(self, *_dummy: object) -> None:
        self.cost.seconds = time.monotonic() - self._began
        self._done.set()
        self._thread.join()
        for name, (received, sent) in self._before.items():
            now = self._counters(name)
            self.cost.received[name], self.cost.sent[name] = now[0] - received, now[1] - sent

    def _counters(self, name: str) -> tuple[int, int]:
        for line in Path(f"/proc/{self._inits[name]}/net/dev").read_text().splitlines():
            link, _dummy, numbers = line.partition(":")
            if link.strip() == "eth0":
                return int(numbers.split()[0]), int(numbers.split()[8])
        raise RuntimeError(f"{name} has no eth0")

    def _proc(self, name: str) -> Path:
        """The host's own /proc: nothing but its own processes."""
        return Path(f"/proc/{self._inits[name]}/root/proc")

    def _pids(self, name: str) -> list[str]:
        return [entry for entry in os.listdir(self._proc(name)) if entry.isdigit()]

    def _watch(self) -> None:
        while not self._done.wait(self.EVERY):
            for name, peak in self.cost.peaks.items():
                self._read_memory(name, peak)

    def _read_memory(self, name: str, peak: Peak) -> None:
        statuses: dict[str, dict[str, str]] = {}
        for pid in self._pids(name):
            with contextlib.suppress(OSError):
                text = (self._proc(name) / pid / "status").read_text()
                statuses[pid] = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        together = 0
        for pid, status in statuses.items():
            if pid in self._old[name] or "VmHWM" not in status or self._of_a_daemon(pid, statuses):
                continue
            with contextlib.suppress(OSError, StopIteration):
                lines = (self._proc(name) / pid / "smaps_rollup").read_text().splitlines()
                together += kilobytes(next(line for line in lines if line.startswith("Pss:"))[len("Pss:") :])
            if kilobytes(status["VmHWM"]) > peak.largest:
                peak.largest, peak.largest_name = kilobytes(status["VmHWM"]), status["Name"]
        peak.together = max(peak.together, together)

    @staticmethod
    def _of_a_daemon(pid: str, statuses: dict[str, dict[str, str]]) -> bool:
        """sshd and the engine serve every way alike, and the engine's unpacking is the engine's."""
        if statuses[pid]["Name"].startswith("sshd"):
            return True
        while pid in statuses:
            if statuses[pid]["Name"] in ("dockerd", "containerd"):
                return True
            pid = statuses[pid]["PPid"]
        return False


def kilobytes(field: str) -> int:
    return int(field.split()[0]) * 1024


class Bench:
    def __init__(self, bed: Bed, work: Path, kind: type[Engine] = Engine) -> None:
        self.bed = bed
        self.work = work
        self.images = {case: bed.images.get(f"big:{tag}") for case, tag in zip(CASES, ("v1", "v2"), strict=True)}
        self.source = Engine(bed.host("public"), 0)
        # The first has the lowest Python, which takes most memory.
        sites = (bed.host("private-a"), bed.host("private-b"))
        self.targets = [kind(sites[number % 2], number + 1) for number in range(TARGETS)]
        self.target = self.targets[0]
        self.prefix = f"{NAME}-{secrets.token_hex(4)}/"
        self.inventory = work / "hosts.json"

    # Before and after

    def set_up(self) -> None:
        self.clean()
        self.source.start()
        self.target.start()
        for engine in (self.source, self.target):
            engine.wait()
        for image in self.images.values():
            self.source.take(self.bed, image)
        self._install_key()
        self._write_inventory()

    def clean(self) -> None:
        """Removes everything that this benchmark, or a killed one, has created on the test bed."""
        for host in self.bed.hosts.values():
            host.unlimit()
            for part in host.running():
                if part.startswith(NAME):
                    host.stop(part)
            # An engine mounts its data on itself, and may leave that when it is killed.
            host.run("sh", "-c", f"awk '$2 ~ \"^{FOLDER}/\" {{print $2}}' /proc/mounts | sort -r | xargs -r umount")
            host.run("sh", "-c", f"rm -rf {FOLDER} /run/{NAME}-*")
            self._edit_keys(host, f"/ {NAME}$/d")
        for directory in self.bed.s3.path(self.bed.s3.bucket).glob(f"{NAME}-*"):
            shutil.rmtree(directory)

    def _install_key(self) -> None:
        source, target = self.source.host, self.target.host
        source.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", NAME, "-f", f"{FOLDER}/key")
        public = source.run("cat", f"{FOLDER}/key.pub").stdout.strip()
        self._edit_keys(target, f"$ a {public}")
        known = f"{target.address} {target.host_key()}\n"
        source.run("tee", f"{FOLDER}/known_hosts", input=known.encode())

    @staticmethod
    def _edit_keys(host: Host, edit: str) -> None:
        # Others on the bed may edit it at the same time; the role locks the folder as well.
        host.run("flock", "/root/.ssh", "sed", "-i", edit, "/root/.ssh/authorized_keys")

    def _write_inventory(self) -> None:
        """The bed's inventory, and each engine as a host of its own."""
        inventory = json.loads(self.bed.inventory.read_text())
        private = inventory["all"]["children"]["private"]["hosts"]
        hosts = {
            engine.name: {
                **private[engine.host.name],
                **engine.variables,
                "image_transfer_staging_dir": engine.staging,
            }
            for engine in self.targets
        }
        inventory["all"]["children"]["bench"] = {"hosts": hosts}
        self.inventory.write_text(json.dumps(inventory))

    def ready(self, engines: Sequence[Engine]) -> None:
        """The same start for every run: nothing on its way, the source's files in memory, nothing left to write."""
        shutil.rmtree(self.bed.s3.path(self.bed.s3.bucket, self.prefix), ignore_errors=True)
        for engine in engines:
            engine.drop()
        for layer in {layer for image in self.images.values() for layer in image.layers}:
            hexadecimal = layer.digest.partition(":")[2]
            warm(paths.STATE / "registry/docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data")
        self.source.host.run("sh", "-c", f"find {self.source.folder}/data/overlay2 -type f -exec cat {{}} + >/dev/null")
        os.sync()

    # The ways

    def by_role(self, way: tuple[str, str], case: str, targets: Sequence[Engine]) -> Cost:
        """ansible-playbook, from its start to its end."""
        source, transport = way
        tag = self.images[case].tag
        name = f"{self.bed.registry.plain}/big:{tag}" if source == "registry" else f"{TAG}:{tag}"
        control = Path(tempfile.mkdtemp(dir=self.work))  # no connection of a former run is used
        variables: dict[str, Any] = {
            "image_transfer_targets": ",".join(engine.name for engine in targets),
            "image_transfer_source_host": "public",
            "image_transfer_source": source,
            "image_transfer_source_docker_host": self.source.address,
            "image_transfer_images": [{"name": name, "tag_as": f"{TAG}:{tag}"}],
            "image_transfer_plain_http": True,
            "image_transfer_transport": transport,
            **({"image_transfer_bucket": self.bed.s3.bucket} if transport == "s3" else {}),
            "image_transfer_prefix": self.prefix,
            "ansible_control_path_dir": str(control),
        }
        argv = ["ansible-playbook", "-i", str(self.inventory), "-f", str(max(5, len(targets)))]
        argv += ["daytwo.aws.image_transfer", "-e", json.dumps(variables)]
        env = {**os.environ, **self.bed.env, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOST_KEY_CHECKING": "true"}
        with self._metered(targets) as meter:
            ran = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        for socket in control.iterdir():
            end = ["ssh", "-F", "/dev/null", "-o", f"ControlPath={socket}", "-O", "exit", NAME]
            subprocess.run(end, capture_output=True, check=False)
        if ran.returncode:
            raise RuntimeError(f"{way}: {ran.stdout}{ran.stderr}")
        for engine in targets:
            engine.verify(self.images[case])
        return meter.cost

    def by_hand(self, peer: str, case: str) -> Cost:
        """The commands of a shell on the source."""
        script = self._script(peer, f"{TAG}:{self.images[case].tag}", f"big:{self.images[case].tag}")
        with self._metered([self.target]) as meter:
            self.source.host.run("bash", "-euo", "pipefail", "-c", script)
        self.target.verify(self.images[case])
        return meter.cost

    def _script(self, peer: str, image: str, in_registry: str) -> str:
        target = self.target
        options = f"-F /dev/null -i {FOLDER}/key -o UserKnownHostsFile={FOLDER}/known_hosts -o IdentitiesOnly=yes"
        there, ssh = f"root@{target.host.address}", f"ssh {options} root@{target.host.address}"
        here, file, folder = f"docker -H {self.source.address}", f"{FOLDER}/image.tar", f"{FOLDER}/image"

        def remotely(command: str) -> str:
            return f"{ssh} {shlex.quote(command)}"

        skopeo = "skopeo copy --quiet --insecure-policy"
        scripts = {
            FILES: [
                f"{here} save -o {file} {image}",
                f"scp -q {options} {file} {there}:{file}",
                remotely(f"{target.write_load_command(file)} && rm {file}"),
                f"rm {file}",
            ],
            STREAM: [f"{here} save {image} | {remotely(target.write_load_command('-'))}"],
            # Without an engine on the source, as ours, and with the registry's compressed layers on the way. Not by
            # way of oci:, where skopeo writes the image's config anew: it arrives with another id.
            SKOPEO: [
                f"{skopeo} --src-tls-verify=false docker://{self.bed.registry.plain}/{in_registry} dir:{folder}",
                f"scp -q -r {options} {folder} {there}:{folder}",
                remotely(f"{skopeo} --dest-daemon-host {target.address} dir:{folder} docker-daemon:{image}"),
                remotely(f"rm -r {folder}"),
                f"rm -r {folder}",
            ],
            SKOPEO_DAEMON: [
                f"{ssh} -fN -M -S {FOLDER}/master -L {FOLDER}/docker.sock:{target.address.removeprefix('unix://')}",
                f"{skopeo} --src-daemon-host {self.source.address} --dest-daemon-host unix://{FOLDER}/docker.sock"
                f" docker-daemon:{image} docker-daemon:{image}",
                f"ssh -S {FOLDER}/master -O exit {there} 2>/dev/null",
                f"rm {FOLDER}/docker.sock",
            ],
        }
        return "\n".join(scripts[peer])

    def _metered(self, targets: Sequence[Engine]) -> Meter:
        hosts = {engine.host.name: engine.host for engine in (self.source, *targets)}
        return Meter(list(hosts.values()))

    # The parts

    def limit(self, rate: str | None) -> None:
        for engine in (self.source, self.target):
            engine.host.limit(rate) if rate else engine.host.unlimit()

    def run_single_target(self, way: Way) -> dict[str, Cost]:
        """First transfer, then the update of what it left."""
        self.ready([self.target])
        costs: dict[str, Cost] = {}
        for case in CASES:
            costs[case] = self.by_hand(way, case) if isinstance(way, str) else self.by_role(way, case, [self.target])
            summary = "  ".join(f"{case} {cost.seconds:.1f} s" for case, cost in costs.items())
            os.sync()
        print(f"   {label(way)}: {summary}  (load {os.getloadavg()[0]:.1f})", flush=True)
        return costs

    def several_targets(self) -> tuple[list[Cost], list[int]]:
        """To one target and to all of them through the bucket; the costs, and the bytes that were put there."""
        for engine in self.targets[1:]:
            engine.start()
        for engine in self.targets[1:]:
            engine.wait()
        costs, put = [], []
        for targets in ([self.target], self.targets):
            self.ready(targets)
            began = time.time()
            costs.append(self.by_role(("registry", "s3"), "first", targets))
            calls = self.bed.recorder.calls(service="s3", client="public")
            put.append(sum(c.bytes_in for c in calls if c.began >= began and c.key.startswith(self.prefix)))
        return costs, put

    def bare_memory(self, host: Host) -> int:
        """What the host's Python takes when it does nothing."""
        show = "print(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])"
        return int(host.run(host.python, "-c", show).stdout) * 1024


def warm(file: Path) -> None:
    with file.open("rb") as content:
        while content.read(1 << 20):
            pass


def label(way: Way) -> str:
    return way if isinstance(way, str) else f"ours: {way[0]}, {way[1]}"


def compared(wire: str, costs: Costs, target: str) -> list[Figure]:
    """Every way of ours against every one by hand; the goals are set against files."""
    figures = []
    for way in OURS:
        for case in CASES:
            for peer in (peer for peer in PEERS if peer in costs):
                goal = Goal(ratio=GOALS[way[0]][case]) if peer == FILES else None
                measure = f"{case}, {way[0]} by {way[1]}, {wire}"
                ours, theirs = (median(run[case].seconds for run in costs[name]) for name in (way, peer))
                figures.append(Figure(f"{measure}: time", ours, theirs, peer, "s", goal))
                ours, theirs = (median(run[case].received[target] for run in costs[name]) for name in (way, peer))
                figures.append(Figure(f"{measure}: bytes to the target", ours / MEGA, theirs / MEGA, peer, "MB"))
    return figures


def memory(bench: Bench, costs: Sequence[Costs]) -> list[Figure]:
    figures = []
    for part, engine in (("source", bench.source), ("target", bench.target)):
        bare = bench.bare_memory(engine.host) / MEGA
        for way in OURS:
            runs = [run[case] for by_way in costs for run in by_way[way] for case in CASES]
            peaks = [run.peaks[engine.host.name] for run in runs]
            most = max(max(peak.together, peak.largest) for peak in peaks) / MEGA
            measure = f"memory on the {part}, {way[0]} by {way[1]}"
            figures.append(Figure(measure, most, bare, "bare interpreter", "MB", Goal(more=MEMORY)))
    return figures


def show(wire: str, bench: Bench, costs: Costs) -> None:
    source, target = bench.source.host.name, bench.target.host.name
    rows = []
    for way, runs in costs.items():
        row = [label(way)]
        for case in CASES:
            times = [run[case].seconds for run in runs]
            row.append(f"{median(times):.1f} ({min(times):.1f}-{max(times):.1f})")
            row.append(f"{median(run[case].received[target] for run in runs) / MEGA:.1f}")
        for host in (source, target):
            peaks = [run[case].peaks[host] for run in runs for case in CASES]
            largest = max(peaks, key=lambda peak: peak.largest)
            row.append(f"{largest.largest / MEGA:.0f} ({largest.largest_name})")
            row.append(f"{max(peak.together for peak in peaks) / MEGA:.0f}")
        rows.append(row)
    head = [f"medians, {wire}", "first s", "MB", "update s", "MB", "source: RSS MB", "all", "target: RSS MB", "all"]
    table(head, rows)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """No test of the bed that takes turns runs beside this."""
    with (paths.RUN / "exclusive").open("a") as lock:
        print("== waiting for tests on the bed, if there are any, to end", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def prepared(kind: type[Engine] = Engine) -> Iterator[Bench]:
    bed = Bed()
    bed.up()
    bed.images.ensure("big")
    if not shutil.which("skopeo", path=packages.SEARCH):
        packages.install(["skopeo"])
    with alone(), tempfile.TemporaryDirectory(prefix=NAME) as work:
        bench = Bench(bed, Path(work), kind)
        try:
            bench.set_up()
            yield bench
        finally:
            bench.clean()


def measure(bench: Bench, wires: Mapping[str, tuple[Union[str, None], tuple[Way, ...]]]) -> list[Figure]:
    """Every way over every wire, and its memory."""
    figures: list[Figure] = []
    by_wire = []
    for wire, (rate, ways) in wires.items():
        print(f"-- {len(ways)} ways, {ROUNDS} rounds, interleaved; hosts' wires: {wire}", flush=True)
        bench.limit(rate)
        costs = interleaved(ways, bench.run_single_target)
        show(wire, bench, costs)
        figures += compared(wire, costs, bench.target.host.name)
        by_wire.append(costs)
    bench.limit(None)
    return [*figures, *memory(bench, by_wire)]


def end_on_sigterm() -> None:
    signal.signal(signal.SIGTERM, lambda *_dummy: sys.exit("ended by SIGTERM"))  # by way of every clean-up


def main() -> int:
    end_on_sigterm()
    with prepared() as bench:
        figures = measure(bench, {WIRE: WIRES[WIRE]} if WIRE else WIRES)
        (single, every), put = bench.several_targets()
        sent = [cost.sent[bench.source.host.name] for cost in (single, every)]
    many = f"{TARGETS} targets by s3"
    figures += [
        Figure(f"{many}: bytes into the bucket", put[1] / MEGA, put[0] / MEGA, "one target", "MB", Goal(ratio=1.0)),
        Figure(f"{many}: bytes off the source", sent[1] / MEGA, sent[0] / MEGA, "one target", "MB"),
        Figure(f"{many}: time per target", every.seconds / TARGETS, single.seconds, "one target", "s"),
    ]
    print(f"{many}: {every.seconds:.1f} s, {every.seconds / TARGETS:.1f} s per target; one: {single.seconds:.1f} s\n")
    return publish("image", figures)


if __name__ == "__main__":
    sys.exit(main())
