"""Hybrid chains put together in their one canonical form, and checked.

Copies of a block. Branches may work on one buffer where the analysis says *ok* for every pair across them, and where
they start on one server; of all such groups the one that saves most bytes shares. Every other branch has a copy: of the
headers if that will do, else of everything. Inside a branch that has headers only there is nothing more to copy.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise, product

from apps.chains.engine.analysis import analyse
from apps.chains.engine.chain import Chain
from apps.chains.engine.compile import entry_server
from apps.chains.engine.hybrid import (
    Copy,
    Nf,
    Node,
    Obligation,
    Parallel,
    Series,
    Verdict,
    VerdictKind,
    leaves,
)

Pairs = Sequence[Sequence[Verdict | None]]


def series(parts: Iterable[Node]) -> Node:
    """Return parts one after the other; parts of parts are parts, and one part is itself.

    >>> series([Nf(0, "a"), series([Nf(1, "a"), Nf(2, "a")])]) == Series((Nf(0, "a"), Nf(1, "a"), Nf(2, "a")))
    True
    """
    flat: list[Node] = []
    for part in parts:
        flat += part.parts if isinstance(part, Series) else (part,)
    return flat[0] if len(flat) == 1 else Series(tuple(flat))


def parallel(branches: Iterable[Node], server: str) -> Node:
    """Return branches side by side, ordered by their lowest index; copies are ``with_copies``'s to choose."""
    flat: list[Node] = []
    for branch in branches:
        flat += branch.branches if isinstance(branch, Parallel) else (branch,)
    flat.sort(key=lambda branch: min(leaf.index for leaf in leaves(branch)))
    return flat[0] if len(flat) == 1 else Parallel(tuple(flat), (Copy.FULL,) * len(flat), server)


def needs_payload(chain: Chain, node: Node) -> bool:
    """Whether a copy of the headers alone would not do for a part."""
    return any(chain.nfs[leaf.index].profile.needs_payload for leaf in leaves(node))


def with_copies(chain: Chain, root: Node) -> Node:
    """Return the same graph with the cheapest right copies.

    Complexity: O(2^b) per block of b <= 12 branches, greedy beyond.
    """
    return _with_copies(chain, analyse(chain), root, True)


def _with_copies(chain: Chain, pairs: Pairs, node: Node, is_whole: bool) -> Node:
    if isinstance(node, Nf):
        return node
    if isinstance(node, Series):
        return Series(tuple(_with_copies(chain, pairs, part, is_whole) for part in node.parts))
    copies = _copies(chain, pairs, node, is_whole)
    branches = (
        _with_copies(chain, pairs, branch, is_whole and copy != Copy.HEADER)
        for branch, copy in zip(node.branches, copies, strict=True)
    )
    return Parallel(tuple(branches), copies, node.server)


def _copies(chain: Chain, pairs: Pairs, node: Parallel, is_whole: bool) -> tuple[Copy, ...]:
    needs = [is_whole and needs_payload(chain, branch) for branch in node.branches]
    sizes = [chain.packet_bytes if need else chain.header_bytes for need in needs]
    by_server: dict[str | None, list[int]] = {node.server: []}
    for number, branch in enumerate(node.branches):
        by_server.setdefault(entry_server(branch), []).append(number)
    groups = [_sharing(pairs, node.branches, members, sizes) for members in by_server.values()]
    shared = max(groups, key=lambda group: sum(sizes[number] for number in group))
    return tuple(
        Copy.SHARED if number in shared else Copy.FULL if need else Copy.HEADER
        for number, need in enumerate(needs)
    )


def _sharing(
    pairs: Pairs, branches: Sequence[Node], members: Sequence[int], sizes: Sequence[float]
) -> frozenset[int]:
    """Return the members that may work on one buffer and save most bytes."""
    free = {
        (a, b)
        for a, b in combinations(members, 2)
        if all(pair.kind == VerdictKind.OK for _, _, pair in across(pairs, branches[a], branches[b]))
    }
    if len(free) == len(members) * (len(members) - 1) // 2:
        return frozenset(members)
    best: frozenset[int] = frozenset()
    if len(members) > 12:
        for number in sorted(members, key=lambda number: -sizes[number]):
            if all((min(number, other), max(number, other)) in free for other in best):
                best |= {number}
        return best
    for count in range(1, len(members)):
        for group in combinations(members, count):
            if sum(sizes[n] for n in group) > sum(sizes[n] for n in best) and free.issuperset(
                combinations(group, 2)
            ):
                best = frozenset(group)
    return best


def across(pairs: Pairs, one: Node, other: Node) -> Iterator[tuple[int, int, Verdict]]:
    """Yield every pair of network functions, one of each part, in chain order, with its verdict."""
    for a, b in product([leaf.index for leaf in leaves(one)], [leaf.index for leaf in leaves(other)]):
        first, second = min(a, b), max(a, b)
        verdict = pairs[first][second]
        assert verdict is not None
        yield first, second, verdict


def blocks(node: Node) -> Iterator[Parallel]:
    """Yield every parallel block, outer ones first."""
    if isinstance(node, Parallel):
        yield node
    if not isinstance(node, Nf):
        for child in node.parts if isinstance(node, Series) else node.branches:
            yield from blocks(child)


def obligations(chain: Chain, root: Node) -> tuple[Obligation, ...]:
    """Return every pair that runs side by side with why that is allowed, in chain order. Complexity: O(n^2)."""
    pairs = analyse(chain)
    found = [
        Obligation(first, second, verdict, _is_advisory(chain, first, second))
        for block in blocks(root)
        for one, other in combinations(block.branches, 2)
        for first, second, verdict in across(pairs, one, other)
    ]
    return tuple(sorted(found, key=lambda duty: (duty.first_index, duty.second_index)))


def _is_advisory(chain: Chain, first: int, second: int) -> bool:
    return chain.nfs[first].profile.drops and chain.nfs[second].is_state_advisory


def is_valid_root(chain: Chain, root: Node) -> list[str]:
    """Return what is wrong with a hybrid chain, in words; nothing for one that keeps every obligation.

    Complexity: O(n^2 log n).
    """
    indexes = [leaf.index for leaf in leaves(root)]
    if sorted(indexes) != list(range(len(chain.nfs))):
        return ["each network function must be placed exactly once"]
    problems = [
        f"{nf.name} must run on {nf.pinned_server}, not on {leaf.server}"
        for leaf in leaves(root)
        if (nf := chain.nfs[leaf.index]).pinned_server not in ("", leaf.server)
    ]
    return problems + list(_problems(chain, analyse(chain), root, True))


def _problems(chain: Chain, pairs: Pairs, node: Node, is_whole: bool) -> Iterator[str]:
    if isinstance(node, Nf):
        return
    children = node.parts if isinstance(node, Series) else node.branches
    if len(children) < 2 or any(isinstance(child, type(node)) for child in children):
        yield "a series needs two parts that are no series, a block two branches that are no blocks"
    if isinstance(node, Series):
        for part in node.parts:
            yield from _problems(chain, pairs, part, is_whole)
        spans = [[leaf.index for leaf in leaves(part)] for part in node.parts]
        for before, after in pairwise(spans):
            if max(before) > min(after):
                names = chain.nfs[max(before)].name, chain.nfs[min(after)].name
                yield "{} runs before {}, against the order of the chain".format(*names)
        return
    if len(node.copies) != len(node.branches):
        yield "a block needs one kind of copy per branch"
        return
    yield from _block_problems(chain, pairs, node, is_whole)
    for branch, copy in zip(node.branches, node.copies, strict=True):
        yield from _problems(chain, pairs, branch, is_whole and copy != Copy.HEADER)


def _block_problems(chain: Chain, pairs: Pairs, node: Parallel, is_whole: bool) -> Iterator[str]:
    if all(copy == Copy.HEADER for copy in node.copies):
        yield "no branch of a block holds the whole packet"
    for branch, copy in zip(node.branches, node.copies, strict=True):
        if (copy == Copy.HEADER or not is_whole) and needs_payload(chain, branch):
            yield "a branch that needs the payload has a copy of the headers only"
    for (one, copy), (other, copy_of_other) in combinations(zip(node.branches, node.copies, strict=True), 2):
        for first, second, verdict in across(pairs, one, other):
            names = f"{chain.nfs[first].name} and {chain.nfs[second].name}"
            if verdict.kind == VerdictKind.NO:
                yield f"{names} run side by side: {verdict.reason}"
            elif verdict.kind != VerdictKind.OK and copy == copy_of_other == Copy.SHARED:
                yield f"{names} work on one buffer: {verdict.reason}"
