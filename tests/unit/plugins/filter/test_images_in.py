# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter images_in: which fields of which kinds are images, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.daytwo.aws.plugins.filter.images_in import FilterModule

images_in = FilterModule().filters()["images_in"]


def names(manifests: Any, **options: Any) -> list[str]:
    return [image["name"] for image in images_in(manifests, **options)]


def make(kind: str, **content: Any) -> dict[str, Any]:
    """An object of C(group/version/Kind), or of C(version/Kind)."""
    version, _slash, name = kind.rpartition("/")
    return {"apiVersion": version, "kind": name, "metadata": {"name": "x", "namespace": "shop"}, **content}


POD = {"containers": [{"name": "main", "image": "shop:1"}]}
TEMPLATE = {"spec": {"template": {"spec": POD}}}
ARGO = [{"name": "a", "container": {"image": "shop:1"}}]


@pytest.mark.parametrize(
    "manifest",
    [
        make("v1/Pod", spec=POD),
        make("v1/PodTemplate", template={"spec": POD}),
        make("v1/ReplicationController", **TEMPLATE),
        *(make(f"apps/v1/{kind}", **TEMPLATE) for kind in ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")),
        make("batch/v1/Job", **TEMPLATE),
        make("batch/v1/CronJob", spec={"jobTemplate": TEMPLATE}),
        make("argoproj.io/v1alpha1/Rollout", **TEMPLATE),
        make("argoproj.io/v1alpha1/Workflow", spec={"templates": ARGO}),
        make("argoproj.io/v1alpha1/CronWorkflow", spec={"workflowSpec": {"templates": ARGO}}),
        make("jobset.x-k8s.io/v1alpha2/JobSet", spec={"replicatedJobs": [{"template": TEMPLATE}]}),
        make("keda.sh/v1alpha1/ScaledJob", spec={"jobTargetRef": {"template": {"spec": POD}}}),
        make("monitoring.coreos.com/v1/Prometheus", spec={"image": "shop:1", "version": "v3"}),
        make("monitoring.coreos.com/v1/Alertmanager", spec=POD),
        make("monitoring.coreos.com/v1/Prometheus", spec={"thanos": {"image": "shop:1"}}),
        make("postgresql.cnpg.io/v1/Cluster", spec={"imageName": "shop:1"}),
        make("postgresql.cnpg.io/v1/ImageCatalog", spec={"images": [{"major": 17, "image": "shop:1"}]}),
        make("ray.io/v1/RayCluster", spec={"headGroupSpec": {"template": {"spec": POD}}}),
        make("ray.io/v1/RayCluster", spec={"workerGroupSpecs": [{"template": {"spec": POD}}]}),
        make("serving.knative.dev/v1/Service", **TEMPLATE),
        make("tekton.dev/v1/Task", spec={"steps": [{"image": "shop:1"}]}),
    ],
    ids=lambda manifest: f"{manifest['kind']}",
)
def test_kinds_whose_fields_are_known(manifest: dict[str, Any]) -> None:
    assert names(manifest) == ["shop:1"]
    assert names(json.dumps(manifest)) == ["shop:1"]
    assert names([manifest, json.dumps(manifest)]) == ["shop:1"]
    assert names({"apiVersion": "v1", "kind": "List", "items": [manifest]}) == ["shop:1"]
    group = manifest["apiVersion"].rpartition("/")[0] or "v1"
    assert names(manifest, ignore=[f"{group}/{manifest['kind']}"]) == []


def test_every_place_of_a_pod() -> None:
    spec = {
        "initContainers": [{"image": "init"}],
        "containers": [
            {"image": "main", "env": [{"name": "RELATED_IMAGE_AGENT", "value": "agent:2"}, {"name": "B", "value": "b"}]}
        ],
        "ephemeralContainers": [{"image": "debug"}],
        "volumes": [{"name": "v", "image": {"reference": "model@sha256:" + "a" * 64}}, {"name": "w", "emptyDir": {}}],
    }
    assert names(make("v1/Pod", spec=spec)) == ["init", "main", "agent:2", "debug", "model@sha256:" + "a" * 64]


def test_the_same_image_in_two_spellings_is_listed_once_in_the_order_of_the_manifests() -> None:
    text = "\n---\n".join(
        json.dumps(make("v1/Pod", spec={"containers": [{"image": image}]}))
        for image in ("nginx", "b.example/b:1", "docker.io/library/nginx:latest", "a.example/a:1")
    )
    assert names(f"# Source: shop/templates/pod.yaml\n{text}\n---\n") == ["nginx", "b.example/b:1", "a.example/a:1"]


def test_items_of_a_typed_list_may_be_without_a_kind() -> None:
    assert names({"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {}, "spec": POD}]}) == ["shop:1"]


@pytest.mark.parametrize("manifests", ["", "---\n", "# only a comment\n", [], None, {"kind": "List", "items": []}])
def test_nothing_has_no_images(manifests: Any) -> None:
    assert names(manifests) == []


@pytest.mark.parametrize(
    "manifest",
    [
        make("v1/ConfigMap", data={"image": "no:image", "containers": "x"}),
        make("rbac.authorization.k8s.io/v1/ClusterRole", rules=[{"resources": ["pods"]}]),
        make("apiextensions.k8s.io/v1/CustomResourceDefinition", spec={"versions": [{"image": {"type": "string"}}]}),
        make("example.com/v1/Shop", spec={"size": 3, "image": {"pullPolicy": "Always"}}),
        make("apps/v1/Deployment", spec={"template": {"spec": {"containers": None}}}),
    ],
    ids=lambda manifest: str(manifest["kind"]),
)
def test_objects_without_an_image(manifest: dict[str, Any]) -> None:
    assert names(manifest) == []


SHOP = make("example.com/v1/Shop", spec={"parts": [{"image": "part:1"}], "pods": {"a": POD, "b": {"containers": []}}})


def test_fields_of_further_kinds() -> None:
    fields = {"example.com/Shop": ["spec.parts[].image", "spec.pods.*", "spec.absent[].image"]}
    assert names(SHOP, fields=fields) == ["part:1", "shop:1"]
    assert names(SHOP, ignore=["example.com/Shop"]) == []


@pytest.mark.parametrize(
    ("manifests", "message"),
    [
        (SHOP, r"example.com/Shop shop/x may have an image at spec.parts\[\].image, .* ignore=\['example.com/Shop'\]"),
        # A known kind with a field that is not known.
        (
            make("postgresql.cnpg.io/v1/Cluster", spec={"imageName": "db:1", "backup": {"image": "backup:1"}}),
            r"postgresql.cnpg.io/Cluster shop/x may have an image at spec\.backup\.image, but",
        ),
        (make("example.com/v1/Shop", spec={"a": POD}), r"may have an image at spec\.a\.containers\[\]\.image, but"),
        ("a: {{ .Values.image }}", "manifests: this is no YAML: .* 'helm template'"),
        ("/etc/manifests/shop.yml", "document 1: this is the text '/etc/manifests/shop.yml', .* content of a file"),
        (7, "manifests: this is int, and no object of Kubernetes"),
        ([[3.5]], "manifests, item 1, item 1: this is float"),
        ({"a": 1, "b": 2}, "keys a, b has no apiVersion or no kind"),
        (
            make("v1/Pod", spec={"containers": [{"image": "Shop:{{ tag }}"}]}),
            r"v1/Pod shop/x: spec\.containers\[0\]\.image: The image reference .* is malformed",
        ),
        (
            make("v1/Pod", spec={"containers": [{"image": {"name": "a"}}]}),
            r"containers\[0\]\.image is dict, and no image",
        ),
        (make("v1/Pod", spec=[1]), "spec is list, and neither an image nor the spec of a pod"),
    ],
)
def test_what_is_not_understood_is_refused(manifests: Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        names(manifests)


def test_a_nesting_without_end_is_refused() -> None:
    deep: Any = {}
    for _level in range(200):
        deep = {"a": deep}
    with pytest.raises(AnsibleFilterError, match="nested deeper than"):
        names(make("example.com/v1/Shop", spec=deep))
    with pytest.raises(AnsibleFilterError, match="no YAML"):
        names("[" * 100_000)
