"""Which subflows form a connection now: circles of rows, each with its connection's id and its orientation.

A connection is a circular list over the table's rows, so members are listed in O(members) and two connections joined
by swapping two pointers. ``parity`` says whether a subflow's side a is the connection's side 0 or 1: 4-tuples are
ordered by address, so siblings may face opposite ways. A connection's id is the id of its oldest subflow, also after
that one was forgotten.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.compiling import compiled

Labels = NDArray[np.int64]
Links = NDArray[np.int32]
Parities = NDArray[np.uint8]


@compiled
def unite(label: Any, following: Any, parity: Any, i: int, j: int, flip: int) -> Any:
    """Join the connections of two rows; returns (id kept, id gone), equal when they were one already.

    Args:
        flip: 1 when side a of row ``i`` is the same host as side b of row ``j``.
    """
    if label[i] == label[j]:
        return label[i], label[j]
    if label[j] < label[i]:
        i, j = j, i
    kept, gone = label[i], label[j]
    turn = np.uint8(parity[i] ^ parity[j] ^ np.uint8(flip))
    k = j
    while True:
        label[k] = kept
        parity[k] ^= turn
        k = following[k]
        if k == j:
            break
    following[i], following[j] = following[j], following[i]
    return kept, gone


@compiled
def unite_all(label: Any, following: Any, parity: Any, ends: Any, out: Any) -> None:
    """Join many pairs of rows in order, int32[pairs, 3] of row, row, flip; ``out`` is int64[pairs, 5].

    It takes ids kept and gone, a row of the one gone, whether that was alone, and whether its sides turned.
    """
    for k in range(len(ends)):
        i, j, flip = ends[k, 0], ends[k, 1], ends[k, 2]
        younger = i if label[i] > label[j] else j
        out[k, 2] = younger
        out[k, 3] = 1 if following[younger] == younger else 0
        out[k, 4] = (int(parity[i]) ^ int(parity[j])) ^ flip
        out[k, 0], out[k, 1] = unite(label, following, parity, i, j, flip)


@compiled
def dissolve(label: Any, following: Any, parity: Any, ids: Any, rows: Any) -> None:
    """Make every row a connection of its own."""
    for row in rows:
        label[row] = ids[row]
        following[row] = row
        parity[row] = np.uint8(0)


class Groups:
    """The circles, grown with the table."""

    def __init__(self) -> None:
        self.label: Labels = np.zeros(0, np.int64)
        self.following: Links = np.zeros(0, np.int32)
        self.parity: Parities = np.zeros(0, np.uint8)

    def grow(self, size: int) -> None:
        """Make room for ``size`` rows."""
        before = len(self.label)
        if size <= before:
            return
        for array in (self.label, self.following, self.parity):
            array.resize(size, refcheck=False)
        self.following[before:] = np.arange(before, size, dtype=np.int32)

    def add(self, row: int, subflow: int) -> None:
        """Let a new subflow be a connection of its own."""
        self.label[row], self.following[row], self.parity[row] = subflow, row, 0

    def unite(self, i: int, j: int, flip: int) -> tuple[int, int]:
        """Join two rows' connections; returns (id kept, id gone)."""
        kept, gone = unite(self.label, self.following, self.parity, i, j, flip)
        return int(kept), int(gone)

    def unite_all(self, ends: NDArray[np.int32]) -> NDArray[np.int64]:
        """Join many pairs of rows; see the function."""
        out = np.empty((len(ends), 5), np.int64)
        unite_all(self.label, self.following, self.parity, ends, out)
        return out

    def members(self, row: int) -> list[int]:
        """Return the rows of a row's connection, itself first."""
        following = self.following
        found, k = [row], following.item(row)
        while k != row:
            found.append(k)
            k = following.item(k)
        return found

    def is_alone(self, row: int) -> bool:
        """Return whether a row's connection has no other subflow."""
        return self.following.item(row) == row

    def remove(self, row: int) -> None:
        """Take a row out of its circle."""
        before = self.members(row)[-1]
        self.following[before] = self.following[row]
        self.following[row] = row
