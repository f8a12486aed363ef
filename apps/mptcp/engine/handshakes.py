"""What packets of handshakes, joins and ends tell: keys, tokens, addresses, who left."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import packet_kernel as kernel
from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.domain import Domain
from apps.mptcp.engine.records import Has, PacketRecords, TcpFlag
from apps.mptcp.engine.values import AlarmKind, Change, ChangeKind

# As plain numbers: flags of ``enum`` cost microseconds per test.
_REMOVE_ADDR = int(Has.REMOVE_ADDR)
_TOKEN = int(Has.TOKEN)
_ACK = int(TcpFlag.ACK)

Packet = Any  # a record of ``records.RECORD``


def take_news(domain: Domain, records: PacketRecords, news: tuple[NDArray[Any], ...], count: int) -> None:
    """Judge what the loop over packets handed on: indexes of packets, their subflows' rows, and why.

    Complexity: O(count); some microseconds for an address, a fraction of one for others.
    """
    if not count:
        return
    done = 0
    while done < count:
        done = domain.hard.take_news(records.array, news, done, count)
        domain.tell_notes()
        k, row, why = (column.item(done - 1) for column in news)
        if why & kernel.NEWS_ADDRESS:
            _address(domain, records.array[k], row, 1 if why & kernel.NEWS_OF_B else 0)
    _watch_joins(domain, records.array, news, count)


def _left(domain: Domain, row: int, at_s: float) -> None:
    subflow, label = domain.table.ids.item(row), domain.groups.label.item(row)
    domain.changes.append(Change(ChangeKind.SUBFLOW_LEFT, at_s, label, subflow=subflow))


def _watch_joins(domain: Domain, packets: NDArray[Any], news: tuple[NDArray[Any], ...], count: int) -> None:
    """Count joining SYNs: of an answer nobody says whose token it is."""
    record, rows, why = (column[:count] for column in news)
    joins = np.flatnonzero((why & kernel.NEWS_JOIN) != 0)
    if not len(joins):
        return
    joining = packets[record[joins]]
    is_asking = ((joining["tcp_flags"] & _ACK) == 0) & ((joining["has"] & _TOKEN) != 0)
    joins, joining = joins[is_asking], joining[is_asking]
    columns = (joining[name].tolist() for name in ("at_us", "token", "src_hi", "src_lo", "dst_hi", "dst_lo"))
    for row, at_us, token, src_hi, src_lo, dst_hi, dst_lo in zip(rows[joins].tolist(), *columns, strict=True):
        flood = domain.joins.join(at_us / 1e6, token, (src_hi, src_lo), (dst_hi, dst_lo))
        if flood:
            domain.alarm(AlarmKind.JOIN_FLOOD, row, flood)


def _address(domain: Domain, packet: Packet, row: int, side: int) -> None:
    has, address_id = int(packet["has"]), int(packet["address_id"])
    label, faced = domain.groups.label.item(row), side ^ domain.groups.parity.item(row)
    if has & _REMOVE_ADDR:
        _withdraw(domain, row, side, address_id, int(packet["at_us"]) / 1e6)
    else:
        address = (int(packet["added_hi"]), int(packet["added_lo"]))
        odd = domain.addresses.announce(label, faced, address_id, address, int(packet["added_port"]))
        if odd:
            domain.alarm(AlarmKind.DUPLICATE_ADD_ADDR, row, odd)
        else:
            domain.hosts.alias(domain.table.ends(row)[side], address)


def _withdraw(domain: Domain, row: int, side: int, address_id: int, at_s: float) -> None:
    """Close the subflows of an address that REMOVE_ADDR took back."""
    table, groups = domain.table, domain.groups
    label, faced = groups.label.item(row), side ^ groups.parity.item(row)
    address = domain.addresses.withdraw(label, faced, address_id)
    for member in groups.members(row):
        end = faced ^ groups.parity.item(member)
        is_joined_by = table.address_ids.item(member, end) == address_id
        is_at = address is not None and table.ends(member)[end] == address
        if (is_joined_by or is_at) and not table.flags.item(member) & layout.CLOSED:
            table.flags[member] |= layout.CLOSED
            _left(domain, member, at_s)
