# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An S3 client on the controller for an action plugin's task."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional

from ...module_utils._aws_call import CLIENT_ERRORS
from ...module_utils._image.errors import ImageError
from .s3 import BucketOptions, explain_error

# The last two: aws_config or endpoint_url is not usable.
_CLIENT_FAILURES: tuple[type[Exception], ...] = (*CLIENT_ERRORS, TypeError, ValueError)
_IDENTITY_VARIABLES = {"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"}


@contextmanager
def set_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets the task's C(environment:) in os.environ. Ansible applies it to modules only, not to action plugins."""
    # A session token belongs to its keys: the controller's token must not be sent with the task's keys.
    controller_variables = (
        {"AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"} if _IDENTITY_VARIABLES & set(variables) else set()
    )
    if _IDENTITY_VARIABLES & set(variables) and "AWS_ACCESS_KEY_ID" not in variables:
        # boto3 uses keys first: the controller's keys would override the task's profile or role.
        controller_variables |= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    before = {name: os.environ.get(name) for name in {*variables, *controller_variables}}
    for name in controller_variables:
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def make_s3_client(options: Mapping[str, Any], bucket: BucketOptions) -> Any:
    """Makes a client for the bucket's region, from the options first, then from boto3's environment and files.

    SigV4 is set because boto3 signs URLs with SigV2 by default for some regions and endpoints
    (docs/facts/image_transfer.md#s3).
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise ImageError(
            "The controller needs boto3 for transport=s3. Install it for the Python that runs Ansible."
        ) from error
    if options.get("profile") and (options.get("access_key") or options.get("secret_key")):
        raise ImageError("profile: excludes access_key and secret_key. Give one or the other.")
    given = [name for name in ("access_key", "secret_key", "session_token") if options.get(name)]
    if given and not {"access_key", "secret_key"} <= set(given):
        raise ImageError(
            f"{' and '.join(given)}: is not a complete set of credentials. Set both access_key and secret_key, or "
            "none of these options: then the environment or a profile is used."
        )
    # botocore's default of three attempts ends within 0.1 s; a store that throttles needs more retries.
    settings: dict[str, Any] = {"signature_version": "s3v4", "connect_timeout": 10}
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        settings["retries"] = {"mode": "standard", "total_max_attempts": 6}
    # From boto3 1.36, every PUT has a CRC32 by default. Here the checksum is the digest itself.
    if "request_checksum_calculation" in Config.OPTION_DEFAULTS:
        settings["request_checksum_calculation"] = "when_required"
    settings.update(options.get("aws_config") or {})

    verify = False if options.get("validate_certs") is False else options.get("aws_ca_bundle")

    try:
        # One session for both clients: it loads the service model once, which is the slowest step here.
        session = boto3.session.Session(
            aws_access_key_id=options.get("access_key"),
            aws_secret_access_key=options.get("secret_key"),
            aws_session_token=options.get("session_token"),
            profile_name=options.get("profile"),
            region_name=options.get("region"),
        )

        def make_client(region: Optional[str]) -> Any:
            given = {"endpoint_url": options.get("endpoint_url"), "verify": verify, "config": Config(**settings)}
            return session.client("s3", region_name=region, **given)

        default_client = make_client(options.get("region"))
        if "IfNoneMatch" not in default_client.meta.service_model.operation_model("PutObject").input_shape.members:
            raise ImageError(
                f"boto3 {boto3.__version__} on the controller does not support conditional writes (IfNoneMatch) to S3. "
                "Update it to 1.35.2 or newer, for the Python that runs Ansible."
            )
        region = _find_bucket_region(default_client, bucket.bucket)
        return make_client(region) if region and region != default_client.meta.region_name else default_client
    except _CLIENT_FAILURES as error:
        raise explain_error(bucket, "create a client for", type(error).__name__, str(error)) from error


def _find_bucket_region(client: Any, bucket: str) -> Optional[str]:
    """Finds the bucket's region: S3 returns it in a header, also with an error."""
    try:
        response = client.head_bucket(Bucket=bucket)
    except CLIENT_ERRORS as error:
        # The calls that follow fail with the same error, and their responses have a message; a HEAD's has none.
        response = getattr(error, "response", None)
        if not isinstance(response, Mapping):
            raise
    headers = (response.get("ResponseMetadata") or {}).get("HTTPHeaders") or {}
    region = headers.get("x-amz-bucket-region")
    return str(region) if region else None
