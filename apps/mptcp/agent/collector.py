"""Role ``mptcp.collector``: takes the samples of routers and switches, sFlow version 5 and IPFIX (PSAMP), over UDP.

Spec: ``{"address": "0.0.0.0", "sflow_port": 6343, "ipfix_port": 4739, "datagram_rate_max": 2000, "exporters":
[{"address": "192.0.2.1", "observer": 4}]}``; ``{}`` stops. Only ``exporters`` is required: addresses or networks, the
first that fits counts; what comes from others is dropped. A port that is ``null`` is not listened at.
"""

import asyncio
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any, Final

from apps.mptcp.agent.collector_worker import CollectorSpec, CollectorWorker, Exporter, open_listener
from apps.mptcp.agent.sensor import OBSERVER_MAX, whole_number
from apps.mptcp.engine.ipfix import IpfixDecoder
from apps.mptcp.engine.sflow import SflowDecoder
from nfvportal.agent.role import RoleContext
from nfvportal.lib.errors import InvalidInputError

SFLOW_PORT, IPFIX_PORT = 6343, 4739
EXPORTERS_MAX: Final = 256
RATE_MAX: Final = 100_000
FIELDS: Final = frozenset({"address", "sflow_port", "ipfix_port", "datagram_rate_max", "exporters"})


def parse_collector_spec(spec: Mapping[str, Any]) -> CollectorSpec | None:
    """Return the checked spec; ``None`` for an empty one.

    Raises:
        InvalidInputError: naming the field and its limit.
    """
    if not spec:
        return None
    if unknown := sorted(spec.keys() - FIELDS):
        raise InvalidInputError(str(unknown[0])[:64], "is not a field of a collector")
    address = spec.get("address", "0.0.0.0")  # routers are elsewhere; the list guards
    try:
        ip_address(str(address))
    except ValueError as error:
        raise InvalidInputError("address", "must be an IP address") from error
    items = spec.get("exporters")
    if not isinstance(items, list) or not 1 <= len(items) <= EXPORTERS_MAX:
        raise InvalidInputError("exporters", f"must be a list of 1 to {EXPORTERS_MAX} exporters")
    wanted = CollectorSpec(
        address=str(address),
        sflow_port=_port(spec, "sflow_port", SFLOW_PORT),
        ipfix_port=_port(spec, "ipfix_port", IPFIX_PORT),
        exporters=tuple(_exporter(item, f"exporters[{at}]") for at, item in enumerate(items)),
        datagram_rate_max=whole_number(spec, "datagram_rate_max", 1, RATE_MAX, 2000),
    )
    if wanted.sflow_port is None and wanted.ipfix_port is None:
        raise InvalidInputError("sflow_port", "or ipfix_port must be given")
    return wanted


def _port(spec: Mapping[str, Any], name: str, default: int) -> int | None:
    # Port 0 lets the kernel choose; the snapshot tells which.
    return None if spec.get(name, default) is None else whole_number(spec, name, 0, 65_535, default)


def _exporter(item: object, field: str) -> Exporter:
    if not isinstance(item, Mapping) or item.keys() - {"address", "observer"}:
        raise InvalidInputError(field, "must be an object with address and observer")
    try:
        network = ip_network(str(item.get("address")))
    except ValueError as error:
        raise InvalidInputError(f"{field}.address", "must be an address or a network") from error
    observer = item.get("observer")
    if isinstance(observer, bool) or not isinstance(observer, int) or not 0 <= observer <= OBSERVER_MAX:
        raise InvalidInputError(f"{field}.observer", f"must be a whole number from 0 to {OBSERVER_MAX}")
    return Exporter(network, observer)


class Collector:
    """The role; see nfvportal.agent.role.Role."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._worker: CollectorWorker | None = None

    async def apply(self, spec: Mapping[str, Any]) -> None:
        """Listen as the spec says.

        Raises:
            InvalidInputError: a field breaks its limit, or a port cannot be listened at.
        """
        wanted = parse_collector_spec(spec)
        if self._worker is not None:
            if self._worker.spec == wanted:
                return
            await asyncio.to_thread(self._worker.stop)
            self._worker = None
        if wanted is not None:
            self._worker = await asyncio.to_thread(self._start, wanted)

    def snapshot(self) -> Mapping[str, object]:
        """Return where it listens and what was counted so far."""
        worker = self._worker
        if worker is None:
            return {"ports": {}}
        return {
            "ports": worker.ports,
            "exporter_count": len(worker.spec.exporters),
            "datagram_count": worker.collected.datagram_count,
            "dropped": dict(worker.collected.dropped),
            "packet_count": worker.counts.packet_count,
            "kernel_drop_count": worker.counts.kernel_drop_count,
            "record_count": worker.outlet.record_count,
            "own_drop_count": worker.outlet.own_drop_count,
            "malformed_count": worker.malformed_count,
        }

    async def close(self) -> None:
        """Stop."""
        if self._worker is not None:
            await asyncio.to_thread(self._worker.stop)
            self._worker = None

    def _start(self, spec: CollectorSpec) -> CollectorWorker:
        # Compiled before datagrams wait, see the sensor.
        SflowDecoder().feed(b"", 0)
        IpfixDecoder().feed(b"", "", 0)
        listeners = []
        for name, port in (("sflow_port", spec.sflow_port), ("ipfix_port", spec.ipfix_port)):
            if port is None:
                continue
            try:
                listeners.append(open_listener(spec.address, port, is_sflow=name == "sflow_port"))
            except OSError as error:
                for listener in listeners:
                    listener.socket.close()
                raise InvalidInputError(
                    name, f"{port} at {spec.address} cannot be listened at: {error}"
                ) from error
        return CollectorWorker(self._context, spec, listeners)
