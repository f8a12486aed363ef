"""The receiving ends: they stamp every arrival and count it in 10 ms bins."""

import socket
import threading
import time

from nfvportal.lab.traffic.bins import ByteBins, LatencyWindow, LossCounter
from nfvportal.lab.traffic.flows import Flow
from nfvportal.lab.traffic.senders import DATAGRAM, REQUEST
from nfvportal.lab.traffic.worker import POLL_S, FlowWorker, send_all

BUFFER_BYTES = 1 << 20
BACKLOG = 64
MAX_ARRIVALS = 1_000_000
MAX_LATENCY_MS = 60_000


class Receiver(FlowWorker):
    """Common to all receivers: bins under a lock, and arrivals when somebody asked for them."""

    def __init__(self, flow: Flow, *, keep_arrivals: bool = False) -> None:
        super().__init__(flow)
        self._lock = threading.Lock()
        self._bins = ByteBins()
        self._latencies = LatencyWindow()
        self._losses = LossCounter()
        self.arrivals: list[float] | None = [] if keep_arrivals else None

    def take_bins(self, now_s: float) -> list[tuple[float, int]]:
        """Return the bins that are over."""
        with self._lock:
            return self._bins.take(now_s)

    def take_quality(self) -> tuple[LatencyWindow, int]:
        """Return latencies, and how many datagrams were lost, since the last call."""
        with self._lock:
            latencies, self._latencies = self._latencies, LatencyWindow()
            return latencies, self._losses.take()

    def count(self, size_bytes: int) -> None:
        """Count an arrival that happened now."""
        at_s = time.time()
        with self._lock:
            self._bins.add(at_s, size_bytes)
        if self.arrivals is not None and len(self.arrivals) < MAX_ARRIVALS:
            self.arrivals.append(at_s)


class StreamReceiver(Receiver):
    """Accepts connections and reads them; of kind ``request`` it answers each request with its own size."""

    def work(self) -> None:
        """Listen until stopped."""
        with self.flow.open_socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.flow.address, self.flow.port))
            listener.listen(BACKLOG)
            listener.settimeout(POLL_S)
            while not self.stopping.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(POLL_S)
        with connection:
            try:
                if self.flow.kind == "request":
                    self._answer(connection)
                else:
                    self._swallow(connection)
            except OSError:
                return  # the sender opens a new connection

    def _swallow(self, connection: socket.socket) -> None:
        buffer = bytearray(BUFFER_BYTES)
        while not self.stopping.is_set():
            try:
                size = connection.recv_into(buffer)
            except TimeoutError:
                continue
            if not size:
                return
            self.count(size)

    def _answer(self, connection: socket.socket) -> None:
        while not self.stopping.is_set():
            head = self._read(connection, REQUEST.size)
            if len(head) < REQUEST.size:
                return
            (size,) = REQUEST.unpack(head)
            if not REQUEST.size <= size <= BUFFER_BYTES:
                return
            body = self._read(connection, size - REQUEST.size)
            self.count(len(head) + len(body))
            send_all(connection, head + body, self.stopping)

    def _read(self, connection: socket.socket, size: int) -> bytes:
        """Return ``size`` bytes, fewer when the connection ended or we stop."""
        data = b""
        while len(data) < size and not self.stopping.is_set():
            try:
                part = connection.recv(size - len(data))
            except TimeoutError:
                continue
            if not part:
                break
            data += part
        return data


class VoiceReceiver(Receiver):
    """Receives numbered datagrams: what is missing, and how long each took (both ends share this machine's clock)."""

    def work(self) -> None:
        """Receive until stopped."""
        with self.flow.open_socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.flow.address, self.flow.port))
            sock.settimeout(POLL_S)
            while not self.stopping.is_set():
                try:
                    data = sock.recv(65_536)
                except TimeoutError:
                    continue
                self.count(len(data))
                if len(data) >= DATAGRAM.size:
                    self._judge(*DATAGRAM.unpack_from(data))

    def _judge(self, sequence: int, sent_ns: int) -> None:
        latency_ms = (time.time_ns() - sent_ns) / 1e6
        if abs(latency_ms) > MAX_LATENCY_MS:
            return  # not from our sender: its number would be counted as a loss of millions
        with self._lock:
            self._losses.add(sequence, sent_ns)
            self._latencies.add(latency_ms)


def make_receiver(flow: Flow, *, keep_arrivals: bool = False) -> Receiver:
    """Return the receiver of a flow."""
    kind = VoiceReceiver if flow.kind == "voice" else StreamReceiver
    return kind(flow, keep_arrivals=keep_arrivals)
