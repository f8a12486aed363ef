"""Role ``lab.traffic``: keeps the flows of a spec going and reports what arrives."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

from nfvportal.agent.role import RoleContext
from nfvportal.lab.traffic.flows import Flow, parse_flows
from nfvportal.lab.traffic.receivers import Receiver, make_receiver
from nfvportal.lab.traffic.senders import BulkSender, RequestSender, VoiceSender
from nfvportal.lab.traffic.worker import FlowWorker

REPORT_EVERY_S = 0.25
QUALITY_EVERY = 4
SENDERS: dict[str, type[FlowWorker]] = {"bulk": BulkSender, "request": RequestSender, "voice": VoiceSender}


class Traffic:
    """The role; see nfvportal.agent.role.Role."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._workers: dict[Flow, FlowWorker] = {}
        self._reporter: asyncio.Task[None] | None = None

    async def apply(self, spec: Mapping[str, Any]) -> None:
        """Start and stop flows so that those of the spec run; the ones that did not change go on undisturbed.

        Raises:
            InvalidInputError: a field breaks its limit.
        """
        wanted = set(parse_flows(spec))
        for flow in [flow for flow in self._workers if flow not in wanted]:
            await asyncio.to_thread(self._workers.pop(flow).stop)
        for flow in wanted - self._workers.keys():
            worker = make_receiver(flow) if flow.part == "receiver" else SENDERS[flow.kind](flow)
            self._workers[flow] = worker
            worker.start()
        if self._reporter is None:
            self._reporter = asyncio.create_task(self._report(), name="traffic-report")

    def snapshot(self) -> Mapping[str, object]:
        """Return the flows that run."""
        return {
            "flows": [{"name": flow.name, "part": flow.part, "kind": flow.kind} for flow in self._workers]
        }

    async def close(self) -> None:
        """Stop all flows."""
        if self._reporter is not None:
            self._reporter.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reporter
        for worker in self._workers.values():
            worker.stopping.set()
        for worker in self._workers.values():
            await asyncio.to_thread(worker.stop)

    async def _report(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            turn += 1
            self._report_bins()
            if turn % QUALITY_EVERY == 0:
                self._report_quality()

    def _report_bins(self) -> None:
        now_s = time.time()
        rows = [
            (at_s, flow.name, size)
            for flow, worker in self._workers.items()
            if isinstance(worker, Receiver)
            for at_s, size in worker.take_bins(now_s)
        ]
        if rows:
            at_s, names, sizes = zip(*rows, strict=True)
            self._context.sample({"at_s": list(at_s), "flow": list(names), "bytes": list(sizes)})

    def _report_quality(self) -> None:
        rows = []
        for flow, worker in self._workers.items():
            if isinstance(worker, RequestSender):
                window, lost = worker.take(), 0
            elif isinstance(worker, Receiver) and flow.kind == "voice":
                window, lost = worker.take_quality()
            else:
                continue
            p50, p99 = window.percentiles_ms((0.5, 0.99))
            rows.append((round(time.time(), 3), flow.name, p50, p99, lost, window.count))
        if rows:
            names = ("at_s", "flow", "latency_ms_p50", "latency_ms_p99", "lost", "requests")
            self._context.sample(
                {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
            )
