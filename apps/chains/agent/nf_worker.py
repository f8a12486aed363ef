"""Runs one network function in a process of its own: packets in, answers out, in order, many per message.

to the worker    entries (at_us, flags, length, bytes), as many as fit; one flagged as a question for the state has none
from the worker  "R" answers (fate, length, bytes), one per entry; bytes only when the packet was changed, or
                 SHA-256 and size of the state's canonical form
                 "S" state after all answers so far, in parts: 1 on the last part, else 0, then bytes
                 "U" name of a field that was written without being declared
"""

import contextlib
import logging
import marshal
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Final

from apps.chains.agent.specs import NfSpec
from apps.chains.engine.merging import undeclared_writes
from apps.chains.engine.nfs.network_function import NetworkFunction, state_digest
from apps.chains.engine.nfs.registry import make_nf
from apps.chains.engine.packet import parse
from nfvportal.lab.kernel import die_with_parent, wait_precisely

logger = logging.getLogger(__name__)
ENTRY = struct.Struct("=qBI")
ANSWER = struct.Struct("=BI")
STATE_DIGEST = struct.Struct("=32sQ")
DROPPED, UNCHANGED, CHANGED, FAILED, STATE = range(5)
HEADER_ONLY, ASK_STATE = 1, 2
MESSAGE_BYTES: Final = 120_000
# The first packets of a burst do not wait longer for the last ones, and the next network function starts earlier.
ANSWER_WITHIN_S: Final = 0.0005
CHECK_EVERY: Final = 16
CHECKPOINT_MIN, CHECKPOINT_MAX = 1024, 16_384
# Packets wait meanwhile: well below the one in a hundred that the 99th percentile sees.
CHECKPOINT_SHARE: Final = 0.005


def fork_worker(run: Callable[[socket.socket], None], keep: Sequence[int] = ()) -> tuple[int, socket.socket]:
    """Start ``run`` in a child of this (single-threaded) process; return its id and our end of the socket.

    The child ends when the socket closes or this process dies. Forking takes milliseconds, since all is imported.

    Args:
        keep: further descriptors that the child needs; all others are closed there.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MESSAGE_BYTES)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        theirs.close()
        ours.setblocking(False)
        return pid, ours
    try:
        die_with_parent(signal.SIGKILL, parent)
        wait_precisely()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        kept = theirs.detach()
        _close_all_but({0, 1, 2, kept, *keep})
        with contextlib.suppress(ConnectionError):
            run(socket.socket(fileno=kept))
    except BaseException:
        logger.exception("a network function's process failed")
    finally:
        os._exit(0)


def run_nf(end: socket.socket, spec: NfSpec, state: bytes | None) -> None:
    """Serve until the socket closes."""
    nf = make_nf(spec.type, spec.params)
    if state is not None:
        nf.restore(marshal.loads(state))  # noqa: S302  # written by ourselves a moment ago
    NfWorker(end, nf, spec).serve()


class NfWorker:
    """The loop of one network function."""

    def __init__(self, end: socket.socket, nf: NetworkFunction, spec: NfSpec) -> None:
        self._end = end
        self._nf = nf
        self._writes = spec.writes
        self._told: set[str] = set()
        self._wait_s = nf.wait_us / 1e6
        self._count = 0
        self._checkpoint_every = CHECKPOINT_MIN
        self._next_checkpoint = CHECKPOINT_MIN
        self._checkpoint_at_s = time.monotonic()

    def serve(self) -> None:
        """Answer messages until the other end closes."""
        while message := self._end.recv(MESSAGE_BYTES * 2):
            self._answer(message)
            if self._count >= self._next_checkpoint:
                self._checkpoint()

    def _answer(self, message: bytes) -> None:
        answers = [b"R"]
        at, size = 0, len(message)
        answer_at_s = time.monotonic() + ANSWER_WITHIN_S
        while at < size:
            at_us, flags, length = ENTRY.unpack_from(message, at)
            at += ENTRY.size
            answers.append(self._handle(message[at : at + length], at_us, flags))
            at += length
            if self._wait_s:
                time.sleep(self._wait_s)
            if time.monotonic() >= answer_at_s:
                self._end.send(b"".join(answers))
                answers = [b"R"]
                answer_at_s = time.monotonic() + ANSWER_WITHIN_S
        if len(answers) > 1:
            self._end.send(b"".join(answers))

    def _handle(self, data: bytes, at_us: int, flags: int) -> bytes:
        if flags & ASK_STATE:
            return ANSWER.pack(STATE, STATE_DIGEST.size) + STATE_DIGEST.pack(*state_digest(self._nf.state()))
        self._count += 1
        packet = parse(data, bool(flags & HEADER_ONLY))
        is_checked = self._writes is not None and self._count % CHECK_EVERY == 0
        before = packet.copy() if is_checked else None
        try:
            is_kept = self._nf.process(packet, at_us)
        except Exception:
            logger.exception("a network function failed on a packet")
            return ANSWER.pack(FAILED, 0)
        if not is_kept:
            return ANSWER.pack(DROPPED, 0)
        if before is not None and self._writes is not None:
            for field in undeclared_writes(before, packet, self._writes):
                if field not in self._told:
                    self._told.add(field)
                    self._end.send(b"U" + field.value.encode())
        if packet.data == data:
            return ANSWER.pack(UNCHANGED, 0)
        return ANSWER.pack(CHANGED, len(packet.data)) + packet.data

    def _checkpoint(self) -> None:
        """Send the state; the more it costs compared with the packets between, the rarer it becomes."""
        started_s = time.monotonic()
        state = marshal.dumps(self._nf.state())
        for at in range(0, len(state), MESSAGE_BYTES):
            part = state[at : at + MESSAGE_BYTES]
            self._end.send(b"S" + (b"\1" if at + MESSAGE_BYTES >= len(state) else b"\0") + part)
        took_s, between_s = time.monotonic() - started_s, started_s - self._checkpoint_at_s
        is_dear = took_s > CHECKPOINT_SHARE * between_s
        every = self._checkpoint_every * 2 if is_dear else self._checkpoint_every // 2
        self._checkpoint_every = min(max(every, CHECKPOINT_MIN), CHECKPOINT_MAX)
        self._next_checkpoint = self._count + self._checkpoint_every
        self._checkpoint_at_s = time.monotonic()


def _close_all_but(kept: set[int]) -> None:
    low = 0
    for descriptor in sorted(kept):
        if low < descriptor:  # an empty range would close everything
            os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 65_536)
