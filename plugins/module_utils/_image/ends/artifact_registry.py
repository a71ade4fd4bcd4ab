# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads artifacts of any kind from a registry, what refers to them, and what the registry has already."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Callable, NamedTuple, Optional
from urllib.parse import urljoin

from ..errors import ImageError
from ..formats.artifact import (
    ARTIFACT_TYPES,
    MAX_REFERRERS,
    Artifact,
    ArtifactDescriptor,
    get_fallback_tag,
    parse_artifact,
    parse_referrers,
)
from ..formats.manifest import INDEX_TYPES, MANIFEST_LIMIT, OCI_INDEX, load_json
from ..formats.reference import is_digest
from ..http.address import HttpAddress
from ..http.body import HttpResponse
from ..http.errors import HttpStatusError, redact_url
from ..model import compute_digest
from .authorization import RegistryError
from .registry import Registry

# A redirect to storage shows that the blob exists. It need not be followed.
_FOUND = (200, 301, 302, 303, 307, 308)
# What registries without the referrers API respond.
_NO_REFERRERS_API = (400, 404, 405, 406, 501)
_ACCEPT = {"Accept": ", ".join((*ARTIFACT_TYPES, "*/*"))}
_TAGS_PER_PAGE = 1000
_MAX_TAG_PAGES = 10
_MAX_REFERRER_PAGES = 50
_DIGEST_HEADER = "docker-content-digest"

MapCall = Callable[[Callable[[str], Optional[str]], Iterable[str]], Iterable[Optional[str]]]


class ManifestPresence(NamedTuple):
    """Whether a registry has a manifest. C(is_repository_missing): it reports that it has no such repository."""

    is_present: bool
    is_repository_missing: bool = False


@dataclass(frozen=True)
class ReferrerList:
    """The referrers of a manifest. C(has_api): the registry lists them itself; else a tag has the list."""

    referrers: tuple[ArtifactDescriptor, ...]
    has_api: bool


class ArtifactRegistry(Registry):
    """A registry whose content is copied as it is. C(repository) is a reference's C(path)."""

    def find_digest(self, repository: str, tag_or_digest: str) -> Optional[str]:
        """Finds the digest of a manifest, or returns None. The registry's own header is sufficient to compare."""
        subject = f"the manifest {tag_or_digest} of {repository}"
        try:
            response = self._request("HEAD", repository, subject, self._get_manifest_url(repository, tag_or_digest))
        except (RegistryError, HttpStatusError) as error:
            if error.status == 404:
                return None
            raise
        digest = response.headers.get(_DIGEST_HEADER, "").strip()
        return digest if is_digest(digest) else self.fetch_artifact(repository, tag_or_digest).digest

    def find_presence(self, repository: str, digest: str) -> ManifestPresence:
        """Finds whether the registry has a manifest, and its repository, in one request."""
        subject = f"the manifest {digest} of {repository}"
        try:
            self._request("GET", repository, subject, self._get_manifest_url(repository, digest))
        except (RegistryError, HttpStatusError) as error:
            if error.status != 404:
                raise
            return ManifestPresence(False, is_repository_missing=error.code == "NAME_UNKNOWN")
        return ManifestPresence(True)

    def fetch_artifact(self, repository: str, tag_or_digest: str) -> Artifact:
        """Fetches a manifest, and verifies its digest."""
        where = f"the manifest {tag_or_digest} of {self.host}/{repository}"
        response = self._request("GET", repository, where, self._get_manifest_url(repository, tag_or_digest))
        self._check_json(response, where)
        artifact = parse_artifact(response.body, response.headers.get("content-type", ""), where)
        announced = response.headers.get(_DIGEST_HEADER, "").strip()
        expected = tag_or_digest if ":" in tag_or_digest else announced
        if expected.startswith("sha256:") and artifact.digest != expected:
            raise ImageError(
                f"{where}: the bytes that the registry sent have the digest {artifact.digest}, not {expected[:80]}. "
                "They are damaged: push the image again."
            )
        return artifact

    def fetch_small_blob(self, repository: str, blob: ArtifactDescriptor, limit: int) -> bytes:
        """Fetches a blob into memory, and verifies its digest."""
        where = f"the blob {blob.digest} of {self.host}/{repository}"
        data = self._get(repository, where, self.get_blob_url(repository, blob.digest), {}, limit).body
        if compute_digest(data) != blob.digest:
            raise ImageError(f"{where}: the registry sent other bytes. They are damaged: push the image again.")
        return data

    def has_blob(self, repository: str, digest: str) -> bool:
        return self._find_blob(repository, digest) is not None

    def find_blob_size(self, repository: str, digest: str) -> Optional[int]:
        """Finds the size of a blob; None if the registry does not have the blob, or does not report its size."""
        response = self._find_blob(repository, digest)
        length = response.headers.get("content-length", "") if response is not None and response.status == 200 else ""
        return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None

    def list_referrers(self, repository: str, digest: str) -> ReferrerList:
        """Lists what refers to a manifest: by the referrers API, or by the fallback tag where there is no API."""
        url: Optional[str] = f"{self._base}v2/{repository}/referrers/{digest}"
        where = f"the referrers of {digest} in {self.host}/{repository}"
        found: dict[str, ArtifactDescriptor] = {}
        for _page in range(_MAX_REFERRER_PAGES):
            if url is None:
                return ReferrerList(tuple(found.values()), has_api=True)
            try:
                response = self._request("GET", repository, where, url)
            except (RegistryError, HttpStatusError) as error:
                if error.status in _NO_REFERRERS_API and not found:
                    return self._read_fallback_tag(repository, digest)
                raise
            # Some registries redirect unknown addresses to a page (docs/facts/image_transfer.md).
            if response.headers.get("content-type", "").partition(";")[0].strip() != OCI_INDEX:
                return self._read_fallback_tag(repository, digest)
            found.update({entry.digest: entry for entry in parse_referrers(response.body, where)})
            if len(found) > MAX_REFERRERS:
                break
            url = self._get_next_page(response, url)
        raise ImageError(f"{where} are more than the limit of {MAX_REFERRERS}. Set referrers=false for this image.")

    def _read_fallback_tag(self, repository: str, digest: str) -> ReferrerList:
        data = self.fetch_fallback_index(repository, digest)
        where = f"the tag {get_fallback_tag(digest)} of {self.host}/{repository}"
        return ReferrerList(() if data is None else parse_referrers(data, where), has_api=False)

    def fetch_fallback_index(self, repository: str, digest: str) -> Optional[bytes]:
        """Fetches the list of referrers from the fallback tag; None if there is no such tag."""
        tag = get_fallback_tag(digest)
        where = f"the manifest {tag} of {self.host}/{repository}"
        try:
            response = self._request("GET", repository, where, self._get_manifest_url(repository, tag))
        except (RegistryError, HttpStatusError) as error:
            if error.status == 404:
                return None
            raise
        index = parse_artifact(response.body, response.headers.get("content-type", ""), where)
        if index.media_type not in INDEX_TYPES:
            raise ImageError(
                f"{where} is no list of referrers. Remove the tag, or set referrers=false: it is reserved for the list."
            )
        return index.data

    def find_tags(self, repository: str, names: Sequence[str], execute: MapCall = map) -> set[str]:
        """Finds which of these tags exist: from the list of tags, or one by one where that is denied or too long.

        C(execute) calls a function for each tag, such as an executor's C(map).
        """
        tags: set[str] = set()
        url: Optional[str] = f"{self._base}v2/{repository}/tags/list?n={_TAGS_PER_PAGE}"
        try:
            for _page in range(_MAX_TAG_PAGES):
                response = self._request("GET", repository, f"the tags of {repository}", str(url))
                document = load_json(response.body, MANIFEST_LIMIT, f"the tags of {self.host}/{repository}")
                listed = document.get("tags") if isinstance(document, dict) else None
                tags.update(tag for tag in listed or [] if isinstance(tag, str))
                url = self._get_next_page(response, str(url))
                if url is None:
                    return tags & set(names)
        except (ImageError, TypeError):
            pass  # some accounts may read an image, but not the list
        found = execute(lambda name: self.find_digest(repository, name), names)
        return {name for name, digest in zip(names, found) if digest is not None}

    # -- requests

    def _get_manifest_url(self, repository: str, tag_or_digest: str) -> str:
        return f"{self._base}v2/{repository}/manifests/{tag_or_digest}"

    def _find_blob(self, repository: str, digest: str) -> Optional[HttpResponse]:
        subject = f"the blob {digest} of {repository}"
        try:
            return self._request("HEAD", repository, subject, self.get_blob_url(repository, digest), _FOUND)
        except (RegistryError, HttpStatusError) as error:
            if error.status == 404:
                return None
            raise

    def _request(
        self, method: str, repository: str, subject: str, url: str, ok: Collection[int] = (200,)
    ) -> HttpResponse:
        def send(authorization: Mapping[str, str]) -> HttpResponse:
            return self._client.request(method, url, {**_ACCEPT, **authorization}, ok=ok, limit=MANIFEST_LIMIT)

        return self._authorizer.send(repository, subject, send)

    def _get_next_page(self, response: HttpResponse, url: str) -> Optional[str]:
        """Gets the address of the next page. One elsewhere is refused: a list without it would not be whole."""
        found = re.search(r'<([^<>]{1,8000})>\s*;\s*rel="?next"?', response.headers.get("link", ""))
        if not found:
            return None
        try:
            following = HttpAddress.parse("GET", urljoin(url, found.group(1))).url
        except ValueError:  # urljoin refuses what is no address
            following = ""
        if not following.startswith(self._base) or following == url:
            raise ImageError(
                f"The registry {self.host} continues a list at {redact_url(following) or 'no address'}, which is not "
                "the next page of this registry. Correct its external address, or the proxy before it."
            )
        return following
