"""What travels on the live topic ``wan``. Times are epoch seconds, rates bit/s, ratios 0..1.

Every event is a set of upserts: whoever applies it twice, or onto a newer snapshot, ends in the same state. An event
holds any of the keys of ``WanChange``; ``telemetry`` maps a link's name to its newest ``LinkMeasurement``.
"""

from typing import Any, Literal, TypedDict, get_args

LinkStateName = Literal["unknown", "up", "down", "hold_down"]
LINK_STATES: tuple[LinkStateName, ...] = get_args(LinkStateName)


class LinkMeasurement(TypedDict):
    """What is measured four times a second. ``goodput_bps`` is the rate of the busier direction."""

    name: str
    at_s: float
    goodput_bps: float | None
    rx_bps: float | None
    tx_bps: float | None
    rtt_ms: float | None
    jitter_ms: float | None
    loss_ratio: float | None


class LinkData(TypedDict, total=False):
    """A link; events carry only the fields that changed, and always ``name``."""

    name: str
    provider: str
    capacity_bps: int
    delay_ms: float | None
    state: LinkStateName
    direction: str
    since_s: float | None
    fault: str
    at_s: float | None
    goodput_bps: float | None
    rx_bps: float | None
    tx_bps: float | None
    rtt_ms: float | None
    jitter_ms: float | None
    loss_ratio: float | None


class SubnetData(TypedDict):
    """A virtual subnet."""

    index: int
    prefix: str
    is_default: bool


class MapData(TypedDict):
    """Which link each virtual subnet rides on; ``number`` is that of the newest epoch."""

    number: int
    mapping: dict[str, str]
    reason: str
    actor: str
    at_s: float


class SubflowData(TypedDict):
    """A live Multipath TCP subflow and the link it rides on."""

    token: int
    local: str
    remote: str
    index: int | None
    link: str
    rtt_ms: float


class FailoverData(TypedDict):
    """A failover with its cost; ``None`` is not known (yet)."""

    id: int
    link: str
    direction: str
    fault_at_s: float | None
    last_heard_at_s: float
    detected_at_s: float
    acted_at_s: float
    detection_ms: float
    action_ms: float
    transport_ms: float | None
    lost_ms: float | None
    stall_ms: float | None
    moves: list[dict[str, Any]]
    reported_by: list[str]
    restored_at_s: float | None
    acknowledged_at_s: float | None
    acknowledged_by: str


class AgentData(TypedDict):
    """The agent of a device that takes part."""

    device: str
    status: str
    last_seen_s: float | None


class GoodputPoint(TypedDict):
    """One second of one link."""

    link: str
    at_s: float
    bps: float


class WanSnapshot(TypedDict):
    """Everything the WAN page shows."""

    links: list[LinkData]
    virtual_subnets: list[SubnetData]
    map: MapData | None
    subflows: list[SubflowData]
    failovers: list[FailoverData]
    agents: list[AgentData]
    goodput: list[GoodputPoint]


class WanChange(TypedDict, total=False):
    """What an event may carry."""

    link: LinkData
    map: MapData
    subflows: list[SubflowData]
    failover: FailoverData
    agent: AgentData
