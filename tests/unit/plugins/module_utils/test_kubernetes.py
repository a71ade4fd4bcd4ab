# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are given as kubeconfig, and are something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils import _kubernetes
from ansible_collections.daytwo.aws.plugins.module_utils._eks_token import ClusterError

pytest.importorskip("kubernetes")
NO_CLUSTER = """
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: none, user: none}}]
clusters: []
users: []
"""


@pytest.mark.parametrize(
    "content",
    [
        b"root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n",
        b"",
        b"just text",
        b"[1, 2]",
        b"{",
        b"a: b",
        b"\x00\xff\xfe binary",
        b"apiVersion: v1\nkind: Config\ncontexts: text\n",
        NO_CLUSTER.encode(),
    ],
)
@pytest.mark.parametrize("context", [None, "c"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, content: bytes, context: str | None) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)
    with pytest.raises(ClusterError) as caught:
        _kubernetes.make_kubeconfig_client(str(path), context)
    assert f"No cluster by kubeconfig {path}" in str(caught.value)
    assert "Give cluster, or a kubeconfig with that context." in str(caught.value)
    assert ".." not in str(caught.value)


def test_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="No cluster by kubeconfig"):
        _kubernetes.make_kubeconfig_client(str(tmp_path), None)
