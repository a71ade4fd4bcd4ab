#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# Lets ansible-test run this target: pytest on the test bed, which must be up.
set -eu
# ansible-test runs a copy of this directory; the helpers are where the collection is.
collection=${ANSIBLE_COLLECTIONS_PATH%%:*}/ansible_collections/daytwo/aws
target=$(basename "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)")
export PYTHONPATH=${ANSIBLE_COLLECTIONS_PATH%%:*}:$collection/tests
cd "$collection"
exec python -m pytest -p no:cacheprovider -m 'not full' "tests/integration/targets/$target"
