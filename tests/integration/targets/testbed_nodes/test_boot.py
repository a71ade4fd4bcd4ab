# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure part of the boot, for the whole table: the allow-list of the kubelet, or why it does not start."""

from __future__ import annotations

import base64
import json
import shlex

import pytest
from integration.targets.testbed_nodes.kit import kubelet_config, node_config
from integration.targets.testbed_nodes.user_data import ALLOWED, FORBIDDEN, NEVER, REFUSED, SYSCTL, TABLE, Row
from testbed.nodes import al2023, bottlerocket, mime
from testbed.nodes.booting import boot
from testbed.nodes.model import Boot, BootError, Cluster, Instance, Order, family_of

CA = base64.b64encode(b"-----BEGIN CERTIFICATE-----\n").decode()
CLUSTER = Cluster("prod", "https://10.0.0.1", CA, "10.100.0.0/16")
INSTANCE = Instance(
    "i-1",
    "t3.medium",
    "ami-1",
    "eu-central-1",
    "eu-central-1a",
    "10.0.0.9",
    "ip-10-0-0-9.eu-central-1.compute.internal",
)
LABELS = {"eks.amazonaws.com/nodegroup": "g", "team": "blue"}


def order(row: Row) -> Order:
    return Order(row.family, row.custom, CLUSTER, INSTANCE, row.make(CLUSTER), LABELS, ["dedicated=db:NoSchedule"])


def allowed(made: Boot, family: str) -> list[str]:
    """The effective allow-list of the kubelet: drop-ins override the file, options override both."""
    files = made.files
    if family == "bottlerocket":
        return list(json.loads(files[bottlerocket.CONFIG]).get("allowedUnsafeSysctls", []))
    found = list(json.loads(files.get(al2023.DROP_IN, "{}")).get("allowedUnsafeSysctls", []))
    for argument in shlex.split(files["/etc/eks/kubelet/environment"].replace("NODEADM_KUBELET_ARGS=", "")):
        for option in argument.split():
            if option.startswith("--allowed-unsafe-sysctls="):
                found = option.partition("=")[2].split(",")
    return found


@pytest.mark.parametrize("row", [row for row in TABLE if row.family != "al2"], ids=lambda row: row.name)
def test_table(row: Row) -> None:
    if row.ends == REFUSED:
        data = row.make(CLUSTER)
        if row.family == "bottlerocket":
            assert row.why.split()[-1] in f"TOML format {bottlerocket.refused_by_eks(data)}"
        else:
            with pytest.raises(mime.NotMultipart):
                mime.parts(data)
    elif row.ends == NEVER and "namespaced" not in row.why:
        with pytest.raises(BootError) as caught:
            boot(order(row))
        assert row.why in str(caught.value)
    else:
        found = allowed(boot(order(row)), row.family)
        assert (SYSCTL in found) == (row.ends == ALLOWED)
        assert ("net*" in found) == (row.ends == NEVER)


def test_the_table_has_every_end_for_every_family() -> None:
    for family in ("al2023", "al2", "bottlerocket"):
        ends = {row.ends for row in TABLE if row.family == family}
        assert {ALLOWED, FORBIDDEN, NEVER} <= ends


@pytest.mark.parametrize("family", ["al2023", "bottlerocket"])
def test_eks_adds_labels_taints_and_the_cluster_to_its_own_images(family: str) -> None:
    made = boot(Order(family, False, CLUSTER, INSTANCE, b"", LABELS, ["dedicated=db:NoSchedule"]))
    text = "\n".join(made.files.values())
    assert "eks.amazonaws.com/nodegroup=g,team=blue" in text
    assert "dedicated=db:NoSchedule" in text
    assert "https://10.0.0.1" in text
    assert "aws:///eu-central-1a/i-1" in text


def test_what_is_empty_changes_nothing_and_maps_merge_key_by_key() -> None:
    first = kubelet_config(
        {"allowedUnsafeSysctls": [SYSCTL], "evictionHard": {"memory.available": "1Gi"}, "maxPods": 9}
    )
    second = kubelet_config({"allowedUnsafeSysctls": [], "evictionHard": {"nodefs.available": "5%"}})
    made = boot(Order("al2023", False, CLUSTER, INSTANCE, node_config(first, second)))
    config = json.loads(made.files[al2023.DROP_IN])
    assert config["allowedUnsafeSysctls"] == [SYSCTL]
    assert config["evictionHard"] == {"memory.available": "1Gi", "nodefs.available": "5%"}
    assert config["maxPods"] == 9


def test_shell_parts_of_al2023_run_as_well() -> None:
    data = node_config("#!/bin/sh\ntrue\n", kind="text/x-shellscript")
    made = boot(Order("al2023", False, CLUSTER, INSTANCE, data))
    assert (list(made.scripts), made.starts) == (["#!/bin/sh\ntrue\n"], True)


def test_al2_leaves_the_start_to_the_user_data_and_its_own_call() -> None:
    made = boot(Order("al2", False, CLUSTER, INSTANCE, b"#!/bin/sh\ntrue\n", LABELS))
    assert (made.scripts[0], made.starts) == ("#!/bin/sh\ntrue\n", False)
    assert "/etc/eks/bootstrap.sh prod --kubelet-extra-args" in made.scripts[1]
    assert boot(Order("al2", True, CLUSTER, INSTANCE, b"")).scripts == []


def test_a_custom_image_is_taken_for_the_family_of_its_user_data() -> None:
    assert [family_of("CUSTOM", row.make(CLUSTER)) for row in TABLE if row.custom] == [
        row.family for row in TABLE if row.custom
    ]
