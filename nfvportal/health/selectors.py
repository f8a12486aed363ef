"""How each part of the portal is."""

import time
from collections.abc import Callable
from typing import Any, Literal, TypedDict, cast

import redis
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from nfvportal.health.heartbeats import heartbeat_ages_s, valkey
from nfvportal.lab.client import LabClient, LabRefused, LabUnavailable

STALE_S = 15.0
STARTED_S = time.time()
PartState = Literal["ok", "degraded", "down", "off"]


class PartData(TypedDict):
    """One part: ``detail`` says in words how it is and what to do."""

    name: str
    title: str
    state: PartState
    detail: str


def part_health() -> list[PartData]:
    """Return the health of every part; never raises, a part that cannot be asked is down."""
    parts = [_part("web", "Web", lambda: ("ok", "answers pages, REST and websockets"))]
    parts.append(_part("postgres", "PostgreSQL", _postgres))
    parts.append(_part("valkey", "Valkey", _valkey))
    parts.extend(_workers())
    parts.append(_part("agents", "Agents", _agents))
    parts.append(_part("lab", "Lab", _lab))
    return parts


def health_snapshot(user: AbstractBaseUser | AnonymousUser, topic: str) -> dict[str, Any]:
    """Return what the topic ``health`` starts with."""
    del user, topic
    return {"parts": part_health()}


def readiness() -> dict[str, str]:
    """Return part -> ``ok`` or what is wrong, for the parts without which no request can be served."""
    checks: dict[str, Callable[[], tuple[PartState, str]]] = {
        "postgres": _postgres,
        "valkey": _valkey,
        "migrations": _migrations,
    }
    result = {}
    for name, check in checks.items():
        part = _part(name, name, check)
        result[name] = "ok" if part["state"] == "ok" else part["detail"]
    return result


def _part(name: str, title: str, check: Callable[[], tuple[PartState, str]]) -> PartData:
    try:
        state, detail = check()
    except (DatabaseError, redis.RedisError, OSError) as error:
        state, detail = "down", f"does not answer: {type(error).__name__}"
    return {"name": name, "title": title, "state": state, "detail": detail}


def _postgres() -> tuple[PartState, str]:
    started_s = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version')")
        (version,) = cursor.fetchone()
    return "ok", f"version {version}, answers in {(time.perf_counter() - started_s) * 1000:.1f} ms"


def _valkey() -> tuple[PartState, str]:
    started_s = time.perf_counter()
    # redis-py types one answer for its blocking and its asyncio client.
    info = cast("dict[str, str]", valkey().info("server"))
    version = info.get("valkey_version") or info.get("redis_version", "?")
    return "ok", f"version {version}, answers in {(time.perf_counter() - started_s) * 1000:.1f} ms"


def _migrations() -> tuple[PartState, str]:
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    return (
        ("ok", "applied")
        if not missing
        else ("down", f"{missing} migrations are not applied: manage.py migrate")
    )


def _workers() -> list[PartData]:
    try:
        ages = heartbeat_ages_s()
    except redis.RedisError:
        ages = {}
    parts = []
    for queue in ("control", "engine", "telemetry"):
        age_s = ages.get(queue)
        state: PartState = "ok"
        if age_s is None:
            # Beat sends its first tasks seconds after the start.
            state = "degraded" if time.time() - STARTED_S < STALE_S else "down"
            detail = "no sign of life yet"
        elif age_s > STALE_S:
            state, detail = "down", f"last sign of life {age_s:.0f} s ago; are worker and beat running?"
        else:
            detail = f"last sign of life {age_s:.0f} s ago"
        parts.append(
            PartData(name=f"worker-{queue}", title=f"Worker, queue {queue}", state=state, detail=detail)
        )
    return parts


def _agents() -> tuple[PartState, str]:
    # By name: health stands below the inventory and must not import it.
    device = apps.get_model("inventory", "Device")
    states = dict.fromkeys(("online", "offline", "unknown"), 0)
    gone = []
    for name, status in device.objects.exclude(roles=[]).order_by("name").values_list("name", "status"):
        states[status] += 1
        if status != "online":
            gone.append(name)
    total = sum(states.values())
    if not total:
        return "off", "no device has a role yet"
    if not gone:
        return "ok", f"all {total} online"
    state: PartState = "degraded" if states["online"] else "down"
    return state, f"{states['online']} of {total} online; not: {', '.join(gone[:5])}"


def _lab() -> tuple[PartState, str]:
    if not settings.LAB_ENABLED:
        return "off", "switched off (LAB_ENABLED)"
    try:
        status = LabClient(settings.LAB_SOCKET, timeout_s=1.0).status()
    except (LabUnavailable, LabRefused):
        return "off", "not running; this machine may forbid user namespaces, see the start-up messages"
    if not status["self_test"]["ok"]:
        return "degraded", f"topology {status['topology']}: not all hosts reach each other"
    faults = [link["name"] for link in status["links"] if link.get("fault")]
    words = f"; fault on {', '.join(faults)}" if faults else ""
    return "ok", f"topology {status['topology']}, {len(status['nodes'])} nodes{words}"
