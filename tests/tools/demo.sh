#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# demo.sh: start the test bed, then run the demonstration, which stops at the first result that differs from its text.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=env.sh
. tests/tools/env.sh
# Kubernetes' programs, for the last part. That part reports if they are not built yet.
nice python -m testbed build >"$CACHE/build.out" 2>&1 </dev/null &
echo "Starting the test bed: three docker hosts, a registry and an S3 server (minutes on a new machine, else seconds)."
python -m testbed up
python tests/tools/demo.py
python tests/tools/demo_autostop.py
exec python tests/tools/demo_sysctl.py
