"""Synthetic Multipath TCP traffic with known truth: only the packets that a sample would hold are ever made.

Each subflow has its own rate in each direction while it is alive, so a connection's number grows with the sum of the
rates of the subflows alive; requests make it stand still between bursts. A path's queue delays what an observer sees,
acknowledgements follow the slowest path. Everything is drawn from one generator: equal seeds give equal packets.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.associator import Associator
from apps.mptcp.engine.hard_links import derive
from apps.mptcp.engine.records import IPV4_MAPPED, Has, PacketRecords, TcpFlag

Floats = NDArray[np.float64]
MSS = 1400
HANDSHAKE = 4


@dataclass(frozen=True, slots=True)
class Model:
    """What to simulate.

    Args:
        sampling: share of packets kept, 0..1. host_pairs: how many client and server hosts the connections share.
        rate_bps_median: of one subflow's busy direction, bytes per second; spread: log-normal sigma.
        queue_s: longest queue of a path; each path draws its own below. duty: share of time that requests are sent.
        kinds: shares of one-way bulk, echo, request/response. late: share of subflows that join or leave mid-way.
        width: 64, 32, or 48 for 64-bit DSN with 32-bit DATA_ACK. direction: "both", "c2s", "s2c".
        has_tokens: whether handshakes and joins are seen at all. server_addresses: 1 or 2 (the second is announced).
        observers: how many points see each packet (each one all of it).
    """

    connections: int = 60
    subflows: int = 3
    duration_s: float = 20.0
    sampling: float = 0.01
    host_pairs: int = 1
    rate_bps_median: float = 200_000.0
    spread: float = 0.5
    queue_s: float = 0.1
    kinds: tuple[float, float, float] = (0.4, 0.3, 0.3)
    duty: float = 0.2
    late: float = 0.2
    width: int = 64
    direction: str = "both"
    start_after_s: float = 0.0
    has_tokens: bool = True
    server_addresses: int = 1
    version: int = 1
    seed: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Sampled packets and the truth.

    Args:
        records: by time. connection_of: by (client address, client port, server address): truth of every subflow.
    """

    records: PacketRecords
    connection_of: dict[tuple[int, int, int], int]

    def parts(self, seconds: float = 1.0) -> Iterator[PacketRecords]:
        """Return the packets in steps of time."""
        at_us = self.records.at_us
        if not len(at_us):
            return
        edges = np.arange(int(at_us[0]), int(at_us[-1]) + 1, int(seconds * 1e6))
        for part in np.split(np.arange(len(at_us)), np.searchsorted(at_us, edges[1:])):
            yield self.records.rows(part)


@dataclass(slots=True, eq=False)
class _Draw:
    """All random choices of a world; arrays are [connections, subflows] or [connections, subflows, direction]."""

    join_s: Floats
    leave_s: Floats
    rate: Floats
    queue_s: Floats
    period_s: Floats
    busy_s: Floats
    isn: NDArray[np.uint32]
    keys: NDArray[np.uint64]
    idsn: NDArray[np.uint64]
    tokens: NDArray[np.uint32]
    client: NDArray[np.uint64]
    server: NDArray[np.uint64]
    port: NDArray[np.uint16]


def _draw(model: Model, rng: np.random.Generator) -> _Draw:
    c, k = model.connections, model.subflows
    kind = rng.choice(3, c, p=np.array(model.kinds) / sum(model.kinds))
    rate = model.rate_bps_median * np.exp(model.spread * rng.standard_normal((c, k)))
    both = np.stack((rate, rate * np.where(kind == 0, 0.0, np.where(kind == 1, 1.0, 0.1))[:, None]), axis=2)
    flipped = rng.random(c) < 0.5  # bulk also runs from server to client
    both[flipped] = both[flipped][:, :, ::-1]
    join = rng.uniform(0, 0.2, (c, k)).cumsum(axis=1)
    leave = np.full((c, k), model.duration_s)
    late = rng.random((c, k)) < model.late
    late[:, 0] = False
    join[late] = rng.uniform(0.1, 0.6, late.sum()) * model.duration_s
    gone = rng.random((c, k)) < model.late / 2
    gone[:, 0] = False
    leave[gone] = np.minimum(
        join[gone] + rng.uniform(0.3, 0.9, gone.sum()) * model.duration_s, model.duration_s
    )
    period = np.where(kind == 2, rng.uniform(0.5, 3.0, c), 1.0)
    raw = rng.integers(0, 1 << 63, (c, 2), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    derived = [[derive(int(key), model.version) for key in pair] for pair in raw]
    hosts = rng.integers(0, model.host_pairs, c)
    paths = np.arange(k, dtype=np.uint64)[None, :]
    client = np.uint64(0x0A000000) + (hosts[:, None] * 64).astype(np.uint64) + paths
    far = rng.integers(0, model.server_addresses, (c, k)).astype(np.uint64)
    far[:, 0] = 0
    server = np.uint64(0x0B000000) + (hosts[:, None] * 64).astype(np.uint64) + far
    mapped = np.uint64(IPV4_MAPPED)
    return _Draw(
        join, leave, both, rng.uniform(0, model.queue_s, (c, k)), period,
        np.where(kind == 2, period * model.duty, period),
        rng.integers(0, 1 << 32, (c, k, 2), dtype=np.uint32), raw,
        np.array([[idsn for _, idsn in pair] for pair in derived], np.uint64).reshape(c, 2),
        np.array([[token for token, _ in pair] for pair in derived], np.uint32).reshape(c, 2),
        client | mapped, server | mapped, (1024 + np.arange(c * k).reshape(c, k) % 60000).astype(np.uint16),
    )  # fmt: skip


def _busy(at_s: Floats, period: Floats, busy: Floats) -> Floats:
    """Return the time spent sending until ``at_s``."""
    whole = np.floor(at_s / period)
    spent: Floats = np.add(whole * busy, np.minimum(at_s - whole * period, busy))
    return spent


def _clock(spent: Floats, period: Floats, busy: Floats) -> Floats:
    """Return when ``spent`` time was spent sending: the inverse of ``_busy``."""
    whole = np.floor(spent / busy)
    at_s: Floats = np.add(whole * period, spent - whole * busy)
    return at_s


class _Progress:
    """How far a connection's numbers are at a time."""

    def __init__(self, draw: _Draw) -> None:
        self.draw = draw
        period, busy = draw.period_s[:, None], draw.busy_s[:, None]
        self.born, self.dead = _busy(draw.join_s, period, busy), _busy(draw.leave_s, period, busy)

    def own(self, c: Any, k: Any, d: Any, at_s: Floats) -> Floats:
        """Return the bytes that subflow ``k`` carried in direction ``d``."""
        spent = _busy(at_s, self.draw.period_s[c], self.draw.busy_s[c])
        alive = np.clip(spent, self.born[c, k], self.dead[c, k]) - self.born[c, k]
        carried: Floats = np.floor(self.draw.rate[c, k, d] * alive / MSS) * MSS
        return carried

    def all(self, c: Any, d: Any, at_s: Floats) -> Floats:
        """Return the bytes that all subflows carried."""
        total: Floats = np.sum([self.own(c, k, d, at_s) for k in range(self.draw.rate.shape[1])], axis=0)
        return total


def make_world(model: Model) -> World:
    """Return the sampled packets of a world."""
    rng = np.random.default_rng(model.seed)
    draw = _draw(model, rng)
    progress = _Progress(draw)
    parts = [_carriers(model, draw, progress, rng, d, is_data) for d in (0, 1) for is_data in (True, False)]
    if model.has_tokens:
        parts += [_handshakes(model, draw, rng)]
    parts += [_ends(model, draw, progress, rng)]
    records = PacketRecords.joined(parts)
    keep = records.at_us >= int(model.start_after_s * 1e6)
    is_c2s = (records.src_lo & np.uint64(0xFF000000)) == np.uint64(0x0A000000)
    if model.direction != "both":
        keep &= is_c2s == (model.direction == "c2s")
    records = _cut(records.rows(keep), model.width)
    truth = {
        (int(draw.client[c, k]), int(draw.port[c, k]), int(draw.server[c, k])): c
        for c in range(model.connections)
        for k in range(model.subflows)
    }
    return World(records.rows(np.argsort(records.at_us, kind="stable")), truth)


def _cut(records: PacketRecords, width: int) -> PacketRecords:
    if width == 64:
        return records
    low = np.uint64(0xFFFFFFFF)
    changed = records.copy(data_ack=records.data_ack & low, has=records.has & ~np.uint32(Has.DATA_ACK_64))
    if width == 32:
        changed = changed.copy(dsn=records.dsn & low, has=changed.has & ~np.uint32(Has.DSN_64))
    return changed


def _address(records: PacketRecords, draw: _Draw, c: Any, k: Any, d: Any) -> None:
    is_up = np.asarray(d) == 0
    client, server, port = draw.client[c, k], draw.server[c, k], draw.port[c, k]
    records.src_lo[:] = np.where(is_up, client, server)
    records.dst_lo[:] = np.where(is_up, server, client)
    records.src_port[:] = np.where(is_up, port, 443)
    records.dst_port[:] = np.where(is_up, 443, port)


def _carriers(model: Model, draw: _Draw, progress: _Progress, rng: np.random.Generator, d: int,
              is_data: bool) -> PacketRecords:  # fmt: skip
    """Return data packets of direction ``d``, or pure acknowledgements that answer the other direction."""
    source = d if is_data else 1 - d
    mean = draw.rate[:, :, source] * np.maximum(progress.dead - progress.born, 0) / MSS
    count = rng.poisson(mean * model.sampling * (1.0 if is_data else 0.5))
    c, k = (np.repeat(index.ravel(), count.ravel()) for index in np.indices(count.shape))
    spent = progress.born[c, k] + rng.random(len(c)) * (progress.dead[c, k] - progress.born[c, k])
    sent_s = _clock(spent, draw.period_s[c], draw.busy_s[c])
    records = PacketRecords.zeros(len(c))
    _address(records, draw, c, k, d)
    seen_s = sent_s + draw.queue_s[c, k] + (0 if is_data else 0.01)
    records.at_us[:] = (seen_s * 1e6).astype(np.int64)
    records.tcp_flags[:] = int(TcpFlag.ACK)
    slowest = draw.queue_s.max(axis=1)[c]
    acked = progress.all(c, 1 - d, np.maximum(seen_s - slowest - 0.02, 0))
    records.data_ack[:] = draw.idsn[c, 1 - d] + np.uint64(1) + acked.astype(np.uint64)
    has = int(Has.DATA_ACK | Has.DATA_ACK_64)
    if is_data:
        own, total = progress.own(c, k, d, sent_s), progress.all(c, d, sent_s)
        records.dsn[:] = draw.idsn[c, d] + np.uint64(1) + total.astype(np.uint64)
        records.ssn[:] = (own.astype(np.uint64) + np.uint64(1)).astype(np.uint32)
        records.seq[:] = draw.isn[c, k, d] + records.ssn
        records.map_bytes[:] = MSS
        records.payload_bytes[:] = MSS
        has |= int(Has.DSN | Has.DSN_64)
    records.has[:] = has
    return records


def _handshakes(model: Model, draw: _Draw, rng: np.random.Generator) -> PacketRecords:
    """Return SYN, SYN/ACK, ACK of every subflow, and the server's ADD_ADDR, sampled like all packets."""
    count = draw.join_s.size * HANDSHAKE
    c, k, step = (index.ravel() for index in np.indices((*draw.join_s.shape, HANDSHAKE)))
    records = PacketRecords.zeros(count)
    d = np.isin(step, (1, 3)).astype(int)
    _address(records, draw, c, k, d)
    records.at_us[:] = ((draw.join_s[c, k] - 0.05 + 0.01 * step) * 1e6).astype(np.int64) + 50_000
    records.tcp_flags[:] = np.choose(step, (int(TcpFlag.SYN), int(TcpFlag.SYN | TcpFlag.ACK), 16, 16))
    records.seq[:] = draw.isn[c, k, d]
    first = k == 0
    records.has[:] = np.where(first, int(Has.CAPABLE), int(Has.JOIN))
    records.has[first & (step == 1)] |= np.uint32(Has.KEY)
    records.has[first & (step == 2)] |= np.uint32(Has.KEY | Has.PEER_KEY)
    records.has[~first & (step == 0)] |= np.uint32(Has.TOKEN)
    records.has[step == 3] = np.uint32(Has.ADD_ADDR)
    records.version[:] = model.version
    records.key[:] = np.where(step == 1, draw.keys[c, 1], draw.keys[c, 0])
    records.peer_key[:] = draw.keys[c, 1]
    records.token[:] = draw.tokens[c, 1]
    records.address_id[:] = np.where(step == 3, 1, k)
    records.added_lo[:] = draw.server[c, 0] + np.uint64(1)
    has_more = (step < 3) | (first & (model.server_addresses > 1))
    return records.rows(has_more & (rng.random(count) < model.sampling))


def _ends(model: Model, draw: _Draw, progress: _Progress, rng: np.random.Generator) -> PacketRecords:
    """Return DATA_FIN of both directions at the end, on every subflow alive then, with the subflow's FIN."""
    c, k, d = (index.ravel() for index in np.indices((*draw.join_s.shape, 2)))
    records = PacketRecords.zeros(len(c))
    _address(records, draw, c, k, d)
    at_s = draw.leave_s[c, k]
    is_last = at_s >= model.duration_s
    records.at_us[:] = ((at_s + 0.2) * 1e6).astype(np.int64)
    records.tcp_flags[:] = int(TcpFlag.FIN | TcpFlag.ACK)
    total = progress.all(c, d, np.full(len(c), model.duration_s))
    records.dsn[:] = np.where(is_last, draw.idsn[c, d] + np.uint64(1) + total.astype(np.uint64), 0)
    records.map_bytes[:] = is_last
    fin = int(Has.DSN | Has.DSN_64 | Has.DATA_FIN)
    records.has[:] = np.where(is_last, fin, int(Has.PRIO))
    return records.rows(rng.random(len(c)) < model.sampling)


@dataclass(frozen=True, slots=True)
class Score:
    """Pairs of subflows: recall, precision; shares of connections found exactly, and of subflows unseen.

    Recall is among subflows with a number of the data stream in a sample: one seen only by, say, the SYN/ACK of its
    join cannot be told from any other. ``recall_both``: among those whose numbers were seen in both directions.
    """

    recall: float
    recall_both: float
    precision: float
    exact: float
    unseen: float
    wrong_pairs: int
    seen_subflows: int


def _pairs(names: NDArray[np.int64]) -> int:
    sizes = np.unique(names, axis=0, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def truth_of(machine: Associator, world: World) -> dict[int, int]:
    """Return the true connection of every row."""
    truth = {}
    for row in machine.domain.table.live_rows().tolist():
        record = machine.domain.table.rows[row]
        ends = (
            (int(record["a_lo"]), int(record["a_port"])), (int(record["b_lo"]), int(record["b_port"]))
        )  # fmt: skip
        (client, port), (server, _) = ends if ends[1][1] == 443 else ends[::-1]
        truth[row] = world.connection_of[client, port, server]
    return truth


def score(machine: Associator, world: World) -> Score:
    """Compare an associator's connections with the truth, over subflows that it saw."""
    truth = truth_of(machine, world)
    rows = np.array(list(truth), np.int64)
    both = np.stack((np.array(list(truth.values()), np.int64), machine.domain.groups.label[rows]), axis=1)
    points = machine.domain.table.rows["space"][rows]["points"] > 0
    is_known, has_number = points.all(axis=1), points.any(axis=1)
    right, found = _pairs(both), _pairs(both[:, 1])
    members: dict[int, set[int]] = {}
    labels: dict[int, set[int]] = {}
    for one, label in both.tolist():
        members.setdefault(one, set()).add(label)
        labels.setdefault(label, set()).add(one)
    exact = sum(len(names) == 1 and labels[min(names)] == {one} for one, names in members.items())
    return Score(
        recall=_ratio(_pairs(both[has_number]), _pairs(both[has_number, 0])),
        recall_both=_ratio(_pairs(both[is_known]), _pairs(both[is_known, 0])),
        precision=_ratio(right, found),
        exact=_ratio(exact, len(members)),
        unseen=1 - len(rows) / len(world.connection_of),
        wrong_pairs=found - right,
        seen_subflows=len(rows),
    )
