"""Failovers: one failure is one row, whoever tells it, in whatever order and however often; with what it cost."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.exceptions import Retry
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from apps.wan.models import FailoverEvent, LinkState, MapEpoch, SitePair, WanLink
from apps.wan.samples import BIN_COLUMNS, samples_copy
from apps.wan.selectors import failover_data, link_state_data, wan_link_list
from apps.wan.services.failovers import (
    COST_WINDOW_S,
    PAYLOAD_SHARE,
    failover_acknowledge,
    failover_measure,
)
from apps.wan.tasks import measure_cost, reconcile_state, record_failover, record_restore
from nfvportal.audit.models import AuditEntry
from nfvportal.events.models import Event
from nfvportal.inventory.models import Device
from tests.support.demo import failed_event, failover_make, restored_event

pytestmark = pytest.mark.django_db
NOW_S = 1_790_000_000.0


def _row() -> dict[str, Any]:
    return dict(failover_data(FailoverEvent.objects.get()))


def test_report_becomes_a_failover_and_a_state(pair: SitePair) -> None:
    record_failover(failed_event("fiber", at_s=NOW_S).pk)
    row = _row()
    assert (row["link"], row["direction"], row["reported_by"]) == ("fiber", "rx", ["gw-a"])
    assert (row["detected_at_s"], row["last_heard_at_s"], row["acted_at_s"]) == (
        NOW_S, pytest.approx(NOW_S - 0.03), pytest.approx(NOW_S + 0.002),
    )  # fmt: skip
    assert (row["detection_ms"], row["action_ms"]) == (30.0, 2.0)
    assert (row["restored_at_s"], row["lost_ms"], row["acknowledged_by"]) == (None, None, "")
    state = link_state_data(wan_link_list().get(link__name="fiber"))
    assert state == {"name": "fiber", "state": "down", "direction": "rx", "since_s": NOW_S}


DIRECTIONS = [
    ("rx", "tx", "rx"),
    ("tx", "rx", "tx"),
    ("rx", "rx", "both"),
    ("both", "rx", "both"),
    ("tx", "tx", "both"),
]


@pytest.mark.parametrize(("said_a", "said_b", "merged"), DIRECTIONS)
@pytest.mark.parametrize("later_s", [0.008, 3.0])
def test_two_gateways_reports_are_one_failover_with_the_times_of_the_first(
    said_a: str, said_b: str, merged: str, later_s: float, pair: SitePair
) -> None:
    a = failed_event("fiber", "gw-a", NOW_S, direction=said_a, detection_ms=30.0)
    b = failed_event("fiber", "gw-b", NOW_S + later_s, direction=said_b, detection_ms=38.0, moves=[])
    for order in ([a, b], [b, a], [a, b, a, b, b]):
        with transaction.atomic():
            for event in order:
                record_failover(event.pk)
            row = _row()
            # Told b first, its direction counts first where the two name one failure from both ends.
            expected = merged if merged == "both" or order[0] == a else {"rx": "tx", "tx": "rx"}[merged]
            assert (row["reported_by"], row["direction"]) == (["gw-a", "gw-b"], expected)
            assert (row["detected_at_s"], row["detection_ms"]) == (NOW_S, 30.0)
            assert row["moves"] == a.data["moves"]
            transaction.set_rollback(True)


def test_recording_twice_changes_nothing(pair: SitePair) -> None:
    events = [failed_event("fiber", device, NOW_S) for device in ("gw-a", "gw-b")]
    for event in events:
        record_failover(event.pk)
    before = _content()
    for event in events * 2:
        record_failover(event.pk)
    assert _content() == before


def _content() -> list[Any]:
    tables = (FailoverEvent.objects, LinkState.objects)
    return [{**row, "updated_at": None} for table in tables for row in table.order_by("pk").values()]


def test_links_fail_apart(pair: SitePair) -> None:
    for link in ("fiber", "dsl"):
        record_failover(failed_event(link, at_s=NOW_S).pk)
    assert FailoverEvent.objects.count() == 2


@pytest.mark.parametrize(("link", "device"), [("nowhere", "gw-a"), ("fiber", "gone")])
def test_reports_of_what_is_not_known_are_passed_over(link: str, device: str, pair: SitePair) -> None:
    record_failover(failed_event(link, device).pk)
    record_restore(restored_event(link, device).pk)
    assert not FailoverEvent.objects.exists()
    assert not LinkState.objects.exists()


def test_failover_ends_when_the_last_gateway_trusts_the_link(pair: SitePair) -> None:
    for device in ("gw-a", "gw-b"):
        record_failover(failed_event("fiber", device, NOW_S).pk)
    record_restore(restored_event("fiber", "gw-a", NOW_S + 10).pk)
    assert _row()["restored_at_s"] is None
    record_restore(restored_event("fiber", "gw-b", NOW_S + 11).pk)
    assert _row()["restored_at_s"] == NOW_S + 11
    record_restore(restored_event("fiber", "gw-b", NOW_S + 11).pk)
    assert _row()["restored_at_s"] == NOW_S + 11
    record_failover(failed_event("fiber", "gw-a", NOW_S + 60).pk)
    assert FailoverEvent.objects.filter(restored_at=None).count() == 1
    assert FailoverEvent.objects.count() == 2


def _short_failure() -> list[tuple[Callable[[int], Any], Event]]:
    """Return reports of a failure of a second: both gateways lose the link and trust it again."""
    return [
        (record_failover, failed_event("fiber", "gw-a", NOW_S)),
        (record_failover, failed_event("fiber", "gw-b", NOW_S + 0.01)),
        (record_restore, restored_event("fiber", "gw-a", NOW_S + 1)),
        (record_restore, restored_event("fiber", "gw-b", NOW_S + 1.01)),
    ]


def test_tasks_in_any_order_end_at_one_restored_failover(pair: SitePair) -> None:
    """Workers run reactions at the same time: each of the 24 orders must end where the true one ends."""
    ends = {}
    for order in itertools.permutations(range(4)):
        with transaction.atomic():
            steps = _short_failure()
            for index in order:
                task, event = steps[index]
                task(event.pk)
            row, state = _row(), link_state_data(wan_link_list().get(link__name="fiber"))
            ends[order] = (state["state"], row["restored_at_s"], row["detected_at_s"], row["reported_by"])
            transaction.set_rollback(True)
    expected = ("up", NOW_S + 1.01, NOW_S, ["gw-a", "gw-b"])
    assert {order: end for order, end in ends.items() if end != expected} == {}


@pytest.mark.django_db(transaction=True)
def test_both_gateways_at_the_same_moment_make_one_row(pair: SitePair) -> None:
    events = [failed_event("fiber", device, NOW_S) for device in ("gw-a", "gw-b") * 3]

    def run(event: Event) -> None:
        try:
            record_failover(event.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, events))
    assert _row()["reported_by"] == ["gw-a", "gw-b"]


def test_report_that_waited_at_the_agent_tells_of_a_failure_that_is_over(pair: SitePair) -> None:
    """It must not move the times of the failure that is going on now."""
    record_failover(failed_event("fiber", "gw-a", NOW_S).pk)
    late = failed_event("fiber", "gw-b", NOW_S - 3600)
    record_failover(late.pk)
    record_failover(late.pk)
    now, old = FailoverEvent.objects.all()
    assert (now.detected_at.timestamp(), now.restored_at, sorted(now.reports)) == (NOW_S, None, ["gw-a"])
    assert (old.detected_at.timestamp(), old.restored_at, sorted(old.reports)) == (
        NOW_S - 3600,
        now.detected_at,
        ["gw-b"],
    )


def test_report_told_again_after_the_link_failed_anew_changes_nothing(pair: SitePair) -> None:
    first = failed_event("fiber", "gw-a", NOW_S)
    for task, event in (
        (record_failover, first),
        (record_restore, restored_event("fiber", "gw-a", NOW_S + 60)),
        (record_failover, failed_event("fiber", "gw-a", NOW_S + 90)),
    ):
        task(event.pk)
    before = _content()
    record_failover(first.pk)
    assert _content() == before


def test_older_word_does_not_undo_a_newer_one(pair: SitePair) -> None:
    record_restore(restored_event("fiber", "gw-a", NOW_S + 5).pk)
    record_failover(failed_event("fiber", "gw-a", NOW_S).pk)
    assert LinkState.objects.get().state == "up"


def _told(device: str, **states: str) -> Event:
    links = [
        {"name": name, "state": state, "direction": "rx" if state == "down" else "", "since_s": NOW_S}
        for name, state in states.items()
    ]
    return Event.objects.create(
        type="wan.gateway.state",
        at=timezone.now(),
        severity="info",
        device_name=device,
        data={"links": links},
    )


def test_whole_state_on_connect_mends_what_was_missed(pair: SitePair) -> None:
    reconcile_state(_told("gw-a", fiber="down", dsl="up", lte="unknown", nowhere="down").pk)
    assert set(LinkState.objects.values_list("wan_link__link__name", "state")) == {
        ("fiber", "down"),
        ("dsl", "up"),
    }
    assert MapEpoch.objects.latest("number").mapping["1"] != "fiber"
    failover_make("dsl", at=datetime.fromtimestamp(NOW_S - 60, UTC))
    count = MapEpoch.objects.count()
    reconcile_state(_told("gw-a", dsl="up").pk)
    reconcile_state(_told("gone", fiber="up").pk)
    assert MapEpoch.objects.count() == count


def test_gateway_that_comes_back_closes_its_open_failover(pair: SitePair) -> None:
    record_failover(failed_event("fiber", "gw-a", NOW_S - 30).pk)
    reconcile_state(_told("gw-a", fiber="up").pk)
    assert _row()["restored_at_s"] == NOW_S


# --- what it cost ---


def _bins(cut_at: datetime, stall_ms: int, rate_bps: float, *, until_s: float = COST_WINDOW_S + 0.2) -> None:
    """Store 10 ms bins of one flow around a cut: full before, nothing for ``stall_ms``, full after."""
    device = Device.objects.get(name="hq-server")
    size = round(rate_bps / 8 / 100)
    rows = []
    for step in range(-200, round(until_s * 100)):
        is_stalled = 0 <= step * 10 < stall_ms
        at = cut_at + timedelta(milliseconds=10 * step)
        rows += (
            []
            if is_stalled
            else [(at.isoformat(), device.pk, "bulk", size), (at.isoformat(), device.pk, "voice", 200)]
        )
    samples_copy("wan_trafficbin", BIN_COLUMNS, rows)


@pytest.fixture
def cut_at() -> datetime:
    now = timezone.now()
    return now.replace(microsecond=now.microsecond // 10_000 * 10_000) - timedelta(seconds=5)


@pytest.mark.parametrize("stall_ms", [0, 50, 300])
def test_cost_is_that_of_the_largest_flow(stall_ms: int, pair: SitePair, cut_at: datetime) -> None:
    failover = failover_make("fiber", last_heard_at=cut_at, at=cut_at + timedelta(milliseconds=30))
    rate_bps = 8_000_000.0
    _bins(cut_at, stall_ms, rate_bps)
    assert failover_measure(failover_id=failover.pk)
    failover.refresh_from_db()
    assert failover.stall_ms == pytest.approx(stall_ms, abs=10.1)
    assert failover.lost_ms == pytest.approx(stall_ms, abs=12)
    assert failover.transport_ms == pytest.approx(stall_ms, abs=20.1)
    assert failover.fault_at is None


def test_cost_is_owed_at_most_what_the_other_links_carry(pair: SitePair, cut_at: datetime) -> None:
    """60 Mbit/s before the cut, 30 left: going on at 30 loses nothing."""
    failover = failover_make("fiber", last_heard_at=cut_at, at=cut_at + timedelta(milliseconds=30))
    _bins(cut_at, 0, 60_000_000, until_s=0)
    device = Device.objects.get(name="hq-server")
    after = [
        (
            (cut_at + timedelta(milliseconds=10 * step)).isoformat(),
            device.pk,
            "bulk",
            round(30e6 * PAYLOAD_SHARE / 800),
        )
        for step in range(220)
    ]
    samples_copy("wan_trafficbin", BIN_COLUMNS, after)
    assert failover_measure(failover_id=failover.pk)
    failover.refresh_from_db()
    assert failover.lost_ms == pytest.approx(0, abs=5)
    assert failover.stall_ms == 0


def test_fault_of_the_lab_is_where_the_cost_begins(pair: SitePair, cut_at: datetime) -> None:
    failover = failover_make(
        "fiber", last_heard_at=cut_at - timedelta(seconds=1), at=cut_at + timedelta(milliseconds=40)
    )
    for type_, subject, at in (
        ("lab.fault_started", "fiber", cut_at),
        ("lab.fault_started", "dsl", cut_at + timedelta(milliseconds=5)),
        ("lab.fault_started", "fiber", cut_at + timedelta(seconds=1)),
        ("lab.fault_cleared", "fiber", cut_at + timedelta(milliseconds=10)),
    ):
        Event.objects.create(type=type_, subject=subject, at=at, severity="info")
    _bins(cut_at, 100, 8_000_000)
    assert failover_measure(failover_id=failover.pk)
    failover.refresh_from_db()
    assert failover.fault_at == cut_at
    assert failover.stall_ms == pytest.approx(100, abs=10.1)


@pytest.mark.parametrize("until_s", [None, 0.5])
def test_late_bins_are_waited_for(until_s: float | None, pair: SitePair, cut_at: datetime) -> None:
    failover = failover_make("fiber", last_heard_at=cut_at, at=cut_at)
    if until_s is not None:
        _bins(cut_at, 0, 8_000_000, until_s=until_s)
    assert not failover_measure(failover_id=failover.pk)
    with pytest.raises(Retry):
        measure_cost.apply(kwargs={"failover_id": failover.pk}, throw=True).get()
    failover.refresh_from_db()
    assert failover.lost_ms is None


def test_measuring_twice_gives_the_same_and_a_failover_that_is_gone_is_done(
    pair: SitePair, cut_at: datetime
) -> None:
    failover = failover_make("fiber", last_heard_at=cut_at, at=cut_at)
    _bins(cut_at, 50, 8_000_000)
    before = None
    for _ in range(2):
        assert failover_measure(failover_id=failover.pk)
        row = _row()
        assert before in (None, row)
        before = row
    assert failover_measure(failover_id=failover.pk + 1)


def test_first_acknowledgement_counts(pair: SitePair) -> None:
    first, second = User.objects.create_user("first"), User.objects.create_user("second")
    failover = failover_make()
    done = failover_acknowledge(failover=failover, user=first)
    assert done.acknowledged_at is not None
    again = failover_acknowledge(failover=failover, user=second)
    assert (again.acknowledged_by, again.acknowledged_at) == (first, done.acknowledged_at)
    assert list(
        AuditEntry.objects.filter(action="wan.failover_acknowledge").values_list("actor", flat=True)
    ) == ["first"]


def test_one_link_has_one_open_failover_says_the_database(pair: SitePair) -> None:
    from django.db import IntegrityError

    failover_make("fiber")
    with pytest.raises(IntegrityError), transaction.atomic():
        failover_make("fiber")
    failover_make("fiber", restored_at=timezone.now())
    assert WanLink.objects.get(link__name="fiber").failovers.count() == 2
