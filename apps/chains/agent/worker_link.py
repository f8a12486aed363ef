"""The forwarder's side of a network function's process: keeps order, and makes its death harmless.

Network functions are deterministic. So their last state and what they were sent since then are enough to bring a dead
one back exactly: a new process gets the state, then the log again; answers that had come before are not passed on
twice. Packets wait meanwhile, none is lost or different.

A network function that is not ours has no state to give. What it held when it died is lost and counted.
"""

import contextlib
import json
import os
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, Protocol

from apps.chains.agent.nf_worker import (
    ANSWER,
    ASK_STATE,
    CHANGED,
    DROPPED,
    ENTRY,
    FAILED,
    HEADER_ONLY,
    MESSAGE_BYTES,
    STATE,
    STATE_DIGEST,
    UNCHANGED,
)
from apps.chains.agent.specs import NfSpec

QUEUE_MAX: Final = 4096
BATCH_MAX: Final = 64
RESTARTS_MAX: Final = 5
# In ``Item.dropped_by`` until the dispatcher, who knows the index in this epoch's table, puts that there.
DROPPED_HERE: Final = -2
# In ``Item.operator``: no packet, but a question for the state; ``data`` is its nonce.
QUESTION: Final = -1
RESTARTS_WITHIN_S: Final = 10.0
_Entry = tuple[int, int, bytes]


class Item:
    """A packet (``data``) or nil (``None``) on its way through an operator table."""

    __slots__ = (
        "at_us",
        "data",
        "dropped_by",
        "entered_ns",
        "is_header_only",
        "is_traced",
        "join",
        "operator",
        "packet_id",
        "path",
    )

    def __init__(
        self,
        path: object,
        packet_id: int,
        at_us: int,
        data: bytes | None,
        *,
        is_header_only: bool = False,
        dropped_by: int = -1,
        is_traced: bool = False,
    ) -> None:
        self.path = path
        self.packet_id = packet_id
        self.at_us = at_us
        self.data = data
        self.is_header_only = is_header_only
        self.dropped_by = dropped_by
        self.is_traced = is_traced
        self.operator = 0
        self.entered_ns = 0
        # Where the branches of its block come together, when the dispatcher put that here.
        self.join: object = None

    def twin(self) -> "Item":
        """Return another item with the same packet, for another branch."""
        twin = Item(self.path, self.packet_id, self.at_us, self.data)
        twin.is_header_only = self.is_header_only
        twin.dropped_by = self.dropped_by
        twin.is_traced = self.is_traced
        return twin


class StartWorker(Protocol):
    """Starts a process for a network function, with its last state if there is one."""

    def __call__(self, spec: NfSpec, state: bytes | None) -> tuple[int, socket.socket]: ...


class WorkerLink:
    """One network function on this server.

    Args:
        spec: what to run.
        start: starts its process.
        done: called with every packet and nil, in the order of ``submit``; dropped ones have become nils.
        emit: tells the portal.
        is_recoverable: whether state and log bring it back exactly.
    """

    def __init__(
        self,
        spec: NfSpec,
        start: StartWorker,
        done: Callable[[Item], None],
        emit: Callable[[str, dict[str, object]], None],
        *,
        is_recoverable: bool = True,
    ) -> None:
        self.spec = spec
        self.counters: Counter[str] = Counter()
        # What a foreign program says of the packets it saw, since its process started.
        self.figures: dict[str, object] = {}
        self.pid = 0
        self.end: socket.socket
        self.state: bytes | None = None
        self._start = start
        self._done = done
        self._emit = emit
        self.is_recoverable = is_recoverable
        self._pending: deque[Item] = deque()
        self._waiting_count = 0
        self._log: deque[_Entry] = deque()
        self._unsent: deque[_Entry] = deque()
        self._handled_count = 0
        # Of the log: how many entries this process answered, and how many answers ever went on.
        self._answered = 0
        self._passed_on = 0
        self._state_parts: list[bytes] = []
        self._starts_s: deque[float] = deque(maxlen=RESTARTS_MAX)
        self.restart_at_s: float | None = None
        self._open()

    @property
    def depth(self) -> int:
        """Packets that wait for an answer."""
        return self._waiting_count

    @property
    def has_unsent(self) -> bool:
        """Whether ``flush`` has something to do."""
        return bool(self._unsent) and self.pid > 0

    def submit(self, item: Item) -> None:
        """Take a packet or nil; it comes back through ``done``, in order. Bounded: beyond, packets become nils."""
        if item.data is not None and self._waiting_count >= QUEUE_MAX:
            self.counters["queue_full"] += 1
            item.data, item.dropped_by = None, DROPPED_HERE
        if item.data is None:
            if self._pending:
                self._pending.append(item)
            else:
                self._done(item)
            return
        entry = (item.at_us, HEADER_ONLY if item.is_header_only else 0, item.data)
        self._pending.append(item)
        self._waiting_count += 1
        self._unsent.append(entry)
        if self.is_recoverable:
            self._log.append(entry)

    def ask_state(self, nonce: str) -> None:
        """Ask for the digest of the state after all packets submitted so far; event ``nf_state`` answers."""
        item = Item(None, 0, 0, nonce.encode())
        item.operator = QUESTION
        if not self.is_recoverable:
            self._tell_state(item, b"")
            return
        entry = (0, ASK_STATE, b"")
        self._pending.append(item)
        self._waiting_count += 1
        self._unsent.append(entry)
        self._log.append(entry)

    def _tell_state(self, question: Item, answer: bytes) -> None:
        """Answer a question; no bytes where the network function has no state to give."""
        digest, size = STATE_DIGEST.unpack(answer) if answer else (b"", 0)
        assert question.data is not None
        self._emit(
            "nf_state",
            {
                "instance": self.spec.instance,
                "digest": digest.hex(),
                "size_bytes": size,
                "packets": self._handled_count,
                "nonce": question.data.decode(),
            },
        )

    def flush(self) -> bool:
        """Send what waits; return whether all of it went."""
        while self._unsent and self.pid:
            parts: list[bytes] = []
            size = count = 0
            for at_us, flags, data in self._unsent:
                if count == BATCH_MAX or size + len(data) > MESSAGE_BYTES:
                    break
                parts += (ENTRY.pack(at_us, flags, len(data)), data)
                size += len(data) + ENTRY.size
                count += 1
            try:
                self.end.send(b"".join(parts))
            except BlockingIOError:
                return False
            except OSError:
                return True  # it died; reading says so
            for _ in range(count):
                self._unsent.popleft()
        return True

    def read(self) -> None:
        """Take all answers that are there; notice a death."""
        while self.pid:
            try:
                message = self.end.recv(MESSAGE_BYTES * 2)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self.died()
            elif message[:1] == b"R":
                self._take_answers(message)
            elif message[:1] == b"S":
                self._take_state(message)
            elif message[:1] == b"C":
                self.counters.update(json.loads(message[1:]))
            elif message[:1] == b"F":
                self.figures = json.loads(message[1:])
            else:
                self._emit("undeclared", {"nf": self.spec.instance, "field": message[1:].decode()})

    def died(self) -> None:
        """Start a new process that goes on where the old one ended; wait first if they die quickly."""
        self._reap()
        self.counters["restarts"] += 1
        now_s = time.monotonic()
        replayed = 0
        lost_before = self.counters["lost"]
        if self.is_recoverable:
            replayed = self._passed_on
            self._answered = 0
            self._unsent = deque(self._log)
            self._state_parts.clear()
        else:
            self._lose_all()
        is_often = len(self._starts_s) == RESTARTS_MAX and now_s - self._starts_s[0] < RESTARTS_WITHIN_S
        self._emit(
            "restarted",
            {
                "instance": self.spec.instance,
                "reason": "its process ended",
                "replayed": replayed,
                "lost": self.counters["lost"] - lost_before,
            },
        )
        if is_often:
            self.restart_at_s = now_s + 1.0
        else:
            self._open()

    def restart_if_due(self) -> None:
        """Start the process again after a pause."""
        if self.restart_at_s is not None and time.monotonic() >= self.restart_at_s:
            self._open()

    def close(self) -> None:
        """End the process; what it held comes back as nils."""
        self._reap()
        self._lose_all()

    def _open(self) -> None:
        self.restart_at_s = None
        self._starts_s.append(time.monotonic())
        self.pid, self.end = self._start(self.spec, self.state)

    def _reap(self) -> None:
        if not self.pid:
            return
        self.end.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.pid = 0

    def _lose_all(self) -> None:
        self._unsent.clear()
        self._log.clear()
        self._answered = self._passed_on = 0
        while self._pending:
            item = self._pending.popleft()
            if item.operator == QUESTION:
                self._tell_state(item, b"")
                continue
            if item.data is not None:
                self.counters["lost"] += 1
                item.data, item.dropped_by = None, DROPPED_HERE
            self._done(item)
        self._waiting_count = 0

    def _take_answers(self, message: bytes) -> None:
        at, size = 1, len(message)
        while at < size:
            fate, length = ANSWER.unpack_from(message, at)
            at += ANSWER.size
            body = message[at : at + length]
            at += length
            self._answered += 1
            if self._answered > self._passed_on:
                self._passed_on = self._answered
                self._answer_one(fate, body)

    def _answer_one(self, fate: int, body: bytes) -> None:
        item = self._pending.popleft()
        self._waiting_count -= 1
        if fate == STATE:
            self._tell_state(item, body)
        else:
            self._handled_count += 1
            if fate in (DROPPED, FAILED):
                self.counters["drop" if fate == DROPPED else "error"] += 1
                item.data, item.dropped_by = None, DROPPED_HERE
            elif fate == CHANGED:
                item.data = body
            else:
                assert fate == UNCHANGED
            self._done(item)
        while self._pending and self._pending[0].data is None:
            self._done(self._pending.popleft())

    def _take_state(self, message: bytes) -> None:
        self._state_parts.append(message[2:])
        if message[1]:
            self.state = b"".join(self._state_parts)
            self._state_parts.clear()
            for _ in range(min(self._answered, len(self._log))):
                self._log.popleft()
            self._passed_on -= self._answered
            self._answered = 0
