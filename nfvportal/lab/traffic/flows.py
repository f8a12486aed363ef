"""What a flow is, checked field by field."""

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Literal

from nfvportal.lib.errors import InvalidInputError

IPPROTO_MPTCP = 262
# Named, so that figures compare between machines whose default is another one.
CONGESTION_CONTROL = b"cubic"
MAX_FLOWS = 64
KINDS = ("bulk", "request", "voice")
PROTOCOLS = ("mptcp", "tcp", "udp")
DEFAULT_MESSAGE_BYTES = {"bulk": 65_536, "request": 1_000, "voice": 172}
MAX_MESSAGE_BYTES = {"bulk": 1_000_000, "request": 1_000_000, "voice": 65_507}  # UDP carries no more
DEFAULT_INTERVAL_MS = {"bulk": 0.0, "request": 100.0, "voice": 20.0}


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow, seen from one end.

    Args:
        part: ``sender`` connects to ``address:port``, ``receiver`` listens there.
        local_address: where a sender sends from; ``None`` lets the kernel choose.
        rate_bps: payload rate of bulk; ``None`` is as fast as the network takes it.
        message_bytes: size of a write, a request or a datagram.
        interval_ms: time between requests or datagrams.
    """

    name: str
    kind: Literal["bulk", "request", "voice"]
    part: Literal["sender", "receiver"]
    protocol: Literal["mptcp", "tcp", "udp"]
    address: str
    port: int
    local_address: str | None
    rate_bps: int | None
    message_bytes: int
    interval_ms: float

    def open_socket(self) -> socket.socket:
        """Return a new socket of the flow's protocol."""
        if self.protocol == "udp":
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        number = IPPROTO_MPTCP if self.protocol == "mptcp" else socket.IPPROTO_TCP
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, number)
        # A kernel without it, or that does not allow it here, has a default that will do.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION_CONTROL)
        return sock


def parse_flows(spec: Mapping[str, Any]) -> tuple[Flow, ...]:
    """Return the flows of a spec ``{"flows": [...]}``.

    Raises:
        InvalidInputError: naming the field and its limit.
    """
    items = spec.get("flows")
    if not isinstance(items, list) or len(items) > MAX_FLOWS:
        raise InvalidInputError("flows", f"must be a list of at most {MAX_FLOWS} flows")
    flows = tuple(_flow(item, f"flows[{at}]") for at, item in enumerate(items))
    if len({(flow.name, flow.part) for flow in flows}) != len(flows):
        raise InvalidInputError("flows", "must have different names")
    return flows


def _flow(item: object, field: str) -> Flow:
    if not isinstance(item, Mapping):
        raise InvalidInputError(field, "must be an object")
    kind = _choice(item, "kind", field, KINDS)
    protocol = _choice(item, "protocol", field, PROTOCOLS)
    if (kind == "voice") != (protocol == "udp"):
        raise InvalidInputError(f"{field}.protocol", "must be udp for voice, and mptcp or tcp for the others")
    name = item.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= 64 or not name.replace("-", "").isalnum():
        raise InvalidInputError(f"{field}.name", "must be 1 to 64 letters, digits and -")
    return Flow(
        name=name,
        kind=kind,  # type: ignore[arg-type]  # checked above
        part=_choice(item, "part", field, ("sender", "receiver")),  # type: ignore[arg-type]
        protocol=protocol,  # type: ignore[arg-type]
        address=_address(item.get("address"), f"{field}.address"),
        port=_whole(item, "port", field, 1, 65_535, None),
        local_address=None
        if (local := item.get("local_address")) is None
        else _address(local, f"{field}.local_address"),
        rate_bps=None
        if item.get("rate_bps") is None
        else _whole(item, "rate_bps", field, 1_000, 10**12, None),
        message_bytes=_whole(
            item, "message_bytes", field, 20, MAX_MESSAGE_BYTES[kind], DEFAULT_MESSAGE_BYTES[kind]
        ),
        interval_ms=_number(item, "interval_ms", field, 0, 60_000, DEFAULT_INTERVAL_MS[kind]),
    )


def _choice(item: Mapping[str, Any], name: str, field: str, allowed: tuple[str, ...]) -> str:
    value = item.get(name)
    if value not in allowed:
        raise InvalidInputError(f"{field}.{name}", f"must be one of {', '.join(allowed)}")
    return str(value)


def _address(value: object, field: str) -> str:
    try:
        return str(IPv4Address(str(value)))
    except ValueError as error:
        raise InvalidInputError(field, "must be an IPv4 address") from error


def _number(
    item: Mapping[str, Any], name: str, field: str, low: float, high: float, default: float | None
) -> float:
    value = item.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidInputError(f"{field}.{name}", f"must be a number from {low} to {high}")
    return float(value)


def _whole(item: Mapping[str, Any], name: str, field: str, low: int, high: int, default: int | None) -> int:
    value = _number(item, name, field, low, high, default)
    if value != int(value):
        raise InvalidInputError(f"{field}.{name}", f"must be a whole number from {low} to {high}")
    return int(value)
