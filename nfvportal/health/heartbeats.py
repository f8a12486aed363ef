"""Signs of life of the workers, in Valkey: beat sends a task to each queue, whoever runs it writes the time."""

import time
from functools import cache
from typing import cast

import redis
from django.conf import settings

QUEUES = ("control", "engine", "telemetry")
PREFIX = "nfvportal:heartbeat:"
TIMEOUT_S = 1.0


def heartbeat_write(queue: str) -> None:
    """Say that a queue's tasks are run."""
    valkey().set(PREFIX + queue, time.time(), ex=3600)


def heartbeat_ages_s() -> dict[str, float | None]:
    """Return how long ago each queue gave a sign; ``None``: never, or not within an hour.

    Raises:
        redis.RedisError: Valkey is away.
    """
    now_s = time.time()
    # redis-py types one answer for its blocking and its asyncio client.
    values = cast("list[bytes | None]", valkey().mget([PREFIX + queue for queue in QUEUES]))
    return {
        queue: max(0.0, now_s - float(value)) if value is not None else None
        for queue, value in zip(QUEUES, values, strict=True)
    }


@cache
def valkey() -> "redis.Redis":
    """Return this process's connection pool to Valkey."""
    return redis.Redis.from_url(
        settings.VALKEY_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
    )
