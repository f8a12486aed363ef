"""Suite ``mptcp``: association of subflows on real traffic made in namespaces, beside tshark and the product's goals.

One recording serves all rows of accuracy and time; speed is measured on copies of it.
By itself, without the law: ``python -m tests.benchmarks.mptcp [--quick]``.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nfvportal.bench.rows import BenchOptions, Row, format_table
from tests.benchmarks import mptcp_law
from tests.benchmarks.mptcp_accuracy import accuracy_rows
from tests.benchmarks.mptcp_speed import speed_rows
from tests.benchmarks.steal import StealMeter
from tests.support.mptcp_packets_file import PacketsFile
from tests.support.mptcp_score import Truth
from tests.support.mptcp_traffic import Recording, TrafficPlan, flow_key, record_traffic, why_no_traffic

WATCH_RATIO = 0.01
ASSOCIATION_GOAL_S = 2.0
PLAN = TrafficPlan(watch_ratio=WATCH_RATIO)
# As many connections as in a whole run, for a shorter time: fewer packets each, so more subflows stay unseen.
QUICK_PLAN = TrafficPlan(duration_s=8.0, watch_ratio=WATCH_RATIO)


def run(options: BenchOptions) -> Sequence[Row]:
    """Return all rows of the suite."""
    return [*traffic_rows(options), *simulated_rows(options)]


def simulated_rows(options: BenchOptions) -> list[Row]:
    """Return the law's rows; memory is measured in a process of its own, where nothing larger was held before."""
    seed, is_quick = options.seed, options.quick
    return [
        *mptcp_law.law_rows(seed),
        *mptcp_law.confidence_rows(seed, is_quick),
        *mptcp_law.model_rows(seed, is_quick),
        *mptcp_law.sweep_rows(seed, is_quick),
    ]


def traffic_rows(options: BenchOptions) -> list[Row]:
    """Return what one recording of real traffic shows."""
    if reason := why_no_traffic():
        return [Row("traffic: not measured", None, "ratio", detail={"why": reason})]
    has_tshark = shutil.which("tshark") is not None
    with tempfile.TemporaryDirectory(prefix="nfvmptcp-") as name:
        steal = StealMeter()
        recording = record_traffic(Path(name), QUICK_PLAN if options.quick else PLAN)
        truth, packets = Truth(recording), PacketsFile(recording.capture)
        rows = [traffic_row(recording, truth, steal, options), live_row(recording, truth, options)]
        rows += accuracy_rows(packets, truth, options, has_tshark)
        return [*rows, *speed_rows(packets, options, has_tshark)]


def traffic_row(recording: Recording, truth: Truth, steal: StealMeter, options: BenchOptions) -> Row:
    """Return how many connections ran at the same time, by the sockets; what was lost on the way to the file."""
    spans: dict[int, list[float]] = {}
    for subflow in recording.subflows:
        span = spans.setdefault(subflow.connection, [subflow.first_s, subflow.last_s])
        span[:] = [min(span[0], subflow.first_s), max(span[1], subflow.last_s)]
    starts, ends = (np.array(column) for column in zip(*spans.values(), strict=True))
    concurrent = max(int(np.sum((starts <= at_s) & (at_s <= ends))) for at_s in starts)
    detail = {
        "connections": len(spans),
        "subflows": truth.count,
        "packets": recording.facts["packets"]["count"],
        "dropped_by_recorder": recording.facts["packets"]["dropped"],
        **recording.facts["plan"],
        **steal.facts(),
        "quick": options.quick,
    }
    return Row(
        "traffic: concurrent connections",
        float(concurrent),
        "count",
        goal=60.0,
        better="higher",
        detail=detail,
    )


def live_row(recording: Recording, truth: Truth, options: BenchOptions) -> Row:
    """Return the time from the moment a subflow and a sibling have two samples each to their association.

    The path is that of the product up to the portal's wire: kernel, sensor role, its batches, association, tick.
    """
    told = json.loads((recording.capture.parent / "watch.json").read_text())
    ready: dict[int, list[tuple[float, float | None]]] = {}
    for subflow in told["subflows"]:
        times = subflow["samples"]
        owner = truth.owner(flow_key(*subflow["flow"]), times[0], times[-1])
        if owner is not None and len(times) == 2:
            ready.setdefault(owner.connection, []).append((times[1], subflow["found_s"]))
    waits: list[float] = []
    never = 0
    for members in ready.values():
        if len(members) < 2:
            continue
        pair_s = sorted(second_s for second_s, _ in members)[1]
        for second_s, found_s in members:
            if found_s is None:
                never += 1
            else:
                waits.append(max(0.0, found_s - max(second_s, pair_s)))
    detail = {"never_found": never, "sampling": WATCH_RATIO, **told["counts"], "quick": options.quick}
    # One that is never found waits for ever: it counts as the longest.
    ordered = sorted(waits) + [float("inf")] * never
    at = min(len(ordered) - 1, int(0.95 * len(ordered))) if ordered else -1
    value = ordered[at] if ordered and ordered[at] != float("inf") else None
    return Row(
        "live: second sample to association, p95",
        value,
        "s",
        goal=ASSOCIATION_GOAL_S,
        n=len(ordered),
        spread=(min(waits), max(waits)) if waits else None,
        detail=detail,
    )


if __name__ == "__main__":
    print(format_table(traffic_rows(BenchOptions(quick="--quick" in sys.argv))))
