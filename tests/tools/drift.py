# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""drift.py [--from=VERSION]: compare what this code knows of AWS's APIs with the newest botocore of the package index.

It prints what the tables of this code lack, and with --from what has appeared in the operations of this code since that
version of botocore. It reads the models in the wheels, and installs nothing. Botocore has no list of the statuses of
databases, so nothing is compared there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT

SERVICES = (
    *("cloudtrail", "cloudwatch", "ec2", "eks", "events", "iam", "lambda", "logs", "rds", "sqs", "sts"),
    "resourcegroupstaggingapi",
)
LISTED_VALUES = 12
_CALLS = r"\b(?:call_api|paginate|get_optional|iterate_entries)"
_CALL = re.compile(_CALLS + r'\((?:[^"]{0,80}?"[a-z]+")?[^"]{0,80}?"([A-Z]\w+)"')


@dataclass(frozen=True)
class ServiceModel:
    """The API model of one service, as botocore's wheel has it."""

    content: Mapping[str, Any]

    @property
    def operations(self) -> Mapping[str, Any]:
        operations: Mapping[str, Any] = self.content["operations"]
        return operations

    def get_shape(self, name: str) -> Mapping[str, Any]:
        shape: Mapping[str, Any] = self.content["shapes"][name]
        return shape

    def get_enum(self, name: str) -> list[str]:
        return list(self.get_shape(name).get("enum") or ())

    def list_members(self, name: str, prefix: str = "", depth: int = 2) -> Iterator[str]:
        """The members of a structure, and with dots those of the structures in it."""
        for member, reference in self.get_shape(name).get("members", {}).items():
            yield f"{prefix}{member}"
            if depth > 1:
                yield from self.list_members(reference["shape"], f"{prefix}{member}.", depth - 1)

    def list_shapes(self, operations: Iterable[str]) -> set[str]:
        """Every shape in the input and the output of these operations."""
        found: set[str] = set()
        pending = [
            self.operations[name][part]["shape"]
            for name in operations
            if name in self.operations
            for part in ("input", "output")
            if part in self.operations[name]
        ]
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                shape = self.get_shape(name)
                pending += [reference["shape"] for reference in shape.get("members", {}).values()]
                pending += [shape[key]["shape"] for key in ("member", "key", "value") if key in shape]
        return found

    def list_documented_values(self, shape: str, member: str) -> list[str]:
        """The values that the documentation of a member lists under "Valid Values"."""
        text = str(self.get_shape(shape)["members"][member].get("documentation") or "")
        _before, found, after = text.partition("Valid Values")
        listed = after.partition("</ul>")[0] if found else ""
        return re.findall(r"<li>\s*<p>\s*<code>([\w.-]+)</code>", listed)


@dataclass(frozen=True)
class ApiModels:
    """The API models of every service that this code calls, from one version of botocore."""

    version: str
    services: Mapping[str, ServiceModel]

    @classmethod
    def from_wheel(cls, wheel: Path) -> ApiModels:
        version = wheel.name.split("-")[1]
        latest: dict[str, str] = {}
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(archive.namelist()):
                parts = name.split("/")
                if len(parts) == 5 and parts[2] in SERVICES and parts[4].startswith("service-2.json"):
                    latest[parts[2]] = name
            services = {service: ServiceModel(_read_json(archive, name)) for service, name in latest.items()}
        return cls(version, services)


def _read_json(archive: zipfile.ZipFile, name: str) -> Any:
    content = archive.read(name)
    return json.loads(gzip.decompress(content) if name.endswith(".gz") else content)


@dataclass(frozen=True)
class KnownTables:
    """What this code knows a table of."""

    node_group_fields: frozenset[str]
    ami_type_prefixes: tuple[str, ...]
    cluster_engines: frozenset[str]
    instance_engines: frozenset[str]
    operations: frozenset[str]

    @classmethod
    def read(cls) -> KnownTables:
        from ansible_collections.daytwo.aws.plugins.module_utils._autostop import statuses
        from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import clone, model

        return cls(
            frozenset(clone.FIELDS),
            (*(prefix for prefix, _family in model.AMI_FAMILY_PREFIXES), model.CUSTOM_AMI_TYPE),
            frozenset(statuses.CLUSTER_ENGINES),
            frozenset(statuses.INSTANCE_ENGINES),
            find_operations(path.read_text() for path in sorted((ROOT / "plugins").rglob("*.py"))),
        )


def find_operations(texts: Iterable[str]) -> frozenset[str]:
    """The operations that this code calls by their API names."""
    return frozenset(operation for text in texts for operation in _CALL.findall(text))


def compare_tables(known: KnownTables, models: ApiModels) -> dict[str, list[str]]:
    """What the API models have and the tables of this code lack, by table."""
    eks, rds = models.services["eks"], models.services["rds"]
    fields = set(eks.list_members("Nodegroup"))
    given = {
        member
        for member in eks.get_shape("CreateNodegroupRequest")["members"]
        if member not in ("clusterName", "clientRequestToken")
    }
    ami_types = [name for name in eks.get_enum("AMITypes") if not name.startswith(known.ami_type_prefixes)]
    engines = {
        "CreateDBClusterMessage": known.cluster_engines,
        "CreateDBInstanceMessage": known.instance_engines,
    }
    all_operations = {name for model in models.services.values() for name in model.operations}
    return {
        "fields of node groups without an entry in the clone's table": sorted(fields - known.node_group_fields),
        "parameters of CreateNodegroup without an entry there": sorted(given - known.node_group_fields),
        "AMI types of no known family": sorted(ami_types),
        **{
            f"engines of {shape.removesuffix('Message')} without an entry": sorted(
                set(rds.list_documented_values(shape, "Engine")) - listed
            )
            for shape, listed in engines.items()
        },
        "operations that this code calls and no model has": sorted(known.operations - all_operations),
    }


def compare_versions(known: KnownTables, before: ApiModels, after: ApiModels) -> list[str]:
    """What has appeared in the shapes of the operations that this code calls. A new shape shows by its new member."""
    lines = []
    for service, model in sorted(after.services.items()):
        old = before.services.get(service)
        shared = old.list_shapes(known.operations) if old else set()
        for name in sorted(model.list_shapes(known.operations) & shared):
            assert old
            members = sorted(
                set(model.get_shape(name).get("members", {})) - set(old.get_shape(name).get("members", {}))
            )
            lines += [f"{service}: {name}.{member}" for member in members]
            values = sorted(set(model.get_enum(name)) - set(old.get_enum(name)))
            if values:
                listed = ", ".join(values[:LISTED_VALUES])
                more = f" and {len(values) - LISTED_VALUES} more" if len(values) > LISTED_VALUES else ""
                lines.append(f"{service}: {name} = {listed}{more}")
    return lines


def download_models(version: str = "") -> ApiModels:
    """The models of a version of botocore, the newest by default, from the package index."""
    with tempfile.TemporaryDirectory(prefix="drift-") as directory:
        requirement = f"botocore=={version}" if version else "botocore"
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", directory, requirement],
            check=True,
        )
        return ApiModels.from_wheel(next(Path(directory).glob("botocore-*.whl")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="before", default="", metavar="VERSION", help="an older version of botocore")
    options = parser.parse_args()
    known, newest = KnownTables.read(), download_models()
    print(f"botocore {newest.version}, the newest, against the tables of this code:")
    for title, missing in compare_tables(known, newest).items():
        print(f"- {title}: {', '.join(missing) or 'none'}")
    if options.before:
        before = download_models(options.before)
        appeared = compare_versions(known, before, newest)
        print(f"\nIn the {len(known.operations)} operations of this code since botocore {before.version}:")
        for line in appeared or ["nothing"]:
            print(f"- {line}")


if __name__ == "__main__":
    main()
