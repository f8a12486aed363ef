"""The probe that two gateways exchange over every link: fixed size, authenticated, safe against replay.

Layout (network byte order), 60 bytes:

| bytes | field | meaning |
|---|---|---|
| 2 | magic | ``0x4E57`` |
| 1 | version | 1 |
| 1 | flags | bit 0: the echo fields are set |
| 8 | boot_id | wall clock of the sender's start in ns: grows with every start, and by one when ``seq`` starts again |
| 4 | link_id | CRC-32 of the link's name: a probe that strays to another link is refused |
| 4 | seq | grows by one per probe and link, modulo 2^32 |
| 8 | sent_ns | sender's monotonic clock |
| 8 | echo_sent_ns | ``sent_ns`` of the newest probe heard from the peer on this link |
| 4 | echo_held_us | how long the sender held that probe before this one left |
| 4 | rx_down | bit i: the sender does not hear link i (links sorted by name) |
| 16 | tag | BLAKE2s of all before, keyed |

Source: the fields follow BFD (RFC 5880 section 4.1: sequence, state of the receiving side) with the echo of TWAMP
(RFC 5357). Deviation: one fixed format, keyed BLAKE2s instead of the authentication types of RFC 5880.
"""

import hashlib
import hmac
import struct
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

MAGIC: Final = 0x4E57
VERSION: Final = 1
MAX_LINKS: Final = 32
KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
_BODY: Final = struct.Struct("!HBBQIIQQII")
PROBE_BYTES: Final = _BODY.size + TAG_BYTES
_FLAG_ECHO: Final = 1

FaultKind = Literal["length", "magic", "version", "tag", "link", "replay"]


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe. ``rx_down`` holds the indices of links that the sender does not hear."""

    boot_id: int
    link_id: int
    seq: int
    sent_ns: int
    echo_sent_ns: int | None = None
    echo_held_us: int = 0
    rx_down: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class ProbeFault:
    """Why bytes are not an acceptable probe."""

    kind: FaultKind


def link_id(name: str) -> int:
    """Return the number by which probes name a link."""
    return zlib.crc32(name.encode())


def encode_probe(key: bytes, probe: Probe) -> bytes:
    """Return the probe's bytes. Complexity: O(1), about 3 us.

    Args:
        key: ``KEY_BYTES`` secret bytes, the same at both ends.
        probe: indices in ``rx_down`` are below ``MAX_LINKS``; what of ``seq`` exceeds 32 bits counts into ``boot_id``,
            else the peer would refuse every probe as a replay after 2^32 of them (50 days at 1 ms).
    """
    bits = 0
    for index in probe.rx_down:
        bits |= 1 << index
    has_echo = probe.echo_sent_ns is not None
    body = _BODY.pack(
        MAGIC,
        VERSION,
        _FLAG_ECHO if has_echo else 0,
        probe.boot_id + (probe.seq >> 32),
        probe.link_id,
        probe.seq & 0xFFFFFFFF,
        probe.sent_ns,
        probe.echo_sent_ns or 0,
        min(probe.echo_held_us, 0xFFFFFFFF),
        bits,
    )
    return body + _tag(key, body)


def decode_probe(key: bytes, data: bytes) -> Probe | ProbeFault:
    """Return the probe in ``data``, or why there is none. Never raises, whatever arrives. Complexity: O(1)."""
    if len(data) != PROBE_BYTES:
        return ProbeFault("length")
    body, tag = data[: _BODY.size], data[_BODY.size :]
    magic, version, flags, boot_id, link, seq, sent_ns, echo_ns, held_us, bits = _BODY.unpack(body)
    if magic != MAGIC:
        return ProbeFault("magic")
    if version != VERSION:
        return ProbeFault("version")
    if not hmac.compare_digest(tag, _tag(key, body)):
        return ProbeFault("tag")
    down = frozenset(index for index in range(MAX_LINKS) if bits >> index & 1)
    return Probe(boot_id, link, seq, sent_ns, echo_ns if flags & _FLAG_ECHO else None, held_us, down)


def _tag(key: bytes, body: bytes) -> bytes:
    return hashlib.blake2s(body, key=key, digest_size=TAG_BYTES).digest()


@dataclass(slots=True)
class ReplayGuard:
    """Accepts each probe of a link once, in order; counts what it refuses by kind.

    A probe of an older start of the peer than the newest seen, or not newer than the last one of the same start, is
    a replay (or was overtaken; both are worthless).
    """

    link_id: int
    boot_id: int = 0
    seq: int = -1
    refused: Counter[FaultKind] = field(default_factory=Counter)

    def admit(self, decoded: Probe | ProbeFault) -> Probe | None:
        """Return the probe when it is new."""
        if isinstance(decoded, ProbeFault):
            self.refused[decoded.kind] += 1
            return None
        if decoded.link_id != self.link_id:
            self.refused["link"] += 1
            return None
        if decoded.boot_id < self.boot_id or (decoded.boot_id == self.boot_id and decoded.seq <= self.seq):
            self.refused["replay"] += 1
            return None
        self.boot_id, self.seq = decoded.boot_id, decoded.seq
        return decoded
