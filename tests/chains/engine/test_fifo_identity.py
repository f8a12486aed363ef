"""FIFO inference against a twin that keeps every packet in one list and looks through all of it each time."""

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.chains.engine import fifo_identity
from apps.chains.engine.fields import Field
from apps.chains.engine.fifo_identity import FifoIdentity, fingerprint_of
from apps.chains.engine.frame_builder import FrameParts, build_frame
from apps.chains.engine.packet import parse
from apps.chains.engine.protocols import TCP

TIMEOUT_US = 100
Event = tuple[str, str]


class Twin:
    """The same, dumb: one row per packet that ever entered."""

    def __init__(self) -> None:
        self.rows: list[
            list[object]
        ] = []  # fingerprint, entered at, fate: "" inside, passed, dropped, came after all
        self.counters: Counter[str] = Counter()

    def inside(self) -> list[int]:
        return [index for index, row in enumerate(self.rows) if row[2] == ""]

    def enter(self, fingerprint: str, now_us: int) -> None:
        self.rows.append([fingerprint, now_us, ""])
        self.counters["entered"] += 1

    def leave(self, fingerprint: str) -> list[tuple[int, str]] | None:
        for index in self.inside():
            if self.rows[index][0] == fingerprint:
                fates = self._drop([other for other in self.inside() if other < index], "inferred_drops")
                self.rows[index][2] = "passed"
                self.counters["matched"] += 1
                return [*fates, (index, "passed")]
        for row in self.rows:
            if row[0] == fingerprint and row[2] == "dropped":
                row[2] = "came after all"
                self.counters["overtaken"] += 1
                return None
        self.counters["unmatched"] += 1
        return None

    def pass_marker(self, entered_count: int) -> list[tuple[int, str]]:
        return self._drop([index for index in self.inside() if index < entered_count], "inferred_drops")

    def hold(self, now_us: int) -> None:
        self.rows.append([None, now_us, ""])

    def expire(self, now_us: int) -> list[tuple[int, str]]:
        return self._drop(
            [index for index in self.inside() if now_us - int(str(self.rows[index][1])) >= TIMEOUT_US],
            "timed_out",
        )

    def _drop(self, indexes: list[int], counter: str) -> list[tuple[int, str]]:
        for index in indexes:
            self.rows[index][2] = "dropped"
            self.counters[counter] += self.rows[index][0] is not None
        return [(index, "dropped") for index in indexes]


class Both:
    """Machine and twin side by side; every answer is compared."""

    def __init__(self) -> None:
        self.machine = FifoIdentity(TIMEOUT_US)
        self.twin = Twin()
        self.now_us = 0
        self.settled: list[tuple[int, str]] = []
        self.markers: list[tuple[int, int]] = []

    def do(self, kind: str, letter: str) -> None:
        if kind == "enter":
            self.machine.enter(letter, letter.encode(), self.now_us)
            self.twin.enter(letter, self.now_us)
        elif kind == "leave":
            self._compare(self.machine.leave(letter), self.twin.leave(letter), has_passed=True)
        elif kind == "hold":
            self.machine.hold(self.now_us)
            self.twin.hold(self.now_us)
        elif kind == "mark":
            self.markers.append((self.machine.mark(), len(self.twin.rows)))
        elif kind == "marker":
            if self.markers:
                number, entered_count = self.markers.pop(0)
                self._compare(
                    self.machine.pass_marker(number), self.twin.pass_marker(entered_count), has_passed=False
                )
        else:
            self.now_us += TIMEOUT_US // 2
            self._compare(self.machine.expire(self.now_us), self.twin.expire(self.now_us), has_passed=False)
        assert self.machine.counters == +self.twin.counters
        assert self.machine.depth == len(self.twin.inside())

    def _compare(self, dropped: int | None, fates: list[tuple[int, str]] | None, *, has_passed: bool) -> None:
        if fates is None:
            assert dropped is None
            return
        assert dropped is not None
        first = len(self.settled)
        found = [(first + index, "dropped") for index in range(dropped)]
        if has_passed:
            found.append((first + dropped, "passed"))
        assert found == fates
        self.settled += found


EVENTS = [(kind, letter) for kind in ("enter", "leave") for letter in "ab"] + [
    ("hold", ""),
    ("mark", ""),
    ("marker", ""),
    ("wait", ""),
]


def test_small_world() -> None:
    """All sequences of five events over two fingerprints."""
    for events in itertools.product(EVENTS, repeat=5):
        both = Both()
        for kind, letter in events:
            both.do(kind, letter)


@given(st.lists(st.sampled_from([*EVENTS, ("enter", "c"), ("leave", "c"), ("leave", "x")]), max_size=60))
def test_any_sequence(events: Sequence[Event]) -> None:
    both = Both()
    for kind, letter in events:
        both.do(kind, letter)


@pytest.mark.parametrize("letters", ["abcde", "abab", "aabba", "aaaa", "abcab"])
def test_every_pattern_of_drops_keeps_bytes_and_order(letters: str) -> None:
    """Whatever a function in order drops: what is released is what came out, each as a packet with these bytes."""
    for kept in itertools.product((False, True), repeat=len(letters)):
        out = [letter for letter, is_kept in zip(letters, kept, strict=True) if is_kept]
        released, dropped = _run(letters, out)
        assert [letters[index] for index in released] == out
        assert released == sorted(set(released))
        assert sorted(released + dropped) == list(range(len(letters)))
        if len(set(letters)) == len(letters):
            assert released == [index for index, is_kept in enumerate(kept) if is_kept]


@pytest.mark.parametrize("letters", ["abcd", "aabc", "abab"])
def test_whatever_comes_out_in_whatever_order_nothing_wrong_is_released(letters: str) -> None:
    """Reordered, doubled, made up: a released packet has the bytes that came out, none twice, none out of order."""
    for size in range(len(letters) + 2):
        for out in itertools.product(sorted({*letters, "x"}), repeat=size):
            both = Both()
            for letter in letters:
                both.do("enter", letter)
            both.do("mark", "")
            released = []
            for letter in out:
                before = len(both.settled)
                both.do("leave", letter)
                released += [(index, letter) for index, fate in both.settled[before:] if fate == "passed"]
            both.do("marker", "")
            assert all(letters[index] == letter for index, letter in released)
            assert [index for index, _ in released] == sorted({index for index, _ in released})
            assert len(both.settled) == len(letters)


def _run(letters: str, out: Sequence[str]) -> tuple[list[int], list[int]]:
    machine = FifoIdentity(TIMEOUT_US)
    for letter in letters:
        machine.enter(letter, letter.encode(), 0)
    number = machine.mark()
    released: list[int] = []
    dropped: list[int] = []
    at = 0
    for letter in out:
        count = machine.leave(letter)
        assert count is not None
        dropped += range(at, at + count)
        released.append(at + count)
        at += count + 1
    dropped += range(at, at + machine.pass_marker(number))
    return released, dropped


def test_a_marker_says_nothing_of_packets_behind_it() -> None:
    machine = FifoIdentity(TIMEOUT_US)
    machine.enter("a", b"a", 0)
    number = machine.mark()
    machine.enter("b", b"b", 0)
    assert machine.pass_marker(number) == 1
    assert machine.pass_marker(number) == 0
    assert machine.depth == 1


def test_what_differs_beside_the_fingerprint_is_confusable_until_it_left() -> None:
    machine = FifoIdentity(TIMEOUT_US)
    machine.enter("key", b"one", 0)
    assert not machine.is_confusable("key", b"one")
    assert machine.is_confusable("key", b"two")
    with pytest.raises(AssertionError):
        machine.enter("key", b"two", 0)
    assert machine.leave("key") == 0
    assert not machine.is_confusable("key", b"two")


def test_memory_of_what_was_given_up_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fifo_identity, "GIVEN_UP_MAX", 2)
    machine = FifoIdentity(TIMEOUT_US)
    for letter in "abc":
        machine.enter(letter, letter.encode(), 0)
    assert machine.pass_marker(machine.mark()) == 3
    assert [machine.leave(letter) for letter in "abc"] == [None] * 3
    assert machine.counters["unmatched"] == 1
    assert machine.counters["overtaken"] == 2


def test_fingerprints_ignore_what_is_written_and_nothing_else() -> None:
    parts = FrameParts(b"\x0a\0\0\1", b"\x0a\0\0\2", TCP, b"hello", 1000, 80)
    frame = build_frame(parts)
    for field in Field:
        packet = parse(frame)
        before = packet.get(field)
        if before is None or field is Field.IP_PROTO:
            continue
        packet.set(field, b"HELLO" if isinstance(before, bytes) else before ^ 1)
        changed = bytes(packet.data)
        assert changed != frame
        assert fingerprint_of(changed, frozenset()) != fingerprint_of(frame, frozenset())
        assert fingerprint_of(changed, frozenset({field})) == fingerprint_of(frame, frozenset({field}))
        other = Field.IP_TOS if field is not Field.IP_TOS else Field.IP_TTL
        assert fingerprint_of(changed, frozenset({other})) != fingerprint_of(frame, frozenset({other}))
