"""Probes over real interfaces: only from the peer, only on their link, with the kernel's arrival time."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from apps.wan.agent.gateway_spec import GatewayLink
from apps.wan.agent.probe_socket import ProbeSocket
from tests.nfvportal.agent.in_namespace import in_namespace, ip
from tests.support.waiting import wait_until

PORT = 4785
SEND = (
    "import socket,sys; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], int(sys.argv[2]))); "
    "s.sendto(sys.argv[3].encode(), (sys.argv[4], 4785))"
)


def add_peer() -> "subprocess.Popen[bytes]":
    """Make a namespace at the other end of two wires; it lives as long as the returned process."""
    peer = subprocess.Popen(["unshare", "-n", "sleep", "60"])
    own = Path("/proc/self/ns/net").readlink()
    wait_until(lambda: Path(f"/proc/{peer.pid}/ns/net").readlink() != own, "the peer has its own network", 5)
    for name, net in (("wan1", "192.0.2"), ("wan2", "198.51.100")):
        ip(f"link add {name} type veth peer name {name} netns {peer.pid}")
        ip(f"address add {net}.1/24 dev {name}")
        ip(f"link set {name} up")
        inside(peer, "ip", "address", "add", f"{net}.2/24", "dev", name)
        inside(peer, "ip", "link", "set", name, "up")
    return peer


def inside(peer: "subprocess.Popen[bytes]", *command: str) -> None:
    subprocess.run(["nsenter", "-t", str(peer.pid), "-n", *command], check=True)


def link(number: int, net: str) -> GatewayLink:
    return GatewayLink(f"link{number}", f"wan{number}", f"{net}.1", f"{net}.2", 1)


@in_namespace
def test_only_the_peers_own_probes_of_this_link_are_taken() -> None:
    peer = add_peer()
    try:
        first = ProbeSocket(link(1, "192.0.2"), PORT)
        second = ProbeSocket(link(2, "198.51.100"), PORT)
        inside(peer, "ip", "address", "add", "192.0.2.9/24", "dev", "wan1")
        for source, port, text in (
            ("192.0.2.9", PORT, "another address"),
            ("192.0.2.2", PORT + 1, "another port"),
            ("192.0.2.2", PORT, "good"),
        ):
            inside(peer, sys.executable, "-c", SEND, source, str(port), text, "192.0.2.1")
        inside(peer, sys.executable, "-c", SEND, "192.0.2.2", str(PORT), "astray", "198.51.100.1")
        arrived: list[tuple[float, bytes]] = []
        wait_until(lambda: arrived.extend(first.drain()) or arrived, "a probe arrives", 5)
        assert [data for _, data in arrived] == [b"good"]
        assert 0 <= time.monotonic() - arrived[0][0] < 5
        assert second.drain() == []
        first.close()
        second.close()
    finally:
        peer.kill()
        peer.wait()


@in_namespace
def test_a_waiting_probe_keeps_the_time_at_which_it_arrived() -> None:
    peer = add_peer()
    try:
        receiving = ProbeSocket(link(1, "192.0.2"), PORT)
        inside(peer, sys.executable, "-c", SEND, "192.0.2.2", str(PORT), "early", "192.0.2.1")
        sent_by_s = time.monotonic()
        wait_until(lambda: time.monotonic() > sent_by_s + 0.2, "the reader is late", 5)
        ((at_s, data),) = receiving.drain()
        assert data == b"early"
        assert at_s <= sent_by_s + 0.05
        receiving.close()
    finally:
        peer.kill()
        peer.wait()


@in_namespace
def test_a_link_that_cannot_send_loses_the_probe_and_nothing_else() -> None:
    ip("link add wan1 type veth peer name wan1-far")
    ip("address add 192.0.2.1/24 dev wan1")
    with pytest.raises(OSError, match="assign"):
        ProbeSocket(GatewayLink("x", "wan1", "203.0.113.1", "192.0.2.2", 1), PORT)
    sending = ProbeSocket(link(1, "192.0.2"), PORT)
    sending.send(b"into the void")
    assert sending.drain() == []
    assert sending.fileno() > 0
    sending.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("192.0.2.1", PORT))
