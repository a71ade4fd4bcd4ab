#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: lambda_package
short_description: Build a reproducible deployment package of a Python Lambda function
version_added: 0.1.0
description:
  - Writes files and installed Python distributions, with all that these require, to a zip file.
  - Makes the same bytes from the same names and contents. Entries are sorted, have one timestamp and one mode, and are
    stored, not compressed, because compressed bytes differ between versions of zlib. An unchanged source therefore
    leaves the Lambda function unchanged.
  - Needs no internet and no pip. Install a missing distribution into a directory beforehand, with
    C(pip install --target).
author:
  - The daytwo.aws authors (@daytwo-aws)
attributes:
  check_mode:
    support: full
    description: Builds the package in memory, and writes nothing.
  diff_mode:
    support: full
    description: Shows the checksum before and after.
  idempotent:
    support: full
    description: The same sources make the same file.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or wherever the sources and distributions are.
options:
  dest:
    description: Path of the zip file to write. The directory must exist.
    type: path
    required: true
  sources:
    description: Files and directories of your own code. Directories are packaged recursively, without compiled caches.
    type: list
    elements: dict
    default: []
    suboptions:
      src:
        description: File or directory on the host where this module runs.
        type: path
        required: true
      dest:
        description: Name in the package, a relative path.
        type: str
        required: true
  distributions:
    description:
      - Python distributions, as V(NAME), V(NAME==VERSION) or V(NAME>=VERSION). The package includes their requirements,
        without extras. A distribution with compiled code is an error.
      - An installed version that does not match is an error.
    type: list
    elements: str
    default: []
  distributions_path:
    description:
      - Directories with the distributions, such as those made by C(pip install --target). Without it, the import path
        of the Python that runs this module.
    type: list
    elements: path
  exclude:
    description: Shell patterns of names to leave out of the package. V(*) also matches V(/).
    type: list
    elements: str
    default: []
  include:
    description: Shell patterns of names to package although O(exclude) matches them.
    type: list
    elements: str
    default: []
seealso:
  - module: amazon.aws.lambda
"""

EXAMPLES = r"""
- name: Package a function with a pinned botocore, with the data of RDS only
  daytwo.aws.lambda_package:
    dest: /tmp/function.zip
    sources:
      - src: function.py
        dest: function.py
    distributions:
      - botocore==1.40.0
    exclude:
      - botocore/data/*/*
    include:
      - botocore/data/rds/*
  register: package
"""

RETURN = r"""
dest:
  description: Path of the zip file.
  returned: always
  type: str
  sample: /tmp/function.zip
sha256:
  description: Checksum of the package, in hexadecimal digits.
  returned: always
  type: str
  sample: 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
code_sha256:
  description: Checksum of the package in Base64, as Lambda shows it in C(CodeSha256).
  returned: always
  type: str
  sample: WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM=
size:
  description: Size of the package in bytes.
  returned: always
  type: int
  sample: 4194304
entries:
  description: Number of files in the package.
  returned: always
  type: int
  sample: 240
distributions:
  description: Versions of all distributions in the package, by name.
  returned: always
  type: dict
  sample: {botocore: 1.40.0, urllib3: 2.5.0}
"""

import base64
import hashlib
import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._lambda_package.archive import EntryFilter, PackageError, collect_entries, list_files, pack_archive
from ..module_utils._lambda_package.distributions import (
    DistributionRequirement,
    InstalledDistributions,
    list_distribution_files,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "path", "required": True},
            "sources": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"src": {"type": "path", "required": True}, "dest": {"type": "str", "required": True}},
            },
            "distributions": {"type": "list", "elements": "str", "default": []},
            "distributions_path": {"type": "list", "elements": "path"},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "include": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    dest = Path(params["dest"])
    try:
        if not dest.parent.is_dir():
            raise PackageError(f"The directory {dest.parent} does not exist. Create it first.")
        requirements = [DistributionRequirement.parse(text) for text in params["distributions"]]
        installed = (
            InstalledDistributions(params["distributions_path"]).resolve_requirements(requirements)
            if requirements
            else []
        )
        files = [pair for source in params["sources"] for pair in list_files(Path(source["src"]), source["dest"])]
        files += [pair for distribution in installed for pair in list_distribution_files(distribution)]
        entries = collect_entries(files, EntryFilter(tuple(params["exclude"]), tuple(params["include"])))
        package = pack_archive(entries)
        before = hashlib.sha256(dest.read_bytes()).hexdigest() if dest.exists() else None
    except (PackageError, OSError) as error:
        module.fail_json(msg=f"{dest} could not be built. {error}")
    digest = hashlib.sha256(package)
    changed = before != digest.hexdigest()
    if changed and not module.check_mode:
        temporary = Path(module.tmpdir) / "package.zip"
        temporary.write_bytes(package)
        module.atomic_move(str(temporary), os.fspath(dest))
    module.exit_json(
        changed=changed,
        dest=str(dest),
        sha256=digest.hexdigest(),
        code_sha256=base64.b64encode(digest.digest()).decode(),
        size=len(package),
        entries=len(entries),
        distributions={distribution.metadata["Name"]: distribution.version for distribution in installed},
        diff={"before": {"sha256": before}, "after": {"sha256": digest.hexdigest()}},
    )


if __name__ == "__main__":
    main()
