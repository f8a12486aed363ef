"""Chains and what they may run on, as the planner takes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from apps.chains.engine.profiles import ActionProfile

NFS_MAX = 32
SERVERS_MAX = 128


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """Time one packet occupies a network function.

    Args:
        mean_us: mean, microseconds, above 0.
        scv: squared coefficient of variation; 0 constant, 1 exponential.
        is_waiting: whether it waits (for a disk, a peer, an accelerator) instead of using a processor core.
    """

    mean_us: float
    scv: float = 1.0
    is_waiting: bool = False


@dataclass(frozen=True, slots=True)
class NfInstance:
    """One network function of a chain.

    Args:
        name: unique in its chain, e.g. ``edge-firewall``.
        type: slug in the catalogue, e.g. ``firewall``.
        profile: what it does.
        service: how long a packet occupies it.
        params: settings of its implementation (JSON values).
        pinned_server: must run there; empty for anywhere.
        is_state_advisory: the operator lets its state differ from the sequential chain's; recorded in the plan.
    """

    name: str
    type: str
    profile: ActionProfile
    service: ServiceTime
    params: Mapping[str, object] = field(default_factory=dict)
    pinned_server: str = ""
    is_state_advisory: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """A service function chain in the order the operator drew it.

    Args:
        name: unique, e.g. ``north-south``.
        nfs: 1 to ``NFS_MAX`` network functions.
        rate_pps: offered load, packets per second.
        packet_bytes: mean frame size; ``header_bytes``: what a header-only copy carries.
        slo_p99_us: target for the 99th percentile of latency through the chain; ``None`` for none.
    """

    name: str
    nfs: tuple[NfInstance, ...]
    rate_pps: float
    packet_bytes: float = 724.0
    header_bytes: float = 64.0
    slo_p99_us: float | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A machine that runs network functions.

    Args:
        name: device name.
        cores: processor cores that network functions may use.
        link_bps: rate of its link into the fabric, each direction.
    """

    name: str
    cores: float
    link_bps: float = 10e9


@dataclass(frozen=True, slots=True)
class CostConstants:
    """What the plumbing costs, microseconds; calibrated from live counters and stored with every plan.

    Args:
        hop_us: from one server (or the classifier) to another, one way.
        local_hop_us: into a network function on the same server and out again.
        mirror_us, mirror_branch_us: fixed part, and per branch.
        copy_us_per_kib: copying a packet's bytes.
        merge_us, merge_branch_us: fixed part, and per branch.
        margin_ratio: a parallel block must be better than the sequence by this share to be taken.
        tail_us: what the 99th percentile has beyond the queues' model, of whatever graph: packets wait for processors
            and for pauses of the machine as well. 0 until it was measured.
    """

    hop_us: float = 30.0
    local_hop_us: float = 11.0
    mirror_us: float = 1.1
    mirror_branch_us: float = 0.5
    copy_us_per_kib: float = 0.2
    merge_us: float = 1.4
    merge_branch_us: float = 1.0
    margin_ratio: float = 0.05
    tail_us: float = 0.0
