"""One connection to the portal: says hello, then carries frames both ways until it breaks."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect, unix_connect

from nfvportal.agent.outbox import Outbox
from nfvportal.lib import wire
from nfvportal.lib.errors import InvalidInputError
from nfvportal.lib.wire import Frame

logger = logging.getLogger(__name__)
PATH = "/ws/agent/"
OPEN_TIMEOUT_S = 5.0
SILENT_BEATS = 3


class RefusedError(Exception):
    """The portal refused this agent; waiting may help (a token may be rotated), hurrying does not."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Portal:
    """Where the portal listens: ``unix:/path`` or ``ws://host:port`` / ``wss://host``.

    Raises:
        InvalidInputError: the address is neither.
    """

    address: str

    def __post_init__(self) -> None:
        if not (self.address.startswith("unix:/") or urlsplit(self.address).scheme in {"ws", "wss"}):
            raise InvalidInputError("portal", "must be unix:/path/to/socket, ws://host:port or wss://host")

    async def open(self, token: str) -> ClientConnection:
        """Connect with the device token."""
        headers = {"Authorization": f"Bearer {token}"}
        if self.address.startswith("unix:"):
            return await unix_connect(
                self.address.removeprefix("unix:"),
                f"ws://nfvportal{PATH}",
                additional_headers=headers,
                max_size=wire.MAX_FRAME_BYTES,
                open_timeout=OPEN_TIMEOUT_S,
                compression=None,
                ping_interval=None,
            )
        return await connect(
            self.address.rstrip("/") + PATH,
            additional_headers=headers,
            max_size=wire.MAX_FRAME_BYTES,
            open_timeout=OPEN_TIMEOUT_S,
            compression=None,
            ping_interval=None,
            proxy=None,
        )


class Connection:
    """The conversation on one open websocket.

    Args:
        socket: the open websocket.
        outbox: what is still to tell.
        on_desired: called with every ``desired`` frame.
        on_welcome: called once the portal accepted us, before the outbox is drained.
    """

    def __init__(
        self,
        socket: ClientConnection,
        outbox: Outbox,
        on_desired: Callable[[Frame], None],
        on_welcome: Callable[[], None],
    ) -> None:
        self._socket = socket
        self._outbox = outbox
        self._on_desired = on_desired
        self._on_welcome = on_welcome
        self._replies: asyncio.Queue[Frame] = asyncio.Queue()
        self._heard_at = time.monotonic()
        self.wake = asyncio.Event()

    async def run(self, hello: Frame) -> None:
        """Talk until the connection ends.

        Raises:
            RefusedError: the portal does not want us.
            ConnectionError, OSError, websockets exceptions: the connection broke.
        """
        await self._socket.send(wire.encode(hello))
        answer = wire.decode(await asyncio.wait_for(self._socket.recv(), OPEN_TIMEOUT_S), wire.FROM_PORTAL)
        if answer["type"] == "refused":
            raise RefusedError(answer["code"], answer["reason"])
        if answer["type"] != "welcome":
            raise InvalidInputError("type", "must be welcome or refused as the first frame")
        self._outbox.reconnected()
        self._on_welcome()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._write())
            group.create_task(self._beat(float(answer["heartbeat_s"])))

    def reply(self, frame: Frame) -> None:
        """Send a frame that is worth nothing on a later connection."""
        self._replies.put_nowait(frame)
        self.wake.set()

    async def _read(self) -> None:
        async for text in self._socket:
            self._heard_at = time.monotonic()
            try:
                frame = wire.decode(text, wire.FROM_PORTAL)
            except InvalidInputError as error:
                logger.warning("ignored a frame of the portal: %s", error)
                continue
            kind = frame["type"]
            if kind == "desired":
                self._on_desired(frame)
            elif kind == "ack":
                self._outbox.acknowledge(frame["id"])
            elif kind == "ping":
                self.reply({"type": "pong", "at_s": frame["at_s"]})
            elif kind == "refused":
                raise RefusedError(frame["code"], frame["reason"])
        raise ConnectionError("the portal closed the connection")

    async def _write(self) -> None:
        while True:
            while not self._replies.empty():
                await self._send(self._replies.get_nowait())
            for frame in self._outbox.take():
                await self._send(frame)
            await self.wake.wait()
            self.wake.clear()

    async def _send(self, frame: Frame) -> None:
        try:
            text = wire.encode(frame)
            # The portal would end the session over a frame it cannot read; a role's mistake must not do that.
            wire.decode(text, wire.FROM_AGENT)
        except InvalidInputError as error:
            # One frame that cannot be sent must not block those behind it for ever.
            logger.error("dropped a frame of type %s: %s", frame.get("type"), error)
            if frame.get("type") == "event":
                self._outbox.acknowledge(int(frame["id"]))
            return
        await self._socket.send(text)

    async def _beat(self, heartbeat_s: float) -> None:
        while True:
            await asyncio.sleep(heartbeat_s)
            if time.monotonic() - self._heard_at > SILENT_BEATS * heartbeat_s:
                raise ConnectionError(f"the portal was silent for {SILENT_BEATS} heartbeats")
            self.reply({"type": "ping", "at_s": time.time()})
