"""Bulk and request flows over the loopback: what arrives, how long answers take, and who survives what."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nfvportal.lab.traffic.flows import IPPROTO_MPTCP
from nfvportal.lab.traffic.receivers import BUFFER_BYTES, StreamReceiver, make_receiver
from nfvportal.lab.traffic.senders import REQUEST, BulkSender, RequestSender
from nfvportal.lab.traffic.worker import connect, send_all
from tests.lab.traffic.loopback import ADDRESS, Meter, flow, free_port, raw_client, running
from tests.support.waiting import wait_until

SOL_MPTCP, MPTCP_INFO = 284, 1
FLAGS_AT, FALLBACK, REMOTE_KEY = 8, 1, 2
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@pytest.fixture
def mptcp() -> str:
    """Skip where the kernel has no Multipath TCP."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
    except OSError as error:
        pytest.skip(f"no Multipath TCP: {error}")
    return "mptcp"


@pytest.fixture(params=["tcp", "mptcp"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Each stream protocol that the kernel allows."""
    return str(request.getfixturevalue("mptcp") if request.param == "mptcp" else request.param)


def _is_over(meter: Meter, size: int) -> bool:
    return meter.read(time.time()) >= size


def test_bulk_arrives(protocol: str) -> None:
    port = free_port()
    receiver = make_receiver(flow("bulk", "receiver", port, protocol=protocol))
    meter = Meter(receiver)
    with running(receiver, BulkSender(flow("bulk", "sender", port, protocol=protocol))):
        wait_until(lambda: _is_over(meter, 5_000_000), "5 MB arrived")


def test_multipath_tcp_is_spoken_by_both_ends(mptcp: str) -> None:
    port = free_port()
    ask = flow("request", "sender", port, protocol=mptcp)
    receiver = StreamReceiver(flow("request", "receiver", port, protocol=mptcp))
    with running(receiver), raw_client(port), connect(ask) as client:
        client.sendall(REQUEST.pack(20) + bytes(16))
        wait_until(lambda: len(client.recv(20, socket.MSG_PEEK)) == 20, "the answer is here")
        (flags,) = struct.unpack_from("=I", client.getsockopt(SOL_MPTCP, MPTCP_INFO, 64), FLAGS_AT)
    assert flags & REMOTE_KEY
    assert not flags & FALLBACK


def test_bins_hold_every_byte_that_was_sent(protocol: str) -> None:
    port, sizes = free_port(), [1, 1000, 65_536, 1_234_567]
    receiver = StreamReceiver(flow("bulk", "receiver", port, protocol=protocol))
    meter = Meter(receiver)
    with running(receiver):
        for size in sizes:
            with raw_client(port) as client:
                client.sendall(bytes(size))
        wait_until(lambda: _is_over(meter, sum(sizes)), "all bytes are in bins")
        receiver.stop()
        assert meter.read(time.time() + 1) == sum(sizes)


def test_bulk_keeps_its_rate() -> None:
    port, rate_bps, message_bytes = free_port(), 2_000_000, 5_000
    receiver = StreamReceiver(flow("bulk", "receiver", port), keep_arrivals=True)
    sender = flow("bulk", "sender", port, rate_bps=rate_bps, message_bytes=message_bytes)
    meter = Meter(receiver)
    with running(receiver, BulkSender(sender)):
        wait_until(lambda: _is_over(meter, 200_000), "200 kB arrived")
    total_bytes, arrivals = meter.read(time.time() + 1), receiver.arrivals
    assert arrivals == sorted(arrivals or [])
    allowed_bytes = rate_bps / 8 * (arrivals[-1] - arrivals[0] + 0.1)  # 100 ms may be made up for
    assert total_bytes <= allowed_bytes + 2 * message_bytes


def test_a_request_is_answered_and_timed(protocol: str) -> None:
    port = free_port()
    receiver = StreamReceiver(flow("request", "receiver", port, protocol=protocol))
    sender = RequestSender(flow("request", "sender", port, protocol=protocol, interval_ms=1))
    meter = Meter(receiver)
    with running(receiver, sender):
        wait_until(lambda: _is_over(meter, 50_000), "50 requests of 1000 bytes arrived")
        window = sender.take()
    p50, p99 = window.percentiles_ms((0.5, 0.99))
    assert p50 is not None
    assert p99 is not None
    assert 0 < p50 <= p99 < 10_000
    assert window.count >= 49


@contextmanager
def slow_server(delay_s: float) -> Iterator[tuple[int, list[socket.socket]]]:
    """Answer requests of 1000 bytes after a while; give the port and the connections that were accepted."""
    accepted: list[socket.socket] = []
    over = threading.Event()
    with socket.create_server((ADDRESS, 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                accepted.append(connection)
                with connection:
                    while not over.is_set() and connection.recv(1000, socket.MSG_WAITALL):
                        over.wait(delay_s)
                        connection.sendall(bytes(1000))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1]), accepted
        finally:
            over.set()
            thread.join()


def test_a_slow_answer_is_seen_in_the_latency() -> None:
    with slow_server(0.03) as (port, accepted):
        sender = RequestSender(flow("request", "sender", port, interval_ms=0))
        with running(sender):
            wait_until(lambda: _count(sender) >= 5, "5 answers")
            window = sender.take()
        assert len(accepted) == 1
    (p01,) = window.percentiles_ms((0.01,))
    assert p01 is not None
    assert p01 >= 30


def _count(sender: RequestSender) -> int:
    return sender._window.count


def test_an_answer_cut_by_the_stop_is_not_timed() -> None:
    with slow_server(60) as (port, accepted):
        sender = RequestSender(flow("request", "sender", port))
        with running(sender):
            wait_until(lambda: accepted, "the sender has connected")
        assert sender.take().count == 0


def test_a_connection_that_stands_still_is_not_given_up() -> None:
    size, received = 1_000_000, 0
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.settimeout(0.01)
        theirs.settimeout(10)
        sending = threading.Thread(target=send_all, args=(ours, bytes(size), threading.Event()), daemon=True)
        sending.start()
        sending.join(timeout=0.2)  # stands still twenty times as long as a send may take
        while received < size and (part := theirs.recv(1 << 16)):
            received += len(part)
        sending.join(timeout=10)
    assert received == size


def test_a_stop_ends_a_send_that_stands_still() -> None:
    stopping = threading.Event()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.01)
        sending = threading.Thread(target=send_all, args=(ours, bytes(10_000_000), stopping), daemon=True)
        sending.start()
        stopping.set()
        sending.join(timeout=10)
        assert not sending.is_alive()


def test_a_peer_that_closed_ends_a_send() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionError):
            send_all(ours, b"x", threading.Event())


@pytest.mark.parametrize("size", [0, REQUEST.size - 1, BUFFER_BYTES + 1, 0xFFFFFFFF])
def test_a_request_of_a_senseless_size_ends_its_connection_only(size: int) -> None:
    port = free_port()
    receiver = StreamReceiver(flow("request", "receiver", port))
    with running(receiver):
        with raw_client(port) as foreign:
            foreign.sendall(REQUEST.pack(size))
            assert foreign.recv(1) == b""
        _answers(port)


def test_half_a_request_and_a_reset_harm_nobody() -> None:
    port = free_port()
    receiver = StreamReceiver(flow("request", "receiver", port))
    with running(receiver):
        with raw_client(port) as foreign:
            foreign.sendall(REQUEST.pack(1000)[:2])
        with raw_client(port) as foreign:
            foreign.sendall(REQUEST.pack(1000) + bytes(10))
            foreign.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        _answers(port)


def _answers(port: int) -> None:
    sender = RequestSender(flow("request", "sender", port, interval_ms=1))
    with running(sender):
        wait_until(lambda: _count(sender) >= 3, "the receiver answers others")


def test_bulk_survives_a_client_that_resets() -> None:
    port = free_port()
    receiver = StreamReceiver(flow("bulk", "receiver", port))
    meter = Meter(receiver)
    with running(receiver):
        with raw_client(port) as foreign:
            foreign.sendall(b"GET / HTTP/1.1\r\n\r\n")
            foreign.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        with raw_client(port) as client:
            client.sendall(bytes(10_000))
        wait_until(lambda: _is_over(meter, 10_000), "what others send is still counted")


@pytest.mark.parametrize("kind", ["bulk", "request"])
def test_a_sender_goes_on_when_its_receiver_is_back(kind: str, protocol: str) -> None:
    port = free_port()
    ends = {part: flow(kind, part, port, protocol=protocol) for part in ("sender", "receiver")}
    sender = BulkSender(ends["sender"]) if kind == "bulk" else RequestSender(ends["sender"])
    with running(sender):
        for life in ("first", "second"):
            receiver = StreamReceiver(ends["receiver"])
            meter = Meter(receiver)
            with running(receiver):
                wait_until(lambda meter=meter: _is_over(meter, 3000), f"the {life} receiver gets bytes")
        assert sender.is_alive()


def test_a_sender_leaves_from_its_local_address() -> None:
    with socket.create_server((ADDRESS, 0)) as listener:
        listener.settimeout(10)
        local = flow("bulk", "sender", listener.getsockname()[1], local_address="127.0.0.2")
        with running(BulkSender(local)):
            connection, (address, _) = listener.accept()
            connection.close()
    assert address == "127.0.0.2"
