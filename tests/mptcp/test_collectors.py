"""Collectors over REST, and end to end: the role takes the spec that the service writes; each exporter is a place."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.mptcp.agent.collector import Collector, parse_collector_spec
from apps.mptcp.models import AssociationDomain, Observer, Subflow
from apps.mptcp.record_log import log_entries
from apps.mptcp.services.live_association import domain_associate
from apps.mptcp.services.samples import sensor_samples_ingest
from apps.mptcp.services.sensors import sensor_set
from nfvportal.audit.models import AuditEntry
from nfvportal.inventory.models import DesiredState, Device, Interface
from tests.mptcp.agent.test_collector import send
from tests.mptcp.agent.test_sensor import Context, until
from tests.nfvportal.agent.in_namespace import in_namespace
from tests.support import mptcp_containers as containers
from tests.support import mptcp_packets as packets
from tests.support.mptcp_containers import Seen
from tests.support.mptcp_rows import gateway_make
from tests.support.mptcp_scene import SceneConnection
from tests.support.people import token_client

pytestmark = pytest.mark.django_db
URL = "/api/v1/mptcp/collectors/"
ROLES = ["mptcp.sensor", "mptcp.collector"]
EXPORTERS = ["127.0.0.2", "127.0.1.0/24"]


@pytest.fixture
def operator() -> Client:
    device = gateway_make(roles=ROLES)
    Interface.objects.create(device=device, name="lan0")
    return token_client("operator", can_write=True)


def put(client: Client, body: dict[str, Any], device: str = "gw") -> Any:
    return client.put(f"{URL}{device}/", body, content_type="application/json")


def spec_now() -> dict[str, Any]:
    spec: dict[str, Any] = DesiredState.objects.get(role="mptcp.collector").spec
    return spec


def test_collector_is_switched_on_changed_and_off(operator: Client) -> None:
    (row,) = operator.get(URL).json()
    assert (row["exporters"], row["sflow_port"], row["ipfix_port"], row["told"]) == ([], 6343, 4739, {})
    (row,) = put(operator, {"exporters": EXPORTERS, "ipfix_port": None, "datagram_rate_max": 50}).json()
    assert (row["exporters"], row["sflow_port"], row["ipfix_port"]) == (EXPORTERS, 6343, None)
    spec = parse_collector_spec(spec_now())
    assert spec is not None
    places = {row.interface: row.number for row in Observer.objects.exclude(interface="lan0")}
    assert {str(one.network): one.observer for one in spec.exporters} == {
        "127.0.0.2/32": places["127.0.0.2"],
        "127.0.1.0/24": places["127.0.1.0/24"],
    }
    (row,) = put(operator, {"exporters": ["10.0.0.1", EXPORTERS[0]]}).json()
    again = {one["address"]: one["observer"] for one in spec_now()["exporters"]}
    assert again["127.0.0.2"] == places["127.0.0.2"], "an exporter keeps its number"
    assert again["10.0.0.1"] not in places.values()
    (row,) = put(operator, {"exporters": []}).json()
    assert (row["exporters"], spec_now()) == ([], {})
    audited: list[Any] = list(AuditEntry.objects.filter(action="mptcp.collector_set").order_by("pk"))
    assert [entry.after["exporters"] for entry in audited] == [EXPORTERS, ["10.0.0.1", EXPORTERS[0]], []]
    assert audited[1].before["exporters"] == EXPORTERS


def test_stopping_what_never_ran_changes_nothing(operator: Client) -> None:
    assert put(operator, {"exporters": []}).status_code == 200
    assert not DesiredState.objects.exists()


def test_the_most_there_can_be_are_taken_by_the_role(operator: Client) -> None:
    names = [f"10.0.{number >> 4}.{(number & 15) << 4}/28" for number in range(254)]
    names += ["2001:db8::1", "::ffff:192.0.2.1"]
    (row,) = put(operator, {"exporters": names, "datagram_rate_max": 100_000, "sflow_port": 65_535}).json()
    assert row["exporters"] == [*names[:-1], "192.0.2.1"]
    spec = parse_collector_spec(spec_now())
    assert spec is not None
    assert (len(spec.exporters), spec.address) == (256, "::")
    assert len({one.observer for one in spec.exporters}) == 256


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "exporters"),
        ({"exporters": "10.0.0.1"}, "exporters"),
        ({"exporters": ["router"]}, "exporters"),
        ({"exporters": ["10.0.0.1/8"]}, "exporters"),
        ({"exporters": ["fe80::1%eth0"]}, "exporters"),
        ({"exporters": ["10.0.0.1", "10.0.0.1/32"]}, "exporters"),
        ({"exporters": ["10.0.0.0/8", "10.0.0.1"]}, "exporters"),
        ({"exporters": [f"10.0.{number >> 8}.{number & 255}" for number in range(257)]}, "exporters"),
        ({"exporters": ["10.0.0.1"], "sflow_port": 0}, "sflow_port"),
        ({"exporters": ["10.0.0.1"], "sflow_port": 65_536}, "sflow_port"),
        ({"exporters": ["10.0.0.1"], "ipfix_port": True}, "ipfix_port"),
        ({"exporters": ["10.0.0.1"], "sflow_port": None, "ipfix_port": None}, "sflow_port"),
        ({"exporters": ["10.0.0.1"], "sflow_port": 4739}, "ipfix_port"),
        ({"exporters": ["10.0.0.1"], "datagram_rate_max": 0}, "datagram_rate_max"),
        ({"exporters": ["10.0.0.1"], "datagram_rate_max": 100_001}, "datagram_rate_max"),
        ({"exporters": ["10.0.0.1"], "more": 1}, "more"),
    ],
)
def test_what_cannot_be_heard_is_refused_by_its_field(
    operator: Client, body: dict[str, Any], field: str
) -> None:
    answer = put(operator, body)
    assert answer.status_code == 400
    assert field in str(answer.json())
    assert not DesiredState.objects.exists()
    assert Observer.objects.count() == 1, "nobody got a number"


def test_a_device_without_the_role_is_no_collector(operator: Client) -> None:
    gateway_make("plain")
    for device in ("plain", "stranger"):
        assert put(operator, {"exporters": EXPORTERS}, device).status_code == 404


def test_list_takes_few_queries(operator: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(5):
        device = gateway_make(f"gw-{number}", roles=ROLES)
        put(operator, {"exporters": EXPORTERS}, device.name)
    with django_assert_max_num_queries(6):
        assert len(operator.get(URL).json()) == 6


def test_sensor_and_collector_of_one_device_speak_for_themselves(operator: Client) -> None:
    device = Device.objects.get()
    sensor = sensor_set(device=device, interface="lan0", sampling_ratio=0.1)
    put(operator, {"exporters": EXPORTERS})
    first = spec_now()["exporters"][0]["observer"]
    empty = Context()
    asyncio.run(_quiet(empty))
    for number, count in ((sensor.number, 11), (first, 22)):
        columns = {**empty.samples[0], "observer": [number], "packet_count": [count]}
        sensor_samples_ingest(device_name="gw", columns=columns)
    (heard,), (seen,) = operator.get(URL).json(), operator.get("/api/v1/mptcp/sensors/").json()
    assert (heard["told"]["packet_count"], seen["told"]["packet_count"]) == (22, 11)
    put(operator, {"exporters": []})
    assert operator.get(URL).json()[0]["told"] == {}


async def _quiet(context: Context) -> None:
    """Let a collector say what it says where nothing comes."""
    collector = Collector(context)
    exporters = [{"address": "127.0.0.2", "observer": 1}]
    await collector.apply(
        {"address": "127.0.0.1", "sflow_port": 0, "ipfix_port": None, "exporters": exporters}
    )
    await until(lambda: context.samples)
    await collector.close()


def test_domain_names_who_is_told_to_look(operator: Client) -> None:
    def sensors() -> Any:
        return operator.get("/api/v1/mptcp/domains/").json()["results"][0]["sensors"]

    assert sensors() == []
    put(operator, {"exporters": EXPORTERS})
    sensor_set(device=Device.objects.get(), interface="lan0", sampling_ratio=0.1)
    assert sensors() == ["gw"]
    put(operator, {"exporters": []})
    assert sensors() == ["gw"]


def datagrams(scene: SceneConnection) -> list[bytes]:
    """Return the packets of a scene as sFlow, each in a datagram of its own."""
    segments = scene.handshake() + scene.join() + scene.data(5)
    samples = [Seen(0, packets.frame(segment)[:128], wire=1400) for segment in segments]
    return [
        containers.sflow([containers.sflow_sample([containers.sflow_raw_header(one)])]) for one in samples
    ]


def collected(spec: dict[str, Any], heard: dict[str, list[bytes]]) -> list[dict[str, Any]]:
    """Run the role with a spec in a network of its own while exporters send; return the batches it told."""
    context = Context()
    count = sum(len(sent) for sent in heard.values())

    async def listen() -> None:
        collector = Collector(context)
        await collector.apply(spec)
        for source, sent in heard.items():
            send(source, spec["sflow_port"], sent)
        send("127.0.0.9", spec["sflow_port"], [b"a stranger"] * 3)
        await until(lambda: len(context.records()) == count)
        await until(lambda: context.samples[-1].get("not_allowed_count") == [3])
        await collector.close()

    asyncio.run(listen())
    return [{name: list(column) for name, column in columns.items()} for columns in context.samples]


def test_what_exporters_send_arrives_under_their_observers(operator: Client, tmp_path: Path) -> None:
    put(operator, {"exporters": EXPORTERS, "ipfix_port": None})
    spec, scenes = spec_now(), [SceneConnection(1), SceneConnection(2)]
    told_path = tmp_path / "told.json"

    @in_namespace
    def body() -> None:
        heard = dict(zip(("127.0.0.2", "127.0.1.9"), map(datagrams, scenes), strict=True))
        told_path.write_text(json.dumps(collected(spec, heard)))

    body()
    for columns in json.loads(told_path.read_text()):
        Observer.objects.update(told_at=None)  # else what it says of itself is kept every two seconds only
        sensor_samples_ingest(device_name="gw", columns=columns)
    domain = AssociationDomain.objects.get()
    kept = [entry.records.observer.tolist() for entry in log_entries(domain.pk, "0-0", 1000)]
    numbers = [one["observer"] for one in spec["exporters"]]
    assert sorted({number for said in kept for number in said}) == sorted(numbers)
    while domain_associate(domain_id=domain.pk):
        pass
    seen_by = {row.a: row.seen_by for row in Subflow.objects.all()}
    assert {seen_by["10.1.1.2"][0], seen_by["10.1.1.3"][0]} == set(numbers)
    (row,) = operator.get(URL).json()
    told = row["told"]
    assert (told["sflow_port"], told["not_allowed_count"], told["malformed_count"]) == (6343, 3, 0)
    assert Observer.objects.count() == 3, "the device named no place of its own"
