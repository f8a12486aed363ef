"""Merging: fields by last writer, undeclared changes found, and the machine against a dumb twin in a small world."""

import itertools
import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chains.engine.fields import Field
from apps.chains.engine.frame_builder import FrameParts, build_frame
from apps.chains.engine.merging import (
    Conflict,
    Fate,
    Merger,
    Released,
    find_conflict,
    merge_packets,
    undeclared_writes,
)
from apps.chains.engine.operators import MergeRule
from apps.chains.engine.packet import Packet, parse
from apps.chains.engine.protocols import TCP
from tests.chains.engine.checking import are_checksums_right

FRAME = build_frame(FrameParts(b"\x0a\0\0\x01", b"\x0a\0\0\x02", TCP, b"payload", 1000, 80, ttl=9))
NOTHING: frozenset[Field] = frozenset()
PLAIN2 = MergeRule(2, 0, (), 0, (NOTHING, NOTHING))
PLAIN3 = MergeRule(3, 0, (), 0, (NOTHING, NOTHING, NOTHING))


def changed(field: Field, value: int | bytes, is_header_only: bool = False) -> Packet:
    packet = parse(FRAME).header_copy() if is_header_only else parse(FRAME)
    packet.set(field, value)
    return packet


def test_each_field_comes_from_its_last_writer() -> None:
    rule = MergeRule(
        3,
        0,
        ((Field.IP_DST, 1), (Field.DST_PORT, 2)),
        2,
        (frozenset({Field.PAYLOAD}), frozenset({Field.IP_DST}), frozenset({Field.IP_DST, Field.DST_PORT})),
    )
    last = changed(Field.IP_DST, 99, True)
    last.set(Field.DST_PORT, 443)
    merged = merge_packets(
        rule, [changed(Field.PAYLOAD, b"sealed!"), changed(Field.IP_DST, 77, True), last], is_checked=True
    )
    assert isinstance(merged, Packet)
    expected = changed(Field.PAYLOAD, b"sealed!")
    for field, value in ((Field.IP_DST, 77), (Field.DST_PORT, 443), (Field.IP_TTL, 7)):
        expected.set(field, value)
    assert merged.data == expected.data
    assert are_checksums_right(merged)


def test_base_keeps_its_structure_and_lengths() -> None:
    base = parse(FRAME)
    base.add_ah(256, 1, bytes(12))
    rule = MergeRule(2, 0, ((Field.IP_TOS, 1),), 0, (NOTHING, frozenset({Field.IP_TOS})))
    merged = merge_packets(rule, [base, changed(Field.IP_TOS, 0xB8, True)], is_checked=True)
    assert isinstance(merged, Packet)
    assert len(merged.data) == len(FRAME) + 24
    assert merged.get(Field.IP_TOS) == 0xB8
    assert are_checksums_right(merged)


def test_ttl_never_goes_below_zero() -> None:
    merged = merge_packets(MergeRule(2, 0, (), 200, (NOTHING, NOTHING)), [parse(FRAME), parse(FRAME)])
    assert isinstance(merged, Packet)
    assert merged.get(Field.IP_TTL) == 0


def test_undeclared_change_is_found_and_blamed_as_far_as_can_be_known() -> None:
    bad = changed(Field.IP_DST, 1)
    assert merge_packets(PLAIN2, [parse(FRAME), bad.copy()], is_checked=True) == Conflict(
        Field.IP_DST, 0, (0, 1)
    )
    assert merge_packets(PLAIN3, [parse(FRAME), parse(FRAME), bad.copy()], is_checked=True) == Conflict(
        Field.IP_DST, 2, (2,)
    )
    exact = merge_packets(PLAIN2, [parse(FRAME), bad.copy()], original=parse(FRAME))
    assert exact == Conflict(Field.IP_DST, 1, (1,))
    declared = MergeRule(2, 0, ((Field.IP_DST, 1),), 0, (NOTHING, frozenset({Field.IP_DST})))
    assert isinstance(merge_packets(declared, [parse(FRAME), bad.copy()], is_checked=True), Packet)


def test_headers_alone_say_nothing_of_the_payload() -> None:
    branches = [parse(FRAME), parse(FRAME).header_copy()]
    assert find_conflict(PLAIN2, branches) is None
    assert find_conflict(PLAIN3, [*branches, changed(Field.PAYLOAD, b"PAYLOAD")]) == Conflict(
        Field.PAYLOAD, 0, (0, 2)
    )


@pytest.mark.parametrize(
    ("field", "value"), [(Field.ETH_DST, 1), (Field.PAYLOAD, b"other"), (Field.TCP_FLAGS, 2)]
)
def test_one_function_s_own_change_is_seen_exactly(field: Field, value: int | bytes) -> None:
    after = changed(field, value)
    assert undeclared_writes(parse(FRAME), after, NOTHING) == (field,)
    assert undeclared_writes(parse(FRAME), after, frozenset({field})) == ()


# The machine. A small world: two or three branches, three packets; per branch each packet arrives, arrives as
# nil, or never. Every interleaving that keeps the order within each branch.

PACKET, NIL, GONE = "packet", "nil", "gone"


def interleavings(streams: Sequence[Sequence[tuple[int, str]]]) -> Iterator[list[tuple[int, int, str]]]:
    """Yield every order of arrivals (branch, id, what) that keeps each stream's own order."""
    if not any(streams):
        yield []
        return
    for branch, stream in enumerate(streams):
        if stream:
            rest = [list(other) for other in streams]
            packet_id, what = rest[branch].pop(0)
            for tail in interleavings(rest):
                yield [(branch, packet_id, what), *tail]


def dumb_fates(streams: Sequence[dict[int, str]], ids: Sequence[int]) -> dict[int, Fate]:
    """Return each packet's fate from what ever arrives, by a dictionary and no order."""
    fates: dict[int, Fate] = {}
    for packet_id in ids:
        got = [stream.get(packet_id, GONE) for stream in streams]
        if all(one == GONE for one in got):
            continue
        if GONE not in got:
            fates[packet_id] = Fate.DROPPED if NIL in got else Fate.MERGED
            continue
        is_known = all(max(stream, default=-1) >= packet_id for stream in streams)
        fates[packet_id] = Fate.LOST if is_known else Fate.TIMED_OUT
    return fates


def feed(merger: Merger, arrivals: Sequence[tuple[int, int, str]]) -> list[Released]:
    """Return everything released, after a time-out at the end."""
    released: list[Released] = []
    for now_us, (branch, packet_id, what) in enumerate(arrivals):
        packet = parse(FRAME) if what == PACKET else None
        released += merger.push(branch, packet_id, packet, now_us, at_us=packet_id * 10, dropped_by=branch)
    return released + merger.expire(len(arrivals) + merger.timeout_us)


def check_end(merger: Merger, released: Sequence[Released]) -> None:
    """Assert what holds at the end of any story."""
    ids = [one.packet_id for one in released]
    assert ids == sorted(set(ids)), "released out of order, or twice"
    assert merger.depth == 0
    assert merger.next_expiry_us() is None
    for one in released:
        assert (one.packet is not None) == (one.fate is Fate.MERGED)
        assert one.at_us == one.packet_id * 10
    for fate in Fate:
        assert merger.counters[fate] == sum(one.fate is fate for one in released)
    assert sum(merger.dropped_by.values()) == merger.counters[Fate.DROPPED]
    assert sum(merger.lost_by.values()) == merger.counters[Fate.LOST]
    assert sum(merger.timed_out_by.values()) == merger.counters[Fate.TIMED_OUT]


def test_every_interleaving_of_two_branches_ends_as_the_twin_says() -> None:
    """All 729 pairs of streams of three packets, in all orders of arrival."""
    count = 0
    for kinds in itertools.product((PACKET, NIL, GONE), repeat=6):
        streams = [
            {packet_id: what for packet_id, what in zip((1, 2, 3), part, strict=True) if what != GONE}
            for part in (kinds[:3], kinds[3:])
        ]
        expected = dumb_fates(streams, (1, 2, 3))
        for arrivals in interleavings([list(stream.items()) for stream in streams]):
            merger = Merger(PLAIN2)
            released = feed(merger, arrivals)
            check_end(merger, released)
            assert {one.packet_id: one.fate for one in released} == expected, arrivals
            assert merger.counters["late"] == 0
            count += 1
    assert count > 4000


@settings(max_examples=200)
@given(st.integers(0, 10**9))
def test_random_streams_of_three_branches_end_as_the_twin_says(seed: int) -> None:
    """In random orders of arrival, which must not matter; and all that was pushed is accounted for."""
    rng = random.Random(seed)
    ids = range(1, 12)
    streams = [{number: rng.choice((PACKET, PACKET, PACKET, NIL, GONE)) for number in ids} for _ in range(3)]
    streams = [{key: what for key, what in stream.items() if what != GONE} for stream in streams]
    left = [list(stream.items()) for stream in streams]
    arrivals: list[tuple[int, int, str]] = []
    while any(left):
        branch = rng.choice([one for one in range(3) if left[one]])
        arrivals.append((branch, *left[branch].pop(0)))
    merger = Merger(PLAIN3)
    released = feed(merger, arrivals)
    check_end(merger, released)
    assert {one.packet_id: one.fate for one in released} == dumb_fates(streams, ids)
    assert merger.counters["late"] == 0


def test_nil_names_the_function_that_comes_first() -> None:
    merger = Merger(PLAIN3)
    merger.push(0, 1, None, 0, dropped_by=5)
    merger.push(1, 1, parse(FRAME), 0)
    (released,) = merger.push(2, 1, None, 0, dropped_by=3)
    assert (released.fate, released.dropped_by) == (Fate.DROPPED, 3)
    assert merger.snapshot()["dropped_by"] == {"3": 1}


def test_nothing_is_decided_before_its_time() -> None:
    merger = Merger(PLAIN2, timeout_us=100)
    assert merger.push(0, 1, parse(FRAME), 50) == []
    assert merger.next_expiry_us() == 150
    assert merger.expire(149) == []
    (released,) = merger.expire(150)
    assert (released.fate, released.branch) == (Fate.TIMED_OUT, 1)
    assert merger.push(1, 1, parse(FRAME), 151) == []
    assert merger.counters["late"] == 1


def test_what_waited_behind_a_lost_packet_comes_out_with_it() -> None:
    merger = Merger(PLAIN2)
    for packet_id in (1, 2, 3):
        merger.push(0, packet_id, parse(FRAME), 0)
    assert [(one.packet_id, one.fate) for one in merger.push(1, 3, parse(FRAME), 0)] == [
        (1, Fate.LOST),
        (2, Fate.LOST),
        (3, Fate.MERGED),
    ]
    assert merger.lost_by == {1: 2}


def test_disorder_in_a_branch_is_late_and_never_merges_strangers() -> None:
    merger = Merger(PLAIN2)
    merger.push(0, 1, parse(FRAME), 0)
    merger.push(0, 2, parse(FRAME), 0)
    assert [one.fate for one in merger.push(1, 2, parse(FRAME), 0)] == [Fate.LOST, Fate.MERGED]
    assert merger.push(1, 1, parse(FRAME), 0) == []
    assert merger.counters["late"] == 1


def test_table_is_bounded() -> None:
    merger = Merger(PLAIN2, entries_max=4)
    released: list[Released] = []
    for packet_id in range(1, 8):
        released += merger.push(0, packet_id, parse(FRAME), 0)
        assert merger.depth <= 4
    assert [one.packet_id for one in released] == [1, 2, 3]
    assert all(one.fate is Fate.TIMED_OUT for one in released)
    assert merger.counters["table_full"] == 3
    assert [one.fate for one in merger.push(1, 4, parse(FRAME), 0)] == [Fate.MERGED]


def test_conflict_is_never_released() -> None:
    merger = Merger(PLAIN3, is_checked=True)
    merger.push(0, 1, parse(FRAME), 0)
    merger.push(1, 1, changed(Field.IP_DST, 5), 0)
    (released,) = merger.push(2, 1, parse(FRAME), 0)
    assert (released.fate, released.packet, released.branch) == (Fate.CONFLICT, None, 1)
    assert released.conflict == Conflict(Field.IP_DST, 1, (1,))
    assert merger.snapshot()["conflict_by"] == {"1": 1}
