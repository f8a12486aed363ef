"""Rows of suite ``mptcp`` by simulation: the false-association law, honesty of confidence, goals and size at scale.

By itself: ``python -m tests.benchmarks.mptcp_law [SEED]``.
"""

import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from apps.mptcp.engine.associator import Associator, associate
from apps.mptcp.engine.records import PacketRecords
from nfvportal.bench.rows import BenchOptions, Row, format_table
from tests.support.mptcp_law import calibration, chance_meetings, dense_models, expected_meetings
from tests.support.mptcp_model import Model, World, make_world, score

# Connections, interval, tolerance, bits: at 64 bit the intervals are made so long that strangers do meet.
LAWS = (
    (10_000, 1 << 44, 1 << 43, 64),
    (100_000, 1 << 38, 1 << 37, 64),
    (1_000, 2_000_000, 1_000_000, 32),
    (4_000, 500_000, 250_000, 32),
    (10_000, 100_000, 50_000, 32),
)
RESWEEPS = 9
HELD_SUBFLOWS = 1_000_000


def law_rows(seed: int) -> list[Row]:
    """Return how far chance meetings in one space are from the law, in its standard deviations."""
    rows = []
    for connections, length, tolerance, bits in LAWS:
        expected = expected_meetings(connections, length, tolerance, bits)
        found = chance_meetings(connections, length, tolerance, bits, seed)
        rows.append(
            Row(
                f"law: {connections} connections at {bits} bit, chance meetings off the law",
                abs(found - expected) / expected**0.5, "sigma", goal=4.0, n=connections,
                detail={"expected": round(expected, 1), "observed": found, "ratio": round(found / expected, 4)},
            )
        )  # fmt: skip
    return rows


def confidence_rows(seed: int, is_quick: bool) -> list[Row]:
    """Return by how much observed false edges exceed the stated ones, and the points to plot."""
    bins = calibration(dense_models(400 if is_quick else 1500, range(seed, seed + (2 if is_quick else 6))))
    stated = sum(one.stated * one.count for one in bins)
    observed = sum(one.false_count for one in bins)
    points = {
        "stated": [one.stated for one in bins],
        "observed": [one.observed for one in bins],
        "edges": [one.count for one in bins],
    }
    return [
        Row(
            "confidence: false edges observed over stated", observed / stated, "ratio", goal=2.0,
            n=sum(one.count for one in bins), detail={"expected": stated, "observed": observed, **points},
        )
    ]  # fmt: skip


def model_rows(seed: int, is_quick: bool) -> list[Row]:
    """Return recall and precision on the traffic model, with long queues and unlike links."""
    base = Model(connections=60, queue_s=0.4, spread=1.0, has_tokens=False, seed=seed)
    rare = replace(base, sampling=0.001, rate_bps_median=5e5)
    many = replace(base, connections=1_000 if is_quick else 10_000, duration_s=10.0, rate_bps_median=2e5)
    cases = (
        ("64 bit, 1 %", base, 0.999, 1.0),
        ("64 bit, .1 %", rare, 0.90, 0.999),
        ("32 bit, 1 %", replace(base, width=32), 0.995, 1.0),
        ("32 bit, .1 %", replace(rare, width=32), 0.90, 0.999),
        ("32 bit, 1 %, five times the rate", replace(base, width=32, rate_bps_median=1e6), None, None),
        (f"64 bit, 1 %, {many.connections} connections", many, 0.999, 1.0),
        (f"32 bit, 1 %, {many.connections} connections", replace(many, width=32), None, None),
    )
    rows = []
    for name, model, recall_goal, precision_goal in cases:
        world = make_world(model)
        found = score(associate(world.parts()), world)
        recall = found.recall_both if model.width == 32 else found.recall
        detail = {"exact": found.exact, "unseen": found.unseen, "wrong_pairs": found.wrong_pairs}
        rows += [
            Row(
                f"model: {name}: recall",
                recall,
                "ratio",
                recall_goal,
                "higher",
                found.seen_subflows,
                detail=detail,
            ),
            Row(f"model: {name}: precision", found.precision, "ratio", precision_goal, "higher"),
        ]
    return rows


def _filled(world: World) -> Associator:
    machine = Associator()
    for part in world.parts():
        machine.step(part, float(part.at_us.max()) / 1e6)
        machine.tick(machine.now_s)
    return machine


def sweep_rows(seed: int, is_quick: bool) -> list[Row]:
    """Return the time of a full re-sweep, in processor time of one core."""
    model = Model(
        connections=4_000 if is_quick else 38_000, sampling=0.003, duration_s=10, has_tokens=False, host_pairs=700,
        seed=seed,
    )  # fmt: skip
    machine = _filled(make_world(model))
    took_s = []
    for index in range(RESWEEPS):
        started_s = time.process_time()
        machine.tick(machine.now_s + 0.01 * index)
        took_s.append(time.process_time() - started_s)
    count = machine.counters["subflows"]
    spread = (min(took_s) * 1e3, max(took_s) * 1e3)
    return [
        Row(
            f"re-sweep of {count:,} subflows",
            median(took_s) * 1e3,
            "ms",
            goal=50.0,
            n=RESWEEPS,
            spread=spread,
        )
    ]


def held_rows(is_quick: bool) -> list[Row]:
    """Return the memory that a million subflows take, connections and edges with them."""
    count = HELD_SUBFLOWS // (10 if is_quick else 1)
    machine = Associator()
    before = _resident_bytes()
    for start in range(0, count, 100_000):
        machine.step(_strangers(start, min(100_000, count - start)), 1.0)
    for second in (2.0, 3.0):
        machine.tick(second)
    held = _resident_bytes() - before
    goal = 1e9 * count / HELD_SUBFLOWS
    detail = {"peak_of_process_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}
    held_count = machine.counters["subflows"]
    return [Row(f"{count:,} subflows held", held / 1e6, "MB", goal=goal / 1e6, n=held_count, detail=detail)]


def _strangers(start: int, count: int) -> PacketRecords:
    """Return one packet of each of ``count`` subflows, three per connection."""
    number = np.arange(start, start + count, dtype=np.uint64)
    records = PacketRecords.zeros(count)
    records.src_lo[:] = number // np.uint64(50_000) + np.uint64(0xFFFF_0A00_0000)
    records.src_port[:] = number % np.uint64(50_000)
    records.dst_lo[:] = 0xFFFF_0B00_0000
    records.dst_port[:] = 443
    records.at_us[:] = 1_000_000
    own = number // np.uint64(3) * np.uint64(0x9E37_79B9_7F4A_7C15)
    records.dsn[:] = own + number % np.uint64(3) * np.uint64(1000)
    records.data_ack[:] = own * np.uint64(3)
    records.map_bytes[:] = 1000
    records.payload_bytes[:] = 1000
    records.has[:] = (1 << 5) | (1 << 6) | (1 << 7) | (1 << 8)
    return records


def _resident_bytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * resource.getpagesize())


def law_suite(options: BenchOptions) -> list[Row]:
    """Return all rows."""
    seed, is_quick = options.seed, options.quick
    associate([make_world(Model(connections=5)).records])  # compiled before anything is measured
    return [
        *held_rows(is_quick), *law_rows(seed), *confidence_rows(seed, is_quick), *model_rows(seed, is_quick),
        *sweep_rows(seed, is_quick),
    ]  # fmt: skip


if __name__ == "__main__":
    print(format_table(law_suite(BenchOptions(seed=int(sys.argv[1]) if len(sys.argv) > 1 else 1))))
