"""Action profiles: what a type of network function does to packets and to its own state."""

from dataclasses import dataclass
from enum import StrEnum

from apps.chains.engine.fields import HEADER_FIELDS, Field


class Flag(StrEnum):
    """A property beyond reads and writes. The first group refuses parallelism, the second needs a merge rule."""

    TERMINATES = "terminates"
    GENERATES = "generates"
    BUFFERS = "buffers"
    DELAYS = "delays"
    TIME_DEPENDENT = "time_dependent"
    RANDOM = "random"
    NOT_FIFO = "not_fifo"
    L2_REWRITE = "l2_rewrite"

    TTL_DEC = "ttl_dec"
    LEN_CHANGE = "len_change"
    WRITES_CHECKSUM = "writes_checksum"


MERGE_RULE_FLAGS = frozenset({Flag.TTL_DEC, Flag.LEN_CHANGE, Flag.WRITES_CHECKSUM})
REFUSING_FLAGS = frozenset(Flag) - MERGE_RULE_FLAGS


class StateScope(StrEnum):
    """What a network function remembers: nothing, something per flow, or something all flows share."""

    NONE = "none"
    FLOW = "flow"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class ActionProfile:
    """What a network function does, as far as order matters.

    Args:
        reads, writes: fields; a field that is read and written is in both.
        adds_header, removes_header: changes the structure of the packet.
        drops: may drop.
        drop_reads: fields its decision to drop depends on; empty with ``drops`` means that it drops by other
            means than the packet's content (a rate, a table).
        flags: see ``Flag``.
        state: scope of its state.
        shared_state: identity of a resource shared with other network functions (a pool of ports); two with the
            same identity keep their order. Empty for none.
    """

    reads: frozenset[Field] = frozenset()
    writes: frozenset[Field] = frozenset()
    adds_header: bool = False
    removes_header: bool = False
    drops: bool = False
    drop_reads: frozenset[Field] = frozenset()
    flags: frozenset[Flag] = frozenset()
    state: StateScope = StateScope.NONE
    shared_state: str = ""

    @property
    def changes_structure(self) -> bool:
        """Whether headers come or go, or the length changes."""
        return self.adds_header or self.removes_header or Flag.LEN_CHANGE in self.flags

    @property
    def needs_payload(self) -> bool:
        """Whether a copy of the headers alone would not do."""
        return self.changes_structure or not (self.reads | self.drop_reads | self.writes) <= HEADER_FIELDS
