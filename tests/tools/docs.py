# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation site: the modules' and roles' own documentation and the guides, by antsibull-docs and Sphinx."""

from __future__ import annotations

import shutil

from common import CACHE, HOME, ROOT, VENV, Counts, Ran, echo, run, staged

SITE = CACHE / "site"


def build() -> list[Ran]:
    """Run both steps; the second only if the first passed."""
    shutil.rmtree(SITE, ignore_errors=True)
    (SITE / "rst").mkdir(mode=0o755, parents=True)
    with staged() as here:
        env = {"ANSIBLE_COLLECTIONS_PATH": str(here.parents[2]), "PYTHONPATH": "", "HOME": str(HOME)}
        options = ("--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", SITE / "rst")
        done = [run(VENV / "bin/antsibull-docs", "collection", *options, "daytwo.aws", cwd=here, env=env, each=echo)]
        if not done[0].returncode:
            sphinx = (VENV / "bin/sphinx-build", "-q", "-b", "html", "-c", here / "docs/docsite")
            done.append(run(*sphinx, SITE / "rst", SITE / "html", cwd=here, each=echo))
    return done


def main() -> None:
    done = build()
    pages = [f"{file.stem}_module" for file in (ROOT / "plugins/modules").glob("[!_]*.py")]
    pages += [f"{role.name}_role" for role in (ROOT / "roles").glob("*") if role.is_dir()]
    missing = [name for name in pages if not (SITE / "html" / f"{name}.html").exists()]
    for name in missing:
        print(f"no page for {name}")
    print(f"{SITE / 'html/index.html'}: {len(pages)} modules and roles")
    failed = sum(1 for ran in done if ran.returncode) + len(missing)
    Counts(passed=len(pages) - len(missing), failed=failed).exit()


if __name__ == "__main__":
    main()
