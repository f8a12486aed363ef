"""Voice flows through a relay that loses what it is told to: losses are counted, latencies taken."""

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from nfvportal.lab.traffic.flows import Flow
from nfvportal.lab.traffic.receivers import VoiceReceiver
from nfvportal.lab.traffic.senders import DATAGRAM, VoiceSender
from tests.lab.traffic.loopback import ADDRESS, Meter, flow, free_port, running
from tests.support.waiting import wait_until


class LossyRelay(threading.Thread):
    """Hands datagrams on but those that ``loses`` names; remembers both kinds."""

    def __init__(self, target: int, loses: Callable[[int], bool]) -> None:
        super().__init__(daemon=True)
        self.loses = loses
        self.delivered: list[int] = []
        self.dropped: list[int] = []
        self._target = (ADDRESS, target)
        self._stopping = threading.Event()
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((ADDRESS, 0))
        self._sock.settimeout(0.05)
        self.port = int(self._sock.getsockname()[1])

    def run(self) -> None:
        """Relay until stopped."""
        with self._sock:
            while not self._stopping.is_set():
                try:
                    data = self._sock.recv(65_536)
                except TimeoutError:
                    continue
                sequence, _ = DATAGRAM.unpack_from(data)
                if self.loses(sequence):
                    self.dropped.append(sequence)
                else:
                    self._sock.sendto(data, self._target)
                    self.delivered.append(sequence)

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self.join()


@contextmanager
def voice_through(loses: Callable[[int], bool]) -> Iterator[tuple[LossyRelay, VoiceReceiver, Flow]]:
    """A receiver behind a relay, and the flow that a sender to the relay wants."""
    receiver = VoiceReceiver(flow("voice", "receiver", free_port()))
    relay = LossyRelay(receiver.flow.port, loses)
    with running(receiver):
        # What came before the receiver listened would be missing in its count, not in the relay's.
        wait_until(lambda: _hears(receiver), "the receiver listens")
        relay.start()
        try:
            yield relay, receiver, flow("voice", "sender", relay.port, interval_ms=1, message_bytes=172)
        finally:
            relay.stop()


def _hears(receiver: VoiceReceiver) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(
            b"are you there", (ADDRESS, receiver.flow.port)
        )  # too old to be ours: not counted as voice
    return bool(receiver.take_bins(time.time() + 1)[0][1])


def _received(receiver: VoiceReceiver, tally: list[int]) -> int:
    """Collect windows into ``tally``: received, lost; return how many were received."""
    latencies, lost = receiver.take_quality()
    tally[0] += latencies.count
    tally[1] += lost
    return tally[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_losses_are_those_of_the_relay_however_often_one_asks(seed: int) -> None:
    rng, tally = random.Random(seed), [0, 0]
    with voice_through(lambda _: rng.random() < 0.3) as (relay, receiver, voice):
        with running(VoiceSender(voice)):
            wait_until(lambda: _received(receiver, tally) >= 100, "100 datagrams arrived")
        wait_until(lambda: _received(receiver, tally) == len(relay.delivered), "the last one is counted")
    lost = [number for number in relay.dropped if relay.delivered[0] < number < relay.delivered[-1]]
    assert tally == [len(relay.delivered), len(lost)]
    assert lost, f"seed {seed} lost nothing"


def test_a_whole_line_without_loss_loses_nothing() -> None:
    tally = [0, 0]
    with voice_through(lambda _: False) as (_, receiver, voice), running(VoiceSender(voice)):
        wait_until(lambda: _received(receiver, tally) >= 100, "100 datagrams arrived")
    assert tally[1] == 0


def test_an_outage_is_told_once_it_is_over() -> None:
    tally = [0, 0]
    with voice_through(lambda _: False) as (relay, receiver, voice), running(VoiceSender(voice)):
        wait_until(lambda: _received(receiver, tally) >= 10, "voice flows")
        relay.loses = lambda _: True
        wait_until(lambda: len(relay.dropped) >= 50, "50 datagrams are lost")
        _received(receiver, tally)
        assert tally[1] == 0
        relay.loses = lambda _: False
        wait_until(lambda: _received(receiver, tally) and tally[1] > 0, "the loss is told")
    assert tally[1] == len(relay.dropped)


def test_a_sender_that_starts_anew_is_no_loss() -> None:
    tally = [0, 0]
    with voice_through(lambda _: False) as (relay, receiver, voice):
        for life in (1, 2):
            with running(VoiceSender(voice)):
                wait_until(
                    lambda life=life: _received(receiver, tally) >= 60 * life, f"sender {life} is heard"
                )
            wait_until(lambda: _received(receiver, tally) == len(relay.delivered), "all are counted")
    assert relay.delivered.count(0) == 2
    assert tally[1] == 0


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"x",
        bytes(DATAGRAM.size - 1),
        bytes(DATAGRAM.size),
        b"\xff" * 65_507,
        DATAGRAM.pack(0xFFFFFFFF, time.time_ns() - 3600 * 10**9),
    ],
    ids=len,
)
def test_foreign_datagrams_are_bytes_but_no_voice(foreign: bytes) -> None:
    receiver = VoiceReceiver(flow("voice", "receiver", free_port()))
    meter, tally = Meter(receiver), [0, 0]
    with running(receiver), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        wait_until(lambda: _hears(receiver), "the receiver listens")
        for number in (1, 2):
            sock.sendto(DATAGRAM.pack(number, time.time_ns()), (ADDRESS, receiver.flow.port))
            sock.sendto(foreign, (ADDRESS, receiver.flow.port))
        wait_until(lambda: _received(receiver, tally) >= 2, "voice is still heard")
        wait_until(
            lambda: meter.read(time.time()) >= 2 * (DATAGRAM.size + len(foreign)), "all bytes are in bins"
        )
        _received(receiver, tally)
    assert tally == [2, 0]


def test_latency_is_the_time_since_the_datagram_was_sent() -> None:
    receiver = VoiceReceiver(flow("voice", "receiver", free_port()))
    with running(receiver), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        wait_until(lambda: _hears(receiver), "the receiver listens")
        started_ns = time.time_ns()
        for number in range(20):
            datagram = struct.pack("!IQ", number, time.time_ns() - 40_000_000)
            sock.sendto(datagram, (ADDRESS, receiver.flow.port))
        window = wait_until(lambda: _twenty(receiver), "20 datagrams are timed")
        spent_ms = (time.time_ns() - started_ns) / 1e6
    for value in window:
        assert 40 <= value <= 40 + spent_ms


def _twenty(receiver: VoiceReceiver) -> list[float]:
    """Return least and greatest latency once twenty are timed."""
    if receiver._latencies.count < 20:
        return []
    window, _ = receiver.take_quality()
    return [value for value in window.percentiles_ms((0.0, 1.0)) if value is not None]
