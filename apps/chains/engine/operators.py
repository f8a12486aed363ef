"""Operator tables: one flat form of a plan that emulator, differential test and data plane all execute.

A packet carries the id of the operator that is next. Who holds the packet looks the operator up, does it, and hands the
result to the operators after it; where one of them lives on another server, the packet travels there with its id.

    ingress -> nf | mirror -> ... -> merge -> ... -> egress
"""

from dataclasses import dataclass, field
from enum import StrEnum

from apps.chains.engine.fields import Field
from apps.chains.engine.hybrid import Copy

OPERATORS_MAX = 255


class OperatorKind(StrEnum):
    """What an operator does."""

    NF = "nf"
    MIRROR = "mirror"
    MERGE = "merge"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True)
class Hop:
    """Where a packet goes next.

    Args:
        operator: id of the next operator.
        branch: which branch of that operator's merge the packet is; 0 elsewhere.
        copy: what travels (only after a mirror).
    """

    operator: int
    branch: int = 0
    copy: Copy = Copy.SHARED


@dataclass(frozen=True, slots=True)
class MergeRule:
    """How the branches of one block become one packet again.

    Args:
        branch_count: branches expected.
        base: branch whose bytes and structure are taken.
        overlays: per field, the branch whose value is the last written in chain order (never ``base``).
        ttl_decrements: to subtract from the TTL of ``base``: decrements made in the other branches.
        writes: per branch, the fields its network functions declare to write; others must be unchanged.
    """

    branch_count: int
    base: int
    overlays: tuple[tuple[Field, int], ...] = ()
    ttl_decrements: int = 0
    writes: tuple[frozenset[Field], ...] = ()


@dataclass(frozen=True, slots=True)
class Operator:
    """One row of the table. Ids start at 1; ``next`` has several hops only after a mirror, none after egress."""

    id: int
    kind: OperatorKind
    server: str
    next: tuple[Hop, ...] = ()
    nf_index: int | None = None
    merge: MergeRule | None = None


@dataclass(frozen=True, slots=True)
class OperatorTable:
    """A plan, flattened. ``first`` is the operator that the classifier names in a new packet."""

    first: int
    operators: tuple[Operator, ...]
    by_id: dict[int, Operator] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {operator.id: operator for operator in self.operators})
