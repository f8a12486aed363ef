"""TABLE: how much an operator should care about what an agent reports. What is not listed is ``info``."""

from typing import Literal

SeverityName = Literal["info", "warning", "alarm"]

SEVERITIES: dict[str, SeverityName] = {
    "wan.link_failed": "alarm",
    "wan.all_silent": "alarm",
    "chains.undeclared_write": "alarm",
    "chains.nf_restarted": "warning",
    "inventory.device_offline": "warning",
    "inventory.agent_refused": "warning",
}


def severity_of(event_type: str) -> SeverityName:
    """Return the severity of an event type."""
    return SEVERITIES.get(event_type, "info")
