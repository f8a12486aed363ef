"""Compile now, or load, everything that the first capture or sensor would wait for: at set-up, and as a worker starts.

By itself: ``python -m apps.mptcp.engine.warming``. Half a minute of processor time where nothing is kept yet, else a
second.
"""

from typing import Any, Final

import numpy as np

from apps.mptcp.engine import capture
from apps.mptcp.engine.associator import Associator
from apps.mptcp.engine.config import AssociatorConfig
from apps.mptcp.engine.records import Has, PacketRecords, TcpFlag, address_text
from apps.mptcp.engine.values import FlowKey

_START_US: Final = 1_700_000_000_000_000
_BOTH_64: Final = int(Has.DSN | Has.DSN_64 | Has.DATA_ACK | Has.DATA_ACK_64)
_BOTH_32: Final = int(Has.DSN | Has.DATA_ACK)
_OPENING: Final = int(Has.CAPABLE | Has.KEY | Has.PEER_KEY | Has.CAPABLE_MAP)
_HOST: Final = 0xFFFF << 32


def warm_up() -> None:
    """Run decoders and association once over a few made packets that need every compiled function."""
    capture.warm_up()
    machine = Associator(AssociatorConfig(forget_s=120.0))
    for turn in range(3):
        machine.step(_data(turn), _START_US / 1e6 + turn)
        machine.tick(_START_US / 1e6 + turn)
    for records in (_handshakes(), _address()):
        machine.step(records, machine.now_s)
    machine.lookup(FlowKey(address_text(0, _HOST + 1), 1, address_text(0, _HOST + 9), 443))
    machine.connections()
    domain = machine.domain
    domain.groups.unite(0, 1, 0)
    domain.regroup(domain.groups.members(0), int(domain.groups.label[0]))
    machine = Associator.restore(machine.snapshot())
    machine.tick(machine.now_s + 1000.0)  # all are forgotten


def _data(turn: int) -> PacketRecords:
    """Return packets of two connections of two subflows: one with numbers of 64 bits, one of 32."""
    rows = [(port, numbers) for port in (1, 2) for numbers in (_BOTH_64, _BOTH_32)]
    records = PacketRecords.zeros(len(rows))
    for k, (port, numbers) in enumerate(rows):
        at = 1 + 1000 * turn + 10 * port
        base = 7 << 40 if numbers == _BOTH_64 else 3_000_000
        values = {"has": numbers, "dsn": base + at, "data_ack": 2 * base + at, "map_bytes": 10, "payload_bytes": 10,
                  "ssn": 1 + 1000 * turn, "seq": 1 + 1000 * turn, "tcp_flags": int(TcpFlag.ACK),
                  "src_lo": _HOST + (1 if numbers == _BOTH_64 else 2), "src_port": port}  # fmt: skip
        _set(records, k, turn, values)
    return records


def _handshakes() -> PacketRecords:
    """Return a third packet of a handshake with data, and one whose keys a box sent back."""
    records = PacketRecords.zeros(2)
    for k, keys in enumerate(((11, 12), (13, 13))):
        values = {"has": _OPENING, "version": 1, "key": keys[0], "peer_key": keys[1], "seq": 1, "ssn": 1,
                  "map_bytes": 10, "payload_bytes": 10, "src_lo": _HOST + 3, "src_port": 5 + k}  # fmt: skip
        _set(records, k, 3, values)
    return records


def _address() -> PacketRecords:
    """Return an announcement of an address."""
    records = PacketRecords.zeros(1)
    values = {
        "has": int(Has.ADD_ADDR),
        "address_id": 2,
        "added_lo": _HOST + 4,
        "src_lo": _HOST + 3,
        "src_port": 5,
    }
    _set(records, 0, 3, values)
    return records


def _set(records: PacketRecords, k: int, turn: int, values: dict[str, Any]) -> None:
    values |= {"at_us": _START_US + turn * 1_000_000 + k, "dst_lo": _HOST + 9, "dst_port": 443}
    for name, value in values.items():
        getattr(records, name)[k] = np.array(value, getattr(records, name).dtype)


if __name__ == "__main__":
    warm_up()
