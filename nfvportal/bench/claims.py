"""TABLE: what we claim, what papers and peers report, and which benchmark figure stands for us."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Args:
        claim: in operator words.
        paper: what the publication reports; empty where its figures are not at hand (never guessed).
        peer: what systems in use do, with their name.
        suite: benchmark suite that measures us.
        figure: name of the row in that suite.
    """

    claim: str
    paper: str
    peer: str
    suite: str
    figure: str


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "A black-holed WAN link costs little of the traffic",
        "",
        "kernel MPTCP alone: measured in the same run (figure mptcp_alone_lost)",
        "wan",
        "mptcp_reroute_lost",
    ),
    Claim(
        "Failover beats kernel MPTCP alone by a factor",
        "",
        "kernel MPTCP alone = 1",
        "wan",
        "lost_improvement",
    ),
    Claim(
        "UDP, which has no subflows, fails over too",
        "",
        "mwan3 about 50 s, pfSense 14 s or more, OpenMPTCProuter 9 to 15 s, Cisco SD-WAN about 7 s, FRR BFD 0.9 s",
        "wan",
        "udp_gap",
    ),
    Claim("Several links are one pipe", "", "one link alone: its own rate", "wan", "aggregate_ratio"),
    Claim("Ten thousand routes move at once", "", "route by route: 63 to 78 ms", "wan", "flip_10000_routes"),
    Claim(
        "An operator sees the failover as it happens",
        "",
        "no dashboard shows a failover's cost",
        "paint",
        "paint_p95",
    ),
    Claim(
        "Functions side by side take less time than in a row",
        "HybridSFC (NFV-SDN 2019): -51 %, on chains and a load that are not at hand; theory at utilization .5: -42.8 %",
        "no orchestrator in use converts chains to parallel graphs with a merge",
        "chains",
        "emulator: 3 balanced NFs at utilization .5, latency saved",
    ),
    Claim(
        "A plan is never slower than the chain as drawn",
        "PPC (ToN 2021): full parallelism can lose",
        "",
        "chains",
        "emulator: plans slower than sequential",
    ),
    Claim(
        "Real processes gain too",
        "NFP (SIGCOMM 2017): -12.9 % and -35.9 % on two real chains",
        "",
        "chains",
        "plane: 3 NFs that wait 1 ms, p50 saved",
    ),
    Claim(
        "Half of all pairs of functions may run side by side",
        "NFP (SIGCOMM 2017): 53.8 % of pairs, 41.5 % without copying",
        "no orchestrator in use says which, or why not",
        "chains",
        "analysis: NFP's pairs that can run in parallel",
    ),
    Claim(
        "Planned graphs beat making everything parallel",
        "PPC (ToN 2021): -35.2 % against full parallelism, -47.2 % against sequential, on chains that are not at hand",
        "NFP: parallel wherever allowed",
        "chains",
        "emulator: planned against full parallelism, latency saved",
    ),
    Claim(
        "Planned graphs beat greedy segments",
        "",
        "",
        "chains",
        "emulator: planned against greedy segments, latency saved",
    ),
    Claim(
        "Side by side costs little throughput",
        "HybridSFC (NFV-SDN 2019): 1.42 to 1.87 times the sequential chain's",
        "",
        "chains",
        "plane: VPN, monitor, firewall, LB, throughput hybrid over sequential",
    ),
    Claim(
        "Side by side costs little processor time",
        "HybridSFC (NFV-SDN 2019): +7 %",
        "NFP: 8.8 % more bytes for the chain with copies",
        "chains",
        "plane: VPN, monitor, firewall, LB, processor time hybrid more than sequential",
    ),
    Claim(
        "What comes out is what the sequential chain makes, whatever dies",
        "",
        "",
        "chains",
        "proof: vpn, problems in bytes, states and counters",
    ),
    Claim(
        "Subflows find their connection when one packet in a hundred is seen",
        "SAMPO: close to 100 % at 1 % sampling",
        "tshark: measured in the same run (figure tshark, full, sampling 0.01: recall)",
        "mptcp",
        "full, 64 bit, sampling 0.01: recall",
    ),
    Claim(
        "No two connections are taken for one",
        "",
        "",
        "mptcp",
        "full, 64 bit, sampling 0.01: precision",
    ),
    Claim(
        "So they do with numbers of 32 bits, where both directions' numbers are seen",
        "",
        "mptcptrace and mptcpcrunch: version 0 only, and need the handshake",
        "mptcp",
        "full, 32 bit, sampling 0.01: recall",
    ),
    Claim(
        "A capture that began after the handshakes is enough",
        "",
        "tshark: measured in the same run (figure tshark, mid-start, sampling 1: recall)",
        "mptcp",
        "mid-start, 64 bit, sampling 1: recall",
    ),
    Claim(
        "Captures are read as fast as disks give them",
        "",
        "tshark = 1, measured in the same run on one core",
        "mptcp",
        "speed: ratio to tshark",
    ),
    Claim(
        "An operator sees siblings while the connection runs",
        "",
        "no tool associates live from samples",
        "mptcp",
        "live: second sample to association, p95",
    ),
)
