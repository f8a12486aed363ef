"""Every driver that works here: members get one copy, others none, what is not ours stays as it is."""

import asyncio
import random
import shutil
from collections.abc import Callable, Mapping

import pytest

from apps.chains.agent.switch_drivers import PREFERENCE, BridgeFlood, SwitchDriver, choose_driver
from nfvportal.lib.errors import InvalidInputError
from tests.chains.agent.switch_bed import GROUP, OTHER_GROUP, PORTS, Ends, frame_to, make_bridge, sh
from tests.nfvportal.agent.in_namespace import in_namespace

NAMES = [kind.name for kind in PREFERENCE]


def driver_of(name: str) -> SwitchDriver:
    """Return a driver, or skip with what its probe said."""
    try:
        return asyncio.run(choose_driver(name))[0]
    except InvalidInputError as error:
        pytest.skip(str(error))


def apply(driver: SwitchDriver, groups: Mapping[str, set[str]]) -> None:
    asyncio.run(driver.apply({group: frozenset(ports) for group, ports in groups.items()}))


def rules() -> str:
    """Return everything that could have been changed."""
    shown = [sh(f"tc filter show dev {port} ingress") + sh(f"tc qdisc show dev {port}") for port in PORTS]
    shown += [sh("bridge mdb show"), sh("bridge -d link show")]
    return "\n".join([*shown, sh("nft list ruleset")] if shutil.which("nft") else shown)


def each_driver(body: Callable[[str], None]) -> Callable[..., None]:
    """Run a test once per driver, in a namespace of its own with a bridge."""

    def run(name: str) -> None:
        make_bridge()
        body(name)

    run.__name__, run.__doc__ = body.__name__, body.__doc__
    return pytest.mark.parametrize("name", NAMES)(in_namespace(run))


@each_driver
def test_members_get_one_copy_and_nobody_else_any(name: str) -> None:
    driver, ends = driver_of(name), Ends()
    apply(driver, {GROUP: {"p2", "p4"}, OTHER_GROUP: {"p1", "p3"}})
    assert ends.members(GROUP) == {"p2", "p4"}
    assert ends.members(OTHER_GROUP) == {"p3"}, "never back to who sent it"
    assert ends.members(OTHER_GROUP, into="p4") == {"p1", "p3"}
    assert ends.copies(frame_to(GROUP, 1200)) == {"p1": 0, "p2": 1, "p3": 0, "p4": 1}
    apply(driver, {GROUP: {"p3"}})
    assert ends.members(GROUP) == {"p3"}
    assert ends.members(GROUP, into="p3") == set(), "the only member sent it"


@each_driver
def test_other_traffic_passes_as_before(name: str) -> None:
    driver, ends = driver_of(name), Ends()
    apply(driver, {GROUP: {"p2"}})
    everybody = {"p2", "p3", "p4"}
    assert ends.members("02:00:00:07:01:02") == everybody, "an unknown address"
    assert ends.members("ff:ff:ff:ff:ff:ff") == everybody
    assert ends.members("01:00:5e:00:00:01") == everybody, "all hosts of IPv4"
    answer = bytes.fromhex("0200000000090200000000aa88b5") + bytes(60)
    assert ends.copies(answer, into="p4") == {"p1": 1, "p2": 0, "p3": 0, "p4": 0}, "p1 is known by now"


@each_driver
def test_twice_is_once_and_nothing_stays(name: str) -> None:
    before = rules()
    driver = driver_of(name)
    groups = {GROUP: {"p2", "p4"}, OTHER_GROUP: {"p1", "p2", "p3"}}
    apply(driver, groups)
    held = rules()
    assert held != before
    apply(driver, groups)
    assert rules() == held
    again = driver_of(name)
    apply(again, groups)
    assert rules() == held, "after a restart as well"
    apply(again, {})
    apply(driver, {})
    assert rules() == before


@each_driver
def test_whatever_is_asked_in_whatever_order_is_what_happens(name: str) -> None:
    driver, ends, rng = driver_of(name), Ends(), random.Random(3)
    for turn in range(12):
        names = rng.sample([f"03:00:00:00:01:0{digit}" for digit in range(6)], rng.randint(0, 4))
        groups = {group: set(rng.sample(PORTS, rng.randint(1, 4))) for group in names}
        apply(driver, groups)
        for group, members in groups.items():
            into = rng.choice(PORTS)
            assert ends.members(group, into) == members - {into}, (turn, group, into)


@each_driver
def test_an_unknown_port_is_named(name: str) -> None:
    driver = driver_of(name)
    with pytest.raises(InvalidInputError, match="port p9"):
        apply(driver, {GROUP: {"p9"}})


@each_driver
def test_a_driver_takes_over_from_another(name: str) -> None:
    old, ends = driver_of(name), Ends()
    apply(old, {GROUP: {"p2"}})
    new = asyncio.run(choose_driver(BridgeFlood.name))[0]
    apply(new, {GROUP: {"p2"}})
    assert ends.members(GROUP) == {"p2", "p3", "p4"}


@in_namespace
def test_seven_members_are_not_nested() -> None:
    ports = tuple(f"p{number}" for number in range(1, 9))
    make_bridge(ports)
    ends = Ends(ports)
    probed = asyncio.run(choose_driver())[1]
    for name in [name for name in NAMES if probed[name] == "ok"]:
        driver, _ = asyncio.run(choose_driver(name))
        apply(driver, {GROUP: set(ports)})
        assert ends.members(GROUP) == set(ports[1:]), name


@in_namespace
def test_filters_of_others_stay() -> None:
    make_bridge()
    sh("tc qdisc add dev p1 clsact")
    foreign = "protocol all bpf da bytecode"
    # One with our bytecode at a foreign place, one at a place of ours with other bytecode.
    ours = "6,32 0 0 0,21 0 3 50331655,40 0 0 4,21 0 1 259,6 0 0 2,6 0 0 4294967295"
    sh("tc -batch -", f"filter add dev p1 ingress pref 50000 {foreign} '{ours}'\n")
    sh("tc -batch -", f"filter add dev p1 ingress pref 40001 {foreign} '1,6 0 0 4294967295'\n")
    before = sh("tc filter show dev p1 ingress")
    driver = driver_of("tc_mirred")
    apply(driver, {GROUP: {"p2"}, OTHER_GROUP: {"p3"}})
    apply(driver, {})
    assert sh("tc filter show dev p1 ingress") == before
    assert "clsact" in sh("tc qdisc show dev p1")


@in_namespace
def test_tables_of_others_stay() -> None:
    make_bridge()
    driver = driver_of("nft_dup")
    sh(
        "nft -f -",
        'table netdev theirs {\n chain c {\n type filter hook ingress device "p1" priority 5\n }\n}\n',
    )
    before = sh("nft list ruleset")
    apply(driver, {GROUP: {"p2"}, OTHER_GROUP: {"p3"}})
    apply(driver, {})
    assert sh("nft list ruleset") == before


@in_namespace
def test_a_bridge_that_keeps_no_groups_is_helped_by_the_next_driver() -> None:
    make_bridge()
    sh("ip link set br0 type bridge mcast_snooping 0")
    driver, probed = asyncio.run(choose_driver())
    assert probed["bridge_mdb"] != "ok"
    assert driver.name == next(name for name in NAMES if probed[name] == "ok")
    apply(driver, {GROUP: {"p2", "p4"}})
    assert Ends().members(GROUP) == {"p2", "p4"}


@in_namespace
def test_each_probe_answers_and_leaves_nothing() -> None:
    make_bridge()
    before = rules()
    driver, probed = asyncio.run(choose_driver())
    assert set(probed) == {"openflow", *NAMES, "bridge_flood"}
    assert all(probed.values())
    assert probed[driver.name] == "ok"
    assert rules() == before
