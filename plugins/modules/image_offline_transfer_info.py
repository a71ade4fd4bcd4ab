#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_offline_transfer_info
short_description: List the images and layers of a host's container engine
version_added: 0.1.0
description:
  - Returns engine, version, free disk space, images and chain ids of a host.
    M(daytwo.aws.image_offline_transfer) needs them to transfer only the missing blobs.
author:
  - The daytwo.aws authors (@daytwo-aws)
attributes:
  check_mode:
    support: full
    description: The module only reads.
  diff_mode:
    support: none
    description: The module changes nothing.
  idempotent:
    support: full
    description: The module only reads.
  platform:
    platforms: linux
    support: full
    description: Works on Linux hosts.
requirements:
  - Python 3.9 or newer; no other package
options:
  engine:
    description:
      - Container engine to read.
      - With V(auto), the only engine that the host uses, or the only one that it has. Docker is used where its socket
        exists, podman where the user has an image in its storage, containerd where it has the namespace.
      - A host with several engines needs the name of one. An address that is not the default also names its engine.
      - With V(archive), the archive at O(target_archive_path) is read instead of an engine. All its bytes are read.
    type: str
    choices: [auto, docker, podman, containerd, archive]
    default: auto
  target_archive_path:
    description: Path of the archive on the host, for O(engine=archive). See M(daytwo.aws.image_offline_transfer).
    type: path
  target_archive_part_size:
    description: Bytes of each part of the archive. Set the value that the transfer has.
    type: int
  target_archive_platform:
    description: Platform of the hosts that will load the archive. The default is this host's own.
    type: str
  docker_host:
    description: Socket of the docker engine, C(unix:///PATH).
    type: str
    default: unix:///var/run/docker.sock
  containerd_address:
    description: Socket of containerd on the host. It must belong to root, so tasks for containerd need C(become).
    type: str
    default: /run/containerd/containerd.sock
  containerd_namespace:
    description: Namespace of containerd that has the images. The kubelet uses V(k8s.io). Another one must exist.
    type: str
    default: k8s.io
  containerd_pinned:
    description: Whether an image of containerd without the label C(io.cri-containerd.pinned) is to be named again. Set
      the value that the transfer has.
    type: bool
    default: true
  staging_dir:
    description: Staging directory, whose free disk space is read. See M(daytwo.aws.image_offline_transfer).
    type: path
  name:
    description: Name of this host in RV(target). The default is the inventory name.
    type: str
  lockstep:
    description:
      - Whether to reject a play whose strategy does not keep its hosts in lockstep.
      - Roles that plan over all hosts of a play at once need it, because the strategy V(free) makes that impossible.
      - Used on the controller only.
    type: bool
    default: false
  address:
    description:
      - Name or address at which the source reaches this host by SSH, for C(transport=scp).
      - The default is the address by which the controller reaches the host. Used on the controller only.
    type: str
  port:
    description:
      - Port at which the source reaches this host by SSH. The default is the port that the controller uses. Used on the
        controller only.
    type: int
seealso:
  - module: daytwo.aws.image_offline_transfer
"""

EXAMPLES = r"""
- name: Read what the host has
  daytwo.aws.image_offline_transfer_info:
  register: target_facts
"""

RETURN = r"""
target:
  description: The state of the host, for O(daytwo.aws.image_offline_transfer#module:targets).
  returned: success
  type: dict
  contains:
    host:
      description: Name of the host.
      type: str
      sample: private-a
    address:
      description: Address at which a source reaches the host by SSH.
      type: str
      sample: 10.0.3.17
    port:
      description: Port at which a source reaches the host by SSH.
      type: int
      sample: 22
    engine:
      description: Name of the engine, or V(archive).
      type: str
      sample: docker
    version:
      description: Version of the engine.
      type: str
      sample: 20.10.24+dfsg1
    storage:
      description: Storage driver of the engine.
      type: str
      sample: overlay2
    platform:
      description: Platform of the engine.
      type: str
      sample: linux/amd64
    images:
      description: Images of the engine, with id, config digest, names, platform and size in bytes.
      type: list
      elements: dict
      sample:
        - id: sha256:5d0da3dc976460b72c77d94c8a1ad043720b0416bfc16c52c45d4847e53fadb6
          config_digest: sha256:5d0da3dc976460b72c77d94c8a1ad043720b0416bfc16c52c45d4847e53fadb6
          names: ["registry.example:5000/app:v1"]
          platform: linux/amd64
          size: 61440000
    chain_ids:
      description: Chain ids of all layers of all images, sorted.
      type: list
      elements: str
      sample: [sha256:e07ee1baac5fae6a26f30cabfe54a36d3402f96afda318fe0a96cec4ca393359]
    archive:
      description:
        - State of the archive with O(engine=archive), otherwise null.
        - C(problem) is the reason why the archive is not complete. C(fingerprint) changes with its files.
      type: dict
      sample: null
    staging:
      description: Disk of the staging directory, with free bytes.
      type: dict
      sample: {path: /var/tmp, free_bytes: 52000000000, device: 65024}
    preloaded:
      description:
        - Chain ids of layers that a running or killed transfer has preloaded, by the name of its staging directory.
          They count only for that transfer.
      type: dict
      sample: {}
    keeps_digests:
      description: Whether the engine finds an image by the digest of its manifest or index.
      type: bool
      sample: false
    zstd:
      description: Whether the engine unpacks zstd layers.
      type: bool
      sample: false
    root:
      description: Disk of the engine, or null where this user cannot read its data directory.
      type: dict
      sample: {path: /var/lib/docker, free_bytes: 52000000000, device: 65024}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._image.ends.engine import DEFAULT_CONTAINERD_ADDRESS, DEFAULT_DOCKER_HOST, KUBERNETES_NAMESPACE
from ..module_utils._image.ends.engines import AUTO, ENGINES

OPTIONS = {
    "engine": {"type": "str", "choices": [AUTO, *ENGINES, "archive"], "default": AUTO},
    "target_archive_path": {"type": "path"},
    "target_archive_part_size": {"type": "int"},
    "target_archive_platform": {"type": "str"},
    "docker_host": {"type": "str", "default": DEFAULT_DOCKER_HOST},
    "containerd_address": {"type": "str", "default": DEFAULT_CONTAINERD_ADDRESS},
    "containerd_namespace": {"type": "str", "default": KUBERNETES_NAMESPACE},
    "containerd_pinned": {"type": "bool", "default": True},
    "staging_dir": {"type": "path"},
    "name": {"type": "str"},
    "lockstep": {"type": "bool", "default": False},
    "address": {"type": "str"},
    "port": {"type": "int"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    module.fail_json(msg="This module runs as an action plugin. Run it as daytwo.aws.image_offline_transfer_info.")


if __name__ == "__main__":
    main()
