"""Filters of rows, each against a plain reading of what it promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.mptcp.engine import filters
from apps.mptcp.engine.records import COLUMNS, Has, PacketRecords, TcpFlag
from nfvportal.lib.errors import InvalidInputError
from tests.mptcp.engine.decoding import decode_frames, rows_of
from tests.mptcp.engine.packet_strategies import whole_frames


def some_records(count: int, seed: int = 1) -> PacketRecords:
    """Return rows of random numbers in all columns."""
    rng = np.random.default_rng(seed)
    records = PacketRecords.zeros(count)
    for name, dtype in COLUMNS.items():
        limit = min(np.iinfo(dtype).max, 2**63 - 1)
        getattr(records, name)[:] = rng.integers(0, limit, count, dtype=np.uint64)
    records.at_us[:] = np.sort(rng.integers(0, 10_000_000, count))
    return records


def test_sampling_is_independent_seeded_and_of_the_right_rate() -> None:
    records = some_records(100_000)
    kept = filters.sample(records, 0.01, np.random.default_rng(5))
    again = filters.sample(records, 0.01, np.random.default_rng(5))
    other = filters.sample(records, 0.01, np.random.default_rng(6))
    assert 850 < len(kept) < 1150  # 5 standard deviations
    assert kept.dsn.tolist() == again.dsn.tolist() != other.dsn.tolist()
    assert np.isin(kept.dsn, records.dsn).all()
    assert filters.sample(records, 1, np.random.default_rng(5)) is records
    for wrong in (0, -1, 1.01, float("nan")):
        with pytest.raises(InvalidInputError, match="sample: must be above 0"):
            filters.sample(records, wrong, np.random.default_rng(5))


def test_sampling_does_not_depend_on_batches() -> None:
    records = some_records(1000)
    rng = np.random.default_rng(3)
    parts = [filters.sample(records.rows(slice(at, at + 130)), 0.1, rng) for at in range(0, 1000, 130)]
    whole = filters.sample(records, 0.1, np.random.default_rng(3))
    assert PacketRecords.joined(parts).dsn.tolist() == whole.dsn.tolist()


def test_a_late_start_counts_from_the_first_row_of_all_batches() -> None:
    records = some_records(1000)
    start = filters.StartAfter(3)
    parts = [start(records.rows(slice(at, at + 130))) for at in range(0, 1000, 130)]
    expected = records.at_us[records.at_us >= records.at_us[0] + 3_000_000]
    assert PacketRecords.joined(parts).at_us.tolist() == expected.tolist()
    with pytest.raises(InvalidInputError, match="start_after"):
        filters.StartAfter(-1)


def four_way() -> PacketRecords:
    """Return rows between two hosts: by ports, by a SYN that says otherwise, and by addresses."""
    records = PacketRecords.zeros(6)
    records.src_lo[:] = [1, 2, 1, 2, 1, 2]
    records.dst_lo[:] = [2, 1, 2, 1, 2, 1]
    records.src_port[:] = [40_000, 443, 700, 9000, 5, 5]
    records.dst_port[:] = [443, 40_000, 9000, 700, 5, 5]
    return records


def test_one_direction_by_port_address_or_syn() -> None:
    records = four_way()
    assert filters.Direction("c2s")(records).src_port.tolist() == [40_000, 9000, 5]
    assert filters.Direction("s2c")(records).src_port.tolist() == [443, 700, 5]
    records.tcp_flags[2] = TcpFlag.SYN
    keep = filters.Direction("c2s")
    assert keep(records).src_port.tolist() == [40_000, 700, 5]
    records.tcp_flags[2] = 0
    assert keep(records).src_port.tolist() == [40_000, 700, 5]
    with pytest.raises(InvalidInputError, match="direction"):
        filters.Direction("up")


@settings(max_examples=100, deadline=None)
@given(st.lists(whole_frames(), min_size=1, max_size=8))
def test_both_directions_are_all_rows_and_opposites_differ(frames: list) -> None:  # type: ignore[type-arg]
    records = PacketRecords.zeros(len(frames))
    rows, _ = decode_frames(frames)
    for index, row in enumerate(rows):
        for name, value in row.items():
            getattr(records, name)[index] = value
    records = records.rows(slice(len(rows)))
    c2s, s2c = filters.Direction("c2s")(records), filters.Direction("s2c")(records)
    assert len(c2s) + len(s2c) == len(records)


def test_without_tokens_nothing_of_a_handshake_is_left() -> None:
    records = some_records(20_000)
    records.has[:] = records.has & np.uint32(2**21 - 1) | np.uint32(Has.PRIO)
    left = filters.without_tokens(records)
    gone = Has.CAPABLE | Has.KEY | Has.PEER_KEY | Has.JOIN | Has.TOKEN | Has.CAPABLE_MAP | Has.FASTCLOSE
    assert not (left.tcp_flags & TcpFlag.SYN).any()
    assert not (left.has & np.uint32(gone)).any()
    for name in ("key", "peer_key", "token", "nonce", "version"):
        assert not getattr(left, name).any()
    without_syn = records.rows((records.tcp_flags & np.uint8(TcpFlag.SYN)) == 0)
    assert len(left) == len(without_syn)  # each says something else too
    assert left.dsn.tolist() == without_syn.dsn.tolist()


def test_a_row_that_was_only_handshake_is_gone_but_for_its_fin() -> None:
    records = PacketRecords.zeros(4)
    records.has[:] = [Has.CAPABLE | Has.KEY, Has.JOIN | Has.DSN, Has.CAPABLE, 0]
    records.tcp_flags[:] = [TcpFlag.ACK, TcpFlag.ACK, TcpFlag.FIN, TcpFlag.RST]
    assert filters.without_tokens(records).has.tolist() == [Has.DSN, 0, 0]


def test_cut_to_32_bits() -> None:
    records = some_records(100)
    cut = filters.width32(records)
    assert cut.dsn.tolist() == [value & 0xFFFFFFFF for value in records.dsn.tolist()]
    assert cut.data_ack.tolist() == [value & 0xFFFFFFFF for value in records.data_ack.tolist()]
    assert cut.has.tolist() == [value & ~int(Has.DSN_64 | Has.DATA_ACK_64) for value in records.has.tolist()]
    assert cut.ssn.tolist() == records.ssn.tolist()


def plain_deduplication(records: PacketRecords) -> list[int]:
    """Return the indexes kept: the twin, with whole keys in a dictionary."""
    names = ("src_hi", "src_lo", "dst_hi", "dst_lo", "src_port", "dst_port", "seq", "ack", "dsn", "data_ack",
             "payload_bytes", "tcp_flags")  # fmt: skip
    first: dict[tuple[int, ...], int] = {}
    kept = []
    for index, row in enumerate(rows_of(records)):
        key = tuple(row[name] for name in names)
        if first.setdefault(key, row["observer"]) == row["observer"]:
            kept.append(index)
    return kept


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from(["dsn", "seq", "src_lo"])),
        max_size=30,
    ),
    st.integers(1, 30),
)
def test_deduplication_like_the_twin(seen: list[tuple[int, int, str]], batch: int) -> None:
    records = PacketRecords.zeros(len(seen))
    for index, (observer, value, name) in enumerate(seen):
        records.observer[index] = observer
        getattr(records, name)[index] = value
        records.at_us[index] = index
    keep = filters.Deduplication()
    parts = [keep(records.rows(slice(at, at + batch))) for at in range(0, len(seen), batch)]
    assert PacketRecords.joined(parts).at_us.tolist() == plain_deduplication(records)
    assert keep.dropped_count == len(seen) - len(plain_deduplication(records))


def test_every_column_of_the_key_tells_packets_apart() -> None:
    names = ("src_hi", "src_lo", "dst_hi", "dst_lo", "src_port", "dst_port", "seq", "ack", "dsn", "data_ack",
             "payload_bytes", "tcp_flags")  # fmt: skip
    records = PacketRecords.zeros(len(names) * 8 + 1)
    for index, name in enumerate(names):
        for bit in range(8):
            getattr(records, name)[index * 8 + bit] = 1 << bit
    assert len(np.unique(filters.fingerprints(records))) == len(records)


def test_deduplication_forgets_in_bounded_memory() -> None:
    keep = filters.Deduplication(capacity=100)
    records = some_records(1000)
    for at in range(0, 1000, 50):
        keep(records.rows(slice(at, at + 50)))
    late = records.rows(slice(950, 1000))
    early = records.rows(slice(0, 50))
    for rows in (late, early):
        rows.observer[:] ^= 1
    assert len(keep(late)) == 0
    assert len(keep(early)) == 50
