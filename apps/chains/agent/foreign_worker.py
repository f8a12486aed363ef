"""The identity proxy: the process of a network function that is not ours; speaks as ``nf_worker`` does.

It moves into a namespace of its own, starts the foreign program there, puts packets in, and says of each in order what
became of it, by ``engine/fifo_identity.py``. After each message a marker goes in, so that drops are known as soon as
the packets before it are through; where markers do not pass, a time-out tells.

from the worker, beside the messages of ``nf_worker``:
    "S" no state at all, which says that everything answered so far is done with
    "C" JSON: counters, as differences since the last such message
    "F" JSON: what the foreign program itself says of the packets it saw
"""

import json
import logging
import os
import select
import socket
import subprocess
import threading
import time
from collections import Counter, deque
from typing import Final

from apps.chains.agent.foreign_programs import PROGRAMS, Figures, Program
from apps.chains.agent.foreign_space import FRAME_MIN, Space
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
    UNCHANGED,
)
from apps.chains.agent.packet_sockets import FRAME_MAX
from apps.chains.agent.specs import NfSpec
from apps.chains.engine.fields import Field
from apps.chains.engine.fifo_identity import FifoIdentity, fingerprint_of
from apps.chains.engine.merging import undeclared_writes
from apps.chains.engine.packet import parse

logger = logging.getLogger(__name__)
# Below the second that merges wait, above any pause of this process.
TIMEOUT_US: Final = 300_000
# More would only wait in queues where the kernel drops silently.
INSIDE_MAX: Final = 256
TELL_EVERY_S: Final = 0.5
FIGURES_EVERY_S: Final = 1.0
# After packets ended: programs that read at leisure have then read all.
QUIET_ROUNDS: Final = 5
TICK_MS: Final = 5
# Packets answered between two words that they are done with: so many may be put in again after a death.
DONE_EVERY: Final = 64
# So many fields may differ for two packets to be the same one.
NEARLY_FIELDS: Final = 2
_ANSWERS_MAX: Final = MESSAGE_BYTES - FRAME_MAX


def run_foreign(end: socket.socket, spec: NfSpec) -> None:
    """Serve until the socket closes."""
    space = Space()
    make, _ = PROGRAMS[spec.type]
    program = make(spec.params)
    program.start()
    space.markers_probe()
    proxy = Proxy(end, space, spec.writes or frozenset())
    known = {"drops_known_by": "markers" if space.has_markers else "time-out"}
    threading.Thread(target=_tell_figures, args=(end, program, proxy, known), daemon=True).start()
    proxy.serve()


class Proxy:
    """The loop between the forwarder and the foreign function.

    Args:
        writes: fields that the function may write.
    """

    def __init__(self, end: socket.socket, space: Space, writes: frozenset[Field]) -> None:
        self._end = end
        self._space = space
        self._writes = writes
        self._inside = FifoIdentity(TIMEOUT_US)
        # Of each place in the order: what was put in, how long it was before padding, and the fate if it is dropped.
        self._sent: deque[tuple[bytes, int, int]] = deque()
        self._answers: list[bytes] = [b"R"]
        self._answers_size = 0
        self._undone_count = 0
        self._told: Counter[str] = Counter()
        self._told_fields: set[Field] = set()
        self._tell_at_s = 0.0

    @property
    def entered_count(self) -> int:
        """Packets that went in so far."""
        return self._inside.counters["entered"]

    def serve(self) -> None:
        """Work until the other end closes."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        poll.register(self._space, select.POLLIN)
        while True:
            depth = self._inside.depth
            ready = {descriptor for descriptor, _ in poll.poll(TICK_MS if depth else TELL_EVERY_S * 1000)}
            self._take_out()
            if self._end.fileno() in ready:
                message = self._end.recv(MESSAGE_BYTES * 2)
                if not message:
                    return
                self._put_in(message)
            self._tell_counters()

    def _put_in(self, message: bytes) -> None:
        at, size = 0, len(message)
        while at < size:
            _, flags, length = ENTRY.unpack_from(message, at)
            at += ENTRY.size
            if flags & ASK_STATE:
                self._hold(STATE)
            else:
                self._enter(message[at : at + length], bool(flags & HEADER_ONLY))
            at += length
        self._mark()
        self._take_out()
        while self._inside.depth > INSIDE_MAX:
            self._wait()

    def _enter(self, data: bytes, is_header_only: bool) -> None:
        frame = padded(data) if is_header_only else data
        now_us = time.monotonic_ns() // 1000
        if not FRAME_MIN < len(frame) <= FRAME_MAX:
            self._hold(FAILED)
            return
        fingerprint = fingerprint_of(frame, self._writes)
        while self._inside.is_confusable(fingerprint, frame):
            self._mark()
            self._wait()
        self._inside.enter(fingerprint, frame, now_us)
        self._sent.append((frame, len(data), DROPPED))
        self._space.put(frame)

    def _hold(self, fate: int) -> None:
        """Let a place in the order stand for something that does not go in."""
        self._inside.hold(time.monotonic_ns() // 1000)
        self._sent.append((b"", 0, fate))

    def _mark(self) -> None:
        if self._space.has_markers:
            self._space.put_marker(self._inside.mark())

    def _wait(self) -> None:
        select.select([self._space], [], [], TICK_MS / 1000)
        self._take_out()

    def _take_out(self) -> None:
        """Settle what came out, then what is inside for too long, and answer."""
        is_more = True
        while is_more:
            is_more = False
            for item in self._space.taken():
                is_more = True
                if isinstance(item, int):
                    self._drop(self._inside.pass_marker(item))
                    continue
                dropped = self._inside.leave(fingerprint_of(item, self._writes))
                if dropped is None:
                    self._tell_undeclared(item)
                else:
                    self._drop(dropped)
                    self._pass(item)
        if self._inside.depth:
            self._drop(self._inside.expire(time.monotonic_ns() // 1000))
        self._send()

    def _tell_undeclared(self, frame: bytes) -> None:
        """Name what was written without being declared, where what came out is nearly what is next."""
        if not self._sent or len(self._told_fields) == len(Field):
            return
        fields = set(undeclared_writes(parse(self._sent[0][0]), parse(frame), self._writes))
        if len(fields) <= NEARLY_FIELDS:
            for field in fields - self._told_fields:
                self._told_fields.add(field)
                self._end.send(b"U" + field.value.encode())

    def _drop(self, count: int) -> None:
        for _ in range(count):
            _, _, fate = self._sent.popleft()
            self._answer(ANSWER.pack(fate, 0))

    def _pass(self, frame: bytes) -> None:
        sent, length, _ = self._sent.popleft()
        if frame == sent:
            self._answer(ANSWER.pack(UNCHANGED, 0))
        else:
            self._answer(ANSWER.pack(CHANGED, length) + frame[:length])

    def _answer(self, answer: bytes) -> None:
        if self._answers_size + len(answer) > _ANSWERS_MAX:
            self._send()
        self._answers.append(answer)
        self._answers_size += len(answer)

    def _send(self) -> None:
        if len(self._answers) > 1:
            self._end.send(b"".join(self._answers))
            self._undone_count += len(self._answers) - 1
            self._answers = [b"R"]
            self._answers_size = 0
            if self._undone_count >= DONE_EVERY or not self._inside.depth:
                self._end.send(b"S\1")
                self._undone_count = 0

    def _tell_counters(self) -> None:
        now_s = time.monotonic()
        if now_s < self._tell_at_s:
            return
        self._tell_at_s = now_s + TELL_EVERY_S
        now = self._inside.counters | Counter(
            refused=self._space.refused, crossing=self._space.crossing_drops()
        )
        now["overflow"] = self._told["overflow"] + self._space.overflow_count()
        if changed := now - self._told:
            self._told = now
            self._tell(changed)

    def _tell(self, counters: dict[str, int]) -> None:
        self._end.send(b"C" + json.dumps(counters).encode())


def padded(data: bytes) -> bytes:
    """Return a header-only copy with zeros for its payload: the kernel wants as many bytes as the header says."""
    packet = parse(data, is_header_only=True)
    if packet.ip_version == 0 or packet.is_broken:
        return data
    return data.ljust(min(packet.l3 + packet.ip_bytes, FRAME_MAX), b"\0")


def _tell_figures(end: socket.socket, program: Program, proxy: Proxy, known: Figures) -> None:
    """Ask the program what it saw, as long as packets go in and a little longer, and tell the forwarder."""
    told, seen, quiet_rounds = "", -1, 0
    while True:
        quiet_rounds = quiet_rounds + 1 if seen == proxy.entered_count else 0
        seen = proxy.entered_count
        if quiet_rounds > QUIET_ROUNDS:
            time.sleep(FIGURES_EVERY_S)
            continue
        try:
            figures = json.dumps({**known, **program.figures()})
            if figures != told:
                end.send(b"F" + figures.encode())
                told = figures
        except ChildProcessError as error:
            # Without the program this is no such function any more: end, be counted and started again.
            logger.warning("%s", error)
            os._exit(1)
        except OSError:
            logger.warning("the foreign program does not say what it saw", exc_info=True)
        except subprocess.TimeoutExpired:
            logger.warning("the foreign program takes too long to say what it saw")
        time.sleep(FIGURES_EVERY_S)
