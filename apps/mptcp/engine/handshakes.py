"""What packets of handshakes, joins and ends tell: keys, tokens, addresses, who left."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.mptcp.engine import kinship_kernel as kinship
from apps.mptcp.engine import packet_kernel as kernel
from apps.mptcp.engine.addresses import second_address, second_id
from apps.mptcp.engine.domain import Domain
from apps.mptcp.engine.records import Has, PacketRecords, TcpFlag
from apps.mptcp.engine.values import AlarmKind

# As plain numbers: flags of ``enum`` cost microseconds per test.
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
        if domain.hard.stopped != kinship.FOR_ROOM:
            k, row, why = (column.item(done - 1) for column in news)
            _address(domain, records.array[k], row, 1 if why & kernel.NEWS_OF_B else 0)
    _watch_joins(domain, records.array, news, count)


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
    """Take an ADD_ADDR that is odd, or of an address that is not known to be of the sender's host."""
    stopped = domain.hard.stopped
    if stopped == kinship.FOR_ALIAS:
        domain.hosts.alias(domain.table.ends(row)[side], (int(packet["added_hi"]), int(packet["added_lo"])))
    else:
        words = second_address if stopped == kinship.FOR_SECOND_ADDRESS else second_id
        domain.alarm(AlarmKind.DUPLICATE_ADD_ADDR, row, words(packet, domain.hard.disagrees))
