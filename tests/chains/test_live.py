"""The live topics ``chains`` and ``chain:<name>``: a page that applies events shows what a new page shows."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from django.contrib.auth.models import User
from django.http import Http404

from apps.chains.chain_definition import definition_parse
from apps.chains.models import Chain, ChainAlarm
from apps.chains.seeds import catalogue_seed
from apps.chains.selectors import ALARMS_SHOWN, chain_snapshot, chains_snapshot
from apps.chains.services.alarms import alarm_clear, alarm_raise, undeclared_write_record
from apps.chains.services.chains import chain_delete, chain_restore, chain_update
from apps.chains.services.deployments import removal_begin, removal_finish
from apps.chains.tasks import ingest_classifier_samples, ingest_server_samples
from nfvportal.inventory.models import Device
from tests.support.chains import (
    agent_event,
    chain_body,
    chain_make,
    classifier_columns,
    deployed,
    fabric_make,
    plan_of,
    runnable,
    server_columns,
)
from tests.support.live import assert_stream_consistent, follow
from tests.support.web import WebServer, in_database, token_of, user_make, web_serve

pytestmark = pytest.mark.django_db(transaction=True)
Data = dict[str, Any]
TOPIC = "chain:web-vpn"


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[WebServer]:
    def seed() -> None:
        catalogue_seed()
        fabric_make()
        runnable(slo_p99_ms=5.0)

    await in_database(seed)
    async with web_serve(tmp_path) as web:
        yield web


@pytest_asyncio.fixture
async def token() -> str:
    return await in_database(lambda: token_of(user_make("viewer", "viewer")))


def fold_list(state: Data, event: str, data: Data) -> Data:
    """What the list page does with an event."""
    rows = {row["name"]: row for row in state["chains"]}
    if event == "chain_removed":
        rows.pop(data["name"], None)
    else:
        rows[data["chain"]["name"]] = data["chain"]
    return {"chains": [rows[name] for name in sorted(rows)]}


def fold_chain(state: Data, event: str, data: Data) -> Data:
    """What the page of a chain does with an event."""
    state = {
        **state,
        **{key: data[key] for key in ("chain", "plan", "deployment", "live_plan") if key in data},
    }
    if event == "deployment_changed":
        state["chain"] = {**state["chain"], "deployment": data["deployment"]}
    if event == "alarm":
        rows = {row["id"]: row for row in (*state["alarms"], data["alarm"])}
        state["alarms"] = [rows[key] for key in sorted(rows, reverse=True)][:ALARMS_SHOWN]
    return state


def _change(**fields: Any) -> None:
    definition = definition_parse(chain_body("web-vpn", ("monitor", "firewall"), **fields))
    chain_update(name="web-vpn", definition=definition, actor=None)


def _edit() -> None:
    _change(rate_pps=50.0, slo_p99_ms=3.0)
    chain_restore(name="web-vpn", version=1, actor=None)
    chain_make("another", ("monitor",))
    chain_make("third", ("monitor",))
    chain_delete(name="third", actor=None)


def _deploy_and_remove() -> None:
    chain = Chain.objects.get()
    _change()
    plan_of(chain)
    deployed(chain)
    deployed(chain)
    row = removal_begin(chain=chain, actor=None)
    assert row is not None
    removal_finish(row)


def _alarms() -> None:
    row = deployed(Chain.objects.get())
    for number in range(ALARMS_SHOWN + 3):
        event = agent_event("chains.undeclared_write", path=row.chain.path, nf="monitor", field=f"f{number}")
        undeclared_write_record(event=event)
    alarm_clear(ChainAlarm.objects.select_related("chain").latest("id"), event.at)
    alarm_raise(chain=row.chain, kind="slo", message="slow", data={}, at=event.at)


@pytest.mark.parametrize("act", [_edit, _deploy_and_remove, _alarms])
async def test_list_snapshot_and_events_equal_a_fresh_snapshot(
    server: WebServer, token: str, act: Callable[[], None]
) -> None:
    state = await assert_stream_consistent(server, token, "chains", lambda: in_database(act), fold_list)
    assert "web-vpn" in {row["name"] for row in state["chains"]}


@pytest.mark.parametrize("act", [_edit, _deploy_and_remove, _alarms])
async def test_chain_snapshot_and_events_equal_a_fresh_snapshot(
    server: WebServer, token: str, act: Callable[[], None]
) -> None:
    state = await assert_stream_consistent(server, token, TOPIC, lambda: in_database(act), fold_chain)
    assert state.keys() == {"chain", "plan", "live_plan", "deployment", "hops", "latency", "alarms"}


async def test_counters_and_latency_arrive_as_telemetry_and_agree_with_the_snapshot(
    server: WebServer, token: str
) -> None:
    def measure() -> None:
        at_s = time.time()
        ingest_server_samples(row.servers[0], server_columns(row, at_s))
        for second in (0, 1):
            ingest_classifier_samples(
                "dc-classifier", classifier_columns(row, at_s + second, count=100 + 50 * second)
            )

    row = await in_database(lambda: deployed(Chain.objects.get()))
    async with follow(server, token) as browser:
        await browser.snapshot(TOPIC)
        await in_database(measure)
        seen: Data = {}
        async with asyncio.timeout(10):
            while len(seen) < 2 or seen["latency"]["rate_pps"] is None:
                frame = await browser.frame("event", TOPIC)
                seen |= frame["data"] if frame["event"] == "telemetry" else {}
        snapshot = await in_database(lambda: chain_snapshot(User.objects.get(), TOPIC))
    assert seen["hops"]["rows"] == snapshot["hops"]
    assert seen["latency"] == snapshot["latency"]["newest"]
    assert seen["latency"]["rate_pps"] == pytest.approx(50, rel=1e-3)


@pytest.fixture
def _deployed(fabric: dict[str, Device]) -> None:
    row = deployed(runnable())
    ingest_server_samples(row.servers[0], server_columns(row))
    ingest_classifier_samples("dc-classifier", classifier_columns(row))
    for name in ("b", "c", "d"):
        chain_make(name)


@pytest.mark.usefixtures("_deployed")
def test_snapshots_need_few_queries(django_assert_max_num_queries: Any) -> None:
    user = User.objects.create_user("viewer")
    with django_assert_max_num_queries(5):
        assert len(chains_snapshot(user, "chains")["chains"]) == 4
    with django_assert_max_num_queries(8):
        assert chain_snapshot(user, TOPIC)["hops"]


def test_chain_that_is_not_there_has_no_topic() -> None:
    with pytest.raises(Http404):
        chain_snapshot(User.objects.create_user("viewer"), "chain:nothing")
