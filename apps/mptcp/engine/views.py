"""From rows to values: connections as people and other functions see them."""

from typing import Any

import numpy as np

from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.confidence import confidence_of, coverage_of
from apps.mptcp.engine.domain import Domain
from apps.mptcp.engine.evidence import KINDS, words
from apps.mptcp.engine.hard_links import derive
from apps.mptcp.engine.records import address_text
from apps.mptcp.engine.values import HARD, Connection, Evidence, EvidenceKind, FlowKey, Subflow, SubflowState


def subflow_of(domain: Domain, row: int) -> Subflow:
    """Return one subflow."""
    record = domain.table.rows[row]
    flags = int(record["flags"])
    flow = FlowKey(
        address_text(int(record["a_hi"]), int(record["a_lo"])),
        int(record["a_port"]),
        address_text(int(record["b_hi"]), int(record["b_lo"])),
        int(record["b_port"]),
    )
    is_a_client = True if flags & layout.CLIENT_A else False if flags & layout.CLIENT_B else None
    last_s = int(record["last_us"]) / 1e6
    state = SubflowState.ACTIVE
    if flags & layout.CLOSED:
        state = SubflowState.CLOSED
    elif domain.now_s - last_s > domain.config.idle_s:
        state = SubflowState.IDLE
    ranges = [
        (int(space["lo"]), int(space["hi"])) if space["points"] else (None, None) for space in record["space"]
    ]
    return Subflow(
        id=int(record["id"]),
        flow=flow,
        epoch=int(record["epoch"]),
        state=state,
        is_a_client=is_a_client,
        first_s=int(record["first_us"]) / 1e6,
        last_s=last_s,
        packet_count=int(record["packets"]),
        seen_by=_seen_by(domain, int(record["observers"])),
        dsn_low=(ranges[0][0], ranges[1][0]),
        dsn_high=(ranges[0][1], ranges[1][1]),
    )


def _seen_by(domain: Domain, bits: int) -> tuple[int, ...]:
    return tuple(sorted(observer for bit, observer in enumerate(domain.table.observers) if bits >> bit & 1))


def evidence_of(domain: Domain, edge: Any) -> Evidence:
    """Return an edge in words."""
    rows = domain.table.rows
    return Evidence(
        kind=KINDS[int(edge["kind"])],
        subflow=int(rows[int(edge["i"])]["id"]),
        other=int(rows[int(edge["j"])]["id"]),
        false_probability=float(edge["false_probability"]),
        words=words(edge),
        at_s=float(edge["at_s"]),
    )


def connection_of(domain: Domain, row: int) -> Connection:
    """Return the connection of a row."""
    members = domain.groups.members(row)
    found = domain.edges.of_rows(members).tolist() if len(members) > 1 else []
    return _connection(domain, members, found)


def connection_list(domain: Domain) -> list[Connection]:
    """Return all connections, by id. Complexity: O(n log n)."""
    live = domain.table.live_rows()
    labels, first = np.unique(domain.groups.label[live], return_index=True)
    alive = np.flatnonzero(domain.edges.kept["is_dead"] == 0)
    of_edge = domain.groups.label[domain.edges.kept["i"][alive]]
    order = np.argsort(of_edge, kind="stable")
    starts = np.searchsorted(of_edge[order], labels, "left").tolist()
    stops = np.searchsorted(of_edge[order], labels, "right").tolist()
    sorted_edges = alive[order]
    return [
        _connection(domain, domain.groups.members(row), sorted_edges[start:stop].tolist())
        for row, start, stop in zip(live[first].tolist(), starts, stops, strict=True)
    ]


def _connection(domain: Domain, members: list[int], edges: list[int]) -> Connection:
    subflows = sorted((subflow_of(domain, member) for member in members), key=lambda one: one.id)
    evidence = tuple(evidence_of(domain, domain.edges.all[index]) for index in edges)
    label = int(domain.groups.label[members[0]])
    return Connection(
        id=label,
        subflows=tuple(subflows),
        evidence=evidence,
        confidence=confidence_of(one.false_probability for one in evidence),
        is_blockable=all(one.kind in HARD or one.kind is EvidenceKind.BOTH_SPACES for one in evidence),
        is_ended=label in domain.ended,
        coverage=coverage_of(domain, members[0]),
        tokens=_tokens(domain, members),
        first_s=min(one.first_s for one in subflows),
        last_s=max(one.last_s for one in subflows),
    )


def _tokens(domain: Domain, members: list[int]) -> tuple[int, ...]:
    """Return tokens of a connection; the client's first, as far as roles are known."""
    found: dict[int, int] = {}
    for member in members:
        record = domain.table.rows[member]
        flags = int(record["flags"])
        for side in range(2):
            if flags & layout.KEY_A << side and not flags & layout.MIRRORED:
                token, _ = derive(int(record["key"][side]), 0 if flags & layout.VERSION_0 else 1)
                found.setdefault(token, 0 if flags & layout.CLIENT_A << side else 1)
        for map_name, name, side in domain.hard.names_of.get(member, ()):
            if map_name == "tokens":
                found.setdefault(name, 0 if flags & layout.CLIENT_A << side else 1)
    return tuple(sorted(found, key=lambda token: (found[token], token)))
