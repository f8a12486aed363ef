"""Sensors of the real role beside running traffic, and an association that hears them: who is found when."""

import json
import os
import queue
import signal
import threading
import time
from asyncio import run, to_thread
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apps.mptcp.agent.sensor import Sensor
from apps.mptcp.engine.associator import Associator
from apps.mptcp.engine.record_batch import columns_to_records
from apps.mptcp.engine.records import PacketRecords, address_text
from apps.mptcp.engine.values import Change, FlowKey
from apps.mptcp.engine.warming import warm_up
from tests.support.mptcp_traffic import flow_key

TICK_S = 1.0


class _Context:
    """Puts what a sensor tells into a queue, as it would go to the portal."""

    device, role, state_dir = "bed", "mptcp.sensor", Path()

    def __init__(self, batches: "queue.Queue[Mapping[str, Sequence[Any]]]") -> None:
        self._batches = batches

    def emit(self, event: str, data: Mapping[str, object], at_s: float | None = None) -> None:
        raise AssertionError(f"{event}: {data}")

    def sample(self, columns: Mapping[str, Sequence[object]]) -> None:
        self._batches.put(columns)


def watch(interfaces: Sequence[str], sampling_ratio: float, directory: Path, ready_fd: int) -> None:
    """Sample all interfaces and associate until SIGTERM; then write what was found when to ``watch.json``."""
    batches: queue.Queue[Mapping[str, Sequence[Any]]] = queue.Queue()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    finder = Finder()
    finder.warm_up()

    async def sense() -> None:
        sensors = [Sensor(_Context(batches)) for _ in interfaces]
        for number, (name, sensor) in enumerate(zip(interfaces, sensors, strict=True)):
            await sensor.apply({"interface": name, "sampling_ratio": sampling_ratio, "observer": number})
        os.write(ready_fd, b"1")
        await to_thread(stopping.wait)
        for sensor in sensors:
            await sensor.close()

    hearing = threading.Thread(target=finder.hear, args=(batches, stopping))
    hearing.start()
    run(sense())
    hearing.join()
    (directory / "watch.json").write_text(json.dumps(finder.as_json()))


class Finder:
    """An association that notes for each subflow its first samples and when it was found to belong to others."""

    def __init__(self) -> None:
        self._machine = Associator()
        self._next_tick_s = 0.0
        self.samples: dict[FlowKey, list[float]] = {}
        self.found: dict[FlowKey, float] = {}
        self.counts: dict[str, int] = {}

    def warm_up(self) -> None:
        """Compile what a service compiles at its start."""
        warm_up()

    def hear(self, batches: "queue.Queue[Mapping[str, Sequence[Any]]]", stopping: threading.Event) -> None:
        """Take batches as they come, and tick every second."""
        while not stopping.is_set() or not batches.empty():
            try:
                columns = batches.get(timeout=0.05)
                self._take(columns)
            except queue.Empty:
                pass
            now_s = time.time()
            if now_s >= self._next_tick_s:
                self._next_tick_s = now_s + TICK_S
                self._note(self._machine.tick(now_s))

    def _take(self, columns: Mapping[str, Sequence[Any]]) -> None:
        records = columns_to_records(columns)
        for name in ("kernel_drop_count", "own_drop_count"):
            self.counts[f"{name}_{columns['observer'][0]}"] = columns[name][0]
        self.counts["records"] = self.counts.get("records", 0) + len(records)
        for k in range(len(records)):
            times = self.samples.setdefault(_flow(records, k), [])
            if len(times) < 2:
                times.append(int(records.at_us[k]) / 1e6)
        if len(records):
            self._note(self._machine.step(records, time.time()))

    def _note(self, changes: Sequence[Change]) -> None:
        for number in {change.connection for change in changes}:
            connection = self._machine.connection(number)
            if connection is None or len(connection.subflows) < 2:
                continue
            now_s = time.time()
            for subflow in connection.subflows:
                self.found.setdefault(subflow.flow, now_s)

    def as_json(self) -> dict[str, Any]:
        """Return counts, and per subflow its 4-tuple, times of its first two samples, and when it was found."""
        subflows = [
            {"flow": list(flow), "samples": times, "found_s": self.found.get(flow)}
            for flow, times in self.samples.items()
        ]
        return {"counts": self.counts, "subflows": subflows}


def _flow(records: PacketRecords, k: int) -> FlowKey:
    return flow_key(
        address_text(int(records.src_hi[k]), int(records.src_lo[k])),
        int(records.src_port[k]),
        address_text(int(records.dst_hi[k]), int(records.dst_lo[k])),
        int(records.dst_port[k]),
    )
