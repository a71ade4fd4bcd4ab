# shellcheck shell=bash
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
# Sourced by the Makefile, the tools and people: the paths of everything that setup.sh creates.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${DAYTWO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/daytwo-aws}
DAYTWO_CACHE=$CACHE # stays the same for a child that runs with another HOME
ANSIBLE_COLLECTIONS_PATH=$CACHE/tree-$(printf %s "$ROOT" | sha256sum | cut -c1-8)
ANSIBLE_HOME=$CACHE/ansible
ANSIBLE_LOCALHOST_WARNING=false
ANSIBLE_INVENTORY_UNPARSED_WARNING=false
PYTHONPATH=$ANSIBLE_COLLECTIONS_PATH:$ROOT/tests
PYTHONDONTWRITEBYTECODE=1 # the checkout stays clean, and Python imports no stale caches
LC_ALL=C.UTF-8
case :$PATH: in
  *:"$CACHE/venv/bin":*) ;;
  *) PATH=$CACHE/venv/bin:$CACHE/bin:$PATH ;;
esac
export ROOT CACHE DAYTWO_CACHE ANSIBLE_COLLECTIONS_PATH ANSIBLE_HOME ANSIBLE_LOCALHOST_WARNING \
  ANSIBLE_INVENTORY_UNPARSED_WARNING PYTHONPATH PYTHONDONTWRITEBYTECODE LC_ALL PATH
unset VIRTUAL_ENV
