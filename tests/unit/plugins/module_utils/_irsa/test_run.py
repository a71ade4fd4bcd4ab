# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole run against a fake IAM, in which other writers write at chosen moments."""

from __future__ import annotations

import copy
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._aws_call import ApiError
from ansible_collections.daytwo.aws.plugins.module_utils._clock import Clock as RealClock
from ansible_collections.daytwo.aws.plugins.module_utils._irsa import iam, policy, policy_edit, report, run
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.binding_request import BindingRequest, parse_request
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.model import (
    IrsaError,
    OidcProvider,
    PolicyOptions,
    Subject,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.builders import (
    CLUSTER,
    OTHER,
    SERVICE,
    STS,
    document,
    trust,
    value,
)

A, B, C = value("a", "one"), value("b", "two"), value("c", "three")
READ, LIMIT = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess", "arn:aws:iam::123456789012:policy/team/limit"


class Clock(RealClock):
    """A clock that advances only in C(sleep), which also calls C(meanwhile)."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []
        self.meanwhile: Callable[[float], None] = lambda _seconds: None

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.slept.append(seconds)
        self.meanwhile(seconds)


class Iam:
    """Roles by name; C(before) holds what happens before the nth call of an operation."""

    def __init__(self, **roles: Any) -> None:
        self.roles = {name: copy.deepcopy(trust_policy) for name, trust_policy in roles.items()}
        self.providers = {CLUSTER.arn: [STS]}
        self.calls: Counter[str] = Counter()
        self.before: dict[tuple[str, int], Callable[[], None]] = {}
        self.stale: list[Any] = []  # documents that the next GetRole shows
        self.quota: Optional[int] = 2048
        self.attached: list[str] = []

    def _call(self, operation: str) -> None:
        self.calls[operation] += 1
        self.before.get((operation, self.calls[operation]), lambda: None)()

    def fail(self, operation: str, code: str, message: str = "no", number: int = 1) -> None:
        def refuse() -> None:
            raise ApiError("iam", operation, code, message)

        self.before[operation, number] = refuse

    def get_account_summary(self) -> Any:
        self._call("GetAccountSummary")
        return {"SummaryMap": {"AssumeRolePolicySizeQuota": self.quota, "Roles": len(self.roles)}}

    def _shown(self, name: str, trust_policy: Any) -> Any:
        return {
            "RoleName": name,
            "Arn": f"arn:aws:iam::123456789012:role/{name}",
            "AssumeRolePolicyDocument": copy.deepcopy(trust_policy),
        }

    def get_role(self, RoleName: str) -> Any:  # noqa: N803 - the API's names
        self._call("GetRole")
        if RoleName not in self.roles:
            raise ApiError("iam", "GetRole", "NoSuchEntity", "none")
        return {"Role": self._shown(RoleName, self.stale.pop(0) if self.stale else self.roles[RoleName])}

    def list_roles(self, PathPrefix: str, MaxItems: int, Marker: str = "0") -> Any:  # noqa: N803
        self._call("ListRoles")
        names = sorted(self.roles)[int(Marker) : int(Marker) + MaxItems]
        more = int(Marker) + MaxItems < len(self.roles)
        roles = [self._shown(name, self.roles[name]) for name in names]
        return {"Roles": roles, "IsTruncated": more, "Marker": str(int(Marker) + MaxItems)}

    def update_assume_role_policy(self, RoleName: str, PolicyDocument: str) -> Any:  # noqa: N803
        self._call("UpdateAssumeRolePolicy")
        self.roles[RoleName] = json.loads(PolicyDocument)
        return {}

    def create_role(self, RoleName: str, AssumeRolePolicyDocument: str, **more: Any) -> Any:  # noqa: N803
        self._call("CreateRole")
        if RoleName in self.roles:
            raise ApiError("iam", "CreateRole", "EntityAlreadyExists", "there")
        self.roles[RoleName] = json.loads(AssumeRolePolicyDocument)
        self.created = more
        return {"Role": self._shown(RoleName, self.roles[RoleName])}

    def list_attached_role_policies(self, RoleName: str, **_page: Any) -> Any:  # noqa: N803
        self._call("ListAttachedRolePolicies")
        return {"AttachedPolicies": [{"PolicyArn": arn} for arn in self.attached], "IsTruncated": False}

    def attach_role_policy(self, RoleName: str, PolicyArn: str) -> Any:  # noqa: N803
        self._call("AttachRolePolicy")
        self.attached.append(PolicyArn)
        return {}

    def get_open_id_connect_provider(self, OpenIDConnectProviderArn: str) -> Any:  # noqa: N803
        self._call("GetOpenIDConnectProvider")
        if OpenIDConnectProviderArn not in self.providers:
            raise ApiError("iam", "GetOpenIDConnectProvider", "NoSuchEntity", "none")
        return {"ClientIDList": list(self.providers[OpenIDConnectProviderArn])}

    def create_open_id_connect_provider(self, Url: str, ClientIDList: list[str]) -> Any:  # noqa: N803
        self._call("CreateOpenIDConnectProvider")
        arn = f"arn:aws:iam::123456789012:oidc-provider/{Url.partition('://')[2]}"
        self.providers[arn] = ClientIDList
        return {"OpenIDConnectProviderArn": arn}

    def add_client_id_to_open_id_connect_provider(self, OpenIDConnectProviderArn: str, ClientID: str) -> Any:  # noqa: N803
        self._call("AddClientIDToOpenIDConnectProvider")
        self.providers[OpenIDConnectProviderArn].append(ClientID)
        return {}

    def writes(self) -> int:
        return sum(count for name, count in self.calls.items() if not name.startswith(("Get", "List")))


def binding(
    role: str = "lbc", namespace: str = "b", name: str = "two", provider: Any = CLUSTER, **more: Any
) -> BindingRequest:
    entry = {
        "role": role,
        "oidc_provider_arn": provider.arn,
        "namespace": namespace,
        "service_accounts": [name],
        **more,
    }
    return parse_request(entry, allow_wildcards=True)


def go(
    client: Iam,
    *bindings: BindingRequest,
    apply: bool = True,
    clock: Optional[Clock] = None,
    recheck_delay: float = 10,
    **more: Any,
) -> Any:
    options = {key: more.pop(key) for key in ("create_provider", "new_role") if key in more}
    irsa_options = run.IrsaOptions(
        bindings or (binding(),), PolicyOptions(**more), recheck_delay=recheck_delay, **options
    )
    outcome = run.run(run.IrsaClients(client, lambda: None), irsa_options, apply, clock or Clock())
    return report.build_result(outcome, diff=True)


def allowed(trust_policy: Any, subject: str) -> bool:
    return policy.evaluate(trust_policy, CLUSTER, Subject(subject)).is_allowed


def test_a_changed_role_costs_what_is_stated() -> None:
    client, clock = Iam(lbc=document(trust(A))), Clock()
    result = go(client, clock=clock)
    assert client.roles["lbc"] == document(trust(A, B))
    assert (result["changed"], result["failed"]) == (True, False)
    (item,) = result["bindings"]
    assert (item["status"], item["verified"], item["added"]) == ("changed", True, [B])
    assert clock.slept == [10]
    # observe, before the write, read-back, recheck
    assert client.calls == {
        "GetAccountSummary": 1,
        "GetOpenIDConnectProvider": 1,
        "GetRole": 4,
        "UpdateAssumeRolePolicy": 1,
    }
    assert result["diff"][0]["before"] == policy_edit.to_canonical(document(trust(A)))
    assert result["diff"][0]["after"] == policy_edit.to_canonical(document(trust(A, B)))
    client.calls.clear()
    again = go(client, clock=clock)
    assert (again["changed"], again["bindings"][0]["status"], again["diff"]) == (False, "ok", [])
    # The quota matters only to a policy that grows.
    assert client.calls == {"GetOpenIDConnectProvider": 1, "GetRole": 1}
    assert clock.slept == [10]


def test_check_mode_reports_the_same_and_writes_nothing() -> None:
    client = Iam(lbc=document(trust(A)))
    checked = go(client, binding(), binding("gone"), apply=False)
    assert client.writes() == 0
    ran = go(client, binding(), binding("gone"))
    differ = ("verified",)
    for checked_item, applied_item in zip(checked["bindings"], ran["bindings"]):
        assert {k: v for k, v in checked_item.items() if k not in differ} == {
            k: v for k, v in applied_item.items() if k not in differ
        }
    assert checked["diff"] == ran["diff"]
    for result in (checked, ran):
        assert (result["changed"], result["failed"]) == (True, True)


def test_many_roles_are_read_from_the_list() -> None:
    client = Iam(**{f"r{number:03}": document(trust(A)) for number in range(200)})
    result = go(client, *(binding(f"r{number:03}") for number in range(200)))
    assert result["changed"]
    assert client.calls["ListRoles"] == 2  # observe and recheck
    assert client.calls["GetRole"] == 400  # before the write and after it
    assert all(trust_policy == document(trust(A, B)) for trust_policy in client.roles.values())


def test_case_10_a_write_between_read_and_write_is_kept() -> None:
    client = Iam(lbc=document(trust(A)))
    client.before["GetRole", 2] = lambda: client.roles.update(lbc=document(trust(A, C)))
    result = go(client)
    assert client.roles["lbc"] == document(trust(A, C, B))
    assert not result["bindings"][0]["overwritten_externally"]
    assert result["diff"][0]["before"] == policy_edit.to_canonical(document(trust(A)))


def test_somebody_else_does_the_same_meanwhile() -> None:
    client = Iam(lbc=document(trust(A)))
    client.before["GetRole", 2] = lambda: client.roles.update(lbc=document(trust(A, B)))
    result = go(client)
    assert client.writes() == 0
    assert (result["changed"], result["bindings"][0]["status"]) == (False, "ok")


def test_what_is_overwritten_before_the_read_back_is_written_again_and_reported() -> None:
    client = Iam(lbc=document(trust(A)))
    client.before["GetRole", 3] = lambda: client.roles.update(lbc=document(trust(A, C)))
    result = go(client)
    assert client.roles["lbc"] == document(trust(A, C, B))
    assert result["bindings"][0]["overwritten_externally"] is True
    assert result["roles"][0]["overwritten_externally"] is True
    assert "overwrote the binding during this run" in result["warnings"][0]
    assert (result["bindings"][0]["status"], result["bindings"][0]["verified"]) == ("changed", True)


def test_what_is_overwritten_before_the_recheck_is_written_again_and_reported() -> None:
    client, clock = Iam(lbc=document(trust(A))), Clock()

    def overwrite(seconds: float) -> None:
        if seconds == 10 and clock.slept.count(10) == 1:
            client.roles["lbc"] = document(trust(A, C))

    clock.meanwhile = overwrite
    result = go(client, clock=clock)
    assert client.roles["lbc"] == document(trust(A, C, B))
    assert result["bindings"][0]["overwritten_externally"] is True
    assert result["bindings"][0]["verified"] is True
    assert clock.slept == [10, 10]


def test_a_writer_that_never_stops_is_reported_as_a_failure() -> None:
    client, clock = Iam(lbc=document(trust(A))), Clock()
    clock.meanwhile = lambda _seconds: client.roles.update(lbc=document(trust(A, C)))
    result = go(client, clock=clock)
    assert result["failed"]
    assert result["changed"]
    assert "even after 5 retries" in result["bindings"][0]["reason"]
    assert result["bindings"][0]["overwritten_externally"] is True
    assert clock.slept == [10] * 6


def test_late_readings_are_waited_for() -> None:
    client, clock = Iam(lbc=document(trust(A))), Clock()
    client.before["UpdateAssumeRolePolicy", 1] = lambda: client.stale.extend([document(trust(A))] * 3)
    result = go(client, clock=clock)
    assert result["bindings"][0]["verified"] is True
    assert result["bindings"][0]["overwritten_externally"] is False
    assert client.calls["UpdateAssumeRolePolicy"] == 1
    assert clock.slept == [0.1, 0.2, 0.4, 10]


def test_a_purge_is_not_verified_by_a_late_read() -> None:
    client, clock = Iam(lbc=document(trust(A, B))), Clock()
    client.before["UpdateAssumeRolePolicy", 1] = lambda: client.stale.extend([document(trust(A, B))] * 2)
    result = go(client, clock=clock, purge=True)
    assert result["roles"][0]["status"] == "changed"
    assert result["roles"][0]["purged"] == [A]
    assert clock.slept == [0.1, 0.2, 10]


def test_what_was_purged_and_put_back_is_purged_again_and_reported() -> None:
    client, clock = Iam(lbc=document(trust(A, B))), Clock()

    def put_back(seconds: float) -> None:
        if clock.slept.count(10) == 1:
            client.roles["lbc"] = document(trust(A, B, C))

    clock.meanwhile = put_back
    result = go(client, clock=clock, purge=True)
    assert not allowed(client.roles["lbc"], A)
    assert result["roles"][0]["overwritten_externally"] is True


def test_a_deny_that_comes_meanwhile_is_reported() -> None:
    client = Iam(lbc=document(trust(A)))
    deny = {**trust(B), "Effect": "Deny"}
    client.before["GetRole", 3] = lambda: client.roles.update(lbc=document(trust(A, B), deny))
    result = go(client)
    assert result["bindings"][0]["status"] == "failed"
    assert "denied by Statement[1]" in result["msg"]
    assert result["changed"]


def test_a_provider_of_another_account_is_not_made_here() -> None:
    client = Iam(lbc=document(trust(A)))
    other_account = OidcProvider(CLUSTER.arn.replace("123456789012", "210987654321"))
    result = go(client, binding(provider=other_account), create_provider=True)
    assert "is in account 210987654321, and the role is in 123456789012" in result["msg"]
    assert client.writes() == 0


def test_a_write_that_never_shows_is_no_success() -> None:
    client, clock = Iam(lbc=document(trust(A))), Clock()
    client.before["UpdateAssumeRolePolicy", 1] = lambda: client.stale.extend([document(trust(A))] * 99)
    result = go(client, clock=clock)
    assert result["failed"]
    assert result["changed"]
    assert "did not show it within 15 seconds" in result["msg"]


def test_without_a_recheck_delay_there_is_no_second_read() -> None:
    client, clock = Iam(lbc=document(trust(A))), Clock()
    go(client, clock=clock, recheck_delay=0)
    assert clock.slept == []
    assert client.calls["GetRole"] == 3


def test_the_quota_that_iam_knows_decides() -> None:
    client = Iam(lbc=document(trust(A)))
    client.fail("GetAccountSummary", "AccessDenied")
    client.fail("UpdateAssumeRolePolicy", "LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048")
    result = go(client)
    assert result["failed"]
    assert not result["changed"]
    reason = result["bindings"][0]["reason"]
    for text in ("ACLSizePerRole: 2048", "characters", "higher quota", "split the role", "Pod Identity", "not changed"):
        assert text in reason
    assert "iam:GetAccountSummary" in result["warnings"][0]
    assert client.roles["lbc"] == document(trust(A))


@pytest.mark.parametrize("is_done", [True, False])
def test_a_write_without_a_response_is_read_back(is_done: bool) -> None:
    client = Iam(lbc=document(trust(A)))

    def cut() -> None:
        if is_done:
            client.roles["lbc"] = document(trust(A, B))
        raise ApiError("iam", "UpdateAssumeRolePolicy", "ReadTimeoutError", "no response", outcome_unknown=True)

    client.before["UpdateAssumeRolePolicy", 1] = cut
    result = go(client)
    assert (result["changed"], result["failed"]) == (is_done, not is_done)
    if not is_done:
        assert "It is not known whether AWS did it" in result["msg"]


def test_a_failed_binding_does_not_stop_the_others() -> None:
    client = Iam(lbc=document(trust(A)), dns=document(trust(A)))
    client.fail("UpdateAssumeRolePolicy", "AccessDenied")
    result = go(client, binding("lbc"), binding("dns"))
    statuses = sorted(item["status"] for item in result["bindings"])
    assert statuses == ["changed", "failed"]
    assert result["changed"]
    assert result["failed"]
    assert "Allow iam:UpdateAssumeRolePolicy" in result["msg"]


def test_a_role_that_cannot_be_read_is_its_own_failure() -> None:
    client = Iam(lbc=document(trust(A)))
    client.fail("GetRole", "AccessDenied")
    assert "Allow iam:GetRole" in go(client)["bindings"][0]["reason"]


def test_roles_are_read_each_where_the_list_is_denied() -> None:
    client = Iam(**{f"r{number}": document(trust(A)) for number in range(20)})
    client.fail("ListRoles", "AccessDenied")
    client.fail("ListRoles", "AccessDenied", number=2)
    result = go(client, *(binding(f"r{number}") for number in range(20)))
    assert not result["failed"]
    assert client.calls["GetRole"] == 80


def test_a_role_that_goes_away_meanwhile() -> None:
    client = Iam(lbc=document(trust(A)))
    client.before["GetRole", 2] = client.roles.clear
    assert "deleted during this run" in go(client)["msg"]


def test_a_role_is_created_with_exactly_this_trust() -> None:
    client = Iam()
    new = iam.NewRole("/eks/", "reads", LIMIT, (("a", "1"),), (READ, LIMIT))
    result = go(client, create_role=True, new_role=new)
    assert client.roles["lbc"] == document(trust(B))
    assert client.created == {
        "Path": "/eks/",
        "Description": "reads",
        "PermissionsBoundary": LIMIT,
        "Tags": [{"Key": "a", "Value": "1"}],
    }
    assert client.attached == [READ, LIMIT]
    assert result["bindings"][0]["status"] == "changed"
    assert result["roles"][0]["arn"] == "arn:aws:iam::123456789012:role/lbc"
    assert result["diff"][0]["before"] == {}
    assert [step["action"] for step in result["roles"][0]["steps"]] == ["create role", *["attach managed policy"] * 2]
    client.calls.clear()
    assert not go(client, create_role=True, new_role=new)["changed"]
    assert client.writes() == 0


def test_a_policy_that_cannot_be_attached_is_reported_and_attached_by_the_next_run() -> None:
    client, options = Iam(), {"create_role": True, "new_role": iam.NewRole(managed_policies=(READ, LIMIT))}
    client.fail("AttachRolePolicy", "NoSuchEntity", number=2)
    result = go(client, **options)
    assert result["failed"]
    assert result["changed"]
    assert f"exists without {LIMIT}; the next run with the same options attaches it" in result["msg"]
    assert result["roles"][0]["attached"] == [READ]

    checked = go(client, apply=False, **options)
    assert client.attached == [READ]
    again = go(client, **options)
    assert client.attached == [READ, LIMIT]
    for outcome in (checked, again):
        assert (outcome["changed"], outcome["failed"]) == (True, False)
        (role,) = outcome["roles"]
        assert (role["status"], role["attached"]) == ("changed", [LIMIT])
        assert [step["action"] for step in role["steps"]] == ["attach managed policy"]
        assert outcome["bindings"][0]["status"] == "ok"
        assert outcome["msg"] == "1 of 1 roles changed. Bindings: 0 changed, 1 unchanged, 0 failed."
    assert not go(client, **options)["changed"]


def test_policies_of_existing_roles_are_only_managed_where_roles_may_be_created() -> None:
    client = Iam(lbc=document(trust(B)), dns=document(trust(B)))
    new = iam.NewRole(managed_policies=(READ,))
    assert not go(client, new_role=new)["changed"]
    assert not go(client, binding("dns", state="absent", name="none"), create_role=True, new_role=new)["changed"]
    client.fail("ListAttachedRolePolicies", "AccessDenied")
    refused = go(client, create_role=True, new_role=new)
    assert "Allow iam:ListAttachedRolePolicies" in refused["msg"]
    assert client.attached == []


def test_a_role_that_somebody_else_creates_first_keeps_its_trust() -> None:
    client = Iam()
    client.before["CreateRole", 1] = lambda: client.roles.update(lbc=document(SERVICE))
    result = go(client, create_role=True)
    assert client.roles["lbc"] == document(SERVICE, trust(B))
    assert result["bindings"][0]["status"] == "changed"


def test_all_pages_of_roles_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iam, "PAGE_SIZE", 5)
    client = Iam(**{f"r{number:02}": document(SERVICE) for number in range(12)})
    assert [role.name for role in iam.list_roles(client)] == sorted(client.roles)
    assert client.calls["ListRoles"] == 3


def test_a_missing_provider_is_named_or_made() -> None:
    client = Iam(lbc=document(trust(A)))
    client.providers.clear()
    refused = go(client)
    assert f"IAM has no OIDC provider {CLUSTER.arn}" in refused["bindings"][0]["reason"]
    assert refused["oidc_providers"][0]["status"] == "failed"
    assert client.writes() == 0
    checked = go(client, create_provider=True, apply=False)
    assert client.writes() == 0
    assert checked["bindings"][0]["status"] == checked["oidc_providers"][0]["status"] == "changed"
    result = go(client, create_provider=True)
    assert client.providers == {CLUSTER.arn: [STS]}
    assert result["oidc_providers"][0]["status"] == "changed"
    assert go(client, create_provider=True)["changed"] is False


def test_a_provider_that_does_not_know_the_audience() -> None:
    client = Iam(lbc=document(trust(A)))
    client.providers[CLUSTER.arn] = ["vault"]
    assert "does not have the audience sts.amazonaws.com (it has vault)" in go(client)["msg"]
    assert not go(client, create_provider=True)["failed"]
    assert client.providers[CLUSTER.arn] == ["vault", STS]


def test_a_new_provider_may_take_a_moment_to_be_known() -> None:
    client, clock = Iam(lbc=document(trust(A))), Clock()
    client.providers.clear()
    for number in (1, 2):
        client.fail("UpdateAssumeRolePolicy", "MalformedPolicyDocument", "Invalid principal in policy", number)
    assert not go(client, create_provider=True, clock=clock)["failed"]
    assert clock.slept == [1, 1, 10]
    client = Iam(lbc=document(trust(A)))
    client.fail("UpdateAssumeRolePolicy", "MalformedPolicyDocument", "Invalid principal in policy")
    assert "IAM rejected the trust policy" in go(client)["msg"]


def test_absent_needs_no_provider() -> None:
    client = Iam(lbc=document(trust(A, B)))
    client.providers.clear()
    result = go(client, binding(state="absent"))
    assert result["bindings"][0]["status"] == "changed"
    assert client.calls["GetOpenIDConnectProvider"] == 0


def test_a_role_by_its_arn_must_be_that_role() -> None:
    client = Iam(lbc=document(trust(A)))
    arn = "arn:aws:iam::123456789012:role/lbc"
    assert not go(client, binding(arn))["failed"]
    result = go(client, binding("arn:aws:iam::123456789012:role/eks/lbc"))
    assert f"is {arn}, not arn:aws:iam::123456789012:role/eks/lbc" in result["msg"]


def test_no_purge_where_a_binding_cannot_be_made() -> None:
    client = Iam(lbc=document(trust(A), trust(A, provider=OTHER)))
    result = go(client, binding(), binding(provider=OTHER), purge=True)
    assert client.writes() == 0
    assert [item["status"] for item in result["bindings"]] == ["failed", "failed"]
    assert "purge would remove its service accounts" in result["bindings"][0]["reason"]


def test_a_purge_that_is_refused_fails_though_its_bindings_are_true() -> None:
    client = Iam(lbc=document({**trust(A), "Principal": "*"}, trust(B)))
    result = go(client, purge=True)
    assert result["bindings"][0]["status"] == "ok"
    assert result["failed"]
    assert "trusts every principal" in result["msg"]


def test_the_message_counts_roles_that_a_purge_rewrote() -> None:
    client = Iam(lbc=document(trust(A, B)), dns=document(trust(A, B)))
    result = go(client, binding("lbc"), binding("dns"), purge=True)
    assert result["msg"] == "2 of 2 roles changed. Bindings: 0 changed, 2 unchanged, 0 failed."
    assert go(client, binding("lbc"), binding("dns"), purge=True)["msg"].startswith("0 of 2 roles changed.")


def test_many_equal_failures_are_grouped() -> None:
    """5,000 bindings took 26 seconds, and their message was a line of 1.5 MB."""
    client = Iam(lbc=document(trust(A)))
    began = time.process_time()
    result = go(client, *(binding("lbc", name=f"account-{number}") for number in range(5000)), apply=False)
    assert time.process_time() - began < 15
    assert len(result["msg"]) < 2000
    assert result["msg"].startswith(
        "0 of 1 roles changed. Bindings: 0 changed, 0 unchanged, 5000 failed. lbc: b/account-0 of "
    )
    assert " and 4990 more: Role lbc was not changed: the trust policy would have " in result["msg"]
    assert len(result["bindings"]) == 5000
    missing = go(client, *(binding(f"r{number}") for number in range(5000)))
    assert missing["msg"].count("The role does not exist.") == 1
    assert len(missing["msg"]) < 2000


def test_equal_warnings_are_grouped() -> None:
    client = Iam(**{f"r{number:02}": document(trust()) for number in range(12)})
    result = go(client, *(binding(f"r{number:02}") for number in range(12)))
    assert len(result["warnings"]) == 1
    assert result["warnings"][0].startswith("r00, r01, r02, r03, r04, r05, r06, r07, r08, r09 and 2 more: ")


def test_contradictions_end_it_before_anything_is_read_of_roles() -> None:
    client = Iam(lbc=document(trust(A)))
    with pytest.raises(IrsaError, match="both present and absent"):
        go(client, binding(), binding(state="absent"))
    assert client.writes() == 0


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"role": "no role"}, "neither the name of a role"),
        ({"role": "arn:aws:iam::1:role/x"}, "neither the name of a role"),
        ({"service_accounts": None}, "has no service account"),
        ({"all_service_accounts": True}, "Keep one"),
        ({"namespace": "b*"}, "namespace_pattern"),
        ({"namespace": None, "namespace_pattern": "b*"}, "allow_wildcards=true"),
        ({"namespace": None}, "neither namespace nor namespace_pattern"),
        ({"oidc_provider_arn": None}, "neither cluster nor oidc_provider_arn"),
        ({"service_accounts": ["t*"]}, "allow_wildcards=true"),
        ({"namespace": "B"}, "not a valid name of a namespace"),
        ({"service_accounts": ["a:b"]}, "not a valid name of a service account"),
        ({"service_accounts": ["${aws:username}"]}, "not a valid name of a service account"),
        ({"oidc_provider_arn": "arn:x"}, "not the ARN of an OIDC provider"),
        ({"oidc_provider_arn": ""}, "neither cluster nor oidc_provider_arn"),
        ({"oidc_provider_arn": None, "cluster": ""}, "neither cluster nor oidc_provider_arn"),
        ({"namespace": "n" * 64}, "not a valid name of a namespace"),
    ],
)
def test_bindings_that_are_rejected(entry: dict[str, Any], text: str) -> None:
    full_entry = {
        "role": "lbc",
        "oidc_provider_arn": CLUSTER.arn,
        "namespace": "b",
        "service_accounts": ["two"],
        **entry,
    }
    with pytest.raises(IrsaError, match=text):
        parse_request(full_entry, allow_wildcards=False)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"recheck_delay": float("nan")}, "recheck_delay is nan"),
        ({"recheck_delay": float("inf")}, "recheck_delay is inf"),
        ({"recheck_delay": -1.0}, "recheck_delay is -1"),
        ({"policy_options": PolicyOptions(audience="")}, "audience is empty"),
        ({"new_role": iam.NewRole(path="eks")}, "path 'eks' is not a path of IAM roles. Begin and end it with a slash"),
        ({"bindings": ()}, "bindings is empty"),
        ({"new_role": iam.NewRole(path="/a b/")}, "path '/a b/' is not a path of IAM roles"),
        (
            {"new_role": iam.NewRole(managed_policies=("ReadOnlyAccess",))},
            "managed_policies 'ReadOnlyAccess' is not",
        ),
        ({"new_role": iam.NewRole(managed_policies=("",))}, "managed_policies '' is not the ARN of a managed policy"),
        ({"new_role": iam.NewRole(managed_policies=("arn:aws:iam::123456789012:role/x",))}, "is not the ARN of a"),
        ({"new_role": iam.NewRole(permissions_boundary="limit")}, "permissions_boundary 'limit' is not the ARN"),
        ({"new_role": iam.NewRole(description="x" * 1001)}, "description has 1001 characters, and IAM allows 1000"),
        ({"new_role": iam.NewRole(tags=(("aws:x", "1"),))}, "'aws:x' is not a tag of IAM"),
        ({"new_role": iam.NewRole(tags=(("x", "1" * 257),))}, "'x' is not a tag of IAM"),
    ],
)
def test_options_that_are_rejected(options: dict[str, Any], text: str) -> None:
    """Before any write: an invalid delay would end a run whose writes would then not be reported."""
    good = parse_request(
        {"role": "lbc", "oidc_provider_arn": CLUSTER.arn, "namespace": "b", "service_accounts": ["two"]},
        allow_wildcards=False,
    )
    with pytest.raises(IrsaError, match=text):
        run.IrsaOptions(**{"bindings": (good,), **options})


def test_bindings_as_text() -> None:
    every = parse_request(
        {"role": "lbc", "cluster": "one", "namespace": "b", "all_service_accounts": True}, allow_wildcards=False
    )
    assert str(every) == "lbc: b/* of one"
    assert every.to_binding(CLUSTER).subjects == (Subject("system:serviceaccount:b:*", True),)
