"""Faults of the lab: inject and clear, each with an event, so that failovers can be measured from their cause."""

from typing import Any

from django.conf import settings

from nfvportal.events.services import event_publish
from nfvportal.lab.client import LabClient


def lab() -> LabClient:
    """Return a client of the lab of this portal."""
    return LabClient(settings.LAB_SOCKET)


def fault_inject(*, link: str, kind: str, value: float | None, actor: str) -> float:
    """Break a link of the lab and return when it happened (epoch seconds).

    Raises:
        InvalidInputError: link, kind or value is not one of the lab's.
        LabUnavailable, LabRefused: there is no lab, or it would not.
    """
    answer = lab().fault(link, kind, value=value)
    at_s = float(answer["at_s"])
    _tell("lab.fault_started", link, at_s, {"kind": kind, "value": value, "actor": actor})
    return at_s


def fault_clear(*, link: str, actor: str) -> float:
    """Mend a link of the lab and return when it happened; mending a whole link does no harm.

    Raises:
        InvalidInputError: the lab has no such link.
        LabUnavailable, LabRefused: there is no lab, or it would not.
    """
    at_s = float(lab().clear(link)["at_s"])
    _tell("lab.fault_cleared", link, at_s, {"actor": actor})
    return at_s


def _tell(type: str, link: str, at_s: float, data: dict[str, Any]) -> None:
    event_publish(type=type, at_s=at_s, severity="info", subject=link, data=data)
