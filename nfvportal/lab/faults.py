"""Faults: what can be done to an emulated link, as values, and what each does to the link's shape."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from nfvportal.lab.topology import LinkShape
from nfvportal.lib.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class FaultKind:
    """How a kind of fault is asked for: words for people, and the limits of its value if it has one."""

    title: str
    unit: str = ""
    low: float = 0
    high: float = 0

    @property
    def has_value(self) -> bool:
        """Whether this kind needs a value."""
        return bool(self.unit)


FAULT_KINDS: dict[str, FaultKind] = {
    "blackhole": FaultKind("Drop everything, carrier stays up"),
    "blackhole_ab": FaultKind("Drop everything from a to b"),
    "blackhole_ba": FaultKind("Drop everything from b to a"),
    "carrier": FaultKind("Take the carrier away at both ends"),
    "loss": FaultKind("Lose frames at random", unit="ratio", low=0, high=1),
    "delay": FaultKind("Set the one-way delay", unit="ms", low=0, high=10_000),
    "rate": FaultKind("Set the rate", unit="bit/s", low=8_000, high=10_000_000_000),
}
DURATION_MAX_S = 86_400.0
SEED_MAX = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault on one link. A link has at most one; a new one replaces it.

    Args:
        link: name of the link.
        kind: a key of ``FAULT_KINDS``.
        value: in the kind's unit; ``None`` for kinds without.
        seed: of the random losses from now on; ``None`` leaves the generator as it is.
        duration_s: the link restores itself after this time; ``None`` = until cleared.
    """

    link: str
    kind: str
    value: float | None = None
    seed: int | None = None
    duration_s: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fault as a JSON object."""
        return asdict(self)


def parse_fault(request: Mapping[str, Any]) -> Fault:
    """Check a fault request.

    Raises:
        InvalidInputError: unknown kind, or a value, seed or duration outside its limits.
    """
    link, kind_name = request.get("link"), request.get("kind")
    if not isinstance(link, str):
        raise InvalidInputError("link", "must be the name of a link")
    kind = FAULT_KINDS.get(kind_name) if isinstance(kind_name, str) else None
    if kind is None or not isinstance(kind_name, str):
        raise InvalidInputError("kind", f"must be one of {', '.join(FAULT_KINDS)}")
    value = _number_or_none(request, "value", kind.low, kind.high) if kind.has_value else None
    if kind.has_value and value is None:
        raise InvalidInputError("value", f"is required: {kind.unit} between {kind.low:g} and {kind.high:g}")
    if not kind.has_value and request.get("value") is not None:
        raise InvalidInputError("value", f"must be left out for {kind_name}")
    seed = _number_or_none(request, "seed", 0, SEED_MAX)
    duration_s = _number_or_none(request, "duration_s", 0.001, DURATION_MAX_S)
    return Fault(link, kind_name, value, None if seed is None else int(seed), duration_s)


def shape_under_fault(shape: LinkShape, fault: Fault | None) -> LinkShape:
    """Return the shape of the link while the fault lasts (black holes and carrier loss leave it as it is)."""
    if fault is None or fault.value is None:
        return shape
    if fault.kind == "loss":
        return replace(shape, loss_ratio=fault.value)
    if fault.kind == "delay":
        return replace(shape, delay_ms=fault.value)
    if fault.kind == "rate":
        return replace(shape, rate_bps=int(fault.value))
    raise AssertionError(fault.kind)


def blocked_directions(fault: Fault | None) -> tuple[bool, bool]:
    """Return whether the fault drops everything (from a to b, from b to a)."""
    kind = "" if fault is None else fault.kind
    everything = kind in {"blackhole", "carrier"}
    return everything or kind == "blackhole_ab", everything or kind == "blackhole_ba"


def _number_or_none(request: Mapping[str, Any], field: str, low: float, high: float) -> float | None:
    value = request.get(field)
    if value is None:
        return None
    # NaN fails both comparisons, so it is refused here too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidInputError(field, f"must be a number between {low:g} and {high:g}")
    return float(value)
