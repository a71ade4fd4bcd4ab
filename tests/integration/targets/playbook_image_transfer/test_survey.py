# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook started as AWX starts it: every answer of the survey is text or a whole number, the defaults as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from integration.targets.image_offline_transfer.kit import BUCKET, PLAIN, PRIVATE, ROLE, SAVE, Case

FORM = Path(__file__).parents[4] / "playbooks" / "image_transfer.survey.json"
FIRST, SECOND = f"{PLAIN}/it-small:v1", f"{PLAIN}/it-small:v2"


def launched(case: Case, **answers: str) -> dict[str, Any]:
    """The extra variables of a job: AWX adds the default of each question that it finds valid, empty text included."""
    variables: dict[str, Any] = {}
    for question in json.loads(FORM.read_text())["spec"]:
        default = question["default"]
        if question["type"] == "multiplechoice":
            valid = default in question["choices"]
        elif question["type"] == "integer":
            valid = isinstance(default, int)
        else:
            valid = question["min"] <= len(default) <= question["max"]
        if valid:
            variables[question["variable"]] = default
    given = {
        "targets": "private",
        "source_host": "public",
        "bucket": BUCKET,
        "prefix": case.prefix,
        "plain_http": "true",
        **answers,
    }
    return {**variables, **{f"image_transfer_{name}": value for name, value in given.items()}}


@pytest.mark.full
def test_images_as_text(case: Case) -> None:
    images = f"name={FIRST} platform=linux/amd64, name={SECOND} tag_as=it-service:text"
    ran = case.ansible.run(ROLE, launched(case, images=images)).succeed()
    assert [image["reference"] for image in ran.single(SAVE).result["bundle"]["images"]] == [FIRST, SECOND]
    assert [image["platform"] for image in ran.single(SAVE).result["bundle"]["images"]] == ["linux/amd64"] * 2
    for host in PRIVATE:
        case.proves(host, FIRST, case.image("it-small:v1"))
        assert case.held(host, "it-service:text") == case.image("it-small:v2").config_digest
    assert case.keys() != [], "kept by default"

    again = case.ansible.run(ROLE, launched(case, images=images)).succeed()
    assert again.changed() == []


@pytest.mark.full
def test_false_as_text_is_false(case: Case) -> None:
    case.ansible.run(ROLE, launched(case, images=f"name={FIRST}", keep_objects="false")).succeed()
    assert case.keys() == []


def test_lines_instead_of_commas_are_refused_before_anything_is_carried(case: Case) -> None:
    ran = case.ansible.run(ROLE, launched(case, images=f"name={FIRST}\nname={SECOND}")).fail()
    assert "is malformed" in ran.single(SAVE).message
    assert case.keys() == []


@pytest.mark.full
def test_images_as_an_extra_variable_on_the_command_line(case: Case) -> None:
    options = ("-e", f"image_transfer_images='name={FIRST} tag_as=it-service:typed'")
    variables = {name: value for name, value in case.variables().items() if name != "image_transfer_images"}
    case.ansible.run(ROLE, variables, *options).succeed()
    for host in PRIVATE:
        assert case.held(host, "it-service:typed") == case.image("it-small:v1").config_digest
