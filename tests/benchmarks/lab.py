"""Suite ``lab``: is the emulated link what its topology says? Measured end to end, from inside the nodes."""

import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nfvportal.bench.rows import BenchOptions, Row
from nfvportal.lab.client import LabClient
from nfvportal.lab.launch import LabForbidden, launched_lab
from nfvportal.lab.topology import LinkShape, load_topology
from tests.benchmarks.steal import StealMeter

NAME = "lab"
HEADERS_BYTES = 14 + 20 + 8
PROBE_BYTES = 64
CS6_TOS = 192
BULK_BYTES = 1_400
# A link without delay beside a plain wire: what the relay itself costs is the difference.
BARE_TOPOLOGY = """
title: A relayed link without delay beside a wire
nodes:
  left: {kind: host, interfaces: {eth0: {addresses: [10.0.0.1/24]}, eth1: {addresses: [10.0.1.1/24]}}}
  right: {kind: host, interfaces: {eth0: {addresses: [10.0.0.2/24]}, eth1: {addresses: [10.0.1.2/24]}}}
links:
  cable: {a: left/eth0, b: right/eth0, delay_ms: 0, queue_bytes: 4_000_000}
  wire: {a: left/eth1, b: right/eth1}
"""

# Goals of the suite.
RTT_GOAL_RATIO, RTT_GOAL_MS = 0.10, 1.0
RATE_GOAL_RATIO = 0.05
# Half width of the 99.9 % interval of a binomial count, in standard deviations.
LOSS_GOAL_DEVIATIONS = 3.29
PRIORITY_GOAL_MS = 2.0
CAPACITY_GOAL_PPS = 60_000.0
RELAY_GOAL_MS = 0.2
SWITCH_GOAL_MS = 1.0
BRING_UP_GOAL_S = 2.0


def run(options: BenchOptions) -> Sequence[Row]:
    """Measure the accuracy of rate, delay, loss and priority, the relay's own cost, and how fast the lab is up."""
    with tempfile.TemporaryDirectory(prefix="nfvlab-") as name:
        directory = Path(name)
        try:
            rows = _bring_up_rows(directory, options)
        except LabForbidden as error:
            return [
                Row(
                    "lab: bring-up to self-test passed",
                    None,
                    "s",
                    BRING_UP_GOAL_S,
                    detail={"reason": str(error)},
                )
            ]
        with launched_lab(directory, "branch") as lab:
            rows += [_rtt_row(lab, link, options) for link in ("fiber", "dsl", "lte")]
            rows.append(_switch_row(lab, options))
        with launched_lab(directory, "pair") as lab:
            rows.append(_rate_row(lab, options))
            rows += [_loss_row(lab, ratio, options) for ratio in (0.01, 0.05)]
            rows.append(_priority_row(lab, options))
        bare = directory / "bare.yml"
        bare.write_text(BARE_TOPOLOGY)
        with launched_lab(directory, str(bare)) as lab:
            rows += [_capacity_row(lab, options), _relay_cost_row(lab, options)]
        return rows


def _bring_up_rows(directory: Path, options: BenchOptions) -> list[Row]:
    up_s, down_s = [], []
    for _ in range(options.repetitions or (2 if options.quick else 10)):
        started_s = time.monotonic()
        with launched_lab(directory, "branch"):
            up_s.append(time.monotonic() - started_s)
            ending_s = time.monotonic()
        down_s.append(time.monotonic() - ending_s)
    return [
        _row("lab: bring-up to self-test passed", up_s, "s", BRING_UP_GOAL_S, options),
        _row("lab: down", down_s, "s", None, options),
    ]


def _rtt_row(lab: LabClient, link_name: str, options: BenchOptions) -> Row:
    """Round trips between the two ends of an idle WAN link, against delay and sending time of both ways."""
    shape = _shape("branch", link_name)
    number = {"fiber": 2, "dsl": 6, "lte": 10}[link_name]
    steal = StealMeter()
    facts = _pair_run(
        lab,
        ("gw-b", "echo", 30),
        ("gw-a", "round_trips", f"192.0.2.{number}", 50 if options.quick else 400, 10, PROBE_BYTES, 0, 2),
    )[1]
    assert shape.rate_bps is not None
    expected_ms = 2 * (shape.delay_ms + (PROBE_BYTES + HEADERS_BYTES) * 8_000 / shape.rate_bps)
    return Row(
        figure=f"lab: RTT error of {link_name}, idle",
        value=abs(facts["p50_ms"] - expected_ms),
        unit="ms",
        goal=RTT_GOAL_RATIO * expected_ms + RTT_GOAL_MS,
        n=facts["received"],
        spread=(facts["min_ms"] - expected_ms, facts["max_ms"] - expected_ms),
        detail={"expected_ms": round(expected_ms, 3)} | _rounded(facts) | steal.facts() | _quick(options),
    )


def _rate_row(lab: LabClient, options: BenchOptions) -> Row:
    """Goodput of a link that is offered 20 % more than it carries, in frame bits."""
    rate_bps = _shape("pair", "cable").rate_bps
    assert rate_bps is not None
    steal, measured_bps = StealMeter(), []
    for _ in range(options.repetitions or (2 if options.quick else 6)):
        offered_bps = rate_bps * 1.2 * BULK_BYTES / (BULK_BYTES + HEADERS_BYTES)
        seconds = 1 if options.quick else 3
        heard, _ = _pair_run(
            lab, ("right", "sink", 30), ("left", "flood", "10.0.0.2", offered_bps, seconds, BULK_BYTES)
        )
        bits = (heard["count"] - 1) * (BULK_BYTES + HEADERS_BYTES) * 8
        measured_bps.append(bits / (heard["last_at_s"] - heard["first_at_s"]))
    errors = [abs(value / rate_bps - 1) for value in measured_bps]
    detail = {"measured_mbps": [round(value / 1e6, 3) for value in measured_bps]} | steal.facts()
    return _row("lab: rate error at 50 Mbit/s", errors, "ratio", RATE_GOAL_RATIO, options, detail)


def _loss_row(lab: LabClient, ratio: float, options: BenchOptions) -> Row:
    """Frames lost at random, as the distance from the asked ratio in standard deviations of a binomial count."""
    lab.fault("cable", "loss", value=ratio, seed=options.seed)
    steal, late_before = StealMeter(), _counter(lab, "lost_late")
    seconds = 1 if options.quick else 5
    heard, sent = _pair_run(
        lab, ("right", "sink", 30), ("left", "flood", "10.0.0.2", 8_000_000, seconds, 400)
    )
    lab.clear("cable")
    # What arrived and found the measuring program's buffer full was not lost by the link.
    lost, total = sent["sent"] - heard["count"] - heard["overflowed"], sent["sent"]
    deviation = (total * ratio * (1 - ratio)) ** 0.5
    return Row(
        figure=f"lab: loss of {ratio:.0%}, distance in standard deviations",
        value=abs(lost - total * ratio) / deviation,
        unit="sigma",
        goal=LOSS_GOAL_DEVIATIONS,
        n=total,
        detail={
            "lost": lost,
            "measured_ratio": round(lost / total, 5),
            "relay_came_late": _counter(lab, "lost_late") - late_before,
            "sink_overflowed": heard["overflowed"],
        }
        | steal.facts()
        | _quick(options),
    )


def _priority_row(lab: LabClient, options: BenchOptions) -> Row:
    """What a full queue adds to the round trip of CS6 probes: at most the bulk frame that is being sent."""
    count, steal = 50 if options.quick else 300, StealMeter()
    probes = ("left", "round_trips", "10.0.0.2", count, 10, PROBE_BYTES, CS6_TOS, 2)
    idle = _pair_run(lab, ("right", "echo", 30), probes)[1]
    seconds = count * 0.01 + 2
    flooding = threading.Thread(
        target=_run, args=(lab, "left", "flood", "10.0.0.2", 60_000_000, seconds, BULK_BYTES)
    )
    before = _counter(lab, "lost_queue")
    flooding.start()
    _wait_until(lambda: _counter(lab, "lost_queue") > before)
    busy = _pair_run(lab, ("right", "echo", 30), probes)[1]
    flooding.join()
    detail = {"idle": _rounded(idle), "busy": _rounded(busy)} | steal.facts() | _quick(options)
    added_ms = busy["p50_ms"] - idle["p50_ms"]
    return Row(
        "lab: RTT that a full queue adds to CS6 probes",
        added_ms,
        "ms",
        PRIORITY_GOAL_MS,
        n=count,
        detail=detail,
    )


def _counter(lab: LabClient, name: str) -> int:
    return int(lab.status()["links"][0]["counters"]["ab"][name])


def _capacity_row(lab: LabClient, options: BenchOptions) -> Row:
    """Small frames per second through one relay, offered as fast as one sender can."""
    steal, measured_pps = StealMeter(), []
    for _ in range(options.repetitions or (2 if options.quick else 6)):
        before = _counter(lab, "frames_out")
        heard, _ = _pair_run(lab, ("right", "sink", 30), ("left", "flood", "10.0.0.2", 0, 2, PROBE_BYTES))
        moved = _counter(lab, "frames_out") - before
        measured_pps.append(moved / (heard["last_at_s"] - heard["first_at_s"]))
    return _row(
        "lab: frames per second of one relay",
        measured_pps,
        "1/s",
        CAPACITY_GOAL_PPS,
        options,
        steal.facts(),
        True,
    )


def _relay_cost_row(lab: LabClient, options: BenchOptions) -> Row:
    """One-way time that the relay itself adds: round trips over it and over a wire, interleaved, halved difference."""
    steal, added_ms = StealMeter(), []
    count = 50 if options.quick else 200
    for _ in range(options.repetitions or (2 if options.quick else 6)):
        p50_ms = [
            _pair_run(
                lab, ("right", "echo", 30), ("left", "round_trips", address, count, 3, PROBE_BYTES, 0, 1)
            )[1]["p50_ms"]
            for address in ("10.0.0.2", "10.0.1.2")
        ]
        added_ms.append((p50_ms[0] - p50_ms[1]) / 2)
    return _row(
        "lab: one-way time added by an idle relay", added_ms, "ms", RELAY_GOAL_MS, options, steal.facts()
    )


def _switch_row(lab: LabClient, options: BenchOptions) -> Row:
    """From the request of a fault to the moment at which the relay treats frames by it."""
    switch_ms = []
    for _ in range(options.repetitions or (10 if options.quick else 50)):
        asked_s = time.time()
        switch_ms.append((lab.fault("dsl", "blackhole")["at_s"] - asked_s) * 1000)
        lab.clear("dsl")
    return _row("lab: from request to fault", switch_ms, "ms", SWITCH_GOAL_MS, options)


def _row(
    figure: str,
    values: Sequence[float],
    unit: str,
    goal: float | None,
    options: BenchOptions,
    detail: dict[str, Any] | None = None,
    is_higher_better: bool = False,
) -> Row:
    return Row(
        figure=figure,
        value=statistics.median(values),
        unit=unit,
        goal=goal,
        better="higher" if is_higher_better else "lower",
        n=len(values),
        spread=(min(values), max(values)),
        detail=(detail or {}) | _quick(options),
    )


def _quick(options: BenchOptions) -> dict[str, Any]:
    return {"quick": True} if options.quick else {}


def _rounded(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in facts.items()}


def _shape(topology: str, link: str) -> LinkShape:
    shape = load_topology(topology).link(link).shape
    assert shape is not None
    return shape


def _run(lab: LabClient, node: str, *words: object) -> dict[str, Any]:
    """Run a measuring program in a node and return what it prints."""
    argv = [sys.executable, "-m", "tests.benchmarks.lab_measure", *map(str, words)]
    result = lab.exec(node, argv, timeout_s=60)
    if result["exit_code"] != 0:
        raise RuntimeError(f"{words[0]} in {node} failed: {result['stderr']}")
    facts: dict[str, Any] = json.loads(result["stdout"])
    return facts


def _pair_run(
    lab: LabClient, server: tuple[object, ...], client: tuple[object, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a server program, wait until it listens, run the client program; return what both print."""
    answers: list[dict[str, Any] | BaseException] = []

    def serve() -> None:
        try:
            answers.append(_run(lab, *_node_first(server)))
        except BaseException as error:
            answers.append(error)

    serving = threading.Thread(target=serve)
    serving.start()
    _wait_until(
        lambda: bool(answers) or ":176F" in lab.exec(str(server[0]), ["cat", "/proc/net/udp"])["stdout"]
    )
    facts = _run(lab, *_node_first(client))
    serving.join()
    if isinstance(answers[0], BaseException):
        raise answers[0]
    return answers[0], facts


def _node_first(words: tuple[object, ...]) -> tuple[Any, ...]:
    return (str(words[0]), *words[1:])


def _wait_until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError("a measuring program did not start in time")
        time.sleep(0.01)
