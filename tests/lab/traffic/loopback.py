"""Flows over the loopback interface: both ends for real, on ports that were free a moment ago."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nfvportal.lab.traffic.flows import Flow, parse_flows
from nfvportal.lab.traffic.receivers import Receiver
from nfvportal.lab.traffic.worker import FlowWorker
from tests.support.waiting import wait_until

ADDRESS = "127.0.0.1"
PROTOCOL_OF = {"bulk": "tcp", "request": "tcp", "voice": "udp"}


def free_port() -> int:
    """Return a port that nobody listens on, of TCP and of UDP."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        stream.bind((ADDRESS, 0))
        port = int(stream.getsockname()[1])
        datagrams.bind((ADDRESS, port))
    return port


def item(kind: str, part: str, port: int, **more: Any) -> dict[str, Any]:
    """Return one flow of a spec."""
    base = {"name": kind, "kind": kind, "part": part, "protocol": PROTOCOL_OF[kind], "address": ADDRESS}
    return {**base, "port": port, **more}


def flow(kind: str, part: str, port: int, **more: Any) -> Flow:
    """Return one parsed flow."""
    return parse_flows({"flows": [item(kind, part, port, **more)]})[0]


@contextmanager
def running(*workers: FlowWorker) -> Iterator[None]:
    """Run workers; none outlives the block."""
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
    assert not any(worker.is_alive() for worker in workers)


class Meter:
    """The bytes that a receiver has told of so far."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.total_bytes = 0

    def read(self, now_s: float) -> int:
        """Take the bins that are over and return the sum of all taken."""
        self.total_bytes += sum(size for _, size in self._receiver.take_bins(now_s))
        return self.total_bytes


@contextmanager
def raw_client(port: int) -> Iterator[socket.socket]:
    """A plain TCP client of a receiver that may still be starting."""
    client = wait_until(lambda: _connected(port), f"somebody listens on port {port}")
    client.settimeout(10)
    with client:
        yield client


def _connected(port: int) -> socket.socket | None:
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if client.connect_ex((ADDRESS, port)) == 0:
        return client
    client.close()
    return None
