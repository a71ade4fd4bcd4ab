# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options by which a module reaches a Kubernetes cluster; the argument spec is _kubernetes.OPTIONS."""

from __future__ import annotations


class ModuleDocFragment:
    """The cluster by name, or by a kubeconfig."""

    DOCUMENTATION = r"""
options:
  cluster:
    description:
      - Name of the EKS cluster, in the region of the connection. The module reaches it with its AWS credentials, and
        renews the token while it runs.
      - Costs one C(DescribeCluster). The credentials need an access entry in the cluster.
      - Mutually exclusive with O(kubeconfig) and O(context).
    type: str
  kubeconfig:
    description:
      - Path of a kubeconfig file, instead of O(cluster).
      - Without both, the module uses the environment variable E(KUBECONFIG), then C(~/.kube/config).
    type: path
  context:
    description: Context of the kubeconfig. Defaults to the current context of the file.
    type: str
"""
