# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m testbed.aws.server`: moto's server on the address that the gate forwards to, with every rule."""

from __future__ import annotations

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

from ..gate import MOTO
from . import installed, load


def main() -> None:
    app = DomainDispatcherApplication(create_backend_app)
    with installed(load()):
        run_simple(*MOTO, app, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
