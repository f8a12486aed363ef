"""Plotly figures of ``mptcp``. Pure: rows in, dictionaries out; colours and themes are the page's."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol


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
