# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ten hard cases (docs/facts/irsa.md#hard-cases), end to end: check, run, check again, run again, a role for each.

One play updates all roles at once, as a fleet does. STS then shows with real tokens who may assume them.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from integration.targets.aurora_autostop.kit import TaskResult
from integration.targets.iam_irsa_namespace.kit import SERVICE, STS, Account, Cluster, binding, document, of, value
from testbed.gate import Fault
from testbed.own_aws import OwnAws

FENCE = {"IpAddress": {"aws:SourceIp": "198.51.100.0/24"}}
A, B = "a/one", "b/two"
GITHUB = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"


def cases(blue: Cluster, green: Cluster) -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """By the role's name: its trust policy, and the requested bindings."""
    both = blue.trust(A)
    both["Condition"]["StringLike"] = {blue.key("sub"): "system:serviceaccount:*"}
    fenced = blue.trust(A)
    fenced["Condition"].update(FENCE)
    github = {
        "Sid": "GitHub",
        "Effect": "Allow",
        "Principal": {"Federated": GITHUB},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringLike": {"token.actions.githubusercontent.com:sub": "repo:example/app:*"}},
    }
    deny = {**blue.trust("c/three"), "Effect": "Deny", "Sid": "No"}
    crowd = document(SERVICE, github, deny, {**blue.trust(A), "Sid": "Mine"}, Id="kept")
    many = [f"namespace/service-account-{number:03}" for number in range(27)]
    return {
        "case-1": (document(SERVICE, blue.trust(A)), [binding("case-1", B)]),
        "case-2": (
            document(blue.trust(A)),
            [{**binding("case-2", B), "service_accounts": None, "all_service_accounts": True}],
        ),
        "case-3": (document(both), [binding("case-3", B)]),
        "case-4": (document(green.trust(A), blue.trust(A)), [binding("case-4", B)]),
        "case-4-list": (
            document({**blue.trust(A), "Principal": {"Federated": [blue.arn, green.arn]}}),
            [binding("case-4-list", B)],
        ),
        "case-5": (document(fenced), [binding("case-5", B)]),
        "case-6": (crowd, [binding("case-6", B)]),
        "case-6-deny": (crowd, [binding("case-6-deny", "c/three")]),
        "case-7": (document(SERVICE, blue.trust(B)), [binding("case-7", B, state="absent")]),
        "case-7-only": (document(blue.trust(B)), [binding("case-7-only", B, state="absent")]),
        "case-8": (document(blue.trust(*many)), [binding("case-8", f"namespace/{'x' * 200}")]),
        "case-9-no-aud": (document(blue.trust(A, aud=None)), [binding("case-9-no-aud", B)]),
        "case-9-aud": (document(blue.trust(A, aud="vault")), [binding("case-9-aud", B)]),
        "case-9-set": (document(blue.trust(A, operator="ForAllValues:StringEquals")), [binding("case-9-set", A)]),
    }


class Played:
    """What four tasks returned, and the roles before, between and after."""

    def __init__(self, account: Account) -> None:
        self.account = account
        account.aws.client("iam").create_open_id_connect_provider(
            Url="https://token.actions.githubusercontent.com", ClientIDList=[STS]
        )
        self.blue, self.green = account.cluster_of("blue"), account.cluster_of("green")
        all_cases = cases(self.blue, self.green)
        self.before = {role: before for role, (before, _bindings) in all_cases.items()}
        for role, before in self.before.items():
            account.role(role, before)
        options = {
            "bindings": [binding_entry for _before, bindings in all_cases.values() for binding_entry in bindings]
        }
        account.aws.forget()
        self.checked = account.tasks({**options, "_check": True})[0]
        self.check_writes = account.writes()
        (self.ran, self.checked_again, self.again) = account.tasks(options, {**options, "_check": True}, options)
        self.updated = account.aws.calls(operation="UpdateAssumeRolePolicy")
        self.after = {role: account.trust_of(role) for role in self.before}

    def lets_in(self, role: str, subject: str, cluster: Cluster | None = None) -> bool:
        return self.account.lets_in(role, cluster or self.blue, subject)


@pytest.fixture(scope="module")
def played(aws: OwnAws, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return Played(Account(aws, Path(tmp_path_factory.mktemp("irsa"))))


REJECTED = ("case-6-deny", "case-7-only", "case-8")


def test_check_mode_reports_what_the_run_does_and_writes_nothing(played: Played) -> None:
    assert played.check_writes == []
    without = {"verified"}
    for checked_item, applied_item in zip(
        played.checked.result["bindings"], played.ran.result["bindings"], strict=True
    ):
        assert {k: v for k, v in checked_item.items() if k not in without} == {
            k: v for k, v in applied_item.items() if k not in without
        }
    assert played.checked.result["diff"] == played.ran.result["diff"]
    assert played.checked.changed
    assert played.ran.changed


def test_the_second_run_writes_nothing(played: Played) -> None:
    assert len(played.updated) == len(played.before) - len(REJECTED)
    for outcome in (played.checked_again, played.again):
        assert not outcome.changed
        assert outcome.result["diff"] == []
        for role in played.before:
            assert of(outcome, role)["status"] == ("failed" if role in REJECTED else "ok")


def test_a_rejected_role_is_unchanged_and_stops_no_other(played: Played) -> None:
    assert played.ran.failed
    for role in played.before:
        item = of(played.ran, role)
        assert item["status"] == ("failed" if role in REJECTED else "changed"), item
        assert item["verified"] is (None if role in REJECTED else True)
    for role in REJECTED:
        assert played.after[role] == played.before[role]


def added(before: Mapping[str, Any], index: int, key: str, *subjects: str) -> dict[str, Any]:
    expected = copy.deepcopy(dict(before))
    expected["Statement"][index]["Condition"]["StringEquals"][key] = [value(subject) for subject in subjects]
    return expected


def test_case_1_a_string_becomes_an_array_of_both(played: Played) -> None:
    assert played.after["case-1"] == added(played.before["case-1"], 1, played.blue.key("sub"), A, B)
    assert played.lets_in("case-1", A)
    assert played.lets_in("case-1", B)
    assert not played.lets_in("case-1", "b/one")


def test_case_2_a_wildcard_gets_a_statement_of_its_own(played: Played) -> None:
    assert played.after["case-2"] == document(played.blue.trust(A), played.blue.trust("b/*", operator="StringLike"))
    assert all(played.lets_in("case-2", subject) for subject in (A, B, "b/any"))
    assert not played.lets_in("case-2", "bb/any")


def test_case_3_of_two_operators_none_is_edited(played: Played) -> None:
    (before,) = played.before["case-3"]["Statement"]
    assert played.after["case-3"] == document(before, played.blue.trust(B))
    assert played.lets_in("case-3", A)
    assert played.lets_in("case-3", B)


def test_case_4_only_the_clusters_own_statement_changes(played: Played) -> None:
    assert played.after["case-4"] == added(played.before["case-4"], 1, played.blue.key("sub"), A, B)
    assert not played.lets_in("case-4", B, played.green)
    assert played.lets_in("case-4", A, played.green)
    (before,) = played.before["case-4-list"]["Statement"]
    assert played.after["case-4-list"] == document(before, played.blue.trust(B))


def test_case_5_another_condition_stays_and_is_inherited(played: Played) -> None:
    assert played.after["case-5"] == added(played.before["case-5"], 0, played.blue.key("sub"), A, B)
    item = of(played.ran, "case-5")
    assert item["conditions"] == ['IpAddress aws:SourceIp: "198.51.100.0/24"']
    assert "also requires IpAddress aws:SourceIp" in played.ran.warnings
    assert played.lets_in("case-5", B)
    played.account.aws.send_command("sts/settings", source_ip="192.0.2.1")
    try:
        for cluster in (played.blue, played.green):
            played.account.aws.send_command("sts/publish", issuer=cluster.issuer.url, keys=cluster.issuer.jwks)
        assert not played.lets_in("case-5", B)
        assert played.lets_in("case-1", B)
    finally:
        played.account.aws.send_command("sts/settings")
        for cluster in (played.blue, played.green):
            played.account.aws.send_command("sts/publish", issuer=cluster.issuer.url, keys=cluster.issuer.jwks)


def test_case_6_everything_else_stays_and_a_deny_is_reported(played: Played) -> None:
    assert played.after["case-6"] == added(played.before["case-6"], 3, played.blue.key("sub"), A, B)
    denied = of(played.ran, "case-6-deny")
    assert "Statement[2] (No)" in denied["reason"]
    assert "a Deny overrules the Allow: Statement[2] (No)" in denied["warnings"][0]
    assert not played.lets_in("case-6-deny", "c/three")


def test_case_7_the_last_subject_removes_its_statement(played: Played) -> None:
    assert played.after["case-7"] == document(SERVICE)
    assert not played.lets_in("case-7", B)
    refused = of(played.ran, "case-7-only")
    assert "would have no statement left" in refused["reason"]
    assert played.lets_in("case-7-only", B)


def test_case_8_over_the_quota(played: Played) -> None:
    item = of(played.ran, "case-8")
    (role,) = [role_item for role_item in played.ran.result["roles"] if role_item["name"] == "case-8"]
    size = len(json.dumps(played.before["case-8"], separators=(",", ":")))
    assert (role["size_before"], role["size_after"], role["quota"]) == (size, size, 2048)
    for text in ("quota is 2048", "higher quota", "split the role", "Pod Identity", "characters"):
        assert text in item["reason"]


def test_case_8_iam_decides_where_the_quota_is_not_known(played: Played) -> None:
    account = played.account
    account.aws.deny("iam:GetAccountSummary")
    try:
        outcome = account.task(binding("case-8", f"namespace/{'x' * 200}"))
    finally:
        account.aws.deny()
    assert outcome.failed
    assert not outcome.changed
    assert "Cannot exceed quota for ACLSizePerRole: 2048" in outcome.message
    assert "Pod Identity" in outcome.message
    assert "iam:GetAccountSummary" in outcome.warnings
    assert account.trust_of("case-8") == played.before["case-8"]


def test_case_9_audiences_and_set_operators(played: Played) -> None:
    bare = of(played.ran, "case-9-no-aud")
    assert "does not check the audience" in bare["warnings"][0]
    assert list(played.after["case-9-no-aud"]["Statement"][0]["Condition"]["StringEquals"]) == [played.blue.key("sub")]
    (custom,) = played.before["case-9-aud"]["Statement"]
    assert played.after["case-9-aud"] == document(custom, played.blue.trust(B))
    (loose,) = played.before["case-9-set"]["Statement"]
    assert played.after["case-9-set"] == document(loose, played.blue.trust(A))
    assert "ForAllValues" in of(played.ran, "case-9-set")["warnings"][0]


def wait_for_calls(account: Account, operation: str, count: int) -> None:
    end = time.monotonic() + 60
    while len(account.aws.calls(operation=operation)) < count:
        if time.monotonic() > end:
            raise TimeoutError(f"no {operation}")
        time.sleep(0.02)


def test_case_10_a_write_between_read_and_write_is_kept(account: Account) -> None:
    blue = account.cluster_of("blue")
    account.role("lbc", document(blue.trust(A)))
    # The module's first read passes; its second, just before the write, is delayed until another writer has written.
    account.aws.fail(
        Fault("delay", operation="GetRole", seconds=0, times=1), Fault("delay", operation="GetRole", seconds=3, times=1)
    )
    done: list[TaskResult] = []
    thread = threading.Thread(target=lambda: done.append(account.task(binding("lbc", B))))
    thread.start()
    wait_for_calls(account, "GetRole", 1)
    account.write_trust("lbc", document(blue.trust(A, "c/three")))
    thread.join(120)
    (outcome,) = done
    assert account.trust_of("lbc") == document(blue.trust(A, "c/three", B))
    assert of(outcome, "lbc")["status"] == "changed"
    assert all(account.lets_in("lbc", blue, subject) for subject in (A, B, "c/three"))


def test_a_writer_that_does_not_cooperate_is_reported(account: Account) -> None:
    blue = account.cluster_of("blue")
    account.role("lbc", document(blue.trust(A)))
    done: list[TaskResult] = []
    thread = threading.Thread(target=lambda: done.append(account.task(binding("lbc", B), recheck_delay=2)))
    thread.start()
    wait_for_calls(account, "UpdateAssumeRolePolicy", 1)
    time.sleep(0.5)  # the module has read back by now, and waits for the recheck
    account.write_trust("lbc", document(blue.trust(A, "c/three")))
    thread.join(120)
    (outcome,) = done
    assert account.trust_of("lbc") == document(blue.trust(A, "c/three", B))
    item = of(outcome, "lbc")
    assert (item["status"], item["overwritten_externally"], item["verified"]) == ("changed", True, True)
    assert "another writer overwrote the binding" in outcome.warnings
    assert len(account.aws.calls(operation="UpdateAssumeRolePolicy")) == 2


def test_late_reads_are_waited_for(account: Account) -> None:
    blue = account.cluster_of("blue")
    account.role("lbc", document(blue.trust(A)))
    account.aws.send_command("iam/settings", stale_reads=3)
    outcome = account.task(binding("lbc", B))
    assert (of(outcome, "lbc")["status"], of(outcome, "lbc")["overwritten_externally"]) == ("changed", False)
    assert len(account.aws.calls(operation="UpdateAssumeRolePolicy")) == 1


def test_throttling_is_waited_out(account: Account) -> None:
    blue = account.cluster_of("blue")
    account.role("lbc", document(blue.trust(A)))
    account.aws.fail(
        *(
            Fault("error", operation=operation, status=400, code="Throttling", message="Rate exceeded", times=2)
            for operation in ("GetRole", "UpdateAssumeRolePolicy")
        )
    )
    outcome = account.task(binding("lbc", B))
    assert of(outcome, "lbc")["status"] == "changed", outcome.message
    assert account.lets_in("lbc", blue, B)
