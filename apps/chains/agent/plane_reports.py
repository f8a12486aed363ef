"""What a device tells about its operators every second, as columns."""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from apps.chains.agent.plane import PathRun, Plane
from apps.chains.agent.worker_link import WorkerLink
from apps.chains.engine.operators import Operator, OperatorKind

BY_FABRIC: Final = "groups of the fabric"
BY_ITSELF: Final = "user space"
BINS: Final = 32
COLUMNS = (
    "at_s",
    "path",
    "epoch",
    "operator",
    "kind",
    "nf",
    "in",
    "out",
    "drop",
    "copy",
    "merge",
    "timeout",
    "lost",
    "late",
    "conflict",
    "latency_us_p50",
    "latency_us_p99",
    "latency_bins",
    "queue",
)


def percentile(ordered: Sequence[float], ratio: float) -> float | None:
    """Return the value that ``ratio`` of a sorted sequence do not exceed; ``None`` of an empty one."""
    return round(ordered[min(int(len(ordered) * ratio), len(ordered) - 1)], 1) if ordered else None


def bins_of(latencies_us: Sequence[float]) -> list[int] | None:
    """Return a histogram: bin i counts 2^i up to 2^(i+1) microseconds; ``None`` of no latencies.

    >>> bins_of([0, 1.5, 2, 1000])[:10]
    [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    """
    if not latencies_us:
        return None
    bins = [0] * BINS
    for latency_us in latencies_us:
        bins[min((int(latency_us) | 1).bit_length(), BINS) - 1] += 1
    return bins


def server_columns(plane: Plane, links: Iterable[WorkerLink]) -> dict[str, list[object]]:
    """Return counters since each epoch was installed, and the last second's latencies, which start anew."""
    names = {
        (nf.path, epoch, index): link
        for link in links
        for nf in (link.spec,)
        for epoch, index in nf.indexes.items()
    }
    columns: dict[str, list[object]] = {name: [] for name in COLUMNS}
    at_s = round(time.time(), 3)
    for run in plane.runs.values():
        for operator in run.spec.table.operators:
            if operator.server != plane.name and not run.counters[operator.id]:
                continue
            link = names.get((run.spec.path, run.spec.epoch, operator.nf_index or 0))
            row = _row(run, operator, link if operator.kind is OperatorKind.NF else None)
            for name, value in {"at_s": at_s, **row}.items():
                columns[name].append(value)
    return columns


def _row(run: PathRun, operator: Operator, link: WorkerLink | None) -> dict[str, object]:
    counters = run.counters[operator.id]
    merger = run.mergers.get(operator.id)
    merged = merger.counters if merger is not None else {}
    latencies, run.latencies_us[operator.id] = sorted(run.latencies_us[operator.id]), []
    waits, run.waits_us[operator.id] = run.waits_us[operator.id], []
    return {
        "path": run.spec.path,
        "epoch": run.spec.epoch,
        "operator": operator.id,
        "kind": operator.kind.value,
        "nf": link.spec.instance if link is not None else "",
        "in": counters["in"],
        "out": counters["out"],
        "drop": counters["drop"],
        "copy": counters["copy"],
        "merge": merged.get("merged", 0),
        "timeout": merged.get("timed_out", 0) + (link.counters["timed_out"] if link else 0),
        "lost": merged.get("lost", 0) + (link.counters["lost"] + link.counters["queue_full"] if link else 0),
        "late": merged.get("late", 0),
        "conflict": merged.get("conflict", 0) + (link.counters["unmatched"] if link else 0),
        "latency_us_p50": percentile(latencies, 0.5),
        "latency_us_p99": percentile(latencies, 0.99),
        "latency_bins": bins_of(waits if merger is not None else latencies),
        "queue": link.depth if link is not None else (merger.depth if merger is not None else 0),
    }


def mirrors_of(plane: Plane) -> list[dict[str, Any]]:
    """Return who copies at each mirror of this device: the fabric to servers, this process to its own branches.

    Within one server copies share their bytes, so there is nothing a kernel could do cheaper.
    """
    return [
        {
            "path": path,
            "epoch": epoch,
            "operator": operator.id,
            "by": BY_FABRIC if operator.id in run.spec.groups else BY_ITSELF,
        }
        for (path, epoch), run in sorted(plane.runs.items())
        for operator in run.spec.table.operators
        if operator.kind is OperatorKind.MIRROR and operator.server == plane.name
    ]
