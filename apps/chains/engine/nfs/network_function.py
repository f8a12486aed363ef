"""What every network function of our own is: a deterministic machine over packets."""

import hashlib
import json
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Protocol, TypeVar

from apps.chains.engine.packet import Packet

State = dict[str, object]
Entry = TypeVar("Entry")

FLOWS_MAX = 65_536


class NetworkFunction(Protocol):
    """A network function.

    Output and state depend on the parameters, the packets in their order, and each packet's ``at_us`` alone, and of the
    packets only on what the profile in the catalogue declares to read (lengths and structure are free to read).

    Attributes:
        counters: for people; not part of the state.
        wait_us: how long whoever runs it waits per packet; 0 for all but the test function ``waiter``.
    """

    counters: Counter[str]
    wait_us: int

    def process(self, packet: Packet, at_us: int) -> bool:
        """Handle one packet, changing it in place; return whether it goes on.

        Args:
            at_us: the classifier's time of the packet, microseconds; never goes back.
        """
        ...

    def state(self) -> State:
        """Return all that the future depends on, as JSON values in an order of its own."""
        ...

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from ``state`` of a network function with the same parameters, exactly.

        Raises:
            InvalidInputError: ``state.<field>`` is not what ``state`` returns.
        """
        ...


def canonical_state(state: Mapping[str, object]) -> bytes:
    """Return the bytes that two states share exactly when they are equal; lists keep their order, keys have none.

    >>> canonical_state({"b": [2, 1], "a": 0})
    b'{"a":0,"b":[2,1]}'
    """
    return json.dumps(state, sort_keys=True, separators=(",", ":")).encode()


def state_digest(state: Mapping[str, object]) -> tuple[bytes, int]:
    """Return SHA-256 and size in bytes of the canonical form: what a device tells of a state."""
    form = canonical_state(state)
    return hashlib.sha256(form).digest(), len(form)


class FlowTable(OrderedDict[bytes, Entry]):
    """Something per flow, bounded: the flow not used for the longest is forgotten, whatever the clock says.

    Args:
        size_max: flows remembered.
    """

    def __init__(self, size_max: int) -> None:
        super().__init__()
        self.size_max = size_max

    def touch(self, key: bytes) -> Entry | None:
        """Return a flow's entry, which becomes the newest; ``None`` when it is not known."""
        entry = self.get(key)
        if entry is not None:
            self.move_to_end(key)
        return entry

    def put(self, key: bytes, entry: Entry) -> bytes | None:
        """Add a flow as the newest; return the flow that was forgotten for it."""
        self[key] = entry
        if len(self) > self.size_max:
            return self.popitem(last=False)[0]
        return None


def reverse_key(key: bytes) -> bytes:
    """Return the flow key of the other direction, see ``Packet.flow_key``."""
    size = (len(key) - 5) // 2
    ports = 2 * size
    return (
        key[size:ports] + key[:size] + key[ports + 2 : ports + 4] + key[ports : ports + 2] + key[ports + 4 :]
    )
