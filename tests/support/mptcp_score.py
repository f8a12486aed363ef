"""How well an association agrees with the truth: pairs of subflows, whole connections, and what was not seen.

A subflow is *seen* when samples of it carry a number of the data stream, in a mapping or acknowledged; where numbers
have 32 bits, one of each direction's stream. Who was sampled only by, say, the SYN/ACK of its join cannot be told from
any other; such subflows count as unseen, and the recall with them is told beside.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from apps.mptcp.engine.values import Connection, FlowKey, Subflow
from tests.support.mptcp_traffic import Recording, TrueSubflow


@dataclass(frozen=True, slots=True)
class Score:
    """Agreement with the truth.

    Args:
        recall: share of the true pairs among the seen subflows that are in one connection; 1 where there is no pair.
        precision: share of the pairs in one connection that are true; 1 where there is no pair.
        exact_ratio: share of the true connections whose seen subflows are one connection, with no other in it.
        unseen_ratio: share of the true subflows that were not seen; sampled_unseen_count: those with some sample.
        recall_of_sampled: recall with these as well.
        pair_count: true pairs among seen subflows. wrong_pair_count, missed_pair_count: what makes the ratios.
        unknown_count: subflows that the sockets never told of; not judged.
    """

    recall: float
    precision: float
    exact_ratio: float
    unseen_ratio: float
    sampled_unseen_count: int
    recall_of_sampled: float
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


@dataclass(frozen=True, slots=True)
class Found:
    """A subflow as an observer tells it; ``is_seen``: its samples carried numbers of the data stream."""

    flow: FlowKey
    first_s: float
    last_s: float
    is_seen: bool = True


def score(groups: Iterable[Iterable[Found]], truth: Truth) -> Score:
    """Return how groups of subflows agree with the truth."""
    joint: Counter[tuple[int, int]] = Counter()
    silent: Counter[tuple[int, int]] = Counter()
    seen: set[TrueSubflow] = set()
    sampled: set[TrueSubflow] = set()
    unknown = 0
    for number, group in enumerate(groups):
        for found in group:
            owner = truth.owner(found.flow, found.first_s, found.last_s)
            if owner is None:
                unknown += 1
                continue
            sampled.add(owner)
            (joint if found.is_seen else silent)[owner.connection, number] += 1
            if found.is_seen:
                seen.add(owner)
    right, wanted, _ = _totals(joint)
    right_of_all, wanted_of_all, claimed = _totals(joint + silent)
    true, groups_of = _margins(joint)
    exact = sum(count == true[one] == groups_of[other] for (one, other), count in joint.items())
    return Score(
        recall=right / wanted if wanted else 1.0,
        precision=right_of_all / claimed if claimed else 1.0,
        exact_ratio=exact / len(true) if true else 1.0,
        unseen_ratio=(truth.count - len(seen)) / truth.count,
        sampled_unseen_count=len(sampled - seen),
        recall_of_sampled=right_of_all / wanted_of_all if wanted_of_all else 1.0,
        pair_count=wanted,
        wrong_pair_count=claimed - right_of_all,
        missed_pair_count=wanted - right,
        unknown_count=unknown,
    )


def score_connections(connections: Iterable[Connection], truth: Truth, space_count: int = 1) -> Score:
    """Return how the engine's connections agree with the truth.

    Args:
        space_count: of how many directions' numbers a subflow must have shown to count as seen, 1 or 2.
    """

    def found(flow: Subflow) -> Found:
        spaces = sum(low is not None for low in flow.dsn_low)
        return Found(flow.flow, flow.first_s, flow.last_s, spaces >= space_count)

    return score(([found(flow) for flow in one.subflows] for one in connections), truth)


def _margins(joint: Counter[tuple[int, int]]) -> tuple[Counter[int], Counter[int]]:
    """Return how many subflows each true connection, and each group, has."""
    true, groups = Counter[int](), Counter[int]()
    for (connection, number), count in joint.items():
        true[connection] += count
        groups[number] += count
    return true, groups


def _totals(joint: Counter[tuple[int, int]]) -> tuple[int, int, int]:
    """Return the pairs that are right, that are true, and that are claimed."""
    true, groups = _margins(joint)
    right, wanted, claimed = (sum(_pairs(n) for n in counts.values()) for counts in (joint, true, groups))
    return right, wanted, claimed


def _pairs(count: int) -> int:
    return count * (count - 1) // 2
