"""From a captured frame to a row: link layer, IP, TCP; its options are read in ``option_kernel``.

Every read is within the captured bytes; what is cut off or broken is counted in ``counts``, see ``frame_counts``, and
never raises. Every loop moves on by at least one byte, or has a fixed number of turns.

Source: RFC 8200 section 4 (extension headers), the link-layer header types of libpcap.
"""

from typing import Any, Final

import numpy as np

from apps.mptcp.engine.compiling import compiled, inlined
from apps.mptcp.engine.frame_counts import (
    BAD_IPV4,
    BAD_IPV6,
    BAD_LINK,
    BAD_TCP,
    CUT_HEADERS,
    FRAMES,
    LATER_FRAGMENT,
    LINK_UNKNOWN,
    MPTCP_PACKETS,
    NOT_IP,
    NOT_TCP,
    TCP_PACKETS,
)
from apps.mptcp.engine.octets_kernel import Octets, u8, u16, u32, u64
from apps.mptcp.engine.option_kernel import KEPT, MPTCP, Counts, Row, read_dss, read_options
from apps.mptcp.engine.records import IPV4_MAPPED, TcpFlag

# Columns of a frame that is to be read.
START, CAPTURED, SIZE, LINK, TIME = range(5)
FRAME_FIELDS: Final = 5

ETHERNET, PPP, PPP_SERIAL, PPP_ETHER, PPP_DIRECTION, SLL, SLL2 = 1, 9, 50, 51, 204, 113, 276
NULL, LOOP, RAW_DLT, RAW_DLT_BSD, RAW, IPV4, IPV6 = 0, 108, 12, 14, 101, 228, 229
TAGS_MAX: Final = 8
EXTENSIONS_MAX: Final = 8

_OPENS_OR_ENDS = int(TcpFlag.SYN | TcpFlag.FIN | TcpFlag.RST)


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
def write_addresses(b: Octets, ip: int, row: Row) -> None:
    """Write both addresses of an IP header, IPv4 mapped into IPv6."""
    if u8(b, ip) >> 4 == 4:
        row.src_lo = IPV4_MAPPED | u32(b, ip + 12)
        row.dst_lo = IPV4_MAPPED | u32(b, ip + 16)
        return
    row.src_hi = u64(b, ip + 8)
    row.src_lo = u64(b, ip + 16)
    row.dst_hi = u64(b, ip + 24)
    row.dst_lo = u64(b, ip + 32)


@inlined
def write_tcp(b: Octets, tcp: int, row: Row) -> None:
    """Write ports, numbers and flags of a TCP header."""
    row.src_port = u16(b, tcp)
    row.dst_port = u16(b, tcp + 2)
    row.seq = u32(b, tcp + 4)
    row.ack = u32(b, tcp + 8)
    row.tcp_flags = u8(b, tcp + 13)


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
    row.src_lo = IPV4_MAPPED | u32(b, ip + 12)
    row.dst_lo = IPV4_MAPPED | u32(b, ip + 16)
    write_tcp(b, ip + 20, row)
    row.payload_bytes = total - 20 - header
    row.has = has
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
    if has & MPTCP:
        counts[MPTCP_PACKETS] += 1
    elif not flags & _OPENS_OR_ENDS:
        return False
    write_addresses(b, ip, row)
    write_tcp(b, tcp, row)
    row.payload_bytes = packet_end - tcp - header
    row.has = has & KEPT
    return True


@inlined
def read_usual_frames(
    b: Octets, frames: Counts, first: int, observer: int, rows: Any, found: int, counts: Counts
) -> int:
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
