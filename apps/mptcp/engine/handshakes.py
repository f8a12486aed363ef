"""What packets of handshakes, joins and ends tell: keys, tokens, addresses, who left."""

from apps.mptcp.engine import packet_kernel as kernel
from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.domain import Domain
from apps.mptcp.engine.hard_links import Link
from apps.mptcp.engine.records import Has, PacketRecords, TcpFlag
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
    at_s = int(records.at_us[k]) / 1e6
    side = 1 if why & kernel.NEWS_OF_B else 0
    if why & kernel.NEWS_SUBFLOW:
        domain.add_subflow(row, at_s)
    if why & kernel.NEWS_KEY:
        _link(domain, _keys(domain, records, k, row, side), at_s)
    if why & kernel.NEWS_JOIN:
        _link(domain, _join(domain, records, k, row, side), at_s)
    if why & kernel.NEWS_DATA_FIN:
        _link(domain, domain.hard.fin_seen(domain.table.rows, row, side), at_s)
    if why & kernel.NEWS_ADDRESS:
        _address(domain, records, k, row, side, at_s)
    if why & kernel.NEWS_CLOSED:
        _left(domain, row, at_s)


def _link(domain: Domain, links: list[Link], at_s: float) -> None:
    for link in links:
        if domain.groups.label[link.i] != domain.groups.label[link.j]:
            domain.edges.add(
                link.i, link.j, link.flip, link.kind, link.false_probability, at_s, number=link.number
            )
            domain.unite(link.i, link.j, link.flip, at_s)


def _left(domain: Domain, row: int, at_s: float) -> None:
    subflow = int(domain.table.rows[row]["id"])
    label = int(domain.groups.label[row])
    domain.changes.append(Change(ChangeKind.SUBFLOW_LEFT, at_s, label, subflow=subflow))


def _keys(domain: Domain, records: PacketRecords, k: int, row: int, side: int) -> list[Link]:
    rows, has, at_us = domain.table.rows, int(records.has[k]), int(records.at_us[k])
    is_handshake = bool(has & _CAPABLE)
    if is_handshake:
        flag = layout.VERSION_0 if int(records.version[k]) == 0 else layout.VERSION_1
        rows[row]["flags"] |= flag
    told = []
    if has & _KEY:
        told.append((side, int(records.key[k])))
    if has & _PEER_KEY:
        told.append((1 - side, int(records.peer_key[k])))
    links: list[Link] = []
    for owner, key in told:
        if _is_other_key(rows[row], owner, key):
            rows[row]["flags"] = int(rows[row]["flags"]) & ~layout.FASTCLOSED
            what = "MP_CAPABLE" if is_handshake else "MP_FASTCLOSE"
            domain.alarm(AlarmKind.KEY_CHANGE, row, f"{what} carries another key than the handshake")
        else:
            links += domain.hard.key_seen(rows, row, owner, key, at_us, is_handshake)
    if has & _CAPABLE_MAP and not int(rows[row]["flags"]) & layout.MIRRORED:
        numbers = (int(records.seq[k]), int(records.map_bytes[k]), int(records.payload_bytes[k]))
        kernel.add_first_mapping(rows[row], side, *numbers, at_us)
    return links


def _is_other_key(record: layout.Record, side: int, key: int) -> bool:
    flags = int(record["flags"])
    is_known = bool(flags & layout.KEY_A << side) and not flags & layout.MIRRORED
    return is_known and int(record["key"][side]) not in (0, key)


def _join(domain: Domain, records: PacketRecords, k: int, row: int, side: int) -> list[Link]:
    domain.addresses.join(row, side, int(records.address_id[k]))
    if int(records.tcp_flags[k]) & _ACK or not int(records.has[k]) & _TOKEN:
        return []  # an answer names no token; one that does was sent back by a middlebox
    rows, token = domain.table.rows, int(records.token[k])
    links = domain.hard.join_seen(rows, row, side, token)
    addresses = domain.hard.ends_of(rows, row)
    flood = domain.joins.join(int(records.at_us[k]) / 1e6, token, addresses[side], addresses[1 - side])
    if flood:
        domain.alarm(AlarmKind.JOIN_FLOOD, row, flood)
    return links


def _address(domain: Domain, records: PacketRecords, k: int, row: int, side: int, at_s: float) -> None:
    has, address_id = int(records.has[k]), int(records.address_id[k])
    label, faced = int(domain.groups.label[row]), side ^ int(domain.groups.parity[row])
    if has & _REMOVE_ADDR:
        _withdraw(domain, row, side, address_id, at_s)
    elif has & _ADD_ADDR and not has & _ADD_ADDR_ECHO:
        address = (int(records.added_hi[k]), int(records.added_lo[k]))
        odd = domain.addresses.announce(label, faced, address_id, address, int(records.added_port[k]))
        if odd:
            domain.alarm(AlarmKind.DUPLICATE_ADD_ADDR, row, odd)
        else:
            domain.hosts.alias(domain.hard.ends_of(domain.table.rows, row)[side], address)


def _withdraw(domain: Domain, row: int, side: int, address_id: int, at_s: float) -> None:
    """Close the subflows of an address that REMOVE_ADDR took back."""
    rows, groups = domain.table.rows, domain.groups
    label, faced = int(groups.label[row]), side ^ int(groups.parity[row])
    address = domain.addresses.withdraw(label, faced, address_id)
    for member in groups.members(row):
        end = faced ^ int(groups.parity[member])
        is_joined_by = domain.addresses.joined.get((member, end)) == address_id
        is_at = address is not None and domain.hard.ends_of(rows, member)[end] == address
        if (is_joined_by or is_at) and not int(rows[member]["flags"]) & layout.CLOSED:
            rows[member]["flags"] |= layout.CLOSED
            _left(domain, member, at_s)
