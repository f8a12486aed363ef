"""The live topic ``wan``: a page that applies events to its snapshot shows what a new page shows."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from django.contrib.auth.models import User

from apps.wan.models import FailoverEvent, SitePair
from apps.wan.selectors import FAILOVERS_SHOWN, wan_snapshot
from apps.wan.services.failovers import failover_acknowledge
from apps.wan.services.maps import map_set
from apps.wan.tasks import (
    ingest_gateway_samples,
    ingest_host_samples,
    record_failover,
    record_restore,
    refresh_agents,
    refresh_faults,
    replan,
)
from nfvportal.events.models import Event
from nfvportal.inventory.models import Device
from nfvportal.inventory.seeds import seed_demo
from tests.support.demo import failed_event, restored_event
from tests.support.live import assert_stream_consistent, follow
from tests.support.web import WebServer, in_database, token_of, user_make, web_serve
from tests.wan.test_telemetry import gateway_columns, subflow_columns

pytestmark = pytest.mark.django_db(transaction=True)
Data = dict[str, Any]


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[WebServer]:
    await in_database(lambda: seed_demo(tmp_path / "agents"))
    async with web_serve(tmp_path) as web:
        yield web


@pytest_asyncio.fixture
async def token() -> str:
    return await in_database(lambda: token_of(user_make("viewer", "viewer")))


def fold(state: Data, event: str, data: Data) -> Data:
    """What the page does with an event: every key is a set of upserts."""
    state = {**state}
    if "link" in data:
        state["links"] = _upsert(state["links"], "name", data["link"])
    if "agent" in data:
        state["agents"] = _upsert(state["agents"], "device", data["agent"])
    if "failover" in data:
        rows = _upsert(state["failovers"], "id", data["failover"])
        state["failovers"] = sorted(rows, key=lambda row: (-row["detected_at_s"], -row["id"]))[
            :FAILOVERS_SHOWN
        ]
    return {**state, **{key: data[key] for key in ("map", "subflows") if key in data}}


def _upsert(rows: list[Data], key: str, change: Data) -> list[Data]:
    known = {row[key]: row for row in rows}
    return list({**known, change[key]: {**known.get(change[key], {}), **change}}.values())


def _fault(type_: str) -> Event:
    return Event.objects.create(
        type=type_, subject="dsl", at="2026-03-01T00:00:00Z", severity="info", data={"kind": "loss"}
    )


def _fail_and_come_back() -> None:
    """A failure from its cause to its acknowledgement, as the reactions run it."""
    now_s = time.time()
    fault = _fault("lab.fault_started")
    refresh_faults(fault.pk)
    mapping = {"1": "fiber", "2": "fiber", "3": "lte"}
    for device in ("gw-a", "gw-b"):
        event = failed_event("dsl", device, now_s, map=mapping)
        record_failover(event.pk)
        replan(event.pk)
    failover_acknowledge(failover=FailoverEvent.objects.get(), user=User.objects.get())
    fault.delete()
    refresh_faults(_fault("lab.fault_cleared").pk)
    for device in ("gw-a", "gw-b"):
        event = restored_event("dsl", device, now_s + 1)
        record_restore(event.pk)
        replan(event.pk)


def _set_maps() -> None:
    for link in ("lte", "dsl", "fiber"):
        map_set(pair=SitePair.objects.get(), homes={1: link}, actor=User.objects.get(), reason="by hand")


def _subflows() -> None:
    ingest_host_samples("branch-host", subflow_columns())
    ingest_host_samples("branch-host", subflow_columns(index=[3, 2]))
    _set_maps()


def _agents() -> None:
    for name, status in (("gw-a", "online"), ("branch-host", "offline"), ("gw-a", "offline")):
        Device.objects.filter(name=name).update(status=status, last_seen_at="2026-03-01T00:00:00Z")
        event = Event.objects.create(
            type="inventory.device_online", at="2026-03-01T00:00:00Z", severity="info", device_name=name
        )
        refresh_agents(event.pk)


def _many_failovers() -> None:
    """More than the page shows."""
    for number in range(FAILOVERS_SHOWN + 3):
        at_s = 1_790_000_000.0 + 60 * number
        record_failover(failed_event("dsl", "gw-a", at_s).pk)
        record_restore(restored_event("dsl", "gw-a", at_s + 1).pk)


@pytest.mark.parametrize("act", [_fail_and_come_back, _set_maps, _subflows, _agents, _many_failovers])
async def test_snapshot_and_events_equal_a_fresh_snapshot(
    server: WebServer, token: str, act: Callable[[], None]
) -> None:
    state = await assert_stream_consistent(server, token, "wan", lambda: in_database(act), fold)
    assert state.keys() == {"links", "virtual_subnets", "map", "subflows", "failovers", "agents", "goodput"}


async def test_state_that_a_sample_mends_is_an_event(server: WebServer, token: str) -> None:
    def act() -> None:
        now_s = time.time()
        ingest_gateway_samples("gw-b", gateway_columns(now_s))
        ingest_gateway_samples("gw-b", gateway_columns(now_s + 4, state=["up", "down", "up"]))

    state = await assert_stream_consistent(server, token, "wan", lambda: in_database(act), fold)
    assert {link["name"]: link["state"] for link in state["links"]} == {
        "fiber": "up",
        "dsl": "down",
        "lte": "up",
    }


async def test_measurements_arrive_as_telemetry_and_agree_with_the_snapshot(
    server: WebServer, token: str
) -> None:
    async with follow(server, token) as browser:
        await browser.snapshot("wan")
        await in_database(lambda: ingest_gateway_samples("gw-a", gateway_columns()))
        seen: Data = {}
        async with asyncio.timeout(10):
            while len(seen) < 3:
                frame = await browser.frame("event", "wan")
                seen |= frame["data"] if frame["event"] == "telemetry" else {}
        snapshot = await in_database(lambda: wan_snapshot(User.objects.get(), "wan"))
    for link in snapshot["links"]:
        told = seen[link["name"]]
        assert told.pop("at_s") == pytest.approx(link["at_s"], abs=1e-3)
        assert told == {name: link[name] for name in told}


def test_snapshot_needs_as_many_queries_for_many_rows_as_for_few(
    pair: SitePair, django_assert_max_num_queries: Any
) -> None:
    user = User.objects.create_user("viewer")
    _many_failovers()
    _subflows()
    with django_assert_max_num_queries(9):
        wan_snapshot(user, "wan")
