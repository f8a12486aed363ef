"""The hub of one web process: one Valkey subscription per topic, each frame handed to all its browsers as it is.

A browser gets the topic's snapshot with its number, then every event after it, in order. The number is read before
the snapshot and publishing happens after commit, so that a snapshot holds at least all events up to its number.
Browsers that ask at the same time share one snapshot; the feed's ring supplies what happened since.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from channels.db import DatabaseSyncToAsync
from django.conf import settings
from django.contrib.auth.models import User
from django.http import Http404
from prometheus_client import Counter, Gauge
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from nfvportal.lib.errors import InvalidInputError
from nfvportal.live.client import Client
from nfvportal.live.feed import Feed
from nfvportal.live.frames import error_text, ping_text, snapshot_text, telemetry_text
from nfvportal.live.publish import EVENT_CHANNEL, LATEST_CHANNEL, SEQ_KEY, encode
from nfvportal.live.topics import Topic, snapshot_function, topic_find

logger = logging.getLogger(__name__)
PING_S: Final = 5.0
TELEMETRY_S: Final = 0.25
SHARE_SNAPSHOT_S: Final = 0.2
RETRY_FIRST_S: Final = 0.1
RETRY_CAP_S: Final = 2.0
IDLE_TOPIC_S: Final = 30.0

CLIENTS = Gauge("nfvportal_live_clients", "Browsers connected to the live stream")
SNAPSHOTS = Counter("nfvportal_live_snapshots", "Snapshots taken from the database")
RESYNCS = Counter("nfvportal_live_resyncs", "Times all browsers of a topic needed a new snapshot", ["reason"])

_snapshot_pool = ThreadPoolExecutor(4, thread_name_prefix="live-snapshot")


@dataclass(frozen=True, slots=True)
class _Snapshot:
    seq: int
    text: str


@dataclass(slots=True)
class _TopicState:
    """One topic in this process."""

    name: str
    row: Topic
    feed: Feed = field(default_factory=Feed)
    live: dict[Client, int] = field(
        default_factory=dict
    )  # have the snapshot of this number, get what follows
    followers: set[Client] = field(default_factory=set)  # these, and those that wait for the snapshot
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)
    snapshots: dict[int, tuple[float, "asyncio.Task[_Snapshot]"]] = field(default_factory=dict)
    latest: dict[str, str] = field(default_factory=dict)
    flush: asyncio.TimerHandle | None = None
    flushed_at_s: float = 0.0
    idle_since_s: float = 0.0


class Hub:
    """Fans the live stream out to the browsers of this process. Lives on one event loop; all methods run there."""

    def __init__(self) -> None:
        self._topics: dict[str, _TopicState] = {}
        self._clients: set[Client] = set()
        self._redis = redis.asyncio.Redis.from_url(
            settings.VALKEY_URL, decode_responses=True, socket_connect_timeout=2, socket_timeout=2
        )
        # No retries: a subscription that was interrupted must be seen, not mended in silence.
        self._subscriber = redis.asyncio.Redis.from_url(
            settings.VALKEY_URL, decode_responses=True, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
        )
        self._pubsub: PubSub | None = None
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._beat())]

    def join(self, client: Client) -> None:
        """Add a browser."""
        self._clients.add(client)
        CLIENTS.inc()

    def leave(self, client: Client) -> None:
        """Forget a browser."""
        for topic in list(client.topics):
            self.unfollow(client, topic)
        self._clients.discard(client)
        CLIENTS.dec()

    def follow(self, client: Client, topic: str) -> None:
        """Give a browser the topic's snapshot, then its events; asked again, the snapshot again."""
        row = topic_find(topic)
        assert row is not None, "the consumer checks topics"
        state = self._topics.get(topic)
        if state is None:
            state = self._topics[topic] = _TopicState(topic, row)
            if self._pubsub is not None:
                self._spawn(self._subscribe([state]))
        state.followers.add(client)
        self._introduce(client, state)

    def unfollow(self, client: Client, topic: str) -> None:
        """Stop sending a topic to a browser."""
        task = client.topics.pop(topic, None)
        if task is not None:
            task.cancel()
        state = self._topics.get(topic)
        if state is not None:
            state.live.pop(client, None)
            state.followers.discard(client)
            state.idle_since_s = time.monotonic()

    def resync(self, client: Client) -> None:
        """Give a browser new snapshots of all its topics."""
        RESYNCS.labels("slow_browser").inc()
        for topic in list(client.topics):
            self._introduce(client, self._topics[topic])

    async def close(self) -> None:
        """End the hub's tasks and connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()
        await self._subscriber.aclose()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.append(task)
        task.add_done_callback(lambda done: self._tasks.remove(done) if done in self._tasks else None)

    # --- snapshots

    def _introduce(self, client: Client, state: _TopicState) -> None:
        """Start (again) to bring a client to the present of a topic."""
        state.live.pop(client, None)
        running = client.topics.get(state.name)
        if running is not None:
            running.cancel()
        client.topics[state.name] = asyncio.create_task(self._bring_up(client, state))

    async def _bring_up(self, client: Client, state: _TopicState) -> None:
        delay_s = RETRY_FIRST_S
        while True:
            await state.subscribed.wait()
            try:
                snapshot = await asyncio.shield(self._snapshot(state, client.user))
            except Http404 as error:
                self._refuse(client, state, "not_found", str(error))
                return
            except InvalidInputError as error:
                self._refuse(client, state, "malformed", str(error))
                return
            except (
                Exception
            ) as error:  # database or Valkey away: the browser waits, it cannot do better itself
                logger.warning("no snapshot of %s: %s: %s", state.name, type(error).__name__, error)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, RETRY_CAP_S)
                continue
            missed = state.feed.since(snapshot.seq) if state.subscribed.is_set() else None
            if missed is None:  # more happened meanwhile than the ring holds, or Valkey was lost
                state.snapshots.pop(client.user.pk, None)
                continue
            client.topics[state.name] = None
            client.offer(snapshot.text)
            for text in missed:
                client.offer(text)
            state.live[client] = snapshot.seq
            return

    def _refuse(self, client: Client, state: _TopicState, code: str, message: str) -> None:
        client.topics[state.name] = None
        self.unfollow(client, state.name)
        client.offer(error_text(state.name, code, message))

    def _snapshot(self, state: _TopicState, user: User) -> "asyncio.Task[_Snapshot]":
        """Return the snapshot that is being taken for this user, or a very fresh one, or take one."""
        now_s = time.monotonic()
        if shared := state.snapshots.get(user.pk):
            started_s, task = shared
            if not task.done() or (now_s - started_s < SHARE_SNAPSHOT_S and not task.exception()):
                return task
        task = asyncio.create_task(self._take_snapshot(state, user))
        task.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # nobody may be left to see it
        state.snapshots[user.pk] = (now_s, task)
        return task

    async def _take_snapshot(self, state: _TopicState, user: User) -> _Snapshot:
        known_seq = state.feed.last_seq
        seq = int(await self._redis.get(SEQ_KEY + state.name) or 0)
        if known_seq is not None and seq < known_seq:
            state.feed.forget()
            self._resync_topic(state, "numbers_began_anew")
        state.feed.expect_after(seq)
        at_s = time.time()
        take = DatabaseSyncToAsync(_encoded_snapshot, thread_sensitive=False, executor=_snapshot_pool)
        data: str = await take(state.row, user, state.name)
        SNAPSHOTS.inc()
        return _Snapshot(seq, snapshot_text(state.name, seq, at_s, data))

    # --- events

    async def _listen(self) -> None:
        """Receive for ever; after every interruption subscribe again and give all browsers new snapshots."""
        delay_s = RETRY_FIRST_S
        while True:
            try:
                async with self._subscriber.pubsub() as pubsub:
                    await pubsub.subscribe(
                        EVENT_CHANNEL
                    )  # nobody publishes there: it keeps the connection in use
                    self._pubsub = pubsub
                    await self._subscribe(self._topics.values())
                    delay_s = RETRY_FIRST_S
                    async for message in pubsub.listen():
                        self._receive(message)
            except (redis.RedisError, OSError) as error:
                logger.warning("live stream lost Valkey: %s", error)
            self._pubsub = None
            self._interrupt()
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, RETRY_CAP_S)

    async def _subscribe(self, states: Iterable[_TopicState]) -> None:
        channels = [prefix + state.name for state in states for prefix in (LATEST_CHANNEL, EVENT_CHANNEL)]
        if channels and self._pubsub is not None:
            try:
                await self._pubsub.subscribe(*channels)
            except (redis.RedisError, OSError) as error:
                logger.warning("could not subscribe: %s", error)  # the listener notices and starts over

    def _interrupt(self) -> None:
        for state in self._topics.values():
            state.subscribed.clear()
            state.feed.forget()
            state.snapshots.clear()
            self._resync_topic(state, "valkey_lost")

    def _resync_topic(self, state: _TopicState, reason: str) -> None:
        RESYNCS.labels(reason).inc()
        state.snapshots.clear()
        for client in list(state.followers):
            self._introduce(client, state)

    def _receive(self, message: dict[str, Any]) -> None:
        channel: str = message["channel"] or ""
        if channel.startswith(LATEST_CHANNEL):
            state = self._topics.get(channel[len(LATEST_CHANNEL) :])
            if state is not None and message["type"] == "message":
                key, _, value = message["data"].partition("\n")
                state.latest[key] = value
                self._plan_flush(state)
            return
        state = self._topics.get(channel[len(EVENT_CHANNEL) :])
        if state is None:
            return
        if message["type"] == "subscribe":
            state.subscribed.set()
        elif message["type"] == "unsubscribe":
            # It was idle and given up, and just then a browser came back.
            state.subscribed.clear()
            state.feed.forget()
            self._resync_topic(state, "resubscribed")
            self._spawn(self._subscribe([state]))
        elif message["type"] == "message":
            number, _, text = message["data"].partition(" ")
            if state.feed.receive(int(number), text):
                for client, floor in state.live.items():
                    if int(number) > floor:
                        client.offer(text)
            else:
                self._resync_topic(state, "gap")

    def _plan_flush(self, state: _TopicState) -> None:
        if state.flush is None:
            wait_s = max(0.0, state.flushed_at_s + TELEMETRY_S - time.monotonic())
            state.flush = asyncio.get_running_loop().call_later(wait_s, self._flush, state)

    def _flush(self, state: _TopicState) -> None:
        state.flush, state.flushed_at_s = None, time.monotonic()
        text = telemetry_text(state.name, time.time(), state.latest)
        state.latest = {}
        for client in state.live:
            client.offer_latest(text)

    async def _beat(self) -> None:
        """Ping while the feed is whole: browsers call a silent stream stale, which it then is."""
        while True:
            await asyncio.sleep(PING_S)
            if self._pubsub is not None:
                text = ping_text(time.time())
                for client in self._clients:
                    client.offer_latest(text)
            await self._forget_idle_topics()

    async def _forget_idle_topics(self) -> None:
        now_s = time.monotonic()
        for state in self._topics.values():
            old = [
                pk for pk, (at_s, task) in state.snapshots.items() if task.done() and now_s - at_s > PING_S
            ]
            for pk in old:
                del state.snapshots[pk]
        idle = [s for s in self._topics.values() if not s.followers and now_s - s.idle_since_s > IDLE_TOPIC_S]
        for state in idle:
            del self._topics[state.name]
            if state.flush is not None:
                state.flush.cancel()
        if idle and self._pubsub is not None:
            channels = [prefix + state.name for state in idle for prefix in (LATEST_CHANNEL, EVENT_CHANNEL)]
            try:
                await self._pubsub.unsubscribe(*channels)
            except (redis.RedisError, OSError) as error:
                logger.warning("could not unsubscribe: %s", error)


def _encoded_snapshot(row: Topic, user: User, topic: str) -> str:
    return encode(snapshot_function(row)(user, topic))


_hubs: "WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = WeakKeyDictionary()


def hub_get() -> Hub:
    """Return the hub of the running event loop."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None:
        hub = _hubs[loop] = Hub()
    return hub


async def hub_close() -> None:
    """End the hub of the running event loop, if there is one."""
    hub = _hubs.pop(asyncio.get_running_loop(), None)
    if hub is not None:
        await hub.close()
