# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads images and blobs from a registry (OCI distribution specification), without an engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from ..errors import ImageError
from ..formats.manifest import (
    CONFIG_LIMIT,
    INDEX_TYPES,
    MANIFEST_LIMIT,
    MANIFEST_TYPES,
    ImageConfig,
    ImageIndex,
    ImageManifest,
    IndexEntry,
    check_layers,
    detect_media_type,
    find_index_image,
    load_json,
    parse_config,
    parse_index,
    parse_manifest,
)
from ..formats.reference import DOCKER_HUB, ImagePlatform, ImageReference
from ..http.address import HttpAddress
from ..http.body import HttpBodyReader, HttpResponse
from ..http.client import HttpClient
from ..model import Blob, compute_digest
from .authorization import PULL, RegistryAuthorizer
from .login import NO_LOGIN, FoundLogin

_DOCKER_HUB_API = "registry-1.docker.io"


@dataclass(frozen=True)
class ResolvedImage:
    """An image of one platform in the registry. Every digest is computed from the bytes.

    C(manifest) and C(config) are the registry's own bytes. C(index) is the index that the reference names, or None if
    it names the image itself. C(is_index_usable): an engine can keep that index with this image alone.
    """

    manifest: bytes = field(repr=False)
    media_type: str
    digest: str
    config: bytes = field(repr=False)
    config_blob: Blob
    layers: tuple[Blob, ...]
    diff_ids: tuple[str, ...]
    platform: ImagePlatform
    index: Blob | None
    is_index_usable: bool

    @property
    def config_digest(self) -> str:
        return self.config_blob.digest

    @property
    def manifest_blob(self) -> Blob:
        return Blob(self.digest, len(self.manifest), self.media_type)


@dataclass(frozen=True)
class _ManifestDocument:
    """A manifest or an index as the registry sent it."""

    data: bytes = field(repr=False)
    content_type: str
    digest: str
    where: str


class Registry:
    """A registry, which threads may share."""

    # What its tokens are for.
    actions = PULL

    def __init__(self, client: HttpClient, host: str, plain_http: bool = False, login: FoundLogin = NO_LOGIN) -> None:
        self.host = host
        self._client = client
        address = f"{'http' if plain_http else 'https'}://{_DOCKER_HUB_API if host == DOCKER_HUB else host}/"
        # As errors and redirects have it: without a default port, in lower case.
        self._base = HttpAddress.parse("GET", address).url
        self._authorizer = RegistryAuthorizer(client, host, self._base, login, self.actions)

    def resolve(
        self, reference: ImageReference, platform: ImagePlatform | None = None, must_match: bool = True
    ) -> ResolvedImage:
        """Resolves a reference to its image. In an index it chooses C(platform), by default that of this host.

        C(must_match): an image outside an index must have the platform, too. Else it only chooses in an index.
        Reads no layer. Raises ImageError with the registry's message and a suggestion.
        """
        if reference.host != self.host:
            raise ImageError(f"{reference} is not in the registry {self.host}. Use the registry {reference.host}.")
        named = self._fetch_referenced(reference)
        document, index, is_index_usable = named, None, False
        if detect_media_type(named.data, named.content_type, named.where) in INDEX_TYPES:
            parsed = parse_index(named.data, named.content_type, named.where)
            chosen = platform or ImagePlatform.detect_host()
            entry = choose_entry(parsed, chosen, reference)
            document = self._fetch_manifest(reference, entry.digest)
            index = Blob(named.digest, len(named.data), parsed.media_type)
            is_index_usable = find_index_image(parsed, chosen) == entry.digest
            if entry.size not in (None, len(document.data)):
                raise ImageError(
                    f"{document.where} has {len(document.data)} bytes, but the index has {entry.size} for it. It "
                    "is damaged: push the image again."
                )
            platform = platform or entry.platform or ImagePlatform.detect_host()
        manifest = parse_manifest(document.data, document.content_type, document.where)
        data, config = self._fetch_config(reference, manifest)
        check_layers(manifest, config, str(reference))
        must_match = must_match or index is not None
        if must_match and platform is not None and config.platform.contradicts(platform):
            raise ImageError(
                f"{reference} is for {config.platform}, but {platform} is requested. "
                f"Omit the platform, or name an image for {platform}."
            )
        return ResolvedImage(
            manifest=document.data,
            media_type=manifest.media_type,
            digest=document.digest,
            config=data,
            config_blob=replace(manifest.config, size=len(data)),
            layers=tuple(self._fill_size(reference.path, layer) for layer in manifest.layers),
            diff_ids=config.diff_ids,
            platform=config.platform,
            index=index,
            is_index_usable=is_index_usable,
        )

    def fetch_document(self, reference: ImageReference) -> bytes:
        """Fetches the manifest or index that a reference with a digest names, and verifies its digest."""
        return self._fetch_referenced(reference).data

    @contextmanager
    def open_blob(
        self, repository: str, digest: str, start: int = 0, end: int | None = None
    ) -> Iterator[HttpBodyReader]:
        """Opens a blob as a stream, from byte C(start) to before byte C(end). C(repository) is a reference's C(path).

        A redirect to the registry's storage is followed without the registry's authorization. The content is not
        verified: the caller computes the digest.
        """
        url = self.get_blob_url(repository, digest)
        with ExitStack() as stack:

            def open_with(headers: Mapping[str, str]) -> HttpBodyReader:
                return stack.enter_context(self._client.open_stream(url, headers, start, end))

            yield self._authorizer.send(repository, f"blob {digest} of {repository}", open_with)

    def get_blob_url(self, repository: str, digest: str) -> str:
        """Gets the URL of a blob. It is no secret; a request to it usually needs authorization."""
        return f"{self._base}v2/{repository}/blobs/{digest}"

    # -- documents

    def _fetch_referenced(self, reference: ImageReference) -> _ManifestDocument:
        """Fetches the document that the reference names. A tag beside a digest must refer to the same document."""
        if reference.tag is None:
            return self._fetch_manifest(reference, reference.digest or "")
        document = self._fetch_manifest(reference, reference.tag)
        if reference.digest is None or document.digest == reference.digest:
            return document
        suggestion = f"Remove the wrong part: :{reference.tag} or @{reference.digest}."
        if detect_media_type(document.data, document.content_type, document.where) in INDEX_TYPES:
            entries = parse_index(document.data, document.content_type, document.where).entries
            for entry in (entry for entry in entries if entry.digest == reference.digest):
                suggestion = f"The tag names an index, and the digest its image for {entry.platform}: remove the tag."
        raise ImageError(
            f"{reference}: tag and digest disagree. In the registry the tag {reference.tag} "
            f"has the digest {document.digest}, but {reference.digest} is requested. {suggestion}"
        )

    def _fetch_manifest(self, reference: ImageReference, tag_or_digest: str) -> _ManifestDocument:
        where = f"the manifest {tag_or_digest} of {reference.name}"
        url = f"{self._base}v2/{reference.path}/manifests/{tag_or_digest}"
        accept = {"Accept": ", ".join(MANIFEST_TYPES + INDEX_TYPES)}
        response = self._get(reference.path, where, url, accept, MANIFEST_LIMIT)
        self._check_json(response, where)
        digest = compute_digest(response.body)
        if ":" in tag_or_digest and digest != tag_or_digest:
            raise ImageError(
                f"{where}: the bytes that the registry sent have the digest {digest}. "
                "They are damaged: push the image again."
            )
        announced = response.headers.get("docker-content-digest", "").strip()
        if announced.startswith("sha256:") and announced != digest:
            raise ImageError(
                f"{where}: the registry announces {announced[:80]}, the bytes that it sent have the digest {digest}. "
                "They are damaged: push the image again."
            )
        return _ManifestDocument(response.body, response.headers.get("content-type", ""), digest, where)

    def _check_json(self, response: HttpResponse, where: str) -> None:
        """Refuses a page of something that responds instead of the registry, such as a proxy or a login."""
        try:
            load_json(response.body, MANIFEST_LIMIT, where)
        except ImageError as error:
            content_type = response.headers.get("content-type", "")[:80] or "none"
            raise ImageError(
                f"{error} The response has the Content-Type {content_type}. Check that the registry itself responds at "
                f"{self.host}, and not a proxy or a login page; else push the image again."
            ) from None

    def _fetch_config(self, reference: ImageReference, manifest: ImageManifest) -> tuple[bytes, ImageConfig]:
        digest = manifest.config.digest
        where = f"the config {digest} of {reference.name}"
        data = self._get(reference.path, where, self.get_blob_url(reference.path, digest), {}, CONFIG_LIMIT).body
        expected_size = len(data) if manifest.config.size is None else manifest.config.size
        if len(data) != expected_size or compute_digest(data) != digest:
            raise ImageError(
                f"{where}: the registry sent {len(data)} bytes with the digest {compute_digest(data)}, "
                f"the manifest has {expected_size} bytes. They are damaged: push the image again."
            )
        return data, parse_config(data, where)

    def _fill_size(self, repository: str, layer: Blob) -> Blob:
        """Fills in the size of a layer whose descriptor has none, from the head of the registry's response."""
        if layer.size is not None:
            return layer
        with self.open_blob(repository, layer.digest) as reader:
            if reader.length is None:
                raise ImageError(
                    f"Neither the manifest nor the registry {self.host} has the size of the layer {layer.digest}. Push "
                    "the image again."
                )
            return replace(layer, size=reader.length)

    def _get(self, repository: str, subject: str, url: str, headers: Mapping[str, str], limit: int) -> HttpResponse:
        def get(authorization: Mapping[str, str]) -> HttpResponse:
            return self._client.request("GET", url, {**headers, **authorization}, ok=(200,), limit=limit)

        return self._authorizer.send(repository, subject, get)


def choose_entry(index: ImageIndex, platform: ImagePlatform, reference: ImageReference) -> IndexEntry:
    """Chooses the entry for a platform. A single entry without a platform is chosen, too: its config decides."""
    for entry in index.entries:
        if entry.platform is not None and entry.platform.matches(platform):
            return entry
    if len(index.entries) == 1 and index.entries[0].platform is None:
        return index.entries[0]
    platforms = ", ".join(dict.fromkeys(str(entry.platform) for entry in index.entries if entry.platform)) or "none"
    raise ImageError(f"{reference} has no image for {platform}. Available are: {platforms}. Choose one of these.")
