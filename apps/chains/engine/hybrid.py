"""Hybrid chains: series-parallel graphs of network functions on servers, and plans made of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from apps.chains.engine.chain import Chain, CostConstants, Server
from apps.chains.engine.fields import Field


class Copy(StrEnum):
    """What a branch of a parallel block works on."""

    SHARED = "shared"
    HEADER = "header"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Nf:
    """Leaf: network function ``index`` of the chain, on ``server``."""

    index: int
    server: str


@dataclass(frozen=True, slots=True)
class Series:
    """Parts one after the other; at least two, none of them a ``Series``."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Parallel:
    """Branches side by side; at least two, none of them a ``Parallel``, ordered by their lowest index.

    Args:
        branches: what runs side by side.
        copies: per branch, what it works on. Exactly those that share one buffer are ``SHARED``; at least one
            branch holds the whole packet (``SHARED`` or ``FULL``).
        server: where the branches are merged. Branches on one server are mirrored and merged there first.
    """

    branches: tuple["Node", ...]
    copies: tuple[Copy, ...]
    server: str


Node = Nf | Series | Parallel


def leaves(node: Node) -> Iterator[Nf]:
    """Yield the network functions of a hybrid chain, left to right."""
    if isinstance(node, Nf):
        yield node
        return
    for child in node.parts if isinstance(node, Series) else node.branches:
        yield from leaves(child)


class VerdictKind(StrEnum):
    """Whether two network functions, first A then B, may run side by side."""

    OK = "ok"
    COPY_HEADER = "copy_header"
    COPY_FULL = "copy_full"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Answer for an ordered pair.

    Args:
        kind: the answer.
        rule: slug of the rule that decided, e.g. ``write_read``, ``drop_state``, ``flag_terminates``.
        fields: fields that decided; empty where none did.
        reason: one sentence an operator understands.
    """

    kind: VerdictKind
    rule: str
    fields: frozenset[Field]
    reason: str


@dataclass(frozen=True, slots=True)
class Obligation:
    """A pair that the plan runs side by side, with why that is allowed."""

    first_index: int
    second_index: int
    verdict: Verdict
    is_state_advisory: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """Predicted time in one part of the plan: a network function, a mirror, a merge, or a hop between servers."""

    label: str
    mean_us: float
    utilization: float = 0.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a chain is predicted to do at its rate. Latencies are microseconds, ``inf`` when overloaded."""

    mean_us: float
    p50_us: float
    p99_us: float
    stages: tuple[Stage, ...]
    wire_bytes_per_packet: float
    copied_bytes_per_packet: float
    cpu_us_per_packet: float
    servers_crossed: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A hybrid chain that is right and pays off, with all that is needed to check it.

    Args:
        root: the hybrid chain.
        sequential: the best plan without any parallel block, for comparison; ``sequential_root`` is its graph.
        is_optimal: whether the search was exhaustive; else ``gap_ratio`` bounds how much better a plan could be.
    """

    chain: Chain
    servers: tuple[Server, ...]
    constants: CostConstants
    root: Node
    prediction: Prediction
    sequential_root: Node
    sequential: Prediction
    obligations: tuple[Obligation, ...]
    is_optimal: bool
    gap_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Infeasible:
    """No plan exists, and why.

    Args:
        kind: ``capacity`` (no server can take it), ``link`` (a link is too slow) or ``slo`` (no plan is fast enough).
        witness: one sentence with the figures, for the operator.
        best: the best plan without that limit, where there is one.
    """

    kind: str
    witness: str
    best: Plan | None = None
