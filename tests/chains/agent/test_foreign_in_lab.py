"""Foreign network functions in chains of the lab: every byte as the chain with our own twin of their rules makes it."""

import signal
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from apps.chains.engine.blocks import is_valid_root
from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, NfInstance
from apps.chains.engine.differential import run_sequential
from apps.chains.engine.fields import Field
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series
from apps.chains.engine.nfs.registry import make_nf
from apps.chains.engine.packet import parse
from apps.chains.engine.protocols import TCP, UDP
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource
from nfvportal.lab.bring_up import require_tools
from nfvportal.lab.isolation import probe_isolation
from tests.support.foreign import missing_tool
from tests.support.rack import SERVERS, Rack, Run, rack
from tests.support.waiting import wait_until

pytestmark = pytest.mark.lab
ONE, TWO, THREE = SERVERS
PATIENT_US = 10_000_000
RATE_PPS = 2000
BALANCER = {"vip": "192.168.0.1", "backends": [{"address": "192.168.100.11"}, {"address": "192.168.100.12"}]}
RULESET = """
table bridge filter {
  counter refused { }
  chain forward {
    type filter hook forward priority 0; policy accept;
    tcp dport 8080 counter name refused drop
    ip daddr 192.168.0.7 counter drop comment "seven"
    udp dport 53 counter accept comment "names"
  }
}
"""
# The same rules for our own firewall.
TWIN = {
    "default": "allow",
    "is_stateful": False,
    "rules": [
        {"action": "deny", "proto": "tcp", "dst_port": 8080},
        {"action": "deny", "dst": "192.168.0.7"},
    ],
}
CHAIN_NFS: tuple[tuple[str, str, dict[str, Any], tuple[str, dict[str, Any]] | None], ...] = (
    ("monitor", "monitor", {}, None),
    ("firewall", "nftables", {"ruleset": RULESET}, ("firewall", TWIN)),
    ("balancer", "load_balancer", BALANCER, None),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Rack]:
    """The data centre, agents offline."""
    if reason := require_tools() or missing_tool("nft") or probe_isolation():
        pytest.skip(f"no foreign functions in the lab: {reason}")
    with rack() as running:
        yield running


def chain_named(name: str) -> Chain:
    """Return the chain: monitor, the kernel's firewall, load balancer."""
    return Chain(
        name,
        tuple(
            NfInstance(nf, type_, CATALOGUE[type_].profile, CATALOGUE[type_].service, params)
            for nf, type_, params, _ in CHAIN_NFS
        ),
        rate_pps=RATE_PPS,
    )


def frames_of(count: int, seed: int) -> list[bytes]:
    """Return frames that an interface of 1600 bytes takes, so few servers that every rule has work."""
    source = TrafficSource(TrafficMix(flow_count=200, servers=8), seed)
    return [frame for frame in source.frames(count) if 14 <= len(frame) <= 1600]


def expected(frames: Sequence[bytes]) -> dict[int, bytes]:
    """Return what the sequential chain of our own functions makes of frames, by number."""
    nfs = [make_nf(*(twin or (type_, params))) for _, type_, params, twin in CHAIN_NFS]
    outcome = run_sequential(nfs, list(enumerate(frames)))
    return {number: data for number, data in outcome.outputs if data is not None}


CHAIN = chain_named("foreign")
SEQUENTIAL = Series((Nf(0, ONE), Nf(1, TWO), Nf(2, THREE)))
HYBRID = Series((Parallel((Nf(0, ONE), Nf(1, TWO)), (Copy.SHARED, Copy.FULL), ONE), Nf(2, THREE)))


def figures(lab: Rack, run: Run) -> dict[str, Any]:
    """Return what the server of the firewall tells of it now."""
    # Being given what it has already, a device tells its state.
    lab.want(TWO, "chains.server", lab.server_spec(TWO, [run]))
    told: dict[str, Any] = lab.events(TWO, "chains.server.state")[-1]["nfs"]["foreign/firewall"]
    return told


def hits_of(frames: Sequence[bytes]) -> dict[str, int]:
    """Return how many packets each counter of the rules must have, by looking at the bytes."""
    hits = {"refused": 0, "seven": 0, "names": 0}
    for frame in frames:
        packet = parse(frame)
        proto, port = packet.get(Field.IP_PROTO), packet.get(Field.DST_PORT)
        if (proto, port) == (TCP, 8080):
            hits["refused"] += 1
        elif packet.ip_version == 4 and packet.get(Field.IP_DST) == 0xC0A80007:
            hits["seven"] += 1
        elif (proto, port) == (UDP, 53):
            hits["names"] += 1
    return hits


@pytest.mark.parametrize("root", [HYBRID, SEQUENTIAL], ids=["hybrid", "sequential"])
def test_a_foreign_firewall_makes_what_its_twin_makes(lab: Rack, root: Node) -> None:
    run = Run(CHAIN, root, timeout_us=PATIENT_US)
    lab.install([run])
    frames = frames_of(4000, seed=11)
    found, _ = lab.pass_through(frames, RATE_PPS)
    assert found == list(expected(frames).values())
    hits = hits_of(frames)
    assert min(hits.values()) > 10

    def told() -> dict[str, int]:
        return {name: count for name, (count, _) in figures(lab, run)["counters"].items()}

    wait_until(lambda: told() == hits, "nft counted every packet, and none twice")
    now = figures(lab, run)
    assert now["entered"] == len(frames)
    assert now["drop"] == now["inferred_drops"] == hits["refused"] + hits["seven"]
    assert now["matched"] == len(frames) - now["drop"]
    assert now["drops_known_by"] == "markers"
    assert not {"unmatched", "overtaken", "timed_out", "refused", "crossing", "overflow", "lost"} & now.keys()
    lab.install([])


def test_killed_proxies_change_no_byte_and_lose_none(lab: Rack) -> None:
    run = Run(CHAIN, HYBRID, timeout_us=PATIENT_US)
    lab.install([run])
    frames = frames_of(6000, seed=12)
    kills = 0
    with lab.sending(frames, RATE_PPS) as answer:
        for _ in range(3):
            before = figures(lab, run).get("entered", 0)
            wait_until(lambda before=before: figures(lab, run).get("entered", 0) > before, "packets pass")  # type: ignore[misc]
            pid = str(figures(lab, run)["pid"])
            # Stopped first, so that it holds packets when it dies.
            for number in (signal.SIGSTOP, signal.SIGKILL):
                done = lab.lab.exec(TWO, ["kill", f"-{number.value}", pid])
                kills += number is signal.SIGKILL and done["exit_code"] == 0
    assert kills == 3
    now = figures(lab, run)
    assert now["restarts"] == kills
    assert answer["frames"] == list(expected(frames).values())
    assert not {"unmatched", "overtaken", "timed_out", "refused", "crossing", "overflow", "lost"} & now.keys()
    told = [
        event for event in lab.events(TWO, "chains.nf_restarted") if event["instance"] == "foreign/firewall"
    ]
    assert [event["lost"] for event in told] == [0] * kills
    lab.install([])


def test_ngrep_beside_a_firewall_sees_what_passes_its_way(lab: Rack) -> None:
    searching = CATALOGUE["ngrep"]
    nfs = (
        NfInstance("search", "ngrep", searching.profile, searching.service, {"pattern": "attack|evil"}),
        NfInstance(
            "firewall", "nftables", CATALOGUE["nftables"].profile, searching.service, {"ruleset": RULESET}
        ),
    )
    chain = Chain("searching", nfs, rate_pps=RATE_PPS)
    root = Parallel((Nf(0, ONE), Nf(1, TWO)), (Copy.SHARED, Copy.FULL), ONE)
    assert not is_valid_root(chain, root)
    run = Run(chain, root, timeout_us=PATIENT_US)
    lab.install([run])
    source = TrafficSource(TrafficMix(flow_count=100, servers=8, texts=(b"an attack",), text_ratio=0.2), 13)
    frames = [frame for frame in source.frames(2000) if 14 <= len(frame) <= 1600]
    found, _ = lab.pass_through(frames, RATE_PPS)
    twin = make_nf("firewall", TWIN)
    assert found == [frame for frame in frames if twin.process(parse(frame), 0)]
    wanted = sum(b"attack" in frame for frame in frames)

    def told() -> int:
        lab.want(ONE, "chains.server", lab.server_spec(ONE, [run]))
        count: int = lab.events(ONE, "chains.server.state")[-1]["nfs"]["searching/search"].get("found", 0)
        return count

    wait_until(
        lambda: told() == wanted, f"ngrep found the {wanted} packets, those that the firewall drops too"
    )
    lab.install([])
