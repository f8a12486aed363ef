"""What plans are compared with: everything in parallel that may be, and greedy segments; both on one server."""

from apps.chains.engine.analysis import analyse
from apps.chains.engine.blocks import parallel, series, with_copies
from apps.chains.engine.chain import Chain
from apps.chains.engine.hybrid import Nf, Node, VerdictKind


def refused_pairs(chain: Chain) -> set[tuple[int, int]]:
    """Return the pairs (i, j), i < j, that may not run side by side. Complexity: O(n^2)."""
    return {
        (i, j)
        for i, row in enumerate(analyse(chain))
        for j, verdict in enumerate(row)
        if verdict is not None and verdict.kind == VerdictKind.NO
    }


def full_parallel_root(chain: Chain, server: str) -> Node:
    """Return the chain with as much in parallel as may be; whether that pays is not asked.

    Parts that no refusal connects are branches of one block. A connected part is cut where that leaves the longest
    critical path of hops shortest, and both sides are treated alike.

    Complexity: O(n^4), less by remembering parts.
    """
    refused = refused_pairs(chain)
    known: dict[tuple[int, ...], tuple[int, Node]] = {}

    def best(part: tuple[int, ...]) -> tuple[int, Node]:
        if part in known:
            return known[part]
        groups = _connected(part, refused)
        if len(part) == 1:
            answer: tuple[int, Node] = (1, Nf(part[0], server))
        elif len(groups) > 1:
            found = [best(group) for group in groups]
            answer = (max(depth for depth, _ in found), parallel([node for _, node in found], server))
        else:
            halves = [(best(part[:cut]), best(part[cut:])) for cut in range(1, len(part))]
            front, rest = min(halves, key=lambda pair: pair[0][0] + pair[1][0])
            answer = (front[0] + rest[0], series([front[1], rest[1]]))
        known[part] = answer
        return answer

    return with_copies(chain, best(tuple(range(len(chain.nfs))))[1])


def _connected(part: tuple[int, ...], refused: set[tuple[int, int]]) -> list[tuple[int, ...]]:
    groups: list[set[int]] = []
    for index in part:
        touching = [
            group
            for group in groups
            if any((min(index, other), max(index, other)) in refused for other in group)
        ]
        groups = [group for group in groups if group not in touching]
        groups.append({index}.union(*touching))
    return sorted(tuple(sorted(group)) for group in groups)


def greedy_segments_root(chain: Chain, server: str) -> Node:
    """Return contiguous segments: a network function joins the last block while all of it lets it.

    Complexity: O(n^2).
    """
    refused = refused_pairs(chain)
    segments: list[list[int]] = []
    for j in range(len(chain.nfs)):
        if segments and not any((i, j) in refused for i in segments[-1]):
            segments[-1].append(j)
        else:
            segments.append([j])
    parts = (parallel([Nf(index, server) for index in segment], server) for segment in segments)
    return with_copies(chain, series(parts))
