"""One browser's queue: a slow browser costs itself its events, never the others their speed."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from django.contrib.auth.models import User
from prometheus_client import Counter

QUEUE_LENGTH: Final = 256

DROPPED = Counter("nfvportal_live_dropped", "Frames dropped because a browser was slow")
OVERFLOWS = Counter(
    "nfvportal_live_overflows", "Times a slow browser lost its queue and started from a new snapshot"
)


class Client:
    """A browser's side of the hub.

    Args:
        user: who follows.
        send: hands one text to the websocket and waits until it is written.
        on_overflow_over: called when a client that lost frames can take frames again: it needs new snapshots.
    """

    def __init__(
        self, user: User, send: Callable[[str], Awaitable[None]], on_overflow_over: Callable[["Client"], None]
    ) -> None:
        self.user = user
        self.topics: dict[str, asyncio.Task[None] | None] = {}
        self.dropped_count = 0
        self._send = send
        self._on_overflow_over = on_overflow_over
        self._queue: deque[str] = deque()
        self._is_overflowed = False
        self._wake = asyncio.Event()

    def offer(self, text: str) -> None:
        """Queue a frame; when the queue is full, drop all of it and start over once the browser reads again."""
        if self._is_overflowed:
            self._drop(1)
            return
        if len(self._queue) >= QUEUE_LENGTH:
            self._drop(len(self._queue) + 1)
            OVERFLOWS.inc()
            self._queue.clear()
            self._is_overflowed = True
        else:
            self._queue.append(text)
        self._wake.set()

    def offer_latest(self, text: str) -> None:
        """Queue a frame that the next one replaces; a browser that is behind goes without it."""
        if self._is_overflowed or len(self._queue) >= QUEUE_LENGTH // 4:
            self._drop(1)
            return
        self._queue.append(text)
        self._wake.set()

    async def run(self) -> None:
        """Write frames until the websocket closes."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                await self._send(self._queue.popleft())
            if self._is_overflowed:
                self._is_overflowed = False
                self._on_overflow_over(self)

    def _drop(self, count: int) -> None:
        self.dropped_count += count
        DROPPED.inc(count)
