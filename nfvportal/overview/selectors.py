"""What the home page shows before the live stream takes over."""

from typing import Any

from nfvportal.events.selectors import SNAPSHOT_EVENTS, event_data, event_list
from nfvportal.health.selectors import part_health

FACTS_SHOWN = 8
FACTS_LENGTH = 300


def overview_get() -> dict[str, Any]:
    """Return the health of each part and the newest events."""
    events = [
        {**event_data(event), "at": event.at, "facts": facts_line(event.data)}
        for event in event_list()[:SNAPSHOT_EVENTS]
    ]
    return {"parts": part_health(), "events": events, "event_limit": SNAPSHOT_EVENTS}


def facts_line(data: dict[str, Any]) -> str:
    """Return an event's data as one short line, e.g. ``detection_ms 31.2 · direction both``."""
    facts = [f"{name} {_plain(value)}" for name, value in data.items() if value not in (None, "")]
    return " · ".join(facts[:FACTS_SHOWN])[:FACTS_LENGTH]


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
