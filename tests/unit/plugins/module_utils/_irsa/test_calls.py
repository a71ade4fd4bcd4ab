# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations by their API names, with and without botocore."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.calls import call


class Client:
    """Answers with the name of the method that was called."""

    def __getattr__(self, method: str) -> Any:
        return lambda **arguments: {"method": method, **arguments}


@pytest.mark.parametrize(
    ("operation", "method"),
    [
        ("GetRole", "get_role"),
        ("GetOpenIDConnectProvider", "get_open_id_connect_provider"),
        ("AddClientIDToOpenIDConnectProvider", "add_client_id_to_open_id_connect_provider"),
        ("CreateOpenIDConnectProvider", "create_open_id_connect_provider"),
        ("AssumeRoleWithWebIdentity", "assume_role_with_web_identity"),
        ("ListPodIdentityAssociations", "list_pod_identity_associations"),
        ("SimulatePrincipalPolicy", "simulate_principal_policy"),
    ],
)
def test_an_operation_is_called_by_botocores_name_for_it(operation: str, method: str) -> None:
    assert call(Client(), operation, Name="x") == {"method": method, "Name": "x"}


def test_the_names_are_botocores() -> None:
    botocore = pytest.importorskip("botocore")
    session = pytest.importorskip("botocore.session").get_session()
    for service in ("iam", "sts", "eks", "resourcegroupstaggingapi"):
        for operation in session.get_service_model(service).operation_names:
            assert call(Client(), operation)["method"] == botocore.xform_name(operation), operation
