"""From rows to values: connections as people and other functions see them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.confidence import confidence_of, coverage_of
from apps.mptcp.engine.domain import Domain
from apps.mptcp.engine.evidence import KINDS, words
from apps.mptcp.engine.records import address_text
from apps.mptcp.engine.values import HARD, Connection, Evidence, EvidenceKind, FlowKey, Subflow, SubflowState

_FIELDS: Final = (
    "id", "a_hi", "a_lo", "a_port", "b_hi", "b_lo", "b_port", "epoch", "flags", "first_us", "last_us", "packets",
    "observers",
)  # fmt: skip
_CLIENT: Final = layout.CLIENT_A | layout.CLIENT_B


def connection_of(domain: Domain, row: int) -> Connection:
    """Return the connection of a row."""
    ids = domain.table.ids
    members = sorted(domain.groups.members(row), key=ids.item)
    found = domain.edges.of_rows(members) if len(members) > 1 else np.zeros(0, np.intp)
    return _connections(domain, np.array(members, np.intp), found)[0]


def connection_list(domain: Domain) -> list[Connection]:
    """Return all connections, by id. Complexity: O(n log n)."""
    live = domain.table.live_rows()
    rows = live[np.lexsort((domain.table.ids[live], domain.groups.label[live]))]
    return _connections(domain, rows, np.flatnonzero(domain.edges.kept["is_dead"] == 0))


def _connections(domain: Domain, rows: NDArray[np.intp], edges: NDArray[np.intp]) -> list[Connection]:
    """Return the connections that some rows form.

    Args:
        rows: all of each connection, one after the other, the oldest subflow first.
        edges: indexes of their live edges.
    """
    if not len(rows):
        return []
    labels = domain.groups.label[rows]
    starts = np.flatnonzero(np.diff(labels, prepend=-1)).tolist()
    subflows, oldest = _subflows(domain, rows), rows[starts].tolist()
    tokens = _tokens(domain, rows)
    why: dict[int, list[Evidence]] = {}
    for label, evidence in zip(
        domain.groups.label[domain.edges.all["i"][edges]].tolist(), _evidence(domain, edges), strict=True
    ):
        why.setdefault(label, []).append(evidence)
    return [
        _connection(domain, label, subflows[start:stop], why.get(label, []), coverage, tokens.get(label, ()))
        for label, start, stop, coverage in zip(
            labels[starts].tolist(),
            starts,
            [*starts[1:], len(rows)],
            coverage_of(domain, oldest),
            strict=True,
        )
    ]


def _connection(domain: Domain, label: int, subflows: list[Subflow], evidence: list[Evidence],
                coverage: tuple[float | None, float | None], tokens: tuple[int, ...]) -> Connection:  # fmt: skip
    return Connection(
        id=label,
        subflows=tuple(subflows),
        evidence=tuple(evidence),
        confidence=confidence_of(one.false_probability for one in evidence),
        is_blockable=all(one.kind in HARD or one.kind is EvidenceKind.BOTH_SPACES for one in evidence),
        is_ended=label in domain.ended,
        coverage=coverage,
        tokens=tokens,
        first_s=min(one.first_s for one in subflows),
        last_s=max(one.last_s for one in subflows),
    )


def _subflows(domain: Domain, rows: NDArray[np.intp]) -> list[Subflow]:
    """Return subflows in the order of their rows, a column at a time."""
    records = domain.table.rows
    spaces = records["space"]
    columns = (records[name][rows].tolist() for name in _FIELDS)
    ranges = (spaces[name][rows].tolist() for name in ("points", "lo", "hi"))
    seen_by: dict[int, tuple[int, ...]] = {}
    found = []
    for (
        (
            subflow,
            a_hi,
            a_lo,
            a_port,
            b_hi,
            b_lo,
            b_port,
            epoch,
            flags,
            first_us,
            last_us,
            packets,
            observers,
        ),
        (points, low, high),
    ) in zip(zip(*columns, strict=True), zip(*ranges, strict=True), strict=True):
        if observers not in seen_by:
            seen_by[observers] = _seen_by(domain, observers)
        found.append(
            Subflow(
                id=subflow,
                flow=FlowKey(address_text(a_hi, a_lo), a_port, address_text(b_hi, b_lo), b_port),
                epoch=epoch,
                state=_state(domain, flags, last_us / 1e6),
                is_a_client=bool(flags & layout.CLIENT_A) if flags & _CLIENT else None,
                first_s=first_us / 1e6,
                last_s=last_us / 1e6,
                packet_count=packets,
                seen_by=seen_by[observers],
                dsn_low=(low[0] if points[0] else None, low[1] if points[1] else None),
                dsn_high=(high[0] if points[0] else None, high[1] if points[1] else None),
            )
        )
    return found


def _state(domain: Domain, flags: int, last_s: float) -> SubflowState:
    if flags & layout.CLOSED:
        return SubflowState.CLOSED
    return SubflowState.IDLE if domain.now_s - last_s > domain.config.idle_s else SubflowState.ACTIVE


def _seen_by(domain: Domain, bits: int) -> tuple[int, ...]:
    return tuple(sorted(observer for bit, observer in enumerate(domain.table.observers) if bits >> bit & 1))


def _evidence(domain: Domain, edges: NDArray[np.intp]) -> list[Evidence]:
    """Return edges in words."""
    kept, ids = domain.edges.all[edges], domain.table.ids
    columns = (
        kept[name].tolist()
        for name in ("kind", "number", "false_probability", "gap", "rivals", "is_inherited", "at_s")
    )
    return [
        Evidence(
            KINDS[kind],
            subflow,
            other,
            chance,
            words(KINDS[kind], number, chance, gap, rivals, bool(inherited)),
            at_s,
        )
        for subflow, other, (kind, number, chance, gap, rivals, inherited, at_s) in zip(
            ids[kept["i"]].tolist(), ids[kept["j"]].tolist(), zip(*columns, strict=True), strict=True
        )
    ]


def _tokens(domain: Domain, rows: NDArray[np.intp]) -> dict[int, tuple[int, ...]]:
    """Return the tokens of some rows' connections by label; the client's first, as far as roles are known."""
    held = domain.hard.tokens_of(rows)
    labels, flags = domain.groups.label[rows].tolist(), domain.table.flags[rows].tolist()
    found: dict[int, dict[int, int]] = {}
    for k, token, side in held:
        found.setdefault(labels[k], {}).setdefault(token, 0 if flags[k] & layout.CLIENT_A << side else 1)
    return {
        label: tuple(sorted(tokens, key=lambda token: (tokens[token], token)))
        for label, tokens in found.items()
    }
