# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a user data script in bubblewrap, and see what it does: its calls of bootstrap.sh, its files, its end."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

BWRAP = shutil.which("bwrap")
LIST_FLAG = "--allowed-unsafe-sysctls"
# It takes its arguments as the real one does, ends as that does, and records them with its environment.
STAND_IN = r"""#!/usr/bin/env bash
set -u
arguments=("$@")
POSITIONAL=()
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) exit 1 ;;
    --use-max-pods | --b64-cluster-ca | --apiserver-endpoint | --kubelet-extra-args | --dns-cluster-ip | --ip-family | \
      --container-runtime | --service-ipv4-cidr)
      : "$2" || exit 1
      [[ $1 != --kubelet-extra-args ]] || KUBELET_EXTRA_ARGS=$2
      shift 2 ;;
    *) POSITIONAL+=("$1"); shift ;;
  esac
done
[[ -n ${POSITIONAL[0]:-} ]] || exit 1
printf '%s\0' "${KUBELET_EXTRA_ARGS:-}" "${#arguments[@]}" "${arguments[@]}" >> /out/calls
echo bootstrapped "${POSITIONAL[0]}"
"""
# The pipe stays open as descriptor 9 until the last process in the background has ended.
MAIN = "set -o pipefail; /out/user-data 9>&1 | cat"
STUB = "#!/bin/sh\necho value\n"
STUBS = ("imds", "systemctl", "aws", "yum", "curl", "kubelet", "logger", "sudo")
CONFIG = '{"kind": "KubeletConfiguration"}\n'


@dataclass(frozen=True)
class ScriptCall:
    """One call: the arguments of the kubelet as bootstrap.sh leaves them, and its own arguments."""

    extra_args: str
    arguments: tuple[str, ...]

    @property
    def kubelet_flags(self) -> list[str]:
        """The flags as systemd splits them, out of the line that bootstrap.sh writes into the unit."""
        line = f"'KUBELET_EXTRA_ARGS={self.extra_args}'"
        try:
            assignment = next(iter(shlex.split(line)), "=")
            return shlex.split(assignment.partition("=")[2])
        except ValueError:
            return []

    @property
    def allowed(self) -> list[str]:
        found: list[str] = []
        flags = self.kubelet_flags
        for number, flag in enumerate(flags):
            name, equals, value = flag.partition("=")
            if name.replace("_", "-") == LIST_FLAG:
                found += (value if equals else "".join(flags[number + 1 : number + 2])).split(",")
        return found

    @property
    def other_flags(self) -> list[str]:
        return [flag for flag in self.kubelet_flags if not flag.replace("_", "-").startswith(LIST_FLAG)]

    @property
    def other_arguments(self) -> list[str]:
        rest = list(self.arguments)
        while "--kubelet-extra-args" in rest:
            at = rest.index("--kubelet-extra-args")
            del rest[at : at + 2]
        return rest


@dataclass(frozen=True)
class ScriptRun:
    code: int
    output: str
    calls: tuple[ScriptCall, ...]
    files: dict[str, str]


class Sandbox:
    """The files that every run gets."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "bin").mkdir(parents=True, exist_ok=True)
        for name in STUBS:
            text = STUB if name != "sudo" else '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n'
            self._write(directory / "bin" / name, text)
        self._write(directory / "bootstrap.sh", STAND_IN)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def run(self, script: bytes) -> ScriptRun:
        assert BWRAP
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            folder = Path(name)
            for part in ("out", "tmp", "etc/eks", "etc/kubernetes/kubelet", "etc/systemd/system", "var/log", "var/lib"):
                (folder / part).mkdir(parents=True)
            self._write(folder / "etc/eks/bootstrap.sh", STAND_IN)
            (folder / "etc/kubernetes/kubelet/kubelet-config.json").write_text(CONFIG)
            (folder / "etc/os-release").write_text("NAME=Linux\n")
            (folder / "tmp/name").write_text("prod\n")
            program = folder / "out/user-data"
            program.write_bytes(script)
            program.chmod(0o755)
            command = [BWRAP, "--unshare-all", "--die-with-parent", "--clearenv", "--ro-bind", "/usr", "/usr"]
            for link in ("bin", "sbin", "lib", "lib64"):
                if Path("/", link).exists():
                    command += ["--symlink", f"usr/{link}", f"/{link}"]
            command += ["--proc", "/proc", "--dev", "/dev", "--ro-bind", str(self.directory / "bin"), "/opt/bin"]
            for part in ("out", "tmp", "etc", "var"):
                command += ["--bind", str(folder / part), f"/{part}"]
            command += ["--setenv", "PATH", "/opt/bin:/usr/bin:/bin:/usr/sbin:/sbin", "--setenv", "HOME", "/var"]
            ran = subprocess.run(
                [*command, "--chdir", "/var", "timeout", "20", "bash", "-c", MAIN],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=False,
                timeout=60,
            )
            calls = folder / "out/calls"
            return ScriptRun(
                ran.returncode,
                normalize(ran.stdout),
                read_calls(calls.read_bytes() if calls.exists() else b""),
                {
                    str(path.relative_to(folder)): normalize(path.read_bytes())
                    for path in sorted(folder.rglob("*"))
                    if path.is_file() and not path.is_relative_to(folder / "out")
                },
            )


def normalize(output: bytes) -> str:
    """Without the durations that C(time) prints."""
    return re.sub(r"(?m)^(real|user|sys)\t.*$", r"\1", output.decode("utf-8", "replace"))


def read_calls(record: bytes) -> tuple[ScriptCall, ...]:
    fields = record.decode().split("\0")[:-1]
    calls = []
    while fields:
        extra_args, count, *rest = fields
        calls.append(ScriptCall(extra_args, tuple(rest[: int(count)])))
        fields = rest[int(count) :]
    return tuple(calls)
