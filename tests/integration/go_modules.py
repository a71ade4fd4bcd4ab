# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of public Go modules, fetched once by Go's module proxy into the cache. Nothing of them is built."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile

from testbed import packages, paths


def read_module_file(module: str, version: str, name: str) -> bytes:
    """Return the file of the module whose path ends with that name."""
    cache = paths.cache() / "go-modules"
    cache.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "GOMODCACHE": str(cache / "mod"), "GOFLAGS": "-modcacherw", "GOWORK": "off"}
    command = [packages.go(cache), "mod", "download", "-json", f"{module}@{version}"]
    # Go fetches the archive of a module that needs a newer Go as well, and reports an error besides.
    fetched = subprocess.run(command, cwd=cache, env=env, capture_output=True, text=True, check=False)
    archive = json.loads(fetched.stdout or "{}").get("Zip")
    assert archive, f"{module}@{version} cannot be fetched: {fetched.stdout}{fetched.stderr}"
    with zipfile.ZipFile(archive) as opened:
        (found,) = [entry for entry in opened.namelist() if entry.endswith(name)]
        return opened.read(found)
