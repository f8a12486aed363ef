"""What travels on the live topics ``mptcp`` and ``mptcp_connection:<id>``. Times are epoch seconds, ratios 0..1.

Numbered events are upserts or whole values: whoever applies one twice, or onto a newer snapshot, ends in the same
state.

``mptcp``: snapshot ``MptcpSnapshot``; events

| event | data |
|---|---|
| ``connection_changed`` | ``{"connection": ConnectionRow}``; a row in state ``gone`` leaves the list |
| ``alarm_changed`` | ``{"alarm": AlarmData}``, raised or acknowledged |
| ``capture_changed`` | ``{"capture": CaptureData}`` |
| ``capture_removed`` | ``{"id": int}`` |

Telemetry (coalesced): ``connection:<id>`` -> ``ConnectionRow``, ``domain:<site>`` -> ``DomainData``. The list holds the
newest ``CONNECTIONS_SHOWN`` connections; what a removal leaves room for comes with the next snapshot.

``mptcp_connection:<id>``: snapshot ``{"connection": ConnectionData}``; event ``connection_changed`` with the same.
Points of the picture are asked for by REST: they are too many to be told with each change.
"""

from typing import Any, TypedDict

CONNECTIONS_SHOWN = 200
ALARMS_SHOWN = 20
CAPTURES_SHOWN = 20


class ConnectionRow(TypedDict):
    """A connection in the list. ``tokens`` are eight hexadecimal digits, as ``ss -M`` shows them."""

    id: int
    domain: str
    capture: int | None
    state: str
    client: str
    server: str
    subflow_count: int
    confidence: float
    is_blockable: bool
    is_blocked: bool
    coverage_ab: float | None
    coverage_ba: float | None
    tokens: list[str]
    evidence_kinds: list[str]
    addresses: list[str]
    alarm_count: int
    merged_into: int | None
    first_s: float
    last_s: float


class SubflowData(TypedDict):
    """A subflow; ``seen_by`` names observation points."""

    id: int
    epoch: int
    a: str
    a_port: int
    b: str
    b_port: int
    state: str
    is_a_client: bool | None
    packet_count: int
    seen_by: list[str]
    first_s: float
    last_s: float


class EvidenceData(TypedDict):
    """Why a subflow belongs to its connection, in words."""

    kind: str
    subflow: int
    other: int | None
    false_probability: float
    words: str
    at_s: float


class VerdictData(TypedDict):
    """A verdict on a connection; open while ``ended_at_s`` is ``None``. ``devices`` says how far each gateway is."""

    id: int
    connection: int
    reason: str
    is_forced: bool
    is_open: bool
    created_at_s: float
    created_by: str
    expires_at_s: float
    ended_at_s: float | None
    ended_by: str
    end_reason: str
    gateways: list[str]


class ConnectionData(ConnectionRow):
    """A connection with everything its page shows but the points."""

    subflows: list[SubflowData]
    evidence: list[EvidenceData]
    verdicts: list[VerdictData]
    alarms: list["AlarmData"]


class AlarmData(TypedDict):
    """What deserves an operator's eye."""

    id: int
    kind: str
    words: str
    connection: int | None
    domain: str
    at_s: float
    acknowledged_at_s: float | None
    acknowledged_by: str


class CaptureData(TypedDict):
    """An uploaded capture; ``report`` holds what was found, see ``services/captures.py``."""

    id: int
    file_name: str
    size_bytes: int
    sha256: str
    state: str
    job: str
    options: dict[str, Any]
    report: dict[str, Any]
    error: str
    created_at_s: float
    created_by: str
    finished_at_s: float | None


class DomainData(TypedDict):
    """What one association domain does."""

    name: str
    record_count: int
    dropped_count: int
    dropped_at_s: float | None
    subflow_count: int
    worked_at_s: float | None
    worked_by: str
    sensors: list[str]


class LookingData(TypedDict):
    """A device that can look at packets, and what it last said of itself."""

    device: str
    site: str
    status: str
    error: str
    told: dict[str, Any]
    told_at_s: float | None


class SensorData(LookingData):
    """A device that can sample: what it is told to, ``None`` for nothing."""

    interfaces: list[str]
    interface: str | None
    sampling_ratio: float | None


class CollectorData(LookingData):
    """A device that can take routers' samples: of whom, and where it listens.

    ``exporters`` empty: it hears nobody; ports and limit are then those it would begin with. At a port that is
    ``None`` nothing is heard.
    """

    exporters: list[str]
    sflow_port: int | None
    ipfix_port: int | None
    datagram_rate_max: int
    is_applied: bool


class MptcpSnapshot(TypedDict):
    """Everything the list page shows."""

    connections: list[ConnectionRow]
    domains: list[DomainData]
    alarms: list[AlarmData]
    captures: list[CaptureData]
