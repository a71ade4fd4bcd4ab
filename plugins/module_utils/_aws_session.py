# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of several services from one session.

A session of its own for each client, as amazon.aws makes it, reads boto's tables of services and endpoints anew each
time. For a module that calls two services, that is a tenth of its run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import get_aws_connection_info

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, NoRegionError
except ImportError:  # AnsibleAWSModule reports a missing boto3
    pass


def make_client_factory(module: Any, settings: Mapping[str, Any]) -> Callable[[str], Any]:
    """A function that makes the client of a service, with the connection options of an AnsibleAWSModule.

    C(settings): arguments of botocore's Config. The option aws_config of amazon.aws overrides them.
    """
    region, endpoint, arguments = get_aws_connection_info(module)
    config = Config(**settings).merge(arguments.pop("aws_config", None) or Config())

    def make_client(service: str) -> Any:
        return session.client(service, region_name=region, endpoint_url=endpoint, config=config, **arguments)

    def make_with_errors(make: Callable[[], Any]) -> Any:
        try:
            return make()
        except NoRegionError:
            module.fail_json(msg="No region is set. Set region, AWS_REGION, or a region in the profile.")
        except (ValueError, BotoCoreError) as error:
            module.fail_json_aws(error, msg="Couldn't connect to AWS")

    session = make_with_errors(lambda: boto3.session.Session(profile_name=arguments.pop("profile_name", None)))
    return lambda service: make_with_errors(lambda: make_client(service))
