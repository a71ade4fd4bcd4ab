# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: images_in
short_description: List the images that Kubernetes manifests use
version_added: 0.1.0
description:
  - List the images of pods, of workloads (Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob and others), and
    of custom resources whose fields are known. Each image is listed once, in the order of the manifests.
  - Init containers, ephemeral containers and image volumes count, and the environment variables C(RELATED_IMAGE_...) in
    which operators find the images of what they run.
  - Known custom resources are those of Argo Rollouts and Workflows, CloudNativePG, JobSet, KEDA, Knative Serving, the
    Prometheus operator, Ray, and Tekton.
  - An object of an unknown kind with a field that may be an image is refused. Name its fields in O(fields), or the kind
    in O(ignore).
  - Images that a controller, an operator or an admission webhook adds in the cluster are in no manifest.
author:
  - The daytwo.aws authors (@daytwo-aws)
positional: _input
options:
  _input:
    description:
      - Text of one or more YAML or JSON documents, as of C(helm template), an object, or a list of these.
    type: raw
    required: true
  fields:
    description:
      - Fields of further kinds, by C(group/Kind). The core group is C(v1).
      - A field is a path such as C(spec.template.spec). C([]) stands for each entry of a list, C(*) for each value of a
        mapping. A text there is an image. A mapping there is the spec of a pod.
    type: dict
    default: {}
  ignore:
    description: Kinds to leave out, as C(group/Kind).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Bring the images of a chart to the nodes
  ansible.builtin.include_role:
    name: daytwo.aws.image_transfer
  vars:
    chart: "{{ lookup('ansible.builtin.pipe', 'helm template shop ./charts/shop') }}"
    image_transfer_images: "{{ chart | daytwo.aws.images_in }}"

- name: Show the names of the images of a file with a resource of another kind
  ansible.builtin.debug:
    msg: "{{ manifests | daytwo.aws.images_in(fields={'example.com/Shop': ['spec.image']}) | map(attribute='name') }}"
  vars:
    manifests: "{{ lookup('ansible.builtin.file', 'shop.yml') }}"
"""

RETURN = r"""
_value:
  description: Images for C(image_transfer_images) of the role P(daytwo.aws.image_transfer#role).
  type: list
  elements: dict
  contains:
    name:
      description: Reference as the manifest writes it.
      type: str
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._image.errors import ImageError
from ..plugin_utils._image.manifests import list_images


def list_manifest_images(
    manifests: Any, fields: Mapping[str, Sequence[str]] | None = None, ignore: Sequence[str] = ()
) -> list[dict[str, str]]:
    try:
        return [{"name": image.reference} for image in list_images(manifests, fields, ignore)]
    except ImageError as error:
        raise AnsibleFilterError(f"images_in: {error}") from error


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"images_in": list_manifest_images}
