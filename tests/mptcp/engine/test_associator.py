"""The association engine on packets written by hand: each test of the brief, lives, widths, middleboxes."""

from collections import Counter

import pytest

from apps.mptcp.engine.associator import Associator
from apps.mptcp.engine.config import AssociatorConfig
from apps.mptcp.engine.hard_links import NOTES_MAX, derive
from apps.mptcp.engine.records import Has, address_halves
from apps.mptcp.engine.values import AlarmKind, ChangeKind, Connection, EvidenceKind, FlowKey, SubflowState
from nfvportal.lib.errors import InvalidInputError
from tests.support.mptcp_wire import FIN, RST, START_S, SYN, SYN_ACK, Wire

WIFI = ("10.0.0.1", 1000, "10.9.0.1", 443)
LTE = ("10.0.1.1", 1001, "10.9.0.1", 443)
FAR = ("10.200.0.1", 1002, "10.9.0.1", 443)  # its client's address is the higher one
KEY_A, KEY_B = 0x1234_5678_9ABC_DEF1, 0xFEDC_BA98_7654_3211
TOKEN_B, IDSN_B = derive(KEY_B, 1)
IDSN_A = derive(KEY_A, 1)[1]


def handshake(
    wire: Wire, flow: tuple[str, int, str, int] = WIFI, at_s: float = 0.0, version: int = 1
) -> None:
    wire.put(flow, at_s, tcp_flags=SYN, seq=100, has=int(Has.CAPABLE), version=version)
    wire.put(flow, at_s, up=False, tcp_flags=SYN_ACK, seq=200, has=int(Has.CAPABLE | Has.KEY), key=KEY_B,
             version=version)  # fmt: skip
    wire.put(
        flow, at_s, has=int(Has.CAPABLE | Has.KEY | Has.PEER_KEY), key=KEY_A, peer_key=KEY_B, version=version
    )


def join(wire: Wire, flow: tuple[str, int, str, int] = LTE, at_s: float = 1.0, token: int = TOKEN_B,
         address_id: int = 1) -> None:  # fmt: skip
    wire.put(
        flow, at_s, tcp_flags=SYN, seq=300, has=int(Has.JOIN | Has.TOKEN), token=token, address_id=address_id
    )


def key_of(flow: tuple[str, int, str, int]) -> FlowKey:
    client, port, server, far = flow
    ends = sorted(((address_halves(client), client, port), (address_halves(server), server, far)))
    return FlowKey(ends[0][1], ends[0][2], ends[1][1], ends[1][2])


def found(machine: Associator, flow: tuple[str, int, str, int]) -> Connection:
    connection = machine.lookup(key_of(flow))
    assert connection is not None
    return connection


def are_siblings(machine: Associator, *flows: tuple[str, int, str, int]) -> bool:
    return len({found(machine, flow).id for flow in flows}) == 1


def test_a_join_names_the_token_of_the_key() -> None:
    wire = Wire()
    handshake(wire)
    join(wire)
    machine = wire.run()
    connection = found(machine, WIFI)
    assert are_siblings(machine, WIFI, LTE)
    assert [one.kind for one in connection.evidence] == [EvidenceKind.TOKEN]
    assert f"{TOKEN_B:08x}" in connection.evidence[0].words
    assert connection.is_blockable
    assert connection.confidence > 0.999_999
    assert set(connection.tokens) == {TOKEN_B, derive(KEY_A, 1)[0]}
    assert connection.tokens[0] == derive(KEY_A, 1)[0], "the client's token comes first"


def test_the_join_may_come_before_the_key() -> None:
    wire = Wire()
    join(wire)
    handshake(wire, at_s=1.5)
    assert are_siblings(wire.run(), WIFI, LTE)


def test_two_joins_with_one_token() -> None:
    wire = Wire()
    join(wire)
    join(wire, FAR)
    assert are_siblings(wire.run(), LTE, FAR)


def test_other_tokens_do_not_join() -> None:
    wire = Wire()
    handshake(wire)
    join(wire, token=TOKEN_B ^ 1)
    assert not are_siblings(wire.run(), WIFI, LTE)


def test_a_token_sent_back_by_a_middlebox_is_no_word_of_the_server() -> None:
    wire = Wire()
    wire.put(LTE, 0, up=False, tcp_flags=SYN_ACK, has=int(Has.JOIN | Has.TOKEN), token=TOKEN_B)
    handshake(wire)
    assert not are_siblings(wire.run(), WIFI, LTE)


def test_equal_keys_in_both_directions_are_a_middlebox() -> None:
    wire = Wire()
    has = int(Has.CAPABLE | Has.KEY)
    wire.put(WIFI, 0, tcp_flags=SYN, has=has, key=KEY_B)
    wire.put(WIFI, 0, up=False, tcp_flags=SYN_ACK, has=has, key=KEY_B)
    machine = wire.run()
    assert found(machine, WIFI).tokens == ()


def test_fastclose_shows_the_receivers_key_and_ends_the_connection() -> None:
    wire = Wire()
    wire.put(LTE, 0, has=int(Has.FASTCLOSE | Has.PEER_KEY), peer_key=KEY_B)
    handshake(wire, at_s=0.1)
    machine = wire.run()
    assert are_siblings(machine, WIFI, LTE)
    assert found(machine, WIFI).evidence[0].kind is EvidenceKind.KEY
    assert found(machine, WIFI).is_ended


def test_a_forged_fastclose_ends_nothing() -> None:
    wire = Wire()
    handshake(wire)
    wire.put(WIFI, 1, has=int(Has.FASTCLOSE | Has.PEER_KEY), peer_key=KEY_B ^ 1)
    machine = Associator()
    changes = machine.step(wire.records(), START_S + 1)
    machine.tick(START_S + 1)
    assert [change.alarm for change in changes if change.kind is ChangeKind.ALARM] == [AlarmKind.KEY_CHANGE]
    assert not found(machine, WIFI).is_ended


def test_the_first_number_follows_from_the_key() -> None:
    wire = Wire()
    handshake(wire)
    wire.data(LTE, 1, IDSN_A + 50_000)
    machine = wire.run()
    assert are_siblings(machine, WIFI, LTE)
    assert found(machine, WIFI).evidence[0].kind is EvidenceKind.IDSN


@pytest.mark.parametrize("version", [0, 1])
def test_a_mapping_in_mp_capable_begins_after_the_keys_initial_number(version: int) -> None:
    wire = Wire()
    handshake(wire, version=version)
    wire.put(WIFI, 0.1, has=int(Has.CAPABLE | Has.KEY | Has.PEER_KEY | Has.CAPABLE_MAP), key=KEY_A, peer_key=KEY_B,
             payload_bytes=700, map_bytes=700, ssn=1, seq=101, version=version)  # fmt: skip
    subflow = found(wire.run(), WIFI).subflows[0]
    idsn = derive(KEY_A, version)[1]
    assert subflow.dsn_low[0] == idsn + 1
    assert subflow.dsn_high[0] == idsn + 701


def test_equal_data_fin() -> None:
    wire = Wire()
    for flow in (WIFI, FAR):
        wire.put(flow, 1, has=int(Has.DSN | Has.DSN_64 | Has.DATA_FIN), dsn=77 << 50, map_bytes=1)
    wire.put(LTE, 1, has=int(Has.DSN | Has.DSN_64 | Has.DATA_FIN), dsn=78 << 50, map_bytes=1)
    machine = wire.run()
    assert are_siblings(machine, WIFI, FAR)
    assert not are_siblings(machine, WIFI, LTE)
    assert found(machine, WIFI).evidence[0].kind is EvidenceKind.DATA_FIN


def test_numbers_that_meet_in_both_spaces() -> None:
    wire = Wire()
    wire.data(WIFI, 0, 5 << 60, ack=3 << 60)
    wire.data(FAR, 0.5, (5 << 60) + 90_000, ack=3 << 60)
    wire.data(LTE, 0.5, (5 << 60) + 90_000, ack=4 << 60)
    machine = wire.run()
    assert are_siblings(machine, WIFI, FAR)
    assert not are_siblings(machine, WIFI, LTE), "one space meets, the other speaks against it"
    connection = found(machine, WIFI)
    assert connection.evidence[0].kind is EvidenceKind.BOTH_SPACES
    assert connection.is_blockable
    assert connection.evidence[0].false_probability < 1e-15


def test_numbers_that_meet_in_the_one_space_known() -> None:
    wire = Wire()
    wire.data(WIFI, 0, 5 << 60)
    wire.ack(LTE, 0.5, (5 << 60) + 50_000, up=False)
    machine = wire.run()
    assert are_siblings(machine, WIFI, LTE)
    assert found(machine, WIFI).evidence[0].kind is EvidenceKind.ONE_SPACE_64
    assert not found(machine, WIFI).is_blockable


def bulk(wire: Wire, flow: tuple[str, int, str, int], base: int, ack: int, *, shift_s: float = 0.0,
         wide: bool = False, until: int = 10) -> None:  # fmt: skip
    """One megabyte per second from the client; the server is silent."""
    for second in range(until):
        at_s = second + shift_s
        wire.data(flow, at_s, base + int(at_s * 1e6), ack=ack, wide=wide)


def test_32_bit_numbers_that_move_together() -> None:
    wire = Wire()
    bulk(wire, WIFI, 100, 70)
    bulk(wire, LTE, 100, 70, shift_s=0.4)
    bulk(wire, FAR, 100 + 300_000_000, 70, shift_s=0.2)
    machine = wire.run()
    assert are_siblings(machine, WIFI, LTE)
    assert not are_siblings(machine, WIFI, FAR)
    kind = found(machine, WIFI).evidence[0].kind
    assert kind in (EvidenceKind.ALIGNED_32, EvidenceKind.BOTH_SPACES)


def test_32_bit_numbers_of_one_space_are_never_enough() -> None:
    wire = Wire()
    for second in range(10):
        for flow in (WIFI, LTE):
            wire.data(flow, second, second * 1_000_000, wide=False)
    assert not are_siblings(wire.run(), WIFI, LTE)


def one_way(wire: Wire, flow: tuple[str, int, str, int], base: int, stands_at: int, until: int = 10) -> None:
    """An upload as Linux does it: numbers of 64 bits, and answers of 32 to a server that sends nothing."""
    for second in range(until):
        wire.data(flow, second, base + second * 1_000_000)
        wire.ack(flow, second + 0.5, stands_at, wide=False)


@pytest.mark.parametrize("past_the_end", [0, 1])
def test_a_direction_that_stands_still_is_told_by_a_single_32_bit_number(past_the_end: int) -> None:
    """The number after DATA_FIN is one higher; such an answer may be all that was sampled of a subflow."""
    wire = Wire()
    one_way(wire, WIFI, 5 << 60, 0xFFFF_FFFF)
    wire.ack(LTE, 12, 0xFFFF_FFFF + past_the_end, wide=False)
    wire.ack(FAR, 12, 0xFFFF_FFFF + 40, wide=False)
    machine = wire.run()
    assert are_siblings(machine, WIFI, LTE)
    assert not are_siblings(machine, WIFI, FAR)
    evidence = found(machine, WIFI).evidence[0]
    assert evidence.kind is EvidenceKind.EQUAL_32
    assert evidence.false_probability == pytest.approx(2 * 3 / 2**32, rel=0.6)
    assert not found(machine, WIFI).is_blockable, "one number of 32 bits stops nobody"


def test_a_standing_number_joins_against_no_veto() -> None:
    wire = Wire()
    one_way(wire, WIFI, 5 << 60, 77)
    one_way(wire, LTE, 6 << 60, 77)
    assert not are_siblings(wire.run(), WIFI, LTE)


def test_a_standing_number_says_little_in_a_crowd() -> None:
    wire = Wire()
    one_way(wire, WIFI, 5 << 60, 77, until=1)
    wire.ack(LTE, 1, 77, wide=False)
    for k in range(200):
        wire.ack(("10.0.0.1", 2000 + k, "10.9.0.1", 443), 1, 1_000_000 * (k + 1), wide=False)
    assert are_siblings(wire.run(), WIFI, LTE)
    assert not are_siblings(wire.run(Associator(AssociatorConfig(false_partners=1e-6))), WIFI, LTE)


def test_a_link_of_one_direction_rests_on_both_when_both_were_seen() -> None:
    """A later sample of the same subflow says more: then the connection may be blocked."""
    wire = Wire()
    one_way(wire, WIFI, 5 << 60, 77)
    wire.ack(LTE, 3, 77, wide=False)
    machine = wire.run()
    assert found(machine, WIFI).evidence[0].kind is EvidenceKind.EQUAL_32
    more = Wire()
    more.data(WIFI, 10, (5 << 60) + 10_000_000)
    more.data(LTE, 10, (5 << 60) + 10_050_000)
    more.run(machine)
    assert [one.kind for one in found(machine, WIFI).evidence] == [EvidenceKind.BOTH_SPACES]
    assert found(machine, WIFI).is_blockable


def test_a_late_subflow_is_held_by_the_direction_that_stands() -> None:
    """At 32 bit: in the one direction it trails by more than the lag, in the other nothing moves."""
    wire = Wire()
    bulk(wire, WIFI, 100, 70)
    for second in (6, 8):
        wire.data(LTE, second, 100 + int((second - 5.5) * 1e6), ack=70, wide=False)
    machine = wire.run()
    assert are_siblings(machine, WIFI, LTE)
    assert found(machine, WIFI).evidence[0].kind is EvidenceKind.EQUAL_32


def test_32_bit_numbers_wrap() -> None:
    wire = Wire()
    bulk(wire, WIFI, (1 << 32) - 4_000_000, (1 << 32) - 1)
    bulk(wire, LTE, (1 << 32) - 4_000_000, (1 << 32) - 1, shift_s=0.5)
    machine = wire.run()
    assert are_siblings(machine, WIFI, LTE)
    subflow = found(machine, WIFI).subflows[0]
    low, high = subflow.dsn_low[0], subflow.dsn_high[0]
    assert low is not None
    assert high is not None
    assert (high - low) % (1 << 64) == 9_001_000


def test_a_first_number_of_64_bits_lifts_those_before() -> None:
    wire = Wire()
    base = (7 << 40) + (1 << 32) - 500
    wire.ack(WIFI, 0, base, wide=False)
    wire.ack(WIFI, 1, base + 800, wide=False)
    wire.ack(WIFI, 2, base + 900, wide=True)
    subflow = found(wire.run(), WIFI).subflows[0]
    assert (subflow.dsn_low[1], subflow.dsn_high[1]) == (base, base + 900)


def test_segmentation_offload_repeats_one_mapping() -> None:
    wire = Wire()
    wire.put(WIFI, 0, tcp_flags=SYN, seq=4_294_967_290, has=int(Has.CAPABLE))
    for index in range(3):
        wire.data(WIFI, 1, 10_000, size=3000, ssn=1, seq=(4_294_967_291 + 1000 * index) % (1 << 32),
                  payload_bytes=1000)  # fmt: skip
    record = wire.run().domain.table.rows[0]["space"][0]
    assert int(record["data_lo"]) == 10_000
    assert int(record["data_hi"]) == 13_000
    assert int(record["ssn_hi"]) - int(record["ssn_lo"]) == 3000


def test_a_number_out_of_this_world_is_an_outlier_until_it_stays() -> None:
    wire = Wire()
    wire.data(WIFI, 0, 1000)
    wire.data(WIFI, 1, 1 << 60)
    machine = wire.run()
    assert machine.counters["outliers"] == 1
    assert found(machine, WIFI).subflows[0].dsn_high[0] == 2000
    again = Wire()
    for second in range(2, 6):
        again.data(WIFI, second, 1 << 60)
    again.run(machine)
    assert found(machine, WIFI).subflows[0].dsn_low[0] == 1 << 60


def test_a_used_4_tuple_is_a_new_epoch() -> None:
    wire = Wire()
    handshake(wire)
    wire.put(WIFI, 1, tcp_flags=FIN)
    wire.put(WIFI, 2, tcp_flags=SYN, seq=9999, has=int(Has.CAPABLE), version=1)
    machine = wire.run()
    subflows = [subflow for one in machine.connections() for subflow in one.subflows]
    assert [subflow.epoch for subflow in subflows] == [0, 1]
    assert [subflow.state for subflow in subflows] == [SubflowState.CLOSED, SubflowState.ACTIVE]
    assert found(machine, WIFI).subflows[0].epoch == 1


@pytest.mark.parametrize(("wide", "jump"), [(True, 1 << 60), (False, 1 << 30)])
def test_a_used_4_tuple_is_told_by_its_numbers_where_no_syn_was_seen(wide: bool, jump: int) -> None:
    wire = Wire()
    for second in range(4):
        wire.data(WIFI, second, 1000 * second, ack=5, wide=wide)
    for second in range(10, 14):
        wire.data(WIFI, second, jump + 1000 * second, ack=5, wide=wide)
    machine = wire.run()
    assert found(machine, WIFI).subflows[0].epoch == 1
    assert len(machine.connections()) == 2


def test_a_syn_sent_again_is_no_new_epoch() -> None:
    wire = Wire()
    for at_s in (0.0, 1.0, 3.0):
        wire.put(WIFI, at_s, tcp_flags=SYN, seq=100, has=int(Has.CAPABLE), version=1)
    assert len(wire.run().connections()) == 1


def test_plain_tcp_on_a_used_4_tuple_ends_the_subflow() -> None:
    wire = Wire()
    handshake(wire)
    wire.put(WIFI, 5, tcp_flags=SYN, seq=5)
    machine = wire.run()
    assert machine.lookup(key_of(WIFI)) is None
    assert machine.connections()[0].subflows[0].state is SubflowState.CLOSED


def test_plain_tcp_is_no_subflow() -> None:
    wire = Wire()
    wire.put(WIFI, 0, tcp_flags=SYN)
    wire.put(WIFI, 1, tcp_flags=RST)
    machine = wire.run()
    assert machine.connections() == []
    assert machine.counters["packets_without_subflow"] == 2


def test_remove_addr_closes_the_subflows_of_the_address() -> None:
    wire = Wire()
    handshake(wire)
    join(wire)
    wire.put(WIFI, 2, has=int(Has.REMOVE_ADDR), address_id=1)
    machine = Associator()
    changes = machine.step(wire.records(), START_S + 2)
    states = {subflow.flow: subflow.state for subflow in found(machine, WIFI).subflows}
    assert states == {key_of(WIFI): SubflowState.ACTIVE, key_of(LTE): SubflowState.CLOSED}
    assert changes[-1].kind is ChangeKind.SUBFLOW_LEFT


def test_an_address_of_more_subflows_than_are_told_at_once_is_withdrawn_whole() -> None:
    count = 2 * NOTES_MAX
    wire = Wire()
    handshake(wire)
    for port in range(count):
        join(wire, (LTE[0], 20_000 + port, *LTE[2:]))
    wire.put(WIFI, 2, has=int(Has.REMOVE_ADDR), address_id=1)
    machine = Associator()
    changes = machine.step(wire.records(), START_S + 2)
    left = [change.subflow for change in changes if change.kind is ChangeKind.SUBFLOW_LEFT]
    assert len(left) == len(set(left)) == count
    told = [change.subflow for change in changes if change.kind is ChangeKind.CONNECTION_FOUND]
    assert len(told) == len(set(told)) == count + 1
    states = Counter(subflow.state for subflow in found(machine, WIFI).subflows)
    assert states == {SubflowState.CLOSED: count, SubflowState.ACTIVE: 1}


def test_an_announced_address_outlives_the_subflow_that_told_of_it() -> None:
    """REMOVE_ADDR names an ID that a forgotten sibling announced, and a subflow whose join nobody saw."""
    wire = Wire()
    handshake(wire)
    high, low = address_halves(FAR[0])
    wire.put(WIFI, 0.5, has=int(Has.ADD_ADDR), address_id=9, added_hi=high, added_lo=low)
    machine = wire.run(Associator(AssociatorConfig(forget_s=120)))
    later = Wire()
    for second in range(10, 131, 10):
        for flow in (LTE, FAR):
            later.data(flow, second, IDSN_A + second, ack=IDSN_B)
    later.run(machine)
    machine.tick(START_S + 131)
    assert machine.lookup(key_of(WIFI)) is None
    machine = Associator.restore(machine.snapshot())
    last = Wire()
    last.put(LTE, 132, has=int(Has.REMOVE_ADDR), address_id=9)
    last.run(machine)
    states = {subflow.flow: subflow.state for subflow in found(machine, LTE).subflows}
    assert states == {key_of(LTE): SubflowState.ACTIVE, key_of(FAR): SubflowState.CLOSED}


def test_a_connection_ends_when_data_fin_is_acknowledged_both_ways() -> None:
    wire = Wire()
    handshake(wire)
    for up, dsn in ((True, IDSN_A + 1), (False, IDSN_B + 1)):
        wire.put(WIFI, 1, up=up, has=int(Has.DSN | Has.DSN_64 | Has.DATA_FIN), dsn=dsn, map_bytes=1)
    wire.ack(WIFI, 2, IDSN_A + 2, up=False)
    machine = wire.run()
    assert not found(machine, WIFI).is_ended
    more = Wire()
    more.ack(WIFI, 2.5, IDSN_B + 2)
    machine.step(more.records(), START_S + 2.5)
    changes = machine.tick(START_S + 3)
    assert [change.kind for change in changes] == [ChangeKind.CONNECTION_ENDED]
    assert found(machine, WIFI).is_ended
    assert machine.tick(START_S + 4) == ()


def test_the_silent_are_forgotten_and_their_names_live_on() -> None:
    wire = Wire()
    handshake(wire)
    join(wire)
    join(wire, FAR)
    machine = wire.run(Associator(AssociatorConfig(forget_s=120)))
    number = found(machine, WIFI).id
    later = Wire()
    for second in range(10, 130, 10):
        for flow in (LTE, FAR):
            later.data(flow, second, IDSN_A + second, ack=IDSN_B)
    later.run(machine)
    machine.tick(START_S + 130)
    assert machine.lookup(key_of(WIFI)) is None
    assert are_siblings(machine, LTE, FAR)
    assert found(machine, LTE).id == number
    third = Wire()
    flow = ("10.0.3.1", 1, "10.9.0.1", 443)
    join(third, flow, at_s=131, address_id=3)
    third.run(machine)
    assert are_siblings(machine, LTE, flow), "the token is still known"
    machine.tick(START_S + 600)
    assert machine.connections() == []
    assert machine.domain.hard.name_count == 0
    assert machine.domain.edges.kept[machine.domain.edges.kept["is_dead"] == 0].size == 0


def test_one_packet_seen_twice_counts_once() -> None:
    wire = Wire()
    wire.data(WIFI, 0, 1000, ack=5)
    wire.data(WIFI, 0.001, 1000, ack=5, observer=7)
    subflow = found(wire.run(), WIFI).subflows[0]
    assert subflow.packet_count == 1
    assert subflow.seen_by == (0, 7)


def test_a_false_link_is_taken_back() -> None:
    """Two connections meet by chance at 32 bit, then go apart: they are split, and nothing else is."""
    machine = Associator()
    kinds: list[ChangeKind] = []
    for second in range(70):
        wire = Wire()
        own = 1_000_000 * second
        # The stranger is faster: its numbers pass those of the others around second 10.
        wire.data(WIFI, second, own, ack=70, wide=False)
        wire.data(LTE, second + 0.3, own + 300_000, ack=70, wide=False)
        wire.data(FAR, second + 0.5, own + 500_000 + 700_000 * (second - 10), ack=70, wide=False)
        machine.step(wire.records(), START_S + second + 0.5)
        kinds += [change.kind for change in machine.tick(START_S + second + 0.5)]
    assert are_siblings(machine, WIFI, LTE)
    assert not are_siblings(machine, WIFI, FAR)
    assert ChangeKind.CONNECTION_SPLIT in kinds


def test_subscribers_learn_every_shape() -> None:
    wire = Wire()
    handshake(wire)
    join(wire)
    machine = Associator()
    changes = machine.step(wire.records(), START_S + 1)
    assert [(change.kind, change.connection, change.other) for change in changes] == [
        (ChangeKind.CONNECTION_FOUND, 0, None),
        (ChangeKind.CONNECTION_FOUND, 1, None),
        (ChangeKind.SUBFLOW_JOINED, 0, 1),
    ]


def test_the_table_is_bounded() -> None:
    machine = Associator(AssociatorConfig(max_subflows=300))
    wire = Wire()
    for port in range(1, 400):
        wire.data(("10.0.0.1", port, "10.9.0.1", 443), 0, port << 50)
    wire.run(machine)
    assert machine.counters["subflows"] == 300
    assert machine.counters["subflows_refused"] == 99


def test_settings_have_limits() -> None:
    with pytest.raises(InvalidInputError, match="forget_s: must be between 120"):
        AssociatorConfig(forget_s=5)


def test_bytes_that_do_not_add_up_raise_an_alarm() -> None:
    """Two whole bulk connections whose numbers were made to meet: together they carry twice what there is."""
    wire = Wire()
    for index in range(400):
        for flow in (WIFI, FAR):
            wire.data(flow, index * 0.01, (5 << 60) + index * 1000, ack=3 << 60, ssn=1 + index * 1000)
    machine = wire.run()
    alarms = [
        change.alarm
        for second in range(2, 12)
        for change in machine.tick(START_S + 4 + second)
        if change.kind is ChangeKind.ALARM
    ]
    assert alarms == [AlarmKind.FALSE_MERGE_SUSPECTED]


def test_bytes_sent_again_on_a_sibling_raise_no_alarm() -> None:
    """Reinjection: a slow subflow's bytes go over its sibling too; a third more than there is."""
    wire = Wire()
    for index in range(400):
        wire.data(WIFI, index * 0.01, (5 << 60) + index * 1000, ack=3 << 60, ssn=1 + index * 1000)
        if index % 3 == 0:
            wire.data(FAR, index * 0.01, (5 << 60) + index * 1000, ack=3 << 60, ssn=1 + index * 1000 // 3)
    machine = wire.run()
    changes = [change for second in range(2, 12) for change in machine.tick(START_S + 4 + second)]
    (connection,) = machine.connections()
    share = connection.coverage[0]
    assert share is not None
    assert 1.25 < share < 1.45
    assert [change for change in changes if change.kind is ChangeKind.ALARM] == []


def test_a_join_flood_raises_one_alarm() -> None:
    machine = Associator(AssociatorConfig(join_flood_count=50))
    wire = Wire()
    for port in range(1, 100):
        join(wire, ("10.0.0.1", port, "10.9.0.1", 443), at_s=port * 0.01, token=port)
    changes = machine.step(wire.records(), START_S + 1)
    alarms = [change for change in changes if change.kind is ChangeKind.ALARM]
    assert [change.alarm for change in alarms] == [AlarmKind.JOIN_FLOOD]
    assert "50 joins between two hosts" in alarms[0].words


def test_an_address_id_with_two_addresses_raises_an_alarm() -> None:
    machine = Associator()
    wire = Wire()
    handshake(wire)
    for address in ("10.9.0.2", "10.9.0.2", "10.66.0.1"):
        high, low = address_halves(address)
        wire.put(WIFI, 1, up=False, has=int(Has.ADD_ADDR), address_id=2, added_hi=high, added_lo=low)
    changes = machine.step(wire.records(), START_S + 1)
    alarms = [change for change in changes if change.kind is ChangeKind.ALARM]
    assert [change.alarm for change in alarms] == [AlarmKind.DUPLICATE_ADD_ADDR]
    assert "address ID 2" in alarms[0].words
    assert "10.66.0.1 beside 10.9.0.2" in alarms[0].words, "an operator needs both addresses"


def test_an_address_with_two_ids_raises_an_alarm() -> None:
    machine = Associator()
    wire = Wire()
    handshake(wire)
    high, low = address_halves("2001:db8::7")
    for address_id in (2, 5):
        wire.put(WIFI, 1, up=False, has=int(Has.ADD_ADDR), address_id=address_id, added_hi=high, added_lo=low,
                 added_port=8443)  # fmt: skip
    changes = machine.step(wire.records(), START_S + 1)
    alarms = [change.words for change in changes if change.kind is ChangeKind.ALARM]
    assert alarms == ["ADD_ADDR announces one address, [2001:db8::7]:8443, under IDs 2 and 5"]
