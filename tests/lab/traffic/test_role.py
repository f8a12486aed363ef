"""Role ``lab.traffic`` for real over the loopback: reconcile, snapshot, samples."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nfvportal.lab.traffic.role import Traffic
from nfvportal.lib.errors import InvalidInputError
from tests.lab.traffic.loopback import ADDRESS, free_port, item
from tests.support.waiting import wait_until


class Recorder:
    """What the role told the agent."""

    device, role, state_dir = "branch-host", "lab.traffic", Path("/nonexistent")

    def __init__(self) -> None:
        self.samples: list[Mapping[str, Sequence[Any]]] = []

    def emit(self, event: str, data: Mapping[str, object], at_s: float | None = None) -> None:
        """Traffic has no events."""
        raise AssertionError(f"unexpected event {event}")

    def sample(self, columns: Mapping[str, Sequence[object]]) -> None:
        """Keep the columns."""
        self.samples.append(columns)

    def rows(self, column: str) -> list[dict[str, Any]]:
        """Return the rows of all samples that have ``column``."""
        return [
            dict(zip(columns, row, strict=True))
            for columns in self.samples
            if column in columns
            for row in zip(*columns.values(), strict=True)
        ]


@asynccontextmanager
async def role() -> AsyncIterator[tuple[Traffic, Recorder]]:
    """A role that leaves no thread behind."""
    recorder = Recorder()
    traffic = Traffic(recorder)
    try:
        yield traffic, recorder
    finally:
        await traffic.close()


async def _wait(condition: Callable[[], object], what: str) -> None:
    await asyncio.to_thread(wait_until, condition, what)


def _names(traffic: Traffic) -> set[tuple[str, str]]:
    flows: Any = traffic.snapshot()["flows"]
    return {(flow["name"], flow["part"]) for flow in flows}


class Listener:
    """A receiver of the test's own, which sees connections come and go."""

    def __init__(self) -> None:
        self._listener = socket.create_server((ADDRESS, 0))
        self._listener.settimeout(10)
        self.port = int(self._listener.getsockname()[1])
        self._connection: socket.socket | None = None

    def accept(self) -> None:
        """Take the sender's connection."""
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(10)

    def has_another(self) -> bool:
        """Tell whether the sender has come again."""
        self._listener.settimeout(0)
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def read_on(self, size: int) -> int:
        """Read ``size`` bytes, fewer when the sender has gone."""
        assert self._connection is not None
        left = size
        while left and (part := self._connection.recv(left)):
            left -= len(part)
        return size - left

    def read_to_the_end(self) -> None:
        """Read until the sender closes."""
        assert self._connection is not None
        deadline_s = time.monotonic() + 10
        while self._connection.recv(1 << 20):
            assert time.monotonic() < deadline_s, "the sender goes on"

    def close(self) -> None:
        """Close both sockets."""
        self._listener.close()
        if self._connection is not None:
            self._connection.close()


async def test_applying_twice_changes_nothing_and_a_reduced_spec_ends_flows() -> None:
    stays, goes = Listener(), Listener()
    kept = item("bulk", "sender", stays.port, name="stays", rate_bps=8_000_000)
    ended = item("bulk", "sender", goes.port, name="goes")
    async with role() as (traffic, _):
        for _ in range(2):
            await traffic.apply({"flows": [kept, ended]})
        for listener in (stays, goes):
            await asyncio.to_thread(listener.accept)
        await traffic.apply({"flows": [ended, kept]})
        assert _names(traffic) == {("stays", "sender"), ("goes", "sender")}
        await traffic.apply({"flows": [kept]})
        assert _names(traffic) == {("stays", "sender")}
        await asyncio.to_thread(goes.read_to_the_end)
        assert await asyncio.to_thread(stays.read_on, 200_000) == 200_000
        assert not stays.has_another()
        assert not goes.has_another()
        await traffic.apply({"flows": []})
        await asyncio.to_thread(stays.read_to_the_end)
        assert _names(traffic) == set()
    stays.close()
    goes.close()


async def test_a_changed_flow_starts_over() -> None:
    first, second = Listener(), Listener()
    async with role() as (traffic, _):
        await traffic.apply({"flows": [item("bulk", "sender", first.port)]})
        await asyncio.to_thread(first.accept)
        await traffic.apply({"flows": [item("bulk", "sender", second.port)]})
        await asyncio.to_thread(first.read_to_the_end)
        await asyncio.to_thread(second.accept)
    first.close()
    second.close()


async def test_a_bad_spec_leaves_what_runs() -> None:
    listener = Listener()
    flow = item("bulk", "sender", listener.port)
    async with role() as (traffic, _):
        await traffic.apply({"flows": [flow]})
        await asyncio.to_thread(listener.accept)
        with pytest.raises(InvalidInputError) as caught:
            await traffic.apply({"flows": [{**flow, "port": 0}]})
        assert caught.value.field == "flows[0].port"
        assert _names(traffic) == {("bulk", "sender")}
        assert await asyncio.to_thread(listener.read_on, 1_000_000) == 1_000_000
    listener.close()


async def test_samples_tell_bytes_latencies_and_losses() -> None:
    ports = {kind: free_port() for kind in ("bulk", "request", "voice")}
    more: dict[str, dict[str, Any]] = {
        "bulk": {"rate_bps": 8_000_000},
        "request": {"interval_ms": 5},
        "voice": {"interval_ms": 5},
    }
    receivers = [item(kind, "receiver", port) for kind, port in ports.items()]
    senders = [item(kind, "sender", port, **more[kind]) for kind, port in ports.items()]
    async with role() as (traffic, recorder):
        await traffic.apply({"flows": [*receivers, *senders]})
        assert len(_names(traffic)) == 6

        def told() -> bool:
            flowing = {row["flow"] for row in recorder.rows("bytes") if row["bytes"]}
            timed = {row["flow"] for row in recorder.rows("requests") if row["requests"]}
            return flowing == set(ports) and timed == {"request", "voice"}

        await _wait(told, "samples of all flows")
    for row in recorder.rows("requests"):
        assert set(row) == {"at_s", "flow", "latency_ms_p50", "latency_ms_p99", "lost", "requests"}
        assert (row["latency_ms_p50"] is None) == (row["requests"] == 0)
    assert any(row["requests"] and 0 <= row["latency_ms_p50"] < 10_000 for row in recorder.rows("requests"))
    assert {frozenset(columns) for columns in recorder.samples if "bytes" in columns} == {
        frozenset({"at_s", "flow", "bytes"})
    }


async def test_close_frees_the_ports() -> None:
    port = free_port()
    async with role() as (traffic, recorder):
        await traffic.apply({"flows": [item("voice", "receiver", port)]})
        await _wait(lambda: recorder.rows("bytes"), "the receiver runs")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((ADDRESS, port))
    count = len(recorder.samples)
    await asyncio.sleep(0)
    assert len(recorder.samples) == count
