"""Operator tables: one flat form of a plan that emulator, differential test and data plane all execute.

A packet carries the id of the operator that is next. Who holds the packet looks the operator up, does it, and hands the
result to the operators after it; where one of them lives on another server, the packet travels there with its id.

    ingress -> nf | mirror -> ... -> merge -> ... -> egress
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from apps.chains.engine.fields import Field
from apps.chains.engine.hybrid import Copy
from nfvportal.lib.errors import InvalidInputError

Word = TypeVar("Word", bound=StrEnum)
OPERATORS_MAX = 255
NEXT_MAX = 32


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


def operator_table_to_json(table: OperatorTable) -> dict[str, Any]:
    """Return a table as devices get it; what is empty is left out of a row."""
    return {"first": table.first, "operators": [_row_to_json(operator) for operator in table.operators]}


def _row_to_json(operator: Operator) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": operator.id,
        "kind": operator.kind.value,
        "server": operator.server,
        "next": [
            {"operator": hop.operator, "branch": hop.branch, "copy": hop.copy.value} for hop in operator.next
        ],
    }
    if operator.nf_index is not None:
        row["nf_index"] = operator.nf_index
    if operator.merge is not None:
        rule = operator.merge
        row["merge"] = {
            "branch_count": rule.branch_count,
            "base": rule.base,
            "overlays": [[name.value, branch] for name, branch in rule.overlays],
            "ttl_decrements": rule.ttl_decrements,
            "writes": [[name.value for name in Field if name in fields] for fields in rule.writes],
        }
    return row


def operator_table_from_json(data: Mapping[str, Any]) -> OperatorTable:
    """Return the table that a device was given.

    Raises:
        InvalidInputError: a row lacks something, is there twice, or names an operator that is not there.
    """
    rows = _list("operators", data.get("operators"), 1, OPERATORS_MAX)
    operators = tuple(_row_from_json(f"operators[{index}]", row) for index, row in enumerate(rows))
    ids = {operator.id for operator in operators}
    if len(ids) != len(operators):
        raise InvalidInputError("operators", "must have ids that differ")
    first = _whole("first", data.get("first"), 1, OPERATORS_MAX)
    named = {first} | {hop.operator for operator in operators for hop in operator.next}
    if not named <= ids:
        raise InvalidInputError("operators", f"must include {', '.join(map(str, sorted(named - ids)))}")
    return OperatorTable(first, operators)


def _row_from_json(at: str, row: object) -> Operator:
    if not isinstance(row, Mapping):
        raise InvalidInputError(at, "must be an object")
    kind = _word(f"{at}.kind", row.get("kind"), OperatorKind)
    server = row.get("server")
    if not isinstance(server, str) or not 0 < len(server) <= 64:
        raise InvalidInputError(f"{at}.server", "must be text of 1 to 64 characters")
    hops = _list(f"{at}.next", row.get("next", []), 0 if kind == OperatorKind.EGRESS else 1, NEXT_MAX)
    if len(hops) > 1 and kind != OperatorKind.MIRROR:
        raise InvalidInputError(f"{at}.next", "must be one hop; only a mirror has several")
    is_nf, is_merge = kind == OperatorKind.NF, kind == OperatorKind.MERGE
    return Operator(
        id=_whole(f"{at}.id", row.get("id"), 1, OPERATORS_MAX),
        kind=kind,
        server=server,
        next=tuple(_hop(f"{at}.next[{index}]", hop) for index, hop in enumerate(hops)),
        nf_index=_whole(f"{at}.nf_index", row.get("nf_index"), 0, OPERATORS_MAX) if is_nf else None,
        merge=_merge(f"{at}.merge", row.get("merge")) if is_merge else None,
    )


def _hop(at: str, data: object) -> Hop:
    if not isinstance(data, Mapping):
        raise InvalidInputError(at, "must be an object")
    return Hop(
        _whole(f"{at}.operator", data.get("operator"), 1, OPERATORS_MAX),
        _whole(f"{at}.branch", data.get("branch", 0), 0, NEXT_MAX - 1),
        _word(f"{at}.copy", data.get("copy", Copy.SHARED.value), Copy),
    )


def _merge(at: str, data: object) -> MergeRule:
    if not isinstance(data, Mapping):
        raise InvalidInputError(at, "must be an object")
    count = _whole(f"{at}.branch_count", data.get("branch_count"), 1, NEXT_MAX)
    overlays = []
    for index, item in enumerate(_list(f"{at}.overlays", data.get("overlays", []), 0, len(Field))):
        name, branch = _list(f"{at}.overlays[{index}]", item, 2, 2)
        overlays.append(
            (
                _word(f"{at}.overlays[{index}][0]", name, Field),
                _whole(f"{at}.overlays[{index}][1]", branch, 0, count - 1),
            )
        )
    writes = _list(f"{at}.writes", data.get("writes"), count, count)
    return MergeRule(
        branch_count=count,
        base=_whole(f"{at}.base", data.get("base"), 0, count - 1),
        overlays=tuple(overlays),
        ttl_decrements=_whole(f"{at}.ttl_decrements", data.get("ttl_decrements", 0), 0, 255),
        writes=tuple(
            frozenset(
                _word(f"{at}.writes[{index}]", name, Field)
                for name in _list(f"{at}.writes[{index}]", names, 0, len(Field))
            )
            for index, names in enumerate(writes)
        ),
    )


def _list(at: str, value: object, low: int, high: int) -> list[Any]:
    if not isinstance(value, list) or not low <= len(value) <= high:
        raise InvalidInputError(at, f"must be a list of {low} to {high} items")
    return value


def _whole(at: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidInputError(at, f"must be a whole number from {low} to {high}")
    return value


def _word(at: str, value: object, words: type[Word]) -> Word:
    try:
        return words(str(value))
    except ValueError as error:
        raise InvalidInputError(at, f"must be one of {', '.join(words)}") from error
