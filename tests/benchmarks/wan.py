"""Suite ``wan``: what a black hole of the busiest link costs on topology ``branch``, and whether failovers are true.

Definitions (apps/wan/README.md): *lost* is the capacity of the surviving links not delivered in the two seconds after
the cut, in milliseconds of those links; *stall* the longest time without in-order bytes. Cases are interleaved.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from apps.wan.engine.failover_cost import failover_cost
from nfvportal.agent.runner import can_schedule_realtime
from nfvportal.bench.rows import BenchOptions, Better, Row
from nfvportal.lab.launch import LabForbidden, launched_lab
from nfvportal.lab.topology import load_topology
from tests.benchmarks.steal import StealMeter
from tests.benchmarks.wan_bed import HOME, HOST, Arrivals, WanBed, wait_for, wan_bed

NAME = "wan"
WARM_S = 4.0
WINDOW_S = 2.0
BROKEN_S = 3.0
# A connection that only its own retransmission timer wakes needs longer than the fault.
SLOW_TAIL_S = 6.0
TAIL_S = 3.0
VOICE_INTERVAL_MS = 1
AGGREGATE_S = 10.0
AGGREGATE_SKIP_S = 4.0
QUIET_S = 600.0
LOADED_S = 300.0
FLIP_ROUTES = 10_000
# Payload bytes of a full frame of 1514: 66 of Ethernet, IP and TCP with timestamps; Multipath TCP adds 20 of DSS.
TCP_SHARE = 1448 / 1514
MPTCP_SHARE = 1428 / 1514

LOST_GOAL_MS, LOST_GOAL_ORDINARY_MS = 60.0, 120.0
IMPROVEMENT_GOAL = 5.0
UDP_GAP_GOAL_MS = 45.0
AGGREGATE_GOAL = 0.9
FLIP_GOAL_MS = 1.0
RESTORE_GOAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of traffic under one kind of gateway."""

    figure: str
    kind: str
    protocol: str
    node: str
    is_rerouting: bool
    tail_s: float = TAIL_S
    options: Mapping[str, object] = field(default_factory=dict)


# TABLE: the cases, run one after the other in every repetition.
CASES = (
    Case("tcp_alone", "bulk", "tcp", "branch-legacy", False, SLOW_TAIL_S),
    Case("tcp_reroute", "bulk", "tcp", "branch-legacy", True),
    Case("mptcp_alone", "bulk", "mptcp", "branch-host", False, options={"local_address": HOST}),
    Case("mptcp_reroute", "bulk", "mptcp", "branch-host", True, options={"local_address": HOST}),
    Case("udp", "voice", "udp", "branch-legacy", True, options={"interval_ms": VOICE_INTERVAL_MS}),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """What one cut did. Times in ms unless the name says otherwise; ``None``: it did not happen in time."""

    link: str
    stall_ms: float
    lost_ms: float
    transport_ms: float | None
    detection_ms: list[float]
    action_ms: list[float]
    acted_ms: float | None
    restore_s: float | None


def run(options: BenchOptions) -> Sequence[Row]:
    """Measure the cost of failures, the pipe, the kernel's flip, and false failovers."""
    meter = StealMeter()
    try:
        with wan_bed() as bed:
            trials = _trials(bed, options)
            aggregate = _aggregate(bed, options)
            quiet, loaded = _false_failovers(bed, options)
        rows = [*_cost_rows(trials, options), *_timing_rows(trials, options), aggregate, *_flip_rows(options)]
    except LabForbidden as error:
        return [Row("mptcp_reroute_lost", None, "ms", LOST_GOAL_MS, detail={"reason": str(error)})]
    return [*rows, quiet, loaded, Row("host_steal", meter.facts()["steal_ratio"], "ratio")]


def _trials(bed: WanBed, options: BenchOptions) -> dict[str, list[Trial]]:
    trials: dict[str, list[Trial]] = {case.figure: [] for case in CASES}
    for number in range(options.repetitions or (1 if options.quick else 10)):
        for case in CASES:
            trial = _trial(bed, case)
            trials[case.figure].append(trial)
            sys.stderr.write(
                f"wan {number + 1} {case.figure}: {trial.link} cut, stall {trial.stall_ms:.0f} ms, "
                f"lost {trial.lost_ms:.0f} ms, detection {trial.detection_ms}\n"
            )
    return trials


def _trial(bed: WanBed, case: Case) -> Trial:
    """Cut the busiest link under one flow and heal it again."""
    bed.reroute(case.is_rerouting)
    wait_for(lambda: not bed.unhealthy(), "all links up")
    bed.wait_home()
    seconds = WARM_S + 1.0 + BROKEN_S + case.tail_s
    with bed.flow(case.kind, case.protocol, case.node, seconds, **case.options) as running:
        time.sleep(WARM_S)
        link = _busiest(bed, 1.0)
        cut_s = float(bed.lab.fault(link, "blackhole")["at_s"])
        time.sleep(BROKEN_S)
        mapping = bed.mapping()
        healed_s = float(bed.lab.clear(link)["at_s"])
        restore_s = _restore(bed, link, healed_s) if case.kind == "bulk" and case.is_rerouting else None
    arrivals = running.arrivals()
    failures = [event["data"] for event in bed.failures(cut_s) if event["data"]["link"] == link]
    told = [event for event in failures if event["detected_at_s"] < healed_s]
    starts_s, sizes = [at_s for at_s, _ in arrivals.bins], [size for _, size in arrivals.bins]
    cost = failover_cost(starts_s, sizes, cut_s, _owed_bps(case, arrivals, cut_s, link, mapping))
    return Trial(
        link=link,
        stall_ms=_longest_gap_ms(arrivals, cut_s) if case.kind == "voice" else _stall_ms(arrivals, cut_s),
        lost_ms=cost.lost_ms,
        transport_ms=cost.transport_ms,
        detection_ms=[event["detection_ms"] for event in told],
        action_ms=[event["action_ms"] for event in told],
        acted_ms=max((event["acted_at_s"] - cut_s) * 1000 for event in told) if len(told) == 2 else None,
        restore_s=restore_s,
    )


def _busiest(bed: WanBed, over_s: float) -> str:
    before = bed.carried_bytes()
    time.sleep(over_s)
    after = bed.carried_bytes()
    return max(after, key=lambda name: after[name] - before[name])


def _owed_bps(case: Case, arrivals: Arrivals, cut_s: float, link: str, mapping: Mapping[str, str]) -> float:
    """Return the payload rate that the links left could carry, at most what arrived before the cut."""
    topology = load_topology("branch")
    rates = {name: shape.rate_bps or 0 for name in HOME.values() if (shape := topology.link(name).shape)}
    before = sum(size for at_s, size in arrivals.bins if cut_s - 2.0 <= at_s < cut_s) * 8 / 2.0
    if case.protocol == "mptcp":
        surviving = sum(rate for name, rate in rates.items() if name != link) * MPTCP_SHARE
    else:
        # One path: where its virtual subnet rides now, or the best other link when nobody moved it.
        now = (
            mapping["1"]
            if mapping["1"] != link
            else max((n for n in rates if n != link), key=lambda n: rates[n])
        )
        surviving = rates[now] * TCP_SHARE
    return max(1.0, min(before, surviving))


def _stall_ms(arrivals: Arrivals, cut_s: float) -> float:
    """Return the longest time without bytes after the cut, to the end of the recording."""
    times_s = [at_s for at_s in arrivals.times_s if at_s >= cut_s - 0.5]
    return max((later - earlier for earlier, later in pairwise(times_s)), default=float("inf")) * 1000


def _longest_gap_ms(arrivals: Arrivals, cut_s: float) -> float:
    """Return the longest time between datagrams around the cut."""
    times_s = [at_s for at_s in arrivals.times_s if cut_s - 0.1 <= at_s <= cut_s + WINDOW_S]
    return max((later - earlier for earlier, later in pairwise(times_s)), default=float("inf")) * 1000


def _restore(bed: WanBed, link: str, healed_s: float) -> float | None:
    """Return the seconds from the end of the hold-down to the first data on the healed link."""
    event = bed.wait_event("gw-a", "wan.link_restored", healed_s)
    up_s, before = float(event["data"]["up_at_s"]), bed.carried_bytes()[link]
    try:
        # Ten full frames: more than probes send in that time.
        wait_for(lambda: bed.carried_bytes()[link] - before > 15_000, "data on the healed link", 3.0)
    except TimeoutError:
        return None
    return max(0.0, time.time() - up_s)


def _aggregate(bed: WanBed, options: BenchOptions) -> Row:
    """Goodput of one Multipath TCP connection over the three links, against their payload ceiling."""
    bed.reroute(True)
    topology = load_topology("branch")
    rates = [shape.rate_bps or 0 for name in HOME.values() if (shape := topology.link(name).shape)]
    ceiling_bps, ratios, meter = sum(rates) * MPTCP_SHARE, [], StealMeter()
    for _ in range(options.repetitions or (1 if options.quick else 5)):
        wait_for(lambda: not bed.unhealthy(), "all links up")
        bed.wait_home()
        with bed.flow("bulk", "mptcp", "branch-host", AGGREGATE_S + 1, local_address=HOST) as running:
            pass
        bins = [item for item in running.arrivals().bins if item[1]]
        start_s = bins[0][0] + AGGREGATE_SKIP_S
        end_s = start_s + AGGREGATE_S - AGGREGATE_SKIP_S - 1
        size = sum(size for at_s, size in bins if start_s <= at_s < end_s)
        ratios.append(size * 8 / (end_s - start_s) / ceiling_bps)
    detail = {"ceiling_mbps": round(ceiling_bps / 1e6, 2)} | meter.facts()
    return _row("aggregate_ratio", ratios, "ratio", AGGREGATE_GOAL, options, detail, better="higher")


def _false_failovers(bed: WanBed, options: BenchOptions) -> tuple[Row, Row]:
    """Failures reported while no link was broken: without traffic, then with every link full."""
    rows = []
    for figure, seconds in (("false_failovers_quiet", QUIET_S), ("false_failovers_loaded", LOADED_S)):
        seconds = 10.0 if options.quick else seconds
        meter, started_s = StealMeter(), time.time()
        with _load(bed, seconds) if figure.endswith("loaded") else _nothing():
            time.sleep(seconds)
        false = bed.failures(started_s)
        detail = {"seconds": seconds, "events": [event["data"]["link"] for event in false]} | meter.facts()
        rows.append(Row(figure, float(len(false)), "count", 0.0, detail=detail | _quick(options)))
    return rows[0], rows[1]


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _load(bed: WanBed, seconds: float) -> Iterator[None]:
    with bed.flow("bulk", "mptcp", "branch-host", seconds, local_address=HOST):
        yield


def _cost_rows(trials: Mapping[str, Sequence[Trial]], options: BenchOptions) -> list[Row]:
    goal_ms = LOST_GOAL_MS if can_schedule_realtime() else LOST_GOAL_ORDINARY_MS
    rows = []
    for case in CASES:
        if case.kind == "bulk":
            own = trials[case.figure]
            rows.append(_row(f"{case.figure}_stall", [trial.stall_ms for trial in own], "ms", None, options))
            lost_goal_ms = goal_ms if case.figure == "mptcp_reroute" else None
            lost_ms = [trial.lost_ms for trial in own]
            detail = {"cut": [trial.link for trial in own], "lost_ms": lost_ms}
            rows.append(_row(f"{case.figure}_lost", lost_ms, "ms", lost_goal_ms, options, detail))
    alone = statistics.median(trial.lost_ms for trial in trials["mptcp_alone"])
    ours = statistics.median(trial.lost_ms for trial in trials["mptcp_reroute"])
    # What is below one bin of 10 ms cannot be told apart.
    ratio = alone / max(ours, 10.0)
    rows.append(
        Row(
            "lost_improvement",
            ratio,
            "ratio",
            IMPROVEMENT_GOAL,
            "higher",
            len(trials["mptcp_alone"]),
            detail={"alone_ms": alone, "reroute_ms": ours, "floor_ms": 10.0} | _quick(options),
        )
    )
    gaps_ms = [trial.stall_ms for trial in trials["udp"]]
    detail = {"interval_ms": VOICE_INTERVAL_MS, "gap_ms": [round(gap, 1) for gap in gaps_ms]}
    rows.append(_row("udp_gap", gaps_ms, "ms", UDP_GAP_GOAL_MS, options, detail))
    return rows


def _timing_rows(trials: Mapping[str, Sequence[Trial]], options: BenchOptions) -> list[Row]:
    acting = [trial for case in CASES if case.is_rerouting for trial in trials[case.figure]]
    restored = [trial for trial in acting if trial.restore_s is not None]
    waited = [
        trial for case in CASES if case.is_rerouting and case.kind == "bulk" for trial in trials[case.figure]
    ]
    detail = {"not_within_3_s": len(waited) - len(restored)}
    return [
        _row("detection", [value for trial in acting for value in trial.detection_ms], "ms", None, options),
        _row("action", [value for trial in acting for value in trial.action_ms], "ms", None, options),
        _row(
            "cut_to_both_acted", [t.acted_ms for t in acting if t.acted_ms is not None], "ms", None, options
        ),
        _row(
            "restore_to_traffic", [t.restore_s or 0.0 for t in restored], "s", RESTORE_GOAL_S, options, detail
        ),
    ]


def _flip_rows(options: BenchOptions) -> list[Row]:
    """Time of one nexthop replace under ten thousand routes, and of replacing route by route."""
    count = 1_000 if options.quick else FLIP_ROUTES
    with tempfile.TemporaryDirectory(prefix="nfvwan-") as name, launched_lab(Path(name), "pair") as lab:
        argv = [sys.executable, "-m", "tests.benchmarks.wan_flip", str(count), "100"]
        answer = lab.exec("left", argv, timeout_s=120)
    if answer["exit_code"] != 0:
        raise RuntimeError(f"the flip failed: {answer['stderr']}")
    facts = json.loads(answer["stdout"])
    detail = {"routes": facts["routes"]}
    return [
        _row("flip_10000_routes", facts["nexthop_ms"], "ms", FLIP_GOAL_MS, options, detail),
        _row("route_by_route", facts["per_route_ms"], "ms", None, options, detail),
    ]


def _row(
    figure: str,
    values: Sequence[float],
    unit: str,
    goal: float | None,
    options: BenchOptions,
    detail: Mapping[str, Any] | None = None,
    better: Better = "lower",
) -> Row:
    """Return the row of a series; without values it says that nothing was measured."""
    detail = {**(detail or {}), **_quick(options)}
    if not values:
        return Row(figure, None, unit, goal, better, 0, detail=detail)
    spread = (round(min(values), 4), round(max(values), 4))
    return Row(figure, round(statistics.median(values), 4), unit, goal, better, len(values), spread, detail)


def _quick(options: BenchOptions) -> dict[str, Any]:
    return {"quick": True} if options.quick else {}
