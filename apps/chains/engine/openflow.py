"""OpenFlow 1.3 messages as values, as far as groups and flows need them; ``openflow_codec`` turns them into bytes.

Source: OpenFlow Switch Specification 1.3.5; each class names its section.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from apps.chains.engine.openflow_structs import (
    GROUP_ANY,
    NO_BUFFER,
    PORT_ANY,
    Bucket,
    Instruction,
    MatchField,
    Port,
)

VERSION: Final = 4
TABLE_ALL: Final = 0xFF
FLOW_ADD, FLOW_MODIFY, FLOW_MODIFY_STRICT, FLOW_DELETE, FLOW_DELETE_STRICT = range(5)


class GroupType(IntEnum):
    """How a group uses its buckets (7.3.4.2)."""

    ALL = 0
    SELECT = 1
    INDIRECT = 2
    FAST_FAILOVER = 3


class GroupCommand(IntEnum):
    """What is done to a group (7.3.4.2)."""

    ADD = 0
    MODIFY = 1
    DELETE = 2


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of both sides (7.5.1): ``versions`` one can speak, empty when only the header says it."""

    versions: frozenset[int] = frozenset()
    header_version: int = VERSION


@dataclass(frozen=True, slots=True)
class Error:
    """The switch refuses (7.4.4): ``data`` begins with the message that was refused, or holds text."""

    type: int
    code: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class EchoRequest:
    """Are you there (7.5.2)?"""

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class EchoReply:
    """Yes (7.5.3), with the same data."""

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class FeaturesRequest:
    """Who are you (7.3.1)?"""


@dataclass(frozen=True, slots=True)
class FeaturesReply:
    """The switch (7.3.1)."""

    datapath: int
    buffer_count: int
    table_count: int
    auxiliary: int
    capabilities: int


@dataclass(frozen=True, slots=True)
class BarrierRequest:
    """Finish everything before this (7.3.8)."""


@dataclass(frozen=True, slots=True)
class BarrierReply:
    """It is finished (7.3.8)."""


@dataclass(frozen=True, slots=True)
class GroupMod:
    """Add, change or remove a group (7.3.4.2)."""

    command: GroupCommand
    group: int
    type: GroupType = GroupType.ALL
    buckets: tuple[Bucket, ...] = ()


@dataclass(frozen=True, slots=True)
class FlowMod:
    """Add, change or remove flow entries (7.3.4.1); ``command`` is one of ``FLOW_ADD`` ... ``FLOW_DELETE_STRICT``."""

    command: int
    match: tuple[MatchField, ...]
    instructions: tuple[Instruction, ...] = ()
    cookie: int = 0
    cookie_mask: int = 0
    table: int = 0
    priority: int = 0
    idle_s: int = 0
    hard_s: int = 0
    buffer: int = NO_BUFFER
    out_port: int = PORT_ANY
    out_group: int = GROUP_ANY
    flags: int = 0


@dataclass(frozen=True, slots=True)
class FlowStatsRequest:
    """Which flow entries are there (7.3.5.2)? Only those whose cookie agrees in the bits of the mask."""

    cookie: int = 0
    cookie_mask: int = 0
    match: tuple[MatchField, ...] = ()
    table: int = TABLE_ALL


@dataclass(frozen=True, slots=True)
class GroupDescRequest:
    """Which groups are there (7.3.5.10)?"""


@dataclass(frozen=True, slots=True)
class PortDescRequest:
    """Which ports are there (7.3.5.7)?"""


@dataclass(frozen=True, slots=True)
class FlowEntry:
    """A flow entry of the switch (7.3.5.2)."""

    table: int
    priority: int
    cookie: int
    match: tuple[MatchField, ...]
    instructions: tuple[Instruction, ...]
    packet_count: int = 0
    byte_count: int = 0
    duration_s: int = 0
    duration_ns: int = 0
    idle_s: int = 0
    hard_s: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """A group of the switch (7.3.5.10)."""

    group: int
    type: int
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class FlowStatsReply:
    """Flow entries (7.3.5.2); ``has_more``: another reply follows (7.3.5)."""

    flows: tuple[FlowEntry, ...]
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class GroupDescReply:
    """Groups (7.3.5.10)."""

    groups: tuple[GroupEntry, ...]
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class PortDescReply:
    """Ports (7.3.5.7)."""

    ports: tuple[Port, ...]
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message that nothing here needs."""

    type: int
    body: bytes


Message = (
    Hello
    | Error
    | EchoRequest
    | EchoReply
    | FeaturesRequest
    | FeaturesReply
    | BarrierRequest
    | BarrierReply
    | GroupMod
    | FlowMod
    | FlowStatsRequest
    | GroupDescRequest
    | PortDescRequest
    | FlowStatsReply
    | GroupDescReply
    | PortDescReply
    | Unknown
)
