"""Publishing to the live stream, from web threads and workers alike.

Straight to Valkey instead of through the channel layer: one script numbers the change and publishes it, so that
numbers arrive in order; the text is encoded here, once, and hubs hand it on as it is. One round trip of ~0.1 ms on a
connection that stays open, no event loop needed.

Publishing never raises for a Valkey that is away: the change is in the database, and what could not be published is
made good by a gap in the numbers, for which hubs take a new snapshot.
"""

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import redis
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from prometheus_client import Counter
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

logger = logging.getLogger(__name__)
EVENT_CHANNEL: Final = "nfvportal:live:event:"
LATEST_CHANNEL: Final = "nfvportal:live:latest:"
SEQ_KEY: Final = "nfvportal:live:seq:"
TIMEOUT_S: Final = 1.0
REPAIR_EVERY_S: Final = 0.25

PUBLISHED = Counter("nfvportal_live_published", "Changes published to the live stream")
LOST = Counter("nfvportal_live_unpublished", "Changes that could not be published because Valkey was away")

# The number is put between the two halves of the frame, and before it for the hubs.
_NUMBER_AND_PUBLISH = """
local seq = redis.call('INCR', KEYS[1])
redis.call('PUBLISH', ARGV[1], seq .. ' ' .. ARGV[2] .. seq .. ARGV[3])
return seq
"""


def publish(topic: str, type: str, data: Mapping[str, Any], at_s: float | None = None) -> None:
    """Tell every browser that follows ``topic`` that something changed. Call it after commit.

    Args:
        topic: a topic of the table ``TOPICS``.
        type: past participle, e.g. ``link_failed``.
        data: what changed, complete enough that applying it twice, or onto a newer snapshot, does no harm.
        at_s: when it happened; now by default.
    """
    head = f'{{"type":"event","topic":{json.dumps(topic)},"seq":'
    body = {"event": type, "at_s": time.time() if at_s is None else at_s, "data": data}
    tail = "," + encode(body)[1:]
    try:
        _script()(keys=[SEQ_KEY + topic], args=[EVENT_CHANNEL + topic, head, tail])
    except redis.RedisError as error:
        LOST.inc()
        logger.warning("could not publish %s on %s: %s", type, topic, error)
        _repairs.add(topic)
    else:
        PUBLISHED.inc()


def publish_latest(topic: str, key: str, data: Mapping[str, Any]) -> None:
    """Tell browsers the newest value of ``key``; hubs coalesce to four frames a second. Losing one does no harm."""
    try:
        _client().publish(LATEST_CHANNEL + topic, json.dumps(key) + "\n" + encode(data))
    except redis.RedisError:
        LOST.inc()


def followed(topics: Sequence[str]) -> set[str]:
    """Return those of some topics that a web process follows; all of them when Valkey does not say.

    What is published on the others reaches nobody: who comes later starts with a snapshot of what is committed by then.
    """
    if not topics:
        return set()
    try:
        counts: Any = _client().pubsub_numsub(*(EVENT_CHANNEL + topic for topic in topics))
    except redis.RedisError:
        return set(topics)
    return {topic for topic, (_, count) in zip(topics, counts, strict=True) if count}


def encode(data: object) -> str:
    """Return compact JSON that browsers can read; dates, decimals and UUIDs become text."""
    return json.dumps(data, cls=DjangoJSONEncoder, separators=(",", ":"), allow_nan=False)


class _Repairs:
    """Topics with a lost change. A thread spends a number on each as soon as Valkey is back: hubs see the gap."""

    def __init__(self) -> None:
        self._topics: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, topic: str) -> None:
        with self._lock:
            self._topics.add(topic)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="live-repairs", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                topics = sorted(self._topics)
                if not topics:
                    self._thread = None
                    return
            for topic in topics:
                try:
                    _client().incr(SEQ_KEY + topic)
                    _script()(keys=[SEQ_KEY + topic], args=[EVENT_CHANNEL + topic, *_resync_halves(topic)])
                except redis.RedisError:
                    break
                with self._lock:
                    self._topics.discard(topic)
            time.sleep(REPAIR_EVERY_S)


def _resync_halves(topic: str) -> tuple[str, str]:
    tail = encode({"event": "resync", "at_s": time.time(), "data": {}})
    return f'{{"type":"event","topic":{json.dumps(topic)},"seq":', "," + tail[1:]


_repairs = _Repairs()


@cache
def _client() -> "redis.Redis":
    # One retry at once: a connection of before a restart of Valkey is found broken and made anew.
    return redis.Redis.from_url(
        settings.VALKEY_URL,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 1),
    )


@cache
def _script() -> Script:
    return _client().register_script(_NUMBER_AND_PUBLISH)
