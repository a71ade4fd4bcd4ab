#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# python.sh VERSION...: print the first interpreter of these versions that runs and can create a venv.
# Search PATH, /usr/bin and pyenv's directory. A pyenv shim of an inactive version exits with 127 and is skipped
# (docs/facts/toolchain.md#traps).
set -u
shopt -s nullglob
pyenv_root=${PYENV_ROOT:-$HOME/.pyenv}
if [ ! -d "$pyenv_root/versions" ] && pyenv=$(command -v pyenv); then
  pyenv_root=$(dirname "$(dirname "$(readlink -f "$pyenv")")")
fi
for version in "$@"; do
  for candidate in $(type -ap "python$version") "/usr/bin/python$version" "$pyenv_root/versions/$version".*/bin/"python$version"; do
    if "$candidate" -c 'import ensurepip, sys, venv; assert sys.prefix == sys.base_prefix' 2>/dev/null; then
      # The interpreter itself, not the shim: ansible-test searches PATH for its name.
      "$candidate" -c 'import sys; print(sys.executable)'
      exit 0
    fi
  done
done
exit 1
