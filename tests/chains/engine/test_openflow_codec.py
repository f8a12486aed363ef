"""OpenFlow 1.3 in bytes: known messages, round trips of all of them, and noise that is refused, never a crash."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chains.engine.openflow import (
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
from apps.chains.engine.openflow_codec import Stream, decode, encode
from apps.chains.engine.openflow_structs import (
    Actions,
    Bucket,
    MatchField,
    Opaque,
    Output,
    Port,
    ToGroup,
    eth_dst,
)
from nfvportal.lib.errors import InvalidInputError

U8, U16, U32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
U64 = st.integers(0, (1 << 64) - 1)


def sized(step: int, rest: int, most: int) -> st.SearchStrategy[bytes]:
    """Bytes whose length leaves ``rest`` when divided by ``step``."""
    lengths = st.integers(0, most).map(lambda count: count * step + rest)
    return lengths.flatmap(lambda length: st.binary(min_size=length, max_size=length))


fields = st.builds(MatchField, st.integers(0, 127), st.binary(max_size=32), st.booleans(), U16)
matches = st.lists(fields, max_size=3).map(tuple)
opaque_actions = st.builds(Opaque, st.integers(23, 0xFFFF), sized(8, 4, 3))
actions = st.lists(
    st.one_of(st.builds(Output, U32, U16), st.builds(ToGroup, U32), opaque_actions), max_size=4
)
action_lists = actions.map(tuple)
opaque_instructions = st.builds(Opaque, st.integers(5, 0xFFFF), sized(8, 4, 3))
instructions = st.lists(
    st.one_of(st.builds(Actions, action_lists, st.booleans()), opaque_instructions), max_size=3
)
instruction_lists = instructions.map(tuple)
buckets = st.lists(st.builds(Bucket, action_lists, U16, U32, U32), max_size=4).map(tuple)
flows = st.builds(FlowEntry, U8, U16, U64, matches, instruction_lists, U64, U64, U32, U32, U16, U16, U16)
names = st.text("abcdefghijklmnop-0123456789", min_size=1, max_size=16)
ports = st.builds(Port, U32, st.binary(min_size=6, max_size=6), names, st.binary(min_size=32, max_size=32))
many = st.booleans()
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, st.frozensets(st.integers(0, 63), max_size=4), U8),
    st.builds(Error, U16, U16, st.binary(max_size=64)),
    st.builds(EchoRequest, st.binary(max_size=64)),
    st.builds(EchoReply, st.binary(max_size=64)),
    st.just(FeaturesRequest()),
    st.builds(FeaturesReply, U64, U32, U8, U8, U32),
    st.just(BarrierRequest()),
    st.just(BarrierReply()),
    st.builds(GroupMod, st.sampled_from(GroupCommand), U32, st.sampled_from(GroupType), buckets),
    st.builds(FlowMod, U8, matches, instruction_lists, U64, U64, U8, U16, U16, U16, U32, U32, U32, U16),
    st.builds(FlowStatsRequest, U64, U64, matches, U8),
    st.just(GroupDescRequest()),
    st.just(PortDescRequest()),
    st.builds(FlowStatsReply, st.lists(flows, max_size=3).map(tuple), many),
    st.builds(GroupDescReply, st.lists(st.builds(GroupEntry, U32, U8, buckets), max_size=3).map(tuple), many),
    st.builds(PortDescReply, st.lists(ports, max_size=3).map(tuple), many),
    st.builds(Unknown, st.integers(22, 255), st.binary(max_size=32)),
)


@given(messages, U32)
def test_what_is_written_is_read(message: Message, xid: int) -> None:
    assert decode(encode(message, xid)) == (xid, message)


@settings(max_examples=50)
@given(st.lists(st.tuples(messages, U32), max_size=5), st.data())
def test_a_stream_is_cut_into_its_messages(sent: list[tuple[Message, int]], data: Any) -> None:
    whole = b"".join(encode(message, xid) for message, xid in sent)
    stream, found = Stream(), []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        found += list(stream.feed(whole[:size]))
        whole = whole[size:]
    assert found == [(xid, message) for message, xid in sent]


@given(st.binary(max_size=200))
def test_noise_is_refused_and_nothing_else(noise: bytes) -> None:
    try:
        found = list(Stream().feed(noise))
    except InvalidInputError:
        return
    assert len(found) <= len(noise) // 8


@given(messages, st.data())
def test_broken_messages_are_refused_or_another_message(message: Message, data: Any) -> None:
    whole = bytearray(encode(message, 1))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(U8)
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        _, found = decode(cut)
    except InvalidInputError:
        return
    # What was understood can be said again.
    assert decode(encode(found, 1)) == (1, found)


def test_messages_as_the_specification_lays_them_out() -> None:
    bucket = Bucket((Output(3),))
    group = encode(GroupMod(GroupCommand.ADD, 0x4E46_0000, GroupType.ALL, (bucket,)), 9)
    assert group.hex(" ", 4) == (
        "040f0030 00000009 00000000 4e460000"  # header; command, type, group
        " 00200000 ffffffff ffffffff 00000000"  # bucket: length, weight, watched port and group
        " 00000010 00000003 00000000 00000000"  # output: type, length, port, rest
    )
    flow = encode(
        FlowMod(0, (eth_dst("03:00:00:07:01:02"),), (Actions((ToGroup(5),)),), 1, priority=40_000), 1
    )
    assert (
        flow.hex(" ", 4)
        == (
            "040e0050 00000001 00000000 00000001 00000000 00000000"  # header, cookie, mask
            " 00000000 00009c40 ffffffff ffffffff ffffffff 00000000"  # table ... priority, buffer, out_port, out_group
            " 0001000e 80000606 03000007 01020000"  # match: type, length; field, its length, value
            " 00040010 00000000 00160008 00000005"  # apply actions: group
        )
    )


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("04", "header"),
        ("0414000900000001", "header"),
        ("0114000800000001", "version"),
        ("0401000800000001", "error"),
        ("0406000800000001", "features"),
        ("040f000c0000000100090000", "group_mod"),
        ("040f00100000000100090000" + "00000001", "group_mod"),
        ("041300100000000100010000" + "00000000" + "00", "header"),
        ("041300180000000100010000" + "00000000" + "0010" + "00" * 6, "flows"),
        ("0413001800000001000d0000" + "00000000" + "00" * 8, "ports"),
    ],
)
def test_what_breaks_the_format_is_named(text: str, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode(bytes.fromhex(text))
    assert caught.value.field == field


def test_a_length_of_nothing_does_not_hang() -> None:
    with pytest.raises(InvalidInputError, match="length"):
        list(Stream().feed(bytes.fromhex("0400000000000001")))
