"""A recorded capture as packets that can be chosen, and multiplied into a larger capture of other connections."""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

HEAD_BYTES: Final = 24
_ETHERNET, _IPV4 = 14, 20
_MPTCP = 30


class PacketsFile:
    """All packets of a capture as the recorder writes it: nanoseconds, Ethernet, IPv4, this machine's byte order."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.head = self.data[:HEAD_BYTES]
        places, at = [], HEAD_BYTES
        while at < len(self.data):
            places.append(at)
            at += 16 + int.from_bytes(self.data[at + 8 : at + 12], "little")
        self.places: NDArray[np.int64] = np.array(places, np.int64)
        self.ends: NDArray[np.int64] = np.append(self.places[1:], at)
        octets = np.frombuffer(self.data, np.uint8)
        self.times_s = _words(octets, self.places, "<") + _words(octets, self.places + 4, "<") / 1e9
        self.ports: NDArray[np.int64] = _halves(octets, self.places + 16 + _ETHERNET + _IPV4)

    def __len__(self) -> int:
        return len(self.places)

    def capture(self, mask: NDArray[np.bool_] | None = None) -> bytes:
        """Return a capture file of the packets of a mask, or of all."""
        if mask is None or mask.all():
            return self.data
        chosen = np.flatnonzero(mask)
        spans = zip(self.places[chosen].tolist(), self.ends[chosen].tolist(), strict=True)
        return self.head + b"".join([self.data[start:end] for start, end in spans])

    def multiplied(self, times: int) -> bytes:
        """Return a capture of ``times`` copies one after the other, each of other hosts, keys and numbers.

        Addresses, keys and the upper halves of all 64-bit numbers differ between copies, alike for all packets of a
        copy, and tokens follow from the keys: what belonged together still does, by its numbers.
        """
        octets = np.frombuffer(self.data, np.uint8)
        keys, numbers, tokens = self._numbers()
        halves = (_words(octets, keys + k, ">").tolist() for k in (0, 4))
        old_tokens = {
            _token(key): key for key in {high << 32 | low for high, low in zip(*halves, strict=True)}
        }
        named = [old_tokens.get(token) for token in _words(octets, tokens, ">").tolist()]
        addresses = np.concatenate([self.places + 16 + _ETHERNET + 12 + k for k in (1, 5)])
        span_s = int(self.times_s[-1] - self.times_s[0]) + 5
        rng = np.random.default_rng(1)
        parts = [self.head]
        for copy in range(times):
            changed, offset = octets.copy(), int(rng.integers(1 << 32))
            changed[addresses] ^= np.uint8(copy)
            for places in (keys, numbers):
                _put(changed, places, _words(octets, places, ">") + offset, ">")
            new = [0 if key is None else _token((key + (offset << 32)) % (1 << 64)) for key in named]
            _put(changed, tokens, np.array(new, np.int64), ">")
            _put(changed, self.places, _words(octets, self.places, "<") + copy * span_s, "<")
            parts.append(changed[HEAD_BYTES:].tobytes())
        return b"".join(parts)

    def _numbers(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return where keys, the upper halves of 64-bit DSNs and DATA_ACKs, and tokens are."""
        found: tuple[list[int], list[int], list[int]] = ([], [], [])
        for place, end in zip(self.places.tolist(), self.ends.tolist(), strict=True):
            tcp = place + 16 + _ETHERNET + _IPV4
            if end < tcp + 20 or self.data[place + 16 + 23] != 6:
                continue
            at, stop = tcp + 20, min(end, tcp + (self.data[tcp + 12] >> 4) * 4)
            while at + 1 < stop and (kind := self.data[at]):
                size = 1 if kind == 1 else self.data[at + 1]
                if kind == _MPTCP:
                    for places, more in zip(found, _places_of(self.data, at, size), strict=True):
                        places += more
                at += max(1, size)
        keys, numbers, tokens = (np.array(places, np.int64) for places in found)
        return keys, numbers, tokens


def _token(key: int) -> int:
    return int.from_bytes(hashlib.sha256(key.to_bytes(8, "big")).digest()[:4], "big")


def _places_of(data: bytes, at: int, size: int) -> tuple[list[int], list[int], list[int]]:
    """Return where one option holds keys, numbers and a token."""
    subtype = data[at + 2] >> 4
    if subtype == 0:
        return [at + 4 + 8 * n for n in range((size - 4) // 8)], [], []
    if subtype == 1:
        return [], [], [at + 4] if size == 12 else []
    if subtype == 7:
        return [at + 4], [], []
    if subtype != 2:
        return [], [], []
    flags, place = data[at + 3], at + 4
    found: list[int] = []
    for is_there, is_long in ((1, 2), (4, 8)):
        if flags & is_there:
            if flags & is_long:
                found.append(place)
            place += 8 if flags & is_long else 4
    return [], found, []


def _words(octets: NDArray[np.uint8], places: NDArray[np.int64], order: str) -> NDArray[np.int64]:
    shifts = range(0, 32, 8) if order == "<" else range(24, -1, -8)
    total = np.zeros(len(places), np.int64)
    for offset, shift in enumerate(shifts):
        total |= octets[places + offset].astype(np.int64) << shift
    return total


def _put(octets: NDArray[np.uint8], places: NDArray[np.int64], values: NDArray[np.int64], order: str) -> None:
    shifts = range(0, 32, 8) if order == "<" else range(24, -1, -8)
    for offset, shift in enumerate(shifts):
        octets[places + offset] = (values >> shift & 0xFF).astype(np.uint8)


def _halves(octets: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the source ports; where no packet is so long, what is there."""
    places = np.minimum(places, len(octets) - 2)
    return octets[places].astype(np.int64) << 8 | octets[places + 1]
