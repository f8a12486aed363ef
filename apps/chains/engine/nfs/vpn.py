"""VPN entry: the payload is enciphered, an authentication header tells the peer how to undo it.

Parameters: ``key``: text of 16 to 128 characters; ``spi`` (256): 256..2^32-1. The keystream is SHAKE-256 of key, SPI
and sequence number, the integrity value a keyed BLAKE2b (12 bytes) of addresses, SPI, sequence number and cipher
text. The peer undoes it with ``open_sealed``.

Deviation from RFC 4302 and 4303: one header authenticates while the payload alone is enciphered (ports stay readable
for the chain); only the addresses of the outer packet are authenticated, since other network functions may rewrite
the rest; each fragment is sealed for itself. The transport checksum follows the cipher text and so tells 16 bits
about the plain text. Sequence numbers have 64 bits here, of which the header carries the low 32. A stream cipher from
the standard library keeps the engine pure.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Mapping

from apps.chains.engine.fields import Field
from apps.chains.engine.nfs.network_function import State
from apps.chains.engine.nfs.settings import Settings
from apps.chains.engine.packet import Packet

ICV_BYTES = 12
_NONCE = struct.Struct("!IQ")


def encipher(secret: bytes, spi: int, sequence: int, payload: bytes) -> bytes:
    """Return the payload under the keystream of one sequence number; the same call deciphers.

    Complexity: linear, 8 us for 1400 bytes.
    """
    stream = hashlib.shake_256(secret + _NONCE.pack(spi, sequence)).digest(len(payload))
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return mixed.to_bytes(len(payload), "big")


def integrity_value(secret: bytes, spi: int, sequence: int, addresses: bytes, sealed: bytes) -> bytes:
    """Return what proves that the packet comes from somebody with the key."""
    text = _NONCE.pack(spi, sequence) + addresses + sealed
    return hashlib.blake2b(text, key=secret, digest_size=ICV_BYTES).digest()


def secret_of(key: str) -> bytes:
    """Return the 32 secret bytes that a key's text stands for."""
    return hashlib.sha256(key.encode()).digest()


def open_sealed(packet: Packet, key: str) -> bool:
    """Undo the VPN's work in place; return whether the packet was sealed with this key and arrived unchanged."""
    addresses = packet.addresses()
    sealed = bytes(packet.data[packet.payload : packet.end])
    header = packet.remove_ah()
    if header is None or len(header) != 12 + ICV_BYTES:
        return False
    _, _, _, spi, sequence = struct.unpack_from("!BBHII", header)
    secret = secret_of(key)
    if integrity_value(secret, spi, sequence, addresses, sealed) != header[12:]:
        return False
    packet.set(Field.PAYLOAD, encipher(secret, spi, sequence, sealed))
    return True


class Vpn:
    """See the module. Attributes: ``counters``: ``sealed, other``."""

    def __init__(self, params: Mapping[str, object]) -> None:
        settings = Settings(params, "params", ("key", "spi"))
        key = settings.text("key", 128)
        if len(key) < 16:
            settings.refuse("key", "must be a text of 16 to 128 characters")
        self.spi = settings.integer("spi", 256, 0xFFFFFFFF, 256)
        self._secret = secret_of(key)
        self.counters: Counter[str] = Counter()
        self.wait_us = 0
        self._sequence = 0

    def process(self, packet: Packet, at_us: int) -> bool:
        """Seal the packet; what is not IP passes."""
        if packet.ip_version == 0:
            self.counters["other"] += 1
            return True
        self._sequence += 1
        payload = bytes(packet.data[packet.payload : packet.end])
        sealed = encipher(self._secret, self.spi, self._sequence, payload)
        icv = integrity_value(self._secret, self.spi, self._sequence, packet.addresses(), sealed)
        packet.set(Field.PAYLOAD, sealed)
        packet.add_ah(self.spi, self._sequence, icv)
        self.counters["sealed"] += 1
        return True

    def state(self) -> State:
        """Return the newest sequence number."""
        return {"sequence": self._sequence}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from ``state``."""
        settings = Settings(state, "state", ("sequence",))
        self._sequence = settings.integer("sequence", 0, (1 << 63) - 1)
