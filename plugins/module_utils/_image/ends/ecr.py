# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the AWS API of ECR offers: missing repositories, immutable tags, and the login. Needs boto3, on request."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ..errors import ImageError
from ..formats.reference import ImageReference
from .login import RegistryCredentials

_HOST = re.compile(r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z]{2}[a-z0-9-]+)\.[a-z0-9.-]+")
_FILTER = re.compile(r"[0-9a-zA-Z._*-]{1,128}")
_MAX_FILTERS = 5
_WITH_EXCLUSION = "_WITH_EXCLUSION"
_KMS = ("KMS", "KMS_DSSE")
_ON_PUSH = "CREATE_ON_PUSH"
_ANY_PREFIX = "ROOT"

MakeClient = Callable[[str], Any]
"""Makes boto3's client of ECR for a region."""


@dataclass(frozen=True)
class EcrHost:
    """The account and the region of a private registry of ECR."""

    account: str
    region: str

    @classmethod
    def parse(cls, host: str) -> Optional[EcrHost]:
        found = _HOST.fullmatch(host.partition(":")[0])
        return cls(found["account"], found["region"]) if found else None


@dataclass(frozen=True)
class EcrSettings:
    """The option C(ecr) of a module, checked."""

    create_repository: bool = False
    tag_mutability: Optional[str] = None
    exclusion_filters: tuple[str, ...] = ()
    scan_on_push: Optional[bool] = None
    encryption_type: Optional[str] = None
    kms_key: Optional[str] = None
    profile: Optional[str] = None
    endpoint_url: Optional[str] = None

    @classmethod
    def parse(cls, option: Mapping[str, Any]) -> EcrSettings:
        settings = cls(
            option["create_repository"],
            option["tag_mutability"],
            tuple(option["exclusion_filters"] or ()),
            option["scan_on_push"],
            option["encryption_type"],
            option["kms_key"],
            option["profile"],
            option["endpoint_url"],
        )
        settings._check()
        return settings

    def _check(self) -> None:
        has_exclusion = (self.tag_mutability or "").endswith(_WITH_EXCLUSION)
        if has_exclusion != bool(self.exclusion_filters):
            raise ImageError(
                "ecr: exclusion_filters belong to a tag_mutability with exclusion, and the other way round. Set both "
                "or neither."
            )
        for text in self.exclusion_filters:
            if not _FILTER.fullmatch(text):
                raise ImageError(
                    f"ecr: the exclusion filter {text!r} is malformed. A filter has 1 to 128 letters, digits, '.', "
                    "'_', '-' and '*'."
                )
        if len(self.exclusion_filters) > _MAX_FILTERS:
            raise ImageError(f"ecr: exclusion_filters has more than {_MAX_FILTERS} entries. Leave some out.")
        if self.kms_key and self.encryption_type not in _KMS:
            raise ImageError(f"ecr: kms_key needs the encryption_type {' or '.join(_KMS)}. Set it, too.")
        if not self.create_repository and self.get_arguments():
            raise ImageError("ecr: its settings are for repositories that are created. Set create_repository, too.")

    def get_arguments(self) -> dict[str, Any]:
        """Gets the arguments of CreateRepository. What is not set is left to the defaults of ECR."""
        encryption = {"encryptionType": self.encryption_type, "kmsKey": self.kms_key}
        arguments = {
            "imageTagMutability": self.tag_mutability,
            "imageTagMutabilityExclusionFilters": [
                {"filterType": "WILDCARD", "filter": text} for text in self.exclusion_filters
            ],
            "imageScanningConfiguration": None if self.scan_on_push is None else {"scanOnPush": self.scan_on_push},
            "encryptionConfiguration": {name: value for name, value in encryption.items() if value},
        }
        return {name: value for name, value in arguments.items() if value}


@dataclass(frozen=True)
class TagMutability:
    """Whether a repository allows a tag to be moved. Some tags can be excluded from its setting."""

    setting: str
    filters: tuple[str, ...] = ()

    def allows_move(self, tag: str) -> bool:
        is_mutable = self.setting.startswith("MUTABLE")
        is_excluded = self.setting.endswith(_WITH_EXCLUSION) and any(
            re.fullmatch(".*".join(map(re.escape, text.split("*"))), tag) for text in self.filters
        )
        return is_mutable != is_excluded


def matches_template(path: str, templates: Sequence[Mapping[str, Any]]) -> bool:
    """Whether ECR creates this repository at the first push, by one of the account's repository creation templates."""
    for template in templates:
        prefix = str(template.get("prefix", "")).rstrip("/")
        if _ON_PUSH in template.get("appliedFor", ()) and (prefix == _ANY_PREFIX or path.startswith(f"{prefix}/")):
            return True
    return False


class EcrApi:
    """The AWS API for the ECR registries of a run, which threads may share."""

    def __init__(self, settings: EcrSettings, make_client: Optional[MakeClient] = None) -> None:
        self.settings = settings
        self._make_client = make_client or self._make_boto3_client
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._credentials: dict[str, RegistryCredentials] = {}
        self._mutability: dict[str, TagMutability] = {}
        self._templates: dict[EcrHost, Optional[list[Mapping[str, Any]]]] = {}

    def find_credentials(self, host: str) -> Optional[RegistryCredentials]:
        """Gets the login for a registry of ECR: a token, which is valid for 12 hours."""
        ecr = EcrHost.parse(host)
        if ecr is None:
            return None
        with self._lock:
            if host not in self._credentials:
                response = self._call(ecr, "GetAuthorizationToken", f"login for {host}", registryIds=[ecr.account])
                try:
                    token = str(response["authorizationData"][0]["authorizationToken"])
                    username, _colon, password = base64.b64decode(token).decode().partition(":")
                except (IndexError, ValueError):
                    raise ImageError(f"ECR sent no token for {host}. Check what responds at the endpoint.") from None
                self._credentials[host] = RegistryCredentials(username, password)
            return self._credentials[host]

    def check_move(self, destination: ImageReference, tag: str) -> None:
        """Raises ImageError if the repository does not allow the tag to be moved."""
        ecr = EcrHost.parse(destination.host)
        if ecr is None:
            return
        with self._lock:
            if destination.name not in self._mutability:
                self._mutability[destination.name] = self._fetch_mutability(ecr, destination)
            mutability = self._mutability[destination.name]
        if not mutability.allows_move(tag):
            raise ImageError(
                f"The tag {tag} of {destination.name} has another digest and is immutable ({mutability.setting}). "
                "Nothing was uploaded: copy to another tag, or make this tag mutable in the repository."
            )

    def _fetch_mutability(self, ecr: EcrHost, destination: ImageReference) -> TagMutability:
        response = self._call(
            ecr,
            "DescribeRepositories",
            f"settings of {destination.name}",
            registryId=ecr.account,
            repositoryNames=[destination.path],
        )
        repository: Mapping[str, Any] = next(iter(response["repositories"]), {})
        filters = repository.get("imageTagMutabilityExclusionFilters", ())
        return TagMutability(
            repository.get("imageTagMutability", "MUTABLE"), tuple(str(entry["filter"]) for entry in filters)
        )

    def is_created_on_push(self, destination: ImageReference) -> Optional[bool]:
        """Whether a template creates a missing repository at the first push; None where that is not known."""
        ecr = EcrHost.parse(destination.host)
        if ecr is None:
            return None
        with self._lock:
            if ecr not in self._templates:
                self._templates[ecr] = self._fetch_templates(ecr)
            templates = self._templates[ecr]
        return None if templates is None else matches_template(destination.path, templates)

    def _fetch_templates(self, ecr: EcrHost) -> Optional[list[Mapping[str, Any]]]:
        """Fetches the templates; None where the identity may not list them, or lists those of another account."""
        found: list[Mapping[str, Any]] = []
        token: dict[str, str] = {}
        try:
            while True:
                response = self._call(ecr, "DescribeRepositoryCreationTemplates", "templates", **token)
                if response.get("registryId", ecr.account) != ecr.account:
                    return None
                found += response.get("repositoryCreationTemplates", ())
                if not response.get("nextToken"):
                    return found
                token = {"nextToken": str(response["nextToken"])}
        except ImageError:
            return None

    def create_repository(self, destination: ImageReference) -> bool:
        """Creates a repository. Returns whether it did: another writer may have been first."""
        ecr = EcrHost.parse(destination.host)
        if ecr is None:
            return False
        response = self._call(
            ecr,
            "CreateRepository",
            f"repository {destination.name}",
            "RepositoryAlreadyExistsException",
            registryId=ecr.account,
            repositoryName=destination.path,
            **self.settings.get_arguments(),
        )
        return bool(response)

    def _call(self, ecr: EcrHost, action: str, what: str, accepted: str = "", **arguments: Any) -> Mapping[str, Any]:
        """Calls the API. Returns an empty response for the accepted error."""
        # boto3 takes longer to load than most copies that need no AWS API.
        from ..._aws_call import CLIENT_ERRORS, ApiError, call_api

        try:
            if ecr.region not in self._clients:
                self._clients[ecr.region] = self._make_client(ecr.region)
            return call_api(self._clients[ecr.region], action, **arguments)
        except ApiError as error:
            if error.code == accepted:
                return {}
            raise ImageError(f"ECR gives no {what}. {error.explanation}") from None
        except ImportError:
            raise ImageError(
                "ecr: requires boto3 in the Python of this host. Install it, or leave the option out."
            ) from None
        except CLIENT_ERRORS as error:
            reason = str(error).rstrip(".")
            raise ImageError(f"ecr: no client of the AWS API can be made: {reason}. Correct the settings.") from None

    def _make_boto3_client(self, region: str) -> Any:
        import boto3

        session = boto3.session.Session(profile_name=self.settings.profile)
        return session.client("ecr", region_name=region, endpoint_url=self.settings.endpoint_url)
