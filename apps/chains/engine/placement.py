"""Placement of many chains: demands over instances of network functions that chains share, and the servers they run on.

A *kind* is what may share an instance: a type with its settings. Chains split their packets by flow hash into
``buckets``; a bucket takes one way through the servers, and at each server one instance per network function, so
that an instance with state per flow sees whole flows. What keeps state that all packets share is *single*: one
instance in all, never split. A part of the hybrid chain that runs side by side (a *segment*) stays on one server.

An instance owns ``cores`` of its server, so it serves as an M/M/1 queue whatever runs beside it. Each chain has one
number, its ``busy_limit``: instances it uses must not be busier (see ``placement_tail``).

The objective, one term before the next: missed (weight of chains that are refused), crossed (servers that packets
visit, summed over admitted chains; for a chain that is split, the mean over its packets), mean latency (over packets;
what they spend in network functions and on the wire between servers), copies (instances that run).

Source: brief, "Traffic-level parallelism". Deviation: copies are instances of network functions; the copies of
packets that a hybrid chain makes are its plan's and do not change with the placement.
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from apps.chains.engine.chain import CostConstants, Server
from apps.chains.engine.hybrid import Node, Series, leaves

BUCKETS: Final = 256
# Busier than this an instance is not planned, target or not: a little more traffic, and its queue grows without end.
BUSY_MAX: Final = 0.9


@dataclass(frozen=True, slots=True)
class Kind:
    """What may share an instance.

    Args:
        key: unique, e.g. ``firewall`` or ``nat#1f2e``.
        type: slug in the catalogue.
        service_us: mean time of a packet on the instance's own cores; ``scv``: its variation.
        cores: what one instance owns of a server; 0 for what only waits.
        is_single: one instance in all, as its packets share state.
        has_flow_state: buckets that move leave state behind.
    """

    key: str
    type: str
    service_us: float
    scv: float = 1.0
    cores: float = 1.0
    is_single: bool = False
    has_flow_state: bool = False


@dataclass(frozen=True, slots=True)
class PlacedNf:
    """One network function of a demand; ``pinned_server`` is empty for anywhere."""

    name: str
    kind: Kind
    pinned_server: str = ""


@dataclass(frozen=True, slots=True)
class Demand:
    """One chain that asks for a place.

    Args:
        name: unique.
        nfs: in chain order.
        structure: its hybrid chain; servers in it mean nothing here.
        rate_pps: offered load, above 0.
        packet_bytes: mean frame size.
        slo_p99_us: target; ``None`` for none.
        weight: what a refusal costs, above 0.
        fixed_us: mirrors, merges and local hops on its longest way.
    """

    name: str
    nfs: tuple[PlacedNf, ...]
    structure: Node
    rate_pps: float
    packet_bytes: float = 724.0
    slo_p99_us: float | None = None
    weight: float = 1.0
    fixed_us: float = 0.0

    @property
    def segments(self) -> tuple[tuple[int, ...], ...]:
        """Indexes of network functions, per part that must stay on one server, in order."""
        parts = self.structure.parts if isinstance(self.structure, Series) else (self.structure,)
        return tuple(tuple(sorted(leaf.index for leaf in leaves(part))) for part in parts)

    @property
    def bps(self) -> float:
        """What the whole chain sends over a link."""
        return self.rate_pps * self.packet_bytes * 8


@dataclass(frozen=True, slots=True)
class PlacementTask:
    """Demands and what there is for them; ``buckets``: flow-hash buckets per chain."""

    demands: tuple[Demand, ...]
    servers: tuple[Server, ...]
    constants: CostConstants = field(default_factory=CostConstants)
    buckets: int = BUCKETS


@dataclass(frozen=True, slots=True)
class Way:
    """A share of a chain: its server per segment (by index), and how many buckets go there."""

    servers: tuple[int, ...]
    buckets: int

    @property
    def visits(self) -> int:
        """Servers a packet enters."""
        return 1 + sum(a != b for a, b in pairwise(self.servers))


# Per demand the ways of its buckets; empty for refused ones.
Ways = list[tuple[Way, ...]]


@dataclass(frozen=True, slots=True)
class Terms:
    """The objective; earlier terms count infinitely more."""

    missed: float
    crossed: float
    mean_us: float
    copies: float


@dataclass(frozen=True, slots=True)
class PlacedInstance:
    """One instance: its load as share of time, the limit its strictest chain sets, packets per second."""

    name: str
    kind: Kind
    server: str
    busy: float
    busy_limit: float
    rate_pps: float


@dataclass(frozen=True, slots=True)
class PlacedChain:
    """An admitted chain.

    Args:
        owners: per network function and bucket, the index of its instance.
        servers: those that its packets visit, sorted.
        crossed: servers a packet visits, mean over buckets.
        mean_us, p99_us: predicted; see ``placement_tail``.
        moved_buckets: over all network functions, buckets whose instance is not what it was.
    """

    demand: Demand
    owners: tuple[tuple[int, ...], ...]
    servers: tuple[str, ...]
    crossed: float
    mean_us: float
    p99_us: float
    busy_limit: float
    moved_buckets: int = 0


@dataclass(frozen=True, slots=True)
class RefusedChain:
    """A chain without a place. ``kind``: ``slo``, ``pin``, ``single``, ``link`` or ``capacity``."""

    demand: Demand
    kind: str
    witness: str


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """What a server is given: cores owned by instances, cores kept busy, traffic each direction."""

    server: Server
    cores_owned: float
    cores_busy: float
    link_bps: float


@dataclass(frozen=True, slots=True)
class Placement:
    """Who runs where.

    Args:
        bounds: per term, what no placement goes below that is as good in the terms before it.
        method: ``exact`` or ``decomposition``.
        is_optimal: proven best in every term (mean latency within the solver's tolerance).
        moved_buckets, kept_buckets: against the previous placement, over chains that are in both.
    """

    chains: tuple[PlacedChain, ...]
    refused: tuple[RefusedChain, ...]
    instances: tuple[PlacedInstance, ...]
    loads: tuple[ServerLoad, ...]
    terms: Terms
    bounds: Terms
    method: str
    is_optimal: bool
    moved_buckets: int = 0
    kept_buckets: int = 0

    @property
    def gaps(self) -> Terms:
        """Per term, how much better it could be at most: of the weight that could be admitted, else of what it is."""
        terms, bounds = self.terms, self.bounds
        whole = math.fsum(
            [row.demand.weight for row in self.chains] + [row.demand.weight for row in self.refused]
        )
        return Terms(
            max(0.0, terms.missed - bounds.missed) / max(whole - bounds.missed, 1e-12),
            _gap(terms.crossed, bounds.crossed),
            _gap(terms.mean_us, bounds.mean_us),
            _gap(terms.copies, bounds.copies),
        )


def _gap(value: float, bound: float) -> float:
    return max(0.0, (value - bound) / value) if value > 0 else 0.0
