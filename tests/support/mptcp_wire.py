"""Packets of Multipath TCP written by hand: one call per packet, columns at the end."""

from functools import cache
from typing import Any

import numpy as np

from apps.mptcp.engine.associator import Associator
from apps.mptcp.engine.records import COLUMNS, Has, PacketRecords, TcpFlag, address_halves
from apps.mptcp.engine.values import FlowKey

START_S = 1_000.0
halves = cache(address_halves)
SYN, SYN_ACK, ACK = int(TcpFlag.SYN), int(TcpFlag.SYN | TcpFlag.ACK), int(TcpFlag.ACK)
FIN, RST = int(TcpFlag.FIN | TcpFlag.ACK), int(TcpFlag.RST)


class Wire:
    """Collects packets. ``flow`` is (client address, client port, server address, server port)."""

    def __init__(self) -> None:
        self.packets: list[dict[str, int]] = []

    def put(self, flow: tuple[str, int, str, int], at_s: float, *, up: bool = True, **columns: int) -> None:
        """Add a packet, from the client when ``up``."""
        client, port, server, far = flow
        ends = ((client, port), (server, far)) if up else ((server, far), (client, port))
        (src, src_port), (dst, dst_port) = ends
        src_hi, src_lo = halves(src)
        dst_hi, dst_lo = halves(dst)
        self.packets.append(
            {
                "at_us": int((START_S + at_s) * 1e6), "src_hi": src_hi, "src_lo": src_lo, "dst_hi": dst_hi,
                "dst_lo": dst_lo, "src_port": src_port, "dst_port": dst_port, "tcp_flags": ACK, **columns,
            }
        )  # fmt: skip

    def data(self, flow: tuple[str, int, str, int], at_s: float, dsn: int, *, up: bool = True, wide: bool = True,
             size: int = 1000, ssn: int = 1, ack: int | None = None, **columns: int) -> None:  # fmt: skip
        """Add a packet of data, with a DATA_ACK when ``ack`` is given."""
        mask = (1 << 64) - 1 if wide else (1 << 32) - 1
        has = Has.DSN | (Has.DSN_64 if wide else Has(0))
        if ack is not None:
            has |= Has.DATA_ACK | (Has.DATA_ACK_64 if wide else Has(0))
        fields = {"dsn": dsn & mask, "ssn": ssn, "map_bytes": size, "payload_bytes": size, "seq": ssn}
        self.put(flow, at_s, up=up, **{**fields, "data_ack": (ack or 0) & mask, "has": int(has), **columns})

    def ack(self, flow: tuple[str, int, str, int], at_s: float, number: int, *, up: bool = True,
            wide: bool = True) -> None:  # fmt: skip
        """Add a pure DATA_ACK."""
        has = Has.DATA_ACK | (Has.DATA_ACK_64 if wide else Has(0))
        number &= (1 << 64) - 1 if wide else (1 << 32) - 1
        self.put(flow, at_s, up=up, data_ack=number, has=int(has))

    def records(self) -> PacketRecords:
        """Return the packets as columns, in the order added."""
        columns: dict[str, Any] = {
            name: np.array([packet.get(name, 0) for packet in self.packets], dtype)
            for name, dtype in COLUMNS.items()
        }
        return PacketRecords.zeros(len(self.packets)).copy(**columns)

    def run(self, machine: Associator | None = None) -> Associator:
        """Step all packets at once and tick."""
        machine = machine or Associator()
        records = self.records()
        now_s = float(records.at_us.max()) / 1e6
        machine.step(records, now_s)
        machine.tick(now_s)
        return machine


def partition(machine: Associator) -> set[frozenset[tuple[FlowKey, int]]]:
    """Return the connections as sets of (4-tuple, epoch)."""
    return {
        frozenset((subflow.flow, subflow.epoch) for subflow in connection.subflows)
        for connection in machine.connections()
    }
