#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# integration.sh PYTEST-ARGUMENT...: start the test bed, then run pytest on all integration targets, or on $TARGET.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python -m testbed up
exec python -m pytest "tests/integration/targets/${TARGET:-}" "$@"
