#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# integration.sh PYTEST-ARGUMENT...: the test bed up, then pytest over the integration targets, or the one named TARGET.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python -m testbed up
exec python -m pytest "tests/integration/targets/${TARGET:-}" "$@"
