# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ECR's API: tokens that are checked, tags that are immutable, images with their own digests, templates and settings.

The registry protocol (ecr_registry.py) works on the same repositories.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from moto.core.responses import ActionResult
from moto.ecr.exceptions import ImageAlreadyExistsException, InvalidParameterException
from moto.ecr.models import ECRBackend, Image, Repository
from moto.ecr.responses import ECRResponse
from moto.iam.models import AWSManagedPolicy, IAMBackend

from . import ecr_access as access
from . import ecr_store as store
from .caller_identity import caller
from .clock import CLOCK
from .rules import rule

FACTS = "docs/facts/image_transfer.md#ecrs-registry"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MIN_PART, MAX_PART = 5 * 1024 * 1024, 20_971_520
SETTINGS = {"BLOB_MOUNTING": "DISABLED", "BASIC_SCAN_TYPE_VERSION": "AWS_NATIVE", "REGISTRY_POLICY_SCOPE": "V2"}
PULL = ("ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
READ = (
    *("ecr:BatchCheckLayerAvailability", "ecr:GetRepositoryPolicy", "ecr:DescribeRepositories", "ecr:ListImages"),
    *("ecr:DescribeImages", "ecr:GetLifecyclePolicy", "ecr:GetLifecyclePolicyPreview", "ecr:ListTagsForResource"),
    "ecr:DescribeImageScanFindings",
)
PUSH = ("ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage")
MANAGED = {
    "AmazonEC2ContainerRegistryPullOnly": (*PULL, "ecr:BatchImportUpstreamImage"),
    "AmazonEC2ContainerRegistryReadOnly": (*PULL, *READ),
    "AmazonEC2ContainerRegistryPowerUser": (*PULL, *READ, *PUSH),
}


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


# Tokens


@rule(
    ECRResponse,
    "get_authorization_token",
    fact=f"A token stands for its caller for 12 hours, and needs ecr:GetAuthorizationToken ({FACTS})",
)
def a_token_stands_for_its_caller(plain: Callable[..., Any], response: ECRResponse) -> ActionResult:
    account = response.current_account
    arn = caller(account, response.region, str(response.headers.get("Authorization", "")))
    bearer = access.Caller(arn, account)
    access.check(bearer, "ecr:GetAuthorizationToken", "*")
    data = []
    for registry in response._get_param("registryIds") or [account]:
        password, end = access.make_password(bearer)
        data.append(
            {
                "authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(),
                "expiresAt": end,
                "proxyEndpoint": f"https://{registry}.dkr.ecr.{response.region}.amazonaws.com",
            }
        )
    return ActionResult({"authorizationData": data})


@rule(
    IAMBackend,
    "_init_aws_policies",
    fact=f"The managed policies for pulls and pushes exist in every account ({FACTS})",
)
def managed_policies_for_ecr_exist(plain: Callable[..., Any], backend: IAMBackend) -> list[Any]:
    policies: list[Any] = plain(backend)
    known = {policy.name for policy in policies}
    moment = "2024-10-04T16:58:49+00:00"
    for name, actions in MANAGED.items():
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        data: dict[str, Any] = {"DefaultVersionId": "v1", "Path": "/", "CreateDate": moment, "UpdateDate": moment}
        data["Document"] = {"Version": "2012-10-17", "Statement": [statement]}
        if name not in known:
            policies.append(AWSManagedPolicy.from_data(name, backend.account_id, backend.region_name, data))
    return policies


# Images


def is_immutable(repository: Repository, tag: str) -> bool:
    """Whether the tag cannot be moved. The filters name the exceptions from the repository's setting."""
    filters = repository.image_tag_mutability_exclusion_filters or []
    excepted = any(re.fullmatch(".*".join(map(re.escape, str(entry["filter"]).split("*"))), tag) for entry in filters)
    return str(repository.image_tag_mutability).rpartition(".")[2].startswith("IMMUTABLE") != excepted


def find_image(repository: Repository, reference: str) -> Image | None:
    """Find an image by its digest or a tag."""
    for image in repository.images:
        if reference == image.get_image_digest() or reference in image.image_tags:
            return image
    return None


def blobs_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The blobs that a manifest needs. Layers with URLs are elsewhere."""
    for entry in (document.get("config"), *(document.get("layers") or [])):
        if isinstance(entry, dict) and not entry.get("urls"):
            yield entry


def manifest_of(image: Image) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(image.image_manifest)
    return document


def referenced_blobs(repository: Repository) -> set[str]:
    return {str(blob.get("digest")) for image in repository.images for blob in blobs_of(manifest_of(image))}


def parse_manifest(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InvalidParameterException(
            "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"
        )
    return document


def check_references(repository: Repository, document: dict[str, Any]) -> None:
    where = f"repository with name '{repository.name}' in the registry with id '{repository.registry_id}'"
    children = [str(entry.get("digest")) for entry in document.get("manifests") or []]
    absent = [digest for digest in children if not find_image(repository, digest)]
    if absent:
        raise access.refusal(
            "ReferencedImagesNotFoundException",
            f"Images with digests '[{', '.join(absent)}]' required for pushing image into {where} do not exist",
        )
    blobs = dict.fromkeys(str(blob.get("digest")) for blob in blobs_of(document))
    absent = [digest for digest in blobs if digest not in repository.layers]
    if absent:
        raise access.refusal(
            "LayersNotFoundException",
            f"Layers with digests '[{', '.join(absent)}]' required for pushing image into {where} do not exist",
        )


def size_of(repository: Repository, document: dict[str, Any], data: bytes) -> int:
    """The size that DescribeImages shows: that of an index is the largest of its images."""
    children = [find_image(repository, str(entry.get("digest"))) for entry in document.get("manifests") or []]
    if children:
        return max(int(child.size) for child in children if child)
    return len(data) + sum(int(repository.layers[str(blob["digest"])]) for blob in blobs_of(document))


@rule(
    ECRBackend,
    "put_image",
    fact="PutImage verifies the digest, needs every layer and every image of an index, and moves no immutable tag; "
    f"the image that loses a tag stays ({FACTS})",
)
def images_are_complete_and_tags_can_be_immutable(
    plain: Callable[..., Any],
    backend: ECRBackend,
    repository_name: str,
    image_manifest: str,
    image_tag: str | None,
    image_manifest_mediatype: str | None = None,
    digest: str | None = None,
) -> Image:
    with store.LOCK:
        repository = backend._get_repository(repository_name)
        document, data = parse_manifest(image_manifest), image_manifest.encode()
        media_type = image_manifest_mediatype or document.get("mediaType")
        if not media_type:
            raise InvalidParameterException("image manifest mediatype not provided in manifest or parameter")
        computed = digest_of(data)
        if digest and digest != computed:
            raise access.refusal(
                "ImageDigestDoesNotMatchException",
                f"The image digest '{digest}' does not match the digest '{computed}' that was calculated for the image",
            )
        image = find_image(repository, computed)
        holder = find_image(repository, image_tag) if image_tag else image
        if image and holder is image:
            raise ImageAlreadyExistsException(repository_name, repository.registry_id, computed, str(image_tag))
        if image_tag and holder and is_immutable(repository, image_tag):
            raise immutable(repository, image_tag)
        check_references(repository, document)
        if image is None:
            image = Image(
                *(backend.account_id, image_tag, image_manifest, repository_name, media_type, computed),
                registry_id=repository.registry_id,
            )
            image.image_pushed_at = int(CLOCK.now().timestamp())
            image.size = size_of(repository, document, data)
            image.image_status = "ACTIVE"
            config = document.get("config")
            artifact = document.get("artifactType") or (isinstance(config, dict) and config.get("mediaType"))
            if artifact:
                image.artifact_media_type = artifact
            subject = document.get("subject")
            if isinstance(subject, dict):
                image.subject_manifest_digest = str(subject.get("digest"))
            repository.images.append(image)
        if image_tag:
            if holder:
                holder.remove_tag(image_tag)
            image.update_tag(image_tag)
        return image


def immutable(repository: Repository, tag: str) -> Exception:
    return access.refusal(
        "ImageTagAlreadyExistsException",
        f"The image tag '{tag}' already exists in the '{repository.name}' repository and cannot be overwritten because "
        "the tag is immutable.",
    )


@rule(
    Image,
    "get_image_size_in_bytes",
    fact=f"The size of an image is that of its manifest and blobs ({FACTS})",
)
def the_size_has_the_layers(plain: Callable[..., Any], image: Image) -> int | None:
    size: int | None = getattr(image, "size", None)
    return plain(image) if size is None else size


@rule(
    ECRBackend,
    "batch_delete_image",
    fact=f"An image of an index cannot be deleted before the index; blobs without an image are deleted ({FACTS})",
)
def images_of_an_index_stay(
    plain: Callable[..., Any],
    backend: ECRBackend,
    repository_name: str,
    registry_id: str | None = None,
    image_ids: list[dict[str, str]] | None = None,
) -> dict[str, Any]:
    with store.LOCK:
        repository = backend._get_repository(repository_name, registry_id)
        before = referenced_blobs(repository)
        done: dict[str, Any] = {"imageIds": [], "failures": []}
        for entry in image_ids or []:
            image = find_image(repository, entry.get("imageDigest") or entry.get("imageTag") or "")
            ends = image and ("imageDigest" in entry or image.image_tags == [entry.get("imageTag")])
            indexes = _indexes_of(repository, image.get_image_digest()) if image and ends else []
            if image and indexes:
                done["failures"].append(
                    {
                        "imageId": {"imageDigest": image.get_image_digest()},
                        "failureCode": "ImageReferencedByManifestList",
                        "failureReason": f"Requested image referenced by manifest list: [{', '.join(indexes)}]",
                    }
                )
                continue
            answer = plain(backend, repository_name, registry_id, [entry])
            done["imageIds"] += answer["imageIds"]
            done["failures"] += answer["failures"]
        for digest in before - referenced_blobs(repository):
            store.drop_blob(repository, digest)
        return done


def _indexes_of(repository: Repository, digest: str) -> list[str]:
    return [
        image.get_image_digest()
        for image in repository.images
        if any(entry.get("digest") == digest for entry in manifest_of(image).get("manifests") or [])
    ]


# Layers by the API


@rule(
    ECRBackend,
    "upload_layer_part",
    fact=f"A part of a layer has at most 20,971,520 bytes ({FACTS})",
)
def parts_have_a_largest_size(
    plain: Callable[..., Any], backend: ECRBackend, repository_name: str, upload_id: str, *args: Any, **kwargs: Any
) -> Any:
    bound = inspect.signature(plain).bind(backend, repository_name, upload_id, *args, **kwargs).arguments
    if len(bound["layer_part_blob"]) > MAX_PART:
        raise InvalidParameterException(
            "Invalid parameter at 'layerPartBlob' failed to satisfy constraint: 'Member must have length less than or "
            f"equal to {MAX_PART}'"
        )
    answer = plain(backend, repository_name, upload_id, *args, **kwargs)
    upload = backend.repositories[repository_name].uploads[upload_id]
    upload.parts = [*getattr(upload, "parts", []), len(bound["layer_part_blob"])]
    return answer


@rule(
    ECRBackend,
    "complete_layer_upload",
    fact=f"Parts but the last have 5 MiB; the digest has to match; the layer is stored ({FACTS})",
)
def layers_are_verified_and_stored(
    plain: Callable[..., Any],
    backend: ECRBackend,
    repository_name: str,
    upload_id: str,
    layer_digests: list[str],
    registry_id: str | None = None,
) -> Any:
    with store.LOCK:
        repository = backend._get_repository(repository_name, registry_id)
        upload = repository.uploads.get(upload_id)
        if upload is None:
            return plain(backend, repository_name, upload_id, layer_digests, registry_id)  # moto refuses
        if any(size < MIN_PART for size in getattr(upload, "parts", [])[:-1]):
            raise access.refusal("LayerPartTooSmallException", "Layer parts must be at least 5 MiB in size.")
        data = bytes(upload.layer_parts)
        if layer_digests and digest_of(data) not in layer_digests:
            raise access.refusal(
                "InvalidLayerException", "None of the provided layer digests match the calculated layer digest"
            )
        with tempfile.NamedTemporaryFile(dir=store.root() / "uploads", delete=False) as file:
            file.write(data)
        store.add_blob(repository, digest_of(data), Path(file.name))
        return plain(backend, repository_name, upload_id, layer_digests, registry_id)


@rule(
    ECRResponse,
    "get_download_url_for_layer",
    fact=f"The URL of a layer is a presigned one of S3, for layers that an image references only ({FACTS})",
)
def layers_have_urls(plain: Callable[..., Any], response: ECRResponse) -> ActionResult:
    digest = str(response._get_param("layerDigest"))
    repository = response.ecr_backend._get_repository(
        response._get_param("repositoryName"), response._get_param("registryId")
    )
    if digest not in repository.layers:
        raise access.refusal(
            "LayersNotFoundException", f"The layer with digest '{digest}' does not exist in '{repository.name}'"
        )
    if digest not in referenced_blobs(repository):
        raise access.refusal(
            "LayerInaccessibleException", f"The layer with digest '{digest}' is not referenced by an image"
        )
    return ActionResult({"downloadUrl": store.presign(repository, digest), "layerDigest": digest})


# Creation templates and settings of the registry


def templates_of(backend: ECRBackend) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = vars(backend).setdefault("testbed_templates", {})
    return found


def settings_of(backend: ECRBackend) -> dict[str, str]:
    found: dict[str, str] = vars(backend).setdefault("testbed_settings", {})
    return found


def template_for(backend: ECRBackend, name: str) -> dict[str, Any] | None:
    """The template by which a push creates the repository: that of the longest prefix, or of ROOT."""
    fitting = [
        template
        for prefix, template in templates_of(backend).items()
        if "CREATE_ON_PUSH" in template["appliedFor"] and (prefix == "ROOT" or name.startswith(f"{prefix}/"))
    ]
    return max(fitting, key=lambda entry: -1 if entry["prefix"] == "ROOT" else len(entry["prefix"]), default=None)


def create_on_push(backend: ECRBackend, name: str, template: dict[str, Any]) -> Repository:
    repository = backend.create_repository(
        name,
        None,
        template.get("encryptionConfiguration") or {},
        None,
        template.get("imageTagMutability") or "MUTABLE",
        template.get("resourceTags") or [],
        template.get("imageTagMutabilityExclusionFilters"),
    )
    repository.policy = template.get("repositoryPolicy")
    repository.lifecycle_policy = template.get("lifecyclePolicy")
    store.save(backend, name)
    return repository


TEMPLATE_FACT = (
    f"A repository creation template applies to the repositories of its prefix, for CREATE_ON_PUSH as well ({FACTS})"
)


@rule(ECRResponse, "create_repository_creation_template", fact=TEMPLATE_FACT, new=True)
def templates_are_created(plain: None, response: ECRResponse) -> ActionResult:
    given = _given(response)
    given["prefix"] = str(given["prefix"]).rstrip("/")
    templates = templates_of(response.ecr_backend)
    if given["prefix"] in templates:
        raise access.refusal(
            "TemplateAlreadyExistsException",
            f"The repository creation template with prefix '{given['prefix']}' already exists in the registry with id "
            f"'{response.current_account}'",
        )
    now = CLOCK.now().timestamp()
    return _keep_template(response, {"imageTagMutability": "MUTABLE", **given, "createdAt": now, "updatedAt": now})


@rule(ECRResponse, "update_repository_creation_template", fact=TEMPLATE_FACT, new=True)
def templates_are_updated(plain: None, response: ECRResponse) -> ActionResult:
    current = _template(response)
    given = {name: value for name, value in _given(response).items() if name != "prefix"}
    return _keep_template(response, {**current, **given, "updatedAt": CLOCK.now().timestamp()})


@rule(ECRResponse, "describe_repository_creation_templates", fact=TEMPLATE_FACT, new=True)
def templates_are_described(plain: None, response: ECRResponse) -> ActionResult:
    prefixes = response._get_param("prefixes")
    found = [
        template
        for prefix, template in templates_of(response.ecr_backend).items()
        if not prefixes or prefix in prefixes
    ]
    return ActionResult({"registryId": response.current_account, "repositoryCreationTemplates": found})


@rule(ECRResponse, "delete_repository_creation_template", fact=TEMPLATE_FACT, new=True)
def templates_are_deleted(plain: None, response: ECRResponse) -> ActionResult:
    template = _template(response)
    del templates_of(response.ecr_backend)[template["prefix"]]
    _save_registry(response.ecr_backend)
    return ActionResult({"registryId": response.current_account, "repositoryCreationTemplate": template})


def _given(response: ECRResponse) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(response.body)
    return found


def _template(response: ECRResponse) -> dict[str, Any]:
    prefix = str(response._get_param("prefix")).rstrip("/")
    try:
        return templates_of(response.ecr_backend)[prefix]
    except KeyError:
        raise access.refusal(
            "TemplateNotFoundException",
            f"The repository creation template with prefix '{prefix}' does not exist in the registry with id "
            f"'{response.current_account}'",
        ) from None


def _keep_template(response: ECRResponse, template: dict[str, Any]) -> ActionResult:
    templates_of(response.ecr_backend)[template["prefix"]] = template
    _save_registry(response.ecr_backend)
    return ActionResult({"registryId": response.current_account, "repositoryCreationTemplate": template})


def _save_registry(backend: ECRBackend) -> None:
    store.save_registry(backend, templates_of(backend), settings_of(backend))


SETTING_FACT = f"An account setting allows the mounting of blobs; it is disabled by default ({FACTS})"


@rule(ECRResponse, "get_account_setting", fact=SETTING_FACT, new=True)
def settings_have_defaults(plain: None, response: ECRResponse) -> ActionResult:
    name = _setting_name(response)
    return ActionResult({"name": name, "value": settings_of(response.ecr_backend).get(name, SETTINGS[name])})


@rule(ECRResponse, "put_account_setting", fact=SETTING_FACT, new=True)
def settings_are_kept(plain: None, response: ECRResponse) -> ActionResult:
    name, value = _setting_name(response), str(response._get_param("value"))
    settings_of(response.ecr_backend)[name] = value
    _save_registry(response.ecr_backend)
    return ActionResult({"name": name, "value": value})


def _setting_name(response: ECRResponse) -> str:
    name = str(response._get_param("name"))
    if name not in SETTINGS:
        raise InvalidParameterException(f"Invalid parameter at 'name' failed to satisfy constraint: '{name}'")
    return name


# What a restart keeps

KEPT = f"A registry outlives every process: its repositories, images and blobs stay ({FACTS})"
CHANGES = (
    *("create_repository", "delete_repository", "put_image", "batch_delete_image", "complete_layer_upload"),
    *("put_image_tag_mutability", "put_image_scanning_configuration", "set_repository_policy"),
    *("delete_repository_policy", "put_lifecycle_policy", "delete_lifecycle_policy", "tag_resource", "untag_resource"),
)


def _save_after(plain: Callable[..., Any], backend: ECRBackend, *args: Any, **kwargs: Any) -> Any:
    with store.LOCK:
        given = inspect.signature(plain).bind(backend, *args, **kwargs).arguments
        name = given.get("repository_name") or str(given.get("arn")).partition("repository/")[2]
        before = backend.repositories.get(name)
        answer = plain(backend, *args, **kwargs)
        if before and name not in backend.repositories:
            store.remove_blobs(before)
        store.save(backend, name)
        return answer


for _method in CHANGES:
    rule(ECRBackend, _method, fact=KEPT)(_save_after)


@rule(ECRBackend, "__init__", fact=KEPT)
def a_registry_is_read_at_the_start(plain: Callable[..., Any], backend: ECRBackend, *args: Any, **kwargs: Any) -> None:
    plain(backend, *args, **kwargs)
    templates, settings = store.load_registry(backend)
    templates_of(backend).update(templates)
    settings_of(backend).update(settings)
    store.restore(backend)


@rule(ECRBackend, "reset", fact="An emptied account has no registry (the test bed's own reset)")
def an_emptied_account_has_no_registry(plain: Callable[..., Any], backend: ECRBackend) -> None:
    with store.LOCK:
        store.clear(backend)
        plain(backend)
