# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ECR's files: blobs in the bed's S3, and a description of each repository, so that a restart of AWS loses nothing.

Outside of the bed (a test's own AWS), both are in a temporary directory, and nothing is kept.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
import threading
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.ecr.models import ECRBackend, Image, Repository

from .. import gate, paths
from .caller_identity import own_key

LOCK = threading.RLock()  # around every change of a repository and its files
URL_SECONDS = 3600
IN_BED = paths.MARKER in os.environ
# Attributes of moto's objects that a restart keeps, besides those of their constructors.
REPOSITORY = ("policy", "lifecycle_policy", "layers", "image_scanning_configuration")
IMAGE = (
    *("image_tag", "image_tags", "image_pushed_at", "size", "image_status", "artifact_media_type"),
    *("subject_manifest_digest", "last_recorded_pull_time"),
)


@functools.cache
def root() -> Path:
    made = paths.STATE / "ecr" if IN_BED else Path(_temporary().name)
    shutil.rmtree(made / "uploads", ignore_errors=True)  # sessions of a process that has ended
    (made / "uploads").mkdir(parents=True)
    return made


@functools.cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="testbed-ecr-")


# Blobs


def prefix_of(repository: Repository) -> str:
    return f"{repository.registry_id}-{uuid.uuid5(uuid.NAMESPACE_URL, repository.arn)}"


def blob_directory(repository: Repository) -> Path:
    region = str(repository.region_name)
    data = gate.DATA if IN_BED else root() / "s3"
    return data / region / gate.layer_bucket(region) / prefix_of(repository)


def blob_path(repository: Repository, digest: str) -> Path:
    return blob_directory(repository) / digest.partition(":")[2]


def add_blob(repository: Repository, digest: str, file: Path) -> None:
    """Move a complete file into the bucket. An object of S3 is never seen in part."""
    target = blob_path(repository, digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    size = file.stat().st_size
    file.rename(target)
    repository.layers[digest] = size


def link_blob(source: Repository, target: Repository, digest: str) -> None:
    path = blob_path(target, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.hardlink_to(blob_path(source, digest))
    target.layers[digest] = source.layers[digest]


def drop_blob(repository: Repository, digest: str) -> None:
    repository.layers.pop(digest, None)
    blob_path(repository, digest).unlink(missing_ok=True)


def remove_blobs(repository: Repository) -> None:
    shutil.rmtree(blob_directory(repository), ignore_errors=True)


def presign(repository: Repository, digest: str) -> str:
    """Return a URL of the blob in the bed's S3, as ECR's redirects have it."""
    region = repository.region_name
    name = f"{gate.layer_bucket(region)}.s3.{region}.amazonaws.com"
    request = AWSRequest("GET", f"https://{name}/{prefix_of(repository)}/{digest.partition(':')[2]}")
    access, secret = own_key()
    S3SigV4QueryAuth(Credentials(access, secret), "s3", region, expires=URL_SECONDS).add_auth(request)
    return str(request.url)


# Repositories


def _directory(backend: ECRBackend) -> Path:
    return root() / "registries" / str(backend.account_id) / str(backend.region_name)


def _write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(document))
    new.rename(path)


def save(backend: ECRBackend, name: str) -> None:
    """Write the repository's description, or remove that of a deleted repository."""
    path = _directory(backend) / f"{quote(name, safe='')}.json"
    repository = backend.repositories.get(name)
    if repository is None:
        path.unlink(missing_ok=True)
        return
    if not IN_BED:
        return
    document = {
        "made": {
            "registry_id": repository.registry_id,
            "encryption_config": repository.encryption_configuration,
            "image_scan_config": repository.image_scanning_configuration,
            "image_tag_mutability": repository.image_tag_mutability,
            "image_tag_mutability_exclusion_filters": repository.image_tag_mutability_exclusion_filters,
        },
        "created_at": repository.created_at.isoformat(),
        "tags": backend.tagger.list_tags_for_resource(repository.arn)["tags"],
        "kept": {key: getattr(repository, key) for key in REPOSITORY},
        "images": [
            {
                "made": [image.image_tag, image.image_manifest, name, image.image_manifest_media_type],
                "digest": image.get_image_digest(),
                "kept": {key: getattr(image, key) for key in IMAGE if hasattr(image, key)},
            }
            for image in repository.images
        ],
    }
    _write(path, document)


def save_registry(backend: ECRBackend, templates: Any, settings: Any) -> None:
    if IN_BED:
        _write(_directory(backend) / "registry" / "settings.json", {"templates": templates, "settings": settings})


def load_registry(backend: ECRBackend) -> tuple[dict[str, Any], dict[str, str]]:
    path = _directory(backend) / "registry" / "settings.json"
    found = json.loads(path.read_text()) if IN_BED and path.exists() else {"templates": {}, "settings": {}}
    return found["templates"], found["settings"]


def restore(backend: ECRBackend) -> None:
    """Read the repositories that a process which has ended wrote."""
    for path in sorted(_directory(backend).glob("*.json")) if IN_BED else ():
        name, document = unquote(path.stem), json.loads(path.read_text())
        repository = Repository(backend.account_id, backend.region_name, name, **document["made"])
        repository.created_at = datetime.fromisoformat(document["created_at"])
        vars(repository).update(document["kept"])
        for entry in document["images"]:
            image = Image(backend.account_id, *entry["made"], entry["digest"], repository.registry_id)
            vars(image).update(entry["kept"])
            repository.images.append(image)
        backend.repositories[name] = repository
        backend.tagger.tag_resource(repository.arn, document["tags"])


def clear(backend: ECRBackend) -> None:
    """Delete what the registry holds, with an account that is emptied."""
    for repository in backend.repositories.values():
        remove_blobs(repository)
    shutil.rmtree(_directory(backend), ignore_errors=True)
