"""The sensor role in a real namespace: what it sends, what it counts, and interfaces that go and come back."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from apps.mptcp.agent.record_outlet import RecordOutlet, SourceCounts
from apps.mptcp.agent.sensor import Sensor, parse_sensor_spec
from apps.mptcp.agent.sensor_worker import SensorSpec
from apps.mptcp.engine.record_batch import BATCH_RECORDS_MAX, columns_to_records
from apps.mptcp.engine.records import PacketRecords
from nfvportal.lib.errors import InvalidInputError
from tests.mptcp.agent.test_packet_filter import DATA, make_wire, send
from tests.nfvportal.agent.in_namespace import in_namespace, ip
from tests.support import mptcp_packets as packets

SPEC: dict[str, Any] = {"interface": "right", "sampling_ratio": 1, "observer": 3}


class Context:
    """Keeps what a role tells."""

    device, role, state_dir = "t", "mptcp.sensor", Path("/nowhere")

    def __init__(self) -> None:
        self.samples: list[Mapping[str, Sequence[Any]]] = []
        self.events: list[tuple[str, Mapping[str, object]]] = []

    def emit(self, event: str, data: Mapping[str, object], at_s: float | None = None) -> None:
        self.events.append((event, data))

    def sample(self, columns: Mapping[str, Sequence[object]]) -> None:
        self.samples.append(columns)

    def records(self) -> PacketRecords:
        """Return all records told so far."""
        return PacketRecords.joined([columns_to_records(columns) for columns in self.samples])


async def until(condition: Any, within_s: float = 10.0) -> None:
    """Wait for a condition."""
    deadline_s = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline_s, "not in time"
        await asyncio.sleep(0.02)


@in_namespace
def test_it_tells_every_packet_once_with_its_observer() -> None:
    make_wire()
    context = Context()

    async def watch() -> None:
        sensor = Sensor(context)
        await sensor.apply(SPEC)
        await sensor.apply(SPEC)  # twice changes nothing
        send([packets.frame(DATA.but(seq=number)) for number in range(3000)])
        await until(lambda: len(context.records()) >= 3000)
        await until(lambda: sensor.snapshot()["packet_count"] == 3000)
        state = sensor.snapshot()
        assert (state["record_count"], state["kernel_drop_count"], state["own_drop_count"]) == (3000, 0, 0)
        await sensor.apply({})
        assert sensor.snapshot() == {"interface": None}
        await sensor.close()

    asyncio.run(watch())
    records = context.records()
    assert sorted(records.seq.tolist()) == list(range(3000))
    assert set(records.observer.tolist()) == {3}
    assert all(columns["count"][0] <= BATCH_RECORDS_MAX for columns in context.samples)
    assert context.samples[-1]["kernel_drop_count"] == [0]


@in_namespace
def test_an_interface_that_goes_and_comes_back_is_sampled_again() -> None:
    make_wire()
    context = Context()

    async def watch() -> None:
        sensor = Sensor(context)
        await sensor.apply(SPEC)
        send([packets.frame(DATA)])
        await until(lambda: len(context.records()) == 1)
        ip("link delete left")
        await until(lambda: [name for name, _ in context.events] == ["mptcp.sensor_failed"])
        assert sensor.snapshot()["is_up"] is False
        await until(lambda: context.samples[-1]["is_up"] == [False])
        make_wire()
        await until(lambda: [name for name, _ in context.events][1:] == ["mptcp.sensor_recovered"])
        send([packets.frame(DATA)] * 5)
        await until(lambda: len(context.records()) == 6)
        await until(lambda: sensor.snapshot()["packet_count"] == 6)
        await sensor.close()

    asyncio.run(watch())


@in_namespace
def test_an_interface_that_goes_down_for_a_while_keeps_its_sensor() -> None:
    make_wire()
    context = Context()

    async def watch() -> None:
        sensor = Sensor(context)
        await sensor.apply(SPEC)
        ip("link set right down")
        await until(lambda: bool(context.events))
        known = len(context.samples)
        await until(lambda: len(context.samples) >= known + 3)
        assert [name for name, _ in context.events] == ["mptcp.sensor_failed"], "told once"
        ip("link set right up")
        await until(lambda: sensor.snapshot()["is_up"] is True)
        send([packets.frame(DATA)])
        await until(lambda: len(context.records()) == 1)
        await sensor.close()

    asyncio.run(watch())


@in_namespace
def test_silence_is_told_too() -> None:
    make_wire()
    context = Context()

    async def watch() -> None:
        sensor = Sensor(context)
        await sensor.apply(SPEC)
        await until(lambda: len(context.samples) >= 2)
        await sensor.close()

    asyncio.run(watch())
    assert [columns["count"] for columns in context.samples[:2]] == [[0], [0]]


def test_an_interface_that_does_not_exist_is_named() -> None:
    with pytest.raises(InvalidInputError, match="interface: nowhere cannot be sampled"):
        asyncio.run(Sensor(Context()).apply({**SPEC, "interface": "nowhere"}))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"interface": ""}, "interface"),
        ({"interface": "a" * 16}, "interface"),
        ({"interface": None}, "interface"),
        ({"sampling_ratio": 0}, "sampling_ratio"),
        ({"sampling_ratio": 1.5}, "sampling_ratio"),
        ({"sampling_ratio": True}, "sampling_ratio"),
        ({"sampling_ratio": float("nan")}, "sampling_ratio"),
        ({"mptcp_only": 1}, "mptcp_only"),
        ({"snaplen": 60}, "snaplen"),
        ({"observer": -1}, "observer"),
        ({"observer": 70_000}, "observer"),
        ({"ratio": 1}, "ratio"),
    ],
)
def test_other_specs_are_refused(change: dict[str, Any], field: str) -> None:
    assert parse_sensor_spec(SPEC) == SensorSpec("right", 1.0, True, 128, 3)
    with pytest.raises(InvalidInputError) as caught:
        parse_sensor_spec({**SPEC, **change})
    assert caught.value.field == field


def test_beyond_its_rate_the_outlet_drops_and_counts() -> None:
    context = Context()
    outlet = RecordOutlet(context, observer=1, sampling_ratio=1.0, rate_max=2000)
    counts = SourceCounts()
    for at_s in (0.0, 0.1, 0.2):
        outlet.add(PacketRecords.zeros(1500), counts, at_s)
    outlet.close(counts, 0.3)
    assert len(context.records()) == outlet.record_count == 2400
    assert outlet.own_drop_count == 4500 - 2400
    assert context.samples[-1]["own_drop_count"] == [2100]


def test_records_wait_a_quarter_of_a_second_at_most() -> None:
    context = Context()
    outlet = RecordOutlet(context, observer=1, sampling_ratio=1.0)
    counts = SourceCounts()
    outlet.add(PacketRecords.zeros(3), counts, 10.0)
    outlet.add(PacketRecords.zeros(4), counts, 10.2)
    outlet.tick(counts, 10.24)
    assert [columns["count"] for columns in context.samples] == [[0]]
    outlet.tick(counts, 10.25)
    assert [columns["count"] for columns in context.samples] == [[0], [7]]
