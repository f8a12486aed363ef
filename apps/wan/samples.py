"""Samples: daily partitions, COPY in, BRIN index, minute roll-up, retention by dropping partitions.

Raw tables (see migration 0002):

- ``wan_linksample(at, wan_link_id, device_id, rtt_ms, jitter_ms, loss_ratio, rx_bps, tx_bps, gap_ms_max)``
- ``wan_trafficbin(at, device_id, flow, bytes)``, 10 ms bins of the lab's receivers
- ``wan_linkminute(wan_link_id, minute, ...)``, the roll-up, not partitioned
"""

import io
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import connection, transaction

LINK_COLUMNS = (
    "at",
    "wan_link_id",
    "device_id",
    "rtt_ms",
    "jitter_ms",
    "loss_ratio",
    "rx_bps",
    "tx_bps",
    "gap_ms_max",
)
BIN_COLUMNS = ("at", "device_id", "flow", "bytes")
# Table -> days kept.
PARTITIONED = {"wan_linksample": 7, "wan_trafficbin": 1}
DAYS_AHEAD = 2
CLOCK_SLACK = timedelta(hours=1)


def samples_copy(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Append rows with COPY. Rows whose partition is missing make it.

    Args:
        table: a key of ``PARTITIONED``.
        columns: the table's columns, in the order of the rows.
        rows: values; ``None`` is NULL; text must not hold tabs or line ends.
    """
    text = "".join("\t".join("\\N" if value is None else str(value) for value in row) + "\n" for row in rows)
    if not text:
        return
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.copy_expert(statement, io.StringIO(text))
    except Exception as error:
        if "no partition of relation" not in str(error):
            raise
        partitions_make(datetime.now(UTC).date())
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.copy_expert(statement, io.StringIO(text))


def is_storable(at_s: float, now: datetime) -> bool:
    """Whether a sample's time is near enough to ours to have a partition."""
    try:
        return abs(datetime.fromtimestamp(at_s, UTC) - now) < CLOCK_SLACK
    except (ValueError, OverflowError, OSError):
        return False


def partitions_make(today: date) -> None:
    """Make the partitions of yesterday (late samples), today and the next days; harmless when they exist."""
    with connection.cursor() as cursor:
        for table in PARTITIONED:
            for offset in range(-1, DAYS_AHEAD + 1):
                day = today + timedelta(days=offset)
                cursor.execute(
                    f"CREATE TABLE IF NOT EXISTS {table}_{day:%Y%m%d} PARTITION OF {table} "
                    f"FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
                )


def partitions_drop(today: date) -> list[str]:
    """Drop partitions past their retention; return their names."""
    dropped = []
    with connection.cursor() as cursor:
        for table, days in PARTITIONED.items():
            cursor.execute(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [table]
            )
            for (name,) in cursor.fetchall():
                stamp = name.rsplit("_", 1)[-1]
                if stamp.isdigit() and datetime.strptime(stamp, "%Y%m%d").date() < today - timedelta(
                    days=days
                ):
                    cursor.execute(f"DROP TABLE IF EXISTS {name}")
                    dropped.append(name)
    return dropped


def minutes_roll_up(since: datetime) -> None:
    """Write one row per link and minute from ``since`` on; repeating it gives the same rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO wan_linkminute
                (wan_link_id, minute, rtt_ms_avg, rtt_ms_max, loss_ratio_avg, rx_bps_avg, tx_bps_avg, sample_count)
            SELECT s.wan_link_id, date_trunc('minute', s.at), avg(s.rtt_ms), max(s.rtt_ms), avg(s.loss_ratio),
                   avg(s.rx_bps), avg(s.tx_bps), count(*)
            FROM wan_linksample s
            JOIN wan_wanlink w ON w.id = s.wan_link_id
            JOIN wan_sitepair p ON p.id = w.pair_id AND p.gateway_a_id = s.device_id
            WHERE s.at >= date_trunc('minute', %s::timestamptz)
            GROUP BY 1, 2
            ON CONFLICT (wan_link_id, minute) DO UPDATE SET
                rtt_ms_avg = excluded.rtt_ms_avg, rtt_ms_max = excluded.rtt_ms_max,
                loss_ratio_avg = excluded.loss_ratio_avg, rx_bps_avg = excluded.rx_bps_avg,
                tx_bps_avg = excluded.tx_bps_avg, sample_count = excluded.sample_count
            """,
            [since],
        )


def goodput_by_second(since: datetime) -> list[tuple[str, float, float]]:
    """Return (link name, epoch second, bit/s of the busier direction), side ``a``, ascending in time."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT l.name, extract(epoch FROM date_trunc('second', s.at))::float8 AS second,
                   avg(greatest(s.rx_bps, s.tx_bps))
            FROM wan_linksample s
            JOIN wan_wanlink w ON w.id = s.wan_link_id
            JOIN inventory_link l ON l.id = w.link_id
            JOIN wan_sitepair p ON p.id = w.pair_id AND p.gateway_a_id = s.device_id
            WHERE s.at >= %s AND s.rx_bps IS NOT NULL
            GROUP BY 1, 2 ORDER BY 2
            """,
            [since],
        )
        return [(name, second, float(bps)) for name, second, bps in cursor.fetchall()]


def link_series(wan_link_id: int, since: datetime, *, is_by_minute: bool, limit: int) -> list[dict[str, Any]]:
    """Return a link's samples (side ``a``) from ``since`` on, ascending, at most ``limit``."""
    if is_by_minute:
        statement = """
            SELECT extract(epoch FROM minute)::float8 AS at_s, rtt_ms_avg AS rtt_ms, loss_ratio_avg AS loss_ratio,
                   rx_bps_avg AS rx_bps, tx_bps_avg AS tx_bps
            FROM wan_linkminute WHERE wan_link_id = %s AND minute >= %s ORDER BY minute LIMIT %s
        """
    else:
        statement = """
            SELECT extract(epoch FROM s.at)::float8 AS at_s, s.rtt_ms, s.jitter_ms, s.loss_ratio, s.rx_bps, s.tx_bps
            FROM wan_linksample s
            JOIN wan_wanlink w ON w.id = s.wan_link_id
            JOIN wan_sitepair p ON p.id = w.pair_id AND p.gateway_a_id = s.device_id
            WHERE s.wan_link_id = %s AND s.at >= %s ORDER BY s.at LIMIT %s
        """
    with connection.cursor() as cursor:
        cursor.execute(statement, [wan_link_id, since, limit])
        assert cursor.description is not None
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def traffic_bins(start: datetime, end: datetime) -> dict[str, list[tuple[float, int]]]:
    """Return flow -> [(bin start in epoch seconds, bytes)], ascending."""
    flows: dict[str, list[tuple[float, int]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT flow, extract(epoch FROM at)::float8, sum(bytes)::bigint FROM wan_trafficbin "
            "WHERE at >= %s AND at < %s GROUP BY 1, 2 ORDER BY 2",
            [start, end],
        )
        for flow, at_s, size in cursor.fetchall():
            flows.setdefault(flow, []).append((at_s, size))
    return flows
