#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_copy
short_description: Copy container images and other artifacts between registries, with unchanged digests
version_added: 0.1.0
description:
  - Copies images, multi-platform indexes, Helm charts and other OCI artifacts from one registry to another. It runs on
    one host that reaches both, without a container engine.
  - Only blobs that the destination does not have are transferred. They stream from the source to the destination, are
    verified on the way, and use no disk. A blob of another repository of the destination's registry is mounted.
  - What belongs to an image is copied as well. These are the attestations in an index, everything that refers to a
    manifest (signatures and SBOMs of the referrers API or its fallback tag), and the tags of cosign.
  - Manifests are copied byte for byte, so all digests stay. The tag of an image is written last.
author:
  - The daytwo.aws authors (@daytwo-aws)
attributes:
  check_mode:
    support: full
    description:
      - Sends GET and HEAD requests only, and returns the same RV(steps) as a run.
      - A refusal by the destination shows in a run only. With O(ecr), immutable tags and missing repositories show
        before.
  diff_mode:
    support: full
    description: Shows the digest of each tag before and after, and the referrers that are added.
  idempotent:
    support: full
    description: A tag that has the same digest already, immutable or not, is not written again.
  platform:
    platforms: linux
    support: full
    description: Runs on a Linux host that reaches both registries, such as the controller or a bastion.
requirements:
  - Python 3.9 or newer; no other package
  - boto3, only for O(ecr)
options:
  images:
    description:
      - The images to copy.
      - A failure of one image leaves the others copied, and the module fails at the end.
      - Entries for the same copy are done once. Different images with the same destination are refused.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Reference of the image in the source, C([HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST]).
          - Where the reference has both a tag and a digest, they must agree.
        type: str
        required: true
      to:
        description:
          - Repository of the image in the destination, with an optional tag, C(HOST[:PORT]/PATH[:TAG]).
          - The default tag is that of O(images[].name). Where neither has a tag, the image is copied under its digest.
          - A tag that names another digest is moved, unless the registry refuses it.
        type: str
        required: true
  platforms:
    description:
      - Platforms to copy of multi-platform images, C(OS/ARCHITECTURE[/VARIANT]), or V(all).
      - With one platform, the tag names the image of that platform. With several, the tag names a smaller index with
        their images and attestations. In both cases, the digest differs from that of the source. The result has both.
      - Signatures of the index that was left behind are not copied. Those of the images are.
      - An index without any other platform is copied unchanged, and so is an artifact that is no image.
    type: list
    elements: str
    default: [all]
  referrers:
    description:
      - Whether to copy what refers to an image, and the tags of cosign (C(sha256-HEX.sig), C(.att) and C(.sbom)).
      - Without it, a run for an image that the destination has takes two requests.
    type: bool
    default: true
  source_username:
    description:
      - User name for the source. Without this option, the login comes from O(source_config_path).
    type: str
  source_password:
    description: Password that belongs to O(source_username).
    type: str
  source_config_path:
    description:
      - Docker's configuration file with the logins for the source. The credential helpers in the file are run.
      - The default is C(~/.docker/config.json) where it exists.
    type: path
  source_plain_http:
    description: Connect to the source without TLS. Without this option, the module never does so.
    type: bool
    default: false
  destination_username:
    description:
      - User name for the destination. Without this option, the login comes from O(destination_config_path).
      - For ECR, the user name is V(AWS), and the password is an authorization token.
    type: str
  destination_password:
    description: Password that belongs to O(destination_username).
    type: str
  destination_config_path:
    description:
      - Docker's configuration file with the logins for the destination. The credential helpers in the file are run.
      - The default is C(~/.docker/config.json) where it exists.
    type: path
  destination_plain_http:
    description: Connect to the destination without TLS. Without this option, the module never does so.
    type: bool
    default: false
  ecr:
    description:
      - Use the AWS API for destinations in Amazon ECR. Without this option, no AWS API is called.
      - The login is a token of ECR, unless O(destination_username) or O(destination_config_path) is set.
      - The move of an immutable tag is refused before the first upload, also in check mode.
      - A missing repository is refused as well, unless O(ecr.create_repository) is set, or a repository creation
        template of the account with C(CREATE_ON_PUSH) creates it at the first push.
      - The region and the account are those of the registry's host.
    type: dict
    suboptions:
      create_repository:
        description:
          - Create repositories that are missing. Those that exist are left as they are.
          - The other settings of O(ecr) apply, and not those of a repository creation template.
        type: bool
        default: false
      tag_mutability:
        description: Whether tags of a repository that is created can be moved. The default is that of ECR.
        type: str
        choices: [MUTABLE, IMMUTABLE, IMMUTABLE_WITH_EXCLUSION, MUTABLE_WITH_EXCLUSION]
      exclusion_filters:
        description: Up to five tags that are excluded from O(ecr.tag_mutability), where V(*) stands for any characters.
        type: list
        elements: str
      scan_on_push:
        description: Whether ECR scans images that are pushed to a repository that is created.
        type: bool
      encryption_type:
        description: Encryption of a repository that is created. The default is that of ECR.
        type: str
        choices: [AES256, KMS, KMS_DSSE]
      kms_key:
        description: ARN, ID or alias of the KMS key. The default is the key of AWS for ECR.
        type: str
      profile:
        description: Profile in the AWS configuration files of the host. The default is the usual order of boto3.
        type: str
      endpoint_url:
        description: URL of the ECR API, such as that of a VPC endpoint without private DNS.
        type: str
  ca_path:
    description:
      - File or directory of certificate authorities (PEM) on the host, trusted in addition to the system's.
    type: path
  bandwidth_limit:
    description:
      - Maximum bytes per second that are transferred from the source to the destination, all uploads together. Without
        this option, there is no limit.
    type: int
  parallel:
    description: Number of blobs that are transferred at the same time, from 1 to 32.
    type: int
    default: 4
  timeout:
    description: Seconds without progress after which a connection is dropped and the request is repeated.
    type: int
    default: 60
notes:
  - The IAM permissions for ECR are listed in docs/iam/image_copy.json.
  - Layers with C(urls) that must not be distributed (foreign layers) are not copied, and RV(results) counts them. The
    destination has to accept manifests with such layers.
seealso:
  - module: daytwo.aws.image_offline_transfer
"""

EXAMPLES = r"""
- name: Mirror an image with all platforms, attestations and signatures to ECR
  daytwo.aws.image_copy:
    images:
      - name: registry.example/team/app:v1
        to: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app
    destination_username: AWS
    destination_password: "{{ ecr_token }}"
  delegate_to: localhost

- name: Mirror to ECR with the AWS credentials of the host, into repositories that are created with immutable tags
  daytwo.aws.image_copy:
    images:
      - name: registry.example/team/app:v1
        to: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app
    ecr:
      create_repository: true
      tag_mutability: IMMUTABLE_WITH_EXCLUSION
      exclusion_filters: [latest, "dev-*"]
      scan_on_push: true
      encryption_type: KMS
      kms_key: alias/images

- name: Mirror one platform of several images, with the logins and credential helpers of docker
  daytwo.aws.image_copy:
    images:
      - name: registry.example/team/app:v1
        to: mirror.example:5000/app:v1
      - name: registry.example/charts/app:1.2.3
        to: mirror.example:5000/charts/app
    platforms:
      - linux/arm64
    source_config_path: /etc/mirror/config.json
    destination_config_path: /etc/mirror/config.json
"""

RETURN = r"""
results:
  description: The result of each image, in the order of O(images).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Reference of the image in the source.
      type: str
      sample: registry.example/team/app:v1
    to:
      description: Reference of the image in the destination.
      type: str
      sample: mirror.example:5000/app:v1
    status:
      description: V(ok), V(changed) or V(failed).
      type: str
      sample: changed
    reason:
      description: Reason for the status, as a sentence.
      type: str
      sample: mirror.example:5000/app:v1 was missing.
    source_digest:
      description: Digest of the image in the source.
      type: str
      sample: sha256:5d0da3dc976460b72c77d94c8a1ad043720b0416bfc16c52c45d4847e53fadb6
    digest:
      description: Digest of the image in the destination. It differs from the other if O(platforms) left some out.
      type: str
      sample: sha256:5d0da3dc976460b72c77d94c8a1ad043720b0416bfc16c52c45d4847e53fadb6
    blobs_missing:
      description: Number of blobs that the destination did not have.
      type: int
      sample: 5
    bytes_missing:
      description: Bytes of these blobs.
      type: int
      sample: 31457280
    blobs_transferred:
      description: Number of blobs that were uploaded. In check mode, those that a run uploads or mounts.
      type: int
      sample: 4
    bytes_transferred:
      description: Bytes of the uploaded blobs.
      type: int
      sample: 30408704
    blobs_mounted:
      description: Number of blobs that the destination mounted from another repository.
      type: int
      sample: 1
    blobs_nondistributable:
      description: Number of layers that are not copied because they must not be distributed.
      type: int
      sample: 0
    referrers:
      description: Digests of the referrers, and tags of cosign, that were copied.
      type: list
      elements: str
      sample: [sha256:e07ee1baac5fae6a26f30cabfe54a36d3402f96afda318fe0a96cec4ca393359]
    referrers_failed:
      description: Referrers and tags of cosign that could not be copied, each with C(name) and C(reason).
      type: list
      elements: dict
      sample: []
steps:
  description:
    - The writes, in their order for each image. Each has action, target, reason, before and after.
    - The actions are C(create_repository), C(copy_blob), C(push_manifest), C(update_referrers_tag) and C(push_tag).
  returned: always
  type: list
  elements: dict
  sample:
    - action: push_tag
      target: mirror.example:5000/app:v1
      reason: The destination does not have this tag.
      before:
      after: sha256:5d0da3dc976460b72c77d94c8a1ad043720b0416bfc16c52c45d4847e53fadb6
bytes_transferred:
  description: Bytes of all uploaded blobs.
  returned: always
  type: int
  sample: 30408704
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._image.copy.run import copy_images
from ..module_utils._image.errors import ImageError
from ..module_utils._image.run_command import make_run_command

OPTIONS = {
    "images": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"name": {"type": "str", "required": True}, "to": {"type": "str", "required": True}},
    },
    "platforms": {"type": "list", "elements": "str", "default": ["all"]},
    "referrers": {"type": "bool", "default": True},
    "source_username": {"type": "str"},
    "source_password": {"type": "str", "no_log": True},
    "source_config_path": {"type": "path"},
    "source_plain_http": {"type": "bool", "default": False},
    "destination_username": {"type": "str"},
    "destination_password": {"type": "str", "no_log": True},
    "destination_config_path": {"type": "path"},
    "destination_plain_http": {"type": "bool", "default": False},
    "ecr": {
        "type": "dict",
        "options": {
            "create_repository": {"type": "bool", "default": False},
            "tag_mutability": {
                "type": "str",
                "choices": ["MUTABLE", "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"],
            },
            "exclusion_filters": {"type": "list", "elements": "str"},
            "scan_on_push": {"type": "bool"},
            "encryption_type": {"type": "str", "choices": ["AES256", "KMS", "KMS_DSSE"]},
            "kms_key": {"type": "str", "no_log": False},
            "profile": {"type": "str"},
            "endpoint_url": {"type": "str"},
        },
    },
    "ca_path": {"type": "path"},
    "bandwidth_limit": {"type": "int"},
    "parallel": {"type": "int", "default": 4},
    "timeout": {"type": "int", "default": 60},
}
REQUIRED_TOGETHER = [
    ("source_username", "source_password"),
    ("destination_username", "destination_password"),
]


def main() -> None:
    module = AnsibleModule(argument_spec=OPTIONS, required_together=REQUIRED_TOGETHER, supports_check_mode=True)

    try:
        result = copy_images(module.params, module.check_mode, module._diff, make_run_command(module))
    except ImageError as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
