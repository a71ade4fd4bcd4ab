#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# lock.sh NAME VERSION...: renew tests/requirements/NAME-VERSION.txt from NAME.in, with the newest packages.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../requirements"
name=$1
shift
for version in "$@"; do
  venv=$(mktemp -d)
  trap 'rm -rf "$venv"' EXIT
  "$("$here/python.sh" "$version")" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$name.in"
  {
    head -n 2 "$name.in"
    echo "# Made by tests/tools/lock.sh from $name.in; every package is pinned."
    "$venv/bin/python" -m pip freeze --all --exclude pip
  } >"$name-$version.txt.new"
  mv "$name-$version.txt.new" "$name-$version.txt"
  rm -rf "$venv"
done
