"""What a server's forwarder spends on a packet, step by step and without processes: mirror, merge, wire.

By itself: ``python -m tests.benchmarks.chains_steps``. Costs per packet in user space, of this process's own time.
"""

import sys
import time
from collections.abc import Callable, Sequence
from statistics import median

from apps.chains.agent.plane import Plane
from apps.chains.agent.specs import parse_server_spec
from apps.chains.agent.worker_link import Item
from apps.chains.engine.hybrid import Node
from apps.chains.engine.operators import Operator, OperatorKind
from apps.chains.engine.shim import Shim, shim_encode
from nfvportal.bench.rows import BenchOptions, Row, format_table
from tests.benchmarks.chains_plane import ONE, beside, chain_of, frames_of, row_of
from tests.support.rack import Run

PACKETS, QUICK_PACKETS = 20_000, 2_000
REPETITIONS = 5
BRANCHES = 3
# The brief, measured on two cores: a merge in Python.
MERGE_GOAL_US = 4.1


class _Sink:
    """Takes the place of a network function: what comes in is gone."""

    is_recoverable = True

    def __init__(self) -> None:
        self.items: list[Item] = []

    def submit(self, item: Item) -> None:
        self.items.append(item)


class Steps:
    """One server with a block of monitors, and no process."""

    def __init__(self, root: Node, length: int) -> None:
        self.plane = Plane(ONE, lambda frame: None, lambda item: None, lambda event, data: None)
        spec = Run(chain_of(["monitor"] * length), root, is_checked=False).path_spec()
        (path,) = parse_server_spec({"fabric": "fabric", "paths": [spec]}).paths
        self.plane.install([path])
        (self.run,) = self.plane.runs.values()
        self.sinks = [_Sink() for _ in range(length)]
        for index, sink in enumerate(self.sinks):
            self.plane.links[path.path, path.epoch, index] = sink  # type: ignore[assignment]  # all it needs

    def operator(self, kind: OperatorKind) -> Operator:
        """Return the first operator of a kind."""
        return next(one for one in self.run.spec.table.operators if one.kind is kind)

    def items(self, frames: Sequence[bytes]) -> list[Item]:
        """Return frames as items of the path."""
        return [Item(self.run, number, number, frame) for number, frame in enumerate(frames, 1)]


def _us_per_packet(work: Callable[[], None], packets: int) -> float:
    started_ns = time.process_time_ns()
    work()
    return (time.process_time_ns() - started_ns) / 1000 / packets


def mirror_us(frames: Sequence[bytes]) -> float:
    """Return what a mirror to three network functions on this server costs beyond handing packets to them."""
    steps = Steps(beside(BRANCHES), BRANCHES)
    mirror, nf = steps.operator(OperatorKind.MIRROR), steps.operator(OperatorKind.NF)
    items, alone = steps.items(frames), [steps.items(frames) for _ in range(BRANCHES)]

    def mirrored() -> None:
        for item in items:
            steps.plane.execute(steps.run, mirror, item, 0)

    def handed() -> None:
        for row in alone:
            for item in row:
                steps.plane.execute(steps.run, nf, item, 0)

    return _us_per_packet(mirrored, len(frames)) - _us_per_packet(handed, len(frames))


def merge_us(frames: Sequence[bytes]) -> float:
    """Return what a merge of three branches and handing its packet on costs."""
    steps = Steps(beside(BRANCHES), BRANCHES)
    merge = steps.operator(OperatorKind.MERGE)
    branches = [steps.items(frames) for _ in range(BRANCHES)]

    def merged() -> None:
        for row in zip(*branches, strict=True):
            for branch, item in enumerate(row):
                steps.plane.execute(steps.run, merge, item, branch)

    took_us = _us_per_packet(merged, len(frames))
    assert steps.run.merger(merge).counters["merged"] == len(frames)
    return took_us


def block_us(frames: Sequence[bytes]) -> float:
    """Return what a block of three on this server costs the forwarder more than the three in a row."""

    def through(root: Node) -> float:
        steps = Steps(root, BRANCHES)
        first = steps.run.by_id[steps.run.spec.table.first]
        items = steps.items(frames)

        def work() -> None:
            for item in items:
                steps.plane.execute(steps.run, first, item, 0)
            for sink in steps.sinks:
                for item in sink.items:
                    steps.plane.leave_nf(item)

        return _us_per_packet(work, len(frames))

    return through(beside(BRANCHES)) - through(row_of(BRANCHES))


def arrive_us(frames: Sequence[bytes]) -> float:
    """Return what it costs to take a frame from the wire and hand its packet to a network function."""
    steps = Steps(beside(BRANCHES), BRANCHES)
    nf = steps.operator(OperatorKind.NF)
    wire = [
        shim_encode(
            bytes(6), bytes(6), Shim(steps.run.spec.path, nf.id, steps.run.spec.epoch, number, number), frame
        )
        for number, frame in enumerate(frames, 1)
    ]

    def taken() -> None:
        for frame in wire:
            steps.plane.arrive(frame, 1)

    return _us_per_packet(taken, len(frames))


def step_rows(options: BenchOptions) -> list[Row]:
    """Return the cost of mirror, merge and wire per packet, interleaved."""
    frames = frames_of(QUICK_PACKETS if options.quick else PACKETS, options.seed)
    steps: dict[str, tuple[Callable[[Sequence[bytes]], float], float | None]] = {
        "mirror to 3 branches": (mirror_us, None),
        "merge of 3 branches": (merge_us, MERGE_GOAL_US),
        "block of 3 beyond a row": (block_us, None),
        "frame from the wire": (arrive_us, None),
    }
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(REPETITIONS):
        for name, (measure, _) in steps.items():
            found[name].append(measure(frames))
    return [
        Row(
            f"plane: {name}, user space, per packet",
            median(values),
            "us",
            goal=steps[name][1],
            n=len(values),
            spread=(min(values), max(values)),
            detail={"packets": len(frames), "quick": options.quick},
        )
        for name, values in found.items()
    ]


if __name__ == "__main__":
    print(format_table(step_rows(BenchOptions(quick="--quick" in sys.argv))))
