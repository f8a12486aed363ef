"""Alarms on the live path: packets that deserve an eye become a row, an event on the topic and an entry of the list."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from apps.mptcp.engine.capture import CaptureDecoder
from apps.mptcp.engine.record_batch import columns_to_records, records_to_columns
from apps.mptcp.models import Alarm, AssociationDomain, ChangeLog
from apps.mptcp.record_log import log_append
from apps.mptcp.services import live_association
from apps.mptcp.services.live_association import domain_associate
from apps.mptcp.services.samples import sensor_samples_ingest
from nfvportal.events.models import Event
from tests.support.live import follow
from tests.support.mptcp_packets import ACK, SYN, Segment, add_addr, dss, fastclose, join_syn
from tests.support.mptcp_rows import gateway_make
from tests.support.mptcp_scene import SceneConnection, capture_of
from tests.support.people import token_client
from tests.support.web import WebServer, in_database, token_of, user_make, web_serve

pytestmark = pytest.mark.django_db(transaction=True)
Data = dict[str, Any]
SPACED_US = 5000
SECONDS = 12  # whether bytes add up is looked at for an eighth of the subflows each second


def flood() -> list[Segment]:
    """More joins of one pair of hosts than anybody wants, each with another token."""
    join = Segment(src="10.6.6.6", dst="10.2.0.10", dst_port=443, flags=SYN)
    return [join.but(src_port=port, options=join_syn(port, nonce=1)) for port in range(2000, 2300)]


def other_key() -> list[Segment]:
    """A connection, and somebody who closes it with a key that is not its own."""
    scene = SceneConnection(1)
    segments = scene.handshake()
    return [*segments, scene.subflows[0].but(options=fastclose(scene.server_key ^ 1))]


def two_addresses() -> list[Segment]:
    """A server that says of two addresses that they are its second."""
    scene = SceneConnection(1)
    segments = scene.handshake()
    answer = segments[1].but(flags=ACK)
    return segments + [answer.but(options=add_addr(2, f"10.2.0.{last}")) for last in (11, 11, 66)]


def doubled() -> list[Segment]:
    """Two whole transfers whose numbers meet: together they carry twice what there is."""
    ends = [
        Segment(src=f"10.1.{place}.1", src_port=1000, dst="10.2.0.10", dst_port=443, payload=bytes(1000))
        for place in (1, 200)
    ]
    return [
        end.but(
            seq=1 + at * 1000,
            options=dss(ack=3 << 60, dsn=(5 << 60) + at * 1000, ssn=1 + at * 1000, map_bytes=1000),
        )
        for at in range(400)
        for end in ends
    ]


CASES = {
    "join_flood": (flood, "256 joins between two hosts within 10 s"),
    "key_change": (other_key, "MP_FASTCLOSE carries another key"),
    "duplicate_add_addr": (
        two_addresses,
        "address ID 2 a second address, 10.2.0.66 beside 10.2.0.11",
    ),
    "false_merge_suspected": (doubled, "of the connection's bytes"),
}


def happen(segments: list[Segment]) -> None:
    """Let the sensor see packets, a worker take them, and some seconds pass."""
    start_s = time.time() - len(segments) * SPACED_US / 1e6
    content = capture_of(segments, start_s=start_s, step_us=SPACED_US)
    columns = records_to_columns(CaptureDecoder(observer=1).feed(content))
    assert sensor_samples_ingest(device_name="gw", columns=columns) == len(segments)
    key = AssociationDomain.objects.get().pk
    nothing = columns_to_records({"records": [], "count": []})
    for second in range(1, SECONDS):
        log_append(key, nothing, time.time() + second)
    while domain_associate(domain_id=key):
        pass


def listed(client: Any) -> list[Data]:
    rows: list[Data] = client.get("/api/v1/mptcp/alarms/").json()["results"]
    return rows


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[WebServer]:
    def seed() -> None:
        gateway_make(site=f"branch-{time.time_ns()}")
        live_association._held.clear()

    await in_database(seed)
    async with web_serve(tmp_path) as web:
        yield web


@pytest.mark.parametrize("kind", CASES)
async def test_alarm_is_stored_told_and_listed_once(server: WebServer, kind: str) -> None:
    segments, words = CASES[kind]
    token = await in_database(lambda: token_of(user_make("viewer", "viewer")))
    async with follow(server, token) as browser:
        assert (await browser.snapshot("mptcp"))["data"]["alarms"] == []
        await in_database(lambda: happen(segments()))
        async with asyncio.timeout(10):
            while (frame := await browser.numbered_event("mptcp"))["event"] != "alarm_changed":
                pass
    told = frame["data"]["alarm"]
    assert (told["kind"], told["acknowledged_at_s"]) == (kind, None)
    assert words in told["words"]
    await in_database(lambda: _assert_known(told, segments))


def _assert_known(told: Data, segments: Callable[[], list[Segment]]) -> None:
    """The alarm is everywhere where it is looked for, and once; seen again while it is open it stays one."""
    operator = token_client("operator", can_write=True)
    assert listed(operator) == [told]
    row = Alarm.objects.get()
    assert row.connection is not None
    assert row.connection.pk == told["connection"]
    address = f"/api/v1/mptcp/connections/{row.connection.pk}/"
    assert [alarm["id"] for alarm in operator.get(address).json()["alarms"]] == [told["id"]]
    (event,) = Event.objects.filter(type=f"mptcp.{told['kind']}")
    assert (event.severity, event.data["connection"]) == ("alarm", told["connection"])
    assert ChangeLog.objects.filter(kind="alarm", data__alarm=told["kind"]).exists()
    happen(segments())
    assert [alarm["id"] for alarm in listed(operator)] == [told["id"]]
    live_association._held.clear()  # a process that comes new replays silently
    happen(segments()[:1])
    assert [alarm["id"] for alarm in listed(operator)] == [told["id"]]
    answer = operator.post(f"/api/v1/mptcp/alarms/{told['id']}/acknowledge/")
    assert answer.status_code == 200
    (seen,) = listed(operator)
    assert seen["acknowledged_by"]
