#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# python.sh VERSION...: prints the first interpreter of these versions that really runs and can make a venv.
# Looks on PATH, in /usr/bin and in pyenv's folder; a pyenv shim of an inactive version answers 127 and is passed over.
set -u
shopt -s nullglob
pyenv_root=${PYENV_ROOT:-$HOME/.pyenv}
if [ ! -d "$pyenv_root/versions" ] && pyenv=$(command -v pyenv); then
  pyenv_root=$(dirname "$(dirname "$(readlink -f "$pyenv")")")
fi
for version in "$@"; do
  for candidate in $(type -ap "python$version") "/usr/bin/python$version" "$pyenv_root/versions/$version".*/bin/"python$version"; do
    if "$candidate" -c 'import ensurepip, sys, venv; assert sys.prefix == sys.base_prefix' 2>/dev/null; then
      # The interpreter itself, not the shim: ansible-test looks for it on PATH by name.
      "$candidate" -c 'import sys; print(sys.executable)'
      exit 0
    fi
  done
done
exit 1
