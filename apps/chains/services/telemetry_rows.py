"""Columns as agents send them, to rows that can be stored: limits of every column.

A batch whose columns differ in length, or that lacks a required column, is refused as a whole; a row in which a value
breaks its column's limit is left out. Either is counted, none is an error: an agent cannot mend what it measured.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from prometheus_client import Counter

Columns = Mapping[str, Sequence[Any]]
Check = Callable[[object], bool]
PATH_MAX: Final = 2**24 - 1
COUNT_MAX: Final = 2**53
LATENCY_MAX_US: Final = 3.6e9
BINS: Final = 32
_NAME = re.compile(r"[A-Za-z0-9._/-]{0,200}")

REFUSED = Counter(
    "nfvportal_chains_rows_refused", "Rows of samples that break a limit of their column", ["role"]
)


def _whole(low: int, high: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _number(low: float, high: float) -> Check:
    return lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    )


def _text(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _bins(value: object) -> bool:
    return isinstance(value, list) and len(value) == BINS and all(map(_whole(0, COUNT_MAX), value))


_count, _latency = _whole(0, COUNT_MAX), _number(0, LATENCY_MAX_US)
_KEY: Final = {"at_s": _number(0, math.inf), "path": _whole(1, PATH_MAX), "epoch": _whole(0, 2**31 - 1)}

# TABLES: column -> check, those that a row must have and those that may be missing or ``None``.
SERVER_REQUIRED: Final = {**_KEY, "operator": _whole(1, 255), "kind": _text}
SERVER_COUNTS: Final = ("in", "out", "drop", "copy", "merge", "timeout", "lost", "late", "conflict", "queue")
SERVER_OPTIONAL: Final = {
    "nf": _text,
    **dict.fromkeys(SERVER_COUNTS, _count),
    "latency_us_p50": _latency,
    "latency_us_p99": _latency,
    "latency_bins": _bins,
}
CLASSIFIER_REQUIRED: Final = {**_KEY, "in": _count, "out": _count}
CLASSIFIER_COUNTS: Final = ("in", "out", "dropped", "timed_out", "in_flight", "held")
CLASSIFIER_OPTIONAL: Final = {
    **dict.fromkeys(CLASSIFIER_COUNTS, _count),
    "latency_us_p50": _latency,
    "latency_us_p95": _latency,
    "latency_us_p99": _latency,
    "latency_bins": _bins,
}


def rows_of(
    role: str, columns: Columns, required: Mapping[str, Check], optional: Mapping[str, Check]
) -> list[dict[str, Any]]:
    """Return the rows that keep every limit, with a value or ``None`` for each column."""
    lengths = {len(values) if isinstance(values, list) else -1 for values in columns.values()}
    if len(lengths) != 1 or lengths == {-1} or not required.keys() <= columns.keys():
        REFUSED.labels(role).inc(max(0, *lengths, 0))
        return []
    (length,) = lengths
    absent = [None] * length
    names = list(dict.fromkeys((*required, *optional)))
    rows = [
        dict(zip(names, values, strict=True))
        for values in zip(*(columns.get(name, absent) for name in names), strict=True)
    ]
    good = [row for row in rows if _keeps_limits(row, required, optional)]
    REFUSED.labels(role).inc(length - len(good))
    return good


def _keeps_limits(
    row: Mapping[str, Any], required: Mapping[str, Check], optional: Mapping[str, Check]
) -> bool:
    return all(check(row[name]) for name, check in required.items()) and all(
        row[name] is None or check(row[name]) for name, check in optional.items()
    )
