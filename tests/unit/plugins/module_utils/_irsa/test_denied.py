# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every denial of the corpus and of its variants is parsed for its side and kind, and nothing is guessed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.denied import SIDES, UNKNOWN, Caller, parse_message
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.denial_corpus import (
    CLASSIC,
    CORPUS,
    JOHN,
    LBC,
    WEB_IDENTITY,
    Case,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.denial_variants import VARIANTS

ALL = [*CORPUS, *VARIANTS]


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_a_denial_names_its_side(case: Case) -> None:
    denial = parse_message(case.message)
    assert (denial.side, denial.kind) == (case.side, case.kind), denial
    for name, expected in case.expected.items():
        is_node_role = bool(denial.caller and denial.caller.is_node_role)
        assert (is_node_role if name == "is_node_role" else getattr(denial, name)) == expected, name
    assert denial.reason or denial.encoded_message
    assert denial.kind == "no_denial" or denial.message or denial.context


def test_the_corpus_is_large_enough() -> None:
    assert len({case.message for case in ALL}) == len(ALL) >= 200
    assert len({case.name for case in ALL}) == len(ALL)
    assert {case.side for case in CORPUS} == {case.side for case in VARIANTS} == set(SIDES)


@pytest.mark.parametrize("case", [case for case in ALL if case.side == UNKNOWN], ids=lambda case: case.name)
def test_what_is_not_stated_is_not_guessed(case: Case) -> None:
    denial = parse_message(case.message)
    assert denial.policy is None
    assert denial.explicit_deny == ("explicit deny" in case.message and denial.kind != "no_denial")


@pytest.mark.parametrize(
    "resource", ["", " on resource: *", " on resource: arn:aws:s3:::bucket/a-key-with-a-long-name"]
)
def test_a_message_is_quoted_to_the_end_of_its_reason(resource: str) -> None:
    message = f"User: {LBC} is not authorized to perform: s3:GetObject{resource} because the object is archived"
    assert parse_message(f"{message}. Retry later.").message == message


def test_a_session_arn_names_its_role_and_session() -> None:
    denial = parse_message(CLASSIC)
    caller = denial.caller
    assert denial.message == CLASSIC
    assert caller == Caller(LBC, "123456789012", "lbc", "1677819233544969902")
    assert not caller.is_node_role
    user = Caller.parse("arn:aws:iam::123456789012:user/team/John")
    assert (user.account, user.role, user.session) == ("123456789012", None, None)
    assert Caller.parse("arn:aws:iam::123456789012:role/team/HR").role == "HR"
    assert replace(caller, session="i-015251056f40ce440").is_node_role
    assert not replace(caller, session="i-am-no-node").is_node_role


def test_the_first_denial_is_explained_and_the_others_are_counted() -> None:
    denial = parse_message(
        f"{CLASSIC}\n{JOHN} s3:GetObject because no session policy allows the s3:GetObject action\n{CLASSIC}"
    )
    assert (denial.kind, denial.other_denials) == ("identity_policy", 1)
    denial = parse_message(f"{WEB_IDENTITY}\n{CLASSIC}")
    assert (denial.side, denial.other_denials) == ("trust", 1)


def test_a_service_account_is_taken_from_the_text_only_if_no_other_is_named() -> None:
    web, api = ("system:serviceaccount:shop:web", "system:serviceaccount:shop:api")
    assert parse_message(f"{web}: {WEB_IDENTITY}").subject == ("shop", "web")
    assert parse_message(f"{web} {api}: {WEB_IDENTITY}").subject is None
    assert parse_message(WEB_IDENTITY).subject is None


def test_wrappings_do_not_change_a_denial() -> None:
    bare = parse_message(CLASSIC)
    for text in (f"2026-11-24 ERROR {CLASSIC}.", CLASSIC.replace(" ", "\n\t"), f'"{CLASSIC}"', f"({CLASSIC})"):
        denial = parse_message(text)
        assert (denial.side, denial.kind, denial.action, denial.resource) == (
            (bare.side, bare.kind, bare.action, bare.resource)
        ), text
