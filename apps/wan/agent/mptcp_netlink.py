"""Multipath TCP of this device by generic netlink and socket diagnosis: endpoints, limits, live subflows.

Source: linux/mptcp_pm.h, linux/mptcp.h, linux/inet_diag.h.
"""

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from nfvportal.agent.netlink import NetlinkError, iter_attributes, iter_messages, pack_attribute, pack_message

NETLINK_GENERIC = 16
NETLINK_SOCK_DIAG = 4
GENL_ID_CTRL = 16
CTRL_GETFAMILY, CTRL_FAMILY_ID, CTRL_FAMILY_NAME = 3, 1, 2
PM_ADD_ADDR, PM_DEL_ADDR, PM_GET_ADDR, PM_SET_LIMITS, PM_GET_LIMITS = 1, 2, 3, 5, 6
PM_ATTR_ADDR, PM_ATTR_RCV_ADD_ADDRS, PM_ATTR_SUBFLOWS = 1, 2, 3
ADDR_FAMILY, ADDR_ID, ADDR_ADDR4, ADDR_FLAGS, ADDR_IF_IDX = 1, 2, 3, 6, 7
FLAG_SUBFLOW = 1 << 1
SOCK_DIAG_BY_FAMILY = 20
DIAG_INFO, DIAG_ULP_INFO = 2, 19
ULP_INFO_MPTCP = 3
SUBFLOW_TOKEN_LOC = 2
TCP_ESTABLISHED = 1
_GENL = struct.Struct("=BBH")
_DIAG_ADDRESSES = struct.Struct("!HH16s16s")


@dataclass(frozen=True, slots=True, order=True)
class MptcpEndpoint:
    """An address over which the kernel opens subflows."""

    address: str
    interface_number: int


@dataclass(frozen=True, slots=True)
class Subflow:
    """One live subflow of a Multipath TCP connection.

    Args:
        token: local token of the connection: the same for all its subflows.
        bytes_acked: bytes the peer acknowledged on this subflow.
    """

    token: int
    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    rtt_ms: float
    cwnd: int
    bytes_acked: int
    bytes_received: int


class MptcpKernel:
    """The kernel's path manager of this network namespace.

    Raises:
        NetlinkError: the kernel has no Multipath TCP.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC
        )
        self._socket.settimeout(5.0)
        self._diagnosis = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG
        )
        self._diagnosis.settimeout(5.0)
        payload = _GENL.pack(CTRL_GETFAMILY, 1, 0) + pack_attribute(CTRL_FAMILY_NAME, b"mptcp_pm\0")
        answer = next(iter(self._ask(GENL_ID_CTRL, payload, 0)), b"")
        family = dict(iter_attributes(answer[_GENL.size :])).get(CTRL_FAMILY_ID)
        if family is None:
            raise NetlinkError(95, "this kernel has no Multipath TCP")
        self._family = struct.unpack("=H", family[:2])[0]

    def close(self) -> None:
        """Close the sockets."""
        self._socket.close()
        self._diagnosis.close()

    def endpoints(self) -> dict[MptcpEndpoint, int]:
        """Return the IPv4 subflow endpoints and the kernel's id of each."""
        found = {}
        for body in self._ask(self._family, _GENL.pack(PM_GET_ADDR, 1, 0), 0x300):
            outer = dict(iter_attributes(body[_GENL.size :]))
            inner = dict(iter_attributes(outer.get(PM_ATTR_ADDR, b"")))
            flags = int.from_bytes(inner.get(ADDR_FLAGS, bytes(4)), "little")
            if ADDR_ADDR4 in inner and flags & FLAG_SUBFLOW:
                number = int.from_bytes(inner.get(ADDR_IF_IDX, bytes(4)), "little")
                endpoint = MptcpEndpoint(str(IPv4Address(inner[ADDR_ADDR4])), number)
                found[endpoint] = inner.get(ADDR_ID, b"\0")[0]
        return found

    def add_endpoint(self, endpoint: MptcpEndpoint) -> None:
        """Let the kernel open subflows over an address.

        Raises:
            NetlinkError: the kernel refused, e.g. because the address is not there.
        """
        inner = pack_attribute(ADDR_FAMILY, struct.pack("=H", socket.AF_INET))
        inner += pack_attribute(ADDR_ADDR4, IPv4Address(endpoint.address).packed)
        inner += pack_attribute(ADDR_FLAGS, struct.pack("=I", FLAG_SUBFLOW))
        inner += pack_attribute(ADDR_IF_IDX, struct.pack("=i", endpoint.interface_number))
        self._do(PM_ADD_ADDR, pack_attribute(PM_ATTR_ADDR | 0x8000, inner))

    def delete_endpoint(self, endpoint_id: int) -> None:
        """Stop opening subflows over an endpoint."""
        inner = pack_attribute(ADDR_ID, bytes([endpoint_id]))
        self._do(PM_DEL_ADDR, pack_attribute(PM_ATTR_ADDR | 0x8000, inner))

    def limits(self) -> tuple[int, int]:
        """Return (subflows, accepted ADD_ADDR) allowed per connection."""
        body = next(iter(self._ask(self._family, _GENL.pack(PM_GET_LIMITS, 1, 0), 0)), b"")
        found = dict(iter_attributes(body[_GENL.size :]))
        subflows = int.from_bytes(found.get(PM_ATTR_SUBFLOWS, bytes(4)), "little")
        return subflows, int.from_bytes(found.get(PM_ATTR_RCV_ADD_ADDRS, bytes(4)), "little")

    def set_limits(self, subflow_count: int, add_addr_count: int) -> None:
        """Allow so many subflows and accepted ADD_ADDR per connection; both 0..8."""
        payload = pack_attribute(PM_ATTR_RCV_ADD_ADDRS, struct.pack("=I", add_addr_count))
        self._do(PM_SET_LIMITS, payload + pack_attribute(PM_ATTR_SUBFLOWS, struct.pack("=I", subflow_count)))

    def subflows(self) -> list[Subflow]:
        """Return the established Multipath TCP subflows over IPv4. Complexity: one dump of the TCP table."""
        extensions = (1 << (DIAG_INFO - 1)) & 0xFF
        request = struct.pack(
            "=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, extensions, 0, 1 << TCP_ESTABLISHED
        )
        request += bytes(48)
        self._diagnosis.send(pack_message(SOCK_DIAG_BY_FAMILY, 0x300, request))
        found = []
        for body in _answers(self._diagnosis):
            subflow = _subflow(body)
            if subflow is not None:
                found.append(subflow)
        return found

    def _do(self, command: int, payload: bytes) -> None:
        for _ in self._ask(self._family, _GENL.pack(command, 1, 0) + payload, 4):
            pass

    def _ask(self, family: int, payload: bytes, flags: int) -> list[bytes]:
        self._socket.send(pack_message(family, flags, payload))
        if flags == 0:
            return list(_answers(self._socket, count=1))
        return list(_answers(self._socket))


def _answers(sock: socket.socket, count: int = 0) -> Iterator[bytes]:
    """Yield bodies until the dump is done, the command is acknowledged, or ``count`` answers have come."""
    seen = 0
    while True:
        for kind, _, body in iter_messages(sock.recv(1 << 18)):
            if kind == 3:
                return
            if kind == 2:
                code = -struct.unpack_from("=i", body)[0]
                if code:
                    raise NetlinkError(code, os.strerror(code))
                return
            yield body
            seen += 1
            if seen == count:
                return


def _subflow(body: bytes) -> Subflow | None:
    """Return the subflow in an inet_diag answer; ``None`` for plain TCP."""
    local_port, remote_port, local, remote = _DIAG_ADDRESSES.unpack_from(body, 4)
    found = dict(iter_attributes(body[72:]))
    ulp = dict(iter_attributes(found.get(DIAG_ULP_INFO, b"")))
    mptcp = dict(iter_attributes(ulp.get(ULP_INFO_MPTCP, b"")))
    info = found.get(DIAG_INFO, b"")
    if SUBFLOW_TOKEN_LOC not in mptcp or len(info) < 136:
        return None
    rtt_us = struct.unpack_from("=I", info, 68)[0]
    cwnd = struct.unpack_from("=I", info, 80)[0]
    bytes_acked, bytes_received = struct.unpack_from("=QQ", info, 120)
    return Subflow(
        token=int.from_bytes(mptcp[SUBFLOW_TOKEN_LOC][:4], "little"),
        local_address=str(IPv4Address(local[:4])),
        local_port=local_port,
        remote_address=str(IPv4Address(remote[:4])),
        remote_port=remote_port,
        rtt_ms=rtt_us / 1000,
        cwnd=cwnd,
        bytes_acked=bytes_acked,
        bytes_received=bytes_received,
    )
