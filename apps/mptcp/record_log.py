"""The log of what sensors saw, one Valkey stream per association domain, until a snapshot covers it.

An entry holds records and the moment they arrived; one without records says that time passed. Whoever replays the log
from a snapshot comes to the same state. The log is bounded: when nobody works it off, what comes is refused, and
counted by whoever is refused; nothing that is in it is lost.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import redis
from django.conf import settings

from apps.mptcp.engine.record_batch import BATCH_RECORDS_MAX, records_to_text, text_to_records
from apps.mptcp.engine.records import PacketRecords
from nfvportal.lib.errors import InvalidInputError

START: Final = "0-0"
# At most 40 MiB of Valkey's memory per domain, minutes of what a few sensors send.
ENTRIES_MAX: Final = 2000
DUE_MS: Final = 2000
TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Entry:
    """Records that arrived at ``at_s`` (the portal's clock, epoch seconds)."""

    position: str
    at_s: float
    records: PacketRecords


def log_append(domain_id: int, records: PacketRecords, at_s: float) -> bool:
    """Append records; ``False`` when the log is full."""
    client = _client()
    length: Any = client.xlen(_key(domain_id))
    if length >= ENTRIES_MAX:
        return False
    for start in range(0, max(1, len(records)), BATCH_RECORDS_MAX):
        part = records.rows(slice(start, start + BATCH_RECORDS_MAX))
        client.xadd(
            _key(domain_id), {"at_s": repr(at_s), "count": len(part), "records": records_to_text(part)}
        )
    return True


def log_entries(domain_id: int, after: str, limit: int, upto: str = "+") -> Iterator[Entry]:
    """Yield at most ``limit`` entries after a position; one that cannot be read is passed over."""
    answer: Any = _client().xrange(_key(domain_id), min=f"({after}", max=upto, count=limit)
    for position, fields in answer:
        try:
            records = text_to_records(fields[b"records"].decode(), int(fields[b"count"]))
            yield Entry(position.decode(), float(fields[b"at_s"]), records)
        except (InvalidInputError, KeyError, ValueError):
            yield Entry(position.decode(), 0.0, PacketRecords.zeros(0))


def log_last(domain_id: int) -> str:
    """Return the position of the newest entry."""
    answer: Any = _client().xrevrange(_key(domain_id), count=1)
    return answer[0][0].decode() if answer else START


def log_trim(domain_id: int, position: str) -> None:
    """Forget what a snapshot covers: all entries before a position."""
    _client().xtrim(_key(domain_id), minid=position, approximate=False)


def log_remove(domain_id: int) -> None:
    """Remove the log of a domain that is gone."""
    _client().delete(_key(domain_id))


def is_first_to_ask(domain_id: int) -> bool:
    """Whether nobody asked for work on the domain since ``work_begins``: one task in the queue is enough."""
    return bool(_client().set(_due_key(domain_id), 1, nx=True, px=DUE_MS))


def work_begins(domain_id: int) -> None:
    """Note that somebody looks at the log now: what comes later needs a new task."""
    _client().delete(_due_key(domain_id))


def position_order(position: str) -> tuple[int, int]:
    """Return a position as numbers that compare.

    >>> position_order("12-3") < position_order("12-10")
    True
    """
    at_ms, _, number = position.partition("-")
    return int(at_ms), int(number or 0)


def _key(domain_id: int) -> str:
    return f"nfvportal:mptcp:records:{domain_id}"


def _due_key(domain_id: int) -> str:
    return f"nfvportal:mptcp:due:{domain_id}"


@cache
def _client() -> "redis.Redis":
    return redis.Redis.from_url(
        settings.VALKEY_URL, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
    )
