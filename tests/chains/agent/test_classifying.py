"""The classifier's decisions: rules, what is in flight, and when an epoch follows another."""

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from apps.chains.agent.classifying import PathFlow, Rules, try_switch
from apps.chains.agent.specs import Match
from apps.chains.engine.fields import Field
from apps.chains.engine.packet import parse
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource

RULES = (
    (1, Match(dst=ip_network("192.168.0.0/24"), proto=6, dst_ports=frozenset({80}))),
    (2, Match(src=ip_network("10.1.0.0/16"), proto=17)),
    (3, Match(dst=ip_network("2001:db8::/32"))),
    (4, Match(proto=6)),
)


def slowly(frame: bytes) -> int:
    """Return the path by looking at every rule, without remembering anything."""
    packet = parse(frame)
    if not packet.ip_version:
        return 0
    width = 4 if packet.ip_version == 4 else 16
    addresses = packet.addresses()
    src, dst = addresses[:width], addresses[width:]

    def inside(address: bytes, net: object) -> bool:
        network = ip_network(str(net))
        size = network.prefixlen
        return len(address) == network.max_prefixlen // 8 and (
            int.from_bytes(address) >> (8 * width - size)
            == int(network.network_address) >> (8 * width - size)
        )

    for path, match in RULES:
        if match.src is not None and not inside(src, match.src):
            continue
        if match.dst is not None and not inside(dst, match.dst):
            continue
        if match.proto is not None and match.proto != packet.proto:
            continue
        if match.dst_ports and packet.get(Field.DST_PORT) not in match.dst_ports:
            continue
        return path
    return 0


def test_rules_answer_as_if_nothing_were_remembered() -> None:
    rules = Rules(RULES)
    frames = list(TrafficSource(TrafficMix(flow_count=60, odd_ratio=0.2), 1).frames(8000))
    found = [rules.path_of(frame) for frame in frames]
    assert found == [slowly(frame) for frame in frames]
    assert set(found) >= {0, 1, 2, 3, 4}


def sent(flow: PathFlow, count: int, now_us: int = 0) -> None:
    for _ in range(count):
        flow.next_id += 1
        flow.mark_sent(now_us)


def test_what_is_in_flight_is_what_did_not_come_back() -> None:
    flow = PathFlow()
    sent(flow, 5)
    assert flow.came_back(1, 100, 50, False, -1)
    assert not flow.came_back(3, 100, 50, True, 2), "a nil goes no further"
    assert not flow.came_back(2, 100, 50, False, -1), "too late"
    assert (flow.in_flight, flow.counters["out"], flow.counters["dropped"]) == (2, 1, 1)
    assert (flow.counters["lost"], flow.counters["late"], flow.dropped_by[2]) == (1, 1, 1)
    assert not flow.came_back(99, 100, 50, False, -1), "nobody sent that"


def test_what_is_under_way_for_too_long_is_given_up() -> None:
    flow = PathFlow()
    sent(flow, 3, now_us=0)
    sent(flow, 2, now_us=5000)
    flow.give_up(999, 1000)
    assert flow.in_flight == 5
    flow.give_up(1000, 1000)
    assert (flow.in_flight, flow.counters["timed_out"]) == (2, 3)
    assert not flow.came_back(2, 0, 0, False, -1)


def test_an_epoch_waits_until_nothing_is_in_flight_or_too_long() -> None:
    flow = PathFlow()
    flow.wanted = 1
    assert try_switch(flow, 0, 1000), "nothing was under way"
    sent(flow, 2)
    flow.wanted = 2
    assert not try_switch(flow, 10, 1000)
    flow.came_back(2, 20, 0, False, -1)
    assert try_switch(flow, 20, 1000)
    assert flow.epoch == 2
    sent(flow, 1)
    flow.wanted = 3
    assert not try_switch(flow, 100, 1000)
    assert not try_switch(flow, 1099, 1000)
    assert try_switch(flow, 1100, 1000)
    assert (flow.epoch, flow.in_flight, flow.counters["timed_out"]) == (3, 0, 1)


@given(st.lists(st.sampled_from(["send", "back", "drop", "skip", "again"]), max_size=60))
def test_every_packet_has_one_fate(steps: list[str]) -> None:
    flow = PathFlow()
    newest = 0
    for now_us, step in enumerate(steps):
        if step == "send":
            sent(flow, 1, now_us)
        elif step == "again":
            flow.came_back(newest, now_us, 0, False, -1)
        elif newest + (2 if step == "skip" else 1) < flow.next_id:
            newest += 2 if step == "skip" else 1
            flow.came_back(newest, now_us, 0, step == "drop", 0)
        counted = sum(flow.counters[name] for name in ("out", "dropped", "lost", "timed_out"))
        assert counted + flow.in_flight == flow.next_id - 1
