"""What packets of handshakes, joins and ends tell: keys, tokens, addresses, who left."""

from apps.mptcp.engine import packet_kernel as kernel
from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.domain import Domain
from apps.mptcp.engine.hard_links import Link
from apps.mptcp.engine.records import Has, PacketRecords, TcpFlag
from apps.mptcp.engine.subflow_table import SubflowTable
from apps.mptcp.engine.values import AlarmKind, Change, ChangeKind

# As plain numbers: flags of ``enum`` cost microseconds per test.
_ADD_ADDR = int(Has.ADD_ADDR)
_ADD_ADDR_ECHO = int(Has.ADD_ADDR_ECHO)
_CAPABLE = int(Has.CAPABLE)
_CAPABLE_MAP = int(Has.CAPABLE_MAP)
_KEY = int(Has.KEY)
_PEER_KEY = int(Has.PEER_KEY)
_REMOVE_ADDR = int(Has.REMOVE_ADDR)
_TOKEN = int(Has.TOKEN)
_ACK = int(TcpFlag.ACK)


def take_news(domain: Domain, records: PacketRecords, k: int, row: int, why: int) -> None:
    """Judge packet ``k`` that the loop over packets handed on, with its subflow's row and the reasons."""
    at_s = records.at_us.item(k) / 1e6
    side = 1 if why & kernel.NEWS_OF_B else 0
    if why & kernel.NEWS_SUBFLOW:
        domain.add_subflow(row, at_s)
    if why & kernel.NEWS_KEY:
        _link(domain, _keys(domain, records, k, row, side), at_s)
    if why & kernel.NEWS_JOIN:
        _link(domain, _join(domain, records, k, row, side), at_s)
    if why & kernel.NEWS_DATA_FIN:
        _link(domain, domain.hard.fin_seen(row, side), at_s)
    if why & kernel.NEWS_ADDRESS:
        _address(domain, records, k, row, side, at_s)
    if why & kernel.NEWS_CLOSED:
        _left(domain, row, at_s)


def _link(domain: Domain, links: list[Link], at_s: float) -> None:
    label = domain.groups.label
    for i, j, flip, kind, false_probability, number in links:
        if label.item(i) != label.item(j):
            domain.edges.add(i, j, flip, kind, false_probability, at_s, number=number)
            domain.unite(i, j, flip, at_s)


def _left(domain: Domain, row: int, at_s: float) -> None:
    subflow, label = domain.table.ids.item(row), domain.groups.label.item(row)
    domain.changes.append(Change(ChangeKind.SUBFLOW_LEFT, at_s, label, subflow=subflow))


def _keys(domain: Domain, records: PacketRecords, k: int, row: int, side: int) -> list[Link]:
    table, has, at_us = domain.table, records.has.item(k), records.at_us.item(k)
    is_handshake = bool(has & _CAPABLE)
    if is_handshake:
        table.flags[row] |= layout.VERSION_0 if records.version.item(k) == 0 else layout.VERSION_1
    told = []
    if has & _KEY:
        told.append((side, records.key.item(k)))
    if has & _PEER_KEY:
        told.append((1 - side, records.peer_key.item(k)))
    links: list[Link] = []
    for owner, key in told:
        if _is_other_key(table, row, owner, key):
            table.flags[row] = table.flags.item(row) & ~layout.FASTCLOSED
            what = "MP_CAPABLE" if is_handshake else "MP_FASTCLOSE"
            domain.alarm(AlarmKind.KEY_CHANGE, row, f"{what} carries another key than the handshake")
        else:
            links += domain.hard.key_seen(row, owner, key, at_us, is_handshake)
    if has & _CAPABLE_MAP and not table.flags.item(row) & layout.MIRRORED:
        numbers = (records.seq.item(k), records.map_bytes.item(k), records.payload_bytes.item(k))
        kernel.add_first_mapping(table.rows, row, side, *numbers, at_us)
    return links


def _is_other_key(table: SubflowTable, row: int, side: int, key: int) -> bool:
    flags = table.flags.item(row)
    is_known = bool(flags & layout.KEY_A << side) and not flags & layout.MIRRORED
    return is_known and table.keys.item(row, side) not in (0, key)


def _join(domain: Domain, records: PacketRecords, k: int, row: int, side: int) -> list[Link]:
    domain.addresses.join(row, side, records.address_id.item(k))
    if records.tcp_flags.item(k) & _ACK or not records.has.item(k) & _TOKEN:
        return []  # an answer names no token; one that does was sent back by a middlebox
    token = records.token.item(k)
    links = domain.hard.join_seen(row, side, token)
    addresses = domain.hard.ends_of(row)
    flood = domain.joins.join(records.at_us.item(k) / 1e6, token, addresses[side], addresses[1 - side])
    if flood:
        domain.alarm(AlarmKind.JOIN_FLOOD, row, flood)
    return links


def _address(domain: Domain, records: PacketRecords, k: int, row: int, side: int, at_s: float) -> None:
    has, address_id = records.has.item(k), records.address_id.item(k)
    label, faced = domain.groups.label.item(row), side ^ domain.groups.parity.item(row)
    if has & _REMOVE_ADDR:
        _withdraw(domain, row, side, address_id, at_s)
    elif has & _ADD_ADDR and not has & _ADD_ADDR_ECHO:
        address = (records.added_hi.item(k), records.added_lo.item(k))
        odd = domain.addresses.announce(label, faced, address_id, address, records.added_port.item(k))
        if odd:
            domain.alarm(AlarmKind.DUPLICATE_ADD_ADDR, row, odd)
        else:
            domain.hosts.alias(domain.hard.ends_of(row)[side], address)


def _withdraw(domain: Domain, row: int, side: int, address_id: int, at_s: float) -> None:
    """Close the subflows of an address that REMOVE_ADDR took back."""
    table, groups = domain.table, domain.groups
    label, faced = groups.label.item(row), side ^ groups.parity.item(row)
    address = domain.addresses.withdraw(label, faced, address_id)
    for member in groups.members(row):
        end = faced ^ groups.parity.item(member)
        is_joined_by = domain.addresses.joined.get((member, end)) == address_id
        is_at = address is not None and domain.hard.ends_of(member)[end] == address
        if (is_joined_by or is_at) and not table.flags.item(member) & layout.CLOSED:
            table.flags[member] |= layout.CLOSED
            _left(domain, member, at_s)
