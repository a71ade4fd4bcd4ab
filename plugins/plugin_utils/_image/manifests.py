# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists the images that Kubernetes manifests use. Pure: text or objects in, references out.

A table names the fields of each kind. A kind that is not in it, but has something like an image, is refused and not
guessed (docs/facts/image_transfer.md#images-in-manifests).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ...module_utils._image.errors import ImageError
from ...module_utils._image.formats.reference import ImageReference

# A field by its path: C([]) stands for each entry of a list, C(*) for each value of a mapping. A mapping there is the
# spec of a pod, a text is an image.
Fields = tuple[str, ...]

_POD_TEMPLATE = ("spec.template.spec",)
_ARGO_TEMPLATES = (
    *("templates[].container.image", "templates[].script.image", "templates[].initContainers[].image"),
    *("templates[].sidecars[].image", "templates[].containerSet.containers[].image"),
)
_WORKFLOW = tuple(f"spec.{field}" for field in _ARGO_TEMPLATES)
_TEKTON_TASK = ("steps[].image", "sidecars[].image", "stepTemplate.image")
# The operator of Prometheus runs the pod of such an object with these fields of its spec.
_PROMETHEUS = ("spec.image", "spec.thanos.image", "spec")

FIELDS: Mapping[str, Fields] = {
    "v1/Pod": ("spec",),
    "v1/PodTemplate": ("template.spec",),
    "v1/ReplicationController": _POD_TEMPLATE,
    **{f"apps/{kind}": _POD_TEMPLATE for kind in ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")},
    "batch/Job": _POD_TEMPLATE,
    "batch/CronJob": ("spec.jobTemplate.spec.template.spec",),
    **{f"argoproj.io/{kind}": _WORKFLOW for kind in ("Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate")},
    "argoproj.io/CronWorkflow": tuple(f"spec.workflowSpec.{field}" for field in _ARGO_TEMPLATES),
    "argoproj.io/Rollout": _POD_TEMPLATE,
    "jobset.x-k8s.io/JobSet": ("spec.replicatedJobs[].template.spec.template.spec",),
    "keda.sh/ScaledJob": ("spec.jobTargetRef.template.spec",),
    **{f"monitoring.coreos.com/{kind}": _PROMETHEUS for kind in ("Alertmanager", "Prometheus", "PrometheusAgent")},
    "monitoring.coreos.com/ThanosRuler": _PROMETHEUS,
    "postgresql.cnpg.io/Cluster": ("spec.imageName",),
    "postgresql.cnpg.io/ClusterImageCatalog": ("spec.images[].image",),
    "postgresql.cnpg.io/ImageCatalog": ("spec.images[].image",),
    "ray.io/RayCluster": ("spec.headGroupSpec.template.spec", "spec.workerGroupSpecs[].template.spec"),
    "serving.knative.dev/Configuration": _POD_TEMPLATE,
    "serving.knative.dev/Revision": ("spec",),
    "serving.knative.dev/Service": _POD_TEMPLATE,
    **{f"tekton.dev/{kind}": tuple(f"spec.{field}" for field in _TEKTON_TASK) for kind in ("ClusterTask", "Task")},
}
# Groups of Kubernetes itself: their other kinds have no image.
_OWN_GROUPS = frozenset(
    (
        *("v1", "apps", "batch", "autoscaling", "policy", "admissionregistration.k8s.io", "apiextensions.k8s.io"),
        *("apiregistration.k8s.io", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io"),
        *("flowcontrol.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "rbac.authorization.k8s.io"),
        *("resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io"),
    )
)
# An operator finds the images of what it runs in variables of such names.
_RELATED_IMAGE = "RELATED_IMAGE_"
_IMAGE_KEYS = ("image", "imageName")
_MAX_DEPTH = 100


class ManifestError(ImageError):
    """A manifest that is not understood."""


@dataclass(frozen=True)
class FoundImage:
    reference: str
    # Where it was found first, for people.
    place: str


def list_images(
    manifests: Any, fields: Mapping[str, Sequence[str]] | None = None, ignore: Sequence[str] = ()
) -> list[FoundImage]:
    """Lists the images of manifests, each once, in the order in which they are found.

    C(manifests) is YAML or JSON text, an object, or a list of these. C(fields) are more kinds as in C(FIELDS), or other
    fields of a known kind. C(ignore) are kinds whose images are not wanted.
    """
    table = {**FIELDS, **{kind: tuple(paths) for kind, paths in (fields or {}).items()}}
    found: dict[str, FoundImage] = {}
    for document in _list_objects(manifests, "manifests"):
        kind = _get_kind(document)
        if kind in ignore:
            continue
        place = _describe(document, kind)
        images = list(_list_by_fields(document, table.get(kind, ()), place))
        if kind.partition("/")[0] not in _OWN_GROUPS:
            _check_fields(document, kind, {str(image.reference) for image in images})
        for image in images:
            found.setdefault(_parse(image).familiar_string, image)
    return list(found.values())


def _list_objects(value: Any, place: str) -> Iterator[Mapping[str, Any]]:
    """Yields each object, also those of lists in the text, and of objects of the kind List."""
    if isinstance(value, (str, bytes)):
        try:
            documents = list(yaml.safe_load_all(value))
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise ManifestError(
                f"{place}: this is no YAML: {' '.join(str(error).split())}. Render templates first, as with "
                "'helm template'."
            ) from error
        for number, document in enumerate(documents, 1):
            if isinstance(document, str):
                raise ManifestError(
                    f"{place}, document {number}: this is the text {document[:60]!r}, and no object of Kubernetes. "
                    "Give the content of a file, and not its name."
                )
            yield from _list_objects(document, f"{place}, document {number}")
    elif isinstance(value, Mapping):
        if str(value.get("kind") or "").endswith("List") and isinstance(value.get("items"), Sequence):
            # Items of a typed list may be without their kind.
            defaults = {"apiVersion": value.get("apiVersion"), "kind": str(value["kind"]).removesuffix("List")}
            for number, item in enumerate(value["items"], 1):
                whole = {**defaults, **item} if isinstance(item, Mapping) else item
                yield from _list_objects(whole, f"{place}, item {number}")
        else:
            yield value
    elif isinstance(value, Sequence):
        for number, item in enumerate(value, 1):
            yield from _list_objects(item, f"{place}, item {number}")
    elif value is not None:
        raise ManifestError(f"{place}: this is {type(value).__name__}, and no object of Kubernetes.")


def _get_kind(document: Mapping[str, Any]) -> str:
    """Gets the group and kind: C(apps/Deployment), C(v1/Pod)."""
    version, kind = document.get("apiVersion"), document.get("kind")
    if not isinstance(version, str) or not isinstance(kind, str) or not version or not kind:
        keys = ", ".join(sorted(map(str, document)))[:100]
        raise ManifestError(f"An object with the keys {keys} has no apiVersion or no kind, so it is no manifest.")
    group, slash, _version = version.partition("/")
    return f"{group}/{kind}" if slash else f"v1/{kind}"


def _describe(document: Mapping[str, Any], kind: str) -> str:
    metadata = document.get("metadata")
    values = metadata if isinstance(metadata, Mapping) else {}
    name = values.get("name") or values.get("generateName") or "without a name"
    namespace = values.get("namespace")
    return f"{kind} {namespace + '/' if isinstance(namespace, str) and namespace else ''}{name}"


def _list_by_fields(document: Mapping[str, Any], fields: Sequence[str], place: str) -> Iterator[FoundImage]:
    for field in fields:
        for path, value in _resolve(document, field.split("."), ""):
            if isinstance(value, str):
                yield FoundImage(value, f"{place}: {path}")
            elif isinstance(value, Mapping):
                yield from _list_of_pod(value, f"{place}: {path}")
            elif value is not None:
                raise ManifestError(
                    f"{place}: {path} is {type(value).__name__}, and neither an image nor the spec of a pod."
                )


def _resolve(value: Any, parts: Sequence[str], path: str) -> Iterator[tuple[str, Any]]:
    """Yields what is at the path. Absent fields yield nothing."""
    if not parts:
        yield path, value
        return
    part, rest = parts[0], parts[1:]
    if not isinstance(value, Mapping):
        return
    if part == "*":
        for key, entry in value.items():
            yield from _resolve(entry, rest, f"{path}.{key}".lstrip("."))
        return
    name = part.removesuffix("[]")
    entry, here = value.get(name), f"{path}.{name}".lstrip(".")
    if part == name:
        if entry is not None:
            yield from _resolve(entry, rest, here)
    elif isinstance(entry, Sequence) and not isinstance(entry, str):
        for number, item in enumerate(entry):
            yield from _resolve(item, rest, f"{here}[{number}]")


def _list_of_pod(spec: Mapping[str, Any], place: str) -> Iterator[FoundImage]:
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for number, container in enumerate(_get_mappings(spec, key)):
            here = f"{place}.{key}[{number}]"
            if container.get("image"):
                yield FoundImage(container["image"], f"{here}.image")
            for variable in _get_mappings(container, "env"):
                name, value = variable.get("name"), variable.get("value")
                if isinstance(name, str) and name.startswith(_RELATED_IMAGE) and value:
                    yield FoundImage(value, f"{here}.env {name}")
    for number, volume in enumerate(_get_mappings(spec, "volumes")):
        image = volume.get("image")
        if isinstance(image, Mapping) and image.get("reference"):
            yield FoundImage(image["reference"], f"{place}.volumes[{number}].image.reference")


def _get_mappings(value: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = value.get(key)
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return []
    return [entry for entry in entries if isinstance(entry, Mapping)]


def _check_fields(document: Mapping[str, Any], kind: str, references: Collection[str]) -> None:
    """Refuses an object with a field that may be an image, unless that image is known by another field."""
    for field, value in _list_candidates(document):
        if value not in references:
            raise ManifestError(
                f"{_describe(document, kind)} may have an image at {field}, but this field of the kind {kind} is not "
                f"known. Give all fields of the kind: fields={{'{kind}': ['{field}']}}. Or leave the kind out: "
                f"ignore=['{kind}']."
            )


def _list_candidates(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yields each field that may be an image by its name."""
    if depth > _MAX_DEPTH:
        raise ManifestError(f"{path[:100]}...: nested deeper than {_MAX_DEPTH}.")
    if isinstance(value, Mapping):
        for key, entry in value.items():
            here = f"{path}.{key}".lstrip(".")
            if key in _IMAGE_KEYS and isinstance(entry, str) and entry:
                yield here, entry
            yield from _list_candidates(entry, here, depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for entry in value:
            yield from _list_candidates(entry, f"{path}[]", depth + 1)


def _parse(image: FoundImage) -> ImageReference:
    if not isinstance(image.reference, str):
        raise ManifestError(f"{image.place} is {type(image.reference).__name__}, and no image.")
    try:
        return ImageReference.parse(image.reference)
    except ImageError as error:
        raise ManifestError(f"{image.place}: {error}") from error
