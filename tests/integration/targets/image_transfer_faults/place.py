# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a run with a fault happens: a name that holds an old image, a staging folder of the test's own, one path.

The old image is a service's: it must go on running under its name until the new one is proved.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration.targets.image_offline_transfer.kit import HOSTS, PLAIN, PRIVATE, Case, Ran, Running
from testbed import images
from testbed.images import Image, LayerRecipe, Recipe
from testbed.node import processes_beside

SERVICE = "ft-service:production"
PATHS = ("s3", "scp")
PART_SIZE = 5 * 1024 * 1024  # so that uploads have several parts

_BASE = LayerRecipe("ft-base", busybox=True)


def _app(tag: str) -> Recipe:
    own = LayerRecipe(f"ft-app-{tag}", text_mib=1, random_mib=6, output=f"ft-app {tag}")
    return Recipe("ft-app", tag, (_BASE, LayerRecipe("ft-app-runtime", 12, 12), LayerRecipe("ft-app-data", 1, 8), own))


def _small(tag: str) -> Recipe:
    return Recipe("ft-small", tag, (_BASE, LayerRecipe(f"ft-small-{tag}", 1, 1, output=f"ft-small {tag}")))


images.RECIPES["ft"] = (_app("v1"), _app("v2"), _small("v1"), _small("v2"))


@dataclass
class Place:
    """C(new) comes to hosts whose SERVICE holds C(old)."""

    case: Case
    path: str
    new: Image
    old: Image
    source: str = "registry"
    name: str = ""  # from where C(new) is taken
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)  # variables of hosts
    waiting: list[str] = field(default_factory=list)  # tokens of pushes whose run was killed

    @classmethod
    def make(
        cls, case: Case, path: str, new: str = "ft-app:v1", old: str = "ft-small:v2", source: str = "registry"
    ) -> Place:
        place = cls(case, path, case.image(new), case.image(old), source, f"{PLAIN}/{new}")
        for host in PRIVATE:
            case.bed.images.into_docker(case.bed.host(host), place.old, SERVICE)
        if source == "docker":
            case.bed.images.into_docker(case.bed.host("public"), place.new, place.name)
        case.mark()
        return place

    @property
    def staging(self) -> str:
        """The staging folder on every host: whatever is in it is ours."""
        return f"/var/tmp/{self._folder}"  # noqa: S108

    @property
    def _folder(self) -> str:
        return f"daytwo-image-transfer-{self.case.prefix}"

    def behind(self, host: str) -> Path:
        """That folder as the machine sees it."""
        return Path(self.case.bed.host(host).folder) / "vartmp" / self._folder

    def start(self, name: str | None = None, tag: str = SERVICE, **more: Any) -> Running:
        variables: dict[str, Any] = {
            "source": self.source,
            "transport": self.path,
            "part_size": PART_SIZE,
            "staging_dir": self.staging,
            "hosts": self.hosts,
            **({"bucket": None} if self.path == "scp" else {}),
            **more,
        }
        return self.case.start({"name": name or self.name, "tag_as": tag}, **variables)

    def finish(self, running: Running, seconds: float = 240) -> Ran:
        ran = running.wait(seconds)
        self.case.runs.append(ran)
        return ran

    def run(self, name: str | None = None, **more: Any) -> Ran:
        return self.finish(self.start(name, **more))

    # What must be so

    def holds(self, host: str) -> Image:
        """Which of the two the name holds on a host; that it is whole and runs is proved."""
        held = self.case.held(host, SERVICE)
        image = self.new if held == self.new.config_digest else self.old
        self.case.proves(host, SERVICE, image)
        return image

    def stray(self) -> dict[str, list[str]]:
        """What is left on the hosts and in the bucket that nobody asked for."""
        found = {host: self._stray(host) for host in HOSTS}
        found["bucket"] = self.case.uploads()
        return {where: what for where, what in found.items() if what}

    def _stray(self, host: str) -> list[str]:
        node = self.case.bed.host(host)
        left = self.case.stray(host)
        folder = self.behind(host)
        if folder.exists() and not self._mounted(host):
            left += [str(path) for path in sorted(folder.iterdir())] or [str(folder)]
        authorized = node.run("sh", "-c", "cat /root/.ssh/authorized_keys; ls -A /root/.ssh").stdout.splitlines()
        left += [line for line in authorized if self.case.prefix in line or line.endswith(".new")]
        for pid in processes_beside(node.init_pid()):
            with contextlib.suppress(OSError):
                proc = Path(f"/proc/{pid}")
                held = [str(link.readlink()) for link in (proc / "fd").iterdir()]
                if any(self.case.prefix in text for text in [*held, (proc / "cmdline").read_bytes().decode()]):
                    left.append(f"process {pid}: {(proc / 'cmdline').read_bytes()!r} {held}")
        return left

    def _mounted(self, host: str) -> bool:
        return f" {self.staging} " in self.case.bed.host(host).run("cat", "/proc/mounts").stdout

    def converges(self) -> None:
        """A plain re-run ends with the right image everywhere, and tidies up."""
        again = self.run(hosts={})
        again.succeed()
        assert [self.holds(host) for host in PRIVATE] == [self.new, self.new], again.output
        assert self.stray() == {}, again.output


class FaultCase(Case):
    """A case with the images of these tests."""

    def clean(self) -> None:
        for host in HOSTS:
            node = self.bed.host(host)
            listed = node.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
            digests = [self.image(f"{recipe.repository}:{recipe.tag}").config_digest for recipe in images.RECIPES["ft"]]
            names = [name for name in listed if "/ft-" in f"/{name}"]
            node.docker("image", "rm", "--force", *names, *digests, check=False)
            shutil.rmtree(Path(node.folder) / "vartmp" / f"daytwo-image-transfer-{self.prefix}", ignore_errors=True)
        self.forget_objects()


def failures(ran: Ran) -> Mapping[str, str]:
    """The first message of each host that failed."""
    found: dict[str, str] = {}
    for task in ran.tasks:
        if task.status in ("failed", "unreachable"):
            reasons = [i["reason"] for i in task.result.get("images", ()) if i.get("status") == "failed"]
            found.setdefault(task.host, " ".join([task.message, *reasons]))
    return found


@contextlib.contextmanager
def small_disk(place: Place, host: str, size: str) -> Iterator[Path]:
    """The staging folder of a host on a disk of its own; yields it as the machine sees it."""
    node = place.case.bed.host(host)
    node.run("mkdir", "-m", "700", place.staging)
    node.run("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "small", place.staging)
    try:
        yield Path(f"/proc/{node.init_pid()}/root{place.staging}")
    finally:
        node.run("umount", "-l", place.staging)
        node.run("rmdir", place.staging)
