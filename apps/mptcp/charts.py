"""Plotly figures of ``mptcp``. Pure: rows in, dictionaries out; colours and themes are the page's."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from apps.mptcp.accuracy import expected_missed, seen_probability


class HasPoints(Protocol):
    """What the picture needs of a subflow."""

    engine_id: int
    a: str
    a_port: int
    b: str
    b_port: int
    points: dict[str, Any]


def dsn_figure(subflows: Sequence[HasPoints]) -> dict[str, Any]:
    """Return data sequence numbers over time: a trace per subflow and direction, in the order of the subflows.

    Numbers are MB above the connection's lowest. ``meta`` names subflow and side, so that a page can colour by subflow
    and show one direction at a time; siblings overlap in height and time where they carry one stream together.
    """
    traces = []
    for subflow in subflows:
        for side in (0, 1):
            rows = [
                (at_s, dsn)
                for at_s, dsn, told in zip(
                    *(subflow.points.get(name, ()) for name in ("at_s", "dsn", "side")), strict=True
                )
                if told == side
            ]
            if not rows:
                continue
            ends = (f"{subflow.a}:{subflow.a_port}", f"{subflow.b}:{subflow.b_port}")
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": f"{ends[side]} → {ends[1 - side]}",
                    "x": [_iso(at_s) for at_s, _ in rows],
                    "y": [round(dsn / 1e6, 4) for _, dsn in rows],
                    "meta": {"subflow": subflow.engine_id, "side": side},
                    "hovertemplate": "%{y:.3f} MB<br>%{x|%H:%M:%S.%L}",
                }
            )
    layout = {
        "xaxis": {"type": "date"},
        "yaxis": {"title": {"text": "MB above the lowest number seen"}, "rangemode": "tozero"},
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout}


def _iso(at_s: float) -> str:
    try:
        return datetime.fromtimestamp(at_s, UTC).isoformat()
    except (ValueError, OverflowError, OSError):  # a capture's clock may say anything
        return datetime.fromtimestamp(0, UTC).isoformat()


def seen_figure(ratios: Sequence[float], packets: Sequence[int]) -> dict[str, Any]:
    """Return theory: how likely a subflow is seen, by its packets, a line per sampling rate."""
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"{ratio:.1%} sampled",
            "x": list(packets),
            "y": [round(seen_probability(count, ratio), 6) for count in packets],
            "hovertemplate": "%{x} packets: seen with %{y:.1%}",
        }
        for ratio in ratios
    ]
    return {"data": traces, "layout": _by_packets("subflows seen")}


def missed_figure(ratios: Sequence[float], packets: Sequence[int]) -> dict[str, Any]:
    """Return theory: how often the ranges of two seen siblings do not overlap in one window, by their packets."""
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"{ratio:.1%} sampled",
            "x": list(packets),
            "y": [round(expected_missed(count, ratio), 6) for count in packets],
            "hovertemplate": "%{x} packets each: missed with %{y:.1%}",
        }
        for ratio in ratios
    ]
    return {"data": traces, "layout": _by_packets("overlaps missed")}


def measured_figure(captures: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> dict[str, Any]:
    """Return what was measured: recall over the sampling rate, a line per capture and width of numbers."""
    traces = []
    for name, rows in captures:
        for width32 in (False, True):
            chosen = sorted(
                (row["sample"], row["recall"])
                for row in rows
                if row["width32"] == width32 and row["recall"] is not None
            )
            if chosen:
                traces.append(
                    {
                        "type": "scatter",
                        "mode": "lines+markers",
                        "name": f"{name}, {32 if width32 else 64} bit",
                        "x": [sample for sample, _ in chosen],
                        "y": [recall for _, recall in chosen],
                        "hovertemplate": "%{x:.1%} sampled: recall %{y:.4f}",
                    }
                )
    layout = {
        "xaxis": {"type": "log", "title": {"text": "share of the packets that is looked at"}},
        "yaxis": {"title": {"text": "pairs of siblings found"}, "range": [0, 1.02]},
    }
    return {"data": traces, "layout": layout}


def _by_packets(words: str) -> dict[str, Any]:
    return {
        "xaxis": {"type": "log", "title": {"text": "data packets of the subflow within the window"}},
        "yaxis": {"title": {"text": words}, "range": [0, 1.02]},
    }
