"""Checksums: against addition word by word, for every small case and random ones."""

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from apps.chains.engine.checksum import changed_checksum, checksum_of, word_sum
from tests.chains.engine.checking import words_of


@given(st.binary(max_size=80))
def test_sum_equals_addition_word_by_word(data: bytes) -> None:
    assert word_sum(data) % 0xFFFF == words_of(data) % 0xFFFF


@given(st.binary(min_size=2, max_size=60), st.integers(0, 29), st.integers(0, 0xFFFF))
def test_change_equals_computing_anew(data: bytes, index: int, new: int) -> None:
    """RFC 1624 eq. 3, for any word of any data."""
    at = 2 * (index % (len(data) // 2))
    old = int.from_bytes(data[at : at + 2], "big")
    changed = data[:at] + new.to_bytes(2, "big") + data[at + 2 :]
    for is_udp in (False, True):
        before = checksum_of(word_sum(data), is_udp=is_udp)
        after = changed_checksum(before, old, new, is_udp=is_udp)
        assert after == checksum_of(word_sum(changed), is_udp=is_udp)


def test_one_form_of_zero_whatever_the_path() -> None:
    """0x0000 and 0xFFFF are equal sums; only one of them is ever written, so that orders of changes agree."""
    rng = random.Random(1)
    for _ in range(2000):
        start, values = rng.randrange(0xFFFF), [rng.choice((0, 1, 0xFFFE, 0xFFFF)) for _ in range(4)]
        direct = changed_checksum(start, values[0], values[-1])
        stepwise = start
        for old, new in itertools.pairwise(values):
            stepwise = changed_checksum(stepwise, old, new)
        assert stepwise == direct
        assert direct != 0xFFFF
        assert changed_checksum(start, values[0], values[-1], is_udp=True) != 0
