"""Events of agents may hold anything: what is odd is passed over, and the page can still be shown."""

import json
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from apps.wan.models import FailoverEvent, LinkState, SitePair
from apps.wan.selectors import wan_snapshot
from apps.wan.tasks import (
    reconcile_state,
    record_failover,
    record_restore,
    refresh_agents,
    refresh_faults,
    replan,
)
from nfvportal.events.models import Event
from nfvportal.live.publish import encode
from tests.support.demo import failed_event

pytestmark = pytest.mark.django_db
TASKS = (record_failover, record_restore, replan, reconcile_state, refresh_agents, refresh_faults)


def _event(data: dict[str, Any]) -> Event:
    return Event.objects.create(
        type="wan.link_failed",
        at=timezone.now(),
        severity="alarm",
        subject="fiber",
        device_name="gw-a",
        data=data,
    )


ODD_FIELDS: dict[str, list[Any]] = {
    "link": [None, 7, [], "no\tlink"],
    "direction": [None, "sideways", 1, []],
    "detected_at_s": [None, "now", -1, 1e18, True],
    "last_heard_at_s": [None, "x", 1e300],
    "acted_at_s": [None, {}, 10**30],
    "detection_ms": [None, "30", -1, 1e300],
    "action_ms": [None, [], -0.5],
    "moves": [None, {}, "x", [1], [{}] * 300],
    "map": ["x", [], {"1": 5}, {"one": "fiber"}],
}


@pytest.mark.parametrize("field", ODD_FIELDS)
def test_odd_report_is_passed_over(field: str, pair: SitePair) -> None:
    good = failed_event().data
    for odd in ODD_FIELDS[field]:
        record_failover(_event({**good, field: odd}).pk)
        assert not FailoverEvent.objects.exists(), repr(odd)
    assert not LinkState.objects.exists()


def test_good_links_of_a_state_are_taken_and_odd_ones_passed_over(pair: SitePair) -> None:
    good = {"name": "dsl", "state": "up", "direction": "", "since_s": 1.0}
    odd: list[Any] = [
        None,
        5,
        "x",
        {},
        {**good, "name": 3},
        {**good, "since_s": "x"},
        {**good, "direction": None},
    ]
    reconcile_state(_event({"links": [*odd, good]}).pk)
    assert list(LinkState.objects.values_list("wan_link__link__name", "state")) == [("dsl", "up")]
    for links in (None, "x", {"name": "dsl"}, 5):
        reconcile_state(_event({"links": links}).pk)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["fiber", "dsl", "up", "down", "rx", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["1", "name", "state", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip
fields = st.sampled_from([*ODD_FIELDS, "up_at_s", "links"])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(fields, plain, max_size=8))
@example({"link": "fiber", "up_at_s": 5.0, "map": {"1": "dsl"}})
def test_whatever_an_event_holds_the_tasks_end_well(pair: SitePair, data: dict[str, Any]) -> None:
    with transaction.atomic():
        event = _event(data)
        for task in TASKS:
            task(event.pk)
        json.loads(encode(wan_snapshot(None, "wan")))  # type: ignore[arg-type]  # every viewer sees the same
        transaction.set_rollback(True)
