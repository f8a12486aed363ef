"""TABLE: topics a browser may follow, by prefix: who may, and where the snapshot comes from."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, cast

from django.contrib.auth.models import User

from nfvportal.accounts.access import Role

Snapshot = Callable[[User, str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Topic:
    """A kind of topic.

    Args:
        snapshot: ``module:function`` of ``(user, topic) -> dict``; raises ``Http404`` when there is no such topic.
        min_role: the least role that may follow it.
        has_key: whether the topic is written ``prefix:key``.
    """

    snapshot: str
    min_role: Role = Role.VIEWER
    has_key: bool = False


TOPICS: dict[str, Topic] = {
    "wan": Topic("apps.wan.selectors:wan_snapshot"),
    "chains": Topic("apps.chains.selectors:chains_snapshot"),
    "chain": Topic("apps.chains.selectors:chain_snapshot", has_key=True),
    "mptcp": Topic("apps.mptcp.selectors:mptcp_snapshot"),
    "mptcp_connection": Topic("apps.mptcp.selectors:connection_snapshot", has_key=True),
    "events": Topic("nfvportal.events.selectors:events_snapshot"),
    "jobs": Topic("nfvportal.jobs.selectors:jobs_snapshot"),
    "job": Topic("nfvportal.jobs.selectors:jobs_snapshot", has_key=True),
    "health": Topic("nfvportal.health.selectors:health_snapshot"),
}
KEY_PATTERN: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def topic_find(topic: str) -> Topic | None:
    """Return the table's row for a topic; ``None`` when no such topic can exist."""
    prefix, separator, key = topic.partition(":")
    row = TOPICS.get(prefix)
    if row is None or row.has_key != bool(separator):
        return None
    if row.has_key and not KEY_PATTERN.fullmatch(key):
        return None
    return row


def snapshot_function(row: Topic) -> Snapshot:
    """Return the function that makes the topic's snapshot."""
    module_name, _, name = row.snapshot.partition(":")
    return cast(Snapshot, getattr(import_module(module_name), name))
