"""The options of a TCP header: what those of MPTCP say is written to a row. Becomes part of the loop over frames.

What is cut off or broken is counted and never raises; the loop moves on by at least one byte. Bytes before an option
may be read with it, since a TCP header is before it; bytes after it never.

Source: RFC 8684 and RFC 6824 section 3.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.compiling import inlined
from apps.mptcp.engine.frame_counts import (
    BAD_MPTCP_OPTION,
    BAD_TCP_OPTION,
    CUT_OPTIONS,
    OPTION_REPEATED,
    SUBTYPE_UNKNOWN,
    VERSION_UNKNOWN,
)
from apps.mptcp.engine.octets_kernel import Octets, ending_at, u8, u16, u32, u64
from apps.mptcp.engine.records import IPV4_MAPPED, Has, TcpFlag

Counts = NDArray[np.int64]
Row = Any  # a record of ``records.RECORD``

_CAPABLE, _KEY, _PEER_KEY = int(Has.CAPABLE), int(Has.KEY), int(Has.PEER_KEY)
_JOIN, _TOKEN, _BACKUP, _PRIO = int(Has.JOIN), int(Has.TOKEN), int(Has.BACKUP), int(Has.PRIO)
_DSN, _DSN_64, _DATA_FIN, _CAPABLE_MAP = (
    int(Has.DSN),
    int(Has.DSN_64),
    int(Has.DATA_FIN),
    int(Has.CAPABLE_MAP),
)
_DATA_ACK, _DATA_ACK_64 = int(Has.DATA_ACK), int(Has.DATA_ACK_64)
_ADD_ADDR, _ECHO, _REMOVE_ADDR = int(Has.ADD_ADDR), int(Has.ADD_ADDR_ECHO), int(Has.REMOVE_ADDR)
_FAIL, _FASTCLOSE, _TCPRST = int(Has.FAIL), int(Has.FASTCLOSE), int(Has.TCPRST)
_TRUNCATED, _MALFORMED = int(Has.TRUNCATED), int(Has.MALFORMED)
# Two bits of work: some option of MPTCP was there; the column of the address ID is taken.
MPTCP, _ADDRESS_ID = 1 << 30, 1 << 29
KEPT = _ADDRESS_ID - 1
_SYN, _ACK = int(TcpFlag.SYN), int(TcpFlag.ACK)
# What the flags of a data sequence signal say, without the reserved ones: F, m, M, a, A.
_DSS_BITS: Final = np.array(
    [
        (flags & 1) * (_DATA_ACK + (flags >> 1 & 1) * _DATA_ACK_64)
        + (flags >> 2 & 1) * (_DSN + (flags >> 3 & 1) * _DSN_64 + (flags >> 4) * _DATA_FIN)
        for flags in range(32)
    ]
)


@inlined
def read_dss(b: Octets, p: int, size: int, has: int, row: Row, counts: Counts) -> int:
    """Read a data sequence signal; return the bits it adds to ``has``.

    Which numbers it has changes from packet to packet, and no processor could guess: the TCP header before it lets
    each be read, and what is not there be masked.
    """
    if size < 4:
        counts[BAD_MPTCP_OPTION] += 1
        return _MALFORMED
    flags = u8(b, p + 3)
    has_ack, has_dsn = flags & 1, flags >> 2 & 1
    ack_bytes, dsn_bytes = (4 << (flags >> 1 & 1)) & -has_ack, (4 << (flags >> 3 & 1)) & -has_dsn
    ack_end = p + 4 + ack_bytes
    dsn_end = ack_end + dsn_bytes
    after = dsn_end + (6 & -has_dsn)
    if p + size != after and p + size - 2 * has_dsn != after:  # a mapping may have a checksum
        counts[BAD_MPTCP_OPTION] += 1
        return _MALFORMED
    if has & (_DSN | _DATA_ACK | _CAPABLE_MAP):
        counts[OPTION_REPEATED] += 1
        return 0
    row.data_ack = ending_at(b, ack_end, ack_bytes)
    row.dsn = ending_at(b, dsn_end, dsn_bytes)
    row.ssn = u32(b, after - 6) & -has_dsn
    row.map_bytes = u16(b, after - 2) & -has_dsn
    return int(_DSS_BITS[np.uint64(flags & 31)])


@inlined
def read_capable(b: Octets, p: int, size: int, flags: int, has: int, row: Row, counts: Counts) -> int:
    """Read MP_CAPABLE; return the bits it adds to ``has``.

    Lengths that do not fit the SYN and ACK flags, and two equal keys, come from boxes that mirror unknown options.
    """
    version = u8(b, p + 2) & 15
    if version > 1 and size >= 4:
        counts[VERSION_UNKNOWN] += 1
    elif version == 1:
        is_opening = size == 4 and flags & (_SYN | _ACK) == _SYN
        is_reply = size == 12 and flags & (_SYN | _ACK) == _SYN | _ACK
        is_third = (size == 20 or size == 22 or size == 24) and not flags & _SYN
        if not (is_opening or is_reply or is_third):
            counts[BAD_MPTCP_OPTION] += 1
            return _MALFORMED
    elif not ((size == 12 and flags & _SYN) or (size == 20 and not flags & _SYN)):
        counts[BAD_MPTCP_OPTION] += 1
        return _MALFORMED
    if has & (_CAPABLE | _PEER_KEY) or (size > 20 and has & _DSN):
        counts[OPTION_REPEATED] += 1
        return 0
    if version > 1:
        row.version = version
        return _CAPABLE
    if size >= 20 and u64(b, p + 4) == u64(b, p + 12):
        counts[BAD_MPTCP_OPTION] += 1
        return _MALFORMED
    row.version = version
    added = _CAPABLE
    if size >= 12:
        row.key = u64(b, p + 4)
        added |= _KEY
    if size >= 20:
        row.peer_key = u64(b, p + 12)
        added |= _PEER_KEY
    if size >= 22:
        row.ssn = 1
        row.map_bytes = u16(b, p + 20)
        added |= _CAPABLE_MAP
    return added


@inlined
def read_join(b: Octets, p: int, size: int, flags: int, has: int, row: Row, counts: Counts) -> int:
    """Read MP_JOIN; return the bits it adds to ``has``."""
    is_opening = size == 12 and flags & (_SYN | _ACK) == _SYN
    is_reply = size == 16 and flags & (_SYN | _ACK) == _SYN | _ACK
    is_third = size == 24 and not flags & _SYN
    if not (is_opening or is_reply or is_third):
        counts[BAD_MPTCP_OPTION] += 1
        return _MALFORMED
    if has & _JOIN or (has & _ADDRESS_ID and not is_third):
        counts[OPTION_REPEATED] += 1
        return 0
    if is_third:
        return _JOIN
    row.address_id = u8(b, p + 3)
    added = _JOIN | _ADDRESS_ID | (_BACKUP if u8(b, p + 2) & 1 else 0)
    if is_reply:
        row.nonce = u32(b, p + 12)
        return added
    row.token = u32(b, p + 4)
    row.nonce = u32(b, p + 8)
    return added | _TOKEN


@inlined
def read_add_addr(b: Octets, p: int, size: int, has: int, row: Row, counts: Counts) -> int:
    """Read ADD_ADDR of either version, with or without port; return the bits it adds to ``has``."""
    low = u8(b, p + 2) & 15
    is_signed = size == 16 or size == 18 or size == 28 or size == 30
    is_short = size == 8 or size == 10
    is_long = size == 20 or size == 22
    is_echo = low & 1 == 1
    is_known = (is_signed and not is_echo) or (is_short and (is_echo or low == 4))
    if not (is_known or (is_long and (is_echo or low == 6))):
        counts[BAD_MPTCP_OPTION] += 1
        return _MALFORMED
    if has & _ADDRESS_ID:
        counts[OPTION_REPEATED] += 1
        return 0
    bare = size - 8 if is_signed else size
    row.address_id = u8(b, p + 3)
    if bare <= 10:
        row.added_lo = IPV4_MAPPED | u32(b, p + 4)
    else:
        row.added_hi = u64(b, p + 4)
        row.added_lo = u64(b, p + 12)
    if bare == 10 or bare == 22:
        row.added_port = u16(b, p + bare - 2)
    return _ADD_ADDR | _ADDRESS_ID | (_ECHO if is_echo else 0)


@inlined
def read_short(b: Octets, p: int, size: int, subtype: int, has: int, row: Row, counts: Counts) -> int:
    """Read REMOVE_ADDR, MP_PRIO, MP_FAIL, MP_FASTCLOSE or MP_TCPRST; return the bits it adds to ``has``."""
    is_good = (
        (subtype == 4 and size >= 4)
        or (subtype == 5 and (size == 3 or size == 4))
        or ((subtype == 6 or subtype == 7) and size == 12)
        or (subtype == 8 and size == 4)
    )
    if not is_good:
        counts[BAD_MPTCP_OPTION] += 1
        return _MALFORMED
    has_address_id = subtype == 4 or (subtype == 5 and size == 4)
    if (has_address_id and has & _ADDRESS_ID) or (subtype == 7 and has & _PEER_KEY):
        counts[OPTION_REPEATED] += 1
        return 0
    if has_address_id:
        row.address_id = u8(b, p + 3)
    taken = _ADDRESS_ID if has_address_id else 0
    if subtype == 4:
        return _REMOVE_ADDR | taken
    if subtype == 5:
        return _PRIO | taken | (_BACKUP if u8(b, p + 2) & 1 else 0)
    if subtype == 6:
        return _FAIL
    if subtype == 8:
        return _TCPRST
    row.peer_key = u64(b, p + 4)
    return _FASTCLOSE | _PEER_KEY


@inlined
def read_mptcp(b: Octets, p: int, size: int, flags: int, has: int, row: Row, counts: Counts) -> int:
    """Read one whole option of kind 30; return ``has`` with what it says. Of what comes twice the first counts."""
    has |= MPTCP
    if size < 3:
        counts[BAD_MPTCP_OPTION] += 1
        return has | _MALFORMED
    subtype = u8(b, p + 2) >> 4
    if subtype == 2:
        return has | read_dss(b, p, size, has, row, counts)
    if subtype > 8:
        counts[SUBTYPE_UNKNOWN] += 1
        return has
    if subtype >= 4:
        return has | read_short(b, p, size, subtype, has, row, counts)
    if subtype == 0:
        return has | read_capable(b, p, size, flags, has, row, counts)
    if subtype == 1:
        return has | read_join(b, p, size, flags, has, row, counts)
    return has | read_add_addr(b, p, size, has, row, counts)


@inlined
def read_options(b: Octets, p: int, options_end: int, end: int, flags: int, row: Row, counts: Counts) -> int:
    """Read TCP options up to the header's end or the capture's, whichever is first; return bits of ``has``."""
    has = 0
    limit = min(options_end, end)
    # Nearly all packets start with two paddings and a timestamp: one step instead of three.
    if p + 12 <= limit and u32(b, p) == 0x0101080A:
        p += 12
    while p < limit:
        kind = u8(b, p)
        if kind == 1:
            p += 1
            continue
        if kind == 0:
            return has
        if p + 1 == limit:
            break
        size = u8(b, p + 1)
        if size < 2 or p + size > limit:
            break
        if kind == 30:
            has = read_mptcp(b, p, size, flags, has, row, counts)
        p += size
    return has if p == options_end else has | read_broken_option(b, p, options_end, end, counts)


@inlined
def read_broken_option(b: Octets, p: int, options_end: int, end: int, counts: Counts) -> int:
    """Count an option that is not whole or that the capture cut off; return the bits it adds to ``has``."""
    kind = u8(b, p) if p < end else -1
    size = u8(b, p + 1) if p + 1 < end else -1
    found = MPTCP if kind == 30 else 0
    is_bad = p + 2 > options_end or 0 <= size < 2 or p + size > options_end
    if kind >= 0 and is_bad:
        counts[BAD_MPTCP_OPTION if kind == 30 else BAD_TCP_OPTION] += 1
        return found | (_MALFORMED if kind == 30 else 0)
    counts[CUT_OPTIONS] += 1
    return found | _TRUNCATED
