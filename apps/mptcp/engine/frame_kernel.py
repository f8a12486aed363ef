"""From a captured frame to a row: link layer, IP, TCP and MPTCP options, in one compiled file (see ``compiled``).

Every read is within the captured bytes; what is cut off or broken is counted in ``counts`` under one of the indexes
below and never raises. Every loop moves on by at least one byte, or has a fixed number of turns.

Source: RFC 8684 and RFC 6824 section 3 (options), RFC 8200 section 4 (extension headers), the link-layer header types
of libpcap.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine.compiling import compiled, inlined, outlined
from apps.mptcp.engine.records import Has

Octets = NDArray[np.uint8]
Counts = NDArray[np.int64]
Row = Any  # a record of ``records.RECORD``

# Columns of a frame that is to be read.
START, CAPTURED, SIZE, LINK, TIME = range(5)
FRAME_FIELDS: Final = 5

# What is counted: all frames, then the good ones, then what was cut off, was broken, or was passed over.
(
    FRAMES,
    TCP_PACKETS,
    MPTCP_PACKETS,
    CUT_HEADERS,
    CUT_OPTIONS,
    BAD_LINK,
    BAD_IPV4,
    BAD_IPV6,
    BAD_TCP,
    BAD_TCP_OPTION,
    BAD_MPTCP_OPTION,
    LINK_UNKNOWN,
    NOT_IP,
    NOT_TCP,
    LATER_FRAGMENT,
    SUBTYPE_UNKNOWN,
    OPTION_REPEATED,
    VERSION_UNKNOWN,
) = range(18)
COUNT_KINDS: Final = 18

ETHERNET, PPP, PPP_SERIAL, PPP_ETHER, PPP_DIRECTION, SLL, SLL2 = 1, 9, 50, 51, 204, 113, 276
NULL, LOOP, RAW_DLT, RAW_DLT_BSD, RAW, IPV4, IPV6 = 0, 108, 12, 14, 101, 228, 229
TAGS_MAX: Final = 8
EXTENSIONS_MAX: Final = 8

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
_MPTCP, _ADDRESS_ID = 1 << 30, 1 << 29
_KEPT = _ADDRESS_ID - 1
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_MAPPED = 0xFFFF << 32
# What the flags of a data sequence signal say, without the reserved ones: F, m, M, a, A.
_DSS_BITS: Final = np.array(
    [
        (flags & 1) * (_DATA_ACK + (flags >> 1 & 1) * _DATA_ACK_64)
        + (flags >> 2 & 1) * (_DSN + (flags >> 3 & 1) * _DSN_64 + (flags >> 4) * _DATA_FIN)
        for flags in range(32)
    ]
)


@inlined
def u8(b: Octets, p: int) -> int:
    """Return one byte; the sum makes it a signed word for the compiler, an exact number for the interpreter."""
    return 0 + int(b[np.uint64(p)])


@inlined
def u16(b: Octets, p: int) -> int:
    """Return two bytes in network order."""
    return u8(b, p) << 8 | u8(b, p + 1)


@inlined
def u32(b: Octets, p: int) -> int:
    """Return four bytes in network order."""
    return u8(b, p) << 24 | u8(b, p + 1) << 16 | u8(b, p + 2) << 8 | u8(b, p + 3)


@inlined
def u64(b: Octets, p: int) -> int:
    """Return eight bytes in network order, as a bit pattern."""
    return u32(b, p) << 32 | u32(b, p + 4)


@inlined
def ip_after_type(b: Octets, kind: int, p: int, end: int, counts: Counts) -> int:
    """Return where IP starts behind an EtherType, past VLAN tags and PPPoE; -1: counted why not."""
    for _ in range(TAGS_MAX):
        if kind == 0x0800 or kind == 0x86DD:
            return p
        if kind == 0x8100 or kind == 0x88A8 or kind == 0x9100 or kind == 0x9200:
            if p + 4 > end:
                counts[CUT_HEADERS] += 1
                return -1
            kind = u16(b, p + 2)
            p += 4
        elif kind == 0x8864:
            return ip_in_ppp(b, p + 6, end, counts)
        else:
            counts[NOT_IP] += 1
            return -1
    counts[BAD_LINK] += 1
    return -1


@inlined
def ip_in_ppp(b: Octets, p: int, end: int, counts: Counts) -> int:
    """Return where IP starts in a PPP frame, with or without address, control and long protocol; or -1."""
    if p + 2 <= end and u16(b, p) == 0xFF03:
        p += 2
    if p + 2 > end:
        counts[CUT_HEADERS] += 1
        return -1
    protocol = u8(b, p)
    if protocol & 1 == 0:
        protocol = u16(b, p)
        p += 1
    if protocol == 0x21 or protocol == 0x57:
        return p + 1
    counts[NOT_IP] += 1
    return -1


@inlined
def ip_in_loopback(b: Octets, p: int, end: int, counts: Counts) -> int:
    """Return where IP starts behind an address family of four bytes, in either byte order; or -1."""
    if p + 4 > end:
        counts[CUT_HEADERS] += 1
        return -1
    family = u32(b, p)
    if family > 0xFFFF:
        family = u8(b, p) | u8(b, p + 1) << 8 | u16(b, p + 2) << 16
    # AF_INET6 is 10 on Linux, 24, 28 and 30 on the BSDs and macOS.
    if family == 2 or family == 10 or family == 24 or family == 28 or family == 30:
        return p + 4
    counts[NOT_IP] += 1
    return -1


@inlined
def ip_in_frame(b: Octets, p: int, end: int, link: int, counts: Counts) -> int:
    """Return where IP starts in a frame of a link-layer header type; -1: counted why not."""
    if link == ETHERNET:
        if p + 14 > end:
            counts[CUT_HEADERS] += 1
            return -1
        return ip_after_type(b, u16(b, p + 12), p + 14, end, counts)
    if link in (SLL, SLL2):
        header = 16 if link == SLL else 20
        if p + header > end:
            counts[CUT_HEADERS] += 1
            return -1
        return ip_after_type(b, u16(b, p + 14) if link == SLL else u16(b, p), p + header, end, counts)
    if link in (RAW, RAW_DLT, RAW_DLT_BSD, IPV4, IPV6):
        return p
    if link in (PPP, PPP_SERIAL):
        return ip_in_ppp(b, p, end, counts)
    if link == PPP_DIRECTION:
        return ip_in_ppp(b, p + 1, end, counts)
    if link == PPP_ETHER:
        return ip_in_ppp(b, p + 6, end, counts)
    if link in (NULL, LOOP):
        return ip_in_loopback(b, p, end, counts)
    counts[LINK_UNKNOWN] += 1
    return -1


@inlined
def tcp_in_ipv4(b: Octets, ip: int, end: int, wire_end: int, counts: Counts) -> tuple[int, int]:
    """Return where TCP starts and the packet ends by its header; -1 first: counted why not."""
    if ip + 20 > end:
        counts[CUT_HEADERS] += 1
        return -1, 0
    header = (u8(b, ip) & 15) * 4
    total = u16(b, ip + 2)
    if total == 0:  # captured before the device cut it to segments
        total = wire_end - ip
    if header < 20 or total < header:
        counts[BAD_IPV4] += 1
        return -1, 0
    if u8(b, ip + 9) != 6:
        counts[NOT_TCP] += 1
        return -1, 0
    if u16(b, ip + 6) & 0x1FFF:
        counts[LATER_FRAGMENT] += 1
        return -1, 0
    return ip + header, ip + total


@inlined
def tcp_in_ipv6(b: Octets, ip: int, end: int, wire_end: int, counts: Counts) -> tuple[int, int]:
    """Return where TCP starts behind the extension headers and the packet ends; -1 first: counted why not."""
    if ip + 40 > end:
        counts[CUT_HEADERS] += 1
        return -1, 0
    size = u16(b, ip + 4)
    packet_end = wire_end if size == 0 else ip + 40 + size
    following = u8(b, ip + 6)
    p = ip + 40
    for _ in range(EXTENSIONS_MAX):
        if following == 6:
            return p, packet_end
        is_fragment = following == 44
        is_skipped = following == 0 or following == 43 or following == 60
        if not (is_fragment or is_skipped or following == 51 or following == 135 or following == 139):
            counts[NOT_TCP] += 1
            return -1, 0
        if p + 8 > packet_end:
            counts[BAD_IPV6] += 1
            return -1, 0
        if p + 8 > end:
            counts[CUT_HEADERS] += 1
            return -1, 0
        if is_fragment and u16(b, p + 2) & 0xFFF8:
            counts[LATER_FRAGMENT] += 1
            return -1, 0
        units = u8(b, p + 1)
        is_authentication = following == 51
        following = u8(b, p)
        if is_fragment:
            p += 8
        elif is_authentication:
            p += (units + 2) * 4
        else:
            p += (units + 1) * 8
    counts[BAD_IPV6] += 1
    return -1, 0


@inlined
def ending_at(b: Octets, after: int, size: int) -> int:
    """Return the last ``size`` bytes before ``after``, 0, 4 or 8 in network order, without a branch.

    Eight bytes are read: what is before must be there.
    """
    return u64(b, after - 8) & ((1 << 4 * size) << 4 * size) - 1


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
        row.added_lo = _MAPPED | u32(b, p + 4)
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
    has |= _MPTCP
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
    found = _MPTCP if kind == 30 else 0
    is_bad = p + 2 > options_end or 0 <= size < 2 or p + size > options_end
    if kind >= 0 and is_bad:
        counts[BAD_MPTCP_OPTION if kind == 30 else BAD_TCP_OPTION] += 1
        return found | (_MALFORMED if kind == 30 else 0)
    counts[CUT_OPTIONS] += 1
    return found | _TRUNCATED


@inlined
def write_addresses(b: Octets, ip: int, row: Row) -> None:
    """Write both addresses of an IP header, IPv4 mapped into IPv6."""
    if u8(b, ip) >> 4 == 4:
        row.src_lo = _MAPPED | u32(b, ip + 12)
        row.dst_lo = _MAPPED | u32(b, ip + 16)
        return
    row.src_hi = u64(b, ip + 8)
    row.src_lo = u64(b, ip + 16)
    row.dst_hi = u64(b, ip + 24)
    row.dst_lo = u64(b, ip + 32)


@inlined
def clear(row: Row) -> None:
    """Write zeros to a row, but for what every row has."""
    row.src_hi, row.dst_hi = 0, 0
    row.dsn, row.data_ack, row.ssn, row.map_bytes = 0, 0, 0, 0
    row.version, row.key, row.peer_key, row.token, row.nonce = 0, 0, 0, 0, 0
    row.address_id, row.added_hi, row.added_lo, row.added_port = 0, 0, 0, 0


@inlined
def read_usual(b: Octets, ip: int, end: int, row: Row, counts: Counts) -> bool:
    """Read the packet that nearly all are, whole and without a fault; False: it is another, and nothing was read.

    IPv4 and TCP whose options are a timestamp, a data sequence signal and padding. All that is read lies at a known
    distance from ``ip``, so the processor need not wait for one length before it reads the next: half the time.
    """
    if ip + 56 > end or u8(b, ip) != 0x45 or u8(b, ip + 9) != 6 or u16(b, ip + 6) & 0x1FFF:
        return False
    if u32(b, ip + 40) != 0x0101080A or u8(b, ip + 52) != 30 or u8(b, ip + 54) >> 4 != 2:
        return False
    total, header, size = u16(b, ip + 2), (u8(b, ip + 32) >> 4) * 4, u8(b, ip + 53)
    options_end = ip + 20 + header
    if options_end > end or total < 20 + header or size < 4:
        return False
    padding = header - 32 - size
    # Not branched: one packet has padding and the next has none.
    if not (padding == 0) | ((padding == 2) & (u16(b, options_end - 2) == 0x0101)):
        return False
    clear(row)
    has = read_dss(b, ip + 52, size, 0, row, counts)
    row.src_lo = _MAPPED | u32(b, ip + 12)
    row.dst_lo = _MAPPED | u32(b, ip + 16)
    row.src_port = u16(b, ip + 20)
    row.dst_port = u16(b, ip + 22)
    row.seq = u32(b, ip + 24)
    row.ack = u32(b, ip + 28)
    row.payload_bytes = total - 20 - header
    row.has = has
    row.tcp_flags = u8(b, ip + 33)
    return True


@inlined
def read_frame(b: Octets, start: int, captured: int, size: int, link: int, row: Row, counts: Counts) -> bool:
    """Read any frame into a row, all but its time and observer; False: it is no row of ours."""
    counts[FRAMES] += 1
    end = start + captured
    ip = ip_in_frame(b, start, end, link, counts)
    if ip < 0:
        return False
    if ip >= end:
        counts[CUT_HEADERS] += 1
        return False
    ip_version = u8(b, ip) >> 4
    if ip_version == 4:
        tcp, packet_end = tcp_in_ipv4(b, ip, end, start + size, counts)
    elif ip_version == 6:
        tcp, packet_end = tcp_in_ipv6(b, ip, end, start + size, counts)
    else:
        counts[NOT_IP] += 1
        return False
    if tcp < 0:
        return False
    end = min(end, packet_end)  # behind it: Ethernet's padding
    if tcp + 14 > end:
        counts[BAD_TCP if tcp + 20 > packet_end else CUT_HEADERS] += 1
        return False
    header = (u8(b, tcp + 12) >> 4) * 4
    if header < 20 or tcp + header > packet_end:
        counts[BAD_TCP] += 1
        return False
    counts[TCP_PACKETS] += 1
    flags = u8(b, tcp + 13)
    clear(row)
    has = read_options(b, tcp + 20, tcp + header, end, flags, row, counts)
    if has & _MPTCP:
        counts[MPTCP_PACKETS] += 1
    elif not flags & (_SYN | _FIN | _RST):
        return False
    write_addresses(b, ip, row)
    row.src_port = u16(b, tcp)
    row.dst_port = u16(b, tcp + 2)
    row.seq = u32(b, tcp + 4)
    row.ack = u32(b, tcp + 8)
    row.payload_bytes = packet_end - tcp - header
    row.has = has & _KEPT
    row.tcp_flags = flags
    return True


@inlined
def read_usual_frames(b: Octets, frames: Counts, first: int, observer: int, rows: Any, found: int, counts: Counts) -> int:
    """Read frames from ``first`` on into rows from ``found`` on, as long as they are usual; return how many."""
    done = 0
    while first + done < frames.shape[0]:
        frame = frames[np.uint64(first + done)]
        row = rows[np.uint64(found + done)]
        start, end = frame[START], frame[START] + frame[CAPTURED]
        if frame[LINK] != ETHERNET or start + 14 > end or u16(b, start + 12) != 0x0800:
            break
        if not read_usual(b, start + 14, end, row, counts):
            break
        row.at_us = frame[TIME]
        row.observer = observer
        done += 1
    counts[FRAMES] += done
    counts[TCP_PACKETS] += done
    counts[MPTCP_PACKETS] += done
    return done


@compiled
def read_frames(b: Octets, frames: Counts, observer: int, rows: Any, counts: Counts) -> int:
    """Read frames, int64[frames, FRAME_FIELDS], in order; return how many of ``rows``, one per frame, they fill."""
    i, found = 0, 0
    while i < frames.shape[0]:
        usual = read_usual_frames(b, frames, i, observer, rows, found, counts)
        i, found = i + usual, found + usual
        if i == frames.shape[0]:
            break
        frame, row = frames[np.uint64(i)], rows[np.uint64(found)]
        if read_frame(b, frame[START], frame[CAPTURED], frame[SIZE], frame[LINK], row, counts):
            row.at_us = frame[TIME]
            row.observer = observer
            found += 1
        i += 1
    return found
