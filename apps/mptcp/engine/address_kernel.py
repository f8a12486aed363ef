"""Address IDs of connections in compiled tables: what ADD_ADDR announced and REMOVE_ADDR takes back.

An announcement stays with the subflow that carried it, and is its whole connection's: it is sought among all members,
so connections join and split without a word. ``announced`` is (records, first of each row, counts).

Source: RFC 8684 section 3.4.
"""

from typing import Any, Final

import numpy as np

from apps.mptcp.engine import subflow_layout
from apps.mptcp.engine.compiling import compiled, inlined

ANNOUNCED: Final = np.dtype(
    [
        ("hi", "u8"),
        ("lo", "u8"),
        ("row", "i4"),  # -1: the record is free
        ("following", "i4"),  # the next of the row, or the next that is free; -1: none
        ("port", "u2"),
        ("address_id", "u1"),
        ("side", "u1"),  # who announced it
    ],
    align=True,
)
# Indexes of the counts.
ANNOUNCED_USED, ANNOUNCED_FREE = range(2)
ANNOUNCED_COUNTS: Final = 2
# What an ADD_ADDR is: news at most, or odd.
USUAL, SECOND_ADDRESS, SECOND_ID = range(3)

_CLOSED = subflow_layout.CLOSED


@inlined
def find_announced(circles: Any, announced: Any, row: Any, faced: Any, packet: Any, is_by_id: Any) -> Any:
    """Return the first announcement of a connection's side that has a packet's ID, or its address; -1: none."""
    _, following, parity = circles
    records, of_row, _ = announced
    member: Any = np.int64(row)
    while True:
        index: Any = np.int64(of_row[member])
        while index >= 0:
            one = records[index]
            if np.int64(one.side) ^ np.int64(parity[member]) == faced:
                is_id = one.address_id == packet.address_id
                is_end = (
                    one.hi == packet.added_hi and one.lo == packet.added_lo and one.port == packet.added_port
                )
                if is_id if is_by_id else is_end:
                    return index
            index = np.int64(one.following)
        member = np.int64(following[member])
        if member == row:
            return -1


@inlined
def keep_announced(announced: Any, row: Any, side: Any, hi: Any, lo: Any, port: Any, address_id: Any) -> None:
    """Let a row have an announcement more; there is room for it."""
    records, of_row, counts = announced
    index: Any = counts[ANNOUNCED_FREE]
    if index >= 0:
        counts[ANNOUNCED_FREE] = records[index].following
    else:
        index = counts[ANNOUNCED_USED]
        counts[ANNOUNCED_USED] += 1
    one = records[index]
    one.hi, one.lo, one.port, one.address_id = hi, lo, port, address_id
    one.row, one.side, one.following = row, side, of_row[row]
    of_row[row] = index


@inlined
def free_announced(announced: Any, index: Any) -> None:
    """Let a record be taken again; it is in no row's list."""
    records, _, counts = announced
    records[index].row = -1
    records[index].following = counts[ANNOUNCED_FREE]
    counts[ANNOUNCED_FREE] = index


@inlined
def announce(circles: Any, announced: Any, row: Any, side: Any, packet: Any) -> Any:
    """Take an ADD_ADDR; returns what it is, and the announcement it disagrees with.

    An ID that changes its address without REMOVE_ADDR, or an end with two IDs: somebody else may be speaking.
    """
    faced = side ^ np.int64(circles[2][row])
    before = find_announced(circles, announced, row, faced, packet, True)
    if before >= 0:
        one = announced[0][before]
        is_same = one.hi == packet.added_hi and one.lo == packet.added_lo and one.port == packet.added_port
        return (USUAL if is_same else SECOND_ADDRESS), before
    other = find_announced(circles, announced, row, faced, packet, False)
    keep_announced(
        announced, row, side, packet.added_hi, packet.added_lo, packet.added_port, packet.address_id
    )
    return (SECOND_ID if other >= 0 else USUAL), other


@inlined
def take_back(announced: Any, index: Any) -> None:
    """Forget an announcement."""
    records, of_row, _ = announced
    row = records[index].row
    if of_row[row] == index:
        of_row[row] = records[index].following
    else:
        place: Any = np.int64(of_row[row])
        while np.int64(records[place].following) != index:
            place = np.int64(records[place].following)
        records[place].following = records[index].following
    free_announced(announced, index)


@compiled
def pass_announced(announced: Any, row: int, heir: int, flip: int) -> None:
    """Let a row that is gone leave what it announced to ``heir``, -1: to nobody."""
    records, of_row, _ = announced
    index: Any = np.int64(of_row[row])
    of_row[row] = -1
    while index >= 0:
        one = records[index]
        following = np.int64(one.following)
        if heir >= 0:
            one.row, one.side, one.following = heir, one.side ^ np.uint8(flip), of_row[heir]
            of_row[heir] = index
        else:
            free_announced(announced, index)
        index = following
