"""The chains that are proven on the wire, each as drawn and as hybrid plan over three servers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, NfInstance
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series
from apps.chains.engine.packet import parse
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource
from tests.support.foreign import ADDRESS_RULES, missing_tool
from tests.support.rack import SERVERS

ONE, TWO, THREE = SERVERS
RATE_PPS = 3000.0
FIREWALL = {"default": "allow", "rules": [{"action": "deny", "proto": "tcp", "dst_port": 8080}]}
BALANCER = {"vip": "192.168.0.1", "backends": [{"address": "192.168.100.11"}, {"address": "192.168.100.12"}]}
SIGNATURES = {"signatures": [{"name": "attack", "pattern": "attack"}]}
# A request that is blocked ends its flow, so most must be others.
TEXTS = (
    b"GET /news HTTP/1.1\r\nHost: ads.example\r\n\r\n",
    b"an attack, by its signature",
    *(b"GET /%d HTTP/1.1\r\nHost: www.example\r\n\r\n" % number for number in range(30)),
)
MIX = TrafficMix(flow_count=200, texts=TEXTS, odd_ratio=0.02)


@dataclass(frozen=True, slots=True)
class Case:
    """A chain, as drawn and as a hybrid plan; ``tool``: a program it needs."""

    chain: Chain
    sequential: Node
    hybrid: Node
    tool: str = ""


def _chain(name: str, *nfs: tuple[str, str, Mapping[str, Any]]) -> Chain:
    return Chain(
        name,
        tuple(
            NfInstance(nf, slug, CATALOGUE[slug].profile, CATALOGUE[slug].service, params)
            for nf, slug, params in nfs
        ),
        rate_pps=RATE_PPS,
    )


def _row(*servers: str) -> Node:
    return Series(tuple(Nf(index, server) for index, server in enumerate(servers)))


NORTH_SOUTH = Case(
    _chain(
        "north-south",
        ("monitor", "monitor", {}),
        ("firewall", "firewall", FIREWALL),
        ("balancer", "load_balancer", BALANCER),
    ),
    _row(ONE, TWO, THREE),
    Series((Parallel((Nf(0, ONE), Nf(1, TWO)), (Copy.SHARED, Copy.FULL), ONE), Nf(2, THREE))),
)
VPN = Case(
    _chain(
        "vpn",
        ("vpn", "vpn", {"key": "a key of the proof"}),
        ("monitor", "monitor", {}),
        ("firewall", "firewall", FIREWALL),
        ("balancer", "load_balancer", BALANCER),
    ),
    _row(ONE, TWO, TWO, THREE),
    Series((Nf(0, ONE), Parallel((Nf(1, TWO), Nf(2, TWO)), (Copy.SHARED, Copy.SHARED), TWO), Nf(3, THREE))),
)
GI_LAN = Case(
    _chain(
        "gi-lan",
        ("dpi", "dpi", SIGNATURES),
        ("enrichment", "header_enrichment", {"default": 46}),
        ("filter", "url_filter", {"blocked": ["ads.example"]}),
        ("nat", "nat", {"inside": "10.1.0.0/16", "public": "203.0.113.7"}),
    ),
    _row(ONE, TWO, THREE, THREE),
    Parallel(
        (Nf(0, ONE), Nf(1, TWO), Series((Nf(2, THREE), Nf(3, THREE)))),
        (Copy.SHARED, Copy.FULL, Copy.FULL),
        ONE,
    ),
)
FOREIGN = Case(
    _chain(
        "foreign",
        ("monitor", "monitor", {}),
        ("firewall", "nftables", {"ruleset": ADDRESS_RULES}),
        ("balancer", "load_balancer", BALANCER),
    ),
    _row(ONE, TWO, THREE),
    Series((Parallel((Nf(0, ONE), Nf(1, TWO)), (Copy.SHARED, Copy.FULL), ONE), Nf(2, THREE))),
    tool="nft",
)
# TABLE: name -> case.
CASES = {case.chain.name: case for case in (NORTH_SOUTH, VPN, GI_LAN, FOREIGN)}


def cases_here() -> list[str]:
    """Return the names of the cases that this machine can run."""
    return [name for name, case in CASES.items() if not (case.tool and missing_tool(case.tool))]


def proof_frames(count: int, seed: int) -> list[bytes]:
    """Return IP packets of the mix that an interface of the lab takes; what is not IP takes no path."""
    frames: list[bytes] = []
    source = TrafficSource(MIX, seed)
    while len(frames) < count:
        frames += [
            frame
            for frame in source.frames(count - len(frames))
            if 14 <= len(frame) <= 1540 and parse(frame).ip_version
        ]
    return frames
