"""A thread that works on one flow until stopped, and starts over when the network fails it."""

import logging
import select
import socket
import threading
import time

from nfvportal.lab.traffic.flows import Flow

logger = logging.getLogger(__name__)
RETRY_S = 0.2
POLL_S = 0.5


class FlowWorker(threading.Thread):
    """Base of senders and receivers: ``work`` is called again and again."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(name=f"{flow.part} {flow.name}", daemon=True)
        self.flow = flow
        self.stopping = threading.Event()

    def run(self) -> None:
        """Work until stopped; a network that fails only costs a retry."""
        while not self.stopping.is_set():
            try:
                self.work()
            except OSError as error:
                logger.info("flow %s: %s; trying again", self.flow.name, error)
                self.stopping.wait(RETRY_S)

    def work(self) -> None:
        """Do the flow's work until stopped or the network fails.

        Raises:
            OSError: the network failed.
        """
        raise NotImplementedError

    def stop(self) -> None:
        """End the thread."""
        self.stopping.set()
        if self.is_alive():
            self.join(timeout=5)


def sleep_until(deadline_s: float, stopping: threading.Event) -> None:
    """Wait for a moment on ``time.monotonic`` more precisely than an event can, but leave when stopped."""
    left_s = deadline_s - time.monotonic()
    if left_s > 2 * POLL_S:
        stopping.wait(left_s)
    elif left_s > 0:
        time.sleep(left_s)


def connect(flow: Flow) -> socket.socket:
    """Return a connected stream socket; a connection that stands still is not given up.

    Raises:
        OSError: nobody listens, or no route.
    """
    sock = flow.open_socket()
    try:
        sock.settimeout(5.0)
        if flow.local_address is not None:
            sock.bind((flow.local_address, 0))
        sock.connect((flow.address, flow.port))
        sock.settimeout(POLL_S)
    except OSError:
        sock.close()
        raise
    return sock


def send_all(sock: socket.socket, data: bytes, stopping: threading.Event) -> None:
    """Send all of ``data`` unless stopped; a connection that stands still is not given up.

    Raises:
        OSError: the connection is gone, or the peer has closed it: Multipath TCP lets one write on for a minute then.
    """
    closed = select.poll()
    closed.register(sock, select.POLLRDHUP)
    view = memoryview(data)
    while view and not stopping.is_set():
        if closed.poll(0):
            raise ConnectionError("the peer closed the connection")
        try:
            view = view[sock.send(view) :]
        except TimeoutError:
            continue
