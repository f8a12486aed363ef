"""The host's addresses, rules and Multipath TCP endpoints in a real kernel."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apps.wan.agent.host import Host
from nfvportal.lib.errors import InvalidInputError
from tests.nfvportal.agent.in_namespace import add_wire, in_namespace, ip, ip_json
from tests.wan.agent.specs import HOST, Context, changed

pytestmark = pytest.mark.skipif(
    not Path("/proc/sys/net/mptcp").is_dir(), reason="this kernel has no Multipath TCP"
)
SWITCH = Path("/proc/sys/net/mptcp/blackhole_timeout")
ONE = changed(HOST, ("addresses",), HOST["addresses"][:1])


def addresses() -> list[str]:
    return [info["local"] for info in ip_json("-4 address show dev lan0")[0]["addr_info"]]


def rules() -> list[tuple[str, str]]:
    shown = [rule for rule in ip_json("rule show") if 20_000 < rule["priority"] < 30_000]
    return [(rule["src"], rule["table"]) for rule in shown]


def endpoints() -> list[str]:
    return sorted(endpoint["address"] for endpoint in ip_json("mptcp endpoint show"))


def with_host(body: Callable[[Host], Any]) -> None:
    """Run ``body`` with a host that has the spec applied."""

    async def live() -> None:
        host = Host(Context())
        await host.apply(HOST)
        await body(host)
        await host.close()

    add_wire("lan0", "10.1.1.10/24")
    asyncio.run(live())


@in_namespace
def test_one_address_rule_route_and_endpoint_per_virtual_subnet() -> None:
    async def body(host: Host) -> None:
        assert addresses() == ["10.1.1.10", "10.1.2.10"]
        assert rules() == [("10.1.1.10", "20001"), ("10.1.2.10", "20002")]
        for index, gateway in ((1, "10.1.1.1"), (2, "10.1.2.1")):
            routed = ip_json(f"route get 10.2.0.10 from 10.1.{index}.10")[0]
            assert (routed["gateway"], routed["dev"]) == (gateway, "lan0")
        assert endpoints() == ["10.1.1.10", "10.1.2.10"]
        assert ip("mptcp limits show").split() == ["add_addr_accepted", "8", "subflows", "8"]
        assert host.snapshot() == {"addresses": ["10.1.1.10/24", "10.1.2.10/24"], "is_ok": True}

    with_host(body)


def setting(path: Path) -> str:
    return path.read_text().strip()


@pytest.mark.skipif(not SWITCH.exists(), reason="kernels before 6.12 have no such switch")
@in_namespace
def test_a_black_hole_does_not_switch_multipath_off() -> None:
    seen: list[str] = []

    async def body(_: Host) -> None:
        seen.append(setting(SWITCH))

    with_host(body)
    assert seen == ["0"]


@in_namespace
def test_a_second_time_changes_nothing() -> None:
    async def body(host: Host) -> None:
        before = (ip("address show"), ip("rule show"), ip("route show table all"), ip("mptcp endpoint show"))
        await host.apply(HOST)
        assert before == (
            ip("address show"),
            ip("rule show"),
            ip("route show table all"),
            ip("mptcp endpoint show"),
        )

    with_host(body)


@pytest.mark.parametrize(
    "deletion",
    [
        "address del 10.1.2.10/24 dev lan0",
        "rule del priority 20002",
        "route flush table 20002",
        "mptcp endpoint flush",
        "mptcp limits set subflows 0 add_addr_accepted 0",
    ],
)
@in_namespace
def test_what_others_delete_is_set_again(deletion: str) -> None:
    async def body(host: Host) -> None:
        ip(deletion)
        await host.apply(HOST)
        assert addresses() == ["10.1.1.10", "10.1.2.10"]
        assert rules() == [("10.1.1.10", "20001"), ("10.1.2.10", "20002")]
        assert ip_json("route get 10.2.0.10 from 10.1.2.10")[0]["gateway"] == "10.1.2.1"
        assert endpoints() == ["10.1.1.10", "10.1.2.10"]
        assert ip("mptcp limits show").split()[-1] == "8"

    with_host(body)


@in_namespace
def test_a_smaller_spec_removes_what_we_set_and_nothing_else() -> None:
    async def body(host: Host) -> None:
        ip("address add 10.1.7.10/24 dev lan0")
        ip("rule add from 10.1.7.10 lookup 777 priority 25000 protocol static")
        await host.apply(ONE)
        assert addresses() == ["10.1.1.10", "10.1.7.10"]
        assert rules() == [("10.1.1.10", "20001"), ("10.1.7.10", "777")]
        assert ip_json("route show table 20002") == []
        assert endpoints() == ["10.1.1.10"]
        await host.apply(HOST)
        await host.apply(changed(HOST, ("addresses",), HOST["addresses"][1:]))
        assert addresses() == ["10.1.1.10", "10.1.7.10", "10.1.2.10"], "the first was there before us"

    with_host(body)


@in_namespace
def test_an_interface_that_is_not_there_is_refused() -> None:
    async def body(host: Host) -> None:
        with pytest.raises(InvalidInputError) as caught:
            await host.apply(changed(HOST, ("interface",), "nowhere"))
        assert caught.value.field == "interface"

    with_host(body)
