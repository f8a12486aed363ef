"""The association, dumb: plain integers, every pair against every pair, every order of joining tried.

Only what 64-bit numbers and hard evidence say; no time, no arrays, nothing shared with the engine but the rules.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

WHOLE = 1 << 64
Interval = tuple[int, int]
Space = Interval | None


def apart(one: int, other: int) -> int:
    """Return one - other on the circle, signed."""
    return (one - other + WHOLE // 2) % WHOLE - WHOLE // 2


def widen(space: Space, number: int) -> Space:
    """Return an interval with one more number."""
    if space is None:
        return number, number
    low, high = space
    return (number if apart(number, low) < 0 else low), (number if apart(number, high) > 0 else high)


def union(one: Space, other: Space) -> Space:
    """Return the interval around two."""
    if other is None:
        return one
    return widen(widen(one, other[0]), other[1])


def gap(one: Interval, other: Interval) -> int:
    """Return the numbers between two intervals."""
    return max(0, apart(other[0], one[1]), apart(one[0], other[1]))


@dataclass(frozen=True)
class Part:
    """A connection so far: names of subflows with their orientation, and what is known of its two sides."""

    members: frozenset[tuple[str, int]]
    spaces: tuple[Space, Space] = (None, None)
    keys: tuple[frozenset[int], frozenset[int]] = field(default=(frozenset(), frozenset()))
    tokens: tuple[frozenset[int], frozenset[int]] = field(default=(frozenset(), frozenset()))

    def turned(self) -> "Part":
        """Return it with its sides exchanged."""
        return Part(
            frozenset((name, 1 - side) for name, side in self.members),
            self.spaces[::-1], self.keys[::-1], self.tokens[::-1],
        )  # fmt: skip

    def joined(self, other: "Part") -> "Part":
        """Return both as one."""
        return Part(
            self.members | other.members,
            (union(self.spaces[0], other.spaces[0]), union(self.spaces[1], other.spaces[1])),
            (self.keys[0] | other.keys[0], self.keys[1] | other.keys[1]),
            (self.tokens[0] | other.tokens[0], self.tokens[1] | other.tokens[1]),
        )


def token_of(key: int) -> int:
    """Return the token of a version 1 key."""
    return int.from_bytes(hashlib.sha256(key.to_bytes(8, "big")).digest()[:4], "big")


def is_hard(one: Part, other: Part) -> bool:
    """Return whether a key or token is the same on one side."""
    names = [
        (part.keys[side], part.tokens[side] | {token_of(key) for key in part.keys[side]})
        for part in (one, other)
        for side in (0, 1)
    ]
    return any(names[side][0] & names[2 + side][0] or names[side][1] & names[2 + side][1] for side in (0, 1))


def is_soft(one: Part, other: Part, tolerance: int) -> bool:
    """Return whether the numbers meet in every space that both know, one at least, and no key differs."""
    if any(one.keys[side] and other.keys[side] and one.keys[side] != other.keys[side] for side in (0, 1)):
        return False
    gaps = [gap(a, b) for a, b in zip(one.spaces, other.spaces, strict=True) if a and b]
    return bool(gaps) and max(gaps) <= tolerance


def _steps(parts: frozenset[Part], tolerance: int) -> Iterator[frozenset[Part]]:
    """Return what one more joining may give: hard evidence first, then soft."""
    for test in (is_hard, lambda one, other: is_soft(one, other, tolerance)):
        found = False
        for one, other in combinations(parts, 2):
            for faced in (other, other.turned()):
                if test(one, faced):
                    found = True
                    yield parts - {one, other} | {one.joined(faced)}
        if found:
            return


def finals(parts: list[Part], tolerance: int) -> set[frozenset[frozenset[str]]]:
    """Return every partition into names that joining in some order ends at."""
    ends: set[frozenset[frozenset[str]]] = set()
    seen: set[frozenset[Part]] = set()
    pending = [frozenset(parts)]
    while pending:
        now = pending.pop()
        if now in seen:
            continue
        seen.add(now)
        further = list(_steps(now, tolerance))
        pending += further
        if not further:
            ends.add(frozenset(frozenset(name for name, _ in part.members) for part in now))
    return ends
