"""The event log as outbox: stored once, dispatched at least once, kept within its limits."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from nfvportal.events import services
from nfvportal.events.models import Event
from nfvportal.events.selectors import SNAPSHOT_EVENTS, event_data, event_list, events_snapshot
from nfvportal.reactions import REACTIONS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _reaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REACTIONS, "test.failed", ("test.record", "test.replan"))


@pytest.fixture
def queue() -> Any:
    """The real broker's control queue; no worker listens in these tests."""
    with redis.Redis.from_url(settings.VALKEY_URL) as valkey:
        valkey.delete("control")
        yield valkey
        valkey.delete("control")


def _tasks(valkey: Any) -> list[tuple[str, str]]:
    headers = [json.loads(message)["headers"] for message in valkey.lrange("control", 0, -1)]
    return sorted((header["task"], header["kwargsrepr"]) for header in headers)


def _publish(**changes: Any) -> Event | None:
    fields = {
        "type": "test.failed",
        "at_s": 10.5,
        "severity": "alarm",
        "subject": "fiber",
        "data": {"link": "fiber"},
    }
    return services.event_publish(**{**fields, **changes})


def test_reactions_are_dispatched_after_commit(queue: Any) -> None:
    with transaction.atomic():
        event = _publish()
        assert event is not None
        assert _tasks(queue) == []
    expected = f"{{'event_id': {event.pk}}}"
    assert _tasks(queue) == [("test.record", expected), ("test.replan", expected)]
    event.refresh_from_db()
    assert event.dispatched_at is not None
    assert services.events_sweep() == 0


def test_rolled_back_event_never_happened(queue: Any) -> None:
    with transaction.atomic():
        _publish()
        transaction.set_rollback(True)
    assert not Event.objects.exists()
    assert _tasks(queue) == []


def test_event_told_twice_is_stored_and_dispatched_once(queue: Any) -> None:
    assert _publish(source_key="gw-a:b1:1") is not None
    assert _publish(source_key="gw-a:b1:1") is None
    assert _publish(source_key="gw-a:b1:2") is not None
    assert Event.objects.count() == 2
    assert len(_tasks(queue)) == 4


def test_event_without_reactions_is_done_at_once(queue: Any) -> None:
    event = _publish(type="test.seen")
    assert event is not None
    assert event.dispatched_at is not None
    assert _tasks(queue) == []


def test_sweep_dispatches_what_a_dead_broker_left(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(services.app, "send_task", _raise)
        event = _publish()
        assert event is not None
        event.refresh_from_db()
        assert event.dispatched_at is None
        Event.objects.update(created_at=timezone.now() - timedelta(seconds=10))
        assert services.events_sweep() == 0
    assert services.events_sweep() == 1
    assert len(_tasks(queue)) == 2
    assert services.events_sweep() == 0


def _raise(*args: Any, **kwargs: Any) -> None:
    raise ConnectionError("no broker")


def test_fresh_events_are_left_to_their_own_dispatch(queue: Any) -> None:
    Event.objects.create(type="test.failed", at=timezone.now(), severity="alarm")
    assert services.events_sweep() == 0


def test_retention_by_age_and_by_count_spares_what_still_has_to_react(queue: Any) -> None:
    now = timezone.now()
    for age_days in (40, 3, 2, 1, 0):
        Event.objects.create(type="t", at=now - timedelta(days=age_days), severity="info", dispatched_at=now)
    waiting = Event.objects.create(type="test.failed", at=now - timedelta(days=40), severity="alarm")
    assert services.events_retain(keep=timedelta(days=30), keep_count=100) == 1
    assert services.events_retain(keep=timedelta(days=30), keep_count=3) == 2
    assert set(Event.objects.values_list("type", flat=True)) == {"t", "test.failed"}
    assert Event.objects.filter(pk=waiting.pk).exists()


def test_snapshot_holds_the_newest_and_agrees_with_the_list() -> None:
    for index in range(SNAPSHOT_EVENTS + 5):
        _publish(type="test.seen", at_s=float(index), device_name="gw-a" if index % 2 else "")
    listed = events_snapshot(None, "events")["events"]  # type: ignore[arg-type]
    assert listed == [event_data(event) for event in event_list()[:SNAPSHOT_EVENTS]]
    assert listed[0]["at_s"] == SNAPSHOT_EVENTS + 4
    assert event_list(device="gw-a", severity="alarm", type="test.seen").count() == (SNAPSHOT_EVENTS + 5) // 2
    assert not event_list(type="other").exists()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_clock_of_a_device_becomes_a_moment(at_s: float) -> None:
    now = datetime.now(UTC)
    assert services._moment(at_s, now).tzinfo is not None
