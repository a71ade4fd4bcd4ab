# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain TCP proxy on the controller, for what goes wrong with a connection: it is cut, it is slow to answer.

The kernel here has no netem, so delay is made by holding each block back; it counts once per block and direction.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType

from .proxy import reset


class TcpProxy:
    """`with TcpProxy((address, 22), cut_after=1_000_000) as proxy:` and connect to `proxy.port` on 127.0.0.1."""

    def __init__(self, target: tuple[str, int], cut_after: int | None = None, delay: float = 0.0) -> None:
        self.target = target
        self.cut_after = cut_after  # bytes in both directions of one connection; None: never
        self.delay = delay  # seconds
        self.passed = 0
        self.cuts = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> TcpProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection that is open now."""
        with self._lock:
            broken, self._open = self._open, set()
        for connection in broken:
            # shutdown wakes the thread that waits in recv; a bare close would leave it waiting
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
            reset(connection)
        self.cuts += bool(broken)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self.target)
                except OSError:
                    reset(client)
                    continue
                with self._lock:
                    self._open |= {client, server}
                count = [0]
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, sink, count), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, count: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
                with self._lock:
                    count[0] += len(data)
                    self.passed += len(data)
                if self.cut_after is not None and count[0] >= self.cut_after:
                    with self._lock:
                        self._open -= {source, sink}
                    self.cuts += 1
                    for end in (source, sink):
                        with contextlib.suppress(OSError):
                            end.shutdown(socket.SHUT_RD)
                        reset(end)
                    return
            sink.shutdown(socket.SHUT_WR)
