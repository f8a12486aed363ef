"""Failover in the lab, between two real gateways: do packets go on arriving, and do both ends tell the same?"""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tests.wan.agent.branch import GATEWAYS, HOME, LINKS, Branch, GatewayJournal, Pings

pytestmark = pytest.mark.lab

LOST_PINGS_MAX = (
    50  # half a second: ten times what a quiet machine needs, and a twentieth of any routing protocol
)


def has_moved_off_fiber(journal: GatewayJournal) -> bool:
    states, mapping = journal.state()
    return states["fiber"] == "down" and mapping["1"] in ("dsl", "lte") and mapping["2"] == "dsl"


def longest_gap(sent: int, answered: set[int]) -> int:
    gap = longest = 0
    for number in range(1, sent + 1):
        gap = 0 if number in answered else gap + 1
        longest = max(longest, gap)
    return longest


def device_of(branch: Branch, index: int) -> str:
    """Return the interface by which gateway a would send a packet of a virtual subnet."""
    command = f"ip -json route get 10.2.0.10 from 10.1.{index}.10 iif lan0"
    return str(json.loads(branch.output("gw-a", command))[0]["dev"])


@pytest.mark.parametrize("kind", ["blackhole", "carrier"])
def test_a_cut_moves_the_map_at_both_ends_and_packets_go_on(branch: Branch, kind: str) -> None:
    pings = Pings(branch, 150)
    wait_until(
        lambda: int(branch.lab.status()["links"][0]["counters"]["ab"]["frames_out"]) > 0, "traffic runs"
    )
    branch.lab.fault("fiber", kind)
    branch.wait_both(has_moved_off_fiber, "the fiber's subnet has moved, no other")
    for journal in branch.journals.values():
        assert [link for link, _ in journal.failures()] == ["fiber"]
        data = journal.news("wan.link_failed")[0]
        assert [move["index"] for move in data["moves"]] == [1]
        assert 0 < data["detection_ms"] < 1000
        assert 0 <= data["action_ms"] < 1000
    maps = [journal.state()[1] for journal in branch.journals.values()]
    assert maps[0] == maps[1], "both ends chose the same link without talking"
    assert device_of(branch, 1) == f"wan-{maps[0]['1']}"
    sent, answered = pings.finish()
    assert longest_gap(sent, answered) <= LOST_PINGS_MAX
    assert sent in answered, "the last packet arrives while the fiber is still cut"
    branch.lab.clear("fiber")
    branch.wait_both(lambda journal: journal.news("wan.link_restored"), "the fiber is restored", 15)
    for journal in branch.journals.values():
        data = journal.news("wan.link_restored")[-1]
        assert (data["link"], data["map"]) == ("fiber", HOME)
        assert data["down_s"] > data["hold_down_s"] > 0
    assert device_of(branch, 1) == "wan-fiber"
    assert longest_gap(*Pings(branch, 10).finish()) == 0


@pytest.mark.parametrize(
    ("kind", "directions"), [("blackhole_ab", ("tx", "rx")), ("blackhole_ba", ("rx", "tx"))]
)
def test_a_one_way_cut_is_handled_at_both_ends(
    branch: Branch, kind: str, directions: tuple[str, str]
) -> None:
    pings = Pings(branch, 100)
    branch.lab.fault("fiber", kind)
    branch.wait_both(has_moved_off_fiber, "the fiber's subnet has moved")
    seen = [branch.journals[name].failures() for name in GATEWAYS]
    assert seen == [[("fiber", directions[0])], [("fiber", directions[1])]]
    sent, answered = pings.finish()
    assert longest_gap(sent, answered) <= LOST_PINGS_MAX
    assert sent in answered


def at_once(change: Callable[[str], dict[str, Any]]) -> bool:
    """Change all links; return whether that took less than what tells one link from another."""
    times: list[float] = []
    threads = [
        threading.Thread(target=lambda link=link: times.append(change(link)["at_s"])) for link in LINKS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(times) - min(times) < 0.015


def is_all_silent_and_heard_again(branch: Branch) -> bool:
    """Cut and heal all links; return whether both happened at once."""
    branch.mend()
    if not at_once(lambda link: branch.lab.fault(link, "blackhole")):
        return False
    branch.wait_both(lambda journal: journal.news("wan.all_silent"), "all is silent")
    are_healed_at_once = at_once(branch.lab.clear)
    branch.wait_both(lambda journal: journal.news("wan.hearing_again"), "the peer is heard again")
    return are_healed_at_once


def test_when_everything_is_silent_nothing_moves(branch: Branch) -> None:
    if not any(is_all_silent_and_heard_again(branch) for _ in range(5)):
        pytest.skip("this machine is too busy to cut three links within 15 ms")
    assert longest_gap(*Pings(branch, 10).finish()) == 0
    for journal in branch.journals.values():
        assert journal.failures() == []
        assert journal.state() == (dict.fromkeys(LINKS, "up"), HOME)


def test_a_gateway_killed_during_a_cut_comes_back_to_the_right_map(branch: Branch) -> None:
    branch.lab.fault("fiber", "blackhole")
    branch.wait_both(has_moved_off_fiber, "the fiber's subnet has moved")
    before = branch.journals["gw-a"].state()[1]
    branch.lab.agent_kill("gw-a")
    pings = Pings(branch, 200)
    journal = branch.journals["gw-a"]
    wait_until(lambda: journal.news("wan.gateway.state"), "the agent knows all links again", 10)
    states, mapping = journal.state()
    assert states == {"fiber": "down", "dsl": "up", "lte": "up"}
    assert mapping == before
    assert branch.journals["gw-b"].failures()[1:] == [], "the peer's absence is no failure of a link"
    sent, answered = pings.finish()
    assert len(answered) == sent, "the kernel goes on forwarding without the agent"


def test_a_deleted_nexthop_is_back_within_ten_seconds(branch: Branch) -> None:
    held = json.loads(branch.output("gw-a", "ip -json nexthop show"))
    victim = next(nexthop for nexthop in held if nexthop["dev"] == "wan-dsl")
    branch.output("gw-a", f"ip nexthop del id {victim['id']}")

    def is_back() -> bool:
        return victim in json.loads(branch.output("gw-a", "ip -json nexthop show"))

    wait_until(is_back, "the nexthop is back", 10, every_s=0.2)
    wait_until(lambda: device_of(branch, 2) == "wan-dsl", "its routes are back", 2)
