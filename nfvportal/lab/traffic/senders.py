"""The sending ends."""

import struct
import threading
import time

from nfvportal.lab.traffic.bins import LatencyWindow
from nfvportal.lab.traffic.flows import Flow
from nfvportal.lab.traffic.worker import FlowWorker, connect, send_all, sleep_until

REQUEST = struct.Struct("!I")
DATAGRAM = struct.Struct("!IQ")


class BulkSender(FlowWorker):
    """Writes without end, greedily or at ``rate_bps`` of payload."""

    def work(self) -> None:
        """Write until stopped."""
        message = bytes(self.flow.message_bytes)
        rate_bps = self.flow.rate_bps
        if rate_bps is not None:  # smaller writes keep a slow flow smooth
            message = message[: max(1000, min(len(message), rate_bps // 8 // 50))]
        with connect(self.flow) as sock:
            due_s = time.monotonic()
            while not self.stopping.is_set():
                send_all(sock, message, self.stopping)
                if rate_bps is not None:
                    # After a standstill the backlog is not made up for in one burst.
                    due_s = max(due_s + 8 * len(message) / rate_bps, time.monotonic() - 0.1)
                    sleep_until(due_s, self.stopping)


class RequestSender(FlowWorker):
    """Sends a request, waits for the answer of the same size, notes how long it took."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow)
        self._lock = threading.Lock()
        self._window = LatencyWindow()

    def take(self) -> LatencyWindow:
        """Return the latencies since the last call."""
        with self._lock:
            window, self._window = self._window, LatencyWindow()
        return window

    def work(self) -> None:
        """Ask until stopped."""
        size = self.flow.message_bytes
        request = REQUEST.pack(size) + bytes(size - REQUEST.size)
        with connect(self.flow) as sock:
            due_s = time.monotonic()
            while not self.stopping.is_set():
                started_s = time.monotonic()
                send_all(sock, request, self.stopping)
                left = size
                while left and not self.stopping.is_set():
                    try:
                        got = len(sock.recv(left))
                    except TimeoutError:
                        continue
                    if not got:
                        raise ConnectionError("the server closed the connection")
                    left -= got
                if left:
                    return  # stopped before the answer was whole
                with self._lock:
                    self._window.add((time.monotonic() - started_s) * 1000)
                due_s = max(due_s + self.flow.interval_ms / 1000, time.monotonic())
                sleep_until(due_s, self.stopping)


class VoiceSender(FlowWorker):
    """Sends numbered datagrams at a steady interval."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow)
        self._sequence = 0

    def work(self) -> None:
        """Send until stopped; a datagram that cannot be sent now is lost, as it would be later."""
        with self.flow.open_socket() as sock:
            if self.flow.local_address is not None:
                sock.bind((self.flow.local_address, 0))
            padding = bytes(self.flow.message_bytes - DATAGRAM.size)
            due_s = time.monotonic()
            while not self.stopping.is_set():
                datagram = DATAGRAM.pack(self._sequence & 0xFFFFFFFF, time.time_ns()) + padding
                self._sequence += 1
                try:
                    sock.sendto(datagram, (self.flow.address, self.flow.port))
                except OSError:
                    self.stopping.wait(self.flow.interval_ms / 1000)
                due_s = max(due_s + self.flow.interval_ms / 1000, time.monotonic() - 0.1)
                sleep_until(due_s, self.stopping)
