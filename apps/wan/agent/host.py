"""Role ``wan.host``: one address per virtual subnet, one MPTCP subflow per address, one network interface.

That is all of WAN awareness on a host: its own kernel opens a subflow from every virtual subnet, and gateways decide
which link each rides on.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from apps.wan.agent.mptcp_netlink import MptcpEndpoint, MptcpKernel, Subflow
from nfvportal.agent import netlink
from nfvportal.agent.netlink import EXISTS, GONE, Address, Netlink, Route, Rule
from nfvportal.agent.role import RoleContext
from nfvportal.lib.errors import InvalidInputError

logger = logging.getLogger(__name__)
PROTOCOL = 200
TABLE_BASE = 20_000
PRIORITY_BASE = 20_000
TABLES = range(TABLE_BASE + 1, TABLE_BASE + 256)
RECONCILE_EVERY_S = 5.0
SAMPLE_EVERY_S = 1.0
MAX_SUBFLOWS = 8
MAX_SAMPLED = 1000
# TABLE: kernel switches of the host. A black hole must not switch Multipath TCP off for an hour; and what is not sent
# yet must stay free to go over any subflow: bound early to the fast one, it would wait there after a failover.
KERNEL_SWITCHES = {
    Path("/proc/sys/net/mptcp/blackhole_timeout"): "0",  # kernels before 6.12 have no such switch
    Path("/proc/sys/net/ipv4/tcp_notsent_lowat"): "131072",
}


@dataclass(frozen=True, slots=True)
class HostAddress:
    """This host's address in one virtual subnet, and the subnet's gateway."""

    index: int
    address: IPv4Interface
    gateway: IPv4Address


@dataclass(frozen=True, slots=True)
class HostSpec:
    """What a host should have."""

    interface: str
    addresses: tuple[HostAddress, ...]
    subflow_limit: int
    add_addr_accepted: int


def parse_host_spec(spec: Mapping[str, Any]) -> HostSpec:
    """Return the checked spec.

    Raises:
        InvalidInputError: naming the field and its limit.
    """
    interface = spec.get("interface")
    if not isinstance(interface, str) or not 1 <= len(interface) <= 15 or not interface.isprintable():
        raise InvalidInputError("interface", "must be an interface name of 1 to 15 printable characters")
    items = spec.get("addresses")
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_SUBFLOWS:
        raise InvalidInputError("addresses", f"must be a list of 1 to {MAX_SUBFLOWS} addresses")
    addresses = tuple(_address(item, f"addresses[{at}]") for at, item in enumerate(items))
    if len({address.index for address in addresses}) != len(addresses):
        raise InvalidInputError("addresses", "must have different indices")
    return HostSpec(
        interface,
        addresses,
        _limit(spec, "subflow_limit"),
        _limit(spec, "add_addr_accepted"),
    )


def _limit(spec: Mapping[str, Any], name: str) -> int:
    value = spec.get(name, MAX_SUBFLOWS)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SUBFLOWS:
        raise InvalidInputError(name, f"must be a whole number from 0 to {MAX_SUBFLOWS}")
    return value


def _address(item: object, field: str) -> HostAddress:
    if not isinstance(item, Mapping):
        raise InvalidInputError(field, "must be an object")
    index = item.get("index")
    if isinstance(index, bool) or not isinstance(index, int) or not 1 <= index <= 255:
        raise InvalidInputError(f"{field}.index", "must be a whole number from 1 to 255")
    try:
        address, gateway = IPv4Interface(str(item.get("address"))), IPv4Address(str(item.get("gateway")))
    except ValueError as error:
        raise InvalidInputError(
            field, "needs an address like 10.1.1.10/24 and a gateway like 10.1.1.1"
        ) from error
    if gateway not in address.network or address.network.prefixlen > 30:
        raise InvalidInputError(f"{field}.gateway", f"must be in {address.network}")
    return HostAddress(index, address, gateway)


class Host:
    """The role; see nfvportal.agent.role.Role."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._spec: HostSpec | None = None
        self._kernel = Netlink()
        self._mptcp = MptcpKernel()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ok = False

    async def apply(self, spec: Mapping[str, Any]) -> None:
        """Make the host match the spec and keep it so.

        Raises:
            InvalidInputError: a field breaks its limit, or the interface does not exist.
        """
        wanted = parse_host_spec(spec)
        try:
            socket.if_nametoindex(wanted.interface)
        except OSError as error:
            raise InvalidInputError(
                "interface", f"{wanted.interface} does not exist on this device"
            ) from error
        self._spec = wanted
        self._reconcile()
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._keep()), asyncio.create_task(self._watch())]

    def snapshot(self) -> Mapping[str, object]:
        """Return addresses and whether the kernel matches."""
        addresses = [str(item.address) for item in self._spec.addresses] if self._spec else []
        return {"addresses": addresses, "is_ok": self._is_ok}

    async def close(self) -> None:
        """Stop watching; addresses, rules and endpoints stay."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._kernel.close()
        self._mptcp.close()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE_EVERY_S)
            try:
                self._reconcile()
            except OSError as error:
                self._is_ok = False
                logger.warning("could not reconcile addresses and endpoints: %s", error)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            try:
                self._sample(self._mptcp.subflows()[:MAX_SAMPLED])
            except OSError as error:
                logger.warning("could not list subflows: %s", error)

    def _reconcile(self) -> None:
        """Set addresses, then rules and routes, then what Multipath TCP needs. Repeating changes nothing."""
        assert self._spec is not None
        number = socket.if_nametoindex(self._spec.interface)
        for path, value in KERNEL_SWITCHES.items():
            with contextlib.suppress(FileNotFoundError):
                path.write_text(value)
        self._remove_unwanted(number)
        for item in self._spec.addresses:
            add = netlink.pack_address_add(Address(str(item.address), number, PROTOCOL))
            self._kernel.send_all([add], ignore=EXISTS)
            # The kernel drops a table's routes with the address: set them every time, replacing equals.
            table = TABLE_BASE + item.index
            self._kernel.send_all(
                [netlink.pack_default_route_replace(str(item.gateway), number, table, PROTOCOL)]
            )
        wanted = {
            Rule(f"{item.address.ip}/32", TABLE_BASE + item.index, PRIORITY_BASE + item.index, PROTOCOL)
            for item in self._spec.addresses
        }
        held = {rule for rule in self._kernel.rules(PROTOCOL) if rule.table in TABLES}
        self._kernel.send_all([netlink.pack_rule_add(rule) for rule in sorted(wanted - held)], ignore=EXISTS)
        self._kernel.send_all([netlink.pack_rule_delete(rule) for rule in sorted(held - wanted)], ignore=GONE)
        self._reconcile_mptcp(number)
        self._is_ok = True

    def _remove_unwanted(self, number: int) -> None:
        """Remove addresses and tables that we set for an earlier spec; those of others stay."""
        assert self._spec is not None
        addresses = {Address(str(item.address), number, PROTOCOL) for item in self._spec.addresses}
        tables = {TABLE_BASE + item.index for item in self._spec.addresses}
        held = set(self._kernel.addresses(PROTOCOL))
        gone = [netlink.pack_address_delete(address) for address in sorted(held - addresses)]
        gone += [
            netlink.pack_route_delete(Route("0.0.0.0/0", route.table, 0, PROTOCOL))
            for route in sorted(self._kernel.routes(PROTOCOL))
            if route.table in TABLES and route.table not in tables
        ]
        self._kernel.send_all(gone, ignore=GONE | {errno.EADDRNOTAVAIL})

    def _reconcile_mptcp(self, interface_number: int) -> None:
        assert self._spec is not None
        limits = (self._spec.subflow_limit, self._spec.add_addr_accepted)
        if self._mptcp.limits() != limits:
            self._mptcp.set_limits(*limits)
        wanted = {MptcpEndpoint(str(item.address.ip), interface_number) for item in self._spec.addresses}
        held = self._mptcp.endpoints()
        for endpoint in sorted(wanted - held.keys()):
            self._mptcp.add_endpoint(endpoint)
        for endpoint in sorted(held.keys() - wanted):
            self._mptcp.delete_endpoint(held[endpoint])

    def _sample(self, subflows: list[Subflow]) -> None:
        assert self._spec is not None
        indices = {str(item.address.ip): item.index for item in self._spec.addresses}
        self._context.sample(
            {
                "at_s": [round(time.time(), 3)] * len(subflows),
                "token": [flow.token for flow in subflows],
                "local_address": [flow.local_address for flow in subflows],
                "local_port": [flow.local_port for flow in subflows],
                "remote_address": [flow.remote_address for flow in subflows],
                "remote_port": [flow.remote_port for flow in subflows],
                "index": [indices.get(flow.local_address) for flow in subflows],
                "bytes_acked": [flow.bytes_acked for flow in subflows],
                "rtt_ms": [round(flow.rtt_ms, 3) for flow in subflows],
                "cwnd": [flow.cwnd for flow in subflows],
            }
        )
