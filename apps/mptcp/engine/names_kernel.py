"""Names of connections in compiled tables: which rows hold which token, key or DATA_FIN number.

Whoever carries a name is its *holder*: a side of a subflow's row. The holders of a name are a list, oldest first; so
are the names of a row. A holder takes 40 bytes. ``names`` is (slots of the hash, holders, first holder of each row,
counts); the caller sees to it that there is room.
"""

from typing import Any, Final

import numpy as np

from apps.mptcp.engine import subflow_layout
from apps.mptcp.engine.compiling import compiled, inlined
from apps.mptcp.engine.packet_kernel import mix

# What a name is.
TOKEN, KEY, FIN_64, FIN_32 = range(4)
KINDS: Final = 4
HOLDER: Final = np.dtype(
    [
        ("number", "u8"),
        ("key", "u8"),  # whose the name is; 0 where only its token is known
        ("row", "i4"),  # -1: the record is free
        ("following", "i4"),  # the next holder of the name, -1: none
        ("before", "i4"),
        ("last", "i4"),  # of the first holder: the last
        ("next_of_row", "i4"),
        ("kind", "u1"),
        ("side", "u1"),
    ],
    align=True,
)
# Indexes of the counts of names: distinct ones by kind come first.
HOLDERS_USED, FREE_FIRST, SLOTS_TAKEN = 4, 5, 6
NAME_COUNTS: Final = 7
HOLDERS_TRIED: Final = 64

_EMPTY, _DELETED = subflow_layout.EMPTY, subflow_layout.DELETED


@inlined
def find_name(slots: Any, holders: Any, kind: Any, number: Any) -> Any:
    """Return the slot of a name, or -1 - the slot where it may be put."""
    mask = len(slots) - 1
    place: Any = np.int64(mix(number + np.uint64(kind)) & np.uint64(mask))
    vacant: Any = -1
    while True:
        first = slots[place]
        if first == _EMPTY:
            return -1 - (vacant if vacant >= 0 else place)
        if first == _DELETED:
            if vacant < 0:
                vacant = place
        elif holders[first].number == number and holders[first].kind == kind:
            return place
        place = (place + 1) & mask


@inlined
def take_holder(holders: Any, counts: Any) -> Any:
    """Return the index of a free record."""
    index = counts[FREE_FIRST]
    if index >= 0:
        counts[FREE_FIRST] = holders[index].following
        return index
    counts[HOLDERS_USED] += 1
    return counts[HOLDERS_USED] - 1


@inlined
def append(names: Any, index: Any, kind: Any, number: Any) -> None:
    """Put a holder at the end of its name's list."""
    slots, holders, _, counts = names
    one = holders[index]
    place = find_name(slots, holders, kind, number)
    one.following = -1
    if place >= 0:
        first = holders[slots[place]]
        one.before = first.last
        holders[first.last].following = index
        first.last = index
        return
    place = -1 - place
    if slots[place] == _EMPTY:
        counts[SLOTS_TAKEN] += 1
    slots[place] = index
    one.before, one.last = -1, index
    counts[kind] += 1


@inlined
def put(names: Any, kind: Any, number: Any, row: Any, side: Any, key: Any) -> None:
    """Let a row's side hold a name, unless it does."""
    _, holders, of_row, counts = names
    last: Any = -1
    index: Any = np.int64(of_row[row])
    while index >= 0:
        one = holders[index]
        if one.number == number and one.kind == kind and one.side == side:
            return
        last, index = index, np.int64(one.next_of_row)
    index = take_holder(holders, counts)
    one = holders[index]
    one.number, one.key, one.row = number, key, row
    one.kind, one.side, one.next_of_row = kind, side, -1
    if last >= 0:
        holders[last].next_of_row = index
    else:
        of_row[row] = index
    append(names, index, kind, number)


@inlined
def remove(names: Any, index: Any) -> None:
    """Take a holder out of its name's list; a name that nobody holds is gone."""
    slots, holders, _, counts = names
    one = holders[index]
    place = find_name(slots, holders, one.kind, one.number)
    first = holders[slots[place]]
    if one.following >= 0:
        holders[one.following].before = one.before
    else:
        first.last = one.before
    if one.before >= 0:
        holders[one.before].following = one.following
    elif one.following >= 0:
        holders[one.following].last = one.last
        slots[place] = one.following
    else:
        slots[place] = _DELETED
        counts[one.kind] -= 1
    one.row = -1
    one.following = counts[FREE_FIRST]
    counts[FREE_FIRST] = index


@inlined
def first_other(names: Any, kind: Any, number: Any, row: Any) -> Any:
    """Return the first holder of a name in another row, as far as is looked; -1: none."""
    slots, holders, _, _ = names
    place = find_name(slots, holders, kind, number)
    index: Any = np.int64(slots[place]) if place >= 0 else -1
    for _ in range(HOLDERS_TRIED):
        if index < 0 or holders[index].row != row:
            return index
        index = np.int64(holders[index].following)
    return -1


@inlined
def drop_row(names: Any, row: int, heir: int, flip: int) -> None:
    """Take a row's names away; they pass to ``heir``, -1: to nobody."""
    _, holders, of_row, _ = names
    index: Any = np.int64(of_row[row])
    of_row[row] = -1
    while index >= 0:
        one = holders[index]
        kind, number, side, key = one.kind, one.number, one.side, one.key
        following = np.int64(one.next_of_row)
        remove(names, index)
        if heir >= 0:
            put(names, kind, number, heir, side ^ np.uint8(flip), key)
        index = following


@compiled
def rehash_names(slots: Any, holders: Any, used: int) -> int:
    """Fill empty slots anew; returns how many are taken."""
    taken = 0
    for index in range(used):
        one = holders[index]
        if one.row >= 0 and one.before < 0:
            slots[-1 - find_name(slots, holders, one.kind, one.number)] = index
            taken += 1
    return taken


@compiled
def forget_row(names: Any, row: int, heir: int, flip: int) -> None:
    """Drop a row that is gone; its names pass to ``heir``, -1: to nobody."""
    drop_row(names, row, heir, flip)


@compiled
def list_names(names: Any, kind: int, rows: Any, found: Any) -> int:
    """Write the names of a kind that some rows hold; returns how many there are, also beyond the room for them.

    Args:
        found: int64[room, 3], filled: place in ``rows``, number, side.
    """
    _, holders, of_row, _ = names
    count = 0
    for k in range(len(rows)):
        index: Any = np.int64(of_row[rows[k]])
        while index >= 0:
            one = holders[index]
            if one.kind == kind:
                if count < len(found):
                    found[count, 0], found[count, 1], found[count, 2] = k, one.number, one.side
                count += 1
            index = np.int64(one.next_of_row)
    return count
