# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""RDS: what it refuses and moto allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.rds.exceptions import InvalidParameterCombination
from moto.rds.models import RDSBackend

from .rules import rule


@rule(
    RDSBackend,
    "stop_db_instance",
    fact="Aurora members cannot be stopped one by one: InvalidParameterCombination, 'not eligible for stopping and "
    "starting' (facts on autostop, from the RDS user guide on stopping an instance)",
)
def aurora_members_are_not_stopped(
    plain: Callable[..., Any], backend: RDSBackend, db_instance_identifier: str, *args: Any, **kwargs: Any
) -> Any:
    instance = backend.describe_db_instances(db_instance_identifier)[0]
    if instance.engine.startswith("aurora"):
        raise InvalidParameterCombination(f"{instance.engine} DB instances are not eligible for stopping and starting.")
    return plain(backend, db_instance_identifier, *args, **kwargs)
