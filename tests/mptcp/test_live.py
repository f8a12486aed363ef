"""The live topics ``mptcp`` and ``mptcp_connection:<id>``: a page that applies events shows what a new page shows."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import Http404

from apps.mptcp.engine.record_batch import records_to_columns
from apps.mptcp.engine.values import AlarmKind, Change, ChangeKind
from apps.mptcp.events import ALARMS_SHOWN, CAPTURES_SHOWN, CONNECTIONS_SHOWN
from apps.mptcp.models import Alarm, AssociationDomain, Capture, Connection
from apps.mptcp.selectors import connection_snapshot, mptcp_snapshot
from apps.mptcp.services import live_association
from apps.mptcp.services.alarms import alarm_acknowledge, alarm_raise
from apps.mptcp.services.captures import capture_delete
from apps.mptcp.services.live_association import domain_associate
from apps.mptcp.services.samples import sensor_samples_ingest
from apps.mptcp.services.verdicts import verdict_create, verdict_undo
from nfvportal.jobs.runner import run_job
from tests.mptcp.test_live_association import records_of
from tests.support.live import assert_stream_consistent, follow
from tests.support.mptcp_rows import gateway_make
from tests.support.mptcp_scene import SceneConnection, capture_of, whole
from tests.support.people import token_client
from tests.support.web import WebServer, in_database, token_of, user_make, web_serve

pytestmark = pytest.mark.django_db(transaction=True)
Data = dict[str, Any]
scenes: list[SceneConnection] = []


def seen(part: Callable[[SceneConnection], list[Any]]) -> None:
    """Let the sensor see a part of every scene, and a worker take it."""
    segments = [segment for scene in scenes for segment in part(scene)]
    sensor_samples_ingest(device_name="gw", columns=records_to_columns(records_of(segments)))
    while domain_associate(domain_id=AssociationDomain.objects.get().pk):
        pass


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[WebServer]:
    def seed() -> None:
        gateway_make(site=f"branch-{time.time_ns()}")
        live_association._held.clear()
        scenes[:] = [SceneConnection(1), SceneConnection(2)]
        seen(lambda scene: scene.handshake() + scene.data(3))

    await in_database(seed)
    async with web_serve(tmp_path) as web:
        yield web


@pytest_asyncio.fixture
async def token() -> str:
    return await in_database(lambda: token_of(user_make("viewer", "viewer")))


def fold_list(state: Data, event: str, data: Data) -> Data:
    """What the list page does with an event."""
    held = {name: {row["id"]: row for row in state[name]} for name in ("connections", "alarms", "captures")}
    if event == "connection_changed":
        held["connections"][data["connection"]["id"]] = data["connection"]
        if data["connection"]["state"] == "gone":
            del held["connections"][data["connection"]["id"]]
    elif event == "alarm_changed":
        held["alarms"][data["alarm"]["id"]] = data["alarm"]
    elif event == "capture_changed":
        held["captures"][data["capture"]["id"]] = data["capture"]
    else:
        held["captures"].pop(data["id"], None)
    limits = {"connections": CONNECTIONS_SHOWN, "alarms": ALARMS_SHOWN, "captures": CAPTURES_SHOWN}
    lists = {
        name: [rows[key] for key in sorted(rows, reverse=True)][: limits[name]] for name, rows in held.items()
    }
    return {**state, **lists}


def fold_connection(state: Data, event: str, data: Data) -> Data:
    """What the page of a connection does with an event."""
    return data


def _grow() -> None:
    seen(SceneConnection.join)
    seen(lambda scene: scene.join() + scene.data(6))
    scenes.append(SceneConnection(3))
    seen(lambda scene: scene.data(3) if scene.subflows else scene.handshake())


def _decide() -> None:
    user = User.objects.create_user("decider")
    row = Connection.objects.earliest("pk")
    verdict = verdict_create(connection=row, reason="test", expires_in_s=60, is_forced=False, user=user)
    verdict_undo(row=verdict, actor="decider", reason="enough")
    verdict_create(connection=row, reason="again", expires_in_s=60, is_forced=False, user=user)


def _alarm() -> None:
    domain = AssociationDomain.objects.select_related("site").get()
    row = Connection.objects.earliest("pk")
    for kind in AlarmKind:
        change = Change(ChangeKind.ALARM, 1.0, row.engine_id, alarm=kind, words=f"look: {kind}")
        alarm_raise(domain=domain, connection=row, change=change)
        alarm_raise(domain=domain, connection=row, change=change)
    assert Alarm.objects.count() == len(AlarmKind), "an alarm that is open is raised once"
    alarm_acknowledge(row=Alarm.objects.earliest("pk"), user=User.objects.create_user("seer"))


def _captures() -> None:
    client = token_client("operator", can_write=True)
    for name in ("a.pcap", "b.pcap"):
        file = SimpleUploadedFile(name, capture_of(whole(9)))
        run_job(client.post("/api/v1/mptcp/captures/", {"file": file}).json()["job"])
    capture_delete(row=Capture.objects.earliest("pk"), actor=User.objects.earliest("pk"))
    capture_row = Capture.objects.get()
    assert capture_row.connections.count() == 1


@pytest.fixture
def still_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    """No counters of connections are stored but with a change of their shape: those too are telemetry."""
    monkeypatch.setattr(live_association, "REFRESH_EVERY_S", math.inf)


@pytest.mark.usefixtures("still_counters")
@pytest.mark.parametrize("act", [_grow, _decide, _alarm, _captures])
async def test_list_snapshot_and_events_equal_a_fresh_snapshot(
    server: WebServer, token: str, act: Callable[[], None]
) -> None:
    after: Data = {}

    def acted() -> None:
        act()
        after["domains"] = mptcp_snapshot(User(), "mptcp")["domains"]

    def fold(state: Data, event: str, data: Data) -> Data:
        # What a domain has counted comes as telemetry, without a number; a test of its own looks at that.
        return {**fold_list(state, event, data), **after}

    state = await assert_stream_consistent(server, token, "mptcp", lambda: in_database(acted), fold)
    assert state["connections"]


@pytest.mark.usefixtures("still_counters")
@pytest.mark.parametrize("act", [_grow, _decide, _alarm])
async def test_connection_snapshot_and_events_equal_a_fresh_snapshot(
    server: WebServer, token: str, act: Callable[[], None]
) -> None:
    key = await in_database(lambda: Connection.objects.earliest("pk").pk)
    topic = f"mptcp_connection:{key}"
    state = await assert_stream_consistent(server, token, topic, lambda: in_database(act), fold_connection)
    assert state["connection"]["id"] == key


async def test_counters_arrive_as_telemetry_and_agree_with_the_snapshot(
    server: WebServer, token: str
) -> None:
    def more() -> None:
        for held in live_association._held.values():
            held.refreshed_s = 0.0
        seen(lambda scene: scene.data(10))

    async with follow(server, token) as browser:
        await browser.snapshot("mptcp")
        await in_database(more)
        told: Data = {}
        async with asyncio.timeout(10):
            while len(told) < 3:
                frame = await browser.frame("event", "mptcp")
                told |= frame["data"] if frame["event"] == "telemetry" else {}
    snapshot = await in_database(lambda: mptcp_snapshot(User.objects.get(), "mptcp"))
    rows = {f"connection:{row['id']}": row for row in snapshot["connections"]}
    domains = {f"domain:{row['name']}": row for row in snapshot["domains"]}
    assert told == rows | domains


def test_snapshots_need_few_queries(db: None, django_assert_max_num_queries: Any) -> None:
    gateway_make(site=f"branch-{time.time_ns()}")
    live_association._held.clear()
    scenes[:] = [SceneConnection(number) for number in range(1, 9)]
    seen(lambda scene: scene.handshake() + scene.data(2))
    user = User.objects.create_user("viewer")
    with django_assert_max_num_queries(5):
        assert len(mptcp_snapshot(user, "mptcp")["connections"]) == 8
    key = Connection.objects.earliest("pk").pk
    with django_assert_max_num_queries(6):
        assert connection_snapshot(user, f"mptcp_connection:{key}")["connection"]["subflows"]


@pytest.mark.parametrize("key", ["0", "nothing", "9" * 40, "-1"])
def test_connection_that_is_not_there_has_no_topic(db: None, key: str) -> None:
    with pytest.raises(Http404):
        connection_snapshot(User(), f"mptcp_connection:{key}")
