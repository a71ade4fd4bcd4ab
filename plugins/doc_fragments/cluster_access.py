# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module reaches a Kubernetes cluster; the spec is _kubernetes.OPTIONS."""

from __future__ import annotations


class ModuleDocFragment:
    """The cluster by its name, or by a kubeconfig."""

    DOCUMENTATION = r"""
options:
  cluster:
    description:
      - Name of the EKS cluster, in the region of the connection. It is reached with the same AWS credentials as AWS
        itself, and the token is renewed while the module runs.
      - Costs one C(DescribeCluster). The credentials need an access entry in the cluster.
      - Excludes O(kubeconfig) and O(context).
    type: str
  kubeconfig:
    description:
      - File that says how to reach the cluster, instead of O(cluster).
      - Without both, the environment variable E(KUBECONFIG) and then C(~/.kube/config) is used.
    type: path
  context:
    description: Context of the kubeconfig, instead of its current one.
    type: str
"""
