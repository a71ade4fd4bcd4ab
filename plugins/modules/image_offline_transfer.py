#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_offline_transfer
short_description: Carry container images to hosts without internet access, and prove that they arrived
version_added: 0.1.0
description:
  - Carries container images from a host that has them, or reaches their registry, to hosts that reach nothing but an
    S3 endpoint, or nothing at all but are reached by SSH. No byte of an image passes the controller, and no host has
    AWS credentials.
  - With O(state=saved), run on the source, it puts the blobs that some target lacks into a bucket, each once, under
    C(PREFIX/blobs/sha256/HEX), and returns a RV(bundle), the description of the images.
  - With O(state=loaded), run on a target, it gets the blobs of O(bundle) that this target lacks, verifies the sha256 of
    each, loads each image, compares the config digest and every diffID of what the engine then has, and only then
    gives the image its name. The image that held the name before stays.
  - With O(transport=scp) there is no bucket. O(state=saved) then has the source make an ephemeral key,
    O(state=authorized) has a target permit that key to put the missing blobs into its staging folder and nothing else,
    O(state=pushed) has the source push, and O(state=revoked) takes the permission away.
  - The role P(daytwo.aws.image_transfer#role) does it all, for many targets.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - daytwo.aws.controller_aws
attributes:
  check_mode:
    support: full
    description: Writes nothing and returns the same steps as the run. Sizes are estimates where RV(estimated) is true.
  diff_mode:
    support: full
    description: Shows which image a name holds before and after, and which blobs are added to the bucket.
  idempotent:
    support: full
    description: What is there already, proved by digest, is neither sent nor loaded again.
  platform:
    platforms: linux
    support: full
    description: Source and targets are Linux hosts.
  async:
    support: none
    description: Long work is cut into calls of some seconds, so a connection is never held for long without C(async).
requirements:
  - boto3 1.35.2 or newer on the controller, for O(transport=s3)
  - OpenSSH's client on source and targets, and its server on targets, for O(transport=scp)
  - Python 3.9 or newer on the host, and nothing else
options:
  state:
    description:
      - V(saved) puts the blobs of O(images) into the bucket. Run it on the source.
      - V(loaded) brings the images of O(bundle) into the engine. Run it on a target.
      - V(absent) takes the blobs of O(bundle) out of the bucket. Nothing is done on the host.
      - V(authorized) permits the source to push to this target, for fifteen minutes and as long as the push would
        take at 1 Mbit/s. Run it on a target.
      - V(pushed) pushes to the targets that permitted it. Run it on the source.
      - V(revoked) takes the permission away, and the blobs too where not all have come. Run it on a target, also after
        a failure.
    type: str
    choices: [saved, loaded, absent, authorized, pushed, revoked]
    required: true
  transport:
    description:
      - How the blobs travel.
      - With V(s3), through O(bucket), by signed URLs.
      - With V(scp), by SSH from the source to the targets.
    type: str
    choices: [s3, scp]
    default: s3
  push:
    description:
      - The RV(push) of O(state=saved), for O(state=authorized), O(state=pushed), O(state=revoked), and for
        O(state=loaded), which takes the permission away before it loads.
      - Used on the controller only.
    type: dict
  grants:
    description: The RV(grant) of each O(state=authorized), for O(state=pushed). Used on the controller only.
    type: list
    elements: dict
    default: []
  source_address:
    description:
      - IP address as which this target sees the source, for O(state=authorized). The key is good from there only.
      - Without it, the source's own address on its way to the target. Needed where that is translated (NAT).
      - Used on the controller only.
    type: str
  bandwidth_limit:
    description:
      - Bytes per second on the wire that this host sends or receives at most. Without it, there is no limit.
    type: int
  images:
    description:
      - The images, for O(state=saved).
      - All must exist. If one does not, nothing is written, and the error names every one that is missing.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - Reference of the image, C([HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST]).
          - When it has both a tag and a digest, they must agree.
        type: str
        required: true
      platform:
        description:
          - Platform, C(OS/ARCHITECTURE[/VARIANT]). Of an image that has several, it is carried for this one.
          - Without it, for the platform that all O(targets) have in common, or the source host's own. Then a target
            whose engine runs another platform than the image is for is refused; where the platform is given, that is a
            warning.
        type: str
      tag_as:
        description:
          - Name that the image gets on targets, C([HOST[:PORT]/]PATH:TAG). Needed where O(images[].name) has a digest
            and no tag. Without it, O(images[].name) without its digest.
        type: str
  source:
    description:
      - Where the source takes the images from.
      - With V(registry), manifests and blobs come from the registry as they are, compressed, without any engine on the
        source.
      - With V(docker), they come out of the source's docker engine, uncompressed. For images that exist only there.
        With O(transport=scp), they are compressed on their way where that is faster.
    type: str
    choices: [registry, docker]
    default: registry
  registry_username:
    description:
      - User name for the registry. Without it, O(registry_config_path) is asked.
    type: str
  registry_password:
    description: Password that belongs to O(registry_username).
    type: str
  registry_config_path:
    description:
      - Docker's configuration file with the logins, on the source host. Its credential helpers are run.
      - Without it, C(~/.docker/config.json) where that exists.
    type: path
  plain_http:
    description: Talk to the registry without TLS. Never done unless asked for.
    type: bool
    default: false
  bundle:
    description: The RV(bundle) that O(state=saved) returned, for O(state=loaded) and O(state=absent).
    type: dict
  targets:
    description:
      - What the targets have, as M(daytwo.aws.image_offline_transfer_info) returns it in C(target).
      - With O(state=saved), only what some target lacks is carried. When it is empty, every blob is; with
        O(transport=scp) it may not be.
      - With O(state=loaded), what this target had a while ago saves one call. What it has is looked at in any case.
      - Used on the controller only.
    type: list
    elements: dict
    default: []
  corrupt:
    description:
      - The RV(corrupt) of a O(state=loaded), for O(state=saved).
      - Each of these objects is put again, once; not if somebody has already replaced it.
      - Used on the controller only.
    type: list
    elements: dict
    default: []
    suboptions:
      digest:
        description: Digest of the blob.
        type: str
        required: true
      etag:
        description: Entity tag of the damaged object and when it was stored, if they are known.
        type: str
  bucket:
    description:
      - The bucket between the hosts, needed for O(transport=s3). It must exist. Used on the controller only.
      - Blobs stay in it, and the next transfer finds them; give it a life-cycle rule.
    type: str
  prefix:
    description: What the keys begin with. Used on the controller only.
    type: str
    default: ''
  sse:
    description: Server-side encryption to ask for at each upload. Used on the controller only.
    type: str
    choices: [AES256, 'aws:kms', 'aws:kms:dsse']
  kms_key_id:
    description: Key for O(sse=aws:kms). Used on the controller only.
    type: str
  expected_bucket_owner:
    description: Account id that the bucket must belong to. Used on the controller only.
    type: str
  part_size:
    description:
      - Bytes per request, at least 5 MiB. A larger blob is sent as a multipart upload. Used on the controller only.
    type: int
    default: 16777216
  show_progress:
    description: Whether to show bytes, rate and time left every few seconds. Used on the controller only.
    type: bool
    default: true
  ca_path:
    description:
      - File or folder of certificate authorities (PEM) on the host, trusted beside the system's, for the registry
        and for the S3 endpoint.
    type: path
  docker_host:
    description: Socket of the host's docker engine, C(unix:///PATH).
    type: str
    default: unix:///var/run/docker.sock
  staging_dir:
    description:
      - Folder on the host for blobs on their way. Only this user may write to it. It is removed when it is empty.
      - Without it, C(/var/tmp/daytwo-image-transfer-UID).
    type: path
  timeout:
    description: Seconds for which the engine may be silent during a load or a save.
    type: int
    default: 1800
  work:
    description:
      - What one call on the host shall do. The action plugin sets it; it cannot be set in a task.
    type: dict
    suboptions:
      phase:
        description: Name of the phase.
        type: str
        required: true
      seconds:
        description: Seconds after which the call returns what it has.
        type: int
        required: true
      host:
        description: What to call the host.
        type: str
      token:
        description: Names one attempt of a job that outlives the call.
        type: str
      again:
        description: Whether the call is made once more because its answer was lost with the connection.
        type: bool
        default: false
      targets:
        description: Where the source reaches its targets.
        type: list
        elements: dict
      grants:
        description: Targets that permit the push.
        type: list
        elements: dict
      public_key:
        description: The source's ephemeral public key.
        type: str
      addresses:
        description: Addresses of the source, as the target sees them.
        type: list
        elements: str
      port:
        description: Port of the target's SSH server.
        type: int
      expires:
        description: Seconds until the permission ends by itself.
        type: int
      blobs:
        description: Blobs that may be pushed, with digest and size.
        type: list
        elements: dict
      digests:
        description: Digests of the blobs that the engine shall write.
        type: list
        elements: str
      platform:
        description: Platform of images that name none, where there are several.
        type: str
      more:
        description: Whether further requests follow, so that nothing is to be loaded yet.
        type: bool
        default: false
      transfers:
        description: Requests to make.
        type: list
        elements: dict
        suboptions:
          digest:
            description: Digest of the blob.
            type: str
            required: true
          media_type:
            description: Its media type.
            type: str
            required: true
          number:
            description: Number of the part, 0 for a whole blob.
            type: int
            required: true
          offset:
            description: First byte.
            type: int
            required: true
          length:
            description: Bytes.
            type: int
            required: true
          url:
            description: Signed URL, good for some minutes.
            type: str
            required: true
          headers:
            description: Headers that the signature covers.
            type: dict
          reference:
            description: Reference of an image that has the blob.
            type: str
            required: true
seealso:
  - module: daytwo.aws.image_offline_transfer_info
"""

EXAMPLES = r"""
- name: Ask a target what it has
  daytwo.aws.image_offline_transfer_info:
  register: has

- name: Put what it lacks into the bucket
  daytwo.aws.image_offline_transfer:
    state: saved
    images:
      - name: registry.example:5000/app:v1
        platform: linux/amd64
    targets: "{{ [has.target] }}"
    bucket: my-images
  delegate_to: bastion
  register: saved

- name: Bring it into the target's docker
  daytwo.aws.image_offline_transfer:
    state: loaded
    bundle: "{{ saved.bundle }}"
    bucket: my-images
"""

RETURN = r"""
bundle:
  description:
    - The images by content. A size is null while only an engine that does not tell it has the blob.
  returned: state=saved, state=pushed
  type: dict
  sample:
    version: 1
    images:
      - reference: registry.example:5000/app:v1
        tag: registry.example:5000/app:v1
        platform: linux/amd64
        manifest:
          digest: sha256:0f1d5a1d5c1e7d1b5b5e4ac1cf0b3b8c0a7c6a3e0c8e3a6d0f3c2b1a0d9e8f7a
          media_type: application/vnd.docker.distribution.manifest.v2+json
          size: 946
        config:
          digest: sha256:5d0da3dc976460b72c77d94c8a1ad043720b0416bfc16c52c45d4847e53fadb6
          media_type: application/vnd.docker.container.image.v1+json
          size: 1469
        layers:
          - digest: sha256:9c27e219663c25e0f28493790cc0b88bc973ba3b1686355f221c38a36978ac63
            diff_id: sha256:e07ee1baac5fae6a26f30cabfe54a36d3402f96afda318fe0a96cec4ca393359
            media_type: application/vnd.docker.image.rootfs.diff.tar.gzip
            size: 17098
blobs:
  description: Each blob that some target lacks, and what became of it; with O(state=absent), each blob of the bundle.
  returned: state=saved, state=absent
  type: list
  elements: dict
  sample:
    - name: sha256:9c27e219663c25e0f28493790cc0b88bc973ba3b1686355f221c38a36978ac63
      status: changed
      reason: "carried: not in the store (17.1 kB)"
      size: 17098
      media_type: application/vnd.docker.image.rootfs.diff.tar.gzip
push:
  description: What O(state=authorized) and O(state=pushed) need to know, empty where nothing is to be pushed.
  returned: state=saved and transport=scp
  type: dict
  sample: {}
grant:
  description: The permission of this target, for O(grants); null where it lacks nothing.
  returned: state=authorized
  type: dict
  sample:
    host: private-a
    address: 10.0.3.17
    port: 22
    user: ec2-user
    host_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1h6Rxa3sq4GJXKUrXLX6OYt0J8mWdLhOJ7w1Y0bXcN"]
    digests: ["sha256:9c27e219663c25e0f28493790cc0b88bc973ba3b1686355f221c38a36978ac63"]
targets:
  description: Each target to which blobs were pushed.
  returned: state=pushed
  type: list
  elements: dict
  sample:
    - name: private-a
      status: changed
      reason: 3 blobs pushed (2.4 MB)
      bytes: 2411724
      blobs: ["sha256:9c27e219663c25e0f28493790cc0b88bc973ba3b1686355f221c38a36978ac63"]
images:
  description: Each image, with O(state=loaded). Its C(previous_image) is what held the name before.
  returned: state=loaded
  type: list
  elements: dict
  sample:
    - name: registry.example:5000/app:v1
      status: changed
      reason: 1 of 4 layers and the config are missing (2.4 MB)
      previous_image: sha256:1e2ef4a9cc5ad3a3b3ad3a0dc9b5b2a4a41ad0a3dc976460b72c77d94c8a1ad0
      bytes: 2411724
      seconds: 1.4
steps:
  description: What is written, step by step; in check mode what would be.
  returned: always
  type: list
  elements: dict
  sample:
    - action: load
      target: registry.example:5000/app:v1
      reason: 1 of 4 layers and the config are missing
      before:
        image: sha256:1e2ef4a9cc5ad3a3b3ad3a0dc9b5b2a4a41ad0a3dc976460b72c77d94c8a1ad0
      after:
        image: sha256:5d0da3dc976460b72c77d94c8a1ad043720b0416bfc16c52c45d4847e53fadb6
corrupt:
  description: Objects in the bucket that failed their digest twice, with O(state=loaded). Nothing was loaded from them.
  returned: state=loaded
  type: list
  elements: dict
  sample: []
bytes_full:
  description: Bytes of all blobs of the images, what a full copy would carry.
  returned: state=saved, state=loaded
  type: int
  sample: 25411724
bytes_needed:
  description: Bytes of the blobs that are lacking, on this target or on any of O(targets).
  returned: state=saved, state=loaded, and state=pushed outside check mode
  type: int
  sample: 2411724
bytes_carried:
  description:
    - Bytes of blobs that were sent or received, as they went over the wire; with O(state=saved) in check mode, those
      that would be sent.
    - With O(state=pushed), layers that were compressed on their way count as what they were compressed to.
  returned: state=saved, state=loaded, state=pushed
  type: int
  sample: 2411724
estimated:
  description:
    - Whether sizes are estimates. Only with O(source=docker), in check mode or with O(transport=scp), where the engine
      still writes. O(state=pushed) returns the RV(bundle) with the exact ones; here it says whether some are not known,
      since not everything has been pushed.
  returned: state=saved, and state=pushed outside check mode
  type: bool
  sample: false
refused:
  description:
    - Hosts of O(targets) that are certain not to take the images (too little disk, an engine that cannot unpack
      them), and why. Nothing is carried for them.
  returned: state=saved
  type: dict
  sample: {}
uploads_aborted:
  description: Incomplete uploads of the same blobs that an interrupted run had left and that were aborted.
  returned: state=saved
  type: int
  sample: 0
revoked:
  description: Whether this target no longer permits the O(push), so that O(state=revoked) is not needed.
  returned: state=loaded
  type: bool
  sample: true
engine:
  description: The engine and its version.
  returned: state=loaded
  type: str
  sample: docker 20.10.24
path:
  description: Where the blobs are.
  returned: always
  type: str
  sample: s3://my-images/
seconds:
  description: How long it took.
  returned: always
  type: float
  sample: 3.2
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._image.engine import DEFAULT_DOCKER_HOST
from ..module_utils._image.errors import ImageError, format_disk_error

# Options that only the action plugin uses. A host never gets them.
CONTROLLER_OPTIONS = {
    "access_key": {"type": "str", "no_log": False, "aliases": ["aws_access_key_id", "aws_access_key"]},
    "secret_key": {"type": "str", "no_log": True, "aliases": ["aws_secret_access_key", "aws_secret_key"]},
    "session_token": {"type": "str", "no_log": True, "aliases": ["aws_session_token"]},
    "profile": {"type": "str", "aliases": ["aws_profile"]},
    "region": {"type": "str", "aliases": ["aws_region", "ec2_region"]},
    "endpoint_url": {"type": "str", "aliases": ["aws_endpoint_url"]},
    "aws_ca_bundle": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "aws_config": {"type": "dict"},
    "debug_botocore_endpoint_logs": {"type": "bool", "default": False},
    "targets": {"type": "list", "elements": "dict", "default": []},
    "corrupt": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"digest": {"type": "str", "required": True}, "etag": {"type": "str"}},
    },
    "push": {"type": "dict"},
    "source_address": {"type": "str"},
    "authorizations": {"type": "list", "elements": "dict", "default": []},
    "transport": {"type": "str", "choices": ["s3", "scp"], "default": "s3"},
    "bucket": {"type": "str"},
    "prefix": {"type": "str", "default": ""},
    "sse": {"type": "str", "choices": ["AES256", "aws:kms", "aws:kms:dsse"]},
    "kms_key_id": {"type": "str", "no_log": False},
    "expected_bucket_owner": {"type": "str"},
    "part_size": {"type": "int", "default": 16 * 1024 * 1024},
    "show_progress": {"type": "bool", "default": True},
}

HOST_OPTIONS = {
    "state": {
        "type": "str",
        "choices": ["saved", "loaded", "absent", "authorized", "pushed", "revoked"],
        "required": True,
    },
    "images": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, "platform": {"type": "str"}, "tag_as": {"type": "str"}},
    },
    "source": {"type": "str", "choices": ["registry", "docker"], "default": "registry"},
    "registry_username": {"type": "str"},
    "registry_password": {"type": "str", "no_log": True},
    "registry_config_path": {"type": "path"},
    "plain_http": {"type": "bool", "default": False},
    "bundle": {"type": "dict"},
    "ca_path": {"type": "path"},
    "bandwidth_limit": {"type": "int"},
    "docker_host": {"type": "str", "default": DEFAULT_DOCKER_HOST},
    "staging_dir": {"type": "path"},
    "timeout": {"type": "int", "default": 1800},
    "work": {
        "type": "dict",
        "options": {
            "phase": {"type": "str", "required": True},
            "seconds": {"type": "int", "required": True},
            "host": {"type": "str"},
            "token": {"type": "str", "no_log": False},
            "targets": {"type": "list", "elements": "dict"},
            "authorizations": {"type": "list", "elements": "dict"},
            "public_key": {"type": "str", "no_log": False},
            "addresses": {"type": "list", "elements": "str"},
            "port": {"type": "int"},
            "expires": {"type": "int"},
            "blobs": {"type": "list", "elements": "dict"},
            "digests": {"type": "list", "elements": "str"},
            "platform": {"type": "str"},
            "has_more": {"type": "bool", "default": False},
            "retry": {"type": "bool", "default": False},
            "transfers": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "digest": {"type": "str", "required": True},
                    "media_type": {"type": "str", "required": True},
                    "number": {"type": "int", "required": True},
                    "offset": {"type": "int", "required": True},
                    "length": {"type": "int", "required": True},
                    "url": {"type": "str", "required": True, "no_log": True},
                    "headers": {"type": "dict"},
                    "reference": {"type": "str", "required": True},
                },
            },
        },
    },
}

REQUIRED_IF = [
    ("state", "saved", ("images",)),
    *(("state", state, ("bundle",)) for state in ("loaded", "absent", "authorized", "pushed", "revoked")),
]


def main() -> None:
    # Not above: the controller, too, imports this file, for the options, and would compile what only a host needs.
    from ..module_utils._image.host import READ_ONLY_PHASES, apply_phase

    module = AnsibleModule(
        argument_spec=dict(CONTROLLER_OPTIONS, **HOST_OPTIONS),
        required_if=REQUIRED_IF,
        supports_check_mode=True,
    )
    if not module.params["work"]:
        module.fail_json(
            msg="work: is set by the action plugin of this module. Run it as daytwo.aws.image_offline_transfer."
        )
    if module.check_mode and module.params["work"]["phase"] not in READ_ONLY_PHASES:
        module.fail_json(msg=f"work.phase: {module.params['work']['phase']} writes, and this is check mode.")

    def run_program(command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        code, output, errors = module.run_command(
            command, data=text, binary_data=True, pass_fds=descriptors, handle_exceptions=False
        )
        return code, output, errors

    try:
        result = apply_phase(module.params, run_program)
    except ImageError as error:
        module.fail_json(msg=str(error))
    except OSError as error:  # a disk that is full, also for the few bytes of a lock
        module.fail_json(msg=format_disk_error(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
