#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_offline_transfer_info
short_description: What a host's container engine has
version_added: 0.1.0
description:
  - Returns engine, version, free disk, images and chain ids of a host, which is what
    M(daytwo.aws.image_offline_transfer) needs to know in order to carry only what is missing.
author:
  - The daytwo.aws authors (@daytwo-aws)
attributes:
  check_mode:
    support: full
    description: Only reads.
  diff_mode:
    support: none
    description: Nothing changes.
  idempotent:
    support: full
    description: Only reads.
  platform:
    platforms: linux
    support: full
    description: Works on Linux hosts.
requirements:
  - Python 3.9 or newer, and nothing else
options:
  docker_host:
    description: Socket of the docker engine, C(unix:///PATH).
    type: str
    default: unix:///var/run/docker.sock
  staging_dir:
    description: Folder for blobs on their way, whose disk is looked at. See M(daytwo.aws.image_offline_transfer).
    type: path
  name:
    description: What to call this host in RV(target). Without it, its name in the inventory.
    type: str
  lockstep:
    description:
      - Whether to refuse a play whose strategy does not keep its hosts in step.
      - For roles that plan over all hosts of a play at once, which the strategy V(free) makes impossible.
      - Used on the controller only.
    type: bool
    default: false
  address:
    description:
      - Name or address at which the source reaches this host by SSH, for C(transport=scp).
      - Without it, the one by which the controller reaches it. Used on the controller only.
    type: str
  port:
    description:
      - Port at which the source reaches this host by SSH. Without it, the controller's. Used on the controller only.
    type: int
seealso:
  - module: daytwo.aws.image_offline_transfer
"""

EXAMPLES = r"""
- name: Ask the host what it has
  daytwo.aws.image_offline_transfer_info:
  register: has
"""

RETURN = r"""
target:
  description: Everything, as O(daytwo.aws.image_offline_transfer#module:targets) takes it.
  returned: success
  type: dict
  contains:
    host:
      description: What to call the host.
      type: str
      sample: private-a
    address:
      description: Where a source reaches the host by SSH.
      type: str
      sample: 10.0.3.17
    port:
      description: At which port.
      type: int
      sample: 22
    engine:
      description: Name of the engine.
      type: str
      sample: docker
    version:
      description: Its version.
      type: str
      sample: 20.10.24+dfsg1
    storage:
      description: Its storage driver.
      type: str
      sample: overlay2
    platform:
      description: What it runs.
      type: str
      sample: linux/amd64
    images:
      description: Its images, with id, config digest, names, platform and size in bytes.
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
    staging:
      description: Disk of the staging folder, with free bytes.
      type: dict
      sample: {path: /var/tmp, free_bytes: 52000000000, device: 65024}
    preloaded:
      description:
        - Chain ids of layers that a transfer that runs, or was killed, has loaded ahead of its images, by the name of
          its staging folder. They count for that transfer alone.
      type: dict
      sample: {}
    zstd:
      description: Whether the engine unpacks zstd layers.
      type: bool
      sample: false
    root:
      description: Disk of the engine, or null where this user may not look at its folder.
      type: dict
      sample: {path: /var/lib/docker, free_bytes: 52000000000, device: 65024}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._image.engine import DEFAULT_DOCKER_HOST

OPTIONS = {
    "docker_host": {"type": "str", "default": DEFAULT_DOCKER_HOST},
    "staging_dir": {"type": "path"},
    "name": {"type": "str"},
    "lockstep": {"type": "bool", "default": False},
    "address": {"type": "str"},
    "port": {"type": "int"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    module.fail_json(msg="This module is its action plugin. Run it as daytwo.aws.image_offline_transfer_info.")


if __name__ == "__main__":
    main()
