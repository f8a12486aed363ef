"""A foreign network function behind its proxy, without a lab: packets in, what becomes of each out."""

import select
import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import pytest

from apps.chains.agent.foreign_programs import PROGRAMS, Nftables
from apps.chains.agent.foreign_space import command
from apps.chains.agent.specs import NfSpec
from apps.chains.agent.worker_link import QUEUE_MAX, Item, WorkerLink
from apps.chains.agent.worker_start import is_recoverable, start_worker
from apps.chains.engine.fields import Field
from tests.nfvportal.agent.in_namespace import in_namespace
from tests.support.foreign import missing_tool
from tests.support.waiting import wait_until

WITHIN_S = 30.0
OPEN = "table bridge t {\n chain c {\n  type filter hook forward priority 0; policy accept;\n }\n}\n"
RULESET = """
table bridge filter {
  counter refused { }
  set shut { type inet_service; elements = { 8080, 443 } }
  chain forward {
    type filter hook forward priority 0; policy accept;
    tcp dport @shut counter name refused drop
    ip saddr 10.1.0.0/17 udp dport 53 counter drop comment "names"
    counter comment "passed"
  }
}
"""
# The same rules for our own firewall.
TWIN: dict[str, object] = {
    "default": "allow",
    "is_stateful": False,
    "rules": [
        {"action": "deny", "proto": "tcp", "dst_port": [8080, 443]},
        {"action": "deny", "proto": "udp", "src": "10.1.0.0/17", "dst_port": 53},
    ],
}


def with_tool(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Run a test's body in a namespace, if the machine has a program."""

    def decorated(body: Callable[[], None]) -> Callable[[], None]:
        inside = in_namespace(body)

        @wraps(body)
        def run() -> None:
            if reason := missing_tool(name):
                pytest.skip(reason)
            inside()

        return run

    return decorated


class Bed:
    """One foreign function. ``done`` holds packets and nils in the order they came back."""

    def __init__(self, type_: str, params: Mapping[str, Any], writes: frozenset[Field] | None = None) -> None:
        self.done: list[Item] = []
        self.events: list[tuple[str, dict[str, object]]] = []
        spec = NfSpec(f"chain/{type_}", type_, params, 1, {1: 0}, writes)
        self.link = WorkerLink(
            spec,
            start_worker,
            self.done.append,
            lambda event, data: self.events.append((event, data)),
            is_recoverable=is_recoverable(spec),
        )
        self._count = 0

    def work(self) -> None:
        """Send what waits, take what is there; waits a little for it."""
        self.link.flush()
        select.select([self.link.end], [], [], 0.02)
        self.link.read()

    def submit(self, frames: Sequence[bytes], *, is_header_only: bool = False) -> None:
        """Hand packets in."""
        for frame in frames:
            while self.link.depth >= QUEUE_MAX:
                self.work()
            self.link.submit(Item(None, self._count, 0, frame, is_header_only=is_header_only))
            self._count += 1
        self.link.flush()

    def passed(self, frames: Sequence[bytes], *, is_header_only: bool = False) -> list[bytes | None]:
        """Hand packets in and return what came back of each, all in order."""
        first = len(self.done)
        self.submit(frames, is_header_only=is_header_only)
        deadline_s = time.monotonic() + WITHIN_S
        while len(self.done) < self._count:
            assert time.monotonic() < deadline_s, f"{len(self.done)} of {self._count} came back"
            self.work()
        assert [item.packet_id for item in self.done] == list(range(self._count))
        return [item.data for item in self.done[first:]]

    def wait_for(self, **wanted: object) -> None:
        """Wait until counters and figures have these values."""

        def told() -> bool:
            self.work()
            known: dict[str, object] = {**self.link.counters, **self.link.figures}
            return all(known.get(name) == value for name, value in wanted.items())

        try:
            wait_until(told, f"{wanted}")
        except AssertionError as error:
            raise AssertionError(f"{error}, but {self.link.counters} {self.link.figures}") from error

    def close(self) -> None:
        """End it."""
        self.link.close()


class Unchecked(Nftables):
    """Rules that our check would refuse, to see what the proxy makes of what they do."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._ruleset = str(params["ruleset"])


class Delaying(Nftables):
    """Passes packets by a queue of the kernel: later than the call that puts them in."""

    def start(self) -> None:
        """Load the rules, then slow the way out down."""
        super().start()
        command(
            [
                "tc",
                "qdisc",
                "add",
                "dev",
                "out",
                "root",
                "tbf",
                "rate",
                "400kbit",
                "burst",
                "4k",
                "limit",
                "9M",
            ]
        )


def use_program(type_: str, program: type[Nftables]) -> None:
    """Let a type be run by another program; to be called in the child that a test's body runs in."""
    PROGRAMS[type_] = (program, PROGRAMS[type_][1])
