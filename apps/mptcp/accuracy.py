"""What sampling costs: closed formulas of theory, and the comparison of two readings of one capture. Pure.

Source: the brief's table: a subflow's samples are binomial; two spans with a and b samples interleave unless all of one
come before all of the other, which has probability 2/C(a+b, a).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Final

from apps.mptcp.engine.values import Connection, FlowKey

RATIOS: Final = (0.1, 0.01, 0.005, 0.001)
PACKETS: Final = tuple(round(10 ** (step / 6)) for step in range(6, 37))  # 10 to 10^6
PAIRS_MAX: Final = 2_000_000
EXACT_MAX: Final = 500
_TAIL: Final = 1e-9


def seen_probability(packet_count: float, ratio: float) -> float:
    """Return how likely at least one of some packets is sampled.

    >>> round(seen_probability(460, 0.01), 3)
    0.99
    """
    return 1.0 - (1.0 - ratio) ** packet_count if ratio < 1 else 1.0


def packets_needed(ratio: float, probability: float = 0.99) -> int:
    """Return from how many packets on a subflow is seen with a probability.

    >>> packets_needed(0.01)
    459
    """
    return 1 if ratio >= 1 else math.ceil(math.log(1.0 - probability) / math.log(1.0 - ratio))


def missed_probability(a_count: int, b_count: int) -> float:
    """Return how likely the samples of two siblings on one span do not overlap; 1 where either has none.

    >>> missed_probability(1, 1), missed_probability(3, 3)
    (1.0, 0.1)
    """
    if a_count < 1 or b_count < 1:
        return 1.0
    count = a_count + b_count
    if count > EXACT_MAX:  # the exact number no longer fits a float
        logarithm = math.lgamma(count + 1) - math.lgamma(a_count + 1) - math.lgamma(b_count + 1)
        return min(1.0, 2.0 * math.exp(-logarithm))
    return min(1.0, 2.0 / math.comb(count, a_count))


@cache
def expected_missed(packet_count: float, ratio: float) -> float:
    """Return how often two siblings of so many packets each, both seen, do not overlap by the samples of one window.

    This is what overlap of ranges alone misses: tolerance, handshakes and later windows make up for most of it.
    Complexity: O(m^2), m the samples that are at all likely.
    """
    weights = _poisson(packet_count * ratio)
    seen = [(count, weight) for count, weight in enumerate(weights) if count and weight]
    total = sum(weight for _, weight in seen)
    if total <= 0:
        return 1.0
    missed = sum(w * v * missed_probability(a, b) for a, w in seen for b, v in seen)
    return missed / total**2


def _poisson(mean: float) -> list[float]:
    """Return weights of 0, 1, ... up to where they no longer count."""
    if mean > 60:  # what is left there is far below any line of a picture
        return [0.0] * int(mean) + [1.0]
    weights, weight, count = [], math.exp(-mean), 0
    while weight > _TAIL or count < mean:
        weights.append(weight)
        count += 1
        weight *= mean / count
    return weights


@dataclass(frozen=True, slots=True)
class Comparison:
    """A poorer reading of a capture beside the full one.

    Args:
        recall: share of the pairs of siblings, both seen, that were joined; ``None``: there was no such pair.
        precision: share of the joined pairs that are siblings; ``None``: none was joined.
        unseen_ratio: share of the subflows that were not seen at all: not hidden in the recall.
        exact_ratio: share of the connections with two or more subflows seen, that were found exactly.
    """

    recall: float | None
    precision: float | None
    unseen_ratio: float | None
    exact_ratio: float | None
    pair_count: int


def compare(full: Iterable[Connection], poorer: Iterable[Connection]) -> Comparison:
    """Compare by subflows, which are 4-tuples of all lives: a poorer reading cannot tell lives of one 4-tuple apart."""
    truth = [_flows(connection) for connection in full]
    found = [_flows(connection) for connection in poorer]
    seen: set[FlowKey] = set().union(*found)
    everything: set[FlowKey] = set().union(*truth)
    visible = [flows & seen for flows in truth]
    true_pairs, found_pairs = _pairs(visible), _pairs(found)
    common = len(true_pairs & found_pairs)
    many = {frozenset(flows) for flows in visible if len(flows) > 1}
    exact = len(many & {frozenset(flows) for flows in found})
    return Comparison(
        recall=common / len(true_pairs) if true_pairs else None,
        precision=common / len(found_pairs) if found_pairs else None,
        unseen_ratio=1 - len(everything & seen) / len(everything) if everything else None,
        exact_ratio=exact / len(many) if many else None,
        pair_count=len(true_pairs),
    )


def _flows(connection: Connection) -> set[FlowKey]:
    return {subflow.flow for subflow in connection.subflows}


def _pairs(groups: Iterable[set[FlowKey]]) -> set[tuple[FlowKey, FlowKey]]:
    pairs: set[tuple[FlowKey, FlowKey]] = set()
    for flows in groups:
        pairs.update(combinations(sorted(flows), 2))
        if len(pairs) > PAIRS_MAX:
            break
    return pairs
