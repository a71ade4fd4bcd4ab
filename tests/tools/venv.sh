#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# venv.sh NAME VERSION: print the path of a venv with exactly tests/requirements/NAME-VERSION.txt; create it if missing.
set -eu
name=$1 version=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${DAYTWO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/daytwo-aws}
lock=$here/../requirements/$name-$version.txt
[ "$name" = test ] && prefix=venv || prefix=$name
venv=$cache/$prefix-$version-$(sha256sum <"$lock" | cut -c1-8)
mkdir -p "$cache"
exec 9>"$cache/.venv.lock"
flock 9 # two simultaneous make runs must not fill the same directory
# The stamp is written last: a directory without it is from an interrupted run.
if [ ! -e "$venv/.complete" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
  python=$("$here/python.sh" "$version") || { echo "no working Python $version with venv found" >&2; exit 1; }
  echo "== installing $(grep -vc '^#' "$lock") pinned packages for $name on Python $version (once; about a minute)" >&2
  rm -rf "$venv"
  "$python" -m venv "$venv" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$lock" >&2
  touch "$venv/.complete"
fi
echo "$venv"
