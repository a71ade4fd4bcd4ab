# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS tokens, created as the AWS CLI creates them, and the API server's responses to them."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.credentials
from testbed import paths
from testbed.eks import Cluster

PREFIX = "k8s-aws-v1."
HOST = f"sts.{paths.REGION}.amazonaws.com"


def url(
    keys: Mapping[str, str],
    cluster: str,
    age: timedelta = timedelta(),
    host: str = HOST,
    action: str = "GetCallerIdentity",
    headers: Mapping[str, str] | None = None,
    more: str = "",
    expires: int = 60,
) -> str:
    """The URL of a presigned STS call."""
    signed = {"x-k8s-aws-id": cluster} if headers is None else headers
    call = f"https://{host}/?Action={action}&Version=2011-06-15{more}"
    request = botocore.awsrequest.AWSRequest("GET", call, headers=signed)
    signer = botocore.auth.SigV4QueryAuth(botocore.credentials.Credentials(**keys), "sts", paths.REGION, expires)
    with mock.patch("botocore.auth.get_current_datetime", return_value=datetime.now(timezone.utc) - age):
        signer.add_auth(request)
    return str(request.url)


def token(presigned: str) -> str:
    return PREFIX + base64.urlsafe_b64encode(presigned.encode()).decode().rstrip("=")


def call_api(
    cluster: Cluster, bearer: str, path: str, method: str = "GET", body: Any = None
) -> tuple[int, dict[str, Any]]:
    """The API server's response to a call with this token."""
    context = ssl.create_default_context(cadata=cluster.ca)
    connection = http.client.HTTPSConnection(paths.CLUSTER, 443, timeout=20, context=context)
    try:
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def identity(cluster: Cluster, bearer: str) -> dict[str, Any] | None:
    """The identity of the token in the API server; None for a rejected token."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    status, response = call_api(cluster, bearer, "/apis/authentication.k8s.io/v1/selfsubjectreviews", "POST", review)
    if status == 401:
        return None
    user: dict[str, Any] = response["status"]["userInfo"]
    return user
