"""How well an association agrees with the truth: pairs of subflows, whole connections, and what was not seen."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from apps.mptcp.engine.values import Connection, FlowKey
from tests.support.mptcp_traffic import Recording, TrueSubflow


@dataclass(frozen=True, slots=True)
class Score:
    """Agreement with the truth.

    Args:
        recall: share of the true pairs among the seen subflows that are in one connection; 1 where there is no pair.
        precision: share of the pairs in one connection that are true; 1 where there is no pair.
        exact_ratio: share of the true connections whose seen subflows are one connection, with no other in it.
        unseen_ratio: share of the true subflows of which nothing was seen.
        pair_count: true pairs among seen subflows. wrong_pair_count, missed_pair_count: what makes the ratios.
        unknown_count: subflows that the sockets never told of; not judged.
    """

    recall: float
    precision: float
    exact_ratio: float
    unseen_ratio: float
    pair_count: int
    wrong_pair_count: int
    missed_pair_count: int
    unknown_count: int

    def as_detail(self) -> dict[str, float]:
        """Return it for a benchmark row."""
        return {name: round(value, 5) for name, value in asdict(self).items()}


class Truth:
    """Finds the true subflow of a 4-tuple and a time: ports are used again within one recording."""

    def __init__(self, recording: Recording) -> None:
        self._by_flow: dict[FlowKey, list[TrueSubflow]] = {}
        for subflow in recording.subflows:
            self._by_flow.setdefault(subflow.flow, []).append(subflow)
        self.count = len(recording.subflows)

    def owner(self, flow: FlowKey, first_s: float, last_s: float) -> TrueSubflow | None:
        """Return the true subflow of these 4-tuple that lived then, or nearest to it; ``None``: there is none."""

        def apart_s(subflow: TrueSubflow) -> float:
            return max(subflow.first_s - last_s, first_s - subflow.last_s)

        return min(self._by_flow.get(flow, ()), key=apart_s, default=None)


def score(groups: Iterable[Iterable[tuple[FlowKey, float, float]]], truth: Truth) -> Score:
    """Return how groups of subflows (4-tuple, first and last time) agree with the truth."""
    joint: Counter[tuple[int, int]] = Counter()
    seen: set[TrueSubflow] = set()
    unknown = 0
    for number, group in enumerate(groups):
        for flow, first_s, last_s in group:
            owner = truth.owner(flow, first_s, last_s)
            if owner is None:
                unknown += 1
                continue
            seen.add(owner)
            joint[owner.connection, number] += 1
    true, found = Counter[int](), Counter[int]()
    for (connection, number), count in joint.items():
        true[connection] += count
        found[number] += count
    right, wanted, claimed = (sum(_pairs(n) for n in counts.values()) for counts in (joint, true, found))
    exact = sum(count == true[one] == found[other] for (one, other), count in joint.items())
    return Score(
        recall=right / wanted if wanted else 1.0,
        precision=right / claimed if claimed else 1.0,
        exact_ratio=exact / len(true) if true else 1.0,
        unseen_ratio=1 - len(seen) / truth.count,
        pair_count=wanted,
        wrong_pair_count=claimed - right,
        missed_pair_count=wanted - right,
        unknown_count=unknown,
    )


def score_connections(connections: Iterable[Connection], truth: Truth) -> Score:
    """Return how the engine's connections agree with the truth."""
    return score(
        ([(flow.flow, flow.first_s, flow.last_s) for flow in one.subflows] for one in connections), truth
    )


def _pairs(count: int) -> int:
    return count * (count - 1) // 2
