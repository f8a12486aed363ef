"""A crowd of browsers' websockets in a process of its own, so that the browser that is measured is one of many.

``python -m tests.benchmarks.live_crowd URL COOKIE COUNT`` connects, prints ``ready COUNT`` once every client has its
snapshot, reads on until its standard input closes, then prints how many frames came.
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

TOPICS = ["wan"]
CONNECT_AT_ONCE = 20


@dataclass(slots=True)
class Tally:
    """What came in over all clients."""

    frames: int = 0
    snapshots: int = 0


async def _follow(connection: ClientConnection, tally: Tally) -> None:
    async for text in connection:
        tally.frames += 1
        if isinstance(text, str) and '"type":"snapshot"' in text[:80].replace(" ", ""):
            tally.snapshots += 1


async def _join(url: str, cookie: str, tally: Tally, gate: asyncio.Semaphore) -> ClientConnection:
    parts = urlsplit(url)
    headers = {"Cookie": cookie}
    async with gate:
        connection = await connect(
            f"ws://{parts.netloc}/ws/live/",
            origin=Origin(f"http://{parts.netloc}"),
            additional_headers=headers,
            open_timeout=30,
        )
        await connection.send(json.dumps({"subscribe": TOPICS}))
    return connection


async def crowd(url: str, cookie: str, count: int) -> None:
    """Hold ``count`` clients until standard input closes."""
    tally, gate = Tally(), asyncio.Semaphore(CONNECT_AT_ONCE)
    connections = await asyncio.gather(*(_join(url, cookie, tally, gate) for _ in range(count)))
    readers = [asyncio.create_task(_follow(connection, tally)) for connection in connections]
    while tally.snapshots < count:
        if any(reader.done() for reader in readers):
            raise SystemExit("a client of the crowd was turned away")
        await asyncio.sleep(0.02)
    print(f"ready {count}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    left = sum(reader.done() for reader in readers)
    print(json.dumps({"frames": tally.frames, "lost_clients": left}), flush=True)
    for reader in readers:
        reader.cancel()


if __name__ == "__main__":
    asyncio.run(crowd(sys.argv[1], sys.argv[2], int(sys.argv[3])))
