"""Columns as agents send them, to rows that can be stored. What is odd is left out, never half taken.

A batch whose columns differ in length, or that lacks a required column, is refused as a whole; a row in which a value
breaks its column's limit is left out. Either is counted, none is an error: an agent cannot mend what it measured.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import Counter

Columns = Mapping[str, Sequence[Any]]
Check = Callable[[object], bool]
MAX_MS: Final = 3_600_000.0
MAX_BPS: Final = 1e13
MAX_COUNT: Final = 2**31 - 1
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{2,45}")

REFUSED = Counter(
    "nfvportal_wan_rows_refused", "Rows of samples that break a limit of their column", ["batch"]
)


def number(low: float, high: float) -> Check:
    """Accept numbers from ``low`` to ``high``; NaN is in no range."""

    def check(value: object) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and low <= value <= high  # type: ignore[operator]

    return check


def count(low: int, high: int) -> Check:
    """Accept whole numbers from ``low`` to ``high``."""
    in_range = number(low, high)
    return lambda value: isinstance(value, int) and in_range(value)


def text(pattern: re.Pattern[str]) -> Check:
    """Accept text that is wholly of a pattern."""
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Batch:
    """What a kind of batch holds: column -> check. ``optional`` columns may be missing, or hold ``None``."""

    name: str
    required: Mapping[str, Check]
    optional: Mapping[str, Check]


# TABLES: limits of every column; other columns are ignored.
GATEWAY: Final = Batch(
    "gateway",
    {"at_s": number(0, math.inf), "link": text(NAME)},
    {
        "state": text(NAME),
        "rtt_ms": number(0, MAX_MS),
        "jitter_ms": number(0, MAX_MS),
        "loss_ratio": number(0, 1),
        "rx_bps": number(0, MAX_BPS),
        "tx_bps": number(0, MAX_BPS),
        "probe_gap_ms_max": number(0, MAX_MS),
    },
)
HOST: Final = Batch(
    "host",
    {
        "token": count(0, 2**32 - 1),
        "local_address": text(_ADDRESS),
        "local_port": count(0, 65535),
        "remote_address": text(_ADDRESS),
        "remote_port": count(0, 65535),
    },
    {"index": count(0, 255), "rtt_ms": number(0, MAX_MS)},
)
TRAFFIC: Final = Batch(
    "traffic",
    {"at_s": number(0, math.inf), "flow": text(NAME), "bytes": count(0, MAX_COUNT)},
    {},
)


def rows_of(batch: Batch, columns: Columns) -> list[dict[str, Any]] | None:
    """Return the rows that keep every limit, with a value or ``None`` for each column; ``None``: refused as a whole."""
    lengths = {len(values) if isinstance(values, list) else -1 for values in columns.values()}
    if len(lengths) != 1 or lengths == {-1} or not batch.required.keys() <= columns.keys():
        REFUSED.labels(batch.name).inc(max(0, *lengths, 0))
        return None
    (length,) = lengths
    absent = [None] * length
    names = [*batch.required, *batch.optional]
    rows = [
        dict(zip(names, values, strict=True))
        for values in zip(*(columns.get(name, absent) for name in names), strict=True)
    ]
    good = [row for row in rows if keeps_limits(batch, row)]
    REFUSED.labels(batch.name).inc(length - len(good))
    return good


def keeps_limits(batch: Batch, row: Mapping[str, Any]) -> bool:
    """Whether each value of a row, or of an event's data, keeps the limit of its column."""
    return all(check(row.get(name)) for name, check in batch.required.items()) and all(
        row.get(name) is None or check(row[name]) for name, check in batch.optional.items()
    )
