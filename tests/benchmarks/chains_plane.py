"""The data plane's rows of suite ``chains``: real processes in the lab's data centre.

By itself: ``python -m tests.benchmarks.chains_plane``.
"""

import sys
from collections.abc import Sequence
from statistics import median

from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, NfInstance
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource
from nfvportal.bench.rows import BenchOptions, Row, format_table
from nfvportal.lab.bring_up import require_tools
from nfvportal.lab.isolation import probe_isolation
from tests.support.rack import SERVERS, Rack, Run, rack

ONE = SERVERS[0]
WAIT_US = 1000
WAIT_RATE_PPS = 200.0
REPETITIONS, QUICK_REPETITIONS = 5, 2
FLOOD, QUICK_FLOOD = 40_000, 8_000
FLOOD_RATE_PPS = 60_000.0
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
        )
    ]


def flood_rows(running: Rack, options: BenchOptions) -> list[Row]:
    """Return packets per second through one and three monitors, sequential and hybrid, offered more than fits."""
    rows = []
    frames = frames_of(QUICK_FLOOD if options.quick else FLOOD, options.seed)
    cases: tuple[tuple[str, int, Node], ...] = (
        ("1 NF", 1, Nf(0, ONE)),
        ("3 NFs in sequence", 3, row_of(3)),
        ("3 NFs hybrid", 3, beside(3)),
    )
    for number, (name, length, root) in enumerate(cases, 1):
        chain = chain_of(["monitor"] * length)
        rates = []
        for turn in range(1 if options.quick else 3):
            running.install(
                [Run(chain, root, epoch=100 * number + turn, timeout_us=PATIENT_US, is_checked=False)]
            )
            found, rate_pps = running.pass_through(frames, FLOOD_RATE_PPS, idle_s=3)
            rates.append(rate_pps)
            running.install([])
        rows.append(
            Row(
                f"plane: {name}, packets per second",
                median(rates),
                "1/s",
                better="higher",
                n=len(rates),
                spread=(min(rates), max(rates)),
                detail={"offered": len(frames), "came_out": len(found), "quick": options.quick},
            )
        )
    return rows


if __name__ == "__main__":
    print(format_table(plane_rows(BenchOptions(quick="--quick" in sys.argv))))
