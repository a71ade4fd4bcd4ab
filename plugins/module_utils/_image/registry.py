# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads images and blobs from a registry (OCI distribution specification), without an engine."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, TypeVar
from urllib.parse import urlencode, urlsplit

from .errors import ImageError
from .http.address import format_basic_auth
from .http.body import HttpBodyReader, HttpResponse
from .http.client import HttpClient
from .http.errors import HttpStatusError, redact_url
from .manifest import (
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
    load_json,
    parse_config,
    parse_index,
    parse_manifest,
)
from .model import Blob
from .reference import DOCKER_HUB, ImagePlatform, ImageReference
from .run_command import RunCommand

_DOCKER_HUB_API = "registry-1.docker.io"
# Docker stores the login to Docker Hub under the address of the v1 registry protocol.
_DOCKER_HUB_LOGIN_KEY = "https://index.docker.io/v1/"
_TOKEN_LIMIT = 1024 * 1024
_TOKEN_USER = "<token>"  # noqa: S105  the user name that helpers return for an identity token
_CLIENT_ID = "daytwo.aws"
_ANONYMOUS = ""
_LOGIN_SUGGESTION = (
    "Set the user name and password of an account that may pull it, or the docker config file that has its login. "
    "Some registries respond like this for images that do not exist: check the name, too."
)

_T = TypeVar("_T")


@dataclass(frozen=True)
class RegistryCredentials:
    """A user name with a password, or an identity token, which a token server exchanges for an access token."""

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class ResolvedImage:
    """An image of one platform in the registry. Every digest is computed from the bytes.

    C(manifest) and C(config) are the registry's own bytes. C(index_digest) is the digest of the index that the
    reference names, or None if it names the image itself.
    """

    manifest: bytes = field(repr=False)
    media_type: str
    digest: str
    config: bytes = field(repr=False)
    config_blob: Blob
    layers: tuple[Blob, ...]
    diff_ids: tuple[str, ...]
    platform: ImagePlatform
    index_digest: str | None

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
    """A registry, which threads may share. A token is fetched once per repository, and again when it is refused."""

    def __init__(
        self, client: HttpClient, host: str, plain_http: bool = False, credentials: RegistryCredentials | None = None
    ) -> None:
        self.host = host
        self._client = client
        self._credentials = credentials
        self._base = f"{'http' if plain_http else 'https'}://{_DOCKER_HUB_API if host == DOCKER_HUB else host}/"
        self._lock = threading.Lock()
        self._authorizations: dict[str, str] = {}

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
        document, index_digest = named, None
        if detect_media_type(named.data, named.content_type, named.where) in INDEX_TYPES:
            entry = _choose_entry(
                parse_index(named.data, named.content_type, named.where),
                platform or ImagePlatform.detect_host(),
                reference,
            )
            document, index_digest = self._fetch_manifest(reference, entry.blob.digest), named.digest
            if entry.blob.size != len(document.data):
                raise ImageError(
                    f"{document.where} has {len(document.data)} bytes, but the index has {entry.blob.size} for it. It "
                    "is damaged: push the image again."
                )
            platform = platform or entry.platform or ImagePlatform.detect_host()
        manifest = parse_manifest(document.data, document.content_type, document.where)
        data, config = self._fetch_config(reference, manifest)
        check_layers(manifest, config, str(reference))
        must_match = must_match or index_digest is not None
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
            config_blob=manifest.config,
            layers=manifest.layers,
            diff_ids=config.diff_ids,
            platform=config.platform,
            index_digest=index_digest,
        )

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

            yield self._request_authorized(repository, f"blob {digest} of {repository}", open_with)

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
            for entry in (entry for entry in entries if entry.blob.digest == reference.digest):
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
        digest = _compute_digest(response.body)
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

    def _fetch_config(self, reference: ImageReference, manifest: ImageManifest) -> tuple[bytes, ImageConfig]:
        digest = manifest.config.digest
        where = f"the config {digest} of {reference.name}"
        data = self._get(reference.path, where, self.get_blob_url(reference.path, digest), {}, CONFIG_LIMIT).body
        if len(data) != manifest.config.size or _compute_digest(data) != digest:
            raise ImageError(
                f"{where}: the registry sent {len(data)} bytes with the digest {_compute_digest(data)}, "
                f"the manifest has {manifest.config.size} bytes. They are damaged: push the image again."
            )
        return data, parse_config(data, where)

    def _get(self, repository: str, subject: str, url: str, headers: Mapping[str, str], limit: int) -> HttpResponse:
        def get(authorization: Mapping[str, str]) -> HttpResponse:
            return self._client.request("GET", url, {**headers, **authorization}, ok=(200,), limit=limit)

        return self._request_authorized(repository, subject, get)

    # -- authorization

    def _request_authorized(self, repository: str, subject: str, send_request: Callable[[Mapping[str, str]], _T]) -> _T:
        """Sends the request with the known authorization. After a refusal it retries once with a new authorization."""
        used = self._authorizations.get(repository, _ANONYMOUS)
        try:
            try:
                return send_request(_build_auth_header(used))
            except HttpStatusError as error:
                # Storage that the registry redirects to may respond with 401, too. It gets no credentials.
                if error.status != 401 or not error.url.startswith(self._base):
                    raise
                challenge = error
            return send_request(_build_auth_header(self._authorize(repository, challenge, used)))
        except HttpStatusError as error:
            raise self._explain_error(error, subject) from None

    def _authorize(self, repository: str, challenge: HttpStatusError, rejected: str) -> str:
        with self._lock:
            known = self._authorizations.get(repository, _ANONYMOUS)
            if known == rejected:
                known = self._create_authorization(repository, challenge)
                self._authorizations[repository] = known
            return known

    def _create_authorization(self, repository: str, rejection: HttpStatusError) -> str:
        challenges = parse_challenges(rejection.headers.get("www-authenticate", ""))
        if "bearer" in challenges:
            return "Bearer " + self._fetch_token(repository, challenges["bearer"])
        if "basic" in challenges and self._credentials is not None and not self._credentials.identity_token:
            return format_basic_auth(self._credentials.username, self._credentials.password)
        raise rejection

    def _fetch_token(self, repository: str, challenge: Mapping[str, str]) -> str:
        realm = challenge.get("realm", "")
        if urlsplit(realm).scheme not in ("http", "https"):
            raise ImageError(
                f"The registry {self.host} requires a token, but names no token server. Correct its settings."
            )
        if self._base.startswith("https:") and not realm.startswith("https:"):
            raise ImageError(
                f"The registry {self.host} requires a token from {redact_url(realm)}, without TLS. "
                "The password is not sent there: correct the registry's settings."
            )
        query = {
            "service": challenge.get("service", ""),
            "scope": challenge.get("scope") or f"repository:{repository}:pull",
        }
        query = {name: value for name, value in query.items() if value}
        try:
            response = self._request_token(realm, query)
        except HttpStatusError as error:
            if error.status not in (400, 401, 403, 404):
                raise
            raise ImageError(
                f"The token server {redact_url(realm)} of the registry {self.host} refuses {self._describe_login()} a "
                f"token: {error.service_error or error.status}. {_LOGIN_SUGGESTION}"
            ) from None
        document = load_json(response.body, _TOKEN_LIMIT, f"the response of the token server {redact_url(realm)}")
        token = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise ImageError(f"The token server {redact_url(realm)} sent no token. Check the registry's settings.")
        return token

    def _request_token(self, realm: str, query: Mapping[str, str]) -> HttpResponse:
        credentials = self._credentials
        if credentials is not None and credentials.identity_token:
            form = {"grant_type": "refresh_token", "client_id": _CLIENT_ID, "refresh_token": credentials.identity_token}
            return self._client.request(
                "POST",
                realm,
                {"Content-Type": "application/x-www-form-urlencoded"},
                urlencode({**form, **query}).encode(),
                ok=(200,),
                limit=_TOKEN_LIMIT,
            )
        headers = _build_auth_header(
            format_basic_auth(credentials.username, credentials.password) if credentials else _ANONYMOUS
        )
        url = realm + ("&" if "?" in realm else "?") + urlencode(query)
        return self._client.request("GET", url, headers, ok=(200,), limit=_TOKEN_LIMIT)

    def _describe_login(self) -> str:
        if self._credentials is None:
            return "a request without login"
        return f"the user {self._credentials.username!r}" if self._credentials.username else "the identity token"

    def _explain_error(self, error: HttpStatusError, subject: str) -> ImageError:
        """Explains the registry's refusal, with a suggestion."""
        if error.status == 404:
            return ImageError(
                f"The registry {self.host} does not have {subject}: {error.service_error or error.status}. "
                "Check the name and the tag."
            )
        if error.status in (401, 403) and error.url.startswith(self._base):
            return ImageError(
                f"The registry {self.host} denies {self._describe_login()} {subject}: "
                f"{error.service_error or error.status}. {_LOGIN_SUGGESTION}"
            )
        return error


def _build_auth_header(authorization: str) -> dict[str, str]:
    return {"Authorization": authorization} if authorization else {}


def _compute_digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _choose_entry(index: ImageIndex, platform: ImagePlatform, reference: ImageReference) -> IndexEntry:
    """Chooses the entry for a platform. A single entry without a platform is chosen, too: its config decides."""
    for entry in index.entries:
        if entry.platform is not None and entry.platform.matches(platform):
            return entry
    if len(index.entries) == 1 and index.entries[0].platform is None:
        return index.entries[0]
    platforms = ", ".join(dict.fromkeys(str(entry.platform) for entry in index.entries if entry.platform)) or "none"
    raise ImageError(f"{reference} has no image for {platform}. Available are: {platforms}. Choose one of these.")


def parse_challenges(value: str) -> dict[str, dict[str, str]]:
    """Parses WWW-Authenticate into the parameters of each scheme, in lower case. The first of a scheme counts."""
    challenges: dict[str, dict[str, str]] = {}
    parameters: dict[str, str] = {}
    token = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  a token of the grammar, no secret
    position = 0
    pattern = re.compile(rf'[\s,]*(?:({token})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({token}))|({token})(?=[\s,]|$)(?!\s*=))')
    while True:
        found = pattern.match(value, position)
        if found is None:
            return challenges
        position = found.end()
        name, quoted, bare, scheme = found.groups()
        if scheme is not None:
            parameters = {}
            challenges.setdefault(scheme.lower(), parameters)
        else:
            parameters.setdefault(name.lower(), bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted))


def find_credentials(
    host: str,
    username: str | None = None,
    password: str | None = None,
    docker_config: str | None = None,
    run: RunCommand | None = None,
) -> RegistryCredentials | None:
    """Finds the login for a registry: user name and password, else that of the docker config file or its helpers.

    C(docker_config) is a file, or a directory with C(config.json) in it. C(run) runs a credential helper. None if there
    is no login.
    """
    if username:
        return RegistryCredentials(username, password or "")
    if not docker_config:
        return None
    path = Path(docker_config).expanduser()
    path = path / "config.json" if path.is_dir() else path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"The docker config file {path} cannot be read: {error.strerror}. Correct the path or its permissions."
        ) from None
    where = f"The docker config file {path}"
    document = load_json(data, CONFIG_LIMIT, where)
    auths, helpers, store = (
        document.get(key) if isinstance(document, dict) else None for key in ("auths", "credHelpers", "credsStore")
    )
    server = _DOCKER_HUB_LOGIN_KEY if host == DOCKER_HUB else host
    helper = helpers.get(server) or helpers.get(host) if isinstance(helpers, dict) else None
    helper = helper or store
    if helper:
        found = _run_credential_helper(helper, server, where, run)
        if found is not None:
            return found
    return _find_stored_credentials(auths, server, where) if isinstance(auths, dict) else None


def _find_stored_credentials(auths: Mapping[str, Any], server: str, where: str) -> RegistryCredentials | None:
    """Finds a login in the file itself. Keys are hosts, or the URLs of older logins."""
    for key in [server, *(key for key in auths if key != server and _parse_host(key) == _parse_host(server))]:
        entry = auths.get(key)
        if not isinstance(entry, dict) or not entry:
            continue
        username, password = entry.get("username", ""), entry.get("password", "")
        if entry.get("auth"):
            try:
                username, colon, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
            except ValueError:
                raise ImageError(
                    f"{where}: the login for {key} is not in base64. Log in again with docker login."
                ) from None
            password = password.rstrip("\0") if colon else ""
        token = entry.get("identitytoken", "")
        if not all(isinstance(value, str) for value in (username, password, token)):
            raise ImageError(f"{where}: the login for {key} is no text. Log in again with docker login.")
        if username or token:
            return RegistryCredentials(username, password, token)
    return None


def _parse_host(key: str) -> str:
    return re.sub(r"^https?://", "", key).partition("/")[0]


def _run_credential_helper(name: Any, server: str, where: str, run: RunCommand | None) -> RegistryCredentials | None:
    """Runs docker-credential-NAME get, which reads the registry from its input and writes JSON."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ImageError(
            f"{where}: it names a credential helper that cannot be a program's name. Correct credHelpers or credsStore."
        )
    program = f"docker-credential-{name}"
    if run is None:
        raise ImageError(
            f"{where} requires the credential helper {program}, but no program can be run here. "
            "Set a user name and a password."
        )
    try:
        code, output, error_output = run([program, "get"], server, ())
    except FileNotFoundError:
        raise ImageError(
            f"{where} requires the credential helper {program}, which is not on this host's PATH, "
            f"{os.environ.get('PATH', '')}. Install it there."
        ) from None
    except OSError as error:
        raise ImageError(
            f"The credential helper {program} cannot be run: {error.strerror}. Correct its permissions."
        ) from None
    if code != 0:
        if "credentials not found" in output.lower():
            return None
        # Helpers report errors on stdout or stderr. Output that looks like a login is not shown.
        message = error_output.strip() or ("" if "{" in output else output)
        raise ImageError(f"The credential helper {program} failed for {server}: {' '.join(message.split())[:200]}.")
    try:
        login = json.loads(output)
        username, secret = login["Username"], login["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ImageError(
            f"The credential helper {program} returned no login for {server}. Log in again with docker login."
        ) from None
    if not isinstance(username, str) or not isinstance(secret, str):
        raise ImageError(
            f"The credential helper {program} returned no login for {server}. Log in again with docker login."
        )
    return (
        RegistryCredentials("", identity_token=secret)
        if username == _TOKEN_USER
        else RegistryCredentials(username, secret)
    )
