"""Blocks that lie on one server altogether: their merges need no table.

Behind a mirror whose branches are network functions of ours on the mirror's own server, nothing is lost or overtaken:
their links answer every packet, in order. So the answers of a packet are counted down, and the last one merges it. The
table is for what comes over the wire, or from network functions that are not ours.
"""

from collections.abc import Mapping

from apps.chains.agent.specs import PathSpec
from apps.chains.agent.worker_link import Item, WorkerLink
from apps.chains.engine.merging import Entry
from apps.chains.engine.operators import MergeRule, Operator, OperatorKind
from apps.chains.engine.packet import UnreadPacket

Links = Mapping[tuple[int, int, int], WorkerLink]


class Join:
    """One packet in such a block: what its branches answered so far.

    Args:
        item: as it came to the mirror.
    """

    __slots__ = ("items", "left", "merge", "rule")

    def __init__(self, merge: Operator, rule: MergeRule, item: Item) -> None:
        self.merge = merge
        self.rule = rule
        self.left = rule.branch_count
        self.items = [item] * rule.branch_count

    def alike(self) -> Item | None:
        """Return the base branch's item if the merge would give its bytes, since all branches hold the same."""
        base = self.items[self.rule.base]
        data = base.data
        if data is None or base.is_traced or self.rule.ttl_decrements:
            return None
        for item in self.items:
            other = item.data
            is_same = other is data or other == data
            if not is_same and (other is None or not item.is_header_only or not data.startswith(other)):
                return None
        return base

    def entries(self) -> list[Entry]:
        """Return what the branches answered as a merge takes it."""
        return [
            (
                item.packet_id,
                None if item.data is None else UnreadPacket(item.data, item.is_header_only),
                item.at_us,
                item.entered_ns // 1000,
                item.dropped_by,
            )
            for item in self.items
        ]


def local_merge(spec: PathSpec, server: str, links: Links, mirror: Operator) -> Operator | None:
    """Return the merge of a mirror whose block needs no table; ``None`` for any other mirror."""
    ends = {_end_of_branch(spec, server, links, hop.operator) for hop in mirror.next}
    end = ends.pop() if len(ends) == 1 else None
    # Of a block over several servers, this may be one server's part of the mirror.
    if end is None or end.merge is None or end.merge.branch_count != len(mirror.next):
        return None
    return None if mirror.server != server or mirror.id in spec.groups else end


def _end_of_branch(spec: PathSpec, server: str, links: Links, first: int) -> Operator | None:
    """Return the merge behind network functions of ours on this server; ``None`` where anything else is between."""
    operator = spec.table.by_id[first]
    while operator.kind is OperatorKind.NF:
        assert operator.nf_index is not None
        link = links.get((spec.path, spec.epoch, operator.nf_index))
        if operator.server != server or link is None or not link.is_recoverable:
            return None
        operator = spec.table.by_id[operator.next[0].operator]
    is_end = operator.kind is OperatorKind.MERGE and operator.server == server and operator.id != first
    return operator if is_end else None
