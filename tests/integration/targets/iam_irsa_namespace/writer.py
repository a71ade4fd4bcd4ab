# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One of several writers. For each input line (role and service account) it runs the module's code for that binding,
and prints the result. It is a process of its own, so that no round pays for Ansible's start."""

from __future__ import annotations

import json
import sys

import boto3
from ansible_collections.daytwo.aws.plugins.module_utils._irsa import report, run
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.binding_request import parse_request


def main() -> None:
    provider, recheck_delay = sys.argv[1], float(sys.argv[2])
    client = boto3.client("iam", "eu-central-1")
    print("ready", flush=True)
    for line in sys.stdin:
        role, namespace, name = line.split()
        entry = {
            "role": role,
            "oidc_provider_arn": provider,
            "namespace": namespace,
            "service_accounts": [name],
        }
        options = run.IrsaOptions((parse_request(entry, False),), recheck_delay=recheck_delay)
        outcome = run.run(run.IrsaClients(client, lambda: None), options)
        print(json.dumps(report.build_result(outcome)["bindings"][0]), flush=True)


if __name__ == "__main__":
    main()
