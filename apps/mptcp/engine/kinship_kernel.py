"""Who belongs together, compiled: circles of siblings, and the hard evidence of names that joins them.

A second holder of the same token, key or DATA_FIN is evidence. What is told on is written as edges and *notes*; the
caller sees to it that there is room for what one packet can cause.

Source: RFC 8684 sections 3.1, 3.2; brief, tests T1, T2, T4.
"""

from typing import Any, Final

import numpy as np

from apps.mptcp.engine import packet_kernel
from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.address_kernel import (
    ANNOUNCED_USED,
    SECOND_ADDRESS,
    USUAL,
    announce,
    find_announced,
    take_back,
)
from apps.mptcp.engine.compiling import compiled, inlined
from apps.mptcp.engine.evidence import CODE
from apps.mptcp.engine.names_kernel import (
    FIN_32,
    FIN_64,
    HOLDERS_TRIED,
    HOLDERS_USED,
    KEY,
    SLOTS_TAKEN,
    TOKEN,
    drop_row,
    find_name,
    first_other,
    put,
)
from apps.mptcp.engine.number_kernel import OUTLIER_BYTES, add_carried, add_span, exact_offset, forget, lift
from apps.mptcp.engine.packet_kernel import mix
from apps.mptcp.engine.records import Has, TcpFlag
from apps.mptcp.engine.values import EvidenceKind

# Where an address is an alias of the one that stands for its host.
ALIAS: Final = np.dtype([("hi", "u8"), ("lo", "u8"), ("to_hi", "u8"), ("to_lo", "u8"), ("is_used", "u8")])

# Indexes of what is told: how many edges and notes there are.
EDGES, NOTES = range(2)
# Columns of a note, and what it can be of.
NOTE_KIND, NOTE_US, NOTE_CONNECTION, NOTE_OTHER, NOTE_SUBFLOW, NOTE_IS_HANDSHAKE = range(6)
NOTE_FIELDS: Final = 6
FOUND, UNITED, LEFT, KEY_CHANGED = range(4)
# Three more: why a judgement stopped; which announcement an odd ADD_ADDR disagrees with; whether all of a packet is
# taken but its REMOVE_ADDR.
STOPPED, DISAGREES, IS_HALF = 2, 3, 4
TOLD_COUNTS: Final = 5
# It is done, or out of room; an announced address is to become an alias of the sender's; an ADD_ADDR is odd.
FOR_ROOM, FOR_ALIAS, FOR_SECOND_ADDRESS, FOR_SECOND_ID = range(4)

# Beyond, a token between strangers is no proof: 1e-4 that it is by chance.
TOKENS_UNSHARED_MAX: Final = 400_000
FINS_32_MAX: Final = 4_000
# More than one packet can add of edges, notes or holders: two keys, each with the token of either version, and its own.
ROOM: Final = 5 * HOLDERS_TRIED + 16

_NEWS_SUBFLOW, _NEWS_JOIN = packet_kernel.NEWS_SUBFLOW, packet_kernel.NEWS_JOIN
_NEWS_DATA_FIN, _NEWS_CLOSED = packet_kernel.NEWS_DATA_FIN, packet_kernel.NEWS_CLOSED
_NEWS_OF_B = packet_kernel.NEWS_OF_B
_NEWS_KEY, _NEWS_ADDRESS = packet_kernel.NEWS_KEY, packet_kernel.NEWS_ADDRESS
_ACK, _TOKEN, _CAPABLE, _CAPABLE_MAP = (
    int(TcpFlag.ACK),
    int(Has.TOKEN),
    int(Has.CAPABLE),
    int(Has.CAPABLE_MAP),
)
_REMOVE_ADDR = int(Has.REMOVE_ADDR)
_CLOSED = layout.CLOSED
_KEY, _PEER_KEY = int(Has.KEY), int(Has.PEER_KEY)
_KEY_A, _MIRRORED, _FASTCLOSED = layout.KEY_A, layout.MIRRORED, layout.FASTCLOSED
_VERSION_0, _VERSION_1 = layout.VERSION_0, layout.VERSION_1
_BY_TOKEN, _BY_KEY, _BY_DATA_FIN = (
    CODE[kind] for kind in (EvidenceKind.TOKEN, EvidenceKind.KEY, EvidenceKind.DATA_FIN)
)


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
    """Join many pairs of rows in order, int32[pairs, 3] of row, row, flip; ``out`` is int64[pairs, 4].

    It takes ids kept and gone, a row of the one gone, and whether that was alone.
    """
    for k in range(len(ends)):
        i, j, flip = ends[k, 0], ends[k, 1], ends[k, 2]
        younger = i if label[i] > label[j] else j
        out[k, 2] = younger
        out[k, 3] = 1 if following[younger] == younger else 0
        out[k, 0], out[k, 1] = unite(label, following, parity, i, j, flip)


@compiled
def dissolve(label: Any, following: Any, parity: Any, ids: Any, rows: Any) -> None:
    """Make every row a connection of its own."""
    for row in rows:
        label[row] = ids[row]
        following[row] = row
        parity[row] = np.uint8(0)


@inlined
def find_alias(aliases: Any, hi: Any, lo: Any) -> Any:
    """Return the place of an address, or -1 - the place where it may be put."""
    mask = len(aliases) - 1
    place: Any = np.int64(mix(hi * np.uint64(0x9E3779B97F4A7C15) ^ lo) & np.uint64(mask))
    while aliases[place].is_used != 0:
        if aliases[place].hi == hi and aliases[place].lo == lo:
            return place
        place = (place + 1) & mask
    return -1 - place


@compiled
def put_alias(aliases: Any, hi: Any, lo: Any, to_hi: Any, to_lo: Any) -> bool:
    """Let an address stand for another; returns whether it is new."""
    place = find_alias(aliases, hi, lo)
    is_new = place < 0
    one = aliases[-1 - place if is_new else place]
    one.hi, one.lo, one.to_hi, one.to_lo, one.is_used = hi, lo, to_hi, to_lo, 1
    return bool(is_new)


@inlined
def host_of(aliases: Any, hi: Any, lo: Any) -> Any:
    """Return the address that stands for an address's host."""
    place = find_alias(aliases, hi, lo)
    if place < 0:
        return hi, lo
    return aliases[place].to_hi, aliases[place].to_lo


@inlined
def is_near(rows: Any, aliases: Any, i: Any, j: Any) -> bool:
    """Return whether two rows have a host in common."""
    one, other = rows[i], rows[j]
    a, b = host_of(aliases, one.a_hi, one.a_lo), host_of(aliases, one.b_hi, one.b_lo)
    c, d = host_of(aliases, other.a_hi, other.a_lo), host_of(aliases, other.b_hi, other.b_lo)
    return bool(
        (a[0] == c[0] and a[1] == c[1])
        or (a[0] == d[0] and a[1] == d[1])
        or (b[0] == c[0] and b[1] == c[1])
        or (b[0] == d[0] and b[1] == d[1])
    )


@inlined
def note(
    told: Any, kind: Any, at_us: Any, connection: Any, other: Any, subflow: Any, is_handshake: Any
) -> None:
    """Write down what is to be told."""
    _, notes, counts = told
    n = counts[NOTES]
    notes[n, NOTE_KIND], notes[n, NOTE_US], notes[n, NOTE_CONNECTION] = kind, at_us, connection
    notes[n, NOTE_OTHER], notes[n, NOTE_SUBFLOW], notes[n, NOTE_IS_HANDSHAKE] = other, subflow, is_handshake
    counts[NOTES] = n + 1


@inlined
def link(rows: Any, circles: Any, told: Any, i: Any, j: Any, flip: Any, kind: Any, chance: Any, number: Any,
         at_us: Any) -> None:  # fmt: skip
    """Join two rows' connections by an edge, unless they are one."""
    label, following, parity = circles
    if label[i] == label[j]:
        return
    edges, _, counts = told
    edge = edges[counts[EDGES]]
    edge.i, edge.j, edge.flip, edge.kind = i, j, flip, kind
    edge.at_s, edge.false_probability, edge.number = at_us / 1e6, min(1.0, chance), number
    edge.gap[0], edge.gap[1], edge.rivals = np.nan, np.nan, 1.0
    edge.is_dead, edge.is_inherited, edge.strikes = 0, 0, 0
    counts[EDGES] += 1
    younger = i if label[i] > label[j] else j
    subflow = rows[younger].id if following[younger] == younger else -1
    kept, gone = unite(label, following, parity, i, j, flip)
    note(told, UNITED, at_us, kept, gone, subflow, 0)


@inlined
def join_by_token(rows: Any, circles: Any, names: Any, aliases: Any, told: Any, row: Any, side: Any, key: Any,
                  token: Any, at_us: Any) -> None:  # fmt: skip
    """Link a holder of a token to the others, and let it hold it (T1)."""
    slots, holders, _, counts = names
    label = circles[0]
    place = find_name(slots, holders, TOKEN, token)
    index: Any = np.int64(slots[place]) if place >= 0 else -1
    for _ in range(HOLDERS_TRIED):
        if index < 0:
            break
        other = holders[index]
        index = np.int64(other.following)
        # Two keys with one token are told apart by the keys.
        if label[row] != label[other.row] and (key == 0 or other.key == 0):
            near = is_near(rows, aliases, row, other.row)
            if near or counts[TOKEN] <= TOKENS_UNSHARED_MAX:
                chance = 2.0**-32 * (1.0 if near else max(1.0, float(counts[TOKEN])))
                flip = np.int64(side) ^ np.int64(other.side)
                link(rows, circles, told, row, np.int64(other.row), flip, _BY_TOKEN, chance, token, at_us)
    put(names, TOKEN, token, row, side, key)


@inlined
def join_by_fin(
    rows: Any, circles: Any, names: Any, aliases: Any, told: Any, row: Any, side: Any, at_us: Any
) -> None:
    """Link the DATA_FIN that a row's side sent to those of the same number (T4)."""
    _, holders, _, counts = names
    space = rows[row].space[side]
    number, is_64 = space.fin, space.is_64 == 1
    wide: Any = -1
    if is_64:
        index = first_other(names, FIN_64, number, row)
        put(names, FIN_64, number, row, side, np.uint64(0))
        if index >= 0:
            wide = np.int64(holders[index].row)
            flip = np.int64(side) ^ np.int64(holders[index].side)
            link(rows, circles, told, row, wide, flip, _BY_DATA_FIN, 2.0**-64, number, at_us)
    low = number & np.uint64(0xFFFFFFFF)
    index = first_other(names, FIN_32, low, row)
    put(names, FIN_32, low, row, side, np.uint64(0))
    if index < 0 or counts[FIN_64] + counts[FIN_32] > FINS_32_MAX:
        return
    other, other_side = np.int64(holders[index].row), np.int64(holders[index].side)
    both_64 = is_64 and rows[other].space[other_side].is_64 == 1
    if other != wide and not both_64 and is_near(rows, aliases, row, other):
        link(rows, circles, told, row, other, side ^ other_side, _BY_DATA_FIN, 2.0**-32, low, at_us)


@inlined
def set_start(space: Any, idsn: Any, at_us: Any, is_handshake: Any) -> None:
    """Let a space learn where it began, from its sender's key: the first byte has IDSN + 1 (T3).

    Whether packets behind the handshake were learned before makes no difference: a step takes all its packets first.
    So the number takes no place in the ring.
    """
    value = idsn + np.uint64(1)
    if space.points == 0:
        if is_handshake:
            space.is_64 = np.uint8(1)
            space.points = np.uint32(1)
            space.lo, space.hi, space.hi_us = value, value, at_us
            space.first_us, space.last_us = at_us, at_us
    else:
        value = lift(space, value, True)
        below = np.int64(space.lo - value)
        if 0 <= below < OUTLIER_BYTES:
            space.lo = value
            if is_handshake:
                space.points += np.uint32(1)
                space.first_us, space.last_us = min(space.first_us, at_us), max(space.last_us, at_us)
                space.hi_us = min(space.hi_us, at_us) if space.hi == value else space.hi_us
    space.start = value
    space.has_start = np.uint8(1)


@inlined
def drop_starts(row: Any) -> None:
    """Forget where spaces began: the keys were no word of the other side."""
    for side in range(2):
        space = row.space[side]
        if space.has_start == 1 and space.points <= 1:
            forget(space)
        space.has_start = np.uint8(0)


@inlined
def add_first_mapping(row: Any, side: Any, packet: Any) -> None:
    """Learn a mapping that MP_CAPABLE carries: subflow sequence number 1, first number by the key."""
    space = row.space[side]
    if space.has_start == 0:
        return
    payload, length, offset = np.int64(packet.payload_bytes), np.int64(packet.map_bytes), np.int64(0)
    if payload > 0 and length > 0:
        offset = exact_offset(row, side, packet.seq, np.uint32(1), length, payload)
        length = min(payload, length - offset)
    first = space.start + np.uint64(offset)
    after = first + np.uint64(length)
    if add_span(space, first, after, packet.at_us, False) and payload > 0:
        add_carried(space, first, after, np.uint64(1 + offset), np.uint64(length))


@inlined
def take_key(rows: Any, circles: Any, names: Any, aliases: Any, told: Any, row: Any, side: Any, key: Any,
             derived: Any, at_us: Any, is_handshake: Any) -> None:  # fmt: skip
    """Take the first key of a row's side: link the row to others with the key (T2), or that name its token (T1)."""
    record = rows[row]
    flags = record.flags
    if key == 0 or flags & np.uint32(_MIRRORED | _KEY_A << side) != 0:
        return
    if flags & np.uint32(_KEY_A << (1 - side)) != 0 and record.key[1 - side] == key:
        record.flags = flags | np.uint32(_MIRRORED)
        drop_row(names, row, -1, 0)
        drop_starts(record)
        return
    record.key[side] = key
    record.flags = flags | np.uint32(_KEY_A << side)
    other = first_other(names, KEY, key, row)
    put(names, KEY, key, row, side, key)
    if other >= 0:
        one = names[1][other]
        flip = np.int64(side) ^ np.int64(one.side)
        link(rows, circles, told, row, np.int64(one.row), flip, _BY_KEY, 2.0**-64, key, at_us)
    is_0, is_1 = flags & np.uint32(_VERSION_0) != 0, flags & np.uint32(_VERSION_1) != 0
    for turn in range(2):
        version = 1 - turn
        if (version == 1 and is_0) or (version == 0 and is_1 and not is_0):
            continue
        if is_0 or is_1:
            set_start(record.space[side], derived[version, 1], at_us, is_handshake)
        join_by_token(rows, circles, names, aliases, told, row, side, key, derived[version, 0], at_us)


@inlined
def take_keys(rows: Any, circles: Any, names: Any, aliases: Any, told: Any, row: Any, side: Any, packet: Any,
              derived: Any) -> None:  # fmt: skip
    """Take what MP_CAPABLE or MP_FASTCLOSE say of keys. A key that differs from an earlier one is not taken."""
    record, has = rows[row], packet.has
    is_handshake = has & np.uint32(_CAPABLE) != 0
    if is_handshake:
        record.flags |= np.uint32(_VERSION_0 if packet.version == 0 else _VERSION_1)
    for turn in range(2):
        if has & np.uint32(_PEER_KEY if turn == 1 else _KEY) == 0:
            continue
        key, owner = packet.peer_key if turn == 1 else packet.key, side ^ turn
        mine = record.key[owner]
        is_known = record.flags & np.uint32(_KEY_A << owner) != 0 and record.flags & np.uint32(_MIRRORED) == 0
        if is_known and mine != 0 and mine != key:
            record.flags &= ~np.uint32(_FASTCLOSED)
            note(told, KEY_CHANGED, packet.at_us, circles[0][row], -1, record.id, 1 if is_handshake else 0)
        else:
            take_key(
                rows,
                circles,
                names,
                aliases,
                told,
                row,
                owner,
                key,
                derived[turn],
                packet.at_us,
                is_handshake,
            )
    if has & np.uint32(_CAPABLE_MAP) != 0 and record.flags & np.uint32(_MIRRORED) == 0:
        add_first_mapping(record, side, packet)


@inlined
def is_alias(row: Any, aliases: Any, side: Any, packet: Any) -> bool:
    """Return whether an announced address is known to be of the sender's host."""
    mine = host_of(aliases, row.b_hi if side == 1 else row.a_hi, row.b_lo if side == 1 else row.a_lo)
    told = host_of(aliases, packet.added_hi, packet.added_lo)
    return bool(mine[0] == told[0] and mine[1] == told[1])


@inlined
def withdraw(rows: Any, circles: Any, announced: Any, told: Any, row: Any, side: Any, packet: Any) -> bool:
    """Close the subflows of an address that REMOVE_ADDR took back; False: there are more than room for notes."""
    label, following, parity = circles
    faced = side ^ np.int64(parity[row])
    index = find_announced(circles, announced, row, faced, packet, True)
    hi, lo = np.uint64(0), np.uint64(0)
    if index >= 0:
        hi, lo = announced[0][index].hi, announced[0][index].lo
    member: Any = np.int64(row)
    while True:
        one = rows[member]
        end = faced ^ np.int64(parity[member])
        is_joined_by = one.address_id[end] == packet.address_id
        is_at = (one.b_hi == hi and one.b_lo == lo) if end == 1 else (one.a_hi == hi and one.a_lo == lo)
        if (is_joined_by or (index >= 0 and is_at)) and one.flags & np.uint32(_CLOSED) == 0:
            if told[2][NOTES] == len(told[1]):
                return False
            one.flags |= np.uint32(_CLOSED)
            note(told, LEFT, packet.at_us, label[member], -1, one.id, 0)
        member = np.int64(following[member])
        if member == row:
            break
    if index >= 0:
        take_back(announced, index)
    return True


@inlined
def take(rows: Any, circles: Any, names: Any, aliases: Any, told: Any, row: Any, side: Any, packet: Any, why: Any,
         derived: Any) -> None:  # fmt: skip
    """Take what a packet says, but for addresses."""
    label, following, parity = circles
    if why & _NEWS_SUBFLOW != 0:
        label[row], following[row], parity[row] = rows[row].id, row, 0
        note(told, FOUND, packet.at_us, rows[row].id, -1, rows[row].id, 0)
    if why & _NEWS_KEY != 0:
        take_keys(rows, circles, names, aliases, told, row, side, packet, derived)
    if why & _NEWS_JOIN != 0:
        rows[row].address_id[side] = packet.address_id
        # An answer names no token; one that does was sent back by a middlebox.
        if packet.tcp_flags & _ACK == 0 and packet.has & np.uint32(_TOKEN) != 0:
            token, nobody = np.uint64(packet.token), np.uint64(0)
            join_by_token(rows, circles, names, aliases, told, row, 1 - side, nobody, token, packet.at_us)
    if why & _NEWS_DATA_FIN != 0:
        join_by_fin(rows, circles, names, aliases, told, row, side, packet.at_us)
    if why & _NEWS_CLOSED != 0:
        note(told, LEFT, packet.at_us, label[row], -1, rows[row].id, 0)


@compiled
def judge(rows: Any, circles: Any, names: Any, aliases: Any, announced: Any, told: Any, packets: Any, news: Any,
          derived: Any, start: int, count: int) -> int:  # fmt: skip
    """Take news from ``start`` on; returns how many are taken.

    It stops behind an ADD_ADDR of which the caller is to make an alias or an alarm; or before one, when the room for
    what it may cause is used up. ``STOPPED`` says which.

    Args:
        derived: uint64[news, 2, 2, 2], where there are keys: of sender and peer, by version, token and IDSN.
    """
    slots, holders, _, counts = names
    edges, notes, written = told
    news_record, news_row, news_why = news
    written[STOPPED] = FOR_ROOM
    n = start
    while (
        n < count
        and announced[2][ANNOUNCED_USED] < len(announced[0])
        and counts[HOLDERS_USED] + ROOM <= len(holders)
        and (counts[SLOTS_TAKEN] + ROOM) * 2 <= len(slots)
        and written[EDGES] + ROOM <= len(edges)
        and written[NOTES] + ROOM <= len(notes)
    ):
        row, why = np.int64(news_row[n]), np.int64(news_why[n])
        packet = packets[news_record[n]]
        side = np.int64(1 if why & _NEWS_OF_B != 0 else 0)
        if written[IS_HALF] == 0:
            take(rows, circles, names, aliases, told, row, side, packet, why, derived[n])
        is_removed = why & _NEWS_ADDRESS != 0 and packet.has & np.uint32(_REMOVE_ADDR) != 0
        written[IS_HALF] = 0
        if is_removed and not withdraw(rows, circles, announced, told, row, side, packet):
            written[IS_HALF] = 1
            break
        n += 1
        if why & _NEWS_ADDRESS != 0 and not is_removed:
            what, disagrees = announce(circles, announced, row, side, packet)
            written[DISAGREES] = disagrees
            if what != USUAL:
                written[STOPPED] = FOR_SECOND_ADDRESS if what == SECOND_ADDRESS else FOR_SECOND_ID
            elif not is_alias(rows[row], aliases, side, packet):
                written[STOPPED] = FOR_ALIAS
            if written[STOPPED] != FOR_ROOM:
                break
    return n
