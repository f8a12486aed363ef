"""Rows to Plotly figures: pure, plain dictionaries."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from apps.chains.events import HopData, LatencyPoint


def history_figure(points: Sequence[Mapping[str, float | None]], target_ms: float | None) -> dict[str, Any]:
    """Return median and 99th percentile over time in ms, with the target as a line.

    Args:
        points: ascending in time, as ``LatencyData.history``.
    """
    times = [datetime.fromtimestamp(point["at_s"] or 0, UTC).isoformat() for point in points]
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": times,
            "y": [None if point[key] is None else round((point[key] or 0) / 1000, 4) for point in points],
            "hovertemplate": "%{y:.3f} ms",
        }
        for name, key in (("p50", "latency_us_p50"), ("p99", "latency_us_p99"))
    ]
    layout: dict[str, Any] = {
        "yaxis": {"title": {"text": "ms"}, "rangemode": "tozero"},
        "xaxis": {"type": "date"},
        "hovermode": "x unified",
    }
    if target_ms is not None:
        line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": target_ms, "y1": target_ms}
        layout["shapes"] = [{**line, "line": {"dash": "dash"}}]
    return {"data": traces, "layout": layout}


def histogram_figure(newest: LatencyPoint | None) -> dict[str, Any]:
    """Return the newest second's latencies: a bar per power of two."""
    bins = newest["bins"] if newest else []
    used = [index for index, count in enumerate(bins) if count]
    span = range(used[0], used[-1] + 1) if used else range(0)
    trace = {
        "type": "bar",
        "x": [f"{2**index}–{2 ** (index + 1)} µs" for index in span],
        "y": [bins[index] for index in span],
        "hovertemplate": "%{y} packets<extra></extra>",
    }
    return {
        "data": [trace],
        "layout": {"yaxis": {"title": {"text": "packets"}}, "xaxis": {"type": "category"}, "bargap": 0.05},
    }


def hops_figure(hops: Sequence[HopData]) -> dict[str, Any]:
    """Return median and 99th percentile of each operator that takes time, in us."""
    rows = [hop for hop in hops if hop.get("latency_us_p50") is not None]
    names = [f"{hop['operator']} {hop.get('nf') or hop['kind']}" for hop in rows]
    traces = [
        {"type": "bar", "orientation": "h", "name": name, "y": names, "x": [hop.get(key) for hop in rows]}
        for name, key in (("p50", "latency_us_p50"), ("p99", "latency_us_p99"))
    ]
    return {
        "data": traces,
        "layout": {
            "xaxis": {"title": {"text": "µs"}, "rangemode": "tozero"},
            "yaxis": {"autorange": "reversed"},
        },
    }
