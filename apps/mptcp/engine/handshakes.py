"""What packets of handshakes, joins and ends tell: keys, tokens, addresses, who left."""

from apps.mptcp.engine import packet_kernel as kernel
from apps.mptcp.engine import subflow_layout as layout
from apps.mptcp.engine.domain import Domain
from apps.mptcp.engine.hard_links import Link
from apps.mptcp.engine.records import Has, PacketRecords, TcpFlag
from apps.mptcp.engine.values import Change, ChangeKind


def take_news(domain: Domain, records: PacketRecords, k: int, row: int, why: int) -> None:
    """Judge packet ``k`` that the loop over packets handed on, with its subflow's row and the reasons."""
    rows = domain.table.rows
    at_s = int(records.at_us[k]) / 1e6
    side = 1 if why & kernel.NEWS_OF_B else 0
    if why & kernel.NEWS_SUBFLOW:
        domain.add_subflow(row, at_s)
    links: list[Link] = []
    if why & kernel.NEWS_KEY:
        links += _keys(domain, records, k, row, side)
    if why & kernel.NEWS_JOIN and not int(records.tcp_flags[k]) & TcpFlag.ACK:
        links += domain.hard.join_seen(rows, row, side, int(records.token[k]))
    if why & kernel.NEWS_DATA_FIN:
        links += domain.hard.fin_seen(rows, row, side)
    for link in links:
        if domain.groups.label[link.i] != domain.groups.label[link.j]:
            domain.edges.add(
                link.i, link.j, link.flip, link.kind, link.false_probability, at_s, number=link.number
            )
            domain.unite(link.i, link.j, link.flip, at_s)
    if why & kernel.NEWS_CLOSED:
        left = Change(
            ChangeKind.SUBFLOW_LEFT, at_s, int(domain.groups.label[row]), subflow=int(rows[row]["id"])
        )
        domain.changes.append(left)


def _keys(domain: Domain, records: PacketRecords, k: int, row: int, side: int) -> list[Link]:
    rows, has, at_us = domain.table.rows, int(records.has[k]), int(records.at_us[k])
    is_handshake = bool(has & Has.CAPABLE)
    if is_handshake:
        flag = layout.VERSION_0 if int(records.version[k]) == 0 else layout.VERSION_1
        rows[row]["flags"] |= flag
    links: list[Link] = []
    if has & Has.KEY:
        links += domain.hard.key_seen(rows, row, side, int(records.key[k]), at_us, is_handshake)
    if has & Has.PEER_KEY:
        links += domain.hard.key_seen(rows, row, 1 - side, int(records.peer_key[k]), at_us, is_handshake)
    return links
