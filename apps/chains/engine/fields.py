"""Packet fields that action profiles speak of."""

from enum import StrEnum
from typing import Final


class Field(StrEnum):
    """One field of a packet. Lengths and checksums are derived: the merge computes them, no profile names them."""

    ETH_DST = "eth_dst"
    ETH_SRC = "eth_src"
    VLAN = "vlan"
    IP_SRC = "ip_src"
    IP_DST = "ip_dst"
    IP_PROTO = "ip_proto"
    IP_TTL = "ip_ttl"
    IP_TOS = "ip_tos"
    IP_ID = "ip_id"
    FLOW_LABEL = "flow_label"
    SRC_PORT = "src_port"
    DST_PORT = "dst_port"
    TCP_SEQ = "tcp_seq"
    TCP_ACK = "tcp_ack"
    TCP_FLAGS = "tcp_flags"
    TCP_WINDOW = "tcp_window"
    PAYLOAD = "payload"


PAYLOAD_FIELDS: Final = frozenset({Field.PAYLOAD})
HEADER_FIELDS: Final = frozenset(Field) - PAYLOAD_FIELDS
FIVE_TUPLE: Final = frozenset({Field.IP_SRC, Field.IP_DST, Field.IP_PROTO, Field.SRC_PORT, Field.DST_PORT})
