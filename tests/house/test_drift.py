# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""make drift, over small models: what the tables of this code lack, and what has appeared since a version."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

from common import ROOT
from drift import SERVICES, ApiModels, KnownTables, compare_tables, compare_versions, find_operations

ENGINES = "<p>The engine.</p> <p>Valid Values:</p> <ul> <li> <p> <code>aurora-mysql</code> </p> </li> {} </ul>"


def make_model(*fields: str, ami_types: tuple[str, ...] = (), engine: str = "") -> dict[str, Any]:
    members = {field: {"shape": "Scaling" if field == "scalingConfig" else "String"} for field in fields}
    text = ENGINES.format(f"<li> <p> <code>{engine}</code> </p> </li>" if engine else "")
    engines = {"type": "structure", "members": {"Engine": {"shape": "String", "documentation": text}}}
    return {
        "operations": {"DescribeNodegroup": {"output": {"shape": "DescribeNodegroupResponse"}}},
        "shapes": {
            "DescribeNodegroupResponse": {"type": "structure", "members": {"nodegroup": {"shape": "Nodegroup"}}},
            "Nodegroup": {"type": "structure", "members": {**members, "amiType": {"shape": "AMITypes"}}},
            "CreateNodegroupRequest": {"type": "structure", "members": {"clusterName": {"shape": "String"}, **members}},
            "Scaling": {"type": "structure", "members": {"minSize": {"shape": "String"}}},
            "AMITypes": {"type": "string", "enum": ["AL2023_x86_64_STANDARD", "CUSTOM", *ami_types]},
            "String": {"type": "string"},
            "CreateDBClusterMessage": engines,
            "CreateDBInstanceMessage": engines,
        },
    }


def write_wheel(directory: Path, version: str, model: dict[str, Any]) -> ApiModels:
    path = directory / f"botocore-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("botocore/data/eks/2017-11-01/service-2.json.gz", gzip.compress(json.dumps(model).encode()))
        archive.writestr("botocore/data/rds/2014-09-01/service-2.json", json.dumps({"operations": {}, "shapes": {}}))
        archive.writestr("botocore/data/rds/2014-10-31/service-2.json", json.dumps({**model, "operations": {}}))
        archive.writestr("botocore/data/other/2014-10-31/service-2.json", "{}")
    return ApiModels.from_wheel(path)


KNOWN = KnownTables(
    frozenset({"scalingConfig", "scalingConfig.minSize", "amiType"}),
    ("AL2023_", "CUSTOM"),
    frozenset({"aurora-mysql"}),
    frozenset({"aurora-mysql", "mysql"}),
    frozenset({"DescribeNodegroup"}),
)


def test_a_complete_table_misses_nothing(tmp_path: Path) -> None:
    models = write_wheel(tmp_path, "1.0.0", make_model("scalingConfig"))
    assert set(models.services) == {"eks", "rds"}
    assert not any(compare_tables(KNOWN, models).values())


def test_what_a_table_does_not_have_is_named(tmp_path: Path) -> None:
    model = make_model("scalingConfig", "warmPoolConfig", ami_types=("AL2027_x86_64",), engine="mysql")
    found = list(compare_tables(KNOWN, write_wheel(tmp_path, "1.0.0", model)).values())
    assert found == [["warmPoolConfig"], ["warmPoolConfig"], ["AL2027_x86_64"], ["mysql"], [], []]


def test_what_has_appeared_since_a_version_is_listed(tmp_path: Path) -> None:
    before = write_wheel(tmp_path, "1.0.0", make_model("scalingConfig"))
    after = write_wheel(tmp_path, "2.0.0", make_model("scalingConfig", "warmPoolConfig", ami_types=("NEW",)))
    assert compare_versions(KNOWN, before, after) == ["eks: AMITypes = NEW", "eks: Nodegroup.warmPoolConfig"]
    many = write_wheel(tmp_path, "3.0.0", make_model("scalingConfig", ami_types=tuple(f"T{n:02}" for n in range(14))))
    assert compare_versions(KNOWN, before, many)[0].endswith("T11 and 2 more")


def test_the_operations_of_this_code_are_found() -> None:
    sources = [
        'call_api(client, "GetRole", RoleName=name)',
        'paginate(\n        client,\n        "ListRoles", "Roles")',
        'call_api(self.get_client("sts", None), "GetCallerIdentity")',
        'get_optional(client, "DescribeRule", NOT_FOUND_CODES)',
    ]
    # A client that is made in the call has a service's name in quotes before the operation.
    assert find_operations(sources) == {"GetRole", "ListRoles", "GetCallerIdentity", "DescribeRule"}
    found = KnownTables.read().operations
    assert {"DescribeNodegroup", "UpdateAssumeRolePolicy", "StopDBCluster", "PutRule"} <= found
    assert len(SERVICES) < len(found)


def test_every_table_is_read() -> None:
    known = KnownTables.read()
    assert "scalingConfig" in known.node_group_fields
    assert "aurora-mysql" in known.cluster_engines
    assert (ROOT / "tests" / "tools" / "drift.py").exists()
