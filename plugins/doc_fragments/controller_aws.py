# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS connection options that only the controller uses: an action plugin removes them before it runs a module."""

from __future__ import annotations


class ModuleDocFragment:
    """Names and aliases are those of amazon.aws, so module_defaults of its action group apply here too."""

    DOCUMENTATION = r"""
options:
  access_key:
    description:
      - AWS access key ID, used on the controller only.
      - Without it, credentials come from the task's C(environment), then from the controller's own environment and AWS
        configuration files, in boto3's usual order.
      - Mutually exclusive with O(profile).
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
    description:
      - Profile in the controller's AWS configuration files. Mutually exclusive with O(access_key) and O(secret_key).
    type: str
    aliases: [aws_profile]
  region:
    description:
      - AWS region of the first request for the bucket. The bucket's own region is looked up and used.
    type: str
    aliases: [aws_region, ec2_region]
  endpoint_url:
    description:
      - URL of the S3 service, instead of the AWS endpoint. The hosts must reach the same URL.
    type: str
    aliases: [aws_endpoint_url]
  aws_ca_bundle:
    description: File with the certificate authorities by which the controller validates the S3 service.
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
    description: Accepted so that C(module_defaults) of the action group C(aws) apply. Has no effect here.
    type: bool
    default: false
"""
