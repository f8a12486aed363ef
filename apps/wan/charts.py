"""Rows to Plotly figures: pure, plain dictionaries."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from apps.wan.events import FailoverData, GoodputPoint


def goodput_figure(points: Sequence[GoodputPoint], capacity_bps: int) -> dict[str, Any]:
    """Return stacked goodput over time, one band per link, with the sum of all capacities as a line.

    Args:
        points: ascending in time.
        capacity_bps: sum over all links, bit/s.
    """
    series: dict[str, tuple[list[str], list[float]]] = {}
    for point in points:
        times, rates = series.setdefault(point["link"], ([], []))
        times.append(datetime.fromtimestamp(point["at_s"], UTC).isoformat())
        rates.append(round(point["bps"] / 1e6, 3))
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": link,
            "stackgroup": "links",
            "x": times,
            "y": rates,
            "hovertemplate": "%{y:.1f} Mbit/s",
        }
        for link, (times, rates) in sorted(series.items())
    ]
    ceiling = capacity_bps / 1e6
    line = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": ceiling,
        "y1": ceiling,
        "line": {"dash": "dash"},
    }
    layout = {
        "yaxis": {"title": {"text": "Mbit/s"}, "rangemode": "tozero"},
        "xaxis": {"type": "date"},
        "shapes": [line],
        "hovermode": "x unified",
    }
    return {"data": traces, "layout": layout}


def failover_figure(failovers: Sequence[FailoverData]) -> dict[str, Any]:
    """Return one stacked bar per failover: detection, action, transport, in ms; parts not known yet are left out."""
    names = [
        f"{datetime.fromtimestamp(row['detected_at_s'], UTC):%H:%M:%S} {row['link']}" for row in failovers
    ]
    parts = (("detection", "detection_ms"), ("action", "action_ms"), ("transport", "transport_ms"))
    traces = [
        {"type": "bar", "orientation": "h", "name": name, "y": names, "x": [row[key] for row in failovers]}  # type: ignore[literal-required]  # keys of the table above
        for name, key in parts
    ]
    return {
        "data": traces,
        "layout": {"barmode": "stack", "xaxis": {"title": {"text": "ms"}, "rangemode": "tozero"}},
    }
