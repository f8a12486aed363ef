"""Netlink packed by hand, judged by the kernel and by ``ip``."""

import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfvportal.agent import netlink
from nfvportal.agent.netlink import (
    EXISTS,
    GONE,
    TABLE_MAIN,
    Address,
    Netlink,
    NetlinkError,
    Nexthop,
    Route,
    Rule,
    iter_attributes,
    iter_messages,
)
from tests.nfvportal.agent.in_namespace import add_wire, in_namespace, ip, ip_json

OURS, OTHERS = 200, 4


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    list(iter_messages(data))
    list(iter_attributes(data))


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=20)), max_size=8), st.integers(0, 3))
def test_attributes_come_back_and_a_torn_end_is_left_out(
    attributes: list[tuple[int, bytes]], torn: int
) -> None:
    data = b"".join(netlink.pack_attribute(kind, value) for kind, value in attributes)
    assert list(iter_attributes(data)) == attributes
    assert list(iter_attributes(data + b"\xff" * torn)) == attributes


@given(st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=20).map(lambda b: b[: len(b) // 4 * 4]))))
def test_messages_come_back(messages: list[tuple[int, bytes]]) -> None:
    data = b"".join(netlink.pack_message(kind, 4, payload) for kind, payload in messages)
    assert list(iter_messages(data)) == [(kind, 5, payload) for kind, payload in messages]


def wired() -> tuple[Netlink, int, int]:
    add_wire("wan1", "192.0.2.1/30")
    add_wire("wan2", "192.0.2.5/30")
    return Netlink(), socket.if_nametoindex("wan1"), socket.if_nametoindex("wan2")


@in_namespace
def test_nexthops_are_made_redirected_and_removed() -> None:
    kernel, wan1, wan2 = wired()
    kernel.send_all([netlink.pack_nexthop_replace(Nexthop(7, "192.0.2.2", wan1, OURS))])
    assert kernel.nexthops(OURS) == [Nexthop(7, "192.0.2.2", wan1, OURS)]
    assert [(n["id"], n["gateway"], n["dev"]) for n in ip_json("nexthop show")] == [(7, "192.0.2.2", "wan1")]
    kernel.send_all([netlink.pack_nexthop_replace(Nexthop(7, "192.0.2.6", wan2, OURS))])
    assert kernel.nexthops(OURS) == [Nexthop(7, "192.0.2.6", wan2, OURS)]
    ip("nexthop add id 9 via 192.0.2.2 dev wan1 protocol static")
    assert [nexthop.id for nexthop in kernel.nexthops(OTHERS)] == [9]
    kernel.send_all([netlink.pack_nexthop_delete(7)])
    assert kernel.nexthops(OURS) == []
    assert kernel.send([netlink.pack_nexthop_delete(7)])[0] in GONE


@pytest.mark.parametrize("table", [TABLE_MAIN, 100, 10_001])
@in_namespace
def test_routes_follow_their_nexthop(table: int) -> None:
    kernel, wan1, wan2 = wired()
    route = Route("10.2.0.0/24", table, 7, OURS)
    kernel.send_all(
        [
            netlink.pack_nexthop_replace(Nexthop(7, "192.0.2.2", wan1, OURS)),
            netlink.pack_route_replace(route),
        ]
    )
    assert kernel.routes(OURS) == [route]
    kernel.send_all([netlink.pack_nexthop_replace(Nexthop(7, "192.0.2.6", wan2, OURS))])
    shown = ip_json(f"route show table {table} 10.2.0.0/24")
    assert [(r["dst"], r["nhid"], r["dev"]) for r in shown] == [("10.2.0.0/24", 7, "wan2")]
    kernel.send_all([netlink.pack_route_delete(route)])
    assert kernel.routes(OURS) == []
    assert kernel.send([netlink.pack_route_delete(route)])[0] in GONE


@in_namespace
def test_a_default_route_without_a_nexthop_object_is_set_and_removed() -> None:
    kernel, wan1, _ = wired()
    kernel.send_all([netlink.pack_default_route_replace("192.0.2.2", wan1, 20_001, OURS)] * 2)
    assert kernel.routes(OURS) == [Route("0.0.0.0/0", 20_001, 0, OURS)]
    assert [r["gateway"] for r in ip_json("route show table 20001")] == ["192.0.2.2"]
    kernel.send_all([netlink.pack_route_delete(kernel.routes(OURS)[0])])
    assert kernel.routes(OURS) == []


@in_namespace
def test_a_rule_is_held_once() -> None:
    kernel = Netlink()
    rule = Rule("10.1.1.0/24", 10_001, 10_001, OURS)
    kernel.send_all([netlink.pack_rule_add(rule)])
    assert kernel.send([netlink.pack_rule_add(rule)]) == [errno.EEXIST]
    assert kernel.rules(OURS) == [rule]
    shown = [r for r in ip_json("rule show") if r["priority"] == 10_001]
    assert [(r["src"], r["srclen"], r["table"]) for r in shown] == [("10.1.1.0", 24, "10001")]
    kernel.send_all([netlink.pack_rule_delete(rule)])
    assert kernel.rules(OURS) == []
    assert kernel.send([netlink.pack_rule_delete(rule)])[0] in GONE


@in_namespace
def test_addresses_tell_whose_they_are() -> None:
    kernel, wan1, _ = wired()
    ours = Address("10.1.1.10/24", wan1, OURS)
    kernel.send_all([netlink.pack_address_add(ours)])
    assert kernel.send([netlink.pack_address_add(ours)])[0] in EXISTS
    assert kernel.addresses(OURS) == [ours]
    kernel.send_all([netlink.pack_address_delete(ours)])
    assert kernel.addresses(OURS) == []
    shown = [i["local"] for i in ip_json("address show dev wan1")[0]["addr_info"] if i["family"] == "inet"]
    assert shown == ["192.0.2.1"], "the address of another stays"


@in_namespace
def test_one_refused_message_does_not_stop_the_next() -> None:
    kernel, wan1, _ = wired()
    refused = netlink.pack_route_replace(Route("10.9.0.0/24", TABLE_MAIN, 999, OURS))
    good = netlink.pack_nexthop_replace(Nexthop(7, "192.0.2.2", wan1, OURS))
    answers = kernel.send([refused, good])
    assert answers[0] != 0
    assert answers[1] == 0
    assert len(kernel.nexthops(OURS)) == 1
    with pytest.raises(NetlinkError) as caught:
        kernel.send_all([refused])
    assert caught.value.errno == answers[0]
    assert kernel.send([]) == []


@in_namespace
def test_ten_thousand_routes_are_set_and_turn_with_one_replace() -> None:
    kernel, wan1, wan2 = wired()
    routes = [Route(f"10.{at // 256}.{at % 256}.0/24", 10_001, 7, OURS) for at in range(10_000)]
    kernel.send_all([netlink.pack_nexthop_replace(Nexthop(7, "192.0.2.2", wan1, OURS))])
    kernel.send_all([netlink.pack_route_replace(route) for route in routes])
    assert sorted(kernel.routes(OURS)) == sorted(routes)
    kernel.send_all([netlink.pack_nexthop_replace(Nexthop(7, "192.0.2.6", wan2, OURS))])
    assert {route["dev"] for route in ip_json("route show table 10001")} == {"wan2"}
    # And every route again, as a flip does: the answers must not overflow the socket.
    assert set(kernel.send([netlink.pack_route_replace(route) for route in routes])) == {0}


@in_namespace
def test_counters_count_what_ip_counts() -> None:
    kernel, _, _ = wired()
    before = kernel.counters()["lo"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(bytes(1000), ("127.0.0.1", 9))
    after = kernel.counters()["lo"]
    assert after.tx_bytes - before.tx_bytes >= 1028
    shown = ip_json("-s link show dev lo")[0]["stats64"]
    assert (after.rx_bytes, after.tx_bytes) == (shown["rx"]["bytes"], shown["tx"]["bytes"])
    assert {"lo", "wan1", "wan2"} <= kernel.counters().keys()
