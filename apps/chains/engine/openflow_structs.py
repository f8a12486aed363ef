"""Structures inside OpenFlow 1.3 messages: matches, actions, instructions, buckets, ports.

What this code gives a meaning to has a class; everything else is kept as bytes and written back as it was read.
Source: OpenFlow Switch Specification 1.3.5, sections 7.2.1 to 7.2.5 and 7.3.4.2; numbers in big endian.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from nfvportal.lib.errors import InvalidInputError

PORT_ANY: Final = 0xFFFF_FFFF
GROUP_ANY: Final = 0xFFFF_FFFF
NO_BUFFER: Final = 0xFFFF_FFFF
_OXM_BASIC: Final = 0x8000
_FIELD_ETH_DST: Final = 3
_OUTPUT, _GROUP = 0, 22
_WRITE_ACTIONS, _APPLY_ACTIONS = 3, 4
_PORT: Final = struct.Struct("!I4x6s2x16s32s")
_BUCKET: Final = struct.Struct("!HHII4x")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MatchField:
    """One field of a match (7.2.3.2): ``number`` in its class, whether ``value`` holds a mask as its second half."""

    number: int
    value: bytes
    has_mask: bool = False
    oxm_class: int = _OXM_BASIC


@dataclass(frozen=True, slots=True)
class Output:
    """Send out of a port (7.2.5)."""

    port: int
    max_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ToGroup:
    """Hand to a group (7.2.5)."""

    group: int


@dataclass(frozen=True, slots=True)
class Opaque:
    """An action or instruction of another kind."""

    kind: int
    body: bytes


Action = Output | ToGroup | Opaque


@dataclass(frozen=True, slots=True)
class Actions:
    """Instruction (7.2.4): apply these at once, or write them into the set that is done at the end."""

    actions: tuple[Action, ...]
    is_applied: bool = True


Instruction = Actions | Opaque


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a group does with one copy (7.3.4.2)."""

    actions: tuple[Action, ...]
    weight: int = 0
    watch_port: int = PORT_ANY
    watch_group: int = GROUP_ANY


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the switch (7.2.1); ``rest`` holds settings, state and speeds."""

    number: int
    mac: bytes
    name: str
    rest: bytes = bytes(32)


def eth_dst(mac: str) -> MatchField:
    """Return the field that matches a target address.

    >>> encode_match((eth_dst("03:00:00:07:01:02"),)).hex(" ", 2)
    '0001 000e 8000 0606 0300 0007 0102 0000'
    """
    return MatchField(_FIELD_ETH_DST, bytes.fromhex(mac.replace(":", "")))


def encode_match(fields: Sequence[MatchField]) -> bytes:
    """Return ``ofp_match`` of type OXM (7.2.3.1), padded; its length field does not count the padding."""
    body = b"".join(
        struct.pack("!HBB", one.oxm_class, one.number << 1 | one.has_mask, len(one.value)) + one.value
        for one in fields
    )
    return _padded(struct.pack("!HH", 1, 4 + len(body)) + body)


def decode_match(data: bytes) -> tuple[tuple[MatchField, ...], bytes]:
    """Return the fields of a match, and what follows it.

    Raises:
        InvalidInputError: it is cut or not of type OXM.
    """
    kind, length = _unpack("match", "!HH", data)
    end = length + -length % 8
    if kind != 1 or length < 4 or end > len(data):
        raise InvalidInputError("match", "must be of type OXM and whole")
    fields = []
    rest = data[4:length]
    while rest:
        oxm_class, number, size = _unpack("match", "!HBB", rest)
        if 4 + size > len(rest):
            raise InvalidInputError("match", "must hold whole fields")
        fields.append(MatchField(number >> 1, rest[4 : 4 + size], bool(number & 1), oxm_class))
        rest = rest[4 + size :]
    return tuple(fields), data[end:]


def encode_actions(actions: Sequence[Action]) -> bytes:
    """Return actions one after the other (7.2.5)."""
    return b"".join(_encode_action(action) for action in actions)


def _encode_action(action: Action) -> bytes:
    if isinstance(action, Output):
        return struct.pack("!HHIH6x", _OUTPUT, 16, action.port, action.max_bytes)
    if isinstance(action, ToGroup):
        return struct.pack("!HHI", _GROUP, 8, action.group)
    return struct.pack("!HH", action.kind, 4 + len(action.body)) + action.body


def decode_actions(data: bytes) -> tuple[Action, ...]:
    """Return the actions that fill ``data``.

    Raises:
        InvalidInputError: one is cut or has a wrong length.
    """
    return tuple(_decode_action(kind, body) for kind, body in _blocks("actions", data))


def _decode_action(kind: int, body: bytes) -> Action:
    if kind == _OUTPUT:
        if len(body) != 12:
            raise InvalidInputError("actions", "must have outputs of 16 bytes")
        return Output(*struct.unpack("!IH6x", body))
    if kind == _GROUP:
        if len(body) != 4:
            raise InvalidInputError("actions", "must have group actions of 8 bytes")
        return ToGroup(*struct.unpack("!I", body))
    return Opaque(kind, body)


def encode_instructions(instructions: Sequence[Instruction]) -> bytes:
    """Return instructions one after the other (7.2.4)."""
    found = b""
    for one in instructions:
        if isinstance(one, Actions):
            body = bytes(4) + encode_actions(one.actions)
            found += (
                struct.pack("!HH", _APPLY_ACTIONS if one.is_applied else _WRITE_ACTIONS, 4 + len(body)) + body
            )
        else:
            found += struct.pack("!HH", one.kind, 4 + len(one.body)) + one.body
    return found


def decode_instructions(data: bytes) -> tuple[Instruction, ...]:
    """Return the instructions that fill ``data``.

    Raises:
        InvalidInputError: one is cut or has a wrong length.
    """
    found: list[Instruction] = []
    for kind, body in _blocks("instructions", data):
        if kind in (_APPLY_ACTIONS, _WRITE_ACTIONS):
            found.append(Actions(decode_actions(body[4:]), kind == _APPLY_ACTIONS))
        else:
            found.append(Opaque(kind, body))
    return tuple(found)


def encode_buckets(buckets: Sequence[Bucket]) -> bytes:
    """Return buckets one after the other (7.3.4.2)."""
    found = b""
    for bucket in buckets:
        actions = encode_actions(bucket.actions)
        found += (
            _BUCKET.pack(16 + len(actions), bucket.weight, bucket.watch_port, bucket.watch_group) + actions
        )
    return found


def decode_buckets(data: bytes) -> tuple[Bucket, ...]:
    """Return the buckets that fill ``data``.

    Raises:
        InvalidInputError: one is cut or has a wrong length.
    """
    return tuple(iter_sized("buckets", data, _decode_bucket, 16))


def _decode_bucket(data: bytes) -> Bucket:
    _, weight, port, group = _BUCKET.unpack_from(data)
    return Bucket(decode_actions(data[_BUCKET.size :]), weight, port, group)


def encode_port(port: Port) -> bytes:
    """Return ``ofp_port`` (7.2.1)."""
    return _PORT.pack(port.number, port.mac, port.name.encode(), port.rest)


def decode_ports(data: bytes) -> tuple[Port, ...]:
    """Return the ports that fill ``data``.

    Raises:
        InvalidInputError: the last one is cut.
    """
    if len(data) % _PORT.size:
        raise InvalidInputError("ports", f"must be {_PORT.size} bytes each")
    return tuple(
        Port(number, mac, name.split(b"\0")[0].decode(errors="replace"), rest)
        for number, mac, name, rest in _PORT.iter_unpack(data)
    )


def _blocks(at: str, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, body) of structures that begin with kind and length, in steps of 8 bytes."""
    while data:
        kind, length = _unpack(at, "!HH", data)
        if length < 8 or length % 8 or length > len(data):
            raise InvalidInputError(at, "must be whole and of lengths that are multiples of 8 bytes")
        yield kind, data[4:length]
        data = data[length:]


def iter_sized(at: str, data: bytes, decode: Callable[[bytes], T], least: int) -> Iterator[T]:
    """Yield what ``decode`` makes of each structure that begins with its own length in two bytes.

    Raises:
        InvalidInputError: one is cut, shorter than ``least`` bytes, or not a multiple of 8.
    """
    while data:
        (length,) = _unpack(at, "!H", data)
        if length < least or length % 8 or length > len(data):
            raise InvalidInputError(at, f"must be whole, of at least {least} bytes, in steps of 8")
        yield decode(data[:length])
        data = data[length:]


def _unpack(at: str, form: str, data: bytes) -> tuple[int, ...]:
    if len(data) < struct.calcsize(form):
        raise InvalidInputError(at, "must not be cut")
    return struct.unpack_from(form, data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)
