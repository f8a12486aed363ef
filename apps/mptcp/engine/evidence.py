"""Why two subflows were joined: edges, kept so that an answer explains itself and a false one can be taken back."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.compiling import compiled
from apps.mptcp.engine.values import HARD, EvidenceKind

EDGE: Final = np.dtype(
    [
        ("i", "i4"),  # rows; j is the one it was tested against
        ("j", "i4"),
        ("at_s", "f8"),
        ("false_probability", "f8"),
        ("gap", "f8", (2,)),  # bytes between the two in i's spaces; NaN: not compared
        ("number", "u8"),  # token, key or DSN, by kind
        ("rivals", "f8"),  # how many others the test could have chosen
        ("flip", "u1"),
        ("kind", "u1"),
        ("is_dead", "u1"),
        ("is_inherited", "u1"),  # found through a subflow that is gone
        ("strikes", "u1"),  # sweeps in a row that spoke against it
    ],
    align=True,
)

KINDS: Final = tuple(EvidenceKind)
CODE: Final = {kind: index for index, kind in enumerate(KINDS)}
SOFT_CODES: Final = tuple(CODE[kind] for kind in KINDS if kind not in HARD)
FIRST_SOFT: Final = min(SOFT_CODES)


@compiled
def mark_soft(edges: Any, count: int, first_soft: int, following: Any, is_soft: Any) -> int:
    """Mark the rows of connections that a soft edge holds together; returns how many such edges there are."""
    found = 0
    for k in range(count):
        edge = edges[k]
        if edge.kind < first_soft or edge.is_dead != 0:
            continue
        found += 1
        row = edge.i
        while is_soft[row] == 0:
            is_soft[row] = 1
            row = following[row]
    return found


class Edges:
    """All edges of a domain in an array that grows by halves."""

    def __init__(self) -> None:
        self.all: NDArray[Any] = np.zeros(64, EDGE)
        self.count = 0

    def add(self, i: int, j: int, flip: int, kind: EvidenceKind, false_probability: float, at_s: float, *,
            number: int = 0, gap: tuple[float, float] = (np.nan, np.nan), rivals: float = 1.0) -> int:  # fmt: skip
        """Keep an edge; returns its index."""
        self.make_room(1)
        chance = min(1.0, false_probability)
        # All fields at once, in their order: a third of the time that one by one takes.
        self.all[self.count] = (i, j, at_s, chance, gap, number, rivals, flip, CODE[kind], 0, 0, 0)
        self.count += 1
        return self.count - 1

    def make_room(self, count: int) -> None:
        """See to it that so many more fit."""
        if self.count + count > len(self.all):
            self.all.resize(self.count + max(count, self.count // 2), refcheck=False)

    def add_many(self, count: int) -> NDArray[Any]:
        """Keep some more edges; returns them, all zero, to be filled in."""
        self.make_room(count)
        added = self.all[self.count : self.count + count]
        self.count += count
        added[:] = np.zeros((), EDGE)
        return added

    def inherit(self, edge: Any, i: int, j: int, flip: int) -> None:
        """Keep a copy of an edge between two rows that were joined through one that is gone."""
        index = self.add(
            i, j, flip, KINDS[int(edge["kind"])], float(edge["false_probability"]), float(edge["at_s"])
        )
        kept = self.all[index]
        kept["number"], kept["gap"], kept["rivals"] = edge["number"], edge["gap"], edge["rivals"]
        kept["is_inherited"] = 1

    @property
    def kept(self) -> NDArray[Any]:
        """All edges, dead ones too, as a view."""
        return self.all[: self.count]

    def of_rows(self, rows: list[int]) -> NDArray[np.intp]:
        """Return the indexes of live edges of a whole connection, given all its rows. Complexity: O(edges)."""
        edges = self.kept
        return np.flatnonzero(
            (np.isin(edges["i"], rows) | np.isin(edges["j"], rows)) & (edges["is_dead"] == 0)
        )

    def compact(self) -> None:
        """Drop dead edges."""
        alive = self.kept[self.kept["is_dead"] == 0]
        self.all[: len(alive)] = alive
        self.count = len(alive)


def words(kind: EvidenceKind, number: int, false_probability: float, gap: Sequence[float], rivals: float,
          is_inherited: bool) -> str:  # fmt: skip
    """Return an edge as a sentence that an operator understands."""
    gaps = [one for one in gap if not math.isnan(one)]
    chance = f"by chance {false_probability:.1e}"
    others = f"with {rivals:,.0f} others in play"
    tail = " Found through a subflow that is gone." if is_inherited else ""
    match kind:
        case EvidenceKind.TOKEN:
            text = f"MP_JOIN names token {number:08x} of this connection ({chance})."
        case EvidenceKind.KEY:
            text = f"Both carried key {number:016x} ({chance})."
        case EvidenceKind.IDSN:
            text = f"Its first number follows, within {_bytes(gaps)}, the one that the key gives ({chance})."
        case EvidenceKind.DATA_FIN:
            text = f"Both ended their data at number {number} ({chance})."
        case EvidenceKind.BOTH_SPACES:
            text = f"Numbers of both directions meet, within {_bytes(gaps)} ({chance} {others})."
        case EvidenceKind.EQUAL_32:
            text = f"One direction stands at the same 32-bit number ({chance} {others})."
        case EvidenceKind.ONE_SPACE_64:
            text = f"64-bit numbers of one direction meet, within {_bytes(gaps)} ({chance} {others})."
        case _:
            text = (
                f"32-bit numbers of both directions move together in time, within {_bytes(gaps)} ({chance}"
                f" {others})."
            )
    return text + tail


def _bytes(gaps: list[float]) -> str:
    if not gaps:
        return "an unknown gap"
    most = max(gaps)
    return (
        f"{most / 1e6:.1f} MB" if most >= 1e6 else f"{most / 1e3:.1f} kB" if most >= 1e3 else f"{most:.0f} B"
    )
