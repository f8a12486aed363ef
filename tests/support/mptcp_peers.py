"""The two ends of recorded traffic: a server for four kinds of connection, and a client that asks for the truth."""

import contextlib
import ctypes
import os
import random
import selectors
import signal
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any, Final

PORT: Final = 5201
KINDS: Final = ("send", "receive", "echo", "answer")
_IPPROTO_MPTCP: Final = 262
_SOL_MPTCP, _SUBFLOW_ADDRS = 284, 3
_SUBFLOW_BYTES, _SUBFLOWS_MAX = 256, 16
_HEADER = struct.Struct("=IIII")
_REQUEST = struct.Struct("=I")  # bytes to answer
CHUNK: Final = bytes(range(256)) * 256
ECHO_WAITING_MAX: Final = 1 << 17
READ_BYTES: Final = 1 << 17
TRUTH_EVERY_S: Final = 0.05
RESET_RATIO: Final = 0.3


def subflow_addresses(connection: socket.socket) -> list[tuple[str, int, str, int]]:
    """Return local and remote address of each subflow the kernel knows now; empty after the end.

    Source: the kernel's include/uapi/linux/mptcp.h, struct mptcp_subflow_data.
    """
    size = _HEADER.size + _SUBFLOW_BYTES * _SUBFLOWS_MAX
    request = bytearray(size)
    _HEADER.pack_into(request, 0, _HEADER.size, 0, 0, _SUBFLOW_BYTES)
    answer = _getsockopt(connection, request)
    if answer is None:
        return []
    count = _HEADER.unpack_from(answer)[1]
    found = []
    for number in range(min(count, _SUBFLOWS_MAX)):
        at = _HEADER.size + number * _SUBFLOW_BYTES
        local_port, local = struct.unpack_from("!2xH4s", answer, at)
        remote_port, remote = struct.unpack_from("!2xH4s", answer, at + _SUBFLOW_BYTES // 2)
        if local_port and remote_port:
            found.append((socket.inet_ntoa(local), local_port, socket.inet_ntoa(remote), remote_port))
    return found


def _getsockopt(connection: socket.socket, request: bytearray) -> bytes | None:
    """Call getsockopt with a buffer that holds a request, which Python's own method cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_char * len(request)).from_buffer(request)
    length = ctypes.c_uint32(len(request))
    code = libc.getsockopt(connection.fileno(), _SOL_MPTCP, _SUBFLOW_ADDRS, buffer, ctypes.byref(length))
    return ctypes.string_at(buffer, length.value) if code == 0 else None


def _use_cubic(sock: socket.socket) -> None:
    """Ask for CUBIC by name: with the machine's own default, recordings would not compare."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")


def serve(ready_fd: int) -> None:
    """Serve until SIGTERM, on all addresses: joins to an announced address find their listener only so."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, _IPPROTO_MPTCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _use_cubic(listener)
    listener.bind(("", PORT))
    listener.listen(512)
    os.write(ready_fd, b"1")
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, events in selector.select():
            if key.data is None:
                connection = listener.accept()[0]
                connection.setblocking(False)
                selector.register(connection, selectors.EVENT_READ, ServerEnd(connection))
                continue
            end: ServerEnd = key.data
            try:
                wanted = end.turn(events)
            except OSError:
                wanted = 0
            if wanted:
                selector.modify(end.sock, wanted, end)
            else:
                selector.unregister(end.sock)
                end.sock.close()


@dataclass(slots=True)
class ServerEnd:
    """One accepted connection; the first byte says its kind."""

    sock: socket.socket
    kind: str = ""
    waiting: bytearray = field(default_factory=bytearray)
    owed: int = 0
    is_over: bool = False

    def turn(self, events: int) -> int:
        """Read and write what is possible; return the events to wait for, 0: close."""
        if events & selectors.EVENT_READ and not self.is_over:
            self._read()
        self._write()
        if self.is_over and not self._has_more():
            return 0
        wants_write = selectors.EVENT_WRITE if self._has_more() else 0
        is_full = self.is_over or len(self.waiting) > ECHO_WAITING_MAX
        return (0 if is_full else selectors.EVENT_READ) | wants_write

    def _has_more(self) -> bool:
        if self.kind == "receive":
            return not self.is_over
        return bool(self.owed) if self.kind == "answer" else self.kind == "echo" and bool(self.waiting)

    def _read(self) -> None:
        data = self.sock.recv(READ_BYTES)
        if not data:
            self.is_over = True
            return
        if not self.kind:
            self.kind, data = KINDS[data[0]], data[1:]
        if self.kind in ("echo", "answer"):
            self.waiting += data
        while self.kind == "answer" and len(self.waiting) >= _REQUEST.size:
            self.owed += _REQUEST.unpack_from(self.waiting)[0]
            del self.waiting[: _REQUEST.size]

    def _write(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if self.kind == "receive" and not self.is_over:
                self.sock.send(CHUNK)
            elif self.kind == "echo" and self.waiting:
                del self.waiting[: self.sock.send(self.waiting)]
            elif self.owed:
                self.owed -= self.sock.send(CHUNK[: self.owed])


@dataclass(slots=True)
class ClientEnd:
    """One connection of the client, from ``start_s`` to ``end_s`` of the run."""

    number: int
    kind: str
    start_s: float
    end_s: float
    is_reset: bool
    rng: random.Random
    sock: socket.socket | None = None
    subflows: dict[tuple[str, int, str, int], list[float]] = field(default_factory=dict)
    waiting: bytearray = field(default_factory=bytearray)
    owed: int = 0
    pause_until_s: float = 0.0
    is_told: bool = False
    sent: int = 0
    received: int = 0

    def open(self, server: str) -> socket.socket:
        """Begin to connect."""
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, _IPPROTO_MPTCP)
        self.sock.setblocking(False)
        _use_cubic(self.sock)
        self.sock.connect_ex((server, PORT))
        self.waiting += bytes([KINDS.index(self.kind)])
        return self.sock

    def turn(self, events: int, now_s: float) -> int:
        """Read and write what is possible; return the events to wait for, 0: the connection is over."""
        assert self.sock is not None
        if events & selectors.EVENT_READ:
            with contextlib.suppress(BlockingIOError):
                data = self.sock.recv(READ_BYTES)
                if not data:
                    return 0
                self.received += len(data)
                self.owed = max(0, self.owed - len(data))
                if self.kind == "answer" and not self.owed:
                    self.pause_until_s = now_s + self.rng.expovariate(20.0)
        if not self.is_told:
            self._write(now_s)
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._wants_write(now_s) else 0)

    def finish(self) -> bool:
        """Say that nothing more comes; True if the connection is over at once."""
        assert self.sock is not None
        self.is_told = True
        if self.is_reset:
            return True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        return False

    def _wants_write(self, now_s: float) -> bool:
        if self.is_told:
            return False
        is_asking = self.kind == "answer" and not self.owed and now_s >= self.pause_until_s
        return bool(self.waiting) or self.kind in ("send", "echo") or is_asking

    def _write(self, now_s: float) -> None:
        with contextlib.suppress(BlockingIOError):
            assert self.sock is not None
            if not self.waiting:
                if self.kind in ("send", "echo"):
                    self.sent += self.sock.send(CHUNK)
                    return
                if self.kind == "receive" or self.owed or now_s < self.pause_until_s:
                    return
                self.owed = self.rng.choice((300, 5_000, 40_000, 150_000))
                self.waiting += _REQUEST.pack(self.owed)
            self.sent += (count := self.sock.send(self.waiting))
            del self.waiting[:count]

    def look(self, now_s: float) -> None:
        """Ask the socket which subflows it has, now."""
        assert self.sock is not None
        for flow in subflow_addresses(self.sock):
            self.subflows.setdefault(flow, [now_s, now_s])[1] = now_s


class Client:
    """All connections of a plan.

    Args:
        server: address to connect to.
        plan: see ``mptcp_traffic.TrafficPlan``.
    """

    def __init__(self, server: str, plan: dict[str, Any]) -> None:
        self._server = server
        self._selector = selectors.DefaultSelector()
        self._started_s = time.time()
        self._ends = _ends(plan)

    def run(self, limit_s: float) -> dict[str, Any]:
        """Run all connections to their ends, or to the limit; return the truth."""
        to_start = sorted(self._ends, key=lambda end: end.start_s, reverse=True)
        live: set[int] = set()
        looked_s = 0.0
        while (now_s := time.time() - self._started_s) < limit_s and (to_start or live):
            while to_start and to_start[-1].start_s <= now_s:
                end = to_start.pop()
                live.add(end.number)
                self._selector.register(
                    end.open(self._server), selectors.EVENT_READ | selectors.EVENT_WRITE, end
                )
            for key, events in self._selector.select(0.01):
                self._turn(key.data, events, now_s, live)
            if now_s - looked_s > TRUTH_EVERY_S:
                looked_s = now_s
                for number in list(live):
                    self._look_after(self._ends[number], now_s, live)
        for number in list(live):
            self._close(self._ends[number], live)
        return self._truth(limit_s)

    def _turn(self, end: ClientEnd, events: int, now_s: float, live: set[int]) -> None:
        try:
            wanted = end.turn(events, now_s)
        except OSError:
            wanted = 0
        if wanted:
            assert end.sock is not None
            self._selector.modify(end.sock, wanted, end)
        else:
            self._close(end, live)

    def _look_after(self, end: ClientEnd, now_s: float, live: set[int]) -> None:
        end.look(time.time())
        if now_s >= end.end_s and not end.is_told and end.finish():
            self._close(end, live)
        elif end.kind == "answer":
            self._turn(end, 0, now_s, live)  # a pause may be over

    def _close(self, end: ClientEnd, live: set[int]) -> None:
        assert end.sock is not None
        end.look(time.time())
        self._selector.unregister(end.sock)
        end.sock.close()
        live.discard(end.number)

    def _truth(self, limit_s: float) -> dict[str, Any]:
        connections = [
            {
                "kind": end.kind,
                "is_reset": end.is_reset,
                "sent": end.sent,
                "received": end.received,
                "subflows": [
                    {"flow": list(flow), "first_s": times[0], "last_s": times[1]}
                    for flow, times in end.subflows.items()
                ],
            }
            for end in self._ends
        ]
        return {"connections": connections, "facts": {"limit_s": limit_s}}


def _ends(plan: dict[str, Any]) -> list[ClientEnd]:
    """Return all connections: most run all the time, a tenth each ends early and starts late."""
    rng = random.Random(plan["seed"])
    count, duration_s = plan["connection_count"], plan["duration_s"]
    early = max(1, count // 10)
    ends = []
    for number in range(count + early):
        start_s = rng.uniform(0.0, 0.1) * duration_s
        end_s = rng.uniform(0.9, 1.0) * duration_s
        if number < early:
            end_s = rng.uniform(0.3, 0.6) * duration_s
        elif number >= count:
            start_s = rng.uniform(0.3, 0.6) * duration_s
        kind = KINDS[number % len(KINDS)]
        is_reset = rng.random() < RESET_RATIO
        ends.append(ClientEnd(number, kind, start_s, end_s, is_reset, random.Random(rng.random())))
    return ends
