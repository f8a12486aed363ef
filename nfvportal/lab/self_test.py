"""Directed reachability: does a datagram from every host arrive at every other host?"""

import select
import socket
import time
from dataclasses import dataclass
from typing import Any

from nfvportal.lab.bring_up import Network
from nfvportal.lab.kernel import inside_network

PORT = 47_999
RESEND_S = 0.1


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Result: the ordered pairs asked for and those where nothing arrived, as ``a>b``."""

    checked: int
    failed: tuple[str, ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the result as the JSON object of the lab's status."""
        return {
            "ok": not self.failed,
            "checked": self.checked,
            "failed": list(self.failed),
            "seconds": self.seconds,
        }


def run_self_test(network: Network, deadline_s: float = 3.0) -> SelfTest:
    """Send a datagram along every ordered pair of hosts, again every 100 ms, until all arrived or time is up.

    Must be called from the thread whose network namespace is the lab's own.
    """
    pairs = network.topology.host_pairs
    started_s = time.monotonic()
    hosts = {node.name for pair in pairs for node in pair}
    sockets = {name: _open_host_socket(network.namespace_fds[name]) for name in hosts}
    missing = {f"{source.name}>{target.name}": (source.name, target.address) for source, target in pairs}
    try:
        send_at_s = started_s
        while missing and time.monotonic() < started_s + deadline_s:
            if time.monotonic() >= send_at_s:
                send_at_s += RESEND_S
                _send_all(sockets, missing)
            for name in _receive(sockets, max(0.0, send_at_s - time.monotonic())):
                missing.pop(name, None)
    finally:
        for host_socket in sockets.values():
            host_socket.close()
    return SelfTest(len(pairs), tuple(missing), round(time.monotonic() - started_s, 4))


def _open_host_socket(namespace_fd: int) -> socket.socket:
    with inside_network(namespace_fd):
        host_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    host_socket.setblocking(False)
    host_socket.bind(("", PORT))
    return host_socket


def _send_all(sockets: dict[str, socket.socket], missing: dict[str, tuple[str, str | None]]) -> None:
    for name, (source, address) in missing.items():
        try:
            sockets[source].sendto(name.encode(), (address, PORT))
        except OSError:
            # No route or no neighbour: that is what the test will report.
            continue


def _receive(sockets: dict[str, socket.socket], wait_s: float) -> list[str]:
    """Return the names of the pairs whose datagram arrived at the right host."""
    by_socket = {host_socket: name for name, host_socket in sockets.items()}
    arrived = []
    for host_socket in select.select(list(by_socket), [], [], wait_s)[0]:
        try:
            name = host_socket.recv(200).decode(errors="replace")
        except OSError:
            continue
        if name.endswith(f">{by_socket[host_socket]}"):
            arrived.append(name)
    return arrived
