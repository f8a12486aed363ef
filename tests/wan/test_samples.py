"""Partitioned samples: written by COPY, rolled up by minute, dropped by day."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from django.db import connection
from django.utils import timezone

from apps.wan.models import SitePair, WanLink
from apps.wan.samples import (
    BIN_COLUMNS,
    DAYS_AHEAD,
    LINK_COLUMNS,
    PARTITIONED,
    goodput_by_second,
    is_storable,
    link_series,
    minutes_roll_up,
    partitions_drop,
    partitions_make,
    samples_copy,
    traffic_bins,
)
from apps.wan.tasks import partitions, rollup

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def _sql(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall()) if cursor.description else []


def _partitions(table: str) -> set[str]:
    return {
        name
        for (name,) in _sql(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", table
        )
    }


def _drop_all() -> None:
    for table in PARTITIONED:
        for name in _partitions(table):
            _sql(f"DROP TABLE {name}")


def _sample(pair: SitePair, link: str, at: datetime, device: str = "a", **values: Any) -> Sequence[Any]:
    row = WanLink.objects.get(link__name=link)
    gateway = pair.gateway_a_id if device == "a" else pair.gateway_b_id
    return (at.isoformat(), row.pk, gateway, *(values.get(name) for name in LINK_COLUMNS[3:]))


def test_partitions_are_made_for_yesterday_to_the_days_ahead_and_again_without_harm(db: None) -> None:
    _drop_all()
    for _ in range(2):
        partitions_make(NOON.date())
    for table in PARTITIONED:
        days = {f"{table}_202603{day:02d}" for day in range(9, 11 + DAYS_AHEAD)}
        assert _partitions(table) == days


def test_rows_make_a_missing_partition_and_land_in_the_right_one(pair: SitePair) -> None:
    _drop_all()
    now = timezone.now()
    rows = [_sample(pair, "fiber", now, rtt_ms=1.5), _sample(pair, "fiber", now - timedelta(days=1))]
    samples_copy("wan_linksample", LINK_COLUMNS, rows)
    stored = _sql("SELECT tableoid::regclass::text, rtt_ms FROM wan_linksample ORDER BY at")
    assert stored == [
        (f"wan_linksample_{now - timedelta(days=1):%Y%m%d}", None),
        (f"wan_linksample_{now:%Y%m%d}", 1.5),
    ]


def test_no_rows_no_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        samples_copy("wan_linksample", LINK_COLUMNS, [])


def test_batch_that_postgres_refuses_stores_nothing_and_leaves_the_transaction_usable(pair: SitePair) -> None:
    now = timezone.now()
    rows = [_sample(pair, "fiber", now), _sample(pair, "fiber", now, rtt_ms="x")]
    with pytest.raises(psycopg2.DataError):
        samples_copy("wan_linksample", LINK_COLUMNS, rows)
    assert _sql("SELECT count(*) FROM wan_linksample") == [(0,)]


def test_retention_drops_whole_days_past_their_table_s_limit(db: None) -> None:
    _drop_all()
    today = NOON.date()
    for age in range(0, 12, 3):
        partitions_make(today - timedelta(days=age))
    dropped = partitions_drop(today)
    for table, days in PARTITIONED.items():
        oldest = today - timedelta(days=days)
        left = _partitions(table)
        assert f"{table}_{oldest:%Y%m%d}" in left
        assert all(_day(name) >= oldest for name in left)
        assert left.isdisjoint(dropped)
        assert any(name.startswith(table) for name in dropped)
    assert partitions_drop(today) == []


def _day(partition: str) -> date:
    return datetime.strptime(partition.rsplit("_", 1)[-1], "%Y%m%d").replace(tzinfo=UTC).date()


def test_task_keeps_today_writable(pair: SitePair) -> None:
    _drop_all()
    partitions()
    samples_copy("wan_trafficbin", BIN_COLUMNS, [(timezone.now().isoformat(), 1, "bulk", 10)])
    assert _sql("SELECT sum(bytes)::int FROM wan_trafficbin") == [(10,)]


@pytest.mark.parametrize(
    ("at_s", "is_good"),
    [(NOON.timestamp(), True), (NOON.timestamp() + 3599, True), (NOON.timestamp() - 3599, True),
     (NOON.timestamp() + 3601, False), (NOON.timestamp() - 3601, False), (0, False), (1e18, False), (-1e18, False),
     (float("nan"), False), (float("inf"), False)],
)  # fmt: skip
def test_only_times_near_ours_are_storable(at_s: float, is_good: bool) -> None:
    assert is_storable(at_s, NOON) is is_good


def test_roll_up_writes_one_row_per_link_and_minute_of_side_a_and_repeats_itself(pair: SitePair) -> None:
    minute = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=2)
    samples_copy(
        "wan_linksample",
        LINK_COLUMNS,
        [
            _sample(pair, "fiber", minute, rtt_ms=10, loss_ratio=0, rx_bps=100, tx_bps=1),
            _sample(
                pair, "fiber", minute + timedelta(seconds=59), rtt_ms=30, loss_ratio=0.5, rx_bps=300, tx_bps=3
            ),
            _sample(pair, "fiber", minute + timedelta(seconds=60), rtt_ms=50),
            _sample(pair, "dsl", minute, rtt_ms=5),
            _sample(pair, "fiber", minute, device="b", rtt_ms=999),
        ],
    )
    ids = {row.link.name: row.pk for row in WanLink.objects.select_related("link")}
    columns = "wan_link_id, minute, rtt_ms_avg, rtt_ms_max, loss_ratio_avg, rx_bps_avg, sample_count"
    rows = f"SELECT {columns} FROM wan_linkminute"
    expected = {
        (ids["fiber"], minute, 20.0, 30.0, 0.25, 200.0, 2),
        (ids["fiber"], minute + timedelta(minutes=1), 50.0, 50.0, None, None, 1),
        (ids["dsl"], minute, 5.0, 5.0, None, None, 1),
    }
    for _ in range(2):
        minutes_roll_up(minute + timedelta(seconds=30))
        assert set(_sql(rows)) == expected
    samples_copy("wan_linksample", LINK_COLUMNS, [_sample(pair, "dsl", minute, rtt_ms=15)])
    rollup()
    assert (ids["dsl"], minute, 10.0, 15.0, None, None, 2) in set(_sql(rows)), "a late sample is taken over"


def test_series_is_side_a_ascending_limited_and_the_same_by_minute(pair: SitePair) -> None:
    start = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=3)
    times = [start + timedelta(seconds=20 * step) for step in (5, 0, 3, 1)]
    rows = [_sample(pair, "fiber", at, rtt_ms=index) for index, at in enumerate(times)]
    samples_copy(
        "wan_linksample", LINK_COLUMNS, [*rows, _sample(pair, "fiber", start, device="b", rtt_ms=77)]
    )
    pk = WanLink.objects.get(link__name="fiber").pk
    series = link_series(pk, start, is_by_minute=False, limit=10)
    assert [(row["at_s"], row["rtt_ms"]) for row in series] == sorted(
        (at.timestamp(), float(index)) for index, at in enumerate(times)
    )
    assert series[0].keys() == {"at_s", "rtt_ms", "jitter_ms", "loss_ratio", "rx_bps", "tx_bps"}
    assert len(link_series(pk, start, is_by_minute=False, limit=2)) == 2
    assert link_series(pk, times[0] + timedelta(seconds=1), is_by_minute=False, limit=9) == []
    minutes_roll_up(start)
    by_minute = link_series(pk, start, is_by_minute=True, limit=10)
    assert [(row["at_s"] - start.timestamp(), row["rtt_ms"]) for row in by_minute] == [(0, 2.0), (60, 1.0)]


def test_goodput_is_the_busier_direction_per_second(pair: SitePair) -> None:
    second = timezone.now().replace(microsecond=0) - timedelta(seconds=10)
    samples_copy(
        "wan_linksample",
        LINK_COLUMNS,
        [
            _sample(pair, "fiber", second, rx_bps=100, tx_bps=900),
            _sample(pair, "fiber", second + timedelta(milliseconds=500), rx_bps=300, tx_bps=10),
            _sample(pair, "dsl", second + timedelta(seconds=1), rx_bps=5, tx_bps=4),
            _sample(pair, "lte", second),
            _sample(pair, "fiber", second, device="b", rx_bps=10**6, tx_bps=10**6),
        ],
    )
    at_s = second.timestamp()
    assert goodput_by_second(second) == [("fiber", at_s, 600.0), ("dsl", at_s + 1, 5.0)]


def test_bins_of_a_flow_are_summed_and_cut_to_the_window(db: None) -> None:
    start = timezone.now().replace(microsecond=0)
    rows = [(start + timedelta(milliseconds=10 * step), 1, "bulk", 100 + step) for step in range(3)]
    rows += [(start, 2, "bulk", 1000), (start + timedelta(milliseconds=10), 1, "voice", 7)]
    samples_copy("wan_trafficbin", BIN_COLUMNS, rows)
    flows = traffic_bins(start, start + timedelta(milliseconds=20))
    at_s = start.timestamp()
    assert flows["bulk"] == [(at_s, 1100), (pytest.approx(at_s + 0.01), 101)]
    assert [size for _, size in flows["voice"]] == [7]
