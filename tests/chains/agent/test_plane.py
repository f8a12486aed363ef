"""The dispatcher without processes: blocks on one server give what the merge's table gives, whoever answers first."""

import random
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chains.agent.plane import Plane
from apps.chains.agent.specs import parse_server_spec
from apps.chains.agent.worker_link import DROPPED_HERE, Item
from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, NfInstance
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series
from apps.chains.engine.nfs.network_function import NetworkFunction
from apps.chains.engine.nfs.registry import make_nf
from apps.chains.engine.packet import parse
from apps.chains.engine.shim import Malformed, Shim, shim_decode, shim_encode
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource
from tests.support.rack import SERVERS, Run

ONE, TWO, _ = SERVERS
FIREWALL = {"default": "allow", "rules": [{"action": "deny", "proto": "tcp", "dst_port": 8080}]}
BALANCER = {"vip": "192.168.0.1", "backends": [{"address": "192.168.100.11"}, {"address": "192.168.100.12"}]}
CHAIN = Chain(
    "tested",
    tuple(
        NfInstance(slug, slug, CATALOGUE[slug].profile, CATALOGUE[slug].service, params)
        for slug, params in (
            ("monitor", {}),
            ("ids", {}),
            ("load_balancer", BALANCER),
            ("firewall", FIREWALL),
        )
    ),
    rate_pps=1000,
)
BLOCK = Parallel(
    (Nf(0, ONE), Nf(1, ONE), Series((Nf(2, ONE), Nf(3, ONE)))), (Copy.SHARED, Copy.SHARED, Copy.HEADER), ONE
)
FRAMES = list(TrafficSource(TrafficMix(flow_count=20, odd_ratio=0.1), 5).frames(150))


class _Link:
    """A network function that answers when it is told to, in order."""

    def __init__(self, nf: NetworkFunction, done: Callable[[Item], None], is_recoverable: bool) -> None:
        self.waiting: deque[Item] = deque()
        self.is_recoverable = is_recoverable
        self._nf = nf
        self._done = done

    def submit(self, item: Item) -> None:
        self.waiting.append(item)

    def answer(self) -> None:
        """Handle the oldest packet."""
        item = self.waiting.popleft()
        if item.data is not None:
            packet = parse(item.data, item.is_header_only)
            if self._nf.process(packet, item.at_us):
                item.data = bytes(packet.data)
            else:
                item.data, item.dropped_by = None, DROPPED_HERE
        self._done(item)


class Bench:
    """One server with a plan, and what it sends."""

    def __init__(self, root: Node, *, is_recoverable: bool) -> None:
        self.sent: list[bytes] = []
        self.plane = Plane(ONE, self.sent.append, lambda item: None, lambda event, data: None)
        run = Run(CHAIN, root, is_checked=False)
        (path,) = parse_server_spec({"fabric": "fabric", "paths": [run.path_spec()]}).paths
        self.plane.install([path])
        self.first = run.table.first
        self.links = [
            _Link(make_nf(nf.type, nf.params), self.plane.leave_nf, is_recoverable) for nf in CHAIN.nfs
        ]
        for index, link in enumerate(self.links):
            self.plane.links[path.path, path.epoch, index] = link  # type: ignore[assignment]  # all it needs

    def pass_through(self, seed: int) -> list[tuple[int, int, bytes]]:
        """Let all frames through, links answering at random; return packet id, flags and body in the order sent."""
        rng = random.Random(seed)
        waiting = deque(enumerate(FRAMES, 1))
        while waiting or any(link.waiting for link in self.links):
            ready = [link for link in self.links if link.waiting]
            if waiting and (not ready or rng.random() < 0.4):
                number, frame = waiting.popleft()
                shim = Shim(7, self.first, 1, number, number)
                self.plane.arrive(shim_encode(bytes(6), bytes(6), shim, frame), number)
            else:
                rng.choice(ready).answer()
        found = []
        for frame in self.sent:
            decoded = shim_decode(frame, 0)
            assert not isinstance(decoded, Malformed)
            found.append((decoded[0].packet_id, decoded[0].flags, decoded[1]))
        return found


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_blocks_on_one_server_need_no_table_and_give_the_same(seed: int) -> None:
    joined = Bench(BLOCK, is_recoverable=True)
    tabled = Bench(BLOCK, is_recoverable=False)
    found = joined.pass_through(seed)
    assert [packet_id for packet_id, _, _ in found] == list(range(1, len(FRAMES) + 1))
    assert found == tabled.pass_through(seed + 1)
    (one,), (other,) = joined.plane.runs.values(), tabled.plane.runs.values()
    assert one.counters == other.counters
    mergers = [next(iter(run.mergers.values())) for run in (one, other)]
    assert mergers[0].snapshot() == mergers[1].snapshot()
    assert any(one.blocks.values())
    assert not any(other.blocks.values())


@pytest.mark.parametrize("server", [ONE, TWO])
def test_a_branch_elsewhere_needs_the_table(server: str) -> None:
    root = Parallel((Nf(0, ONE), Nf(1, server), Nf(2, ONE)), (Copy.SHARED, Copy.FULL, Copy.FULL), ONE)
    short = Series((root, Nf(3, ONE)))
    bench = Bench(short, is_recoverable=True)
    bench.plane.arrive(shim_encode(bytes(6), bytes(6), Shim(7, bench.first, 1, 1, 1), FRAMES[0]), 1)
    (run,) = bench.plane.runs.values()
    # Mirrored at the classifier or here; a table is needed as soon as one branch is not here.
    assert any(run.blocks.values()) == (server == ONE)
