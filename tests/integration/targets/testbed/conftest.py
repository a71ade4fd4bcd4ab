# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from testbed import Bed


@pytest.fixture(scope="session")
def bed() -> Bed:
    return Bed.load()


@pytest.fixture
def recorder(bed: Bed) -> Iterator[Any]:
    """The gate's recorder with an empty record. Denials and faults are removed afterwards."""
    bed.recorder.reset()
    yield bed.recorder
    bed.recorder.deny([])
    bed.recorder.faults([])


@pytest.fixture
def client(bed: Bed) -> Any:
    """client("rds") makes a boto3 client for the bed's AWS, without retries, so that each call is a single request."""
    import boto3
    from botocore.config import Config

    env = bed.env

    def make(service: str, region: str | None = None, **options: Any) -> Any:
        return boto3.client(
            service,
            region_name=region or env["AWS_REGION"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=env["AWS_ENDPOINT_URL_S3" if service == "s3" else "AWS_ENDPOINT_URL"],
            verify=env["AWS_CA_BUNDLE"],
            config=Config(signature_version="s3v4" if service == "s3" else None, retries={"total_max_attempts": 1}),
            **options,
        )

    return make
