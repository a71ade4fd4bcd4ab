# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorization at a registry: the challenge, the token server, and what a refusal means."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Callable, TypeVar
from urllib.parse import urlencode, urlsplit

from ..errors import ImageError
from ..formats.manifest import load_json
from ..http.address import format_basic_auth
from ..http.body import HttpResponse
from ..http.client import HttpClient
from ..http.errors import HttpError, HttpStatusError, redact_url
from .login import FoundLogin

_TOKEN_LIMIT = 1024 * 1024
_CLIENT_ID = "daytwo.aws"
_ANONYMOUS = ""
_LOGIN_SUGGESTION = (
    "Set the user name and password of an account that may {verb}, or the docker config file that has its login. "
    "Some registries respond like this for images that do not exist: check the name, too."
)
PULL, PUSH = "pull", "pull,push"
_EXPIRED_TOKEN = re.compile(r"\btoken\b.*\b(expired|invalid)\b", re.IGNORECASE)

_T = TypeVar("_T")
_Challenges = Mapping[str, Mapping[str, str]]


class RegistryError(ImageError):
    """A refusal by the registry, explained. C(status), C(code) and C(service_error) are those of the response."""

    def __init__(self, text: str, error: HttpStatusError) -> None:
        self.status = error.status
        self.code = error.code
        self.service_error = error.service_error
        super().__init__(text)


class TokenRefusalError(ImageError):
    """The token server gives no token."""


class RegistryAuthorizer:
    """Sends requests with the authorization that the registry asks for, which threads may share.

    A token is fetched once per repository, and again when it is refused. The login is sent only where the registry asks
    for it. Once it has required a login, requests for its other repositories begin with one. C(base): the registry's
    URL. C(actions): what a token is for, C(pull) or C(pull,push).
    """

    def __init__(self, client: HttpClient, host: str, base: str, login: FoundLogin, actions: str = PULL) -> None:
        self._actions = actions
        self._client = client
        self._host = host
        self._base = base
        self._credentials = login.credentials
        self._absence = login.absence
        self._lock = threading.Lock()
        self._authorizations: dict[tuple[str, str], str] = {}
        self._base_challenges: _Challenges | None = None
        # The challenges that were answered last, without the scope of their repository.
        self._answered: _Challenges = {}
        # The schemes of the last challenge that could not be answered.
        self._unanswered: tuple[str, ...] = ()

    def send(
        self, repository: str, subject: str, send_request: Callable[[Mapping[str, str]], _T], mount_from: str = ""
    ) -> _T:
        """Sends the request with the known authorization. After a refusal it retries once with a new authorization.

        C(mount_from): a repository that the request reads, too.
        """
        used = self._authorizations.get((repository, mount_from), _ANONYMOUS)
        if not used and self._answered:
            used = self._prefetch_authorization(repository, mount_from)
        try:
            try:
                return send_request(_build_auth_header(used))
            except HttpStatusError as error:
                challenges = self._get_challenges(error, used)
                if not challenges:
                    raise
                authorization = self._authorize(repository, mount_from, challenges, used)
                if not authorization:
                    raise
                used = authorization
            return send_request(_build_auth_header(used))
        except HttpStatusError as error:
            raise self._explain_error(error, subject, used) from None

    def _prefetch_authorization(self, repository: str, mount_from: str) -> str:
        """Authorizes a request as others before, without a refusal first. Errors are left to the request itself."""
        try:
            return self._authorize(repository, mount_from, self._answered, _ANONYMOUS)
        except ImageError:
            return _ANONYMOUS

    def _get_challenges(self, rejection: HttpStatusError, used: str) -> _Challenges:
        """Gets the challenges of a response, or those of the registry's base address.

        Some registries respond with 403 or 404 to a request without login, and ask for it only at their base address,
        where docker begins (docs/facts/image_transfer.md#registries). Storage that the registry redirects to may
        respond with 401, too. It gets no credentials.
        """
        if not rejection.url.startswith(self._base):
            return {}
        if rejection.status == 401:
            challenges = parse_challenges(rejection.headers.get("www-authenticate", ""))
            return challenges or self._fetch_base_challenges()
        if rejection.status == 400 and _EXPIRED_TOKEN.search(rejection.service_error) and used.startswith("Bearer "):
            return self._answered  # public.ecr.aws (docs/facts/image_transfer.md#copies-between-registries)
        if rejection.status in (403, 404) and not used:
            return self._fetch_base_challenges()
        return {}

    def _fetch_base_challenges(self) -> _Challenges:
        with self._lock:
            if self._base_challenges is None:
                try:
                    response = self._client.request("GET", f"{self._base}v2/", ok=(200, 401))
                except HttpError:
                    return {}  # the refusal of the request itself is the one to report
                is_login_required = response.status == 401
                self._base_challenges = (
                    parse_challenges(response.headers.get("www-authenticate", "")) if is_login_required else {}
                )
            return self._base_challenges

    def _authorize(self, repository: str, mount_from: str, challenges: _Challenges, rejected: str) -> str:
        with self._lock:
            known = self._authorizations.get((repository, mount_from), _ANONYMOUS)
            if known == rejected:
                known = self._create_authorization(repository, mount_from, challenges)
                if known:
                    self._authorizations[repository, mount_from] = known
                    self._answered = {
                        scheme: {name: value for name, value in parameters.items() if name != "scope"}
                        for scheme, parameters in challenges.items()
                    }
            return known

    def _create_authorization(self, repository: str, mount_from: str, challenges: _Challenges) -> str:
        """Creates the authorization for a challenge; an empty one where there is no login for it."""
        credentials = self._credentials
        if "bearer" in challenges:
            return "Bearer " + self._fetch_token(repository, mount_from, challenges["bearer"])
        if "basic" in challenges and credentials is not None and not credentials.identity_token:
            return format_basic_auth(credentials.username, credentials.password)
        self._unanswered = tuple(challenges)
        return _ANONYMOUS

    def _list_scopes(self, repository: str, mount_from: str, challenge: Mapping[str, str]) -> list[str]:
        """Lists the scopes of a token: those of the challenge, and those that later requests need.

        Some registries challenge a push with the scope of a pull
        (docs/facts/image_transfer.md#copies-between-registries).
        """
        scopes = challenge.get("scope", "").split()
        if not scopes or self._actions != PULL:
            scopes.append(f"repository:{repository}:{self._actions}")
        if mount_from:
            scopes.append(f"repository:{mount_from}:pull")
        return list(dict.fromkeys(scopes))

    def _fetch_token(self, repository: str, mount_from: str, challenge: Mapping[str, str]) -> str:
        realm = challenge.get("realm", "")
        if urlsplit(realm).scheme not in ("http", "https"):
            raise ImageError(
                f"The registry {self._host} requires a token, but names no token server. Correct its settings."
            )
        if self._base.startswith("https:") and not realm.startswith("https:"):
            raise ImageError(
                f"The registry {self._host} requires a token from {redact_url(realm)}, without TLS. "
                "The password is not sent there: correct the registry's settings."
            )
        scopes = self._list_scopes(repository, mount_from, challenge)
        try:
            response = self._request_token(realm, challenge.get("service", ""), scopes)
        except HttpStatusError as error:
            if error.status not in (400, 401, 403, 404):
                raise
            raise TokenRefusalError(
                f"The token server {redact_url(realm)} of the registry {self._host} refuses "
                f"{self._describe_login(is_sent=True)} a token: {self._redact(error.service_error) or error.status}. "
                f"{self._format_login_suggestion(is_sent=True)}"
            ) from None
        try:
            document = load_json(response.body, _TOKEN_LIMIT, "the response")
        except ImageError as error:
            raise ImageError(
                f"The token server {redact_url(realm)} of the registry {self._host} sent no token: {error} Check what "
                "responds there: a proxy, or another service."
            ) from None
        token = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise ImageError(f"The token server {redact_url(realm)} sent no token. Check the registry's settings.")
        return token

    def _request_token(self, realm: str, service: str, scopes: list[str]) -> HttpResponse:
        credentials = self._credentials
        named = {"service": service} if service else {}
        if credentials is not None and credentials.identity_token:
            form = {"grant_type": "refresh_token", "client_id": _CLIENT_ID, "refresh_token": credentials.identity_token}
            return self._client.request(
                "POST",
                realm,
                {"Content-Type": "application/x-www-form-urlencoded"},
                urlencode({**form, **named, "scope": " ".join(scopes)}).encode(),
                ok=(200,),
                limit=_TOKEN_LIMIT,
            )
        headers = _build_auth_header(
            format_basic_auth(credentials.username, credentials.password) if credentials else _ANONYMOUS
        )
        query = urlencode([*named.items(), *(("scope", scope) for scope in scopes)])
        url = realm + ("&" if "?" in realm else "?") + query
        return self._client.request("GET", url, headers, ok=(200,), limit=_TOKEN_LIMIT)

    # -- refusals

    def _redact(self, text: str) -> str:
        """Removes an identity token, which is sent in the body of a request."""
        token = self._credentials.identity_token if self._credentials else ""
        return text.replace(token, "...") if token else text

    def _describe_login(self, is_sent: bool) -> str:
        """Describes what was sent, and never a login that was not."""
        if self._credentials is None or not is_sent:
            return "a request without login"
        return f"the user {self._credentials.username!r}" if self._credentials.username else "the identity token"

    def _format_login_suggestion(self, is_sent: bool) -> str:
        suggestion = _LOGIN_SUGGESTION.format(verb="pull it" if self._actions == PULL else "pull and push there")
        if self._credentials is None:
            return f"{self._absence} {suggestion}".lstrip()
        if is_sent:
            return suggestion
        if self._unanswered == ("basic",):
            return (
                "The registry requires a user name and a password, but the login is an identity token, which was not "
                "sent. Set a user name and a password."
            )
        if self._unanswered:
            return (
                f"The registry requires a login by {' or '.join(self._unanswered)}, which is not supported. The login "
                "was not sent. Use a registry with basic or token authentication."
            )
        return (
            "The registry requires no login, so the login was not sent. Check the host, the port and the name: "
            "something else than the registry may respond there."
        )

    def _explain_error(self, error: HttpStatusError, subject: str, used: str) -> ImageError:
        """Explains the registry's refusal, with a suggestion."""
        refusal = error.service_error or error.status
        is_sent = bool(used)
        if error.status == 404:
            suggestion = "Check the name and the tag."
            if not is_sent and (self._unanswered or self._base_challenges):
                suggestion += (
                    f" The registry may hide it from requests without login. {self._format_login_suggestion(is_sent)}"
                )
            return RegistryError(f"The registry {self._host} does not have {subject}: {refusal}. {suggestion}", error)
        if error.status in (401, 403) and error.url.startswith(self._base):
            return RegistryError(
                f"The registry {self._host} denies {self._describe_login(is_sent)} {subject}: {refusal}. "
                f"{self._format_login_suggestion(is_sent)}",
                error,
            )
        return error


def _build_auth_header(authorization: str) -> dict[str, str]:
    return {"Authorization": authorization} if authorization else {}


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
