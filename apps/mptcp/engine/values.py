"""What the association engine says: subflows, evidence, connections, changes and alarms. Values only."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class FlowKey(NamedTuple):
    """A subflow's 4-tuple, as written by people; the lower (address, port) as numbers comes first.

    Who opened the subflow is in ``Subflow.is_a_client``, since a sample need not show it.
    """

    a: str
    a_port: int
    b: str
    b_port: int


class EvidenceKind(StrEnum):
    """Tests that join a subflow to a connection, strongest first; see the brief's table T1 to T8."""

    TOKEN = "token"  # noqa: S105  # T1: MP_JOIN names the token of the connection's key, or two joins the same one
    KEY = "key"  # T2
    IDSN = "idsn"  # T3: the first DSN follows from the key
    DATA_FIN = "data_fin"  # T4
    BOTH_SPACES = "both_spaces"  # T5
    ONE_SPACE_64 = "one_space_64"  # T6
    ALIGNED_32 = "aligned_32"  # T7
    EQUAL_32 = "equal_32"  # T6 at 32 bit, where a direction stands still
    COVERAGE = "coverage"  # T8: speaks of completeness, never of identity


HARD: frozenset[EvidenceKind] = frozenset(
    {EvidenceKind.TOKEN, EvidenceKind.KEY, EvidenceKind.IDSN, EvidenceKind.DATA_FIN}
)


class Evidence(NamedTuple):
    """Why a subflow belongs to its connection.

    Args:
        subflow: the one that joined; other: the sibling it was tested against; None: the connection's aggregate.
        false_probability: that this test holds by chance, given the numbers in play, 0..1.
        words: one sentence an operator understands, with the figures.
        at_s: when it was found.
    """

    kind: EvidenceKind
    subflow: int
    other: int | None
    false_probability: float
    words: str
    at_s: float


class SubflowState(StrEnum):
    """Where a subflow is in its life."""

    ACTIVE = "active"
    CLOSED = "closed"  # FIN, RST, MP_TCPRST or REMOVE_ADDR was seen
    IDLE = "idle"  # nothing for the idle time; still known


class Subflow(NamedTuple):
    """One subflow.

    Args:
        id: stable within an association domain.
        epoch: counts reuses of the 4-tuple, from 0.
        is_a_client: whether ``flow.a`` opened it; None when that was not seen.
        seen_by: observation points, sorted.
        dsn_low, dsn_high: per direction (a to b, b to a), unwrapped range of data sequence numbers; None: unseen.
    """

    id: int
    flow: FlowKey
    epoch: int
    state: SubflowState
    is_a_client: bool | None
    first_s: float
    last_s: float
    packet_count: int
    seen_by: tuple[int, ...]
    dsn_low: tuple[int | None, int | None]
    dsn_high: tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Connection:
    """Subflows that belong together.

    Args:
        id: stable within an association domain; after a merge the older one's id stays.
        confidence: probability that all subflows belong together, by the evidence and the numbers in play, 0..1.
        is_blockable: each subflow joined by hard evidence or by both spaces (a verdict asks for that).
        coverage: per direction, share of the connection's bytes that these subflows carried; None: unknown.
        tokens: tokens of its keys that were seen or follow from seen keys, client's first; a join names one.
    """

    id: int
    subflows: tuple[Subflow, ...]
    evidence: tuple[Evidence, ...]
    confidence: float
    is_blockable: bool
    is_ended: bool
    coverage: tuple[float | None, float | None]
    tokens: tuple[int, ...]
    first_s: float
    last_s: float


class ChangeKind(StrEnum):
    """What can happen to connections, as subscribers are told."""

    CONNECTION_FOUND = "connection_found"
    SUBFLOW_JOINED = "subflow_joined"
    SUBFLOW_LEFT = "subflow_left"
    CONNECTION_ENDED = "connection_ended"
    CONNECTIONS_MERGED = "connections_merged"
    CONNECTION_SPLIT = "connection_split"
    ALARM = "alarm"


class AlarmKind(StrEnum):
    """What deserves an operator's eye."""

    JOIN_FLOOD = "join_flood"
    KEY_CHANGE = "key_change"
    DUPLICATE_ADD_ADDR = "duplicate_add_addr"
    FALSE_MERGE_SUSPECTED = "false_merge_suspected"


class Change(NamedTuple):
    """One thing that happened.

    Args:
        connection: id it happened to; other: the connection that was merged into it or split from it; for a subflow
            that joined, the connection that it was alone until then.
        subflow: id, where one joined or left.
        alarm, words: of an alarm.
    """

    kind: ChangeKind
    at_s: float
    connection: int
    other: int | None = None
    subflow: int | None = None
    alarm: AlarmKind | None = None
    words: str = ""
