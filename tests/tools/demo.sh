#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# demo.sh: the test bed up, then the demonstration, which stops as soon as something is not as it tells.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=env.sh
. tests/tools/env.sh
# Kubernetes' programs, for the last act, which says so where they are not there yet.
nice python -m testbed build >"$CACHE/build-cluster.out" 2>&1 </dev/null &
echo "The test bed comes up: three docker hosts, a registry and an S3 server (minutes on a new machine, else a moment)."
python -m testbed up
python tests/tools/demo.py
python tests/tools/demo_autostop.py
exec python tests/tools/demo_sysctl.py
