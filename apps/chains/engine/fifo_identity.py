"""Which packet came out: identity of packets that crossed a network function which knows nothing of identities.

Such a function passes packets in order, or drops them. So what it puts out is matched with the earliest packet that is
still inside and agrees in everything the function does not write (its *fingerprint*); all before that one were dropped.
A *marker* is a frame of our own that passes behind the packets without being filtered: what is still inside when it
comes out was dropped.

    event            what becomes of packets inside, oldest first            counter
    enter(p)         p is inside                                             entered
    hold()           a place in the order is taken, by no packet             (none, ever)
    leave(f)         those before the first with fingerprint f: dropped      inferred_drops
                     the first with fingerprint f: passed                    matched
                     no such packet, but one given up before: none           overtaken
                     no such packet at all: none                             unmatched
    pass_marker(m)   those that entered before mark() returned m: dropped    inferred_drops
    expire(now)      those that entered a time-out ago or before: dropped    timed_out

What is *overtaken* or *unmatched* is never released: nobody knows which packet it is. Two packets that agree in the
fingerprint and differ elsewhere must not be inside together (``is_confusable``): if one is dropped, nobody can tell
which. Two equal packets may: whichever of them passes, the same bytes go on in the same place.

Source: the brief's "FIFO order + fingerprint of fields it does not write". Deviation: markers.
"""

from collections import Counter, deque
from collections.abc import Hashable

from apps.chains.engine.fields import Field
from apps.chains.engine.packet import parse

GIVEN_UP_MAX = 1024


class FifoIdentity:
    """The machine. It answers with numbers of packets, as their fates are settled in the order they entered.

    Args:
        timeout_us: how long a packet may stay inside.

    Complexity: O(1) per event, amortised.

    >>> inside = FifoIdentity(timeout_us=1000)
    >>> for frame in (b"a", b"b", b"c"):
    ...     inside.enter(frame, frame, 0)
    >>> inside.leave(b"b")  # one was dropped before it
    1
    >>> inside.pass_marker(inside.mark())
    1
    >>> sorted(inside.counters.items())
    [('entered', 3), ('inferred_drops', 2), ('matched', 1)]
    """

    def __init__(self, timeout_us: int) -> None:
        self.counters: Counter[str] = Counter()
        self._timeout_us = timeout_us
        self._inside: deque[tuple[Hashable | None, bytes, int]] = deque()
        self._places: dict[Hashable, deque[int]] = {}
        self._settled = 0
        self._given_up: deque[Hashable] = deque()
        self._given_up_counts: Counter[Hashable] = Counter()

    @property
    def depth(self) -> int:
        """Packets inside, and places held."""
        return len(self._inside)

    def is_confusable(self, fingerprint: Hashable, frame: bytes) -> bool:
        """Whether a packet must wait until the one inside with the same fingerprint has left."""
        places = self._places.get(fingerprint)
        return places is not None and self._inside[places[0] - self._settled][1] != frame

    def enter(self, fingerprint: Hashable, frame: bytes, now_us: int) -> None:
        """Note that a packet goes in."""
        assert not self.is_confusable(fingerprint, frame)
        self.counters["entered"] += 1
        self._places.setdefault(fingerprint, deque()).append(self._settled + len(self._inside))
        self._inside.append((fingerprint, frame, now_us))

    def hold(self, now_us: int) -> None:
        """Take a place in the order; it counts as dropped in all answers, and in no counter."""
        self._inside.append((None, b"", now_us))

    def leave(self, fingerprint: Hashable) -> int | None:
        """Note that something came out; return how many were dropped before it, ``None``: do not release it."""
        places = self._places.get(fingerprint)
        if places is None:
            known = self._given_up_counts[fingerprint] > 0
            if known:
                self._given_up_counts[fingerprint] -= 1
            self.counters["overtaken" if known else "unmatched"] += 1
            return None
        dropped = self._give_up(places[0], "inferred_drops")
        self._take()
        self.counters["matched"] += 1
        return dropped

    def mark(self) -> int:
        """Return the number of a marker that goes in now."""
        return self._settled + len(self._inside)

    def pass_marker(self, number: int) -> int:
        """Note that a marker came out; return how many packets were dropped before it."""
        return self._give_up(min(number, self.mark()), "inferred_drops")

    def expire(self, now_us: int) -> int:
        """Give up what is inside for too long; return how many packets that were."""
        count = 0
        for _, _, entered_us in self._inside:
            if now_us - entered_us < self._timeout_us:
                break
            count += 1
        return self._give_up(self._settled + count, "timed_out")

    def _give_up(self, place: int, counter: str) -> int:
        """Settle everything before a place as dropped."""
        count = max(place - self._settled, 0)
        packets = 0
        for _ in range(count):
            fingerprint = self._take()
            if fingerprint is None:
                continue
            packets += 1
            self._given_up.append(fingerprint)
            self._given_up_counts[fingerprint] += 1
            if len(self._given_up) > GIVEN_UP_MAX:
                self._forget(self._given_up.popleft())
        if packets:
            self.counters[counter] += packets
        return count

    def _take(self) -> Hashable | None:
        fingerprint = self._inside.popleft()[0]
        if fingerprint is not None:
            places = self._places[fingerprint]
            assert places.popleft() == self._settled
            if not places:
                del self._places[fingerprint]
        self._settled += 1
        return fingerprint

    def _forget(self, fingerprint: Hashable) -> None:
        if self._given_up_counts[fingerprint] <= 1:
            del self._given_up_counts[fingerprint]
        else:
            self._given_up_counts[fingerprint] -= 1


def fingerprint_of(frame: bytes, writes: frozenset[Field]) -> bytes:
    """Return what a network function leaves alone in a frame: all but the fields it may write.

    Checksums follow their fields, so a function that writes a field and mends the checksum does not change this.

    >>> fingerprint_of(b"anything", frozenset())
    b'anything'
    """
    if not writes:
        return frame
    packet = parse(frame)
    for field in writes:
        if field is Field.PAYLOAD:
            packet.set(field, b"")
        else:
            packet.set(field, 0)
    return bytes(packet.data)
