#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_offline_transfer
short_description: Transfer container images to hosts without internet access, and verify them
version_added: 0.1.0
description:
  - Transfers container images from a source host to target hosts. The source has the images, or reaches their registry.
    The targets reach only an S3 endpoint, or are reached by SSH.
  - No byte of an image passes the controller, and no host has AWS credentials.
  - With O(state=saved), run on the source, it uploads the blobs that some target is missing to a bucket, each once,
    under C(PREFIX/blobs/sha256/HEX). It returns a RV(bundle), the description of the images.
  - With O(state=loaded), run on a target, it downloads the blobs of O(bundle) that this target is missing, verifies
    the sha256 of each, and loads each image. Then it compares the config digest and every diffID of the loaded image.
    Only after that does it give the image its name. The image that had the name before is not removed.
  - With O(state=absent), it deletes the blobs of O(bundle) from the bucket. These three states are for playbooks.
  - The role P(daytwo.aws.image_transfer#role) runs the whole procedure for many targets. With O(transport=scp) there is
    no bucket, and the role uses the other states as its protocol. O(state=saved) has the source make an ephemeral key.
    O(state=authorized) has a target authorize that key to put the missing blobs into its staging directory, and nothing
    else. O(state=pushed) has the source push. O(state=revoked) revokes the authorization.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - daytwo.aws.controller_aws
attributes:
  check_mode:
    support: full
    description: Writes nothing and returns the same steps as a run. Sizes are estimates where RV(estimated) is true.
  diff_mode:
    support: full
    description: Shows which image a name refers to before and after, and which blobs are added to the bucket.
  idempotent:
    support: full
    description: Blobs and images that exist already, verified by digest, are neither sent nor loaded again.
  platform:
    platforms: linux
    support: full
    description: Source and targets are Linux hosts.
  async:
    support: none
    description: Long work runs in calls of some seconds, so no connection is held for long, also without C(async).
requirements:
  - boto3 1.35.2 or newer on the controller, for O(transport=s3)
  - OpenSSH's client on source and targets, and its server on targets, for O(transport=scp)
  - Python 3.9 or newer on the host; no other package
options:
  state:
    description:
      - State of the images or of their blobs. Use V(saved), V(loaded) and V(absent) in playbooks.
      - The states V(authorized), V(pushed) and V(revoked) are the protocol of the role
        P(daytwo.aws.image_transfer#role) for O(transport=scp). Their options and results may change in any release. Use
        the role instead.
    type: str
    choices:
      saved: Upload the blobs of O(images) to the bucket. Run it on the source.
      loaded: Load the images of O(bundle) into the engine. Run it on a target.
      absent: Delete the blobs of O(bundle) from the bucket. It does nothing on the host.
      authorized:
        - Protocol of the role. Authorize the source to push to this target. Run it on a target.
        - The authorization expires after fifteen minutes plus the time that the push to all targets would take at 1
          Mbit/s, or at O(bandwidth_limit) if that is lower. It expires after a day at most.
      pushed: Protocol of the role. Push to the targets that authorized the push. Run it on the source.
      revoked:
        - Protocol of the role. Revoke the authorization. Where not all blobs have arrived, remove the blobs too.
        - Run it on a target, also after a failure.
    required: true
  transport:
    description:
      - Transport of the blobs.
      - With V(s3), blobs go through O(bucket), by presigned URLs.
      - With V(scp), blobs go by SSH from the source to the targets.
    type: str
    choices: [s3, scp]
    default: s3
  push:
    description:
      - The RV(push) of O(state=saved), for O(state=authorized), O(state=pushed), O(state=revoked), and for
        O(state=loaded), which revokes the authorization before it loads.
      - Used on the controller only.
    type: dict
  authorizations:
    description: The RV(authorization) of each O(state=authorized), for O(state=pushed). Used on the controller only.
    type: list
    elements: dict
    default: []
  source_address:
    description:
      - IP address from which the source's connections reach this target, for O(state=authorized). The key is valid from
        this address only.
      - The default is the source's own address on its route to the target. Set the option where NAT translates it.
      - Used on the controller only.
    type: str
  bandwidth_limit:
    description:
      - Maximum bytes per second that this host sends or receives on the wire. Without this option, there is no limit.
    type: int
  images:
    description:
      - The images, for O(state=saved).
      - All must exist. If an image is missing, nothing is written, and the error names every missing image.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - Reference of the image, C([HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST]).
          - Where the reference has both a tag and a digest, they must agree.
        type: str
        required: true
      platform:
        description:
          - Platform, C(OS/ARCHITECTURE[/VARIANT]). A multi-platform image is transferred for this platform.
          - The default is the platform that all O(targets) have in common, or the source host's own.
          - By default, a target whose engine has another platform than the image is rejected. Where this option is set,
            the module only warns.
        type: str
      tag_as:
        description:
          - Name of the image on targets, C([HOST[:PORT]/]PATH:TAG). Required where O(images[].name) has a digest and no
            tag. The default is O(images[].name) without its digest.
        type: str
  source:
    description:
      - Where the source reads the images.
      - With V(registry), manifests and compressed blobs come unchanged from the registry. The source needs no engine.
      - With the name of an engine, the source's engine exports the images. Use it for images that exist only there.
        Docker and podman export uncompressed layers. With O(transport=scp), layers are compressed in transit where that
        is faster. Containerd exports the blobs that it has pulled, if it has kept them.
      - With V(archive), the images come from O(archive_path). The source needs no engine and no network.
    type: str
    choices: [registry, docker, podman, containerd, archive]
    default: registry
  archive_path:
    description:
      - Saved images on the source host, for O(source=archive). They are only read.
      - This is an archive that C(docker save), C(podman save), C(ctr images export), C(docker buildx), C(skopeo),
        kaniko or nix wrote. A directory with an OCI image layout, or in the format C(dir) of C(skopeo), is possible,
        too.
      - An archive that is compressed as a whole with gzip is uncompressed in each run. Blobs that targets lack are then
        staged in O(staging_dir). Other compressions are refused.
      - O(images[].name) is a name in the archive. An archive with a single image that has no name and no
        tag serves any name.
    type: path
  registry_username:
    description:
      - User name for the registry. Without this option, the login comes from O(registry_config_path).
    type: str
  registry_password:
    description: Password that belongs to O(registry_username).
    type: str
  registry_config_path:
    description:
      - Docker's configuration file with the logins, on the source host. The credential helpers in the file are run.
      - The default is C(~/.docker/config.json) where it exists.
    type: path
  plain_http:
    description: Connect to the registry without TLS. Without this option, the module never does so.
    type: bool
    default: false
  bundle:
    description: The RV(bundle) that O(state=saved) returned, for O(state=loaded) and O(state=absent).
    type: dict
  targets:
    description:
      - The state of each target, as M(daytwo.aws.image_offline_transfer_info) returns it in C(target).
      - With O(state=saved), only blobs that some target is missing are transferred. Where the list is empty, every blob
        is transferred. With O(transport=scp), the list may not be empty.
      - With O(state=loaded), the state that was recorded earlier saves one call. The load still reads the current
        state.
      - Used on the controller only.
    type: list
    elements: dict
    default: []
  corrupt:
    description:
      - The RV(corrupt) of O(state=loaded), for O(state=saved).
      - Each of these objects is uploaded again, once, unless another run has already replaced it.
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
        description: Entity tag of the damaged object and its storage time, if they are known.
        type: str
  bucket:
    description:
      - Bucket between the hosts, required for O(transport=s3). The bucket must exist. Used on the controller only.
      - Blobs stay in the bucket, and the next transfer finds them. Give the bucket a lifecycle rule.
    type: str
  prefix:
    description: Prefix of the keys in the bucket. Used on the controller only.
    type: str
    default: ''
  sse:
    description: Server-side encryption to request for each upload. Used on the controller only.
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
      - Bytes per request, at least 5 MiB. A larger blob is uploaded as a multipart upload. Used on the controller only.
      - If a blob would need more than the 10,000 parts that S3 allows, the parts are larger (5 GiB at most).
    type: int
    default: 16777216
  show_progress:
    description: Whether to show bytes, rate and time left every few seconds. Used on the controller only.
    type: bool
    default: true
  ca_path:
    description:
      - File or directory of certificate authorities (PEM) on the host, trusted in addition to the system's, for the
        registry and for the S3 endpoint.
    type: path
  engine:
    description:
      - Container engine of a target. A source has its engine in O(source).
      - With V(auto), the only engine that the host uses, or the only one that it has. Docker is used where its socket
        exists, podman where the user has an image in its storage, containerd where it has the namespace.
      - A host with several engines needs the name of one. An address that is not the default also names its engine.
      - With V(archive), the images are written into the archive at O(target_archive_path), and no engine is needed.
    type: str
    choices: [auto, docker, podman, containerd, archive]
    default: auto
  target_archive_path:
    description:
      - Path of the archive on the target, for O(engine=archive), such as C(/media/usb/images.tar). It is absolute. Its
        directory exists, and is writable.
      - The archive has all images of O(bundle) and no others. C(docker load), C(podman load) and
        C(ctr images import) load it. The same images always give the same bytes.
      - Beside it are C(NAME.sha256), a list for C(sha256sum -c), and C(NAME.load.txt), with the commands that load it.
      - The archive is replaced as a whole where anything in it differs. A file that this module did not write is
        refused.
      - With O(engine=auto), this option names the archive as the target.
    type: path
  target_archive_part_size:
    description:
      - Bytes of each part of the archive, at least 1 MiB, for media that take no larger files. FAT and DVDs take
        V(4000000000).
      - The parts are C(NAME.000), C(NAME.001) and so on, at most 1000. C(cat) in this order gives the archive.
      - Without this option, the archive is one file.
    type: int
  target_archive_platform:
    description:
      - Platform of the hosts that will load the archive, C(OS/ARCHITECTURE[/VARIANT]). The default is that of the
        target on which it is written.
      - O(images[].platform) overrides it for an image.
    type: str
  docker_host:
    description: Socket of the host's docker engine, C(unix:///PATH).
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
    description:
      - Whether to keep images that O(state=loaded) names from the kubelet's garbage collection, by the label
        C(io.cri-containerd.pinned) of containerd.
      - V(false) does not remove the label of an image that has it.
    type: bool
    default: true
  staging_dir:
    description:
      - Staging directory on the host for blobs in transit. Only this user may write to it. It is removed when it is
        empty.
      - The default is C(/var/tmp/daytwo-image-transfer-UID).
    type: path
  timeout:
    description:
      - Seconds after which a load or a save by the engine fails.
      - Docker may be without a response for so long. Podman may take so long after the last byte. Containerd may take
        so long in all, and one second more for each MiB.
    type: int
    default: 1800
  work:
    description:
      - Work of one call on the host. The action plugin sets this option; a task cannot set it.
    type: dict
    suboptions:
      phase:
        description: Name of the phase.
        type: str
        required: true
      seconds:
        description: Seconds after which the call returns its current state.
        type: int
        required: true
      host:
        description: Name of the host in results.
        type: str
      token:
        description: Identifier of one attempt of a job that outlives the call.
        type: str
      retry:
        description: Whether the call is a retry because its response was lost with the connection.
        type: bool
        default: false
      targets:
        description: The targets, with the address at which the source reaches each.
        type: list
        elements: dict
      authorizations:
        description: Targets that authorize the push.
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
        description: Seconds until the authorization of the push key expires.
        type: int
      blobs:
        description: Blobs that may be pushed, with digest and size.
        type: list
        elements: dict
      digests:
        description: Digests of the blobs that the engine exports.
        type: list
        elements: str
      platform:
        description: Platform for multi-platform images without a platform of their own.
        type: str
      archive_fingerprint:
        description: Fingerprint of a complete archive whose digests were verified a moment ago.
        type: str
      has_more:
        description: Whether further requests follow, so that nothing is loaded yet.
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
            description: Media type of the blob.
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
            description: Number of bytes.
            type: int
            required: true
          url:
            description: Presigned URL, valid for some minutes.
            type: str
            required: true
          headers:
            description: Headers that the signature covers.
            type: dict
          reference:
            description: Reference of an image that has the blob.
            type: str
            required: true
notes:
  - The IAM permissions are listed in docs/iam/image_offline_transfer.json.
seealso:
  - module: daytwo.aws.image_offline_transfer_info
"""

EXAMPLES = r"""
- name: Read what a target has
  daytwo.aws.image_offline_transfer_info:
  register: target_facts

- name: Upload the blobs that the target is missing
  daytwo.aws.image_offline_transfer:
    state: saved
    images:
      - name: registry.example:5000/app:v1
        platform: linux/amd64
    targets: "{{ [target_facts.target] }}"
    bucket: my-images
  delegate_to: bastion
  register: saved

- name: Load the image into the target's docker
  daytwo.aws.image_offline_transfer:
    state: loaded
    bundle: "{{ saved.bundle }}"
    bucket: my-images
"""

RETURN = r"""
bundle:
  description:
    - The images by content. A size is null while only an engine has the blob, because an engine reports no sizes of
      blobs.
    - C(index) is the index of several platforms that the reference names, if containerd can keep it; otherwise null.
  returned: state=saved, state=pushed
  type: dict
  sample:
    version: 1
    images:
      - reference: registry.example:5000/app:v1
        tag: registry.example:5000/app:v1
        platform: linux/amd64
        index:
          digest: sha256:b5d6fe0712636ceb7430189de28819e195e8966372edfc2d9409d79402a0dc16
          media_type: application/vnd.docker.distribution.manifest.list.v2+json
          size: 2561
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
  description:
    - The outcome of each blob that is missing on some target; with O(state=absent), of each blob of the bundle.
    - C(status) is V(changed), V(ok) if nothing had to be done, or V(failed).
  returned: state=saved, state=absent
  type: list
  elements: dict
  sample:
    - name: sha256:9c27e219663c25e0f28493790cc0b88bc973ba3b1686355f221c38a36978ac63
      status: changed
      reason: "uploaded: not in the store (17.1 kB)"
      size: 17098
      media_type: application/vnd.docker.image.rootfs.diff.tar.gzip
push:
  description: The parameters for O(state=authorized) and O(state=pushed); empty where nothing is pushed.
  returned: state=saved and transport=scp
  type: dict
  sample: {}
authorization:
  description:
    - The authorization of this target, for O(authorizations); null where no blob is missing, and in check mode.
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
  description:
    - Each target that authorized the push. C(status) is V(changed), V(ok) if nothing had to be done, or V(failed).
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
  description:
    - The outcome of each image. C(previous_image) is the image that had the name before.
    - C(status) is V(changed), V(ok) if nothing had to be done, or V(failed).
    - An image that fails does not stop the others.
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
  description: The steps of this call; in check mode, the steps that a run would take.
  returned: state=saved, state=loaded, state=absent
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
  description: Objects in the bucket whose content failed its digest twice. Nothing was loaded from them.
  returned: state=loaded
  type: list
  elements: dict
  sample: []
bytes_full:
  description: Bytes of all blobs of the images, which a full copy would transfer.
  returned: state=saved, state=loaded
  type: int
  sample: 25411724
bytes_missing:
  description: Bytes of the blobs that are missing on this target or on any of O(targets).
  returned: state=saved, state=loaded, and state=pushed outside check mode
  type: int
  sample: 2411724
bytes_transferred:
  description:
    - Bytes of blobs that were sent or received on the wire; with O(state=saved) in check mode, bytes to be sent.
    - With O(state=pushed), layers that were compressed in transit count with their compressed size.
  returned: state=saved, state=loaded, state=pushed
  type: int
  sample: 2411724
estimated:
  description:
    - Whether sizes are estimates. They are estimates only with O(source=docker), in check mode or with
      O(transport=scp), because the engine has not exported the layers yet.
    - O(state=pushed) returns the RV(bundle) with the exact sizes. For that state, the value is true where some sizes
      are still unknown, because not everything was pushed.
  returned: state=saved, and state=pushed outside check mode
  type: bool
  sample: false
rejected:
  description:
    - Hosts of O(targets) that cannot load the images, with the reason (too little disk space, an engine that cannot
      unpack them). Nothing is transferred for them.
  returned: state=saved
  type: dict
  sample: {}
uploads_aborted:
  description: Number of incomplete uploads of the same blobs that an interrupted run had left and that were aborted.
  returned: state=saved
  type: int
  sample: 0
revoked:
  description: Whether this target has revoked the O(push), so that O(state=revoked) is not needed.
  returned: state=loaded
  type: bool
  sample: true
archive_files:
  description: The files of a complete archive, with their bytes and sha256.
  returned: state=loaded and engine=archive, unless check mode predicts a change
  type: list
  elements: dict
  sample:
    - name: images.tar
      size: 25600000
      sha256: 5d0da3dc976460b72c77d94c8a1ad043720b0416bfc16c52c45d4847e53fadb6
engine:
  description: The engine and its version, or the path of the archive.
  returned: state=loaded
  type: str
  sample: docker 20.10.24
path:
  description: Where the blobs are.
  returned: state=saved, state=loaded, state=absent
  type: str
  sample: s3://my-images/
seconds:
  description: Duration of the call.
  returned: state=saved, state=loaded, state=pushed
  type: float
  sample: 3.2
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._image.ends.engine import DEFAULT_CONTAINERD_ADDRESS, DEFAULT_DOCKER_HOST, KUBERNETES_NAMESPACE
from ..module_utils._image.ends.engines import AUTO, ENGINES
from ..module_utils._image.errors import ImageError, format_disk_error
from ..module_utils._image.run_command import make_run_command

# States for playbooks, and those by which the role image_transfer pushes by SSH.
PLAYBOOK_STATES = ("saved", "loaded", "absent")
PROTOCOL_STATES = ("authorized", "pushed", "revoked")

# Options for the action plugin only. They are never sent to a host.
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
        "choices": [*PLAYBOOK_STATES, *PROTOCOL_STATES],
        "required": True,
    },
    "images": {
        "type": "list",
        "elements": "dict",
        "options": {"name": {"type": "str", "required": True}, "platform": {"type": "str"}, "tag_as": {"type": "str"}},
    },
    "source": {"type": "str", "choices": ["registry", *ENGINES, "archive"], "default": "registry"},
    "archive_path": {"type": "path"},
    "registry_username": {"type": "str"},
    "registry_password": {"type": "str", "no_log": True},
    "registry_config_path": {"type": "path"},
    "plain_http": {"type": "bool", "default": False},
    "bundle": {"type": "dict"},
    "ca_path": {"type": "path"},
    "bandwidth_limit": {"type": "int"},
    "engine": {"type": "str", "choices": [AUTO, *ENGINES, "archive"], "default": AUTO},
    "docker_host": {"type": "str", "default": DEFAULT_DOCKER_HOST},
    "containerd_address": {"type": "str", "default": DEFAULT_CONTAINERD_ADDRESS},
    "containerd_namespace": {"type": "str", "default": KUBERNETES_NAMESPACE},
    "containerd_pinned": {"type": "bool", "default": True},
    "target_archive_path": {"type": "path"},
    "target_archive_part_size": {"type": "int"},
    "target_archive_platform": {"type": "str"},
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
            "archive_fingerprint": {"type": "str"},
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
    ("source", "archive", ("archive_path",)),
    *(("state", state, ("bundle",)) for state in (*PLAYBOOK_STATES, *PROTOCOL_STATES) if state != "saved"),
]


def main() -> None:
    # Imported here: the controller also imports this file, for the options, and would compile code for hosts only.
    from ..module_utils._image.host import READ_ONLY_PHASES, apply_phase

    module = AnsibleModule(
        argument_spec=dict(CONTROLLER_OPTIONS, **HOST_OPTIONS),
        required_if=REQUIRED_IF,
        supports_check_mode=True,
    )
    if not module.params["work"]:
        module.fail_json(
            msg="work: the action plugin of this module sets it. Run the module as daytwo.aws.image_offline_transfer."
        )
    if module.check_mode and module.params["work"]["phase"] not in READ_ONLY_PHASES:
        module.fail_json(msg=f"work.phase: {module.params['work']['phase']} writes, which check mode does not allow.")

    try:
        result = apply_phase(module.params, make_run_command(module))
    except ImageError as error:
        module.fail_json(msg=str(error))
    except OSError as error:  # a full disk: even a lock file needs some bytes
        module.fail_json(msg=format_disk_error(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
