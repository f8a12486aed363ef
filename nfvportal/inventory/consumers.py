"""``/ws/agent/``: carries out what the session machine decides for one agent."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import django.db
import redis
from channels.db import DatabaseSyncToAsync
from channels.generic.websocket import AsyncWebsocketConsumer
from prometheus_client import Counter

from nfvportal.inventory import sessions
from nfvportal.inventory.services import agent_group, desired_state_applied
from nfvportal.lib import wire
from nfvportal.lib.errors import InvalidInputError
from nfvportal.southbound.refusals import RefusalBrake
from nfvportal.southbound.session import (
    Action,
    Close,
    ForwardSamples,
    GoOnline,
    Ignore,
    LoadDesired,
    Refuse,
    Seen,
    Send,
    Session,
    SessionState,
    StoreApplied,
    StoreEvent,
)

logger = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

TICK_S: Final = 1.0
# A restarting agent or web process is back within a second: that is no outage.
OFFLINE_GRACE_S: Final = 1.0
# Messages of the channel layer may be lost with Valkey; looking into the table every few seconds makes up for it.
DESIRED_CHECK_TICKS: Final = 5
MAX_BATCHES_IN_FLIGHT: Final = 32
TRY_AGAIN_CLOSE: Final = 1013

REFUSED = Counter("nfvportal_agent_refused", "Agents refused, by reason", ["code"])
FRAMES = Counter("nfvportal_agent_frames", "Frames received from agents")
IGNORED = Counter("nfvportal_agent_frames_ignored", "Valid frames that were not the device's to send")
SAMPLES_DROPPED = Counter(
    "nfvportal_agent_sample_batches_dropped", "Batches of samples dropped: broker away or slow"
)

_database_pool = ThreadPoolExecutor(4, thread_name_prefix="agent-database")
_samples_pool = ThreadPoolExecutor(2, thread_name_prefix="agent-samples")
_brake = RefusalBrake()


async def _in_database(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    call: Callable[P, Any] = DatabaseSyncToAsync(function, thread_sensitive=False, executor=_database_pool)
    result: R = await call(*args, **kwargs)
    return result


class AgentConsumer(AsyncWebsocketConsumer):
    """One agent's websocket. Messages are handled one after the other: a flood waits in the agent's socket."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the websocket; when database or Valkey are away, let the agent try again later."""
        self._session_id = secrets.token_hex(8)
        self._session = Session(None, time.monotonic())
        self._device: sessions.KnownDevice | None = None
        self._sent_revisions: dict[str, int] = {}
        self._batches: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._is_online = False
        try:
            await super().__call__(scope, receive, send)
        except (django.db.Error, redis.RedisError, OSError) as error:
            logger.warning("agent session of %s ended: %s", self._name, error)
            self._session.closed()
            with contextlib.suppress(RuntimeError, OSError):  # it may be closed already
                await send({"type": "websocket.close", "code": TRY_AGAIN_CLOSE})
        finally:
            self._stop_ticker()

    async def connect(self) -> None:
        """Accept, so that a refusal can say why, and look whose token it is."""
        await self.accept()
        self._device = await _in_database(sessions.device_identify, self._token())
        self._session = Session(self._device.identity if self._device else None, time.monotonic())
        await self._carry_out(self._session.start())
        self._ticker = asyncio.create_task(self._tick())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Handle one message."""
        FRAMES.inc()
        text = text_data if text_data is not None else bytes_data or b""
        await self._carry_out(self._session.received(text, time.monotonic()))

    async def disconnect(self, code: int) -> None:
        """Mark the device offline, unless it is back at once."""
        self._session.closed()
        if self._device is None or not self._is_online:
            return
        await self.channel_layer.group_discard(agent_group(self._device.pk), self.channel_name)
        await asyncio.sleep(OFFLINE_GRACE_S)
        is_gone = await _in_database(
            sessions.device_gone,
            device_id=self._device.pk,
            session_id=self._session_id,
            reason=f"connection closed ({code})",
        )
        if is_gone:
            logger.info("agent of %s is gone (%s)", self._name, code)

    async def desired_changed(self, message: dict[str, Any]) -> None:
        """Channel layer: a desired state of this device changed."""
        del message
        await self._send_desired()

    async def agent_replaced(self, message: dict[str, Any]) -> None:
        """Channel layer: a session of this device opened."""
        if message["session"] != self._session_id:
            await self._carry_out(self._session.replaced())

    async def agent_token_rotated(self, message: dict[str, Any]) -> None:
        """Channel layer: the device's token was rotated."""
        del message
        await self._carry_out(self._session.token_rotated())

    @property
    def _name(self) -> str:
        """The device's name, or where the stranger calls from."""
        if self._device is not None:
            return self._device.identity.device
        client = self.scope.get("client") or ("local socket",)
        return str(client[0])

    def _stop_ticker(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()

    def _token(self) -> str:
        headers = dict(self.scope.get("headers", ()))
        scheme, _, raw = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        return raw.strip() if scheme.lower() == "bearer" else ""

    async def _tick(self) -> None:
        """Once a second: notice silence; now and then, make up for lost messages of the channel layer."""
        count = 0
        while self._session.state != SessionState.CLOSED:
            await asyncio.sleep(TICK_S)
            count += 1
            try:
                await self._carry_out(self._session.tick(time.monotonic()))
                if count % DESIRED_CHECK_TICKS == 0:
                    await self._send_desired()
            except (django.db.Error, redis.RedisError, OSError) as error:
                logger.warning("agent session of %s waits: %s", self._name, error)

    async def _carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Send(frame):
                    await self._send_frame(frame)
                case StoreEvent(frame):
                    await _in_database(sessions.agent_event_store, device_name=self._name, frame=frame)
                    await self._carry_out(self._session.committed(frame["id"]))
                case ForwardSamples(role, columns):
                    self._forward(role, columns)
                case StoreApplied(frame):
                    await self._store_applied(frame)
                case Seen():
                    await self._seen()
                case GoOnline():
                    await self._go_online(action)
                case LoadDesired():
                    await self._send_desired()
                case Ignore(reason):
                    IGNORED.inc()
                    logger.warning("agent of %s: %s", self._name, reason)
                case Refuse():
                    await self._refuse(action)
                case Close(code, reason):
                    logger.info("closing the session of %s: %s", self._name, reason)
                    await self.close(code)

    async def _send_frame(self, frame: wire.Frame) -> None:
        try:
            text = wire.encode(frame)
        except InvalidInputError as error:
            logger.error("cannot send %s to %s: %s", frame.get("type"), self._name, error)
            return
        await self.send(text_data=text)

    async def _go_online(self, hello: GoOnline) -> None:
        assert self._device is not None
        group = agent_group(self._device.pk)
        await self.channel_layer.group_add(group, self.channel_name)
        self._is_online = True
        await _in_database(
            sessions.device_online, device_id=self._device.pk, session_id=self._session_id, hello=hello
        )
        await self.channel_layer.group_send(group, {"type": "agent.replaced", "session": self._session_id})
        logger.info("agent of %s is here, version %s", self._name, hello.version)

    async def _send_desired(self) -> None:
        if self._device is None or not self._is_online:
            return
        # A role that was given after the agent connected may speak before its first spec goes out.
        self._session.roles_are(await _in_database(sessions.device_roles, self._device.pk))
        states = await _in_database(sessions.desired_frames, self._device.pk, dict(self._sent_revisions))
        self._sent_revisions.update({role: revision for role, revision, _ in states})
        await self._carry_out(self._session.desired(states))

    async def _store_applied(self, frame: wire.Frame) -> None:
        assert self._device is not None
        fields = {key: frame[key] for key in ("role", "revision", "ok", "error")}
        await _in_database(desired_state_applied, device_id=self._device.pk, **fields)

    async def _seen(self) -> None:
        assert self._device is not None
        if not await _in_database(
            sessions.device_seen, device_id=self._device.pk, session_id=self._session_id
        ):
            await self._carry_out(self._session.replaced())

    async def _refuse(self, refusal: Refuse) -> None:
        REFUSED.labels(refusal.code).inc()
        logger.warning("refused the agent of %s: %s (%s)", self._name, refusal.reason, refusal.code)
        await self._send_frame(refusal.frame)
        await self.close(refusal.close_code)
        held_back_count = _brake.admit(self._name, refusal.code, time.monotonic())
        if held_back_count is not None:
            report = {"source": self._name, "code": refusal.code, "reason": refusal.reason}
            await _in_database(sessions.refusal_report, held_back_count=held_back_count, **report)

    def _forward(self, role: str, columns: dict[str, list[Any]]) -> None:
        """Hand samples on without waiting: events behind them must not be late because the broker is slow."""
        if len(self._batches) >= MAX_BATCHES_IN_FLIGHT:
            SAMPLES_DROPPED.inc()
            return
        task = asyncio.create_task(self._forward_one(role, columns))
        self._batches.add(task)
        task.add_done_callback(self._batches.discard)

    async def _forward_one(self, role: str, columns: dict[str, list[Any]]) -> None:
        loop = asyncio.get_running_loop()
        forward = partial(sessions.samples_forward, device_name=self._name, role=role, columns=columns)
        try:
            await loop.run_in_executor(_samples_pool, forward)
        except Exception as error:  # the broker's client raises errors of several libraries
            SAMPLES_DROPPED.inc()
            logger.debug("dropped samples of %s: %s", self._name, error)
