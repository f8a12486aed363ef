"""The identity proxy around real foreign functions, in namespaces of their own."""

import asyncio
import os
import random
import signal
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from apps.chains.agent import foreign_space, foreign_worker, server, worker_start
from apps.chains.agent.foreign_space import FRAME_MIN, MARKER_TYPE, Space
from apps.chains.agent.foreign_worker import DONE_EVERY
from apps.chains.agent.packet_sockets import FRAME_MAX
from apps.chains.engine.fields import Field
from apps.chains.engine.frame_builder import FrameParts, build_frame
from apps.chains.engine.nfs.firewall import Firewall
from apps.chains.engine.packet import parse
from apps.chains.engine.protocols import TCP, UDP
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource
from nfvportal.lib.errors import InvalidInputError
from tests.chains.agent.foreign_bed import (
    OPEN,
    RULESET,
    TWIN,
    Bed,
    Delaying,
    Unchecked,
    use_program,
    with_tool,
)
from tests.chains.agent.switch_bed import Context, make_bridge
from tests.support.foreign import ADDRESS_RULES, ADDRESS_TWIN, BridgedTwin, missing_tool
from tests.support.waiting import wait_until

FRAMES = list(
    TrafficSource(TrafficMix(flow_count=100, text_ratio=0.1, texts=(b"GET /attack ",)), 5).frames(3000)
)
PARTS = FrameParts(b"\x0a\1\0\1", b"\xc0\xa8\0\1", TCP, b"hello", 1000, 80)


def twin_of(frames: list[bytes]) -> list[bytes | None]:
    """Return what our own firewall with the same rules makes of frames."""
    firewall = Firewall(TWIN)
    return [frame if firewall.process(parse(frame), 0) else None for frame in frames]


@with_tool("nft")
def test_nftables_decides_as_our_firewall_does() -> None:
    bed = Bed("nftables", {"ruleset": RULESET})
    wanted = twin_of(FRAMES)
    assert bed.passed(FRAMES) == wanted
    dropped = wanted.count(None)
    assert 500 < dropped < 2500
    bed.wait_for(
        entered=3000, matched=3000 - dropped, inferred_drops=dropped, drop=dropped, drops_known_by="markers"
    )

    def counters() -> dict[str, list[int]]:
        bed.work()
        found = bed.link.figures.get("counters", {})
        assert isinstance(found, dict)
        return found

    wait_until(lambda: sum(packets for packets, _ in counters().values()) == 3000, "nft told of all packets")
    assert counters()["refused"][0] + counters()["names"][0] == dropped
    # nft counts what is behind the Ethernet header.
    assert counters()["passed"][1] == sum(len(frame) - 14 for frame in wanted if frame is not None)
    assert set(bed.link.counters) == {"entered", "matched", "inferred_drops", "drop"}
    bed.close()


@with_tool("nft")
def test_a_copy_of_the_headers_meets_the_same_verdict() -> None:
    bed = Bed("nftables", {"ruleset": RULESET})
    copies = [bytes(parse(frame).header_copy().data) for frame in FRAMES[:500]]
    found = bed.passed(copies, is_header_only=True)
    assert [data is None for data in found] == [data is None for data in twin_of(FRAMES[:500])]
    assert all(data in (None, copy) for data, copy in zip(found, copies, strict=True))
    bed.close()


@with_tool("nft")
def test_frames_of_every_kind_pass_as_they_are() -> None:
    frame = build_frame(PARTS)
    kinds = [
        build_frame(replace(PARTS, tag=0x2005)),
        frame[:12] + b"\x88\xa8\0\5" + frame[12:],
        b"\xff" * 6 + frame[6:],
        bytes.fromhex("01005e000001") + frame[6:],
        bytes.fromhex("0180c2000000") + frame[6:],
        bytes.fromhex("0180c200000e") + frame[6:],
        frame[:12] + b"\x08\x06" + bytes(28),
        frame[:12] + MARKER_TYPE + bytes(50),
        frame[:FRAME_MIN] + b"\0",
        frame.ljust(FRAME_MAX, b"\0"),
        frame + b"\0" * 9,
        frame[:40],
        frame,
        frame,
    ]
    bed = Bed("nftables", {"ruleset": OPEN})
    assert bed.passed(kinds) == kinds
    # The kernel's bridge never passes these on; and these do not fit.
    never = [bytes.fromhex(f"0180c200000{n}") + frame[6:] for n in (1, 2)]
    never += [frame[:6] + b"\1" + frame[7:], frame[:6] + bytes(6) + frame[12:]]
    assert bed.passed(never) == [None] * 4
    assert bed.link.counters["drop"] == 4
    assert bed.passed([b"", frame[:FRAME_MIN], frame.ljust(FRAME_MAX + 1, b"\0"), frame]) == [
        None,
        None,
        None,
        frame,
    ]
    assert bed.link.counters["error"] == 3
    bed.close()


@with_tool("nft")
def test_what_looks_like_a_marker_does_not_pass_the_rules() -> None:
    bed = Bed("nftables", {"ruleset": OPEN.replace("policy accept", "policy drop")})
    frame = foreign_space._MARKER_ADDRESSES + MARKER_TYPE + bytes(24)
    assert bed.passed([frame] * 20) == [None] * 20
    bed.close()


@with_tool("nft")
def test_without_markers_packets_behind_and_the_time_tell_of_drops() -> None:
    Space.markers_probe = lambda self: False  # type: ignore[method-assign]
    foreign_worker.TIMEOUT_US = 50_000  # type: ignore[misc]
    bed = Bed("nftables", {"ruleset": RULESET})
    frames = FRAMES[:300]
    assert bed.passed(frames) == twin_of(frames)
    shut = build_frame(replace(PARTS, dst_port=443))
    assert bed.passed([shut]) == [None]
    bed.wait_for(entered=301, drops_known_by="time-out")
    counters = bed.link.counters
    assert counters["timed_out"] >= 1
    assert (
        counters["timed_out"] + counters["inferred_drops"]
        == counters["drop"]
        == twin_of(frames).count(None) + 1
    )
    bed.close()


@with_tool("nft")
def test_what_comes_out_changed_is_never_released() -> None:
    use_program("nftables", Unchecked)
    rules = OPEN.replace("policy accept;", "policy accept;\n  tcp dport 443 ip ttl set 9\n")
    bed = Bed("nftables", {"ruleset": rules})
    lied = build_frame(replace(PARTS, dst_port=443))
    honest = build_frame(PARTS)
    assert bed.passed([honest, lied, honest, lied]) == [honest, None, honest, None]
    bed.wait_for(unmatched=2, inferred_drops=2, matched=2)
    assert [data for event, data in bed.events if event == "undeclared"] == [
        {"nf": "chain/nftables", "field": "ip_ttl"}
    ]
    bed.close()


@with_tool("nft")
def test_what_comes_out_twice_is_released_once() -> None:
    use_program("nftables", Unchecked)
    doubled = "table netdev d {\n chain c {\n  type filter hook ingress device in priority 0;\n  dup to out\n }\n}\n"
    bed = Bed("nftables", {"ruleset": OPEN + doubled})
    frames = list(dict.fromkeys(FRAMES[:200]))
    assert bed.passed(frames) == frames
    bed.wait_for(unmatched=len(frames), matched=len(frames))
    bed.close()


@with_tool("nft")
def test_declared_writes_come_back_with_the_right_packets() -> None:
    use_program("nftables", Unchecked)
    rules = OPEN.replace("policy accept;", "policy accept;\n  tcp dport 443 drop\n  ip dscp set 46\n")
    bed = Bed("nftables", {"ruleset": rules}, writes=frozenset({Field.IP_TOS, Field.DST_PORT}))
    # All agree in what is not written, so no two may be inside together: which was dropped could not be told.
    frames = [
        build_frame(replace(PARTS, tos=tos, dst_port=port)) for tos in (0, 4, 8) for port in (443, 80, 81)
    ]
    wanted = [
        None
        if parse(frame).get(Field.DST_PORT) == 443
        else build_frame(replace(PARTS, tos=0xB8, dst_port=port))
        for frame in frames
        for port in [int(str(parse(frame).get(Field.DST_PORT)))]
    ]
    assert bed.passed(frames) == wanted
    bed.close()


@with_tool("nft")
def test_a_function_with_a_queue_of_its_own_keeps_order_and_loses_none() -> None:
    use_program("nftables", Delaying)
    bed = Bed("nftables", {"ruleset": RULESET})
    frames = [frame for frame in FRAMES if len(frame) < 300][:150]
    # Markers stand in the same queue, so they say nothing too early.
    assert bed.passed(frames) == twin_of(frames)
    assert not bed.link.counters["timed_out"]
    bed.close()


@with_tool("nft")
def test_a_killed_proxy_of_a_stateless_function_costs_nothing() -> None:
    bed = Bed("nftables", {"ruleset": RULESET})
    for number, first in enumerate(range(0, 3000, 1000)):
        bed.submit(FRAMES[first : first + 500])
        os.kill(bed.link.pid, signal.SIGSTOP)
        bed.submit(FRAMES[first + 500 : first + 1000])
        os.kill(bed.link.pid, signal.SIGKILL)
        bed.wait_for(restarts=number + 1)
    bed.passed([])
    assert [item.data for item in bed.done] == twin_of(FRAMES)
    assert bed.link.counters["restarts"] == 3
    assert not bed.link.counters["lost"]
    # Answers that came before are not given twice, and their packets are not kept for ever.
    assert all(
        int(str(data["replayed"])) <= 2 * DONE_EVERY for event, data in bed.events if event == "restarted"
    )
    bed.close()


@with_tool("nft")
def test_a_killed_proxy_of_a_function_with_state_costs_what_it_held() -> None:
    worker_start.STATELESS = frozenset()  # type: ignore[attr-defined]
    bed = Bed("nftables", {"ruleset": RULESET})
    before = bed.passed(FRAMES[:500])
    os.kill(bed.link.pid, signal.SIGSTOP)
    bed.submit(FRAMES[500:700])
    os.kill(bed.link.pid, signal.SIGKILL)
    bed.wait_for(restarts=1, lost=200)
    assert [item.data for item in bed.done[500:]] == [None] * 200
    after = bed.passed(FRAMES[700:1200])
    assert before + after == twin_of(FRAMES[:500]) + twin_of(FRAMES[700:1200])
    (restarted,) = [data for event, data in bed.events if event == "restarted"]
    assert restarted["lost"] == 200
    bed.close()


@with_tool("nft")
def test_asked_for_its_state_it_says_in_order_that_it_has_none() -> None:
    bed = Bed("nftables", {"ruleset": RULESET})
    bed.submit(FRAMES[:100])
    bed.link.ask_state("now")
    bed.passed(FRAMES[100:200])
    assert [item.data for item in bed.done] == twin_of(FRAMES[:200])
    (told,) = [data for event, data in bed.events if event == "nf_state"]
    assert (told["digest"], told["packets"], told["nonce"]) == ("", 100, "now")
    bed.close()


@with_tool("nft")
def test_odd_frames_meet_the_verdict_of_our_firewall() -> None:
    """First fragments, options, tags, other protocols; not those of which nft has an opinion of its own."""
    source = TrafficSource(TrafficMix(flow_count=50, odd_ratio=1.0), 9)
    frames = [frame for frame in source.frames(2000) if len(frame) > FRAME_MIN and is_plain(frame)]
    assert len(frames) > 1000
    bed = Bed("nftables", {"ruleset": RULESET})
    assert bed.passed(frames) == twin_of(frames)
    bed.close()


@with_tool("nft")
def test_rules_on_addresses_meet_every_odd_frame_as_their_twin_does() -> None:
    source = TrafficSource(TrafficMix(flow_count=50, servers=8, odd_ratio=1.0, ipv6_ratio=0.5), 10)
    frames = [frame for frame in source.frames(4000) if parse(frame).ip_version]
    bed = Bed("nftables", {"ruleset": ADDRESS_RULES})
    twin = BridgedTwin(ADDRESS_TWIN)
    wanted = [frame if twin.process(parse(frame), 0) else None for frame in frames]
    assert 100 < wanted.count(None) < len(frames) - 1000
    assert bed.passed(frames) == wanted
    bed.close()


@with_tool("nft")
def test_random_rules_mean_the_same_to_nft_and_to_our_firewall() -> None:
    for seed in range(6):
        rng = random.Random(seed)
        rules = [random_rule(rng) for _ in range(rng.randint(1, 12))]
        default = rng.choice(("allow", "deny"))
        frames = list(TrafficSource(TrafficMix(flow_count=200, servers=8), seed).frames(400))
        twin = Firewall({"rules": rules, "default": default, "is_stateful": False})
        bed = Bed("nftables", {"ruleset": nft_text(rules, default)})
        wanted = [frame if twin.process(parse(frame), 0) else None for frame in frames]
        assert bed.passed(frames) == wanted, (seed, rules, default)
        bed.close()


def random_rule(rng: random.Random) -> dict[str, Any]:
    """Return a rule of our firewall that meets packets of the mix."""
    rule: dict[str, Any] = {"action": rng.choice(("allow", "deny"))}
    if rng.random() < 0.6:
        rule["proto"] = rng.choice(("tcp", "udp"))
        if rng.random() < 0.7:
            rule["dst_port"] = rng.choice(([80], [53, 443], ["1000-40000"], ["0-79", 8080]))
    # nft refuses addresses of both versions in one rule.
    if rng.random() < 0.2:
        rule["dst"] = "2001:db8::c0a8:0/124"
        return rule
    for side, net in (("src", "10.1"), ("dst", "192.168")):
        if rng.random() < 0.4:
            rule[side] = str(
                ip_network(f"{net}.{rng.randrange(256)}.0/{rng.choice((16, 17, 22, 29))}", strict=False)
            )
    return rule


def nft_text(rules: list[dict[str, Any]], default: str) -> str:
    """Return the same rules for nft."""
    lines = []
    for rule in rules:
        words = []
        for side, name in (("src", "saddr"), ("dst", "daddr")):
            if side in rule:
                words.append(f"{'ip6' if ':' in rule[side] else 'ip'} {name} {rule[side]}")
        proto = rule.get("proto")
        if "dst_port" in rule:
            words.append(f"{proto} dport {{ {', '.join(map(str, rule['dst_port']))} }}")
        elif proto:
            words.append(f"meta l4proto {proto}")
        lines.append(" ".join([*words, "counter", "accept" if rule["action"] == "allow" else "drop"]))
    policy = "accept" if default == "allow" else "drop"
    return OPEN.replace("policy accept;", f"policy {policy};\n  " + "\n  ".join(lines))


def is_plain(frame: bytes) -> bool:
    """Whether a bridge takes a frame, and nft and our firewall agree on where its ports are."""
    packet = parse(frame)
    if packet.ip_version == 6 and frame[packet.l3 + 6] == 0:
        # An authentication header among its extensions: nft does not look behind it, our firewall does.
        return False
    if packet.is_later_fragment:
        # nft finds ports in its first bytes (Linux 6.18); our firewall knows that there are none.
        return False
    # Of packets whose end is missing, nft does not look at ports.
    is_cut = packet.is_broken or (packet.ip_version and len(frame) < packet.l3 + packet.ip_bytes)
    return not (frame[6] & 1 or is_cut)


@with_tool("ngrep")
def test_ngrep_finds_what_we_find() -> None:
    bed = Bed("ngrep", {"pattern": "/attack|/evil"})
    assert bed.passed(FRAMES) == FRAMES
    wanted = sum(b"/attack" in frame for frame in FRAMES)
    assert wanted > 100
    bed.wait_for(found=wanted, matched=len(FRAMES))
    bed.close()


@with_tool("ngrep")
def test_without_its_program_a_proxy_ends_and_is_started_again() -> None:
    bed = Bed("ngrep", {"pattern": "attack"})
    bed.wait_for(found=0)
    (child,) = children_of(bed.link.pid)
    os.kill(child, signal.SIGKILL)
    bed.passed(FRAMES[:10])
    bed.wait_for(restarts=1)
    assert bed.passed(FRAMES[:10]) == FRAMES[:10]
    bed.close()


def children_of(pid: int) -> list[int]:
    """Return the children of a process."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@with_tool("nft")
def test_programs_end_with_their_proxy() -> None:
    if missing_tool("ngrep"):
        pytest.skip("ngrep is not installed")
    bed = Bed("ngrep", {"pattern": "attack"})
    bed.wait_for(found=0)
    (child,) = children_of(bed.link.pid)
    bed.close()
    wait_until(lambda: not Path(f"/proc/{child}/exe").exists(), "ngrep ended too")


@with_tool("nft")
def test_a_server_says_applied_when_its_proxies_run() -> None:
    make_bridge(("p1",))
    spec: dict[str, Any] = {
        "fabric": "e1",
        "paths": [],
        "nfs": [
            {
                "instance": "c/fw",
                "type": "nftables",
                "params": {"ruleset": OPEN},
                "path": 1,
                "indexes": {"1": 0},
            }
        ],
    }

    async def applied(patience_s: float) -> Mapping[str, Any]:
        server.PROXIES_WITHIN_S = patience_s  # type: ignore[misc]
        role = server.Server(Context())  # type: ignore[arg-type]
        try:
            await role.apply(spec)
            return role.snapshot()
        finally:
            await role.close()

    assert asyncio.run(applied(20.0))["nfs"]["c/fw"]["drops_known_by"] == "markers"
    with pytest.raises(InvalidInputError, match=r"c/fw did not within 0 s"):
        asyncio.run(applied(0.0))
    broken = {**spec["nfs"][0], "params": {"ruleset": OPEN.replace("policy", "polcy")}}
    spec["nfs"] = [broken]
    with pytest.raises(InvalidInputError, match=r"nfs\[0\]\.params\.ruleset: line 3, column"):
        asyncio.run(applied(20.0))


@with_tool("nft")
def test_ports_hold_no_address_and_say_nothing() -> None:
    space = Space()
    assert space.markers_probe()
    assert not foreign_space.command(["ip", "-o", "address", "show", "scope", "link"]).strip()
    udp = build_frame(replace(PARTS, proto=UDP))
    space.put(udp)
    space.put_marker(7)
    assert list(space.taken()) == [udp, 7]
