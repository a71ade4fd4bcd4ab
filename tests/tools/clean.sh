#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# clean.sh: remove what setup.sh and the tests created. Stop the test bed first: its programs are in the cache.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=env.sh
. "$here/env.sh"
cd "$ROOT"
[ ! -e "$CACHE/venv" ] || python -m testbed down
rm -rf "$CACHE" .mypy_cache .pytest_cache .ruff_cache .hypothesis .ansible tests/output daytwo-aws-*.tar.gz changelogs/.plugin-cache.yaml
