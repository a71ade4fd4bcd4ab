# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain TCP proxy on the controller, for faults of a connection: it is cut, or it is slow.

Some kernels have no netem, so the proxy holds each block back; the delay counts once per block and direction
(docs/facts/testbed.md#network-namespaces).
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
        self.cuts = 0  # deliberate cuts; connections that end by themselves or with the proxy do not count
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
        self._break(set(self._open))

    def cut(self) -> None:
        """Reset every connection that is open now."""
        with self._lock:
            ends = set(self._open)
            self.cuts += bool(ends)
        self._break(ends)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _dummy = self._listener.accept()
                try:
                    server = socket.create_connection(self.target)
                except OSError:
                    reset(client)
                    continue
                with self._lock:
                    self._open |= {client, server}
                threading.Thread(target=self._relay, args=(client, server), daemon=True).start()

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        count = [0]
        back = threading.Thread(target=self._pump, args=(server, client, count), daemon=True)
        back.start()
        self._pump(client, server, count)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _pump(self, source: socket.socket, sink: socket.socket, count: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
                with self._lock:
                    before, count[0] = count[0], count[0] + len(data)
                    self.passed += len(data)
                if self.cut_after is not None and before < self.cut_after <= count[0]:
                    self.cuts += 1
                    self._break({source, sink})
                    return
            sink.shutdown(socket.SHUT_WR)

    def _break(self, ends: set[socket.socket]) -> None:
        with self._lock:
            self._open -= ends
        for end in ends:
            # shutdown wakes the thread that waits in recv; a bare close would leave it waiting
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RD)
            reset(end)
