# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The models of AWS's services, found and parsed once in a process."""

from __future__ import annotations

import functools

from botocore.loaders import JSONFileLoader, Loader


def read_models_once() -> None:
    """Keep each model that botocore has read, and each listing of its directories, which takes as long as all else that
    makes a client. By path alone: each session makes a loader of its own."""
    read = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
    JSONFileLoader.load_file = lambda _self, path: read(path)  # type: ignore[method-assign]

    @functools.cache
    def list_services(paths: tuple[str, ...], kind: str) -> list[str]:
        return list_uncached(Loader(extra_search_paths=list(paths), include_default_search_paths=False), kind)

    list_uncached = Loader.list_available_services
    Loader.list_available_services = lambda self, type_name: list_services(  # type: ignore[method-assign]
        tuple(self.search_paths), type_name
    )
