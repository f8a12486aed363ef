"""The collector role on loopback: samples of allowed exporters become records, all else is counted."""

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

import pytest

from apps.mptcp.agent.collector import Collector, parse_collector_spec
from apps.mptcp.agent.collector_worker import (
    DATAGRAM_BYTES_MAX,
    NOT_ALLOWED,
    OVER_RATE,
    SENDERS_KNOWN,
    Sender,
    Senders,
)
from nfvportal.lib.errors import InvalidInputError
from tests.mptcp.agent.test_packet_filter import DATA
from tests.mptcp.agent.test_sensor import Context, until
from tests.nfvportal.agent.in_namespace import in_namespace, ip
from tests.support import mptcp_containers as containers
from tests.support import mptcp_packets as packets
from tests.support.mptcp_containers import Seen

SPEC: dict[str, Any] = {
    "address": "127.0.0.1",
    "exporters": [{"address": "127.0.0.2", "observer": 5}, {"address": "127.0.1.0/24", "observer": 6}],
}
FRAME_FIELDS = [(315, 65_535)]


def sflow(seq: int) -> bytes:
    """Return a datagram with one sampled packet."""
    seen = Seen(0, packets.frame(DATA.but(seq=seq))[:128], wire=1400)
    return containers.sflow([containers.sflow_sample([containers.sflow_raw_header(seen)])])


def ipfix(seq: int) -> bytes:
    """Return a message with a template and one sampled frame."""
    frame = packets.frame(DATA.but(seq=seq))[:128]
    template = containers.ipfix_set(2, containers.ipfix_template(300, FRAME_FIELDS))
    return containers.ipfix([template, containers.ipfix_set(300, containers.ipfix_variable(frame))])


def send(source: str, port: int, datagrams: Iterable[bytes]) -> None:
    """Send datagrams from an address of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((source, 0))
        for datagram in datagrams:
            link.sendto(datagram, ("127.0.0.1", port))


@in_namespace
def test_both_protocols_become_records_of_their_exporters() -> None:
    context = Context()

    async def watch() -> None:
        collector = Collector(context)
        await collector.apply(SPEC)
        await collector.apply(SPEC)
        assert collector.snapshot()["ports"] == {"sflow": 6343, "ipfix": 4739}
        send("127.0.0.2", 6343, [sflow(seq) for seq in range(20)])
        send("127.0.1.9", 4739, [ipfix(seq) for seq in range(100, 110)])
        await until(lambda: len(context.records()) == 30)
        state = collector.snapshot()
        assert (state["datagram_count"], state["dropped"], state["malformed_count"]) == (30, {}, 0)
        await collector.apply({})
        await collector.close()

    asyncio.run(watch())
    records = context.records()
    told = sorted(zip(records.seq.tolist(), records.observer.tolist(), strict=True))
    assert told == [(seq, 5) for seq in range(20)] + [(seq, 6) for seq in range(100, 110)]
    assert set(records.dsn.tolist()) == {1 << 40}
    assert context.samples[-1]["sampling_ratio"] == [None]


@in_namespace
def test_what_is_not_wanted_is_counted_and_costs_no_record() -> None:
    context = Context()

    async def watch() -> None:
        collector = Collector(context)
        await collector.apply({**SPEC, "sflow_port": 0, "ipfix_port": None, "datagram_rate_max": 20})
        port = collector.snapshot()["ports"]["sflow"]  # type: ignore[index]
        send("127.0.0.3", port, [sflow(1)] * 7)
        send("127.0.0.2", port, [bytes(DATAGRAM_BYTES_MAX + 1)] * 2)
        send("127.0.1.1", port, [b"noise", b"", bytes(200)])
        send("127.0.1.2", port, [sflow(9)] * 60)
        await until(lambda: collector.snapshot()["datagram_count"] + taken(collector) == 72)  # type: ignore[operator]
        state: Any = collector.snapshot()
        assert state["dropped"]["not_allowed"] == 7
        assert state["dropped"]["too_long"] == 2
        assert state["malformed_count"] >= 3
        # Twenty at once, and those that come while the clock goes on.
        assert 20 <= state["datagram_count"] - 3 <= 40
        await collector.close()

    asyncio.run(watch())
    assert set(context.records().seq.tolist()) == {9}


def taken(collector: Collector) -> int:
    """Return how many datagrams were dropped."""
    return sum(collector.snapshot()["dropped"].values())  # type: ignore[attr-defined]


@in_namespace
def test_a_slow_collector_counts_what_the_kernel_drops() -> None:
    ip("address add 127.0.0.2/32 dev lo")
    context = Context()

    async def watch() -> None:
        collector = Collector(context)
        await collector.apply({**SPEC, "datagram_rate_max": 100_000})
        worker = collector._worker
        assert worker is not None
        # The smallest buffer there is: a burst does not fit.
        worker._listeners[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        count = 4000
        await asyncio.to_thread(send, "127.0.0.2", 6343, [sflow(seq) for seq in range(count)])
        await asyncio.sleep(0)
        send("127.0.0.2", 6343, [sflow(count)])
        await until(lambda: count in context.records().seq.tolist() or resend(count))
        state: Any = collector.snapshot()
        assert state["kernel_drop_count"] > 0
        await collector.close()

    def resend(seq: int) -> bool:
        send("127.0.0.2", 6343, [sflow(seq)])
        return False

    asyncio.run(watch())


@in_namespace
def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken_by:
        taken_by.bind(("127.0.0.1", 4739))
        with pytest.raises(
            InvalidInputError, match=r"ipfix_port: 4739 at 127\.0\.0\.1 cannot be listened at"
        ):
            asyncio.run(Collector(Context()).apply(SPEC))
    # The other port was given back.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 6343))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"address": "here"}, "address"),
        ({"address": None}, "address"),
        ({"sflow_port": 70_000}, "sflow_port"),
        ({"ipfix_port": "4739"}, "ipfix_port"),
        ({"sflow_port": None, "ipfix_port": None}, "sflow_port"),
        ({"exporters": []}, "exporters"),
        ({"exporters": [{"address": "10.0.0.0/8", "observer": 1}] * 257}, "exporters"),
        ({"exporters": ["10.0.0.1"]}, "exporters[0]"),
        ({"exporters": [{"address": "10.0.0.1/8", "observer": 1}]}, "exporters[0].address"),
        ({"exporters": [{"address": "10.0.0.1", "observer": 65_536}]}, "exporters[0].observer"),
        ({"exporters": [{"address": "10.0.0.1"}]}, "exporters[0].observer"),
        ({"datagram_rate_max": 0}, "datagram_rate_max"),
        ({"port": 1}, "port"),
    ],
)
def test_other_specs_are_refused(change: dict[str, Any], field: str) -> None:
    assert parse_collector_spec(SPEC) is not None
    with pytest.raises(InvalidInputError) as caught:
        parse_collector_spec({**SPEC, **change})
    assert caught.value.field == field


def test_senders_are_judged_by_address_and_rate() -> None:
    spec = parse_collector_spec({**SPEC, "datagram_rate_max": 2})
    assert spec is not None
    senders = Senders(spec.exporters, spec.datagram_rate_max)
    assert senders.admit("10.0.0.1", 0.0) == NOT_ALLOWED
    first = senders.admit("::ffff:127.0.0.2", 0.0)
    assert isinstance(first, Sender)
    assert (first.name, first.observer) == ("127.0.0.2", 5)
    assert isinstance(senders.admit("::ffff:127.0.0.2", 0.0), Sender)
    assert senders.admit("::ffff:127.0.0.2", 0.0) == OVER_RATE
    assert isinstance(senders.admit("::ffff:127.0.0.2", 0.5), Sender)
    for number in range(SENDERS_KNOWN + 10):
        senders.admit(f"10.1.{number >> 8}.{number & 255}", 1.0)
    assert len(senders._known) == SENDERS_KNOWN
