# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m testbed.aws.server [PORT]`: moto's server on the address that the gate forwards to, with every rule."""

from __future__ import annotations

import sys

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

from ..gate import MOTO
from . import installed, load
from .caller_identity import presigned
from .control import controlled


def main() -> None:
    host, port = MOTO
    if len(sys.argv) > 1:
        port = int(sys.argv[1])
    app = controlled(presigned(DomainDispatcherApplication(create_backend_app)))
    with installed(load()):
        run_simple(host, port, app, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
