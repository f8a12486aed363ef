"""From a hybrid chain to the operator table that emulator, differential test and data plane execute.

Where things live. A mirror is where the packet is before its block. Branches that start on one other server get one
frame together, and a local mirror there; if all of them start on one server, that mirror is the only one. In the same
way branches that end on one server are merged there first, and the results on the block's own server. Whatever is on
the same server as the mirror or merge of the whole block takes part in that one: fewer operators, same bytes.

Merge rules. Whichever branch changes headers or lengths is the base, since its structure cannot be laid over another
one; the analysis allows one such branch. Else the base is a branch that holds the whole packet. For every declared
field the branch with the last writer in chain order has the word: an overlay, unless that is the base. TTLs are
decremented in all branches alike, so what the others took off is subtracted from the TTL that the result starts with.

Source: brief, "Merge" and "Beneficial" (one copy on the wire per server, merge locally, then globally).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from apps.chains.engine.analysis import decrements_ttl, writes_of
from apps.chains.engine.chain import Chain
from apps.chains.engine.fields import Field
from apps.chains.engine.hybrid import Copy, Nf, Node, Parallel, Series, leaves
from apps.chains.engine.operators import OPERATORS_MAX, Hop, MergeRule, Operator, OperatorKind, OperatorTable
from nfvportal.lib.errors import InvalidInputError

CLASSIFIER: Final = "classifier"


def entry_server(node: Node) -> str | None:
    """Return the server on which all of a part begins; ``None`` where its first branches are on several.

    >>> entry_server(Parallel((Nf(0, "a"), Nf(1, "a")), (Copy.SHARED, Copy.SHARED), "b"))
    'a'
    """
    if isinstance(node, Nf):
        return node.server
    if isinstance(node, Series):
        return entry_server(node.parts[0])
    servers = {entry_server(branch) for branch in node.branches}
    return servers.pop() if len(servers) == 1 else None


def exit_server(node: Node) -> str:
    """Return the server that holds the packet after a part.

    >>> exit_server(Parallel((Nf(0, "a"), Nf(1, "b")), (Copy.SHARED, Copy.FULL), "b"))
    'b'
    """
    if isinstance(node, Nf):
        return node.server
    if isinstance(node, Series):
        return exit_server(node.parts[-1])
    servers = {exit_server(branch) for branch in node.branches}
    return servers.pop() if len(servers) == 1 else node.server


@dataclass(slots=True, eq=False)
class _Draft:
    """An operator before ids are given out. ``hops``: who is next, as which branch, with what."""

    kind: OperatorKind
    server: str
    hops: list[tuple["_Draft", int, Copy]] = field(default_factory=list)
    nf_index: int | None = None
    merge: MergeRule | None = None


@dataclass(frozen=True, slots=True)
class _Input:
    """What comes into a merge: the network functions behind it, and whether it holds the whole packet."""

    indexes: tuple[int, ...]
    is_whole: bool


def merge_rule(chain: Chain, inputs: Sequence[_Input]) -> MergeRule:
    """Return how a block's branches become one packet."""
    last: dict[Field, tuple[int, int]] = {}
    for branch, entry in enumerate(inputs):
        for index in entry.indexes:
            for name in writes_of(chain.nfs[index].profile):
                last[name] = max(last.get(name, (-1, -1)), (index, branch))
    final = {name: branch for name, (_, branch) in last.items()}

    def fitness(branch: int) -> tuple[bool, bool, bool, int, int]:
        entry = inputs[branch]
        changes = any(chain.nfs[index].profile.changes_structure for index in entry.indexes)
        words = sum(owner == branch for owner in final.values())
        return changes, entry.is_whole, final.get(Field.PAYLOAD) == branch, words, -branch

    base = max(range(len(inputs)), key=fitness)
    overlays = tuple((name, final[name]) for name in Field if name in final and final[name] != base)
    decrements = [
        sum(decrements_ttl(chain.nfs[index].profile) for index in entry.indexes) for entry in inputs
    ]
    ttl_from = final.get(Field.IP_TTL, base)
    return MergeRule(
        branch_count=len(inputs),
        base=base,
        overlays=overlays,
        ttl_decrements=sum(decrements) - decrements[ttl_from],
        writes=tuple(_declared(chain, entry.indexes) for entry in inputs),
    )


def _declared(chain: Chain, indexes: Sequence[int]) -> frozenset[Field]:
    fields: set[Field] = set()
    for index in indexes:
        profile = chain.nfs[index].profile
        fields |= profile.writes | ({Field.IP_TTL} if decrements_ttl(profile) else set())
    return frozenset(fields)


@dataclass(frozen=True, slots=True)
class _Compiler:
    chain: Chain

    def build(self, node: Node, where: str, after: _Draft, branch: int, is_whole: bool) -> _Draft:
        """Return the first operator of a part; ``where`` is the packet before, ``after`` as ``branch`` what follows."""
        if isinstance(node, Nf):
            return _Draft(OperatorKind.NF, node.server, [(after, branch, Copy.SHARED)], nf_index=node.index)
        if isinstance(node, Series):
            places = [where, *(exit_server(part) for part in node.parts[:-1])]
            for part, place in zip(reversed(node.parts), reversed(places), strict=True):
                after, branch = self.build(part, place, after, branch, is_whole), 0
            return after
        return self._block(node, where, after, branch, is_whole)

    def _block(self, node: Parallel, where: str, after: _Draft, branch: int, is_whole: bool) -> _Draft:
        wholes = [is_whole and copy != Copy.HEADER for copy in node.copies]
        ends = self._merges(node, wholes, after, branch)
        groups = groups_of(node, where)
        home = where if len(groups) > 1 else groups[0][0]
        starts: dict[int, _Draft] = {}
        for server, members in groups:
            for member in members:
                end, number = ends[member]
                # A block inside a branch that starts on several servers is mirrored from where the packet is.
                starts[member] = self.build(node.branches[member], server, end, number, wholes[member])
        top = _Draft(OperatorKind.MIRROR, home)
        for server, members in groups:
            if server == home or len(members) == 1:
                top.hops += [(starts[member], 0, node.copies[member]) for member in members]
                continue
            copies = [node.copies[member] for member in members]
            local = _Draft(OperatorKind.MIRROR, server)
            local.hops = [(starts[m], 0, copy) for m, copy in zip(members, _after_wire(copies), strict=True)]
            top.hops.append((local, 0, _together(copies)))
        return top

    def _merges(
        self, node: Parallel, wholes: Sequence[bool], after: _Draft, branch: int
    ) -> list[tuple[_Draft, int]]:
        """Return, per branch, the merge it ends in and its number there."""
        home = exit_server(node)
        by_server: dict[str, list[int]] = {}
        for member, part in enumerate(node.branches):
            by_server.setdefault(exit_server(part), []).append(member)
        bundles: list[list[int]] = []
        for server, members in by_server.items():
            bundles += [[member] for member in members] if server == home else [members]
        bundles.sort(key=lambda members: members[0])
        inputs = [self._input(node, members, wholes) for members in bundles]
        top = _Draft(OperatorKind.MERGE, home, [(after, branch, Copy.SHARED)])
        top.merge = merge_rule(self.chain, inputs)
        ends: dict[int, tuple[_Draft, int]] = {}
        for number, members in enumerate(bundles):
            if len(members) == 1:
                ends[members[0]] = (top, number)
                continue
            local = _Draft(
                OperatorKind.MERGE, exit_server(node.branches[members[0]]), [(top, number, Copy.SHARED)]
            )
            local.merge = merge_rule(self.chain, [self._input(node, [member], wholes) for member in members])
            ends |= {member: (local, place) for place, member in enumerate(members)}
        return [ends[member] for member in range(len(node.branches))]

    def _input(self, node: Parallel, members: Sequence[int], wholes: Sequence[bool]) -> _Input:
        indexes = tuple(leaf.index for member in members for leaf in leaves(node.branches[member]))
        return _Input(indexes, any(wholes[member] for member in members))


def groups_of(node: Parallel, where: str) -> list[tuple[str, list[int]]]:
    """Return the branches by the server they start on; those that start on several start where the packet is."""
    groups: dict[str, list[int]] = {}
    for member, part in enumerate(node.branches):
        groups.setdefault(entry_server(part) or where, []).append(member)
    return list(groups.items())


def _together(copies: Sequence[Copy]) -> Copy:
    """Return what one frame must carry for several branches."""
    return next((copy for copy in (Copy.SHARED, Copy.FULL) if copy in copies), Copy.HEADER)


def _after_wire(copies: Sequence[Copy]) -> list[Copy]:
    """Return the copies of a local mirror: what arrived is a copy already, so one branch takes it as it is."""
    taken = list(copies)
    if Copy.SHARED not in taken:
        taken[taken.index(_together(taken))] = Copy.SHARED
    return taken


def compile_plan(chain: Chain, root: Node) -> OperatorTable:
    """Return the operator table of a hybrid chain.

    Args:
        chain: whose network functions ``root`` places, each exactly once.
        root: a hybrid chain; that it keeps the order obligations is ``planner.is_valid_root``'s to say.

    Returns:
        Operators with ids from 1, every one after those before it; the last is the egress at the classifier.

    Raises:
        InvalidInputError: a network function is missing, unknown or placed twice, or the table has too many rows.

    Complexity: O(n^2) for n network functions.
    """
    indexes = sorted(leaf.index for leaf in leaves(root))
    if indexes != list(range(len(chain.nfs))):
        raise InvalidInputError(
            "root", f"must place each of the {len(chain.nfs)} network functions exactly once"
        )
    egress = _Draft(OperatorKind.EGRESS, CLASSIFIER)
    first = _Compiler(chain).build(root, CLASSIFIER, egress, 0, True)
    order = list(_in_order(first))
    if len(order) > OPERATORS_MAX:
        raise InvalidInputError("root", f"must need at most {OPERATORS_MAX} operators, not {len(order)}")
    ids = {id(draft): number for number, draft in enumerate(order, 1)}
    return OperatorTable(
        first=1,
        operators=tuple(
            Operator(
                id=ids[id(draft)],
                kind=draft.kind,
                server=draft.server,
                next=tuple(Hop(ids[id(then)], branch, copy) for then, branch, copy in draft.hops),
                nf_index=draft.nf_index,
                merge=draft.merge,
            )
            for draft in order
        ),
    )


def _in_order(first: _Draft) -> Iterator[_Draft]:
    """Yield every draft after all of those that lead to it, branches in their order."""
    awaited: dict[int, int] = {}
    seen: set[int] = set()
    stack = [first]
    while stack:
        draft = stack.pop()
        if id(draft) in seen:
            continue
        seen.add(id(draft))
        for then, _, _ in draft.hops:
            awaited[id(then)] = awaited.get(id(then), 0) + 1
            stack.append(then)
    ready = [first]
    while ready:
        draft = ready.pop()
        yield draft
        for then, _, _ in reversed(draft.hops):
            awaited[id(then)] -= 1
            if not awaited[id(then)]:
                ready.append(then)
