"""The gateway's routes in a real kernel: carried out, kept against others, never more than ours."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from apps.wan.agent.gateway import Gateway
from apps.wan.agent.gateway_spec import parse_gateway_spec
from apps.wan.agent.kernel_routes import NEXTHOP_BASE, TABLE_BASE, read_routes, wanted_routes
from apps.wan.agent.rerouter import Rerouter, try_reconcile
from apps.wan.engine.map_planner import Move
from nfvportal.agent.netlink import Netlink
from nfvportal.lib.errors import InvalidInputError
from tests.nfvportal.agent.in_namespace import in_namespace, ip, ip_json
from tests.wan.agent.specs import GATEWAY, Context, add_wan_wires, changed

HOME = {1: "fiber", 2: "dsl"}


def rerouter_of(spec: dict[str, Any], mapping: dict[int, str]) -> Rerouter:
    parsed = parse_gateway_spec(spec)
    rerouter = Rerouter(parsed)
    rerouter.adopt(parsed, mapping)
    return rerouter


def leaves_by(source: str) -> str:
    """Return the interface by which the kernel would forward a packet of a virtual subnet."""
    return str(ip_json(f"route get 10.2.0.10 from {source} iif lan0")[0]["dev"])


def add_lan() -> None:
    for command in (
        "link add lan0 type veth peer name lan0-far",
        "address add 10.1.1.1/24 dev lan0",
        "address add 10.1.2.1/24 dev lan0",
        "link set lan0 up",
        "link set lan0-far up",
    ):
        ip(command)
    ipv4 = Path("/proc/sys/net/ipv4")
    for name in ("all", "default", "lan0"):
        (ipv4 / "conf" / name / "rp_filter").write_text("0")
    (ipv4 / "ip_forward").write_text("1")


@in_namespace
def test_packets_leave_by_the_map_and_a_second_time_changes_nothing() -> None:
    add_wan_wires()
    add_lan()
    rerouter = rerouter_of(GATEWAY, HOME)
    assert rerouter.reconcile() == 6, "two nexthops, two routes, two rules"
    assert (leaves_by("10.1.1.10"), leaves_by("10.1.2.10")) == ("wan1", "wan2")
    assert rerouter.reconcile() == 0
    assert rerouter.flip([Move(1, "fiber", "dsl")])
    assert (leaves_by("10.1.1.10"), leaves_by("10.1.2.10")) == ("wan2", "wan2")
    assert rerouter.reconcile() == 0, "the slow path must not undo the fast one"
    assert rerouter.held_mapping() == {1: "dsl", 2: "dsl"}


@in_namespace
def test_the_other_side_sorts_by_destination() -> None:
    add_wan_wires()
    rerouter = rerouter_of(changed(GATEWAY, ("side",), "b"), HOME)
    assert rerouter.reconcile() == 4
    routes = {route["dst"]: route["dev"] for route in ip_json("route show protocol 200")}
    assert routes == {"10.1.1.0/24": "wan1", "10.1.2.0/24": "wan2"}
    rerouter.flip([Move(2, "dsl", "fiber")])
    assert ip_json("route get 10.1.2.10")[0]["dev"] == "wan1"
    assert rerouter.reconcile() == 0


@pytest.mark.parametrize(
    "deletion",
    [
        f"rule del priority {TABLE_BASE + 1}",
        f"route del 10.2.0.0/24 table {TABLE_BASE + 1}",
        f"nexthop del id {NEXTHOP_BASE + 1}",
        "nexthop flush",
        f"route replace 10.2.0.0/24 via 192.0.2.6 table {TABLE_BASE + 1} protocol static",
        f"nexthop replace id {NEXTHOP_BASE + 1} via 192.0.2.6 dev wan2 protocol 200",
        "link set wan1 down",
    ],
)
@in_namespace
def test_what_others_do_to_our_entries_is_repaired(deletion: str) -> None:
    add_wan_wires()
    add_lan()
    rerouter = rerouter_of(GATEWAY, HOME)
    rerouter.reconcile()
    ip(deletion)
    ip("link set wan1 up")
    assert rerouter.reconcile() > 0
    assert (leaves_by("10.1.1.10"), leaves_by("10.1.2.10")) == ("wan1", "wan2")
    wanted = wanted_routes(
        parse_gateway_spec(GATEWAY), HOME, {"wan1": number("wan1"), "wan2": number("wan2")}
    )
    assert read_routes(Netlink()) == wanted
    assert rerouter.reconcile() == 0


def number(interface: str) -> int:
    return int(ip_json(f"link show dev {interface}")[0]["ifindex"])


@in_namespace
def test_a_smaller_spec_removes_ours_and_leaves_everything_of_others() -> None:
    add_wan_wires()
    for foreign in (
        "nexthop add id 5 via 192.0.2.2 dev wan1 protocol 200",
        "nexthop add id 6 via 192.0.2.2 dev wan1 protocol static",
        "rule add from 10.7.0.0/24 lookup 777 priority 777 protocol 200",
        "rule add from 10.8.0.0/24 lookup 10001 priority 778 protocol static",
        "route add default via 192.0.2.2 table 20001 protocol 200",
        f"route add 10.9.0.0/24 via 192.0.2.2 table {TABLE_BASE + 2} protocol static",
    ):
        ip(foreign)
    before = (ip("nexthop show"), ip("rule show"), ip("route show table all"))
    both = rerouter_of(GATEWAY, HOME)
    both.reconcile()
    small = changed(GATEWAY, ("virtual_subnets",), GATEWAY["virtual_subnets"][:1])
    small["home"] = small["map"] = {"1": "fiber"}
    rerouter = rerouter_of(small, {1: "fiber"})
    assert rerouter.reconcile() == 3
    assert [rule.source for rule in Netlink().rules(200) if rule.table != 777] == ["10.1.1.0/24"]
    Rerouter.adopt(rerouter, parse_gateway_spec(small), {})
    ip(f"rule del priority {TABLE_BASE + 1}")
    rerouter.reconcile()
    ip(f"rule del priority {TABLE_BASE + 1}")
    assert (ip("nexthop show"), ip("rule show"), ip("route show table all")) == before


@in_namespace
def test_a_flip_of_all_that_a_spec_can_hold() -> None:
    """64 virtual subnets over 256 prefixes: more answers than a socket holds at once."""
    add_wan_wires()
    spec = changed(GATEWAY, ("remote_prefixes",), [f"10.2.{at}.0/24" for at in range(256)])
    spec["virtual_subnets"] = [{"index": at, "prefix": f"10.1.{at}.0/24"} for at in range(1, 65)]
    spec["home"] = spec["map"] = {str(at): "fiber" for at in range(1, 65)}
    rerouter = rerouter_of(spec, dict.fromkeys(range(1, 65), "fiber"))
    rerouter.reconcile()
    assert rerouter.flip([Move(at, "fiber", "dsl") for at in range(1, 65)])
    assert rerouter.reconcile() == 0
    assert rerouter.held_mapping() == dict.fromkeys(range(1, 65), "dsl")


@in_namespace
def test_a_flip_that_the_kernel_does_not_answer_is_told_and_made_good() -> None:
    """The failure must still be reported: an exception here would swallow the event."""
    add_wan_wires()
    rerouter = rerouter_of(GATEWAY, HOME)
    rerouter.reconcile()
    rerouter._fast.close()
    assert not rerouter.flip([Move(1, "fiber", "dsl")])
    assert rerouter.reconcile() == 1, "the slow path carries out what the fast one could not"
    assert rerouter.held_mapping()[1] == "dsl"
    assert rerouter.flip([Move(1, "dsl", "fiber")])
    assert rerouter.held_mapping()[1] == "fiber"


@in_namespace
def test_routes_lost_with_the_carrier_are_back_after_the_flip() -> None:
    add_wan_wires()
    add_lan()
    rerouter = rerouter_of(GATEWAY, HOME)
    rerouter.reconcile()
    ip("link set wan1 down")
    assert not try_reconcile(rerouter), "nothing can be set over a dead interface; it is tried again"
    assert rerouter.flip([Move(1, "fiber", "dsl")])
    assert leaves_by("10.1.1.10") == "wan2"
    assert rerouter.reconcile() == 0


@in_namespace
def test_a_gateway_that_starts_again_goes_on_with_the_map_in_the_kernel() -> None:
    add_wan_wires()
    add_lan()

    async def live() -> None:
        first = Gateway(Context())
        await first.apply(GATEWAY)
        assert first.snapshot()["routes_ok"]
        assert (leaves_by("10.1.1.10"), leaves_by("10.1.2.10")) == ("wan1", "wan2")
        await first.close()
        rerouter_of(GATEWAY, HOME).flip([Move(1, "fiber", "dsl")])
        second = Gateway(Context())
        await second.apply(GATEWAY)
        assert leaves_by("10.1.1.10") == "wan2", "a restart moves nothing before the links are known"
        assert second.snapshot()["map"] == {"1": "dsl", "2": "dsl"}
        await second.apply(changed(GATEWAY, ("epoch",), 2))
        assert leaves_by("10.1.1.10") == "wan2"
        await second.close()

    asyncio.run(live())


@pytest.mark.parametrize(("path", "value"), [("interface", "nowhere"), ("local", "198.51.100.1")])
@in_namespace
def test_a_link_that_the_device_does_not_have_is_refused(path: str, value: str) -> None:
    add_wan_wires()

    async def live() -> None:
        gateway = Gateway(Context())
        with pytest.raises(InvalidInputError) as caught:
            await gateway.apply(changed(GATEWAY, ("links", 0, path), value))
        assert caught.value.field == "links"
        await gateway.apply(GATEWAY)
        assert gateway.snapshot()["routes_ok"]
        await gateway.close()

    asyncio.run(live())
