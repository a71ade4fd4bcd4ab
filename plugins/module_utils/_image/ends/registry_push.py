# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pushes blobs and manifests to a registry: upload sessions, mounts, chunks where a registry needs them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from typing import Callable, Optional
from urllib.parse import urlencode, urljoin

from ..errors import ImageError
from ..formats.artifact import Artifact, get_fallback_tag, make_referrer_entry, merge_referrers
from ..formats.manifest import OCI_INDEX
from ..http.address import HttpAddress
from ..http.body import CHUNK, HttpBodyReader, HttpResponse
from ..http.errors import HttpBodyError, HttpError, HttpStatusError, redact_url
from ..model import compute_digest
from ..throttle import NO_LIMIT, Throttle
from .artifact_registry import ArtifactRegistry
from .authorization import PUSH, RegistryError, TokenRefusalError

OpenSource = Callable[[int], AbstractContextManager[HttpBodyReader]]
"""Opens the source's blob from a byte on."""

# Responses to a body that is too large for one request, or to a PUT with a body.
_CHUNKS_NEEDED = (405, 411, 413, 416, 501)
# The registry of GitHub takes no larger ones, and multipart storage no smaller ones (docs/facts/image_transfer.md).
_CHUNK_BYTES = 4 * CHUNK
_MAX_CHUNK_BYTES = 512 * CHUNK
# A refused mount is no error: the blob is uploaded.
_MOUNT_REFUSALS = (400, 401, 403, 404, 405, 501)
_IMMUTABLE = re.compile(r"immutable|ImageTagAlreadyExists", re.IGNORECASE)


class DamagedBlobError(ImageError):
    """The source sent other bytes than its manifest names."""


class ImmutableTagError(ImageError):
    """The registry refuses to move a tag."""


class BlobStream:
    """The verified bytes of a source's blob. It continues behind the bytes that it has when the source drops.

    The last chunk is yielded only when the digest of all bytes is right: a request with damaged bytes never completes.
    """

    def __init__(self, open_source: OpenSource, digest: str, where: str, retries: int, throttle: Throttle) -> None:
        self._open_source = open_source
        self._digest = digest
        self._where = where
        self._retries = retries
        self._throttle = throttle

    def open_chunks(self, length: int) -> Generator[bytes, None, None]:
        """Opens the source and reads its first chunk, before a request to the destination begins.

        Else the destination would wait for the source in the middle of a request.
        """
        chunks = self.iter_chunks(length)
        first = next(chunks, b"")

        def iterate_chunks() -> Generator[bytes, None, None]:
            yield first
            yield from chunks

        return iterate_chunks()

    def iter_chunks(self, length: int) -> Generator[bytes, None, None]:
        """Yields the bytes, in chunks. Raises DamagedBlobError in place of the last one."""
        hasher, pending, received = hashlib.sha256(), b"", 0
        for chunk in self._iter_received():
            hasher.update(chunk)
            received += len(chunk)
            if received > length:
                raise self._make_damaged_error(f"more than {length} bytes")
            if pending:
                yield from self._throttle.limit_chunks([pending])
            pending = chunk
        computed = "sha256:" + hasher.hexdigest()
        if received != length or computed != self._digest:
            raise self._make_damaged_error(f"{received} of {length} bytes, with the digest {computed},")
        if pending:
            yield from self._throttle.limit_chunks([pending])

    def _make_damaged_error(self, sent: str) -> DamagedBlobError:
        return DamagedBlobError(
            f"The source sent {sent} for {self._where}. They are damaged in the source registry: push the image there "
            "again. Nothing of the blob was stored at the destination."
        )

    def _iter_received(self) -> Iterator[bytes]:
        offset, failures = 0, 0
        while True:
            begin = offset
            try:
                with self._open_source(offset) as reader:
                    while True:
                        chunk = reader.read(CHUNK)
                        if not chunk:
                            return
                        offset += len(chunk)
                        yield chunk
            except HttpError as error:
                failures = 0 if offset > begin else failures + 1
                if not isinstance(error, HttpBodyError) or not error.retryable or failures > self._retries:
                    error.retryable = error.transient = False  # opening it was retried already
                    raise


class PushRegistry(ArtifactRegistry):
    """A registry to push to, which threads may share."""

    actions = PUSH

    def upload_blob(
        self,
        repository: str,
        digest: str,
        length: int,
        open_source: OpenSource,
        where: str,
        mount_from: str = "",
        throttle: Throttle = NO_LIMIT,
    ) -> bool:
        """Mounts a blob from another repository, or uploads it. Returns whether it was mounted.

        A connection that drops restarts the session of the blob. C(where) describes the blob in the source.
        """
        stream = BlobStream(open_source, digest, where, self._client.retries, throttle)

        def make_attempt() -> bool:
            if mount_from:
                url = self._begin_mount(repository, digest, mount_from)
                if url is None:
                    return True
                opened = None
            else:
                url, opened = self._begin_both(repository, digest, length, stream)
            try:
                self._send_blob(repository, digest, url, length, stream, opened)
            except BaseException:
                self._cancel_upload(repository, url)
                raise
            finally:
                if opened is not None:
                    opened.close()
            return False

        try:
            return self._client.retry(make_attempt, is_idempotent=True)
        except RegistryError as error:
            raise self._explain_push(repository, error) from None

    def push_manifest(self, repository: str, artifact: Artifact, tag: str = "") -> bool:
        """Pushes a manifest, byte for byte, under its digest or a tag. Returns whether the registry lists its subject.

        Raises ImmutableTagError where the registry refuses to move the tag.
        """
        name = tag or artifact.digest
        where = f"the manifest {name} of {repository}"

        def put(authorization: Mapping[str, str]) -> HttpResponse:
            headers = {"Content-Type": artifact.media_type, **authorization}
            return self._client.request("PUT", self._get_manifest_url(repository, name), headers, artifact.data)

        try:
            response = self._authorizer.send(repository, where, put)
        except (RegistryError, HttpStatusError) as error:
            message = error.service_error or str(error.status)
            if tag and _IMMUTABLE.search(f"{error.code} {message}"):
                raise ImmutableTagError(
                    f"The registry {self.host} refuses to move the tag {tag} of {repository}: {message}. The tag is "
                    "immutable and has another digest: copy to another tag, or make this tag mutable in the repository."
                ) from None
            if isinstance(error, RegistryError):
                raise self._explain_push(repository, error) from None
            raise ImageError(
                f"The registry {self.host} refuses {where}: {message}. Check that it accepts the type "
                f"{artifact.media_type} and everything that the manifest names."
            ) from None
        stored = response.headers.get("docker-content-digest", "").strip()
        if stored.startswith("sha256:") and stored != artifact.digest:
            raise ImageError(
                f"The registry {self.host} stored {where} with the digest {stored[:80]}, not {artifact.digest}. It "
                "rewrites manifests: use a registry that stores them unchanged."
            )
        return artifact.subject is not None and bool(response.headers.get("oci-subject"))

    def update_fallback_tag(self, repository: str, subject: str, referrer: Artifact) -> None:
        """Adds a referrer to the tag that lists the referrers in a registry without their API."""
        where = f"the tag {get_fallback_tag(subject)} of {self.host}/{repository}"
        present = self.fetch_fallback_index(repository, subject)
        merged = merge_referrers(present, [make_referrer_entry(referrer)], where)
        if merged != present:
            self.push_manifest(
                repository, Artifact(merged, OCI_INDEX, compute_digest(merged)), get_fallback_tag(subject)
            )

    # -- uploads

    def _begin_both(
        self, repository: str, digest: str, length: int, stream: BlobStream
    ) -> tuple[str, Generator[bytes, None, None]]:
        """Begins an upload, and opens the source in the meantime: each waits for its registry."""
        with ThreadPoolExecutor(1) as beside:
            begun = beside.submit(self._begin_upload, repository, digest)
            try:
                opened = stream.open_chunks(length)
            except BaseException:
                with suppress(ImageError):
                    self._cancel_upload(repository, begun.result())
                raise
            try:
                return begun.result(), opened
            except BaseException:
                opened.close()
                raise

    def _begin_mount(self, repository: str, digest: str, mount_from: str) -> Optional[str]:
        """Mounts a blob from another repository. Returns None if it was mounted, or the address of an upload.

        A registry that does not mount returns a session, too (docs/facts/image_transfer.md).
        """
        where = f"the upload of the blob {digest} to {repository}"
        query = "?" + urlencode({"mount": digest, "from": mount_from})
        try:
            response = self._request_upload(repository, where, query, mount_from)
        except TokenRefusalError:
            return self._begin_upload(repository, digest)
        except (RegistryError, HttpStatusError) as error:
            if error.status not in _MOUNT_REFUSALS:
                raise
            return self._begin_upload(repository, digest)
        return None if response.status == 201 else self._get_session(response, self._get_uploads_url(repository), where)

    def _begin_upload(self, repository: str, digest: str) -> str:
        """Begins the upload of a blob, and returns the address of its session."""
        where = f"the upload of the blob {digest} to {repository}"
        return self._get_session(self._request_upload(repository, where), self._get_uploads_url(repository), where)

    def _get_uploads_url(self, repository: str) -> str:
        return f"{self._base}v2/{repository}/blobs/uploads/"

    def _request_upload(self, repository: str, where: str, query: str = "", mount_from: str = "") -> HttpResponse:
        url = self._get_uploads_url(repository) + query

        def send(authorization: Mapping[str, str]) -> HttpResponse:
            headers = {"Content-Length": "0", **authorization}
            return self._client.request("POST", url, headers, ok=(201, 202), retries=0)

        return self._authorizer.send(repository, where, send, mount_from)

    def _get_session(self, response: HttpResponse, url: str, where: str) -> str:
        location = response.headers.get("location", "")
        if not location:
            raise ImageError(f"The registry {self.host} sent no address for {where}. Check what responds there.")
        try:
            session = HttpAddress.parse("PUT", urljoin(url, location)).url
        except ValueError:  # urljoin refuses what is no address
            raise ImageError(
                f"The registry {self.host} sent no valid address for {where}. Check what responds there."
            ) from None
        if self._base.startswith("https:") and not session.startswith("https:"):
            raise ImageError(
                f"The registry {self.host} sent an address without TLS for {where}: {redact_url(session)}. Correct its "
                "external address, or the proxy before it."
            )
        return session

    def _send_blob(
        self,
        repository: str,
        digest: str,
        session: str,
        length: int,
        stream: BlobStream,
        opened: Optional[Generator[bytes, None, None]],
    ) -> None:
        """Sends a blob in one request. Many small requests are slower, and some registries lose data in them.

        C(opened): its bytes, where they were opened already. A request that is repeated opens them again.
        """
        bodies = [] if opened is None else [opened]
        where = f"the blob {digest} of {repository}"
        headers = {"Content-Type": "application/octet-stream"}
        url = _add_digest(session, digest)
        try:
            self._authorizer.send(
                repository,
                where,
                lambda authorization: self._client.send_stream(
                    "PUT",
                    url,
                    {**headers, **self._filter_authorization(session, authorization)},
                    lambda: bodies.pop() if bodies else stream.open_chunks(length),
                    length,
                ),
            )
        except HttpStatusError as error:
            if error.status not in _CHUNKS_NEEDED:
                raise
            self._cancel_upload(repository, session)
            self._send_chunks(repository, digest, length, stream)

    def _send_chunks(self, repository: str, digest: str, length: int, stream: BlobStream) -> None:
        where = f"the blob {digest} of {repository}"
        response = self._request_upload(repository, where)
        session = self._get_session(response, self._get_uploads_url(repository), where)
        minimum = response.headers.get("oci-chunk-min-length", "")
        size = max(_CHUNK_BYTES, int(minimum) if re.fullmatch(r"[0-9]{1,12}", minimum) else 0)
        if size > _MAX_CHUNK_BYTES:
            raise ImageError(f"The registry {self.host} requires chunks of {size} bytes for {where}. That is too much.")
        offset = 0
        try:
            for chunk in _join_chunks(stream.iter_chunks(length), size):
                response = self._patch_chunk(repository, where, session, offset, chunk)
                offset += len(chunk)
                session = self._get_session(response, session, where) if "location" in response.headers else session
                _check_range(response, offset, where)
            url = _add_digest(session, digest)
            self._authorizer.send(
                repository,
                where,
                lambda authorization: self._client.request(
                    "PUT", url, {"Content-Length": "0", **self._filter_authorization(url, authorization)}, retries=0
                ),
            )
        except BaseException:
            self._cancel_upload(repository, session)
            raise

    def _patch_chunk(self, repository: str, where: str, session: str, offset: int, chunk: bytes) -> HttpResponse:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{offset}-{offset + len(chunk) - 1}",
        }
        return self._authorizer.send(
            repository,
            where,
            lambda authorization: self._client.send_stream(
                "PATCH",
                session,
                {**headers, **self._filter_authorization(session, authorization)},
                lambda: [chunk],
                len(chunk),
            ),
        )

    def _cancel_upload(self, repository: str, session: str) -> None:
        """Cancels a session, where the registry allows it. Else the session expires there."""
        with suppress(ImageError):
            self._authorizer.send(
                repository,
                "the upload",
                lambda authorization: self._client.request(
                    "DELETE", session, self._filter_authorization(session, authorization), retries=0
                ),
            )

    def _filter_authorization(self, url: str, authorization: Mapping[str, str]) -> Mapping[str, str]:
        """Keeps the authorization from storage on another host, to which a registry may send an upload."""
        origin = HttpAddress.parse("PUT", url).origin
        return authorization if origin == HttpAddress.parse("PUT", self._base).origin else {}

    def _explain_push(self, repository: str, error: RegistryError) -> ImageError:
        if error.status == 404 and error.code == "NAME_UNKNOWN":
            return ImageError(
                f"The registry {self.host} has no repository {repository}: {error.service_error}. Create the "
                "repository. In ECR, a repository creation template that applies on push creates it, too."
            )
        return error


def _add_digest(session: str, digest: str) -> str:
    return session + ("&" if "?" in session else "?") + urlencode({"digest": digest})


def _join_chunks(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Joins chunks to chunks of one size; the last may be smaller."""
    collected = bytearray()
    for chunk in chunks:
        collected += chunk
        while len(collected) >= size:
            yield bytes(collected[:size])
            del collected[:size]
    if collected:
        yield bytes(collected)


def _check_range(response: HttpResponse, offset: int, where: str) -> None:
    """Checks that the registry has all bytes so far. Some accept a chunk and discard it."""
    found = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,18})", response.headers.get("range", "").strip())
    if found and int(found.group(1)) + 1 != offset:
        raise ImageError(
            f"The registry has {int(found.group(1)) + 1} of {offset} bytes of {where}, although it accepted each "
            "chunk. It cannot store blobs of this size in chunks: raise the limit for a request before the registry."
        )
