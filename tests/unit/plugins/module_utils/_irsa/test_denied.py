# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every refusal of the corpus is read for what it says (issue 7, must be shown 6), and nothing is read into it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.denied import SIDES, UNKNOWN, Caller, parse_message
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.refusals import (
    CLASSIC,
    CORPUS,
    JOHN,
    LBC,
    WEB_IDENTITY,
    Case,
)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_a_refusal_says_which_side_it_was(case: Case) -> None:
    told = parse_message(case.message)
    assert (told.side, told.kind) == (case.side, case.kind), told
    for name, expected in case.expected.items():
        got = bool(told.caller and told.caller.is_node) if name == "node" else getattr(told, name)
        assert got == expected, name
    assert told.reason or told.encoded_message
    assert told.kind == "no_refusal" or told.message or told.context


def test_the_corpus_is_large_enough() -> None:
    assert len({case.message for case in CORPUS}) == len(CORPUS) >= 25
    assert {case.side for case in CORPUS} == set(SIDES)


@pytest.mark.parametrize("case", [one for one in CORPUS if one.side == UNKNOWN], ids=lambda case: case.name)
def test_what_is_not_said_is_not_guessed(case: Case) -> None:
    told = parse_message(case.message)
    assert told.policy is None
    assert not told.explicit_deny


def test_a_session_tells_its_role_and_itself() -> None:
    told = parse_message(CLASSIC)
    caller = told.caller
    assert told.message == CLASSIC
    assert caller == Caller(LBC, "123456789012", "lbc", "1677819233544969902")
    assert not caller.is_node
    user = Caller.parse("arn:aws:iam::123456789012:user/team/John")
    assert (user.account, user.role, user.session) == ("123456789012", None, None)
    assert Caller.parse("arn:aws:iam::123456789012:role/team/HR").role == "HR"
    assert replace(caller, session="i-015251056f40ce440").is_node
    assert not replace(caller, session="i-am-no-node").is_node


def test_the_first_refusal_counts_and_the_others_are_counted() -> None:
    told = parse_message(
        f"{CLASSIC}\n{JOHN} s3:GetObject because no session policy allows the s3:GetObject action\n{CLASSIC}"
    )
    assert (told.kind, told.other_denials) == ("identity_policy", 1)
    told = parse_message(f"{WEB_IDENTITY}\n{CLASSIC}")
    assert (told.side, told.other_denials) == ("trust", 1)


def test_a_service_account_is_taken_from_the_text_only_if_it_is_the_only_one() -> None:
    one, two = ("system:serviceaccount:shop:web", "system:serviceaccount:shop:api")
    assert parse_message(f"{one}: {WEB_IDENTITY}").subject == ("shop", "web")
    assert parse_message(f"{one} {two}: {WEB_IDENTITY}").subject is None
    assert parse_message(WEB_IDENTITY).subject is None


def test_wrappings_do_not_change_what_a_refusal_says() -> None:
    bare = parse_message(CLASSIC)
    for text in (f"2026-11-24 ERROR {CLASSIC}.", CLASSIC.replace(" ", "\n\t"), f'"{CLASSIC}"', f"({CLASSIC})"):
        told = parse_message(text)
        assert (told.side, told.kind, told.action, told.resource) == (
            (bare.side, bare.kind, bare.action, bare.resource)
        ), text
