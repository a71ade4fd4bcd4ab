# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ephemeral key permits, tested with a key of our own that a target has authorized: the push, nothing else."""

from __future__ import annotations

import hashlib
import json
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths.receiver import COMMAND, RAW, build_frame_head
from integration.targets.image_offline_transfer.kit import Case
from integration.targets.image_transport_scp.ground import Ground

TARGET = "private-a"
DATA = b"a blob of the test"
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
HEAD = {"hex": DIGEST.partition(":")[2], "offset": 0, "length": len(DATA), "size": len(DATA)}
FRAME = build_frame_head(RAW, len(DATA)) + DATA
PUSH = json.dumps(HEAD).encode() + b"\n" + FRAME


@dataclass
class Thief:
    """Who has the private key, and stands where it is good from."""

    ground: Ground
    public_key: str
    folder: str

    def ssh(
        self, *arguments: str, at: str = "public", data: bytes = b"", seconds: float = 15
    ) -> subprocess.CompletedProcess[bytes]:
        return self.run("ssh", *arguments, at=at, data=data, seconds=seconds)

    def run(
        self, program: str, *arguments: str, at: str = "public", data: bytes = b"", seconds: float = 15
    ) -> subprocess.CompletedProcess[bytes]:
        """A program of OpenSSH on a host, with the key."""
        node = self.ground.bed.host(at)
        options = {
            "IdentityFile": f"{self.folder}/key",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "GlobalKnownHostsFile": "/dev/null",
            "BatchMode": "yes",
            "ConnectTimeout": "5",
            "LogLevel": "VERBOSE",
        }
        option_args = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        argv = ["nsenter", "-t", str(node.init_pid()), "-a", "--", "env", "HOME=/root", program, "-F", "/dev/null"]
        return subprocess.run(
            [*argv, *option_args, *arguments], input=data, capture_output=True, check=False, timeout=seconds
        )

    @property
    def target(self) -> str:
        return f"root@{self.ground.bed.host(TARGET).address}"

    def blobs(self) -> list[str]:
        folder = self.ground.folder(TARGET)
        return sorted(path.name for path in folder.glob("loaded-*/blobs/*"))


@pytest.fixture
def thief(ground: Ground) -> Iterator[Thief]:
    folder = f"/tmp/it-{secrets.token_hex(4)}"  # noqa: S108
    behind = Path(ground.bed.host("public").folder) / "tmp" / folder.rpartition("/")[2]
    behind.mkdir(mode=0o700)
    key = behind / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public_key = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    bundle = ground.bundle({DIGEST: len(DATA)})
    push = ground.push(public_key, [TARGET], [DIGEST], ground.bed.host("public").address)
    ran = ground.call(TARGET, state="authorized", bundle=bundle, push=push).succeed()
    assert ran.single("Call").result["authorization"]["host"] == TARGET
    yield Thief(ground, public_key, folder)
    ground.call(TARGET, state="revoked", bundle=bundle, push=push).succeed()
    assert ground.read_keys() == ground.keys
    # The blobs have all come, so they stay for a load; here none follows.
    assert [path.name for path in ground.folder(TARGET).glob("loaded-*/authorization-*.json")] == []
    ground.bed.host("public").run("rm", "-rf", folder)


def refused_by_receiver(done: subprocess.CompletedProcess[bytes]) -> bool:
    """The forced command ran in place of the requested command, and did nothing."""
    return b"this key is for 'receive' only" in done.stdout + done.stderr


def test_nothing_but_the_push(case: Case, ground: Ground, thief: Thief) -> None:
    """One test for all: each part is a second of ssh, and the key is authorized once."""
    to = thief.target
    (line,) = ground.lines(TARGET)
    options = line.split(b" ssh-ed25519 ")[0].decode()
    assert options.startswith("restrict,expiry-time=")
    assert f'from="{ground.bed.host("public").address}"' in options

    # A shell, with and without a terminal, and other commands.
    assert refused_by_receiver(thief.ssh(to, data=b"touch /root/it-stolen\n"))
    for remote_command in ((), (COMMAND,)):
        denied = thief.ssh("-tt", to, *remote_command, data=b"touch /root/it-stolen\n")
        assert b"PTY allocation request failed" in denied.stdout + denied.stderr
    for command in ("id", "touch /root/it-stolen", f"{COMMAND}; touch /root/it-stolen", f"{COMMAND} /etc", "bash -i"):
        assert refused_by_receiver(thief.ssh(to, command)), command
    # An environment that would change what runs.
    assert b'"have"' in thief.ssh("-o", "SetEnv=LC_PYTHONPATH=/tmp", to, COMMAND).stdout

    # Files, by each of the three ways.
    assert refused_by_receiver(thief.ssh("-s", to, "sftp"))
    assert thief.run("sftp", to, data=b"ls /\n").returncode != 0
    for old in ((), ("-O",)):
        copied = thief.run("scp", *old, f"{thief.folder}/key", f"{to}:/root/it-stolen")
        assert copied.returncode != 0
        fetched = thief.run("scp", *old, f"{to}:/etc/shadow", f"{thief.folder}/shadow")
        assert fetched.returncode != 0
    assert not (Path(ground.bed.host("public").folder) / "tmp" / Path(thief.folder).name / "shadow").exists()

    # Forwarding: out by -W and -D, in by -R, a local port by -L, the agent, X11, a tunnel device.
    inside = f"{ground.bed.host(TARGET).address}:22"
    assert b"administratively prohibited" in thief.ssh("-W", inside, to).stderr
    socks = b"\x05\x01\x00" + b"\x05\x01\x00\x01" + bytes([10, 231, 77, 102, 0, 22])
    assert _through(thief, "-L", f"127.0.0.1:2201:{inside}", 2201) == b""
    assert b"SSH-2.0" not in _through(thief, "-D", "127.0.0.1:2202", 2202, socks)
    remote = thief.ssh("-o", "ExitOnForwardFailure=yes", "-N", "-R", "127.0.0.1:2203:127.0.0.1:22", to)
    assert remote.returncode != 0
    assert b"remote port forwarding failed" in remote.stderr
    tunnel = thief.ssh("-o", "ExitOnForwardFailure=yes", "-N", "-w", "any", to)
    assert tunnel.returncode != 0
    agent = thief.ssh("-A", "-v", to, COMMAND)
    assert b'"have"' in agent.stdout
    assert b"SSH_AUTH_SOCK" not in agent.stdout
    x11 = thief.ssh("-X", "-v", to, COMMAND)
    assert b'"have"' in x11.stdout

    # These checks would detect the accesses if they were permitted.
    keys = ground.keys_file(TARGET)
    valid = keys.read_bytes()
    keys.write_bytes(valid.replace(line, thief.public_key.encode()))
    assert _through(thief, "-L", f"127.0.0.1:2203:{inside}", 2203).startswith(b"SSH-2.0")
    assert b"SSH-2.0" in _through(thief, "-D", "127.0.0.1:2204", 2204, socks)
    assert thief.ssh(to, "id -un").stdout == b"root\n"
    keys.write_bytes(valid)

    # Blobs that are not authorized, and paths outside the directory.
    for name in ("../../../root/it-stolen", "/root/it-stolen", "..", f"{HEAD['hex']}/../../x", "ab" * 32):
        request = json.dumps({**HEAD, "hex": name}).encode() + b"\n" + FRAME
        assert b"this blob is not authorized" in thief.ssh(to, COMMAND, data=request).stdout, name
    longer = {**HEAD, "length": len(DATA) + 1, "size": len(DATA) + 1}
    assert b"is authorized with" in thief.ssh(to, COMMAND, data=json.dumps(longer).encode() + b"\n" + FRAME).stdout
    assert thief.blobs() == []
    assert not (Path(ground.bed.host(TARGET).folder) / "root" / "it-stolen").exists()

    # From elsewhere the key is no key.
    controller = _from_the_controller(ground, thief)
    assert b"Permission denied (publickey)" in controller.stderr
    assert controller.stdout == b""

    # What it is for.
    done = thief.ssh(to, COMMAND, data=PUSH)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"hex": HEAD["hex"], "size": len(DATA)}
    assert thief.blobs() == [HEAD["hex"]]

    # After its time: sshd refuses; and where sshd does not look, the receiver does.
    before, _dummy, after = valid.partition(b'expiry-time="')
    keys.write_bytes(before + b'expiry-time="20200101000000' + after[14:])
    assert b"Permission denied (publickey)" in thief.ssh(to, COMMAND).stderr
    keys.write_bytes(valid)
    (grant,) = ground.folder(TARGET).glob("loaded-*/authorization-*.json")
    grant.write_text(json.dumps({**json.loads(grant.read_text()), "expires": time.time() - 1}))
    assert b"this key has expired" in thief.ssh(to, COMMAND, data=PUSH).stdout


def _through(thief: Thief, kind: str, what: str, port: int, data: bytes = b"") -> bytes:
    """What comes back through a forwarded port."""
    options = ["-F", "/dev/null", "-i", f"{thief.folder}/key", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]
    options += ["-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]
    program = f"""
import socket, subprocess, sys, time
ssh = subprocess.Popen(["ssh", *sys.argv[1:], "-N", "{kind}", "{what}", "{thief.target}"], stdin=subprocess.DEVNULL)
got = None
for _attempt in range(100):
    try:
        with socket.create_connection(("127.0.0.1", {port}), 5) as there:
            there.settimeout(3)
            there.sendall(bytes.fromhex("{data.hex()}"))
            got = b""
            while more := there.recv(100):
                got += more
                if b"SSH-2.0" in got:
                    break
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
    except OSError:
        break
ssh.kill()
print("nothing listens" if got is None else "got " + got.hex())
"""
    node = thief.ground.bed.host("public")
    argv = ["nsenter", "-t", str(node.init_pid()), "-a", "--", "python3", "-c", program, *options]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    word, _dummy, got = done.stdout.strip().partition(" ")
    assert word == "got", done.stdout + done.stderr
    return bytes.fromhex(got)


def _from_the_controller(ground: Ground, thief: Thief) -> subprocess.CompletedProcess[bytes]:
    key = Path(ground.bed.host("public").folder) / "tmp" / Path(thief.folder).name / "key"
    options: Sequence[str] = ("-i", str(key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR")
    options = (*options, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-F", "/dev/null")
    return subprocess.run(
        ["ssh", *options, thief.target, COMMAND], input=b"", capture_output=True, check=False, timeout=15
    )


@pytest.mark.full
def test_check_mode_permits_nothing(case: Case, ground: Ground) -> None:
    bundle = ground.bundle({DIGEST: len(DATA)})
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1h6Rxa3sq4GJXKUrXLX6OYt0J8mWdLhOJ7w1Y0bXcN"
    push = ground.push(key, [TARGET], [DIGEST], ground.bed.host("public").address)
    task = {
        "name": "Call",
        "daytwo.aws.image_offline_transfer": {
            "transport": "scp",
            "staging_dir": ground.staging,
            "state": "authorized",
            "bundle": bundle,
            "push": push,
        },
    }
    ran = case.ansible.run([{"hosts": TARGET, "gather_facts": False, "tasks": [task]}], None, "--check").succeed()
    assert ran.single("Call").result["changed"] is True
    assert ran.single("Call").result["authorization"] is None
    ground.untouched()
