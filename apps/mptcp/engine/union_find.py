"""Which subflows form a connection now: circles of rows, each with its connection's id and its orientation.

A connection is a circular list over the table's rows, so members are listed in O(members) and two connections joined
by swapping two pointers. ``parity`` says whether a subflow's side a is the connection's side 0 or 1: 4-tuples are
ordered by address, so siblings may face opposite ways. A connection's id is the id of its oldest subflow, also after
that one was forgotten.
"""

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.kinship_kernel import unite, unite_all

Labels = NDArray[np.int64]
Links = NDArray[np.int32]
Parities = NDArray[np.uint8]


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

    @property
    def circles(self) -> tuple[Labels, Links, Parities]:
        """What compiled functions take."""
        return self.label, self.following, self.parity

    def unite(self, i: int, j: int, flip: int) -> tuple[int, int]:
        """Join two rows' connections; returns (id kept, id gone)."""
        kept, gone = unite(self.label, self.following, self.parity, i, j, flip)
        return int(kept), int(gone)

    def unite_all(self, ends: NDArray[np.int32]) -> NDArray[np.int64]:
        """Join many pairs of rows; see the function."""
        out = np.empty((len(ends), 4), np.int64)
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
