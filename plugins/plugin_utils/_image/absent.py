# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""state=absent: deletes the blobs of a bundle from the store."""

from __future__ import annotations

from typing import Any

from ...module_utils._image.errors import ImageError
from ...module_utils._image.model import Bundle
from ...module_utils._plan import Step
from ...module_utils._result import ItemResult, summarize
from .s3 import S3BlobStore


def delete_blobs(store: S3BlobStore, bundle: Bundle, check_mode: bool, diff: bool) -> dict[str, Any]:
    """Observe and delete. A blob that cannot be deleted does not stop the others."""
    store.check()
    digests = [blob.digest for blob in bundle.list_blobs()]
    present = store.find_objects(digests)
    items, steps = [], []
    for digest in digests:
        if digest not in present:
            items.append(ItemResult(digest, "ok", "not in the store"))
            continue
        before = {"size": present[digest].size}
        try:
            if not check_mode:
                store.delete([digest])
            steps.append(Step("delete", digest, "the blobs are not to be kept", before=before))
            items.append(ItemResult(digest, "changed", "deleted from the store", before=before))
        except ImageError as error:
            items.append(ItemResult(digest, "failed", str(error)))
    return {
        **summarize(items, diff),
        "blobs": [item.to_dict() for item in items],
        "steps": [step.to_dict() for step in steps],
        "path": str(store),
    }
