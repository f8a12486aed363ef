"""What travels on the live topics ``chains`` and ``chain:<name>``. Times ``_at_s`` are epoch seconds, others ISO 8601.

Numbered events are upserts or whole values: whoever applies one twice, or onto a newer snapshot, ends in the same
state.

``chains``: snapshot ``ChainsSnapshot``; events ``chain_changed`` ``{"chain": ChainRow}``, ``chain_removed``
``{"name": str}``, ``placement_ready`` ``{"placement": summary}`` (nothing of it is in the snapshot: pages that show
placements ask REST); telemetry: name of the chain -> ``ChainRate``.

``chain:<name>``: snapshot ``ChainSnapshot``; events

| event | data |
|---|---|
| ``chain_changed`` | ``{"chain": ChainData}`` |
| ``chain_removed`` | ``{"name": str}`` |
| ``plan_ready`` | ``{"plan": plan or infeasible}`` |
| ``deployment_changed`` | ``{"deployment": DeploymentData or None, "live_plan": plan or None}`` |
| ``alarm`` | ``{"alarm": AlarmData}``, raised or cleared |
| ``trace_ready`` | ``{"trace": TraceData}`` |

Telemetry (coalesced, four frames a second at most): ``hops`` -> ``{"rows": [HopData, ...]}``, all hops of the
deployment; ``latency`` -> ``LatencyPoint``.
"""

from typing import Any, Literal, TypedDict, get_args

from apps.chains.chain_definition import MatchJson, NfJson
from apps.chains.engine.fields import Field

PACKET_FIELDS = [field.value for field in Field]
ChainStatusName = Literal["draft", "planned", "pending", "applying", "live", "failed", "removed"]
SloStateName = Literal["none", "unknown", "met", "missed"]
PlanKindName = Literal["plan", "infeasible"]
CHAIN_STATUSES = get_args(ChainStatusName)
SLO_STATES = get_args(SloStateName)
PLAN_KINDS = get_args(PlanKindName)
PLACEMENT_KINDS = ["placement", "infeasible"]


class NfTypeData(TypedDict):
    """A type of network function."""

    slug: str
    title: str
    description: str
    profile: dict[str, Any]
    service: dict[str, Any]
    provenance: str
    implementation: str
    is_builtin: bool
    can_run: bool
    version: int
    updated_at: str
    updated_by: str


class DeploymentData(TypedDict):
    """A plan on the devices."""

    id: int
    chain: str
    plan: int
    chain_version: int
    path: int | None
    epoch: int
    status: str
    is_active: bool
    servers: list[str]
    devices: dict[str, dict[str, Any]]
    told: dict[str, Any]
    previous: int | None
    error: str
    reason: str
    created_at: str
    created_by: str
    live_at: str | None
    ended_at: str | None


class ChainData(TypedDict):
    """A chain as its operator drew it, and where it stands."""

    name: str
    title: str
    nfs: list[NfJson]
    match: MatchJson
    rate_pps: float
    packet_bytes: float
    slo_p99_ms: float | None
    replan: str
    version: int
    updated_at: str
    updated_by: str
    deployment: DeploymentData | None


class ChainRate(TypedDict):
    """What a chain does now; ``None`` when nothing was measured in the last seconds."""

    at_s: float | None
    measured_pps: float | None
    latency_us_p50: float | None
    latency_us_p99: float | None


class ChainRow(ChainRate):
    """A chain in the list of chains."""

    name: str
    title: str
    nf_types: list[str]
    rate_pps: float
    slo_p99_ms: float | None
    replan: str
    status: ChainStatusName
    slo_state: SloStateName
    alarm_count: int
    version: int
    updated_at: str
    updated_by: str


# Counters of one operator: ``operator, epoch, device, at_s, kind, nf, in, out, drop, copy, merge, timeout, lost,
# late, conflict, latency_us_p50, latency_us_p99, latency_bins, queue``. Counters count since the epoch began; latencies
# are those of the last second, ``None`` when no packet passed. ``latency_bins[i]`` counts packets of 2^i up to 2^(i+1)
# microseconds, of network functions from entering to leaving, of merges from the first branch to the last; of at most
# 2000 packets a second.
HopData = dict[str, Any]


class LatencyPoint(TypedDict):
    """One second of a chain; ``bins[i]`` counts packets of 2^i up to 2^(i+1) microseconds."""

    at_s: float
    epoch: int
    rate_pps: float | None
    latency_us_p50: float | None
    latency_us_p95: float | None
    latency_us_p99: float | None
    bins: list[int]
    counters: dict[str, Any]


class LatencyData(TypedDict):
    """The newest second, and the last minutes without bins and counters."""

    newest: LatencyPoint | None
    history: list[dict[str, float | None]]


class AlarmData(TypedDict):
    """Something to look at; open while ``cleared_at_s`` is ``None``."""

    id: int
    chain: str
    kind: str
    key: str
    message: str
    data: dict[str, Any]
    raised_at_s: float
    cleared_at_s: float | None


class TraceData(TypedDict):
    """The path of one packet."""

    nonce: str
    packet_id: int | None
    hops: list[dict[str, Any]]
    at_s: float


class SteeringData(TypedDict):
    """What copies frames on one device. ``probed``: back end of a switch -> ``ok`` or why it is not used."""

    device: str
    role: str
    primitive: str
    probed: dict[str, str]
    group_count: int
    at_s: float


class ChainsSnapshot(TypedDict):
    """All chains."""

    chains: list[ChainRow]


class ChainSnapshot(TypedDict):
    """One chain with everything its page shows. ``plan`` is the newest, ``live_plan`` the one that packets take."""

    chain: ChainData
    plan: dict[str, Any] | None
    live_plan: dict[str, Any] | None
    deployment: DeploymentData | None
    hops: list[HopData]
    latency: LatencyData
    alarms: list[AlarmData]
