"""A hundred thin browsers in a process of their own: ``python -m tests.benchmarks.live_clients URL TOKEN TOPIC COUNT``.

They speak just enough websocket to stamp every frame when it arrives, so that what is measured is the portal and not
the clients. Prints ``ready`` with the milliseconds until all had their snapshot. Reads
from standard input how many frames each should get, waits for them, and prints one JSON line with every arrival:
``[n, sent_s, arrived_s]``.
"""

import asyncio
import base64
import json
import os
import re
import sys
import time
from functools import partial
from urllib.parse import urlsplit

MARK = re.compile(rb'"n":(\d+),"sent_s":([\d.]+)')
TELEMETRY = b'"event":"telemetry"'
STRAGGLERS_WITHIN_S = 10.0
SNAPSHOT = b'"type":"snapshot"'


def masked(text: bytes) -> bytes:
    """Return a short text as the masked frame that a client must send (RFC 6455, mask of zeros)."""
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


class Thin(asyncio.Protocol):
    """One client."""

    def __init__(self, request: bytes, topic: str) -> None:
        self.request = request
        self.subscribe = masked(json.dumps({"subscribe": [topic]}).encode())
        self.arrivals: list[tuple[int, float, float]] = []
        self.telemetry_count = 0
        self.has_snapshot = asyncio.Event()
        self.lost = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the websocket."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Stamp all marks in what arrived."""
        arrived_s = time.time()
        if data.startswith(b"HTTP/1.1 101 "):
            self.transport.write(self.subscribe)
        if not self.has_snapshot.is_set() and SNAPSHOT in self._rest + data:
            self.has_snapshot.set()
        data = self._rest + data
        end = 0
        for mark in MARK.finditer(data):
            self.arrivals.append((int(mark[1]), float(mark[2]), arrived_s))
            end = mark.end()
        self.telemetry_count += data.count(TELEMETRY)
        # A mark may be cut in two by the end of a segment; so much is looked at again with the next one.
        self._rest = data[max(end, len(data) - 60) :].replace(TELEMETRY, b"")

    def connection_lost(self, error: Exception | None) -> None:
        """Remember that it was turned away."""
        self.lost = True


def _same(client: Thin) -> Thin:
    return client


async def run(url: str, token: str, topic: str, count: int) -> None:
    """Connect all, say so, collect what is expected, report."""
    parts = urlsplit(url)
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET /ws/live/ HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n"
        # As browsers do. The portal must decline: compressing every frame for every client costs it its speed.
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    started_s = time.monotonic()
    clients = [Thin(request, topic) for _ in range(count)]
    await asyncio.gather(
        *(
            loop.create_connection(partial(_same, client), parts.hostname or "", parts.port or 80)
            for client in clients
        )
    )
    async with asyncio.timeout(60):
        await asyncio.gather(*(client.has_snapshot.wait() for client in clients))
    print(f"ready {(time.monotonic() - started_s) * 1000:.1f}", flush=True)
    expected_count = int(await loop.run_in_executor(None, sys.stdin.readline) or 0)
    deadline_s = time.monotonic() + STRAGGLERS_WITHIN_S
    # An asyncio.Event per frame would slow what is measured.
    while any(len(c.arrivals) < expected_count for c in clients) and time.monotonic() < deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    report = {
        "arrivals": [arrival for client in clients for arrival in client.arrivals],
        "telemetry_counts": [client.telemetry_count for client in clients],
        "lost_count": sum(client.lost for client in clients),
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
