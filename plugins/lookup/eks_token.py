# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: eks_token
short_description: Get endpoint, token and certificate authority of EKS clusters, from AWS credentials alone
version_added: 0.1.0
author:
  - The daytwo.aws authors (@daytwo-aws)
description:
  - Returns the values of the options C(host), C(api_key) and C(ca_cert) of modules in C(kubernetes.core). Needs neither
    the AWS CLI nor a kubeconfig file.
  - Each term costs one C(DescribeCluster). The token is a presigned C(sts:GetCallerIdentity), which the cluster sends
    to STS to authenticate it. Creating the token makes no call.
  - The request is always signed for the public endpoint of STS in the cluster's own region, whatever endpoint URLs are
    configured, because clusters accept no other endpoint.
  - A token is valid for 15 minutes, or until the credentials that signed it expire, if that is sooner. Evaluate the
    lookup once per block, in a task with C(no_log), and again for later work. Modules of this collection with the
    option C(cluster) renew the token themselves.
  - The identity of the credentials needs an access entry (or a line in C(aws-auth)) in the cluster.
options:
  _terms:
    description: Names of EKS clusters, all in the region of the connection.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - amazon.aws.assume_role.plugins
  - amazon.aws.common.plugins
  - amazon.aws.region.plugins
  - amazon.aws.boto3
notes:
  - C(api_key) is a secret. Tasks show their arguments unless they have C(no_log).
  - On ansible-core 2.21 and later, modules of C(kubernetes.core) (6.6.0 at least) return their arguments, including the
    token, unmasked. The token shows in registered results and with C(-vvv). Set the variable
    C(ansible_inject_invocation) to V(true), as in the example, to have it masked.
  - The certificate authority is a file in Ansible's temporary directory on the controller, which Ansible removes when
    it ends. Modules that use the file have to run on the controller.
seealso:
  - module: kubernetes.core.k8s
"""

EXAMPLES = r"""
- name: List the namespaces of a cluster
  hosts: localhost
  gather_facts: false
  vars:
    ansible_inject_invocation: true # see the notes
  tasks:
    - name: Get a token
      ansible.builtin.set_fact:
        blue: "{{ lookup('daytwo.aws.eks_token', 'blue', region='eu-central-1') }}"
      no_log: true

    - name: List namespaces
      kubernetes.core.k8s_info:
        kind: Namespace
      module_defaults:
        group/kubernetes.core.k8s:
          host: "{{ blue.host }}"
          api_key: "{{ blue.api_key }}"
          ca_cert: "{{ blue.ca_cert }}"
"""

RETURN = r"""
_raw:
  description: One entry per cluster.
  type: list
  elements: dict
  contains:
    host:
      description: URL of the cluster's API.
      type: str
      sample: https://0123456789ABCDEF.gr7.eu-central-1.eks.amazonaws.com
    api_key:
      description: The bearer token, a secret.
      type: str
      sample: k8s-aws-v1.aHR0cHM6Ly9...
    ca_cert:
      description: Path of the file with the cluster's certificate authority.
      type: path
      sample: /root/.ansible/tmp/ansible-local-1/eks-ca-0123456789abcdef.pem
"""

from typing import Any, Optional

from ansible import constants as C  # noqa: N812 (the name that Ansible's own code has for it)
from ansible.errors import AnsibleLookupError
from ansible_collections.amazon.aws.plugins.plugin_utils.lookup import AWSLookupBase

from ..module_utils import _eks_token
from ..module_utils._aws_call import ApiError, call_api
from ..module_utils._eks_token import ClusterError
from ..module_utils._kubernetes import make_token_cache, write_ca_file


class LookupModule(AWSLookupBase):  # type: ignore[misc]
    def run(self, terms: list[str], variables: Optional[dict[str, Any]] = None, **kwargs: Any) -> list[dict[str, str]]:
        super().run(terms, variables, **kwargs)
        role_credentials = self._get_role_credentials()

        def make_client(service: str, **more: Any) -> Any:
            return self.client(service, **role_credentials, **more)

        results = []
        for term in terms:
            try:
                cluster = _eks_token.describe_cluster(make_client("eks"), term)
                token = make_token_cache(cluster, make_client).get_token()
            except ClusterError as error:
                raise AnsibleLookupError(str(error)) from None
            results.append(
                {
                    "host": cluster.host,
                    "api_key": token.value,
                    "ca_cert": write_ca_file(cluster.ca_pem, C.DEFAULT_LOCAL_TMP),
                }
            )
        return results

    def _get_role_credentials(self) -> dict[str, Any]:
        """The temporary keys of the role in C(assume_role_arn), if it is set, as arguments of a client."""
        role = self.get_option("assume_role_arn")
        if not role:
            return {}
        try:
            sts = self.client("sts")
            keys = call_api(sts, "AssumeRole", RoleArn=role, RoleSessionName="daytwo-eks-token")["Credentials"]
            return {
                "profile_name": None,
                "aws_access_key_id": keys["AccessKeyId"],
                "aws_secret_access_key": keys["SecretAccessKey"],
                "aws_session_token": keys["SessionToken"],
            }
        except ApiError as error:
            raise AnsibleLookupError(f"{error} (role {role}). {error.suggestion}") from error
