"""Following the live stream in tests, and the one test every topic needs: snapshot + events == fresh snapshot."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from django.conf import settings
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect

from nfvportal.live.publish import SEQ_KEY
from tests.support.web import WebServer

FRAME_WITHIN_S = 10.0
Data = dict[str, Any]
Fold = Callable[[Data, str, Data], Data]


class Follower:
    """A browser's stand-in. It trusts nothing: numbers must follow each other without a gap."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.pings = 0

    async def subscribe(self, *topics: str) -> None:
        """Ask for topics."""
        await self.socket.send(json.dumps({"subscribe": topics}))

    async def frame(self, kind: str, topic: str | None = None) -> Data:
        """Return the next frame of a type (and topic), passing over others."""
        async with asyncio.timeout(FRAME_WITHIN_S):
            while True:
                frame: Data = json.loads(await self.socket.recv())
                self.pings += frame["type"] == "ping"
                if frame["type"] == kind and topic in (None, frame.get("topic")):
                    return frame

    async def frame_of(self, topic: str) -> Data:
        """Return the next frame of a topic, of whatever type."""
        async with asyncio.timeout(FRAME_WITHIN_S):
            while True:
                frame: Data = json.loads(await self.socket.recv())
                if frame.get("topic") == topic:
                    return frame

    async def snapshot(self, topic: str) -> Data:
        """Subscribe (again) and return the snapshot frame."""
        await self.subscribe(topic)
        return await self.frame("snapshot", topic)

    async def numbered_event(self, topic: str) -> Data:
        """Return the topic's next numbered event, passing over telemetry."""
        while "seq" not in (frame := await self.frame("event", topic)):
            pass
        return frame


@asynccontextmanager
async def follow(server: WebServer, token: str) -> AsyncIterator[Follower]:
    """Connect to the live stream with an API token."""
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(f"{server.url}/ws/live/", additional_headers=headers, max_queue=None) as socket:
        yield Follower(socket)


async def _fresh_snapshot(follower: Follower, topic: str) -> Data:
    """Return a snapshot that holds all that was published by now: hubs share very young ones."""
    async with Redis.from_url(settings.VALKEY_URL) as valkey:
        published_seq = int(await valkey.get(SEQ_KEY + topic) or 0)
    async with asyncio.timeout(FRAME_WITHIN_S):
        while (frame := await follower.snapshot(topic))["seq"] < published_seq:  # noqa: ASYNC110  asks the portal
            await asyncio.sleep(0.05)
    return frame


async def assert_stream_consistent(
    server: WebServer, token: str, topic: str, act: Callable[[], Awaitable[object]], fold: Fold
) -> Data:
    """Check that a browser that applies events to its snapshot ends where a new snapshot begins.

    Args:
        act: does what changes the topic; runs while the first browser follows.
        fold: what a page does with one event: ``(state, event type, data) -> state``.

    Returns:
        The final state.
    """
    async with follow(server, token) as early, follow(server, token) as late:
        first = await early.snapshot(topic)
        await act()
        fresh = await _fresh_snapshot(late, topic)
        state, seq = first["data"], first["seq"]
        assert fresh["seq"] > seq, "act() published nothing: this test would prove nothing"
        while seq < fresh["seq"]:
            event = await early.numbered_event(topic)
            assert event["seq"] == seq + 1, "a number is missing or came twice"
            seq, state = event["seq"], fold(state, event["event"], event["data"])
        assert state == fresh["data"]
        return state
