# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role irsa_namespace, from the results of its tasks."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.filter.irsa_namespace_steps import FilterModule
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.findings import ANNOTATION
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.procedure import (
    ProcedureOptions,
    ProcedureResults,
    build_annotations,
    decide,
)

ARN = "arn:aws:iam::123456789012:role/lbc"
DEPLOYMENT = {"kind": "Deployment", "name": "web", "api_version": "apps/v1", "restartable": True}


def item(name: str = "web", **more: Any) -> dict[str, Any]:
    return {
        "name": f"shop/{name} with lbc",
        "status": "pending",
        "reason": "The annotation is missing.",
        "role": "lbc",
        "role_arn": ARN,
        "namespace": "shop",
        "service_account": name,
        "state": "present",
        "exists": True,
        "annotated": False,
        "conflict": None,
        "service_account_ok": False,
        "owners": [],
        **more,
    }


def steps(**results: Any) -> dict[str, Any]:
    options = {key: results.pop(key) for key in ("restart", "create_service_accounts", "check_mode") if key in results}
    return decide(ProcedureResults(**results), ProcedureOptions("blue", **options))


def read(*items: Any) -> dict[str, Any]:
    return {"service_accounts": list(items)}


def binding(name: str, status: str, **more: Any) -> dict[str, Any]:
    return {
        "name": f"lbc: shop/{name} of blue",
        "status": status,
        "reason": "why",
        "role": "lbc",
        "namespace": "shop",
        "service_accounts": [name],
        **more,
    }


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["name"] for entry in entries]


def test_nothing_is_to_do_without_results() -> None:
    found = steps()
    assert not any(found[key] for key in found)


def test_bindings_of_a_role_and_namespace_are_joined() -> None:
    found = steps(before=read(item("web"), item("api"), item("old", state="absent", annotated=True)))
    assert found["to_trust"] == [
        {"role": "lbc", "cluster": "blue", "namespace": "shop", "service_accounts": ["web", "api"], "state": "present"}
    ]
    assert found["to_untrust"][0]["service_accounts"] == ["old"]
    assert names(found["to_annotate"]) == ["shop/web with lbc", "shop/api with lbc"]
    assert found["to_annotate"][0]["annotations"] == {ANNOTATION: ARN}
    assert names(found["to_clean"]) == ["shop/old with lbc"]
    assert found["failures"] == []


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"status": "failed", "reason": "403 forbidden"}, "403 forbidden"),
        ({"role_arn": None}, "The role lbc does not exist"),
        ({"conflict": "names another role"}, "names another role"),
        ({"exists": False}, "irsa_namespace_create_service_accounts=true"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written_and_the_others_go_on(
    more: dict[str, Any], text: str
) -> None:
    found = steps(before=read(item("web", **more), item("api")), create_service_accounts=False)
    assert names(found["failures"]) == ["shop/web with lbc"]
    assert text in found["failures"][0]["reason"]
    assert text in found["message"]
    assert [entry["service_accounts"] for entry in found["to_trust"]] == [["api"]]
    assert names(found["to_annotate"]) == ["shop/api with lbc"]
    assert found["lines"][0] == f"shop/web with lbc: failed. {found['failures'][0]['reason']}"


def test_a_failed_trust_policy_stops_only_its_service_accounts() -> None:
    trusted = {"bindings": [binding("web", "failed"), binding("api", "changed")]}
    found = steps(before=read(item("web", role=ARN), item("api", role=ARN)), trusted=trusted)
    assert names(found["to_annotate"]) == ["shop/api with lbc"]
    assert found["failures"] == [{"name": "shop/web with lbc", "reason": "why"}]
    assert found["lines"][:2] == ["IAM: lbc: shop/web of blue: failed. why", "IAM: lbc: shop/api of blue: changed. why"]


def test_a_service_account_that_cannot_be_annotated_is_not_restarted() -> None:
    before = read(item("web"), item("api"))
    annotated = {
        "results": [
            {"item": {"name": "shop/web with lbc"}, "failed": True, "msg": "namespace not found"},
            {"item": {"name": "shop/api with lbc", "namespace": "shop", "service_account": "api"}, "changed": True},
        ]
    }
    stale = read(item("web", owners=[DEPLOYMENT]), item("api", owners=[{**DEPLOYMENT, "name": "api"}]))
    found = steps(before=before, annotated=annotated, stale=stale)
    assert names(found["restarts"]) == ["api"]
    assert "namespace not found" in found["message"]
    assert found["lines"][:2] == ["done: annotate service account shop/api", "done: restart Deployment shop/api"]
    assert steps(before=before, stale=stale, restart=False)["restarts"] == []
    assert steps(before=before, stale=stale, check_mode=True)["lines"][0] == "would: restart Deployment shop/web"


def test_an_owner_of_two_service_accounts_is_restarted_once() -> None:
    stale = read(item("web", owners=[DEPLOYMENT]), item("api", owners=[DEPLOYMENT]))
    assert steps(stale=stale)["restarts"] == [{**DEPLOYMENT, "namespace": "shop"}]


def test_no_trust_is_removed_while_pods_still_have_the_role() -> None:
    absent = {"state": "absent", "annotated": True}
    before, stale = read(item("web", **absent), item("api", **absent)), read(item("web", owners=[DEPLOYMENT], **absent))
    waited = read(item("web", owners=[DEPLOYMENT], **absent), item("api", **absent))
    found = steps(before=before, stale=stale, waited=waited)
    assert [entry["service_accounts"] for entry in found["to_untrust"]] == [["api"]]
    assert "were not replaced in time" in found["failures"][0]["reason"]
    refused = {"results": [{"item": {**DEPLOYMENT, "namespace": "shop"}, "failed": True, "msg": "403"}]}
    found = steps(before=before, stale=stale, restarted=refused)
    assert "Deployment web was not restarted: 403" in found["failures"][0]["reason"]
    assert not any(line.startswith("done: restart") for line in found["lines"])


def test_the_last_reading_decides() -> None:
    after = read(item("web", status="failed", reason="STS answered AccessDenied"), item("api", service_account_ok=True))
    found = steps(before=read(item("web"), item("api")), after=after)
    assert names(found["failures"]) == ["shop/web with lbc"]  # stale pods alone fail nothing
    assert found["service_accounts"] == after["service_accounts"]
    assert names(steps(before=read(item("web")), after=read(item("web")))["failures"]) == ["shop/web with lbc"]
    untrusted = {"bindings": [binding("old", "failed")]}
    assert steps(before=read(item("old", state="absent")), untrusted=untrusted)["message"] == "shop/old with lbc: why"


def test_annotations_are_texts() -> None:
    assert build_annotations(None, None) == {}
    assert build_annotations(3600, False) == {
        "eks.amazonaws.com/token-expiration": "3600",
        "eks.amazonaws.com/sts-regional-endpoints": "false",
    }


def test_texts_of_a_form_are_parsed() -> None:
    filter_ = FilterModule().filters()["irsa_namespace_steps"]
    found = filter_(
        {"before": read(item("web", exists=False))},
        cluster="blue",
        create_service_accounts="true",
        restart="false",
        check_mode=False,
        token_expiration="3600",
        sts_regional_endpoints="",
    )
    assert found["to_annotate"][0]["annotations"] == {ANNOTATION: ARN, "eks.amazonaws.com/token-expiration": "3600"}
