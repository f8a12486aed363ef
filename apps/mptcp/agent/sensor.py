"""Role ``mptcp.sensor``: samples the packets of an interface in the kernel and sends what they say of subflows.

Spec: ``{"interface": "lan0", "sampling_ratio": 0.01, "mptcp_only": true, "snaplen": 128, "observer": 1}``; ``{}``
stops. The first field is required.
``mptcp_only`` lets the kernel pass over what makes no record. Of several sensors each has its own ``observer``.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from apps.mptcp.agent.packet_filter import SNAPLEN_MAX
from apps.mptcp.agent.packet_ring import LINK_RAW, pcap_head
from apps.mptcp.agent.sensor_worker import SensorSpec, SensorWorker, open_ring
from apps.mptcp.engine.capture import CaptureDecoder
from nfvportal.agent.role import RoleContext
from nfvportal.lib.errors import InvalidInputError

# IPv4 with options and TCP with options: what a sample must hold to be worth anything.
SNAPLEN_MIN: Final = 100
SAMPLING_RATIO_MIN: Final = 1e-6
OBSERVER_MAX: Final = 65_535


def parse_sensor_spec(spec: Mapping[str, Any]) -> SensorSpec | None:
    """Return the checked spec; ``None`` for an empty one.

    Raises:
        InvalidInputError: naming the field and its limit.
    """
    if not spec:
        return None
    if unknown := sorted(spec.keys() - {field.name for field in fields(SensorSpec)}):
        raise InvalidInputError(str(unknown[0])[:64], "is not a field of a sensor")
    interface = spec.get("interface")
    if not isinstance(interface, str) or not 1 <= len(interface) <= 15 or not interface.isprintable():
        raise InvalidInputError("interface", "must be an interface name of 1 to 15 printable characters")
    ratio = spec.get("sampling_ratio", 0.01)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not SAMPLING_RATIO_MIN <= ratio <= 1:
        raise InvalidInputError("sampling_ratio", f"must be a number from {SAMPLING_RATIO_MIN:g} to 1")
    mptcp_only = spec.get("mptcp_only", True)
    if not isinstance(mptcp_only, bool):
        raise InvalidInputError("mptcp_only", "must be true or false")
    return SensorSpec(
        interface,
        float(ratio),
        mptcp_only,
        whole_number(spec, "snaplen", SNAPLEN_MIN, SNAPLEN_MAX, 128),
        whole_number(spec, "observer", 0, OBSERVER_MAX, 0),
    )


def whole_number(spec: Mapping[str, Any], name: str, low: int, high: int, default: int) -> int:
    """Return a field of a spec that is a whole number.

    Raises:
        InvalidInputError: it is none, or beyond its limits.
    """
    value = spec.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInputError(name, f"must be a whole number from {low} to {high}")
    return value


class Sensor:
    """The role; see nfvportal.agent.role.Role."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._worker: SensorWorker | None = None

    async def apply(self, spec: Mapping[str, Any]) -> None:
        """Sample as the spec says.

        Raises:
            InvalidInputError: a field breaks its limit, or the interface cannot be sampled.
        """
        wanted = parse_sensor_spec(spec)
        if self._worker is not None:
            if self._worker.spec == wanted:
                return
            await asyncio.to_thread(self._worker.stop)
            self._worker = None
        if wanted is not None:
            self._worker = await asyncio.to_thread(self._start, wanted)

    def snapshot(self) -> Mapping[str, object]:
        """Return what is sampled and what was counted so far."""
        worker = self._worker
        if worker is None:
            return {"interface": None}
        return {
            "interface": worker.spec.interface,
            "observer": worker.spec.observer,
            "sampling_ratio": worker.spec.sampling_ratio,
            "mptcp_only": worker.spec.mptcp_only,
            "snaplen": worker.spec.snaplen,
            "is_up": worker.counts.is_up,
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

    def _start(self, spec: SensorSpec) -> SensorWorker:
        # The first packet a process decodes compiles the decoder, for seconds where no cache is: not with a ring open.
        CaptureDecoder().feed(pcap_head(LINK_RAW, spec.snaplen) + bytes(16))
        try:
            ring = open_ring(spec)
        except OSError as error:
            raise InvalidInputError("interface", f"{spec.interface} cannot be sampled: {error}") from error
        return SensorWorker(self._context, spec, ring)
