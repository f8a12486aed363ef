"""Probes: what is sent is what arrives; whatever else arrives is refused, never raised."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.wan.engine.probe_codec import (
    KEY_BYTES,
    MAX_LINKS,
    PROBE_BYTES,
    Probe,
    ProbeFault,
    ReplayGuard,
    decode_probe,
    encode_probe,
    link_id,
)

KEY = bytes(range(KEY_BYTES))
FIBER = link_id("fiber")


def unsigned(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


probes = st.builds(
    Probe,
    boot_id=unsigned(62),
    link_id=unsigned(32),
    seq=unsigned(32),
    sent_ns=unsigned(64),
    echo_sent_ns=st.none() | unsigned(64),
    echo_held_us=unsigned(32),
    rx_down=st.frozensets(st.integers(0, MAX_LINKS - 1)),
)


def probe(boot_id: int = 1, seq: int = 1, link: int = FIBER) -> Probe:
    return Probe(boot_id, link, seq, sent_ns=5)


def test_a_probe_is_sixty_bytes_and_the_layout_of_the_docstring() -> None:
    data = encode_probe(KEY, Probe(1, FIBER, 2, 3, 4, 5, frozenset({0, 31})))
    assert len(data) == PROBE_BYTES == 60
    assert struct.unpack("!HBBQIIQQII", data[:44]) == (0x4E57, 1, 1, 1, FIBER, 2, 3, 4, 5, 0x80000001)


@given(probes)
def test_what_is_sent_is_what_arrives(sent: Probe) -> None:
    assert decode_probe(KEY, encode_probe(KEY, sent)) == sent


@given(st.binary(max_size=2 * PROBE_BYTES) | st.binary(min_size=PROBE_BYTES, max_size=PROBE_BYTES))
def test_arbitrary_bytes_are_refused_and_never_raise(data: bytes) -> None:
    assert isinstance(decode_probe(KEY, data), ProbeFault)


@given(probes, st.integers(0, PROBE_BYTES * 8 - 1))
def test_one_flipped_bit_is_refused(sent: Probe, bit: int) -> None:
    data = bytearray(encode_probe(KEY, sent))
    data[bit // 8] ^= 1 << bit % 8
    decoded = decode_probe(KEY, bytes(data))
    assert isinstance(decoded, ProbeFault)
    assert decoded.kind == ("magic" if bit < 16 else "version" if bit < 24 else "tag")


@given(probes, st.integers(0, PROBE_BYTES - 1))
def test_every_truncation_is_refused(sent: Probe, length: int) -> None:
    assert decode_probe(KEY, encode_probe(KEY, sent)[:length]) == ProbeFault("length")


@given(probes, st.binary(min_size=1, max_size=4))
def test_a_longer_datagram_is_refused(sent: Probe, more: bytes) -> None:
    assert decode_probe(KEY, encode_probe(KEY, sent) + more) == ProbeFault("length")


@given(probes, st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES).filter(lambda key: key != KEY))
def test_another_key_is_refused(sent: Probe, key: bytes) -> None:
    assert decode_probe(key, encode_probe(KEY, sent)) == ProbeFault("tag")


@pytest.mark.parametrize(
    ("later", "kind"),
    [
        (probe(boot_id=7, seq=5), "replay"),
        (probe(boot_id=7, seq=4), "replay"),
        (probe(boot_id=6, seq=9), "replay"),
        (probe(boot_id=7, seq=9, link=link_id("dsl")), "link"),
        (ProbeFault("tag"), "tag"),
    ],
)
def test_the_guard_refuses_and_counts(later: Probe | ProbeFault, kind: str) -> None:
    guard = ReplayGuard(FIBER)
    assert guard.admit(probe(boot_id=7, seq=5)) is not None
    assert guard.admit(later) is None
    assert guard.refused == {kind: 1}
    assert guard.admit(probe(boot_id=7, seq=6)) is not None, "a refused probe must not move the window"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30))
def test_the_guard_admits_only_what_is_newer_than_all_before(arrivals: list[tuple[int, int]]) -> None:
    guard = ReplayGuard(FIBER)
    newest = (0, -1)
    for arrival in arrivals:
        admitted = guard.admit(probe(*arrival))
        assert (admitted is not None) == (arrival > newest)
        newest = max(newest, arrival)


def test_the_sequence_may_outgrow_its_field() -> None:
    """At 1 ms a number of 32 bits lasts 50 days; the peer must not be taken for a replay afterwards."""
    guard = ReplayGuard(FIBER)
    for seq in (2**32 - 1, 2**32, 2**32 + 1, 2**33):
        assert guard.admit(decode_probe(KEY, encode_probe(KEY, probe(boot_id=7, seq=seq)))) is not None
    assert guard.refused.total() == 0


def test_names_of_links_differ_in_their_numbers() -> None:
    assert len({link_id(f"link-{number}") for number in range(MAX_LINKS)}) == MAX_LINKS
