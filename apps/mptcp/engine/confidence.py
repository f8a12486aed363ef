"""How sure an answer is, and how complete.

An edge's false probability is the expected number of strangers that would have passed its test: the chance of one
stranger times the strangers in play. With one true partner, and e strangers expected beside it, a partner taken is
false with probability e / (1 + e). A connection is right when all its edges are.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from apps.mptcp.engine.coverage import find_surplus, shares
from apps.mptcp.engine.domain import Domain
from apps.mptcp.engine.evidence import FIRST_SOFT, mark_soft
from apps.mptcp.engine.values import AlarmKind

PARTS: Final = 8
SUSPECTS_MAX: Final = 256


def false_share(expected: float) -> float:
    """Return the probability that an accepted partner is a stranger when ``expected`` strangers pass the test.

    >>> false_share(0.0), false_share(1.0)
    (0.0, 0.5)
    """
    return expected / (1.0 + expected)


def confidence_of(false_probabilities: Iterable[float]) -> float:
    """Return the probability that all edges are right; 1 for a subflow alone."""
    sure = 1.0
    for probability in false_probabilities:
        sure *= 1.0 - probability
    return sure


def coverage_of(domain: Domain, oldest: Sequence[int]) -> list[tuple[float | None, float | None]]:
    """Return the share of bytes seen per direction of connections, a to b of their oldest subflows first.

    Args:
        oldest: the row of each connection's oldest subflow.
    """
    groups, out = domain.groups, np.empty((len(oldest), 2))
    rows = np.array(oldest, np.int32)
    shares(domain.table.rows, groups.following, groups.parity, rows, np.empty(2), out)
    return [
        (None if math.isnan(there) else there, None if math.isnan(back) else back)
        for there, back in out.tolist()
    ]


def suspect(domain: Domain) -> None:
    """Raise an alarm for connections whose subflows carried clearly more than there was to carry (T8).

    Each second an eighth of the subflows. Complexity: O(edges + subflows / 8).
    """
    table, groups = domain.table, domain.groups
    is_soft = np.zeros(table.used, np.uint8)
    if not mark_soft(domain.edges.all, domain.edges.count, FIRST_SOFT, groups.following, is_soft):
        return
    found = np.empty(SUSPECTS_MAX, np.int32)
    count = find_surplus(
        table.rows,
        table.used,
        groups.following,
        groups.parity,
        is_soft,
        int(domain.now_s) % PARTS,
        PARTS,
        np.empty(2),
        found,
    )
    for row in found[:count].tolist():
        label = int(groups.label[row])
        if label not in domain.suspects:
            domain.suspects.add(label)
            seen = [share for share in coverage_of(domain, [row])[0] if share is not None]
            words = f"The subflows carried {max(seen):.0%} of the connection's bytes: one of them may be a stranger"
            domain.alarm(AlarmKind.FALSE_MERGE_SUSPECTED, row, words)
