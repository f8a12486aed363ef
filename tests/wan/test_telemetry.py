"""Samples of agents: what is good is kept, what is odd is left out, nothing breaks the task or the page."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from apps.wan.models import HostSubflows, LinkLatest, LinkState, SitePair, WanLink
from apps.wan.selectors import wan_snapshot
from apps.wan.services.rows import GATEWAY, HOST, TRAFFIC, Batch, rows_of
from apps.wan.tasks import ingest_gateway_samples, ingest_host_samples, ingest_traffic_samples
from nfvportal.live.publish import encode

pytestmark = pytest.mark.django_db
Columns = dict[str, Any]


def gateway_columns(at_s: float | None = None, **changes: list[Any]) -> Columns:
    """Return a batch of one row per link, as a healthy gateway sends it."""
    links = ["fiber", "dsl", "lte"]
    columns: Columns = {
        "at_s": [time.time() if at_s is None else at_s] * 3, "link": links, "state": ["up"] * 3,
        "rtt_ms": [10.5, 30.25, 60.0], "jitter_ms": [0.5] * 3, "loss_ratio": [0.0, 0.25, 1.0],
        "rx_bps": [1e6, 2e6, 3e6], "tx_bps": [4e6, 1e6, 3e6], "probe_gap_ms_max": [12.0] * 3,
    }  # fmt: skip
    return {**columns, **changes}


def subflow_columns(**changes: list[Any]) -> Columns:
    """Return a host's list of two subflows of one connection."""
    columns: Columns = {
        "at_s": [time.time()] * 2, "token": [7, 7], "local_address": ["10.1.1.10", "10.1.2.10"],
        "local_port": [40000, 40001], "remote_address": ["10.2.0.10"] * 2, "remote_port": [5001] * 2,
        "index": [1, 2], "rtt_ms": [10.0, 30.0], "cwnd": [10, 10],
    }  # fmt: skip
    return {**columns, **changes}


def bin_columns(**changes: list[Any]) -> Columns:
    """Return two bins of a receiver."""
    now_s = time.time()
    return {"at_s": [now_s, now_s + 0.01], "flow": ["bulk", "bulk"], "bytes": [1000, 2000], **changes}


def _stored(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return int(cursor.fetchone()[0])


def test_good_batch_reaches_table_latest_row_and_state(pair: SitePair) -> None:
    columns = gateway_columns()
    ingest_gateway_samples("gw-a", columns)
    assert _stored("wan_linksample") == 3
    latest = LinkLatest.objects.get(wan_link__link__name="dsl")
    assert (latest.rtt_ms, latest.jitter_ms, latest.loss_ratio) == (30.25, 0.5, 0.25)
    assert (latest.rx_bps, latest.tx_bps) == (2e6, 1e6)
    assert latest.at.timestamp() == pytest.approx(columns["at_s"][0], abs=1e-3)
    assert set(LinkState.objects.values_list("state", "device__name")) == {("up", "gw-a")}


def test_latest_row_is_that_of_side_a_and_never_goes_back(pair: SitePair) -> None:
    now_s = time.time()
    ingest_gateway_samples("gw-a", gateway_columns(now_s))
    ingest_gateway_samples("gw-a", gateway_columns(now_s - 5, rtt_ms=[99.0] * 3))
    ingest_gateway_samples("gw-b", gateway_columns(now_s + 5, rtt_ms=[98.0] * 3))
    assert set(LinkLatest.objects.values_list("rtt_ms", flat=True)) == {10.5, 30.25, 60.0}
    assert _stored("wan_linksample") == 9


ODD_VALUES: dict[str, list[Any]] = {
    "link": ["nowhere", "", None, 7, ["fiber"], {"a": 1}, "fiber\tx", "fiber\n", "x" * 5000],
    "at_s": [None, "now", True, float("nan"), float("inf"), -1, 0, 1e18, 10**400, time.time() + 7200],
    "rtt_ms": ["10", True, -0.1, 1e30, float("nan"), float("-inf"), [1], {}, 10**400, "\\N", "1\t2"],
    "jitter_ms": ["x", -1], "probe_gap_ms_max": ["x", 1e300], "loss_ratio": [-0.01, 1.01, "0"],
    "rx_bps": ["x", -1, 1e300, float("nan")], "tx_bps": [False, 1e14], "state": [1, [], "up\n", "x" * 100],
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_VALUES)
def test_odd_row_is_left_out_and_its_neighbours_kept(name: str, pair: SitePair) -> None:
    for odd in ODD_VALUES[name]:
        columns = gateway_columns()
        columns[name] = [odd, *columns[name][1:]]
        with transaction.atomic():
            ingest_gateway_samples("gw-a", columns)
            kept = set(LinkLatest.objects.values_list("wan_link__link__name", flat=True))
            assert kept == {"dsl", "lte"}, repr(odd)
            assert _stored("wan_linksample") == 2
            transaction.set_rollback(True)


ODD_SHAPES: list[Columns] = [
    {}, {"at_s": [], "link": []}, {"link": ["fiber"]}, {"at_s": [time.time()]}, {"at_s": 5, "link": 7},
    gateway_columns(rtt_ms=[1.0]), gateway_columns(link=["fiber"] * 4), {**gateway_columns(), "rtt_ms": "abc"},
]  # fmt: skip


def test_batch_of_odd_shape_is_refused_as_a_whole(pair: SitePair) -> None:
    for columns in ODD_SHAPES:
        ingest_gateway_samples("gw-a", columns)
        assert _stored("wan_linksample") == 0, columns
    assert not LinkLatest.objects.exists()


def test_measures_may_be_missing_or_unknown(pair: SitePair) -> None:
    now_s = time.time()
    ingest_gateway_samples("gw-a", {"at_s": [now_s], "link": ["fiber"]})
    ingest_gateway_samples("gw-a", gateway_columns(now_s + 1, rtt_ms=[None] * 3, loss_ratio=[None] * 3))
    latest = LinkLatest.objects.get(wan_link__link__name="fiber")
    assert (latest.rtt_ms, latest.loss_ratio, latest.rx_bps) == (None, None, 1e6)


@pytest.mark.parametrize("ingest", [ingest_gateway_samples, ingest_host_samples, ingest_traffic_samples])
def test_samples_of_a_device_that_is_gone_are_dropped(ingest: Callable[..., None], pair: SitePair) -> None:
    for columns in (gateway_columns(), subflow_columns(), bin_columns()):
        ingest("gone", columns)
    assert (_stored("wan_linksample"), _stored("wan_trafficbin"), HostSubflows.objects.count()) == (0, 0, 0)


def test_subflows_are_listed_sorted_and_replaced(pair: SitePair) -> None:
    ingest_host_samples("branch-host", subflow_columns(index=[2, 1]))
    row = HostSubflows.objects.get()
    assert [(flow["local"], flow["remote"], flow["index"]) for flow in row.flows] == [
        ("10.1.2.10:40001", "10.2.0.10:5001", 1),
        ("10.1.1.10:40000", "10.2.0.10:5001", 2),
    ]
    ingest_host_samples("branch-host", {name: [] for name in subflow_columns()})
    row.refresh_from_db()
    assert row.flows == []


ODD_SUBFLOWS: list[tuple[Columns, int]] = [
    ({}, 2), ({"token": [7, -1]}, 1), ({"token": ["7", 7]}, 1), ({"local_port": [70000, 1]}, 1),
    ({"index": [None, "x"]}, 1), ({"rtt_ms": [float("nan"), None]}, 1), ({"local_address": [None, ["10"]]}, 0),
]  # fmt: skip


def test_odd_subflows_are_left_out(pair: SitePair) -> None:
    for changes, kept in ODD_SUBFLOWS:
        ingest_host_samples("branch-host", subflow_columns(**changes))
        assert len(HostSubflows.objects.get().flows) == kept, changes


def test_broken_list_of_subflows_does_not_wipe_the_known_one(pair: SitePair) -> None:
    ingest_host_samples("branch-host", subflow_columns())
    ingest_host_samples("branch-host", {"token": [1, 2], "local_port": [1]})
    assert len(HostSubflows.objects.get().flows) == 2


ODD_BINS: list[tuple[Columns, int]] = [
    ({}, 2), ({"bytes": [-1, 5]}, 1), ({"bytes": [2**31, 5]}, 1), ({"bytes": [1.5, 5]}, 1), ({"bytes": [1]}, 0),
    ({"flow": ["a\tb", "a"]}, 1), ({"flow": [None, 3]}, 0), ({"at_s": [0, "x"]}, 0),
]  # fmt: skip


def test_odd_bins_are_left_out(pair: SitePair) -> None:
    for changes, kept in ODD_BINS:
        before = _stored("wan_trafficbin")
        ingest_traffic_samples("hq-server", bin_columns(**changes))
        assert _stored("wan_trafficbin") - before == kept, changes


def test_quality_batches_of_the_traffic_role_are_no_bins(pair: SitePair) -> None:
    ingest_traffic_samples("hq-server", {"at_s": [time.time()], "flow": ["voice"], "latency_ms_p50": [1.0]})
    assert _stored("wan_trafficbin") == 0


def test_state_of_samples_mends_what_no_event_told(pair: SitePair) -> None:
    row, now_s = WanLink.objects.get(link__name="fiber"), time.time()
    ingest_gateway_samples("gw-a", gateway_columns(now_s))
    ingest_gateway_samples("gw-a", gateway_columns(now_s + 1, state=["down", "up", "up"]))
    assert row.states.get().state == "up", "an event will tell within three seconds"
    ingest_gateway_samples("gw-a", gateway_columns(now_s + 4, state=["down", "up", "nonsense"]))
    assert row.states.get().state == "down"
    ingest_gateway_samples("gw-a", gateway_columns(now_s + 4.5, state=["hold_down", "up", "up"]))
    assert row.states.get().state == "hold_down", "hold-down follows down without an event"


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(), max_size=2),
    st.sampled_from(["fiber", "dsl", "up", "down", "bulk", "10.1.1.10", 1, 0.5, 7]),
    st.floats(-10, 10).map(lambda seconds: time.time() + seconds),
)  # fmt: skip
names = st.sampled_from(
    [*GATEWAY.required, *GATEWAY.optional, *HOST.required, *HOST.optional, "flow", "bytes", "x"]
)


@st.composite
def any_columns(draw: st.DrawFn) -> Columns:
    """Columns of one length (what the wire lets through), sometimes of several (what it does not)."""
    length = draw(st.integers(0, 4))
    lengths = st.just(length) if draw(st.booleans()) else st.integers(0, 4)
    keys = draw(st.sets(names, max_size=12)) | draw(
        st.sampled_from([frozenset(GATEWAY.required), frozenset(HOST.required), frozenset(TRAFFIC.required)])
    )
    return {
        key: draw(st.lists(values, min_size=size, max_size=size)) for key in keys for size in [draw(lengths)]
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_columns())
@example(gateway_columns())
def test_whatever_arrives_the_tasks_end_well_and_the_page_can_be_shown(
    pair: SitePair, columns: Columns
) -> None:
    with transaction.atomic():
        for ingest, device in (
            (ingest_gateway_samples, "gw-a"),
            (ingest_host_samples, "branch-host"),
            (ingest_traffic_samples, "hq-server"),
        ):
            ingest(device, columns)
        json.loads(encode(wan_snapshot(None, "wan")))  # type: ignore[arg-type]  # every viewer sees the same
        transaction.set_rollback(True)


@given(any_columns(), st.sampled_from([GATEWAY, HOST, TRAFFIC]))
def test_kept_rows_hold_exactly_the_columns_of_their_batch(columns: Columns, batch: Batch) -> None:
    rows = rows_of(batch, columns)
    if rows is None:
        lengths = {len(values) for values in columns.values()}
        assert len(lengths) != 1 or not batch.required.keys() <= columns.keys()
        return
    for row in rows:
        assert list(row) == [*batch.required, *batch.optional]
        assert all(check(row[name]) for name, check in batch.required.items())
