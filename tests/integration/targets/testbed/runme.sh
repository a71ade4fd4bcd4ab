#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# For ansible-test; `make integration` runs the same tests directly.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")"
exec python -m pytest .
