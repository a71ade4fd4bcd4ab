# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx configuration of the documentation site (make docs)."""

from __future__ import annotations

project = "daytwo.aws"
author = "The daytwo.aws authors"
title = html_short_title = "daytwo.aws"
extensions = ["sphinx_antsibull_ext"]
pygments_style = "ansible"
highlight_language = "YAML+Jinja"
html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_copy_source = False
html_use_index = False
default_role = "any"
# References to other collections need their sites, but the site is built without a network.
suppress_warnings = ["ref.any", "ref.ref"]
