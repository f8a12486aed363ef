"""Accuracy rows of suite ``mptcp``: real traffic, sampled packet by packet, beside tshark on the same packets.

Recall is that of pairs of subflows that were seen, see ``tests.support.mptcp_score``; who was not is in the detail.
"""

import io
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import filters
from apps.mptcp.engine.associator import associate
from apps.mptcp.engine.capture import read_capture
from apps.mptcp.engine.records import PacketRecords
from apps.mptcp.engine.values import FlowKey
from nfvportal.bench.rows import BenchOptions, Row
from tests.support.mptcp_packets_file import PacketsFile
from tests.support.mptcp_peers import PORT
from tests.support.mptcp_score import Found, Score, Truth, score, score_connections
from tests.support.mptcp_traffic import flow_key

SAMPLINGS = (1.0, 0.1, 0.01, 0.005, 0.001)
SEEDS, QUICK_SEEDS = 10, 2
START_AFTER_SHARE = 0.4
TSHARK_FIELDS = (
    "frame.time_epoch", "tcp.stream", "mptcp.stream", "ip.src", "tcp.srcport", "ip.dst", "tcp.dstport",
)  # fmt: skip
# Sampling -> recall, precision; at 32 bit among subflows of which both spaces are seen.
GOALS_64 = {0.01: (0.999, 1.0), 0.001: (0.90, 0.999)}
GOALS_32 = {0.01: (0.995, 1.0), 0.001: (0.90, 0.999)}
Mask = NDArray[np.bool_]
Filter = Callable[[PacketRecords], PacketRecords]


@dataclass(frozen=True, slots=True)
class View:
    """A way to see less of the traffic.

    Args:
        masks: packets that each observation point sees, before sampling.
        row_filters: what is taken from the records that are left.
    """

    name: str
    masks: Callable[[PacketsFile], Sequence[Mask]]
    row_filters: tuple[Filter, ...] = ()


def everything(packets: PacketsFile) -> list[Mask]:
    """See all packets."""
    return [np.ones(len(packets), bool)]


def later(packets: PacketsFile) -> list[Mask]:
    """Start when two fifths of the time are over."""
    start_s = packets.times_s[0] + START_AFTER_SHARE * (packets.times_s[-1] - packets.times_s[0])
    return [packets.times_s >= start_s]


def from_client(packets: PacketsFile) -> list[Mask]:
    """See one direction."""
    return [packets.ports != PORT]


def two_sensors(packets: PacketsFile) -> list[Mask]:
    """Let one sensor see two thirds of the packets of each subflow, the other two thirds too, not the same."""
    turn = np.arange(len(packets)) % 3
    return [turn != 0, turn != 1]


VIEWS = (
    View("full", everything),
    View("without tokens", everything, (filters.without_tokens,)),
    View("mid-start", later),
    View("one direction", from_client),
    View("two sensors", two_sensors),
)
TSHARK_VIEWS = ("full", "mid-start", "one direction")


def accuracy_rows(packets: PacketsFile, truth: Truth, options: BenchOptions, has_tshark: bool) -> list[Row]:
    """Return recall and precision of pairs for all views, samplings and widths, then tshark's."""
    rows = []
    for view in VIEWS:
        masks = view.masks(packets)
        for width in (64, 32):
            for sampling in SAMPLINGS:
                scores = [
                    ours(packets, truth, view, masks, width, sampling, seed)
                    for seed in seeds(sampling, options)
                ]
                rows += score_rows(f"{view.name}, {width} bit, sampling {sampling:g}", scores, options,
                                   (GOALS_64 if width == 64 else GOALS_32).get(sampling, (None, None)))  # fmt: skip
    return rows + (tshark_rows(packets, truth, options) if has_tshark else [])


def tshark_rows(packets: PacketsFile, truth: Truth, options: BenchOptions) -> list[Row]:
    """Return what tshark makes of the packets of the first seed."""
    rows = []
    for view in VIEWS:
        if view.name not in TSHARK_VIEWS:
            continue
        for sampling in SAMPLINGS:
            mask = view.masks(packets)[0] & sampled(packets, sampling, options.seed, 0)
            scores = [score(tshark_groups(packets.capture(mask)), truth)]
            rows += score_rows(f"tshark, {view.name}, sampling {sampling:g}", scores, options, (None, None))
    return rows


def seeds(sampling: float, options: BenchOptions) -> range:
    """Return the seeds of a sampling; all packets are all packets."""
    count = 1 if sampling == 1 else QUICK_SEEDS if options.quick else SEEDS
    return range(options.seed, options.seed + count)


def sampled(packets: PacketsFile, sampling: float, seed: int, sensor: int) -> Mask:
    """Return which packets a sensor samples."""
    return np.random.default_rng([seed, sensor]).random(len(packets)) < sampling


def ours(
    packets: PacketsFile,
    truth: Truth,
    view: View,
    masks: Sequence[Mask],
    width: int,
    sampling: float,
    seed: int,
) -> Score:
    """Return how well we do on some packets."""
    captures = [
        packets.capture(mask & sampled(packets, sampling, seed, sensor)) for sensor, mask in enumerate(masks)
    ]
    connections = associate(records_of(captures, view, width)).connections()
    return score_connections(connections, truth, space_count=2 if width == 32 else 1)


def records_of(captures: Sequence[bytes], view: View, width: int) -> Iterator[PacketRecords]:
    """Yield the records of one or several sensors, by time, in pieces as they come."""
    sources = [read_capture(io.BytesIO(capture), sensor) for sensor, capture in enumerate(captures)]
    chain = [*view.row_filters, *((filters.width32,) if width == 32 else ())]
    if len(sources) == 1:
        pieces = sources[0]
    else:
        joined = PacketRecords.joined([piece for source in sources for piece in source])
        order = np.argsort(joined.at_us, kind="stable")
        pieces = iter([joined.rows(part) for part in np.array_split(order, max(1, len(order) // 8192))])
    for records in pieces:
        for one in chain:
            records = one(records)
        if len(records):
            yield records


def score_rows(
    name: str, scores: Sequence[Score], options: BenchOptions, goals: tuple[float | None, float | None]
) -> list[Row]:
    """Return recall and precision over the pairs of all seeds together, with the other figures as detail."""
    wanted, missed = sum(s.pair_count for s in scores), sum(s.missed_pair_count for s in scores)
    wrong = sum(s.wrong_pair_count for s in scores)
    right = wanted - missed
    detail = {
        "exact_connection_ratio": round(mean(s.exact_ratio for s in scores), 5),
        "unseen_ratio": round(mean(s.unseen_ratio for s in scores), 5),
        "recall_of_all_sampled": round(mean(s.recall_of_sampled for s in scores), 5),
        "sampled_but_unseen": sum(s.sampled_unseen_count for s in scores),
        "pairs": wanted,
        "missed": missed,
        "wrong": wrong,
        "unknown_subflows": sum(s.unknown_count for s in scores),
        "quick": options.quick,
    }
    values = (right / wanted if wanted else 1.0, right / (right + wrong) if right + wrong else 1.0)
    spreads = [
        (min(column), max(column)) for column in ([s.recall for s in scores], [s.precision for s in scores])
    ]
    return [
        Row(
            f"{name}: {what}",
            value,
            "ratio",
            goal=goal,
            better="higher",
            n=len(scores),
            spread=spread,
            detail=detail,
        )
        for what, value, goal, spread in zip(("recall", "precision"), values, goals, spreads, strict=True)
    ]


def tshark_groups(capture: bytes) -> list[list[Found]]:
    """Return the subflows that tshark puts into one Multipath TCP connection."""
    flows: dict[str, tuple[FlowKey, list[float]]] = {}
    connection_of: dict[str, str] = {}
    for line in tshark_lines(capture):
        at_s, stream, mptcp, source, source_port, target, target_port = line
        flow = flows.setdefault(
            stream, (flow_key(source, int(source_port), target, int(target_port)), [float(at_s)] * 2)
        )
        flow[1][1] = float(at_s)
        if mptcp:
            connection_of[stream] = mptcp.split(",")[0]
    groups: dict[str, list[Found]] = {}
    for stream, (key, times) in flows.items():
        groups.setdefault(connection_of.get(stream, f"alone {stream}"), []).append(
            Found(key, times[0], times[1])
        )
    return list(groups.values())


def tshark_lines(capture: bytes) -> Iterator[list[str]]:
    """Yield what tshark's own analysis says of each TCP packet."""
    with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
        file.write(capture)
        file.flush()
        done = subprocess.run(tshark_command(Path(file.name)), capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        fields = line.split("\t")
        if len(fields) == len(TSHARK_FIELDS) and fields[1]:
            yield fields


def tshark_command(path: Path) -> list[str]:
    """Return the command that lets tshark say which packet belongs to which connection."""
    names = [word for field in TSHARK_FIELDS for word in ("-e", field)]
    return ["tshark", "-n", "-r", str(path), "-T", "fields", *names]
