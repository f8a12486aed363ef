"""Build a topology out of network namespaces, veth pairs and bridges."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from nfvportal.lab.kernel import inside_network, new_network, offloads_off, write_sysctls
from nfvportal.lab.topology import Link, LinkEnd, Node, Topology

_EVERY_NODE = {
    # Addresses of several subnets share one interface and answers may leave by another link than they came.
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    # Hosts of two virtual subnets share a wire: a gateway must not teach them a shorter way.
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
    "net/ipv4/conf/all/accept_redirects": "0",
    "net/ipv4/conf/default/accept_redirects": "0",
    # No router solicitations, no multicast reports: nothing moves but what the lab sends.
    "net/ipv6/conf/all/accept_ra": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/autoconf": "0",
    "net/ipv6/conf/default/addr_gen_mode": "1",
    # Every connection starts with the same knowledge: none.
    "net/ipv4/tcp_no_metrics_save": "1",
    "net/ipv4/ping_group_range": "0 0",
    "net/mptcp/enabled": "1",
    # A black hole is what the lab is for; the kernel must not switch Multipath TCP off for an hour because of one.
    "net/mptcp/blackhole_timeout": "0",
}
_GATEWAY = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    # Replacing one nexthop must not rewrite every route that uses it.
    "net/ipv4/nexthop_compat_mode": "0",
}
# A lost address request is asked again after 100 ms, not 1 s: bring-up and healing are quick.
_EVERY_INTERFACE = {"net/ipv4/neigh/{interface}/retrans_time_ms": "100"}
# Relay ends carry other nodes' frames; the lab's own network stack must never speak on them.
_LAB_ITSELF = {
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
    "net/ipv4/ip_forward": "0",
}
FIRST_INTERFACE_INDEX = 100


class BringUpError(Exception):
    """The kernel or the ``ip`` command refused a step; the message says which."""


@dataclass(frozen=True, slots=True)
class RelayPorts:
    """The two interfaces in the lab's own namespace between which a link's relay moves frames."""

    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Network:
    """A topology that is up: one namespace descriptor per node, two relay ports per emulated link."""

    topology: Topology
    namespace_fds: dict[str, int]
    relay_ports: dict[str, RelayPorts]


def require_tools() -> str | None:
    """Return what is missing on this machine and from which package it comes, or ``None``."""
    if shutil.which("ip") is None:
        return "the lab needs the command ip: install the package iproute2"
    return None


def bring_up(topology: Topology) -> Network:
    """Build the topology; the caller must be in namespaces of its own (they are never taken down one by one).

    Raises:
        BringUpError: a step was refused.
    """
    write_sysctls(_LAB_ITSELF)
    namespace_fds = {node.name: new_network() for node in topology.nodes}
    ports = {
        link.name: RelayPorts(f"r{index}a", f"r{index}b")
        for index, link in enumerate(topology.links)
        if link.shape is not None
    }
    for node in topology.nodes:
        # Before the interfaces come, so that they inherit the defaults.
        with inside_network(namespace_fds[node.name]):
            write_sysctls(_EVERY_NODE | (_GATEWAY if node.kind == "gateway" else {}))
    # Indexes are unique across the lab: the kernel takes a veth whose ends have the same index for something else and
    # lets its carrier wait up to a second.
    indexes = count(FIRST_INTERFACE_INDEX)
    commands = [
        command
        for link in topology.links
        for command in _link_commands(topology, link, ports.get(link.name), namespace_fds, indexes)
    ]
    _ip_batch(commands, tuple(namespace_fds.values()))
    for pair in ports.values():
        offloads_off(pair.a)
        offloads_off(pair.b)
    for node in topology.nodes:
        with inside_network(namespace_fds[node.name]):
            for interface in node.interfaces:
                offloads_off(interface.name)
                write_sysctls(
                    {name.format(interface=interface.name): value for name, value in _EVERY_INTERFACE.items()}
                )
            _ip_batch(_node_commands(node))
    return Network(topology, namespace_fds, ports)


def _link_commands(
    topology: Topology,
    link: Link,
    ports: RelayPorts | None,
    namespace_fds: dict[str, int],
    indexes: Iterator[int],
) -> list[str]:
    mtu = f" mtu {link.mtu}" if link.mtu else ""

    def end(name: str, place: str = "") -> str:
        return f"name {name} index {next(indexes)}{mtu}{place}"

    def node_end(link_end: LinkEnd) -> str:
        mac = topology.interface(link_end).mac
        address = f" address {mac}" if mac else ""
        return end(link_end.interface, f"{address} netns /proc/self/fd/{namespace_fds[link_end.node]}")

    if ports is None:
        return [f"link add {node_end(link.a)} type veth peer {node_end(link.b)}"]
    return [
        f"link add {end(ports.a)} type veth peer {node_end(link.a)}",
        f"link add {end(ports.b)} type veth peer {node_end(link.b)}",
        *(f"link set dev {port} arp off promisc on up" for port in (ports.a, ports.b)),
    ]


def _node_commands(node: Node) -> list[str]:
    commands = ["link set dev lo up"]
    if node.kind == "bridge":
        commands.append("link add name br0 type bridge stp_state 0 forward_delay 0")
        commands += [f"link set dev {interface.name} master br0" for interface in node.interfaces]
        commands.append("link set dev br0 up")
    for interface in node.interfaces:
        commands += [f"address add {address} dev {interface.name}" for address in interface.addresses]
        commands.append(f"link set dev {interface.name} up")
    for route in node.routes:
        metric = f" metric {route.metric}" if route.metric is not None else ""
        commands.append(f"route add {route.to} via {route.via}{metric}")
    return commands


def _ip_batch(commands: list[str], pass_fds: tuple[int, ...] = ()) -> None:
    """Run ``ip`` commands in this thread's namespace, all in one process."""
    done = subprocess.run(
        ["ip", "-batch", "-"],
        input="\n".join(commands) + "\n",
        text=True,
        capture_output=True,
        pass_fds=pass_fds,
        check=False,
        timeout=30,
    )
    if done.returncode != 0:
        raise BringUpError(f"ip refused a step: {' '.join(done.stderr.split())}")
