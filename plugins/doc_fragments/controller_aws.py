# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS connection options that only the controller uses: an action plugin takes them off before anything is sent."""

from __future__ import annotations


class ModuleDocFragment:
    """The names and aliases are those of amazon.aws, so that module_defaults of its group serve here too."""

    DOCUMENTATION = r"""
options:
  access_key:
    description:
      - AWS access key ID, used on the controller only.
      - Without it, the task's C(environment) and then the controller's own environment and AWS configuration files
        are asked, in boto3's usual order.
      - Excludes O(profile).
    type: str
    aliases: [aws_access_key_id, aws_access_key]
  secret_key:
    description: AWS secret access key that belongs to O(access_key), used on the controller only.
    type: str
    aliases: [aws_secret_access_key, aws_secret_key]
  session_token:
    description: Session token that belongs to temporary credentials, used on the controller only.
    type: str
    aliases: [aws_session_token]
  profile:
    description: A profile in the controller's AWS configuration files. Excludes O(access_key) and O(secret_key).
    type: str
    aliases: [aws_profile]
  region:
    description:
      - AWS region in which to ask for the bucket. The bucket's own region is found out and used.
    type: str
    aliases: [aws_region, ec2_region]
  endpoint_url:
    description:
      - URL of the S3 service instead of AWS's own. The hosts must reach the same URL.
    type: str
    aliases: [aws_endpoint_url]
  aws_ca_bundle:
    description: File of certificate authorities by which the controller validates the S3 service.
    type: path
  validate_certs:
    description:
      - Whether the controller validates the certificate of the S3 service. Hosts always do, see O(ca_path).
    type: bool
    default: true
  aws_config:
    description: Options of C(botocore.config.Config) for the controller's client.
    type: dict
  debug_botocore_endpoint_logs:
    description: Accepted so that C(module_defaults) of the group C(aws) serve. Has no effect here.
    type: bool
    default: false
"""
