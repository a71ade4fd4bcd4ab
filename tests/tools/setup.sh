#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# setup.sh: create everything that env.sh points to. Idempotent, and quick when everything exists.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=env.sh
. "$here/env.sh"

apt_install() {
  echo "== installing Debian packages: $*" >&2
  [ "$(id -u)" = 0 ] || { echo "run as root, or install these yourself: $*" >&2; exit 1; }
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -qq -y --no-install-recommends "$@" >/dev/null 2>&1 ||
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "$@" >/dev/null; }
}

versions=(3.13 3.12 3.11) # the versions for the newest ansible-core in tests/requirements, best first
python=$("$here/python.sh" "${versions[@]}") || {
  apt_install python3 python3-venv
  python=$("$here/python.sh" "${versions[@]}")
}
command -v shellcheck >/dev/null || apt_install shellcheck # without it ansible-test sanity skips its test
command -v bwrap >/dev/null || apt_install bubblewrap # the sandbox of tests that run user data scripts
command -v podman >/dev/null || apt_install podman runc # the target image_engines, which needs no test bed
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
venv=$("$here/venv.sh" test "$version")
ln -sfn "$venv" "$CACHE/venv"

# The collection under its full name, with its dependencies beside it. ansible_collections is a regular package in the
# ansible distribution, so Python searches every collection in the first package that it finds. This tree has them all.
namespaces=$ANSIBLE_COLLECTIONS_PATH/ansible_collections
mkdir -p "$namespaces/daytwo" "$ANSIBLE_HOME" "$CACHE/bin"
touch "$namespaces/__init__.py"
ln -sfn "$ROOT" "$namespaces/daytwo/aws"
for namespace in amazon ansible community kubernetes; do
  ln -sfn "$CACHE"/venv/lib/python*/site-packages/ansible_collections/$namespace "$namespaces/$namespace"
done
