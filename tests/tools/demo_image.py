# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration's own image, whose layers no test uses, and what an earlier demonstration may have left."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import boto3
from testbed import Bed
from testbed.images import RECIPES, Image, LayerRecipe, Recipe

PRIVATE = ("private-a", "private-b")
BUCKET, PREFIX = "daytwo-images", "demo"
VARIABLES = os.path.relpath(Path(__file__).with_name("demo.vars.yml"))
LOGIN = "/root/daytwo-demo"  # docker's configuration folder on public; demo.vars.yml names the file in it


def _recipe(tag: str) -> Recipe:
    shared = (
        LayerRecipe("shop-base", text_mib=2, random_mib=1, busybox=True),
        LayerRecipe("shop-runtime", text_mib=22, random_mib=8),
        LayerRecipe("shop-libraries", text_mib=10, random_mib=10),
    )
    return Recipe("shop", tag, (*shared, LayerRecipe(f"shop-{tag}", text_mib=2, random_mib=4, output=f"shop {tag}")))


RECIPES["shop"] = (_recipe("v1"), _recipe("v2"))


def into_registry(bed: Bed) -> tuple[Image, Image]:
    """Both versions of the image, which are in the registry afterwards and nowhere else."""
    v1, v2 = bed.images.ensure("shop")
    return v1, v2


def size(image: Image) -> int:
    """The bytes of a full copy."""
    return sum(layer.size for layer in image.layers) + len(image.config) + len(image.manifest)


def new_bytes(image: Image, there: Image) -> int:
    """The bytes of a copy to a host that has the other image."""
    shared = sum(layer.size for layer in image.layers if layer in there.layers)
    return size(image) - shared


def objects() -> dict[str, int]:
    """What S3 lists below the demonstration's prefix: sizes by key."""
    answer = s3().list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/")
    return {entry["Key"]: entry["Size"] for entry in answer.get("Contents", [])}


def reset(bed: Bed, image: Image) -> None:
    """Nothing of an earlier demonstration stays: images on the private hosts, objects in the bucket."""
    for name in PRIVATE:
        host = bed.host(name)
        ids = host.docker("image", "ls", "--all", "--quiet", "--no-trunc").stdout.split()
        found = json.loads(host.docker("image", "inspect", *ids).stdout) if ids else []
        ours = {entry["Id"] for entry in found if entry["RootFS"]["Layers"][:1] == [image.layers[0].diff_id]}
        if ours:
            host.docker("image", "rm", "--force", *ours)
    client = s3()
    for key in objects():
        client.delete_object(Bucket=BUCKET, Key=key)
    for upload in client.list_multipart_uploads(Bucket=BUCKET, Prefix=f"{PREFIX}/").get("Uploads", []):
        client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])


def log_in(bed: Bed, registry: str, user: str, password: str) -> None:
    """Public is logged in to the registry, as a host that may pull is."""
    command = ("docker", "--config", LOGIN, "login", "--username", user, "--password-stdin", registry)
    bed.host("public").run(*command, input=password.encode())


def log_out(bed: Bed) -> None:
    bed.host("public").run("rm", "-rf", LOGIN)


def s3() -> Any:
    return boto3.client("s3")


def named(image: Image) -> dict[str, str]:
    """What each digest of the image is, for a person."""
    layers = {layer.digest: f"layer {number}" for number, layer in enumerate(image.layers, 1)}
    return {image.digest: "manifest", image.config_digest: "config", **layers}
