# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running node: namespaces under the project's own PID 1, overlays over the machine's root, containerd, a kubelet.

docs/facts/cluster.md#running-nodes
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from .. import ecr, hosts, net, paths, pki
from ..control_plane import BIN
from ..node import Node
from . import image
from .booting import boot
from .model import BootError, Order

LINK = "eth0"
PROGRAMS = "/opt/testbed/bin"  # directory of Kubernetes' own programs on the node
HERE = Path(__file__).parent
# The node uses the machine's programs, and writes into its own overlay layers.
LAYERED = ("etc", "usr", "opt")
OWN = {"/root": 0o700, "/tmp": 0o1777, "/var/tmp": 0o1777, "/var/log": 0o755, "/run": 0o755}  # noqa: S108
OWN |= {"/var/lib/kubelet": 0o755, "/var/lib/containerd": 0o711, "/var/lib/cni": 0o755}

# Options that the kubelet needs on such a machine. Options override every configuration file. The machine has no
# systemd, shares its cgroups, may have a nearly full disk, and cannot pull a deleted image again.
# docs/facts/cluster.md#running-nodes
BED_OPTIONS = (
    *("--cgroup-driver=cgroupfs", "--cgroups-per-qos=false", "--enforce-node-allocatable=", "--fail-swap-on=false"),
    *("--local-storage-capacity-isolation=false", "--eviction-hard=memory.available<100Mi"),
    *("--image-gc-high-threshold=100", "--protect-kernel-defaults=false"),
)
# As nodeadm writes it (docs/facts/cluster.md#running-nodes).
PROVIDER = "/etc/eks/image-credential-provider"
CREDENTIAL_PROVIDERS = {
    "apiVersion": "kubelet.config.k8s.io/v1",
    "kind": "CredentialProviderConfig",
    "providers": [
        {
            "name": ecr.PROGRAM,
            "matchImages": ["*.dkr.ecr.*.amazonaws.com", "*.dkr-ecr.*.on.aws"],
            "defaultCacheDuration": "12h",
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        }
    ],
}
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
    """An instance. Its name is the instance id, by which it is found again."""

    def __init__(self, instance_id: str, cloud: Node) -> None:
        super().__init__(instance_id)
        self.cloud = cloud

    @property
    def port(self) -> str:
        return f"n-{self.name[-12:]}"

    @property
    def root(self) -> Path:
        """The upper overlay layer of the node's root, with everything that differs from the machine."""
        return self.folder / "upper"

    # Start

    def launch(self, order: Order, role: Mapping[str, str], pods: str) -> str | None:
        """Start the instance. Returns why its kubelet does not start, if the user data is the cause."""
        self.lay_out(order, role, pods)
        for target in OWN:
            hosts.make_mount_point(Path(target))
        try:
            self.up([], [["sh", "-ec", self.script(order)]], pki.bed_id())
            self.plug(order, pods)
            self.run("systemctl", "start", "containerd")
            image.load(self)
            if order.family != "bottlerocket":  # Bottlerocket has no sshd and no Python
                self.run("/usr/sbin/sshd", "-E", "/var/log/sshd.log")
        except Exception:
            self.down()  # not caused by the user data: the controller starts a stopped machine again
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
            + pki.hosts_lines(*pki.NAMES),
            "/etc/ssl/certs/ca-certificates.crt": pki.trusted(),
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
        options = shlex.join([*BED_OPTIONS, *self.credential_provider(), f"--cgroup-root=/{paths.CGROUP}/{self.name}"])
        self.program("/usr/bin/kubelet", f'#!/bin/sh\nexec {PROGRAMS}/kubelet "$@" {options}\n')
        self.program("/usr/bin/aws-iam-authenticator", f'#!/bin/sh\nexec {PROGRAMS}/aws-iam-authenticator "$@"\n')
        self._ssh_files()
        self.log("boot").parent.mkdir(parents=True, exist_ok=True)
        save(self.folder, order)

    def credential_provider(self) -> list[str]:
        """Install the kubelet's provider of credentials for ECR, if it is built. Return the kubelet's options."""
        program = BIN / ecr.PROGRAM
        if not program.exists():
            return []
        self.write(f"{PROVIDER}/config.json", json.dumps(CREDENTIAL_PROVIDERS, indent=2))
        shutil.copy(program, self.root / PROVIDER.lstrip("/") / ecr.PROGRAM)
        return [
            f"--image-credential-provider-bin-dir={PROVIDER}",
            f"--image-credential-provider-config={PROVIDER}/config.json",
        ]

    def own(self, target: str) -> Path:
        return self.folder / "own" / target.strip("/").replace("/", "-")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file into the layers, before the node starts."""
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
        os.setxattr(ssh, "trusted.overlay.opaque", b"y")  # hides the machine's own keys
        self.write("/etc/ssh/sshd_config", hosts.SSHD_CONFIG)
        hosts.keygen(ssh / "ssh_host_ed25519_key", self.name)
        self.write("/etc/shadow", "root:*:20000:0:99999:7:::\nsshd:!:20000::::::\n", 0o600)
        self.write("/root/.ssh/authorized_keys", hosts.KEY.with_suffix(".pub").read_text(), 0o600)

    def script(self, order: Order) -> str:
        """The script of the mounts, which PID 1 runs. What does not belong to the node is read-only."""
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
            "mknod -m 600 /dev/kmsg c 1 11",  # where a kubelet reads about processes that ran out of memory
            "grep -q ' /sys/fs/cgroup' /proc/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup",
            # Last: hide the bed's own keys and passwords from the node.
            f"mount -t tmpfs -o size=64k,mode=755,ro testbed {paths.STATE}",
        ]
        return "\n".join(lines)

    def plug(self, order: Order, pods: str) -> None:
        """Connect the node to the switch, with the instance's address, its subnet's router, and its egress rules.

        The cloud reaches the node's pods by this route, as a load balancer with IP targets or a kube-proxy reaches pods
        in a VPC.
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
        self.run("iptables-restore", "--noflush", input=render_firewall(egress_rules(), pods).encode())
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
            # A script that fails does not stop the boot: cloud-init runs the next script and only logs the exit status.
            ran = self.run("sh", "-c", f"chmod 700 {where} && cd / && exec {where}", check=False, timeout=120)
            with self.log("cloud-init-output").open("a") as log:
                log.write(f"== {path}\n{ran.stdout}{ran.stderr}\n== ended with {ran.returncode}\n")
        if made.starts:
            started = self.run("systemctl", "start", "kubelet", check=False)
            if started.returncode:
                raise BootError(f"the kubelet does not start: {started.stderr}")

    def put(self, path: str, text: str) -> None:
        """Write a file on the running node."""
        quoted = shlex.quote(path)
        mode = "755" if path.endswith(".sh") else "644"
        self.run(
            "sh", "-ec", f"mkdir -p $(dirname {quoted}); cat > {quoted}; chmod {mode} {quoted}", input=text.encode()
        )

    def kubelet(self) -> int | None:
        """The kubelet's pid on the machine; None without a running kubelet."""
        return self.pid_of("kubelet") if "kubelet" in self.running() else None

    def kubelet_log(self) -> str:
        path = self.own("/var/log") / "kubelet.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def revive(self) -> list[str]:
        """Start killed parts again, as `up` does everywhere. Parts that were stopped or have ended stay stopped."""
        state = self.state()
        killed = [name for name in ("containerd", "kubelet") if name in (state or {}).get("killed", [])]
        for name in killed:
            self.run("systemctl", "start", name)
        return [f"{self.name}/{name}" for name in killed]

    # Stop

    def remove(self) -> None:
        self.down()
        remove_groups(self.name)
        shutil.rmtree(self.folder, ignore_errors=True)


def egress_rules() -> list[str]:
    """The egress of a node in a private subnet and of its pods: the cluster's endpoint, its own network, and S3 by the
    gateway endpoint.

    Add further egress here: rules for the subnet's route table, the security groups and the VPC's endpoints in EC2, and
    a router that forwards out of the bed (net.bridge).
    """
    return [
        f"-d {paths.CLUSTER}/32 -p tcp -m tcp --dport 443",
        f"-d {paths.NODES}",
        f"-d {paths.S3}/32 -p tcp -m tcp --dport {paths.S3_PORT}",
    ]


def render_firewall(egress: list[str], pods: str) -> str:
    """Firewall rules: no other egress, but replies to connections to the node and its pods."""
    known = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    rules = [f"-A {chain} {known}" for chain in ("OUTPUT", "FORWARD")]
    rules += [f"-A {chain} {rule} -j ACCEPT" for chain in ("OUTPUT", "FORWARD") for rule in egress]
    rules += [f"-A FORWARD -d {pods} -j ACCEPT"]
    # The next hop of a pod is its node's side of the veth pair, and the node reaches its pods (10.240.0.0/12).
    local = [
        "-A OUTPUT -o lo -j ACCEPT",
        "-A OUTPUT -d 10.239.0.0/16 -j ACCEPT",
        "-A OUTPUT -d 10.240.0.0/14 -j ACCEPT",
    ]
    chains = [":INPUT ACCEPT [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT DROP [0:0]"]
    return "\n".join(["*filter", *chains, *local, *rules, "COMMIT", ""])


def remove_groups(name: str) -> None:
    """Remove the control groups of its pods, after the pods."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] in ("cgroup", "cgroup2"):
            top = Path(fields[4]) / paths.CGROUP / name
            for path in sorted([top, *top.rglob("*")], key=lambda entry: -len(entry.parts)):
                with contextlib.suppress(OSError):
                    path.rmdir()


def cni(pods: str) -> dict[str, object]:
    """The CNI configuration. Pods have the egress and the address of their node. The node and the cloud reach them."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    return {"cniVersion": "0.4.0", "name": "testbed", "plugins": [{"type": "ptp", "ipMasq": True, "ipam": ipam}]}


def save(directory: Path, order: Order) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "user-data").write_bytes(order.user_data)
    instance = {
        "family": order.family,
        "ip": order.instance.ip,
        "name": order.instance.name,
        "zone": order.instance.zone,
    }
    (directory / "instance.json").write_text(json.dumps(instance))


def machines(cloud: Node) -> list[Machine]:
    """Every instance with files in the state directory."""
    directory = paths.STATE / "nodes"
    return [Machine(path.name, cloud) for path in sorted(directory.glob("i-*"))] if directory.exists() else []
