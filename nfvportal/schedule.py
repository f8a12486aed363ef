"""TABLE: every task that repeats, how often, and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Periodic:
    """A repeating task. ``every_s`` is the period in seconds; a run that waited longer than one period is dropped."""

    task: str
    every_s: float
    queue: str
    why: str


SCHEDULE: tuple[Periodic, ...] = (
    Periodic(
        "events.sweep", 2, "control", "dispatch events whose reactions were lost with a broker or a process"
    ),
    Periodic("events.retention", 3600, "telemetry", "keep the event log within its limit"),
    Periodic("jobs.sweep", 5, "control", "run jobs again whose worker died"),
    Periodic("inventory.sweep_offline", 5, "control", "mark devices offline whose agent fell silent"),
    Periodic("health.heartbeat_control", 5, "control", "show that beat and the control queue live"),
    Periodic("health.heartbeat_engine", 5, "engine", "show that the engine queue lives"),
    Periodic("health.heartbeat_telemetry", 5, "telemetry", "show that the telemetry queue lives"),
    Periodic("chains.reconcile", 10, "control", "compare desired states with the chains that are deployed"),
    Periodic("chains.replan", 5, "engine", "compare deployed chains with what they really do"),
    Periodic("chains.retention", 3600, "telemetry", "keep the chains' latencies within their limit"),
    Periodic(
        "mptcp.sweep",
        2,
        "engine",
        "take up association that a worker left; let time pass where all is silent",
    ),
    Periodic("mptcp.deliver", 5, "telemetry", "send again what subscribers did not take"),
    Periodic("mptcp.expire", 5, "control", "end verdicts whose time is over"),
    Periodic(
        "mptcp.follow", 10, "control", "let sensors and collectors of devices that moved see for the new site"
    ),
    Periodic(
        "mptcp.retention", 3600, "telemetry", "keep captures and history of connections within their limits"
    ),
    Periodic("wan.reconcile", 10, "control", "compare map and desired states with what the gateways report"),
    Periodic("wan.rollup", 60, "telemetry", "one row per link and minute from the samples"),
    Periodic("wan.partitions", 3600, "telemetry", "make tomorrow's partitions, drop those past retention"),
)


def beat_entries(table: Iterable[Periodic]) -> dict[str, dict[str, Any]]:
    """Return Celery beat's view of the table."""
    return {
        row.task: {
            "task": row.task,
            "schedule": row.every_s,
            "options": {"queue": row.queue, "expires": max(row.every_s, 2)},
        }
        for row in table
    }
