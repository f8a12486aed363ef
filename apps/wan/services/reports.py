"""What gateways report in events: limits of every field. A report that breaks one is logged and passed over."""

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from apps.wan.services.rows import NAME, Batch, keeps_limits, number, text
from nfvportal.events.models import Event

logger = logging.getLogger(__name__)
MAX_AT_S: Final = 4_102_444_800  # the year 2100
MAX_MS: Final = 1e9
MAX_MOVES: Final = 255
_DIRECTION = re.compile("rx|tx|both|")
_STATE = re.compile("up|down|hold_down")
_INDEX = re.compile("[0-9]{1,3}")

_at_s = number(0, MAX_AT_S)
_ms = number(0, MAX_MS)
_link = text(NAME)
_direction = text(_DIRECTION)
_index = text(_INDEX)


def _is_map(value: object) -> bool:
    return isinstance(value, dict) and all(_index(index) and _link(link) for index, link in value.items())


def _is_moves(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) <= MAX_MOVES and all(isinstance(move, dict) for move in value)
    )


FAILED: Final = Batch(
    "link_failed",
    {
        "link": _link,
        "direction": _direction,
        "last_heard_at_s": _at_s,
        "detected_at_s": _at_s,
        "acted_at_s": _at_s,
        "detection_ms": _ms,
        "action_ms": _ms,
        "moves": _is_moves,
    },
    {"map": _is_map},
)
RESTORED: Final = Batch("link_restored", {"link": _link, "up_at_s": _at_s}, {"map": _is_map})
LINK_STATE: Final = Batch(
    "link_state", {"name": _link, "state": text(_STATE), "direction": _direction, "since_s": _at_s}, {}
)


def report_of(batch: Batch, event: Event) -> dict[str, Any] | None:
    """Return what an event says, ``None`` when it breaks a limit."""
    if keeps_limits(batch, event.data):
        return dict(event.data)
    logger.warning("event %s of %s is no %s", event.pk, event.device_name, batch.name)
    return None


def link_states_of(event: Event) -> list[Mapping[str, Any]]:
    """Return what a gateway says of its links, by name; links in a state that does not count yet are left out."""
    links = event.data.get("links")
    told = [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    return sorted(
        (link for link in told if keeps_limits(LINK_STATE, link)), key=lambda link: str(link["name"])
    )
