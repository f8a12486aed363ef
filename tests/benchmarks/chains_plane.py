"""The data plane's rows of suite ``chains``: real processes in the lab's data centre.

By itself: ``python -m tests.benchmarks.chains_plane``.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, NfInstance
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource
from nfvportal.bench.rows import BenchOptions, Row, format_table
from nfvportal.lab.bring_up import require_tools
from nfvportal.lab.isolation import probe_isolation
from tests.support.proof import pass_through_window, times_now, truth_of
from tests.support.proof_cases import VPN, proof_frames
from tests.support.rack import SERVERS, Rack, Run, rack

ONE = SERVERS[0]
WAIT_US = 1000
WAIT_RATE_PPS = 200.0
REPETITIONS, QUICK_REPETITIONS = 5, 2
FLOOD, QUICK_FLOOD = 40_000, 8_000
# A cipher in Python takes so much longer per packet.
VPN_SHARE = 8
# HybridSFC (NFV-SDN 2019): throughput 1.42x to 1.87x at 7 % more processor time.
THROUGHPUT_GOAL, CPU_GOAL_PERCENT = 1.42, 7.0
PUBLISHED_HYBRID = Series(
    (Nf(0, ONE), Parallel((Nf(1, ONE), Nf(2, ONE)), (Copy.SHARED, Copy.SHARED), ONE), Nf(3, ONE))
)
PATIENT_US = 30_000_000


def plane_rows(options: BenchOptions) -> list[Row]:
    """Return latency of waiting network functions and packets per second, hybrid and sequential in one run."""
    if reason := require_tools() or probe_isolation():
        return [Row("plane: not measured", None, "ratio", detail={"why": reason})]
    with rack() as running:
        return [*waiting_rows(running, options), *flood_rows(running, options)]


def chain_of(slugs: Sequence[str], **params: object) -> Chain:
    """Return a chain of types, all with the same settings."""
    return Chain(
        "measured",
        tuple(
            NfInstance(f"{slug}-{number}", slug, CATALOGUE[slug].profile, CATALOGUE[slug].service, params)
            for number, slug in enumerate(slugs)
        ),
        rate_pps=WAIT_RATE_PPS,
    )


def row_of(length: int) -> Node:
    """Return network functions one after the other on one server."""
    return Series(tuple(Nf(index, ONE) for index in range(length)))


def beside(length: int) -> Node:
    """Return network functions side by side on one server."""
    return Parallel(tuple(Nf(index, ONE) for index in range(length)), (Copy.SHARED,) * length, ONE)


def frames_of(count: int, seed: int) -> list[bytes]:
    """Return frames of the published mix."""
    return [frame for frame in TrafficSource(TrafficMix(), seed).frames(count) if len(frame) <= 1600]


def p50_us(running: Rack, root: Node, chain: Chain, epoch: int, seed: int) -> float:
    """Return the median over seconds of the classifier's median latency, at a low rate."""
    running.install([Run(chain, root, epoch=epoch, timeout_us=PATIENT_US, is_checked=False)])
    known = len(running.journal("dc-classifier"))
    running.pass_through(frames_of(int(WAIT_RATE_PPS * 4), seed), WAIT_RATE_PPS)
    samples = [line["samples"] for line in running.journal("dc-classifier")[known:] if "samples" in line]
    found = [
        value
        for sample in samples
        for value, at in zip(sample["latency_us_p50"], sample["epoch"], strict=True)
        if at == epoch and value is not None
    ]
    running.install([])
    return float(median(found))


def waiting_rows(running: Rack, options: BenchOptions) -> list[Row]:
    """Return the gain of three network functions that wait 1 ms each, interleaved."""
    chain = chain_of(["waiter"] * 3, wait_us=WAIT_US)
    gains, hybrids, sequentials = [], [], []
    for turn in range(QUICK_REPETITIONS if options.quick else REPETITIONS):
        sequentials.append(p50_us(running, row_of(3), chain, 2 * turn + 1, options.seed + turn))
        hybrids.append(p50_us(running, beside(3), chain, 2 * turn + 2, options.seed + turn))
        gains.append(100 * (1 - hybrids[-1] / sequentials[-1]))
    return [
        Row(
            "plane: 3 NFs that wait 1 ms, p50 saved",
            median(gains),
            "%",
            goal=40.0,
            better="higher",
            n=len(gains),
            spread=(min(gains), max(gains)),
            detail={
                "hybrid_us": round(median(hybrids)),
                "sequential_us": round(median(sequentials)),
                "above_longest_nf_us": round(median(hybrids) - WAIT_US),
                "bound_percent": 66.7,
                "quick": options.quick,
            },
        ),
        Row(
            "plane: 3 NFs that wait 1 ms side by side, p50 above the longest of them",
            median(hybrids) - WAIT_US,
            "us",
            n=len(hybrids),
            spread=(min(hybrids) - WAIT_US, max(hybrids) - WAIT_US),
            detail={"limit_us": WAIT_US, "quick": options.quick},
        ),
    ]


def cpu_us(running: Rack) -> float:
    """Return the processor time that all forwarders and network functions have used so far."""
    answer = running.lab.exec("dc-generator", [sys.executable, "-m", "tests.support.rack_cpu"])
    assert answer["exit_code"] == 0, answer
    return int(answer["stdout"]) / 1000


@dataclass(slots=True)
class Flood:
    """A graph that always has work, but never more than its queues hold.

    Args:
        frames: what is sent. due: numbers of those that come out.
        rates_pps, cpus_us: packets per second, and processor time per packet, one per run.
    """

    name: str
    chain: Chain
    root: Node
    frames: Sequence[bytes]
    due: Sequence[int]
    rates_pps: list[float] = field(default_factory=list)
    cpus_us: list[float] = field(default_factory=list)
    lost: int = 0

    def run(self, running: Rack, epoch: int) -> None:
        """Measure once."""
        frames = self.frames
        running.install([Run(self.chain, self.root, epoch=epoch, timeout_us=PATIENT_US, is_checked=False)])
        before_us = cpu_us(running)
        found, told, _ = pass_through_window(running, frames, self.due)
        used_us = cpu_us(running) - before_us
        running.install([])
        self.rates_pps.append(len(frames) / max(float(told["capture"]["seconds"]), 1e-9))
        self.cpus_us.append(used_us / len(frames))
        self.lost += len(self.due) - len(found)


def flood_rows(running: Rack, options: BenchOptions) -> list[Row]:
    """Return packets per second and processor time per packet, sequential and hybrid, interleaved."""
    frames = proof_frames(QUICK_FLOOD if options.quick else FLOOD, options.seed)
    few = frames[: len(frames) // VPN_SHARE]
    due, monitors = range(len(frames)), chain_of(["monitor"] * 3)
    sequential = Flood("3 NFs in sequence", monitors, row_of(3), frames, due)
    hybrid = Flood("3 NFs hybrid", monitors, beside(3), frames, due)
    few_due = truth_of(VPN.chain, few, times_now()).due
    drawn = Flood("VPN, monitor, firewall, LB in sequence", VPN.chain, row_of(4), few, few_due)
    planned = Flood("VPN, monitor, firewall, LB hybrid", VPN.chain, PUBLISHED_HYBRID, few, few_due)
    floods = [
        Flood("1 NF", chain_of(["monitor"]), Nf(0, ONE), frames, due),
        sequential,
        hybrid,
        drawn,
        planned,
    ]
    for turn in range(1 if options.quick else REPETITIONS):
        for number, flood in enumerate(floods):
            flood.run(running, 1000 + 10 * turn + number)
    detail: dict[str, object] = {"cores": os.cpu_count(), "quick": options.quick}
    return [
        *(_rate_row(flood, detail) for flood in floods),
        *_ratio_rows("3 monitors", sequential, hybrid, detail),
        *_ratio_rows("VPN, monitor, firewall, LB", drawn, planned, detail),
    ]


def _rate_row(flood: Flood, detail: dict[str, object]) -> Row:
    return Row(
        f"plane: {flood.name}, packets per second",
        median(flood.rates_pps),
        "1/s",
        better="higher",
        n=len(flood.rates_pps),
        spread=(min(flood.rates_pps), max(flood.rates_pps)),
        detail={
            **detail,
            "packets": len(flood.frames),
            "lost": flood.lost,
            "cpu_us_per_packet": round(median(flood.cpus_us), 1),
        },
    )


def _ratio_rows(name: str, sequential: Flood, hybrid: Flood, detail: dict[str, object]) -> list[Row]:
    """Return hybrid over sequential, run by run: throughput and processor time (goals: HybridSFC's figures)."""
    rates = [one / other for one, other in zip(hybrid.rates_pps, sequential.rates_pps, strict=True)]
    cpus = [100 * (one / other - 1) for one, other in zip(hybrid.cpus_us, sequential.cpus_us, strict=True)]
    return [
        Row(
            f"plane: {name}, throughput hybrid over sequential",
            median(rates),
            "ratio",
            goal=THROUGHPUT_GOAL,
            better="higher",
            n=len(rates),
            spread=(min(rates), max(rates)),
            detail=detail,
        ),
        Row(
            f"plane: {name}, processor time hybrid more than sequential",
            median(cpus),
            "%",
            goal=CPU_GOAL_PERCENT,
            n=len(cpus),
            spread=(min(cpus), max(cpus)),
            detail={
                **detail,
                "sequential_us": round(median(sequential.cpus_us), 1),
                "hybrid_us": round(median(hybrid.cpus_us), 1),
            },
        ),
    ]


if __name__ == "__main__":
    print(format_table(plane_rows(BenchOptions(quick="--quick" in sys.argv))))
