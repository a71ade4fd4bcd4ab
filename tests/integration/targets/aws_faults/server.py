# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's AWS as a process that copies itself by fork: an account that took seconds to prepare is there at once.

It prints its port. A request to /fork makes a copy with the same account on a port of its own.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from testbed.aws import installed, load, timeline
from testbed.aws.server import make_app
from werkzeug.serving import make_server

HOST = "127.0.0.1"


def serve(app: Any, report: Callable[[int], None]) -> None:
    def handle(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/fork":
            answer: Iterable[bytes] = app(environ, start_response)
            return answer
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(fork(app, server.socket.fileno())).encode()]

    server = make_server(HOST, 0, handle, threaded=True, request_handler=MotoRequestHandler)
    report(server.server_port)
    threading.Thread(target=timeline.run, daemon=True).start()
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    server.serve_forever()


def fork(app: Any, listener: int) -> dict[str, int]:
    reader, writer = os.pipe()
    with timeline._LOCK:  # the copy has no thread that would release it
        pid = os.fork()
    if not pid:
        os.close(listener)
        os.close(reader)
        try:
            serve(app, lambda port: os.write(writer, b"%d\n" % port) and os.close(writer))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        return {"port": int(answer.readline()), "pid": pid}


def end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies
    app = make_app()
    with installed(load()):
        serve(app, lambda port: print(port, flush=True))


if __name__ == "__main__":
    main()
