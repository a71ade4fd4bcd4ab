# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A link with latency: forwards TCP connections, and delivers every byte later by a fixed time, in each direction.

Arguments: SECONDS, and LISTEN:TARGET for each pair of ports on the loopback interface. Bandwidth is not limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from typing import Optional

CHUNK = 256 * 1024
MOST_CHUNKS = 256

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def receive(reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]], delay: float) -> None:
    loop = asyncio.get_running_loop()
    data: Optional[bytes] = None
    while data != b"":
        data = b""
        with contextlib.suppress(OSError):
            data = await reader.read(CHUNK)
        await queue.put((loop.time() + delay, data))


async def deliver(queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while True:
            due, data = await queue.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MOST_CHUNKS)
    receiving = asyncio.ensure_future(receive(reader, queue, delay))
    await deliver(queue, writer)
    receiving.cancel()


def make_handler(target: int, delay: float) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The client waits for the first byte of its request anyway, so the hand-shake costs it nothing.
        upstream: Pair = await asyncio.open_connection("127.0.0.1", target, limit=CHUNK)
        await asyncio.gather(forward(reader, upstream[1], delay), forward(upstream[0], writer, delay))
        for each in (writer, upstream[1]):
            each.close()

    return handle


async def main() -> None:
    delay, servers = float(sys.argv[1]), []
    for pair in sys.argv[2:]:
        listen, target = map(int, pair.split(":"))
        servers.append(await asyncio.start_server(make_handler(target, delay), "127.0.0.1", listen, limit=CHUNK))
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main())
