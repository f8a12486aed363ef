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
        """Return a capture of ``times`` copies one after the other, each of other hosts and other connections.

        Addresses and keys differ between copies, alike for all packets of a copy; tokens and the start of all data
        sequence numbers follow from the keys, as version 1 has it.
        """
        octets = np.frombuffer(self.data, np.uint8)
        addresses = np.concatenate([self.places + 16 + _ETHERNET + 12 + k for k in (1, 5)])
        span_s = int(self.times_s[-1] - self.times_s[0]) + 5
        numbers, rng = _Numbers(self), np.random.default_rng(1)
        parts = [self.head]
        for copy in range(times):
            changed = octets.copy()
            changed[addresses] ^= np.uint8(copy)
            numbers.change(changed, octets, int(rng.integers(1 << 32)) << 32)
            _put(changed, self.places, _words(octets, self.places, "<") + copy * span_s, "<")
            parts.append(changed[HEAD_BYTES:].tobytes())
        return b"".join(parts)


class _Numbers:
    """Where a capture holds keys, tokens and data sequence numbers, and of which key each is."""

    def __init__(self, packets: PacketsFile) -> None:
        self._data = packets.data
        self._keys: list[tuple[int, int]] = []  # place, key
        self._tokens: list[tuple[int, int]] = []
        self._wide: list[tuple[int, int]] = []  # place of 64 bits, key of the sender of that stream
        self._narrow: list[tuple[int, int]] = []
        self._pairs: dict[
            bytes, tuple[int, int]
        ] = {}  # both ends of a subflow -> key of the first, of the second
        self._by_token: dict[int, tuple[int, int]] = {}
        for place, end in zip(packets.places.tolist(), packets.ends.tolist(), strict=True):
            tcp = place + 16 + _ETHERNET + _IPV4
            if end >= tcp + 20 and self._data[tcp - _IPV4 + 9] == 6:
                self._read(tcp, end)

    def change(self, changed: NDArray[np.uint8], octets: NDArray[np.uint8], offset: int) -> None:
        """Add an offset to all keys, and give what follows from them its new value."""
        new = {key: (key + offset) % (1 << 64) for _, key in self._keys}
        for place, key in self._keys:
            changed[place : place + 8] = np.frombuffer(new[key].to_bytes(8, "big"), np.uint8)
        for place, key in self._tokens:
            changed[place : place + 4] = np.frombuffer(_digest(new[key])[:4], np.uint8)
        moved = {key: _start(other) - _start(key) for key, other in new.items()}
        for listed, width in ((self._wide, 8), (self._narrow, 4)):
            places = np.array([place for place, _ in listed], np.int64)
            steps = np.array([moved[key] % (1 << 64) for _, key in listed], np.uint64)
            _add(changed, octets, places, steps, width)

    def _read(self, tcp: int, end: int) -> None:
        data = self._data
        ends = (data[tcp - 8 : tcp - 4] + data[tcp : tcp + 2], data[tcp - 4 : tcp] + data[tcp + 2 : tcp + 4])
        at, stop = tcp + 20, min(end, tcp + (data[tcp + 12] >> 4) * 4)
        while at + 1 < stop and (kind := data[at]):
            size = 1 if kind == 1 else data[at + 1]
            if kind == _MPTCP:
                self._read_option(at, size, ends)
            at += max(1, size)

    def _read_option(self, at: int, size: int, ends: tuple[bytes, bytes]) -> None:
        subtype = self._data[at + 2] >> 4
        if subtype in (0, 7):
            keys = [self._number(at + 4 + 8 * n) for n in range(1 if subtype == 7 else (size - 4) // 8)]
            self._keys += [(at + 4 + 8 * n, key) for n, key in enumerate(keys)]
            if len(keys) == 2:
                self._by_token[int.from_bytes(_digest(keys[1])[:4], "big")] = (keys[0], keys[1])
                self._name(ends, (keys[0], keys[1]))
        elif subtype == 1 and size == 12:
            pair = self._by_token.get(int.from_bytes(self._data[at + 4 : at + 8], "big"))
            if pair is not None:
                self._tokens.append((at + 4, pair[1]))
                self._name(ends, pair)
        elif subtype == 2 and (pair := self._pairs.get(ends[0] + ends[1])):
            flags, place = self._data[at + 3], at + 4
            for is_there, is_long, key in ((1, 2, pair[1]), (4, 8, pair[0])):
                if flags & is_there:
                    (self._wide if flags & is_long else self._narrow).append((place, key))
                    place += 8 if flags & is_long else 4

    def _name(self, ends: tuple[bytes, bytes], pair: tuple[int, int]) -> None:
        self._pairs[ends[0] + ends[1]] = pair
        self._pairs[ends[1] + ends[0]] = pair[::-1]

    def _number(self, at: int) -> int:
        return int.from_bytes(self._data[at : at + 8], "big")


def _digest(key: int) -> bytes:
    return hashlib.sha256(key.to_bytes(8, "big")).digest()


def _start(key: int) -> int:
    return int.from_bytes(_digest(key)[-8:], "big")


def _add(
    changed: NDArray[np.uint8],
    octets: NDArray[np.uint8],
    places: NDArray[np.int64],
    steps: NDArray[np.uint64],
    width: int,
) -> None:
    """Add to numbers of some bytes, the highest first, without carry beyond them."""
    total = np.zeros(len(places), np.uint64)
    for offset in range(width):
        total = total << np.uint64(8) | octets[places + offset]
    total += steps
    for offset in range(width):
        changed[places + offset] = (total >> np.uint64(8 * (width - 1 - offset)) & np.uint64(0xFF)).astype(
            np.uint8
        )


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
