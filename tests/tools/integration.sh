#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# integration.sh PYTEST-ARGUMENT...: run pytest on all integration targets, or on those in $TARGET (names, separated by
# spaces). The test bed is started where one of them has the alias uses/testbed.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/../../tests/integration/targets"
read -ra names <<<"${TARGET:-$(echo */)}"
for name in "${names[@]}"; do
  if grep -qx uses/testbed "${name%/}/aliases"; then
    (cd ../../.. && python -m testbed up)
    break
  fi
done
cd ../../..
exec python -m pytest "${names[@]/#/tests/integration/targets/}" "$@"
