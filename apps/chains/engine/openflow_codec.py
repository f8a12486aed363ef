"""OpenFlow 1.3 messages to bytes and back.

A message of another type is kept as ``Unknown``; one that breaks its format is an ``InvalidInputError``, never another
exception. Source: OpenFlow Switch Specification 1.3.5, section 7.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Final

from apps.chains.engine.openflow import (
    VERSION,
    BarrierReply,
    BarrierRequest,
    EchoReply,
    EchoRequest,
    Error,
    FeaturesReply,
    FeaturesRequest,
    FlowEntry,
    FlowMod,
    FlowStatsReply,
    FlowStatsRequest,
    GroupCommand,
    GroupDescReply,
    GroupDescRequest,
    GroupEntry,
    GroupMod,
    GroupType,
    Hello,
    Message,
    PortDescReply,
    PortDescRequest,
    Unknown,
)
from apps.chains.engine.openflow_structs import (
    GROUP_ANY,
    PORT_ANY,
    decode_buckets,
    decode_instructions,
    decode_match,
    decode_ports,
    encode_buckets,
    encode_instructions,
    encode_match,
    encode_port,
    iter_sized,
)
from nfvportal.lib.errors import InvalidInputError

_HEADER: Final = struct.Struct("!BBHI")
_FLOW_MOD: Final = struct.Struct("!QQBBHHHIIIH2x")
_FLOW_STATS: Final = struct.Struct("!HBxIIHHHH4xQQQ")
_FLOW_REQUEST: Final = struct.Struct("!B3xII4xQQ")
_MULTIPART: Final = struct.Struct("!HH4x")
_MULTIPART_FLOW, _MULTIPART_GROUPS, _MULTIPART_PORTS = 1, 7, 13
_MORE: Final = 1
(
    _HELLO,
    _ERROR,
    _ECHO_REQUEST,
    _ECHO_REPLY,
    _EXPERIMENTER,
    _FEATURES_REQUEST,
    _FEATURES_REPLY,
) = range(7)
_FLOW_MOD_TYPE, _GROUP_MOD_TYPE = 14, 15
_MULTIPART_REQUEST, _MULTIPART_REPLY, _BARRIER_REQUEST, _BARRIER_REPLY = 18, 19, 20, 21


def encode(message: Message, xid: int) -> bytes:
    """Return a message as it goes over the wire (7.1).

    >>> encode(BarrierRequest(), 7).hex()
    '0414000800000007'
    """
    kind, body = _encode_body(message)
    version = message.header_version if isinstance(message, Hello) else VERSION
    return _HEADER.pack(version, kind, _HEADER.size + len(body), xid) + body


def _encode_body(message: Message) -> tuple[int, bytes]:
    match message:
        case Hello(versions):
            return _HELLO, _encode_versions(versions)
        case Error(kind, code, data):
            return _ERROR, struct.pack("!HH", kind, code) + data
        case EchoRequest(data):
            return _ECHO_REQUEST, data
        case EchoReply(data):
            return _ECHO_REPLY, data
        case FeaturesRequest():
            return _FEATURES_REQUEST, b""
        case FeaturesReply(datapath, buffers, tables, auxiliary, capabilities):
            numbers = struct.pack("!QIBB2xI4x", datapath, buffers, tables, auxiliary, capabilities)
            return _FEATURES_REPLY, numbers
        case BarrierRequest():
            return _BARRIER_REQUEST, b""
        case BarrierReply():
            return _BARRIER_REPLY, b""
        case GroupMod(command, group, group_type, buckets):
            return _GROUP_MOD_TYPE, struct.pack("!HBxI", command, group_type, group) + encode_buckets(buckets)
        case FlowMod():
            return _FLOW_MOD_TYPE, _encode_flow_mod(message)
        case Unknown(kind, body):
            return kind, body
        case FlowStatsRequest() | GroupDescRequest() | PortDescRequest():
            return _MULTIPART_REQUEST, _encode_request(message)
    return _MULTIPART_REPLY, _encode_reply(message)


def _encode_versions(versions: frozenset[int]) -> bytes:
    if not versions:
        return b""
    words = [0] * (max(versions) // 32 + 1)
    for version in versions:
        words[version // 32] |= 1 << version % 32
    bitmap = struct.pack(f"!HH{len(words)}I", 1, 4 + 4 * len(words), *words)
    return bitmap + bytes(-len(bitmap) % 8)


def _encode_flow_mod(flow: FlowMod) -> bytes:
    head = _FLOW_MOD.pack(
        flow.cookie,
        flow.cookie_mask,
        flow.table,
        flow.command,
        flow.idle_s,
        flow.hard_s,
        flow.priority,
        flow.buffer,
        flow.out_port,
        flow.out_group,
        flow.flags,
    )
    return head + encode_match(flow.match) + encode_instructions(flow.instructions)


def _encode_request(message: FlowStatsRequest | GroupDescRequest | PortDescRequest) -> bytes:
    if isinstance(message, GroupDescRequest):
        return _MULTIPART.pack(_MULTIPART_GROUPS, 0)
    if isinstance(message, PortDescRequest):
        return _MULTIPART.pack(_MULTIPART_PORTS, 0)
    wanted = _FLOW_REQUEST.pack(message.table, PORT_ANY, GROUP_ANY, message.cookie, message.cookie_mask)
    return _MULTIPART.pack(_MULTIPART_FLOW, 0) + wanted + encode_match(message.match)


def _encode_reply(message: FlowStatsReply | GroupDescReply | PortDescReply) -> bytes:
    flags = _MORE if message.has_more else 0
    if isinstance(message, FlowStatsReply):
        return _MULTIPART.pack(_MULTIPART_FLOW, flags) + b"".join(map(_encode_flow, message.flows))
    if isinstance(message, PortDescReply):
        return _MULTIPART.pack(_MULTIPART_PORTS, flags) + b"".join(map(encode_port, message.ports))
    body = b""
    for one in message.groups:
        buckets = encode_buckets(one.buckets)
        body += struct.pack("!HBxI", 8 + len(buckets), one.type, one.group) + buckets
    return _MULTIPART.pack(_MULTIPART_GROUPS, flags) + body


def _encode_flow(flow: FlowEntry) -> bytes:
    body = encode_match(flow.match) + encode_instructions(flow.instructions)
    return (
        _FLOW_STATS.pack(
            _FLOW_STATS.size + len(body),
            flow.table,
            flow.duration_s,
            flow.duration_ns,
            flow.priority,
            flow.idle_s,
            flow.hard_s,
            flow.flags,
            flow.cookie,
            flow.packet_count,
            flow.byte_count,
        )
        + body
    )


def decode(data: bytes) -> tuple[int, Message]:
    """Return transaction number and message of exactly one whole message (7.1).

    Raises:
        InvalidInputError: it is not one whole message of OpenFlow 1.3; a greeting may be of any version.
    """
    if len(data) < _HEADER.size:
        raise InvalidInputError("header", f"must be {_HEADER.size} bytes")
    version, kind, length, xid = _HEADER.unpack_from(data)
    if length != len(data):
        raise InvalidInputError("header", f"must tell the length {len(data)}, not {length}")
    body = data[_HEADER.size :]
    if kind == _HELLO:
        return xid, Hello(_decode_versions(body), version)
    if version != VERSION:
        raise InvalidInputError("version", f"must be {VERSION} (OpenFlow 1.3), not {version}")
    decoder = _DECODERS.get(kind)
    return xid, Unknown(kind, body) if decoder is None else decoder(body)


def _decode_versions(body: bytes) -> frozenset[int]:
    """Return the versions of the first bitmap element (7.5.1); elements of other kinds are to be ignored."""
    while len(body) >= 4:
        kind, length = struct.unpack_from("!HH", body)
        if length < 4 or length > len(body):
            raise InvalidInputError("hello", "must hold whole elements")
        if kind == 1:
            words = [one for (one,) in struct.iter_unpack("!I", body[4 : length - length % 4])]
            return frozenset(
                32 * place + bit for place, word in enumerate(words) for bit in range(32) if word >> bit & 1
            )
        body = body[length + -length % 8 :]
    return frozenset()


def _decode_error(body: bytes) -> Error:
    _need("error", body, 4)
    kind, code = struct.unpack_from("!HH", body)
    return Error(kind, code, body[4:])


def _decode_features(body: bytes) -> FeaturesReply:
    _need("features", body, 24)
    return FeaturesReply(*struct.unpack_from("!QIBB2xI", body))


def _decode_group_mod(body: bytes) -> GroupMod:
    _need("group_mod", body, 8)
    command, group_type, group = struct.unpack_from("!HBxI", body)
    try:
        kinds = GroupCommand(command), GroupType(group_type)
    except ValueError as error:
        raise InvalidInputError("group_mod", "must have a known command and type") from error
    return GroupMod(kinds[0], group, kinds[1], decode_buckets(body[8:]))


def _decode_flow_mod(body: bytes) -> FlowMod:
    _need("flow_mod", body, _FLOW_MOD.size)
    cookie, mask, table, command, idle_s, hard_s, priority, buffer, port, group, flags = (
        _FLOW_MOD.unpack_from(body)
    )
    match, rest = decode_match(body[_FLOW_MOD.size :])
    return FlowMod(
        command,
        match,
        decode_instructions(rest),
        cookie,
        mask,
        table,
        priority,
        idle_s,
        hard_s,
        buffer,
        port,
        group,
        flags,
    )


def _decode_request(body: bytes) -> Message:
    _need("multipart", body, _MULTIPART.size)
    kind, _ = _MULTIPART.unpack_from(body)
    if kind == _MULTIPART_GROUPS:
        return GroupDescRequest()
    if kind == _MULTIPART_PORTS:
        return PortDescRequest()
    if kind != _MULTIPART_FLOW:
        return Unknown(_MULTIPART_REQUEST, body)
    _need("flow request", body, _MULTIPART.size + _FLOW_REQUEST.size)
    table, _, _, cookie, mask = _FLOW_REQUEST.unpack_from(body, _MULTIPART.size)
    match, _ = decode_match(body[_MULTIPART.size + _FLOW_REQUEST.size :])
    return FlowStatsRequest(cookie, mask, match, table)


def _decode_reply(body: bytes) -> Message:
    _need("multipart", body, _MULTIPART.size)
    kind, flags = _MULTIPART.unpack_from(body)
    rest, has_more = body[_MULTIPART.size :], bool(flags & _MORE)
    if kind == _MULTIPART_FLOW:
        return FlowStatsReply(tuple(iter_sized("flows", rest, _decode_flow, _FLOW_STATS.size + 8)), has_more)
    if kind == _MULTIPART_GROUPS:
        return GroupDescReply(tuple(iter_sized("groups", rest, _decode_group, 8)), has_more)
    if kind == _MULTIPART_PORTS:
        return PortDescReply(decode_ports(rest), has_more)
    return Unknown(_MULTIPART_REPLY, body)


def _decode_flow(data: bytes) -> FlowEntry:
    _, table, alive_s, alive_ns, priority, idle_s, hard_s, flags, cookie, packets, size = (
        _FLOW_STATS.unpack_from(data)
    )
    match, rest = decode_match(data[_FLOW_STATS.size :])
    return FlowEntry(
        table,
        priority,
        cookie,
        match,
        decode_instructions(rest),
        packets,
        size,
        alive_s,
        alive_ns,
        idle_s,
        hard_s,
        flags,
    )


def _decode_group(data: bytes) -> GroupEntry:
    _, group_type, group = struct.unpack_from("!HBxI", data)
    return GroupEntry(group, group_type, decode_buckets(data[8:]))


def _need(at: str, body: bytes, size: int) -> None:
    if len(body) < size:
        raise InvalidInputError(at, f"must be at least {size} bytes")


_DECODERS: Final[dict[int, Callable[[bytes], Message]]] = {
    _ERROR: _decode_error,
    _ECHO_REQUEST: EchoRequest,
    _ECHO_REPLY: EchoReply,
    _FEATURES_REQUEST: lambda _: FeaturesRequest(),
    _FEATURES_REPLY: _decode_features,
    _FLOW_MOD_TYPE: _decode_flow_mod,
    _GROUP_MOD_TYPE: _decode_group_mod,
    _MULTIPART_REQUEST: _decode_request,
    _MULTIPART_REPLY: _decode_reply,
    _BARRIER_REQUEST: lambda _: BarrierRequest(),
    _BARRIER_REPLY: lambda _: BarrierReply(),
}


class Stream:
    """Cuts what a connection delivers into messages."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, Message]]:
        """Yield (transaction number, message) of each message that is whole by now.

        Raises:
            InvalidInputError: the peer does not speak OpenFlow 1.3; nothing after that can be trusted.
        """
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            _, _, length, _ = _HEADER.unpack_from(self._buffer)
            if length < _HEADER.size:
                raise InvalidInputError(
                    "header", f"must tell a length of at least {_HEADER.size}, not {length}"
                )
            if len(self._buffer) < length:
                return
            whole, self._buffer = self._buffer[:length], self._buffer[length:]
            yield decode(whole)
