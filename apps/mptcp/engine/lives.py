"""Ends: connections that are over, and subflows silent for so long that they are forgotten.

A forgotten subflow may have held its siblings together, and may have been the one whose key names the connection: its
edges and its names pass to a sibling, so the connection, its id and its token live on.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.compiling import compiled, inlined
from apps.mptcp.engine.domain import Domain
from apps.mptcp.engine.packet_kernel import release
from apps.mptcp.engine.values import Change, ChangeKind

_CLOSED, _FASTCLOSED = layout.CLOSED, layout.FASTCLOSED


@inlined
def _is_over(rows: Any, following: Any, parity: Any, first: int) -> bool:
    """Return whether a row's connection is over.

    FASTCLOSE; DATA_FIN acknowledged in both directions; or in one, and all its subflows closed.
    """
    acked = 0
    is_closed = True
    row = first
    while True:
        flags = rows[row].flags
        if flags & np.uint32(_FASTCLOSED) != 0:
            return True
        is_closed = is_closed and flags & np.uint32(_CLOSED) != 0
        for side in range(2):
            if rows[row].space[side].is_fin_acked == 1:
                acked |= 1 << (side ^ int(parity[row]))
        row = following[row]
        if row == first:
            break
    return acked == 3 or (acked != 0 and is_closed)


@compiled
def _scan(rows: Any, used: int, following: Any, parity: Any, since_us: int, silent_us: int, ended: Any,
          silent: Any) -> Any:  # fmt: skip
    """Write rows touched since whose connections are over, and rows silent since; returns how many of each."""
    endings, silences = 0, 0
    for index in range(used):
        row = rows[index]
        if row.id < 0:
            continue
        if row.touched_us <= silent_us:
            silent[silences] = index
            silences += 1
        elif row.touched_us > since_us:
            is_acked = row.space[0].is_fin_acked == 1 or row.space[1].is_fin_acked == 1
            is_asked = is_acked or row.flags & np.uint32(_FASTCLOSED) != 0
            if is_asked and _is_over(rows, following, parity, index):
                ended[endings] = index
                endings += 1
    return endings, silences


def end_and_forget(domain: Domain, since_us: int) -> None:
    """Tell which connections ended since ``since_us``, and forget the silent. Complexity: O(subflows)."""
    table, groups = domain.table, domain.groups
    silent_us = int((domain.now_s - domain.config.forget_s) * 1e6)
    ended, silent = np.empty(table.used, np.int32), np.empty(table.used, np.int32)
    endings, silences = _scan(
        table.rows, table.used, groups.following, groups.parity, since_us, silent_us, ended, silent
    )
    for label in groups.label[ended[:endings]].tolist():
        if label not in domain.ended:
            end(domain, label)
    if silences:
        forget(domain, silent[:silences].tolist())


def end(domain: Domain, label: int) -> None:
    """Note that a connection is over."""
    domain.ended.add(label)
    domain.changes.append(Change(ChangeKind.CONNECTION_ENDED, domain.now_s, label))


def forget(domain: Domain, rows: list[int]) -> None:
    """Forget silent subflows; what they held together passes to siblings that are left."""
    gone = set(rows)
    groups, ids = domain.groups, domain.table.ids
    seen: set[int] = set()
    for row in rows:
        label = int(groups.label[row])
        if label in seen:
            continue
        seen.add(label)
        members = groups.members(row)
        left = sorted((member for member in members if member not in gone), key=lambda one: int(ids[one]))
        edges = domain.edges.of_rows(members) if len(members) > 1 else np.zeros(0, np.intp)
        _pass_on(domain, gone, left, edges)
        for member in members:
            if member in gone:
                heir = left[0] if left else -1
                flip = int(groups.parity[member] ^ groups.parity[left[0]]) if left else 0
                domain.hard.forget(member, heir, flip)
        _leave(domain, label, [member for member in members if member in gone], bool(left))
    if domain.edges.count > 64 and np.count_nonzero(domain.edges.kept["is_dead"]) * 2 > domain.edges.count:
        domain.edges.compact()


def _pass_on(domain: Domain, gone: set[int], left: list[int], edges: NDArray[np.intp]) -> None:
    """Replace edges to rows that are gone by edges between those left, as weak as the weakest replaced."""
    groups, weakest = domain.groups, None
    for index in edges.tolist():
        edge = domain.edges.all[index]
        if int(edge["i"]) in gone or int(edge["j"]) in gone:
            edge["is_dead"] = 1
            if weakest is None or edge["false_probability"] > weakest["false_probability"]:
                weakest = edge.copy()
    if weakest is None or len(left) < 2:
        return
    joined = {left[0]}
    pairs = [(int(edge["i"]), int(edge["j"])) for edge in domain.edges.all[edges] if not edge["is_dead"]]
    for row in left:
        _reach(joined, pairs)
        if row not in joined:
            domain.edges.inherit(weakest, row, left[0], int(groups.parity[row] ^ groups.parity[left[0]]))
            joined.add(row)


def _reach(joined: set[int], pairs: list[tuple[int, int]]) -> None:
    before = -1
    while len(joined) != before:
        before = len(joined)
        for one, other in pairs:
            if one in joined or other in joined:
                joined |= {one, other}


def _leave(domain: Domain, label: int, rows: list[int], is_known: bool) -> None:
    table = domain.table
    for row in rows:
        subflow = table.ids.item(row)
        if not table.flags.item(row) & _CLOSED:
            domain.changes.append(Change(ChangeKind.SUBFLOW_LEFT, domain.now_s, label, subflow=subflow))
        domain.groups.remove(row)
        release(table.rows, table.slots, row)
        table.free.append(row)
    if not is_known:
        if label not in domain.ended:
            domain.changes.append(Change(ChangeKind.CONNECTION_ENDED, domain.now_s, label))
        domain.ended.discard(label)
        domain.suspects.discard(label)
