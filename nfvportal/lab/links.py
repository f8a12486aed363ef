"""The lab's side of its relays: their processes, their faults, and when a fault ends by itself."""

import asyncio
import json
import os
import socket
from typing import Any

from nfvportal.lab.bring_up import Network
from nfvportal.lab.faults import Fault
from nfvportal.lab.relay import ORDER_MAX_BYTES, start_relay
from nfvportal.lab.topology import Link
from nfvportal.lib.errors import InvalidInputError

ANSWER_TIMEOUT_S = 2.0


class RelayedLink:
    """One emulated link of a running lab."""

    def __init__(self, link: Link, pid: int, orders: socket.socket) -> None:
        self.link = link
        self.pid = pid
        self.fault: Fault | None = None
        self.fault_at_s: float | None = None
        self._orders = orders
        self._orders.setblocking(False)
        self._one_at_a_time = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._restoring: asyncio.Task[float] | None = None

    async def set_fault(self, fault: Fault | None) -> float:
        """Switch to a fault or back to normal; returns the epoch time at which the relay switched."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        answer = await self._ask({"op": "set", "fault": fault.as_json() if fault else None})
        self.fault, self.fault_at_s = fault, answer["at_s"] if fault else None
        if fault is not None and fault.duration_s is not None:
            self._timer = asyncio.get_running_loop().call_later(fault.duration_s, self._restore, fault)
        return float(answer["at_s"])

    def _restore(self, fault: Fault) -> None:
        if self.fault is fault:
            self._restoring = asyncio.create_task(self.set_fault(None))

    async def counters(self) -> dict[str, Any]:
        """Return what happened to the frames of each direction."""
        return await self._ask({"op": "counters"})

    async def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        async with self._one_at_a_time, asyncio.timeout(ANSWER_TIMEOUT_S):
            await loop.sock_sendall(self._orders, json.dumps(order).encode())
            answer: dict[str, Any] = json.loads(await loop.sock_recv(self._orders, ORDER_MAX_BYTES))
            return answer

    async def as_json(self) -> dict[str, Any]:
        """Return the link as the JSON object of the lab's status."""
        fault = None if self.fault is None else self.fault.as_json() | {"at_s": self.fault_at_s}
        return link_as_json(self.link) | {"fault": fault, "counters": await self.counters()}


def link_as_json(link: Link) -> dict[str, Any]:
    """Return what is known of a link without asking its relay; a plain wire has no rate, delay or queue."""
    shape = link.shape
    return {
        "name": link.name,
        "a": str(link.a),
        "b": str(link.b),
        "is_wire": shape is None,
        "rate_bps": shape.rate_bps if shape else None,
        "delay_ms": shape.delay_ms if shape else 0.0,
        "loss_ratio": shape.loss_ratio if shape else 0.0,
        "queue_bytes": shape.queue_bytes if shape else None,
        "fault": None,
        "counters": None,
    }


class Links:
    """All emulated links of a running lab."""

    def __init__(self, network: Network) -> None:
        self._topology = network.topology
        started = []
        for link in self._topology.links:
            if link.shape is not None:
                started.append((link, *start_relay(link.name, link.shape, network.relay_ports[link.name])))
        self._relays: dict[str, RelayedLink] = {}
        for link, pid, orders in started:
            # The relay says a word once its sockets are bound: before, frames would be lost.
            if orders.recv(ORDER_MAX_BYTES) != b"{}":
                raise RuntimeError(f"the relay of link {link.name} did not start")
            self._relays[link.name] = RelayedLink(link, pid, orders)

    def relay(self, name: str) -> RelayedLink:
        """Return an emulated link.

        Raises:
            InvalidInputError: no such link, or it is a plain wire.
        """
        if name not in self._relays:
            raise InvalidInputError("link", f"must be one of {', '.join(self._relays)}")
        return self._relays[name]

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the relays."""
        return tuple(relay.pid for relay in self._relays.values())

    async def watch(self) -> str:
        """Wait until a relay dies and return the name of its link: a lab with a dead link is no lab."""
        loop = asyncio.get_running_loop()
        died: asyncio.Future[str] = loop.create_future()
        watched = {os.pidfd_open(relay.pid): name for name, relay in self._relays.items()}

        def died_one(name: str) -> None:
            if not died.done():
                died.set_result(name)

        for descriptor, name in watched.items():
            loop.add_reader(descriptor, died_one, name)
        try:
            return await died
        finally:
            for descriptor in watched:
                loop.remove_reader(descriptor)
                os.close(descriptor)

    async def as_json(self) -> list[dict[str, Any]]:
        """Return all links, in the topology's order."""
        return [
            await self._relays[link.name].as_json() if link.name in self._relays else link_as_json(link)
            for link in self._topology.links
        ]
