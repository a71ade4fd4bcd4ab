# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m testbed.aws.server [PORT]`: moto's server on the address that the gate forwards to, with every rule."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

from ..gate import MOTO
from . import installed, load, timeline
from .caller_identity import presigned
from .control import controlled
from .ecr_registry import registries


def make_app() -> Any:
    """Moto's WSGI application, behind what the bed adds to it."""
    return registries(controlled(presigned(DomainDispatcherApplication(create_backend_app))))


def main() -> None:
    host, port = MOTO
    if len(sys.argv) > 1:
        port = int(sys.argv[1])
    if "TMPDIR" in os.environ:
        os.makedirs(os.environ["TMPDIR"], exist_ok=True)  # the packages of functions
    app = make_app()
    with installed(load()):
        threading.Thread(target=timeline.run, daemon=True).start()
        run_simple(host, port, app, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
