"""What must not matter: the order of subflows' packets, where steps are cut, second observers, where numbers begin."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.mptcp.engine.associator import Associator
from apps.mptcp.engine.records import Has, PacketRecords
from apps.mptcp.engine.values import Connection
from tests.support.mptcp_model import Model, World, make_world, score
from tests.support.mptcp_wire import partition

worlds = st.builds(
    lambda seed, width, has_tokens, queue_s, addresses: make_world(
        Model(
            connections=8, sampling=0.02, duration_s=8, width=width, has_tokens=has_tokens, queue_s=queue_s,
            server_addresses=addresses, seed=seed,
        )
    ),
    st.integers(0, 10_000), st.sampled_from([64, 64, 32, 48]), st.booleans(), st.sampled_from([0.0, 0.1, 0.4]),
    st.sampled_from([1, 2]),
)  # fmt: skip
slow = settings(deadline=None, max_examples=25)


def drive(world: World, *, change=lambda part: [part], snapshot_at: int = -1) -> Associator:  # type: ignore[no-untyped-def]
    """Step and tick second by second; ``change`` may reorder or cut a second's packets."""
    machine = Associator()
    for index, part in enumerate(world.parts()):
        for piece in change(part):
            if len(piece):
                machine.step(piece, index + 1.0)
        machine.tick(index + 1.0)
        if index == snapshot_at:
            machine = Associator.restore(machine.snapshot())
    return machine


def flows_of(records: PacketRecords) -> list[tuple[int, ...]]:
    ports = np.minimum(records.src_port, records.dst_port), np.maximum(records.src_port, records.dst_port)
    low, high = np.minimum(records.src_lo, records.dst_lo), np.maximum(records.src_lo, records.dst_lo)
    return list(zip(low.tolist(), high.tolist(), ports[0].tolist(), ports[1].tolist(), strict=True))


@slow
@given(worlds, st.randoms(use_true_random=False))
def test_the_order_of_packets_of_different_subflows(world: World, random) -> None:  # type: ignore[no-untyped-def]
    def mixed(part: PacketRecords) -> list[PacketRecords]:
        queues: dict[tuple[int, ...], list[int]] = {}
        for index, flow in enumerate(flows_of(part)):
            queues.setdefault(flow, []).append(index)
        order: list[int] = []
        while queues:
            flow = random.choice(sorted(queues))
            order.append(queues[flow].pop(0))
            if not queues[flow]:
                del queues[flow]
        return [part.rows(np.array(order, int))]

    assert partition(drive(world, change=mixed)) == partition(drive(world))


@slow
@given(worlds, st.lists(st.floats(0, 1), max_size=4))
def test_where_steps_are_cut(world: World, cuts: list[float]) -> None:
    def cut(part: PacketRecords) -> list[PacketRecords]:
        places = sorted(int(one * len(part)) for one in cuts)
        return [part.rows(piece) for piece in np.split(np.arange(len(part)), places)]

    whole, pieces = drive(world), drive(world, change=cut)
    assert pieces.connections() == whole.connections()
    assert pieces.counters == whole.counters


@slow
@given(worlds)
def test_a_second_observer_of_the_same_packets(world: World) -> None:
    def doubled(part: PacketRecords) -> list[PacketRecords]:
        other = part.copy(observer=np.full(len(part), 3, np.uint16), at_us=part.at_us + 700)
        both = PacketRecords.joined([part, other])
        return [both.rows(np.argsort(both.at_us, kind="stable"))]

    once, twice = drive(world), drive(world, change=doubled)
    assert partition(twice) == partition(once)
    assert twice.counters["packets"] == 2 * once.counters["packets"]
    assert all(subflow.seen_by == (0, 3) for one in twice.connections() for subflow in one.subflows)


@slow
@given(worlds, st.integers(0, (1 << 64) - 1))
def test_where_numbers_begin(world: World, shift: int) -> None:
    """Keys tell where numbers begin, so they are left out."""
    keyless = ~np.uint32(Has.KEY | Has.PEER_KEY | Has.CAPABLE_MAP)
    plain = world.records.copy(has=world.records.has & keyless)

    def moved(values: np.ndarray, is_known: np.ndarray, is_wide: np.ndarray) -> np.ndarray:
        added = values + np.uint64(shift)
        return np.where(is_known, np.where(is_wide, added, added & np.uint64(0xFFFFFFFF)), values)

    has = plain.has
    dsn = moved(plain.dsn, has & np.uint32(Has.DSN) != 0, has & np.uint32(Has.DSN_64) != 0)
    ack = moved(plain.data_ack, has & np.uint32(Has.DATA_ACK) != 0, has & np.uint32(Has.DATA_ACK_64) != 0)
    shifted = plain.copy(dsn=dsn, data_ack=ack)
    there = drive(World(shifted, world.connection_of))
    assert partition(there) == partition(drive(World(plain, world.connection_of)))


@slow
@given(worlds, st.integers(0, 7))
def test_written_down_and_read_in_the_middle(world: World, second: int) -> None:
    straight, restored = drive(world), drive(world, snapshot_at=second)
    assert restored.connections() == straight.connections()
    assert restored.counters == straight.counters


@slow
@given(worlds)
def test_changes_tell_the_whole_story(world: World) -> None:
    """Whoever only listens knows the same connections as who asks."""
    machine, heard = Associator(), dict[int, set[int]]()
    for index, part in enumerate(world.parts()):
        changes = (*machine.step(part, index + 1.0), *machine.tick(index + 1.0))
        for change in changes:
            if change.kind == "connection_found":
                heard[change.connection] = {change.connection}
            elif change.kind in ("subflow_joined", "connections_merged"):
                assert change.other is not None
                heard[change.connection] |= heard.pop(change.other)
            elif change.kind == "connection_split":
                # A split names both parts; their subflows are asked for.
                for number in (change.connection, change.other):
                    assert number is not None
                    heard[number] = _subflows(machine.connection(number))
    assert heard == {one.id: _subflows(one) for one in machine.connections()}


def _subflows(connection: Connection | None) -> set[int]:
    assert connection is not None
    return {subflow.id for subflow in connection.subflows}


@slow
@given(worlds)
def test_no_stranger_is_joined(world: World) -> None:
    assert score(drive(world), world).wrong_pairs == 0
