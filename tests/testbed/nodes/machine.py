# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that runs: namespaces under a PID 1 of ours, a root over the machine's, containerd and a kubelet."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from .. import hosts, net, paths, pki
from ..control_plane import BIN
from ..node import Node
from . import image
from .booting import boot
from .model import BootError, Order

LINK = "eth0"
PROGRAMS = "/opt/testbed/bin"  # Kubernetes' own, on the node
HERE = Path(__file__).parent
# The machine's own programs serve the node; what it writes goes to layers of its own.
LAYERED = ("etc", "usr", "opt")
OWN = {"/root": 0o700, "/tmp": 0o1777, "/var/tmp": 0o1777, "/var/log": 0o755, "/run": 0o755}  # noqa: S108
OWN |= {"/var/lib/kubelet": 0o755, "/var/lib/containerd": 0o711, "/var/lib/cni": 0o755}

# What the kubelet cannot have on a machine like this, whatever its configuration says; options win over files.
# (No systemd, cgroups shared with others, a disk that may be nearly full, images that nothing could pull again.)
BED_OPTIONS = (
    *("--cgroup-driver=cgroupfs", "--cgroups-per-qos=false", "--enforce-node-allocatable=", "--fail-swap-on=false"),
    *("--local-storage-capacity-isolation=false", "--eviction-hard=memory.available<100Mi"),
    *("--image-gc-high-threshold=100", "--protect-kernel-defaults=false"),
)
CONTAINERD = """\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0

[grpc]
address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"
"""


class Machine(Node):
    """One instance. Its name is the instance's id, so that whoever finds it knows whose it is."""

    def __init__(self, instance_id: str, cloud: Node) -> None:
        super().__init__(instance_id)
        self.cloud = cloud

    @property
    def port(self) -> str:
        return f"n-{self.name[-12:]}"

    @property
    def root(self) -> Path:
        """The upper layer of the node's root: what differs there from the machine."""
        return self.folder / "upper"

    # Up

    def launch(self, order: Order, role: Mapping[str, str], pods: str) -> str | None:
        """The instance runs afterwards. Says why its kubelet does not, where the user data is at fault."""
        self.lay_out(order, role, pods)
        for target in OWN:
            hosts.make_mount_point(Path(target))
        try:
            self.up([], [["sh", "-ec", self.script(order)]], pki.bed_id())
            self.plug(order, pods)
            self.run("systemctl", "start", "containerd")
            image.load(self)
            if order.family != "bottlerocket":  # which has none, nor a Python
                self.run("/usr/sbin/sshd", "-E", "/var/log/sshd.log")
        except Exception:
            self.down()  # the bed's own fault, not the user data's: the controller begins again with what is down
            raise
        try:
            self.boot(order)
        except BootError as error:
            self.log("boot").write_text(f"{error}\n")
            return str(error)
        return None

    def lay_out(self, order: Order, role: Mapping[str, str], pods: str) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for target, mode in OWN.items():
            self.own(target).mkdir(parents=True)
            self.own(target).chmod(mode)
        for name in LAYERED:
            (self.root / name).mkdir(parents=True)
            (self.folder / "work" / name).mkdir(parents=True)
        containerd = ["/usr/bin/containerd", "--config", "/etc/containerd/config.toml"]
        files = {
            "/etc/containerd/config.toml": CONTAINERD.format(pause=image.PAUSE),
            "/etc/cni/net.d/10-testbed.conflist": json.dumps(cni(pods)),
            "/etc/hostname": f"{order.instance.name}\n",
            "/etc/hosts": f"127.0.0.1 localhost\n{order.instance.ip} {order.instance.name}\n"
            + "".join(f"{paths.NAMES} {name}\n" for name in pki.NAMES),
            "/etc/resolv.conf": "",
            "/etc/systemd/system/containerd.service": f"[Service]\nExecStart={shlex.join(containerd)}\n",
        }
        for path, text in files.items():
            self.write(path, text)
        (self.own("/run") / "testbed").mkdir(mode=0o700)
        for name in ("sshd", "lock"):
            (self.own("/run") / name).mkdir()
        (self.root / PROGRAMS.lstrip("/")).mkdir(parents=True)
        (self.own("/run") / "testbed" / "role").write_text(json.dumps(dict(role)))
        self.program("/usr/bin/systemctl", f"#!/usr/bin/python3 -IS\n{(HERE / 'systemctl.py').read_text()}")
        options = shlex.join([*BED_OPTIONS, f"--cgroup-root=/{paths.CGROUP}/{self.name}"])
        self.program("/usr/bin/kubelet", f'#!/bin/sh\nexec {PROGRAMS}/kubelet "$@" {options}\n')
        self.program("/usr/bin/aws-iam-authenticator", f'#!/bin/sh\nexec {PROGRAMS}/aws-iam-authenticator "$@"\n')
        self._ssh_files()
        self.log("boot").parent.mkdir(parents=True, exist_ok=True)
        save(self.folder, order)

    def own(self, target: str) -> Path:
        return self.folder / "own" / target.strip("/").replace("/", "-")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Before the node is up, into its layers."""
        top = next((target for target in OWN if path.startswith(f"{target}/")), None)
        where = self.own(top) / path.removeprefix(f"{top}/") if top else self.root / path.lstrip("/")
        where.parent.mkdir(parents=True, exist_ok=True)
        where.touch(mode=mode)
        where.write_text(text)

    def program(self, path: str, text: str) -> None:
        self.write(path, text)
        (self.root / path.lstrip("/")).chmod(0o755)

    def _ssh_files(self) -> None:
        ssh = self.root / "etc" / "ssh"
        ssh.mkdir(parents=True)
        os.setxattr(ssh, "trusted.overlay.opaque", b"y")  # the machine's own keys stay out of sight
        self.write("/etc/ssh/sshd_config", hosts.SSHD_CONFIG)
        hosts.keygen(ssh / "ssh_host_ed25519_key", self.name)
        self.write("/etc/shadow", "root:*:20000:0:99999:7:::\nsshd:!:20000::::::\n", 0o600)
        self.write("/root/.ssh/authorized_keys", hosts.KEY.with_suffix(".pub").read_text(), 0o600)

    def script(self, order: Order) -> str:
        """What PID 1 mounts. Everything that is not the node's own is read-only to it."""
        made = self.own("/run") / "testbed"
        lines = [
            f"hostname {shlex.quote(order.instance.name)}",
            f"touch {made}/init.sock && mount --bind {self.socket} {made}/init.sock",
            *(
                f"mount -t overlay -o lowerdir=/{name},upperdir={self.root}/{name},workdir={self.folder}/work/{name}"
                f" overlay /{name}"
                for name in LAYERED
            ),
            f"mount --bind {BIN.joinpath('kubelet').resolve().parent} {PROGRAMS}",
            *(f"mount --rbind {self.own(target)} {target}" for target in OWN),
            hosts.OWN_DEV.replace("set -e\n", ""),
            "mknod -m 600 /dev/kmsg c 1 11",  # where a kubelet looks for processes that ran out of memory
            "grep -q ' /sys/fs/cgroup' /proc/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup",
            # Last: the bed's own keys and passwords are no node's.
            f"mount -t tmpfs -o size=64k,mode=755,ro testbed {paths.STATE}",
        ]
        return "\n".join(lines)

    def plug(self, order: Order, pods: str) -> None:
        """A wire to the switch, with the instance's address, its subnet's router, and the ways out that it has.

        The cloud finds the node's pods by it, as whatever is in a VPC finds pods: a load balancer with addresses as its
        targets, or a node's own kube-proxy.
        """
        net.plug(self.cloud, self.port, LINK, order.instance.ip, self)
        router = order.instance.ip.rsplit(".", 1)[0] + ".1"
        for arguments in (
            ("replace", paths.NETWORK, "dev", LINK, "src", order.instance.ip),
            ("replace", paths.NODES, "dev", LINK, "src", order.instance.ip),
            ("replace", "default", "via", router),
        ):
            self.run("ip", "route", *arguments)
        self.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.run("iptables-restore", "--noflush", input=fence(ways_out(), pods).encode())
        self.cloud.run("ip", "route", "replace", pods, "via", order.instance.ip)

    # The boot

    def boot(self, order: Order) -> None:
        made = boot(order)
        for path, text in made.files.items():
            self.put(path, text)
        for number, script in enumerate(made.scripts):
            path = f"/var/lib/cloud/part-{number:03}"
            where = f"/run/testbed/part-{number:03}"
            self.put(where, script)
            # Their own end is theirs: cloud-init goes on with the next one, and only its log tells.
            ran = self.run("sh", "-c", f"chmod 700 {where} && cd / && exec {where}", check=False, timeout=120)
            with self.log("cloud-init-output").open("a") as log:
                log.write(f"== {path}\n{ran.stdout}{ran.stderr}\n== ended with {ran.returncode}\n")
        if made.starts:
            started = self.run("systemctl", "start", "kubelet", check=False)
            if started.returncode:
                raise BootError(f"the kubelet does not start: {started.stderr}")

    def put(self, path: str, text: str) -> None:
        """On the running node."""
        quoted = shlex.quote(path)
        mode = "755" if path.endswith(".sh") else "644"
        self.run(
            "sh", "-ec", f"mkdir -p $(dirname {quoted}); cat > {quoted}; chmod {mode} {quoted}", input=text.encode()
        )

    def kubelet(self) -> int | None:
        """The kubelet's pid on the machine, if it runs."""
        return self.pid_of("kubelet") if "kubelet" in self.running() else None

    def kubelet_log(self) -> str:
        path = self.own("/var/log") / "kubelet.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def revive(self) -> list[str]:
        """Starts what was killed here, as `up` does everywhere; what ended otherwise, or was stopped, stays so."""
        state = self.state()
        killed = [name for name in ("containerd", "kubelet") if name in (state or {}).get("killed", [])]
        for name in killed:
            self.run("systemctl", "start", name)
        return [f"{self.name}/{name}" for name in killed]

    # Down

    def remove(self) -> None:
        self.down()
        remove_groups(self.name)
        shutil.rmtree(self.folder, ignore_errors=True)


def ways_out() -> list[str]:
    """What a node in a private subnet reaches, for itself and its pods: the cluster's endpoint, its own network, and
    S3 by the gateway endpoint.

    THE PLACE FOR MORE: what a subnet's route table, the security groups and the VPC's endpoints allow, as EC2 has them,
    turns into lines here; and a way beyond the bed into a router that forwards (net.bridge).
    """
    return [
        f"-d {paths.CLUSTER}/32 -p tcp -m tcp --dport 443",
        f"-d {paths.NODES}",
        f"-d {paths.S3}/32 -p tcp -m tcp --dport {paths.S3_PORT}",
    ]


def fence(ways: list[str], pods: str) -> str:
    """Nothing else leaves; who speaks to the node or to its pods is answered."""
    known = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    rules = [f"-A {chain} {known}" for chain in ("OUTPUT", "FORWARD")]
    rules += [f"-A {chain} {way} -j ACCEPT" for chain in ("OUTPUT", "FORWARD") for way in ways]
    rules += [f"-A FORWARD -d {pods} -j ACCEPT"]
    # A pod has its node's side of the wire as its next hop, and the node itself speaks to its pods (10.240.0.0/12).
    local = [
        "-A OUTPUT -o lo -j ACCEPT",
        "-A OUTPUT -d 10.239.0.0/16 -j ACCEPT",
        "-A OUTPUT -d 10.240.0.0/14 -j ACCEPT",
    ]
    chains = [":INPUT ACCEPT [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT DROP [0:0]"]
    return "\n".join(["*filter", *chains, *local, *rules, "COMMIT", ""])


def remove_groups(name: str) -> None:
    """The control groups of its pods, once these are gone."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] in ("cgroup", "cgroup2"):
            top = Path(fields[4]) / paths.CGROUP / name
            for path in sorted([top, *top.rglob("*")], key=lambda entry: -len(entry.parts)):
                with contextlib.suppress(OSError):
                    path.rmdir()


def cni(pods: str) -> dict[str, object]:
    """Pods reach what their node reaches, under its address. They are reached from their node and from the cloud."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    return {"cniVersion": "0.4.0", "name": "testbed", "plugins": [{"type": "ptp", "ipMasq": True, "ipam": ipam}]}


def save(folder: Path, order: Order) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "user-data").write_bytes(order.user_data)
    instance = {
        "family": order.family,
        "ip": order.instance.ip,
        "name": order.instance.name,
        "zone": order.instance.zone,
    }
    (folder / "instance.json").write_text(json.dumps(instance))


def machines(cloud: Node) -> list[Machine]:
    """Every instance that has left something here."""
    folder = paths.STATE / "nodes"
    return [Machine(path.name, cloud) for path in sorted(folder.glob("i-*"))] if folder.exists() else []
