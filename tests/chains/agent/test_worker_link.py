"""The forwarder's side of a network function: what it tells of its state, across the death of its process."""

import os
import signal
from collections.abc import Iterator

import pytest

from apps.chains.agent.specs import NfSpec
from apps.chains.agent.worker_link import Item, WorkerLink
from apps.chains.agent.worker_start import start_worker
from apps.chains.engine.nfs.network_function import state_digest
from apps.chains.engine.nfs.registry import make_nf
from apps.chains.engine.packet import parse
from apps.chains.engine.traffic_mix import TrafficMix, TrafficSource
from tests.support.waiting import wait_until

FRAMES = list(TrafficSource(TrafficMix(flow_count=20), 3).frames(3000))


class Bench:
    """A link to a real process, and what came of it."""

    def __init__(self, *, is_recoverable: bool = True) -> None:
        self.done: list[Item] = []
        self.events: list[tuple[str, dict[str, object]]] = []
        spec = NfSpec("chain/monitor", "monitor", {}, 1, {1: 0})
        self.link = WorkerLink(
            spec,
            start_worker,
            self.done.append,
            lambda event, data: self.events.append((event, data)),
            is_recoverable=is_recoverable,
        )

    def submit(self, first: int, last: int) -> None:
        """Hand in the packets of a range, as far as their numbers are times."""
        for number in range(first, last):
            self.link.submit(Item(None, number, number, FRAMES[number]))

    def states(self) -> list[dict[str, object]]:
        """Work, and return the answers so far."""
        self.link.flush()
        self.link.read()
        return [data for event, data in self.events if event == "nf_state"]


@pytest.fixture
def bench() -> Iterator[Bench]:
    """One monitor."""
    made = Bench()
    yield made
    made.link.close()


def digest_after(count: int) -> str:
    """Return what a monitor's state must be after the first packets."""
    monitor = make_nf("monitor", {})
    for number, frame in enumerate(FRAMES[:count]):
        monitor.process(parse(frame), number)
    return state_digest(monitor.state())[0].hex()


def test_the_digest_is_taken_between_the_packets_before_and_those_after(bench: Bench) -> None:
    bench.submit(0, 1000)
    bench.link.ask_state("first")
    bench.submit(1000, 2000)
    bench.link.ask_state("second")
    wait_until(lambda: len(bench.states()) == 2, "both answers")
    first, second = bench.states()
    assert (first["nonce"], first["packets"], first["digest"]) == ("first", 1000, digest_after(1000))
    assert (second["nonce"], second["packets"], second["digest"]) == ("second", 2000, digest_after(2000))
    assert len(bench.done) == 2000


def test_a_question_survives_the_process_and_is_answered_once(bench: Bench) -> None:
    bench.submit(0, 1500)
    bench.link.ask_state("asked")
    wait_until(lambda: bench.states() or len(bench.done) > 100, "packets come back")
    os.kill(bench.link.pid, signal.SIGKILL)
    bench.submit(1500, 3000)
    bench.link.ask_state("later")
    wait_until(lambda: len(bench.states()) >= 2, "both answers")
    assert [(one["nonce"], one["packets"], one["digest"]) for one in bench.states()] == [
        ("asked", 1500, digest_after(1500)),
        ("later", 3000, digest_after(3000)),
    ]
    assert [item.packet_id for item in bench.done] == list(range(3000))
    assert bench.link.counters["restarts"] == 1


def test_who_has_no_state_to_give_says_so() -> None:
    bench = Bench(is_recoverable=False)
    bench.link.ask_state("asked")
    assert bench.states()[0]["digest"] == ""
    bench.link.close()


def test_closing_answers_what_was_asked() -> None:
    bench = Bench()
    bench.link.ask_state("asked")
    bench.link.close()
    assert [data["digest"] for event, data in bench.events if event == "nf_state"] == [""]
    assert not bench.done
