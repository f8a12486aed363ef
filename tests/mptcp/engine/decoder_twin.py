"""The dumb twin of the frame decoder: one packet at a time, slices and ``struct`` only, no numba and no shared code."""

import struct
from typing import NamedTuple

from apps.mptcp.engine.records import COLUMNS, Has

Row = dict[str, int]
SYN, ACK = 2, 16
IP_TYPES = (0x0800, 0x86DD)
TAGS = (0x8100, 0x88A8, 0x9100, 0x9200)


class CutError(Exception):
    """The capture ends before something that is needed."""


class OtherError(Exception):
    """Not a packet of ours, or a broken one."""


class Frame(NamedTuple):
    """A frame as it lies in a capture."""

    data: bytes
    wire: int
    link: int = 1
    at_us: int = 0
    observer: int = 0


def take(data: bytes, start: int, size: int) -> bytes:
    """Return bytes that must be there."""
    piece = data[start : start + size]
    if len(piece) < size:
        raise CutError
    return piece


def after_type(data: bytes, kind: int) -> bytes:
    """Return the IP packet behind an EtherType."""
    for _ in range(8):
        if kind in IP_TYPES:
            return data
        if kind in TAGS:
            kind = int.from_bytes(take(data, 0, 4)[2:], "big")
            data = data[4:]
        elif kind == 0x8864:
            return after_ppp(data[6:])
        else:
            raise OtherError
    raise OtherError


def after_ppp(data: bytes) -> bytes:
    """Return the IP packet in a PPP frame."""
    data = data[2:] if data[:2] == b"\xff\x03" else data
    first = take(data, 0, 2)[0]
    size = 1 if first & 1 else 2
    if int.from_bytes(data[:size], "big") not in (0x21, 0x57):
        raise OtherError
    return data[size:]


def network_packet(frame: Frame) -> bytes:
    """Return what follows the link layer."""
    data, link = frame.data, frame.link
    if link == 1:
        return after_type(data[14:], int.from_bytes(take(data, 0, 14)[12:], "big"))
    if link == 113:
        return after_type(data[16:], int.from_bytes(take(data, 0, 16)[14:], "big"))
    if link == 276:
        return after_type(data[20:], int.from_bytes(take(data, 0, 20)[:2], "big"))
    if link in (12, 14, 101, 228, 229):
        return data
    if link in (9, 50):
        return after_ppp(data)
    if link == 204:
        return after_ppp(data[1:])
    if link == 51:
        return after_ppp(data[6:])
    if link in (0, 108):
        family = take(data, 0, 4)
        numbers = {int.from_bytes(family, "big"), int.from_bytes(family, "little")}
        if not numbers & {2, 10, 24, 28, 30}:
            raise OtherError
        return data[4:]
    raise OtherError


def tcp_segment(packet: bytes, wire: int) -> tuple[Row, bytes, int]:
    """Return the addresses, what was captured of TCP, and its length by the IP header."""
    version = take(packet, 0, 1)[0] >> 4
    if version == 4:
        head = take(packet, 0, 20)
        size, total = (head[0] & 15) * 4, int.from_bytes(head[2:4], "big") or wire
        if size < 20 or total < size or head[9] != 6 or int.from_bytes(head[6:8], "big") & 0x1FFF:
            raise OtherError
        src, dst = (0xFFFF << 32 | int.from_bytes(head[at : at + 4], "big") for at in (12, 16))
        return {"src_lo": src, "dst_lo": dst}, packet[size:total], total - size
    if version != 6:
        raise OtherError
    head = take(packet, 0, 40)
    total = int.from_bytes(head[4:6], "big") + 40
    total = wire if total == 40 else total
    following, at = head[6], 40
    for _ in range(8):
        if following == 6:
            break
        if following not in (0, 43, 44, 51, 60, 135, 139) or at + 8 > total:
            raise OtherError
        extension = take(packet, at, 8)
        if following == 44 and int.from_bytes(extension[2:4], "big") >> 3:
            raise OtherError
        units = {44: 8, 51: (extension[1] + 2) * 4}
        at += units.get(following, (extension[1] + 1) * 8)
        following = extension[0]
    else:
        raise OtherError
    halves = struct.unpack(">4Q", head[8:])
    names = ("src_hi", "src_lo", "dst_hi", "dst_lo")
    return dict(zip(names, halves, strict=True)), packet[at : max(total, 0)], total - at


def row_of(frame: Frame) -> Row | None:
    """Return the row of a frame, None where it makes none."""
    try:
        packet = network_packet(frame)
        addresses, tcp, size = tcp_segment(packet, frame.wire - (len(frame.data) - len(packet)))
        if len(tcp) < 14:
            raise CutError
    except (CutError, OtherError):
        return None
    src_port, dst_port, seq, ack, offset, flags = struct.unpack(">HHIIBB", tcp[:14])
    header = (offset >> 4) * 4
    if header < 20 or header > size:
        return None
    row = dict.fromkeys(COLUMNS, 0) | addresses
    row |= {"src_port": src_port, "dst_port": dst_port, "seq": seq, "ack": ack, "tcp_flags": flags}
    row |= {"at_us": frame.at_us, "observer": frame.observer, "payload_bytes": size - header}
    reader = OptionReader(row, flags)
    reader.read(tcp[20:header], header - 20)
    return row if reader.is_mptcp or flags & 7 else None


class OptionReader:
    """Reads TCP options into a row. Of what comes twice, the first counts."""

    def __init__(self, row: Row, flags: int) -> None:
        self.row = row
        self.flags = flags
        self.is_mptcp = False
        self.has_id = False

    def add(self, bits: int, **columns: int) -> None:
        self.row["has"] |= int(bits)
        self.row.update(columns)

    def has(self, bits: int) -> bool:
        return bool(self.row["has"] & int(bits))

    def read(self, data: bytes, size: int) -> None:
        """Read ``size`` bytes of options, of which ``data`` was captured."""
        at = 0
        while at < size:
            if at >= len(data):
                return self.add(Has.TRUNCATED)
            kind = data[at]
            if kind == 0:
                return None
            if kind == 1:
                at += 1
                continue
            self.is_mptcp |= kind == 30
            if at + 1 == size:
                return self.add(Has.MALFORMED if kind == 30 else 0)
            if at + 1 >= len(data):
                return self.add(Has.TRUNCATED)
            length = data[at + 1]
            if length < 2 or at + length > size:
                return self.add(Has.MALFORMED if kind == 30 else 0)
            if at + length > len(data):
                return self.add(Has.TRUNCATED)
            if kind == 30:
                self.one(data[at + 2 : at + length])
            at += length
        return None

    def one(self, body: bytes) -> None:
        """Read one option's bytes behind kind and length."""
        if not body:
            return self.add(Has.MALFORMED)
        names = ("capable", "join", "dss", "add_addr", "remove_addr", "prio", "fail", "fastclose", "tcprst")
        subtype = body[0] >> 4
        if subtype < len(names) and not getattr(self, names[subtype])(body, len(body) + 2):
            self.add(Has.MALFORMED)
        return None

    def capable(self, body: bytes, size: int) -> bool:
        version, is_syn, is_ack = body[0] & 15, bool(self.flags & SYN), bool(self.flags & ACK)
        allowed = {
            (0, True, False): (12,), (0, True, True): (12,), (0, False, True): (20,), (0, False, False): (20,),
            (1, True, False): (4,), (1, True, True): (12,), (1, False, True): (20, 22, 24),
            (1, False, False): (20, 22, 24),
        }  # fmt: skip
        if version > 1:
            if (
                size >= 4
                and not self.has(Has.CAPABLE | Has.PEER_KEY)
                and not (size > 20 and self.has(Has.DSN))
            ):
                self.add(Has.CAPABLE, version=version)
            return size >= 4
        if size not in allowed[version, is_syn, is_ack]:
            return False
        if self.has(Has.CAPABLE | Has.PEER_KEY) or (size > 20 and self.has(Has.DSN)):
            return True
        keys = [int.from_bytes(body[at : at + 8], "big") for at in (2, 10) if size >= at + 10]
        if len(keys) == 2 and keys[0] == keys[1]:
            return False
        self.add(Has.CAPABLE, version=version)
        for bit, name, key in zip((Has.KEY, Has.PEER_KEY), ("key", "peer_key"), keys, strict=False):
            self.add(bit, **{name: key})
        if size > 20:
            self.add(Has.CAPABLE_MAP, ssn=1, map_bytes=int.from_bytes(body[18:20], "big"))
        return True

    def join(self, body: bytes, size: int) -> bool:
        if size != {(2): 12, (18): 16, (0): 24, (16): 24}[self.flags & (SYN | ACK)]:
            return False
        if self.has(Has.JOIN) or (size < 24 and self.has_id):
            return True
        self.add(Has.JOIN)
        if size < 24:
            self.has_id = True
            self.add(
                Has.BACKUP if body[0] & 1 else 0, address_id=body[1], nonce=int.from_bytes(body[-4:], "big")
            )
        if size == 12:
            self.add(Has.TOKEN, token=int.from_bytes(body[2:6], "big"))
        return True

    def dss(self, body: bytes, size: int) -> bool:
        if size < 4:
            return False
        flags = body[1]
        ack_bytes = {0: 0, 1: 4, 2: 0, 3: 8}[flags & 3]
        dsn_bytes = {0: 0, 4: 4, 8: 0, 12: 8}[flags & 12]
        sizes = [4 + ack_bytes + dsn_bytes + more for more in ((6, 8) if dsn_bytes else (0,))]
        if size not in sizes:
            return False
        if self.has(Has.DSN | Has.DATA_ACK | Has.CAPABLE_MAP):
            return True
        ack, rest = body[2 : 2 + ack_bytes], body[2 + ack_bytes :]
        if ack:
            self.add(Has.DATA_ACK | (Has.DATA_ACK_64 if len(ack) == 8 else 0))
            self.row["data_ack"] = int.from_bytes(ack, "big")
        if dsn_bytes:
            self.add(Has.DSN | (Has.DSN_64 if dsn_bytes == 8 else 0) | (Has.DATA_FIN if flags & 16 else 0))
            ssn, map_bytes = struct.unpack(">IH", rest[dsn_bytes : dsn_bytes + 6])
            self.add(0, dsn=int.from_bytes(rest[:dsn_bytes], "big"), ssn=ssn, map_bytes=map_bytes)
        return True

    def add_addr(self, body: bytes, size: int) -> bool:
        low = body[0] & 15
        bare = {16: 8, 18: 10, 28: 20, 30: 22}.get(size, size)
        if bare not in (8, 10, 20, 22):
            return False
        is_good = not low & 1 if bare != size else bool(low & 1) or low == (4 if bare <= 10 else 6)
        if not is_good or self.has_id:
            return is_good
        self.has_id = True
        octets = 4 if bare <= 10 else 16
        address = int.from_bytes(body[2 : 2 + octets], "big") | (0xFFFF << 32 if octets == 4 else 0)
        port = int.from_bytes(body[2 + octets : 4 + octets], "big") if bare in (10, 22) else 0
        self.add(
            Has.ADD_ADDR | (Has.ADD_ADDR_ECHO if low & 1 else 0),
            address_id=body[1], added_hi=address >> 64, added_lo=address & (1 << 64) - 1, added_port=port,
        )  # fmt: skip
        return True

    def remove_addr(self, body: bytes, size: int) -> bool:
        if size >= 4 and not self.has_id:
            self.has_id = True
            self.add(Has.REMOVE_ADDR, address_id=body[1])
        return size >= 4

    def prio(self, body: bytes, size: int) -> bool:
        if size in (3, 4) and not (size == 4 and self.has_id):
            self.has_id |= size == 4
            self.add(Has.PRIO | (Has.BACKUP if body[0] & 1 else 0))
            if size == 4:
                self.row["address_id"] = body[1]
        return size in (3, 4)

    def fail(self, _body: bytes, size: int) -> bool:
        self.add(Has.FAIL if size == 12 else 0)
        return size == 12

    def fastclose(self, body: bytes, size: int) -> bool:
        if size == 12 and not self.has(Has.PEER_KEY):
            self.add(Has.FASTCLOSE | Has.PEER_KEY, peer_key=int.from_bytes(body[2:10], "big"))
        return size == 12

    def tcprst(self, _body: bytes, size: int) -> bool:
        self.add(Has.TCPRST if size == 4 else 0)
        return size == 4
