# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One of several writers: for each line on its input, role and service account, it does what the module does with that
binding, and prints the result. A process of its own, without Ansible's start in each round."""

from __future__ import annotations

import json
import sys

import boto3
from ansible_collections.daytwo.aws.plugins.module_utils._irsa import report, run
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.binding_request import parse_request


def main() -> None:
    provider, settle = sys.argv[1], float(sys.argv[2])
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
        wanted = run.IrsaOptions((parse_request(entry, False),), recheck_delay=settle)
        outcome = run.run(run.IrsaClients(client, lambda: None), wanted)
        print(json.dumps(report.build_result(outcome)["bindings"][0]), flush=True)


if __name__ == "__main__":
    main()
