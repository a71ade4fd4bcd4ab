# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents from which a reader copies: the README's playbook runs, the policy is what a transfer needs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from integration.targets.image_offline_transfer.kit import BUCKET, HOST_CA, MODULE, PLAIN, PRIVATE, SAVE, Case

ROOT = Path(__file__).parents[4]
NAME = f"{PLAIN}/it-small:v1"


def readme_playbook() -> Any:
    """The README's play that has the role."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if "daytwo.aws.image_transfer" in block]
    assert len(block.splitlines()) <= 12
    return yaml.safe_load(block)


def test_the_playbook_in_the_readme_runs(case: Case) -> None:
    # Only what belongs to a site is replaced: the image's registry, the bucket, and how to trust both.
    assert "image_transfer_images" in readme_playbook()[0]["roles"][0]["vars"]
    site = {name: value for name, value in case.variables(NAME).items() if not name.endswith(("_targets", "_host"))}
    ran = case.ansible.run(readme_playbook(), {**site, "image_transfer_ca_path": HOST_CA}).succeed()
    for host in PRIVATE:
        case.proves(host, NAME, case.image("it-small:v1"))
        assert ran.report(host)["bytes_transferred"] > 0


def policy_actions() -> dict[str, set[str]]:
    """The S3 actions of the policy, by the kind of its resource: bucket or object."""
    actions: dict[str, set[str]] = {"bucket": set(), "object": set()}
    for statement in json.loads((ROOT / "docs/iam/image_offline_transfer.json").read_text())["Statement"]:
        named = statement["Action"]
        for action in [named] if isinstance(named, str) else named:
            if action.startswith("s3:"):
                actions["object" if "/" in statement["Resource"] else "bucket"].add(action)
    return actions


def made_calls(case: Case) -> dict[str, set[str]]:
    """The actions of a transfer's calls since the mark. No other than the collection makes calls in this time."""
    calls = [call for call in case.bed.recorder.calls(service="s3", bucket=BUCKET) if call.began >= case.since]
    return {
        # Bucket calls have no prefix, so other runs' calls are among them; the same policy applies to them.
        "bucket": {call.action for call in calls if not call.key},
        "object": {call.action for call in case.calls()},
    }


def test_the_policy_names_what_a_transfer_calls_and_nothing_more(case: Case) -> None:
    image = case.image("it-app:v1")
    name = f"{PLAIN}/it-app:v1"
    part = 5 * 1024 * 1024
    assert max(layer.size for layer in image.layers) > part, "one blob goes in parts"

    case.mark()
    case.check(name, part_size=part).succeed()
    assert made_calls(case) == {"bucket": {"s3:ListBucket"}, "object": {"s3:GetObject"}}, "check mode only looks"

    # What a killed run leaves: an upload in parts that is not complete.
    key = case.key(max(image.layers, key=lambda layer: layer.size).digest)
    case.client().create_multipart_upload(Bucket=BUCKET, Key=key)
    case.mark()
    ran = case.transfer(name, part_size=part).succeed()
    assert ran.single(SAVE).result["uploads_aborted"] == 1
    expected = policy_actions()
    assert made_calls(case) == {"bucket": expected["bucket"], "object": expected["object"] - {"s3:DeleteObject"}}
    assert case.uploads() == []

    # The statement that may be dropped is needed for state=absent and for nothing else.
    case.mark()
    absent = {
        "hosts": "public",
        "gather_facts": False,
        "tasks": [
            {
                "name": "Delete",
                MODULE: {
                    "state": "absent",
                    "bundle": ran.single(SAVE).result["bundle"],
                    "bucket": BUCKET,
                    "prefix": case.prefix,
                },
            }
        ],
    }
    case.ansible.run([absent]).succeed()
    assert case.keys() == []
    assert made_calls(case)["object"] == {"s3:GetObject", "s3:DeleteObject"}
