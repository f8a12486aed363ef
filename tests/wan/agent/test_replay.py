"""What left by a link is kept, and sent again over another one: against a real kernel."""

import socket
import struct
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from apps.wan.agent.gateway_spec import parse_gateway_spec
from apps.wan.agent.replay_ring import KEEP_S, ReplayRing
from apps.wan.agent.replayer import QUEUE_S, Replayer, neighbours
from apps.wan.engine.map_planner import Move
from tests.nfvportal.agent.in_namespace import in_namespace, ip
from tests.support.waiting import wait_until

TCP, UDP = 6, 17
RATE_BPS = 20_000_000
PEER_MAC = "02:00:00:00:00:02"


def add_wire(name: str, net: str) -> None:
    """Make an interface with a known neighbour; its far end is ``<name>far``."""
    ip(f"link add {name} type veth peer name {name}far")
    ip(f"address add {net}.1/24 dev {name}")
    ip(f"link set {name} up")
    ip(f"link set {name}far up")
    ip(f"neigh add {net}.2 lladdr {PEER_MAC} dev {name}")


def frame(source: str, number: int, protocol: int = TCP, size: int = 60) -> bytes:
    """Return an Ethernet frame with an IPv4 packet that carries a number."""
    addresses = IPv4Address(source).packed + IPv4Address("10.2.0.10").packed
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 0, 0, 64, protocol, 0) + addresses
    return bytes(12) + b"\x08\x00" + header + number.to_bytes(4) + bytes(size - 4)


def number_of(packet: bytes) -> int:
    return int.from_bytes(packet[20:24])


class Wire:
    """Sends frames out of an interface, as forwarding would."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.bind((interface, 0))

    def send(self, data: bytes) -> None:
        self._socket.send(data)


class FarEnd:
    """Takes what arrives at the other end of a wire."""

    def __init__(self, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        self._socket.bind((f"{interface}far", 0x0003))
        self._socket.setblocking(False)
        self.frames: list[bytes] = []

    def take(self) -> list[bytes]:
        while True:
            try:
                data = self._socket.recv(2048)
            except BlockingIOError:
                return self.frames
            if data[12:14] == b"\x08\x00":
                self.frames.append(data)


def held(ring: ReplayRing, since_s: float) -> list[int]:
    ring.keep()
    return [number_of(packet.data) for packet in ring.packets(since_s)]


@in_namespace
def test_a_ring_keeps_tcp_that_left_and_nothing_else() -> None:
    add_wire("w1", "192.0.2")
    ring, wire, far = ReplayRing("w1", RATE_BPS), Wire("w1"), Wire("w1far")
    started_s = time.time()
    sent = [frame("10.1.1.10", number) for number in range(5)]
    for data in sent:
        wire.send(data)
    wire.send(frame("10.1.1.10", 98, UDP))
    far.send(frame("10.2.0.10", 99))
    wait_until(lambda: held(ring, started_s) == [0, 1, 2, 3, 4], "the kernel hands over the block", 5)
    packets = list(ring.packets(started_s))
    assert [packet.data for packet in packets] == [data[14:] for data in sent]
    assert started_s <= packets[0].at_s <= packets[-1].at_s <= time.time()
    assert held(ring, packets[3].at_s) == [3, 4]
    ring.close()


@in_namespace
def test_a_ring_forgets_and_goes_on() -> None:
    add_wire("w1", "192.0.2")
    ring, wire = ReplayRing("w1", RATE_BPS), Wire("w1")
    wire.send(frame("10.1.1.10", 1))
    wait_until(lambda: held(ring, 0.0) == [1], "it is kept", 5)
    wait_until(lambda: held(ring, 0.0) == [], "it is forgotten", KEEP_S + 5)
    # Far more than fits, with nobody looking: the kernel stops when the ring is full, and starts again.
    for number in range(10_000):
        wire.send(frame("10.1.1.10", number, size=1400))
    wait_until(lambda: held(ring, 0.0) == [], "the full ring is given back", KEEP_S + 5)
    wire.send(frame("10.1.1.10", 7))
    wait_until(lambda: held(ring, 0.0) == [7], "it keeps again", 5)
    ring.close()


def replayer() -> Replayer:
    """Return a running replayer of side a with links one and two and subnets 1 and 2."""
    links = [
        {"name": name, "interface": interface, "local": f"{net}.1", "peer": f"{net}.2", "rate_bps": RATE_BPS}
        for name, interface, net in (("one", "w1", "192.0.2"), ("two", "w2", "198.51.100"))
    ]
    spec = {
        "side": "a",
        "links": links,
        "virtual_subnets": [{"index": index, "prefix": f"10.1.{index}.0/24"} for index in (1, 2)],
        "remote_prefixes": ["10.2.0.0/24"],
        "map": {"1": "one", "2": "one"},
        "epoch": 1,
        "probe": {"port": 3784, "key": "5a" * 32},
    }
    started = Replayer(parse_gateway_spec(spec))
    started.start()
    return started


def on_two_wires(body: Callable[[Replayer, Wire, FarEnd], None]) -> None:
    add_wire("w1", "192.0.2")
    add_wire("w2", "198.51.100")
    running = replayer()
    try:
        body(running, Wire("w1"), FarEnd("w2"))
    finally:
        running.stop()


@in_namespace
def test_what_moved_is_sent_again_in_order_to_the_new_neighbour() -> None:
    def body(running: Replayer, wire: Wire, far: FarEnd) -> None:
        wire.send(frame("10.1.1.10", 1))
        sent_s = time.time()
        wait_until(lambda: time.time() - sent_s > 2 * QUEUE_S, "the first frame is old", 5)
        since_s = time.time()
        for number in range(10, 30):
            wire.send(frame(f"10.1.{number % 2 + 1}.10", number))
        # The last frames are still in the block that the kernel fills.
        running.replay("one", (Move(1, "one", "two"),), since_s)
        wanted = [number for number in range(10, 30) if number % 2 == 0]
        wait_until(lambda: [number_of(data[14:]) for data in far.take()] == wanted, "they arrive", 5)
        assert {data[:6].hex(":") for data in far.frames} == {PEER_MAC}

    on_two_wires(body)


@in_namespace
def test_moves_of_other_links_or_to_unknown_ones_replay_nothing() -> None:
    def body(running: Replayer, wire: Wire, far: FarEnd) -> None:
        since_s = time.time()
        wire.send(frame("10.1.1.10", 1))
        running.replay("one", (Move(1, "two", "one"), Move(2, "one", "elsewhere")), since_s)
        wire.send(frame("10.1.2.10", 2))
        running.replay("one", (Move(2, "one", "two"),), since_s)
        wait_until(
            lambda: [number_of(data[14:]) for data in far.take()] == [2], "only the asked one arrives", 5
        )

    on_two_wires(body)


def test_the_neighbour_table_is_read_and_incomplete_rows_are_left_out() -> None:
    table = (
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "192.0.2.2        0x1         0x2         02:00:00:00:00:02     *        w1\n"
        "192.0.2.3        0x1         0x0         00:00:00:00:00:00     *        w1\n"
        "broken\n"
    )
    assert neighbours(table) == {("192.0.2.2", "w1"): bytes.fromhex("020000000002")}
