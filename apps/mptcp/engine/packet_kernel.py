"""The loop over packets: find or make the subflow, and let its record learn what the packet says.

Tens of nanoseconds per packet. What needs more than arithmetic (keys, tokens, addresses) is handed on as *news*: the
packet's index, the subflow's row and why.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.compiling import compiled, inlined
from apps.mptcp.engine.number_kernel import OUTLIER_BYTES, add_ack, add_data_fin, add_mapping, forget
from apps.mptcp.engine.records import Has, TcpFlag

Rows = NDArray[Any]

# Why a packet is news, bit by bit.
NEWS_SUBFLOW, NEWS_KEY, NEWS_JOIN, NEWS_CLOSED, NEWS_DATA_FIN, NEWS_ADDRESS, NEWS_FASTCLOSE, NEWS_OF_B = (
    1 << bit for bit in range(8)
)  # the last: sent by side b

# Indexes of ``state``: scalars that the loop reads and writes.
USED, NEXT_ID, FREE_COUNT, SLOTS_TAKEN, NEXT_RECORD, NEWS_COUNT = range(6)
STATE_SIZE: Final = 6

# Indexes of ``counts``.
PACKETS, WITHOUT_SUBFLOW, DUPLICATES, OUTLIERS, REFUSED, NEW_EPOCHS, MIRRORED = range(7)
COUNT_NAMES: Final = (
    "packets",
    "packets_without_subflow",
    "duplicates",
    "outliers",
    "subflows_refused",
    "epochs_renewed",
    "subflows_mirrored",
)

JUMP_BYTES_32: Final = 1 << 27
EPOCH_QUIET_US: Final = 2_000_000
SEEN_SLOTS: Final = 1 << 16
SEEN_US: Final = 10_000_000

_EMPTY, _DELETED = layout.EMPTY, layout.DELETED
_CLIENT_A, _ISN_A, _GUESS_A = layout.CLIENT_A, layout.ISN_A, layout.GUESS_A
_CLOSED, _REPLACED, _FASTCLOSED, _JOINED = layout.CLOSED, layout.REPLACED, layout.FASTCLOSED, layout.JOINED
_BACKUP_A = layout.BACKUP_A
_FIN, _SYN, _RST, _ACK = int(TcpFlag.FIN), int(TcpFlag.SYN), int(TcpFlag.RST), int(TcpFlag.ACK)
_DSN, _DSN_64, _DATA_ACK, _DATA_ACK_64 = (
    int(Has.DSN),
    int(Has.DSN_64),
    int(Has.DATA_ACK),
    int(Has.DATA_ACK_64),
)
_DATA_FIN, _JOIN = int(Has.DATA_FIN), int(Has.JOIN)
_KEYS = int(Has.KEY | Has.PEER_KEY | Has.CAPABLE_MAP)
_ADD_ADDR, _ECHO, _REMOVE_ADDR = int(Has.ADD_ADDR), int(Has.ADD_ADDR_ECHO), int(Has.REMOVE_ADDR)
_FASTCLOSE, _TCPRST = int(Has.FASTCLOSE), int(Has.TCPRST)
_BACKUP, _PRIO = int(Has.BACKUP), int(Has.PRIO)
# What but few packets have, besides SYN, FIN and RST.
_RARE = _KEYS | _ADD_ADDR | _REMOVE_ADDR | _JOIN | _PRIO | _FASTCLOSE | _TCPRST | _DATA_FIN
_NOT_MPTCP = int(Has.TRUNCATED | Has.MALFORMED)


@inlined
def mix(value: Any) -> Any:
    """Scatter 64 bits (the finaliser of splitmix64)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@inlined
def flow_hash(a_hi: Any, a_lo: Any, b_hi: Any, b_lo: Any, ports: Any) -> Any:
    """Hash a 4-tuple; ``ports`` holds a's in the upper half."""
    value = (a_lo + ports) * np.uint64(0x9E3779B97F4A7C15) ^ a_hi
    other = (b_lo ^ (ports << np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) ^ b_hi
    return mix(value ^ other << np.uint64(1) ^ other >> np.uint64(31))


@inlined
def is_elsewhere(space: Any, value: Any, is_64: Any, quiet_us: Any) -> bool:
    """Return whether a number is where its space cannot have come to since it was last heard of."""
    if space.points == 0:
        return False
    if is_64 and space.is_64 == 1:
        return bool(abs(np.int64(value - space.hi)) > OUTLIER_BYTES)
    jump = abs(float(np.int32(np.uint32(value) - np.uint32(space.hi))))
    life_us = float(max(space.last_us - space.first_us, 1_000_000))
    carried = float(np.int64(space.hi - space.lo)) / life_us * float(quiet_us)
    return bool(jump > JUMP_BYTES_32 and jump > 16.0 * carried)


@inlined
def is_new_epoch(row: Any, side: Any, packet: Any, idle_us: Any) -> bool:
    """Return whether a packet belongs to a later use of the 4-tuple than the record."""
    quiet = packet.at_us - row.last_us
    if quiet > idle_us:
        return True
    if quiet <= EPOCH_QUIET_US and row.flags & np.uint32(_CLOSED) == 0 and packet.tcp_flags & _SYN == 0:
        return False
    if quiet > EPOCH_QUIET_US or row.flags & np.uint32(_CLOSED) != 0:
        has = packet.has
        if has & np.uint32(_DSN) != 0 and is_elsewhere(
            row.space[side], packet.dsn, has & np.uint32(_DSN_64) != 0, quiet
        ):
            return True
        if has & np.uint32(_DATA_ACK) != 0 and is_elsewhere(
            row.space[1 - side], packet.data_ack, has & np.uint32(_DATA_ACK_64) != 0, quiet
        ):
            return True
    if packet.tcp_flags & _SYN == 0:
        return False
    if row.flags & np.uint32((_ISN_A | _GUESS_A) << side) != 0:
        return bool(row.isn[side] != packet.seq)
    return bool(quiet > EPOCH_QUIET_US or row.flags & np.uint32(_CLOSED) != 0)


@inlined
def learn(row: Any, side: Any, packet: Any, counts: Any) -> Any:
    """Let a subflow's record learn a packet; returns why it is news, 0 for most."""
    news = learn_opening(row, side, packet)
    learn_numbers(row, side, packet, counts)
    if packet.has & np.uint32(_DATA_FIN) != 0 and add_data_fin(row, side, packet):
        news |= NEWS_DATA_FIN
    return news | learn_closing(row, side, packet)


@inlined
def is_plain(packet: Any) -> bool:
    """Return whether a packet says nothing but numbers."""
    return bool(packet.has & np.uint32(_RARE) == 0 and packet.tcp_flags & (_SYN | _FIN | _RST) == 0)


@inlined
def learn_numbers(row: Any, side: Any, packet: Any, counts: Any) -> None:
    """Let a subflow's record learn that there was a packet, and its mapping and DATA_ACK."""
    row.first_us = min(row.first_us, packet.at_us)
    row.last_us = max(row.last_us, packet.at_us)
    row.packets += 1
    if packet.has & np.uint32(_DSN) != 0 and not add_mapping(row, side, packet):
        counts[OUTLIERS] += 1
    if packet.has & np.uint32(_DATA_ACK) != 0 and not add_ack(row, side, packet):
        counts[OUTLIERS] += 1


@inlined
def learn_opening(row: Any, side: Any, packet: Any) -> Any:
    """Learn what SYN, keys, joins and addresses say; returns why it is news."""
    has, tcp = packet.has, packet.tcp_flags
    news = 0
    if tcp & _SYN != 0:
        row.isn[side] = packet.seq
        row.flags |= np.uint32(_ISN_A << side)
        row.flags |= np.uint32(_CLIENT_A << (1 - side if tcp & _ACK != 0 else side))
    if has & np.uint32(_JOIN) != 0:
        row.flags |= np.uint32(_JOINED)
        if tcp & _SYN != 0:
            news |= NEWS_JOIN
    if has & np.uint32(_KEYS) != 0:
        news |= NEWS_KEY
    if has & np.uint32(_REMOVE_ADDR) != 0 or has & np.uint32(_ADD_ADDR | _ECHO) == np.uint32(_ADD_ADDR):
        news |= NEWS_ADDRESS
    return news


@inlined
def learn_closing(row: Any, side: Any, packet: Any) -> Any:
    """Learn priorities and ends; returns why it is news."""
    has = packet.has
    news = 0
    if has & np.uint32(_PRIO | _JOIN) != 0:
        if has & np.uint32(_BACKUP) != 0:
            row.flags |= np.uint32(_BACKUP_A << side)
        elif has & np.uint32(_PRIO) != 0:
            row.flags &= ~np.uint32(_BACKUP_A << side)
    if has & np.uint32(_FASTCLOSE) != 0:
        row.flags |= np.uint32(_FASTCLOSED)
        news |= NEWS_FASTCLOSE
    is_over = packet.tcp_flags & (_FIN | _RST) != 0 or has & np.uint32(_TCPRST) != 0
    if is_over and row.flags & np.uint32(_CLOSED) == 0:
        row.flags |= np.uint32(_CLOSED)
        news |= NEWS_CLOSED
    return news


@inlined
def is_duplicate(packet: Any, hashed: Any, seen: Any, seen_by: Any, seen_us: Any) -> bool:
    """Return whether another observation point saw this very packet within seconds."""
    value = hashed ^ (np.uint64(packet.seq) << np.uint64(32)) ^ np.uint64(packet.ack)
    value = mix(value + packet.dsn * np.uint64(0x9E3779B97F4A7C15) + packet.data_ack)
    value = mix(value ^ np.uint64(packet.has) ^ (np.uint64(packet.payload_bytes) << np.uint64(32)))
    value ^= np.uint64(packet.tcp_flags)
    place = np.int64(value & np.uint64(SEEN_SLOTS - 1))
    if seen[place] == value and abs(packet.at_us - seen_us[place]) < SEEN_US:
        return bool(seen_by[place] != packet.observer)
    seen[place] = value
    seen_by[place] = packet.observer
    seen_us[place] = packet.at_us
    return False


@inlined
def find_slot(rows: Rows, slots: Any, hashed: Any, ends: Any) -> Any:
    """Return the slot of a 4-tuple, or -1 - the slot where it may be put."""
    mask = len(slots) - 1
    place: Any = np.int64(hashed & np.uint64(mask))
    vacant: Any = -1
    while True:
        index = slots[place]
        if index == _EMPTY:
            return -1 - (vacant if vacant >= 0 else place)
        if index == _DELETED:
            if vacant < 0:
                vacant = place
        else:
            row = rows[index]
            if (
                row.a_lo == ends[1]
                and row.b_lo == ends[3]
                and (np.uint64(row.a_port) << np.uint64(16) | np.uint64(row.b_port)) == ends[4]
                and row.a_hi == ends[0]
                and row.b_hi == ends[2]
            ):
                return place
        place = (place + 1) & mask


@inlined
def take_row(rows: Rows, free: Any, state: Any) -> Any:
    """Return a cleared record for a new subflow, or -1 when none is left."""
    if state[FREE_COUNT] > 0:
        state[FREE_COUNT] -= 1
        index = np.int64(free[state[FREE_COUNT]])
    elif state[USED] < len(rows):
        index = np.int64(state[USED])
        state[USED] += 1
    else:
        return -1
    row = rows[index]
    row.id = state[NEXT_ID]
    state[NEXT_ID] += 1
    row.packets = 0
    row.observers = np.uint64(0)
    row.flags = np.uint32(0)
    row.epoch = np.uint32(0)
    for side in range(2):
        row.address_id[side] = -1
        space = row.space[side]
        forget(space)
        space.is_64 = np.uint8(0)
        space.has_fin = np.uint8(0)
        space.is_fin_acked = np.uint8(0)
        space.has_start = np.uint8(0)
    return index


@inlined
def side_of(packet: Any) -> Any:
    """Return which side sent a packet: 0, side a, is the lower (address, port). Without a branch to be guessed."""
    is_lower = (packet.src_lo < packet.dst_lo) | (
        (packet.src_lo == packet.dst_lo) & (packet.src_port <= packet.dst_port)
    )
    is_lower = (packet.src_hi < packet.dst_hi) | ((packet.src_hi == packet.dst_hi) & is_lower)
    return np.int64(not is_lower)


@inlined
def ends_of(packet: Any, side: Any) -> Any:
    """Return (a_hi, a_lo, b_hi, b_lo, ports) of a packet's 4-tuple."""
    src, dst = np.uint64(packet.src_port), np.uint64(packet.dst_port)
    turn = np.uint64(0) - np.uint64(side)  # all bits or none
    hi, lo = (packet.src_hi ^ packet.dst_hi) & turn, (packet.src_lo ^ packet.dst_lo) & turn
    ports = (src << np.uint64(16) | dst) ^ ((src ^ dst) * np.uint64(0x10001) & turn)
    return packet.src_hi ^ hi, packet.src_lo ^ lo, packet.dst_hi ^ hi, packet.dst_lo ^ lo, ports


@inlined
def find_or_make(rows: Rows, slots: Any, free: Any, state: Any, packet: Any, side: Any, idle_us: Any,
                 counts: Any, hashed: Any, ends: Any) -> Any:  # fmt: skip
    """Return the row of a packet's subflow, -1 when it is none, -2 when the table is full, -3 - row for a new one."""
    place = find_slot(rows, slots, hashed, ends)
    is_mptcp = packet.has & ~np.uint32(_NOT_MPTCP) != 0
    epoch = np.uint32(0)
    if place >= 0:
        index = np.int64(slots[place])
        row = rows[index]
        if not is_new_epoch(row, side, packet, idle_us):
            return index
        if not is_mptcp:
            if packet.tcp_flags & _SYN != 0:  # plain TCP took the 4-tuple over
                row.flags |= np.uint32(_CLOSED | _REPLACED)
                slots[place] = _DELETED
            return -1
        epoch = row.epoch + np.uint32(1)
    elif not is_mptcp:
        return -1
    made = take_row(rows, free, state)
    if made < 0:
        return -2
    if place >= 0:
        rows[slots[place]].flags |= np.uint32(_CLOSED | _REPLACED)
        counts[NEW_EPOCHS] += 1
        slots[place] = made
    else:
        if slots[-1 - place] == _EMPTY:
            state[SLOTS_TAKEN] += 1
        slots[-1 - place] = made
    row = rows[made]
    row.a_hi, row.a_lo, row.b_hi, row.b_lo = ends[0], ends[1], ends[2], ends[3]
    row.a_port, row.b_port = np.uint16(ends[4] >> np.uint64(16)), np.uint16(ends[4] & np.uint64(0xFFFF))
    row.epoch = epoch
    row.first_us = packet.at_us
    row.last_us = packet.at_us
    return -3 - made


@inlined
def run_plain(rows: Rows, slots: Any, packets: Rows, first: int, bits: Any, quiet_us: int, now_us: int,
              counts: Any) -> int:  # fmt: skip
    """Take packets from ``first`` on while they say nothing but numbers, of known subflows; returns how many.

    Nearly all do, and a loop of their own leaves them the processor's registers: a sixth less time.
    """
    k = first
    while k < len(packets):
        packet = packets[np.uint64(k)]  # unsigned: no look at whether it is negative
        if not is_plain(packet):
            break
        side = side_of(packet)
        ends = ends_of(packet, side)
        place = find_slot(rows, slots, flow_hash(ends[0], ends[1], ends[2], ends[3], ends[4]), ends)
        if place < 0:
            break
        row = rows[np.uint64(slots[place])]
        if packet.at_us - row.last_us > quiet_us or row.flags & np.uint32(_CLOSED) != 0:
            break
        row.observers |= np.uint64(1) << np.uint64(bits[packet.observer])
        row.touched_us = now_us
        learn_numbers(row, side, packet, counts)
        k += 1
    counts[PACKETS] += k - first
    return k - first


@compiled
def run(rows: Rows, slots: Any, free: Any, state: Any, packets: Rows, bits: Any, seen: Any, seen_by: Any,
        seen_us: Any, is_deduped: bool, idle_us: int, now_us: int, counts: Any,
        news_record: Any, news_row: Any, news_why: Any) -> None:  # fmt: skip
    """Take packets from ``state[NEXT_RECORD]`` on until all are done, the table is full, or slots or news run out."""
    k, found = state[NEXT_RECORD], 0
    while state[SLOTS_TAKEN] * 2 < len(slots) and found < len(news_record):
        if not is_deduped:
            k += run_plain(rows, slots, packets, k, bits, min(idle_us, EPOCH_QUIET_US), now_us, counts)
        if k == len(packets):
            break
        packet = packets[np.uint64(k)]
        side = side_of(packet)
        ends = ends_of(packet, side)
        hashed = flow_hash(ends[0], ends[1], ends[2], ends[3], ends[4])
        index = find_or_make(rows, slots, free, state, packet, side, idle_us, counts, hashed, ends)
        if index == -2:
            break
        counts[PACKETS] += 1
        if index == -1:
            counts[WITHOUT_SUBFLOW] += 1
        else:
            why = 0
            if index <= -3:
                index = -3 - index
                why = NEWS_SUBFLOW
            row = rows[index]
            row.observers |= np.uint64(1) << np.uint64(bits[packet.observer])
            row.touched_us = now_us
            if is_deduped and is_duplicate(packet, hashed, seen, seen_by, seen_us):
                counts[DUPLICATES] += 1
            else:
                why |= learn(row, side, packet, counts)
            if why != 0:
                news_record[found], news_row[found] = k, index
                news_why[found] = why | (NEWS_OF_B if side == 1 else 0)
                found += 1
        k += 1
    state[NEXT_RECORD], state[NEWS_COUNT] = k, found


@compiled
def first_unnamed(packets: Rows, bits: Any) -> int:
    """Return the index of the first packet of an observation point without a bit; -1: there is none."""
    for k in range(len(packets)):
        if bits[packets[np.uint64(k)].observer] < 0:
            return k
    return -1


@compiled
def rehash(rows: Rows, used: int, slots: Any) -> Any:
    """Fill empty slots anew from the records in use; returns how many are taken."""
    mask = len(slots) - 1
    taken = 0
    for index in range(used):
        row = rows[index]
        if row.id < 0 or row.flags & np.uint32(_REPLACED) != 0:
            continue
        ports = np.uint64(row.a_port) << np.uint64(16) | np.uint64(row.b_port)
        place = np.int64(flow_hash(row.a_hi, row.a_lo, row.b_hi, row.b_lo, ports) & np.uint64(mask))
        while slots[place] != _EMPTY:
            place = (place + 1) & mask
        slots[place] = index
        taken += 1
    return taken


@compiled
def find_row(rows: Rows, slots: Any, a_hi: Any, a_lo: Any, b_hi: Any, b_lo: Any, ports: Any) -> Any:
    """Return the row of a 4-tuple's newest epoch, or -1."""
    ends = (a_hi, a_lo, b_hi, b_lo, ports)
    place = find_slot(rows, slots, flow_hash(a_hi, a_lo, b_hi, b_lo, ports), ends)
    return np.int64(slots[place]) if place >= 0 else -1


@compiled
def release(rows: Rows, slots: Any, index: int) -> None:
    """Free a record; its 4-tuple is no longer found."""
    row = rows[index]
    ports = np.uint64(row.a_port) << np.uint64(16) | np.uint64(row.b_port)
    if row.flags & np.uint32(_REPLACED) == 0:
        place = find_slot(
            rows,
            slots,
            flow_hash(row.a_hi, row.a_lo, row.b_hi, row.b_lo, ports),
            (row.a_hi, row.a_lo, row.b_hi, row.b_lo, ports),
        )
        if place >= 0 and slots[place] == index:
            slots[place] = _DELETED
    row.id = -1
