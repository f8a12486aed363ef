"""Live subflows as the kernel lists them, against the sockets that made them."""

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.wan.agent.mptcp_netlink import MptcpEndpoint, MptcpKernel, _subflow
from nfvportal.agent.netlink import NetlinkError
from tests.nfvportal.agent.in_namespace import add_wire, in_namespace, ip_json
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(
    not Path("/proc/sys/net/mptcp").is_dir(), reason="this kernel has no Multipath TCP"
)


def connected(protocol: int) -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection over the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
        client.connect(listener.getsockname())
        return client, listener.accept()[0]


@in_namespace
def test_a_subflow_is_listed_at_both_ends_with_its_bytes() -> None:
    kernel = MptcpKernel()
    assert kernel.subflows() == []
    plain = connected(socket.IPPROTO_TCP)
    assert kernel.subflows() == [], "plain TCP is no subflow"
    client, server = connected(socket.IPPROTO_MPTCP)
    client.sendall(bytes(100_000))
    received = 0
    while received < 100_000:
        received += len(server.recv(65_536))
    port = client.getsockname()[1]
    wait_until(
        lambda: any(f.bytes_acked >= 100_000 for f in kernel.subflows() if f.local_port == port), "acked", 5
    )
    by_port = {flow.local_port: flow for flow in kernel.subflows()}
    assert by_port.keys() == {port, server.getsockname()[1]}
    ours, theirs = by_port[port], by_port[server.getsockname()[1]]
    assert (ours.local_address, ours.remote_address) == ("127.0.0.1", "127.0.0.1")
    assert ours.remote_port == theirs.local_port
    assert ours.token != theirs.token, "each end has its own token"
    assert theirs.bytes_received >= 100_000
    assert 0 < ours.rtt_ms < 1000
    assert ours.cwnd >= 1
    for end in (*plain, client, server):
        end.close()
    wait_until(lambda: kernel.subflows() == [], "closed ones are gone", 5)


@in_namespace
def test_endpoints_and_limits() -> None:
    add_wire("lan0", "10.1.1.10/24")
    number = socket.if_nametoindex("lan0")
    kernel = MptcpKernel()
    endpoint = MptcpEndpoint("10.1.1.10", number)
    kernel.add_endpoint(endpoint)
    held = kernel.endpoints()
    assert list(held) == [endpoint]
    shown = ip_json("mptcp endpoint show")
    assert [(item["address"], item["id"], item["subflow"], item["dev"]) for item in shown] == [
        ("10.1.1.10", held[endpoint], True, "lan0")
    ]
    with pytest.raises(NetlinkError):
        kernel.add_endpoint(endpoint)
    kernel.delete_endpoint(held[endpoint])
    assert kernel.endpoints() == {}
    kernel.set_limits(3, 5)
    assert kernel.limits() == (3, 5)


@given(st.binary(min_size=72, max_size=400))
def test_any_answer_of_the_kernel_is_a_subflow_or_none(body: bytes) -> None:
    flow = _subflow(body)
    assert flow is None or flow.rtt_ms >= 0
