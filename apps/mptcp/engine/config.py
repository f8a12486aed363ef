"""Settings of an association domain, each with its range."""

from dataclasses import dataclass, fields

from nfvportal.lib.errors import InvalidInputError

# Field -> (lowest, highest).
RANGES: dict[str, tuple[float, float]] = {
    "max_subflows": (1, 10_000_000),
    "window_s": (1, 600),
    "idle_s": (1, 86_400),
    "forget_s": (120, 864_000),
    "lag_s": (0, 60),
    "near_bytes": (0, 1 << 40),
    "far_bytes": (0, 1 << 40),
    "join_flood_count": (2, 1_000_000),
    "false_partners": (0, 1),
}


@dataclass(frozen=True, slots=True)
class AssociatorConfig:
    """Settings of an association domain.

    Args:
        max_subflows: most subflows known at a time; new ones beyond are counted and passed over.
        window_s: time a sweep looks back for floods and activity.
        idle_s: without a packet for that long a subflow counts as idle.
        forget_s: without a packet for that long a subflow is forgotten, and its 4-tuple begins a new epoch.
        lag_s: by how much one subflow may trail another: queues, and stalls until lost packets came again.
        near_bytes: tolerance between numbers in one 64-bit space alone, however many connections are in play.
        far_bytes: tolerance at 64 bit where both spaces meet, or where few connections are in play.
        false_partners: at 32 bit, strangers expected to pass a test beside the true partner, at most.
        join_flood_count: joins within the window, by one pair of hosts or with one token, that are a flood.
    """

    max_subflows: int = 1_000_000
    window_s: float = 10.0
    idle_s: float = 15.0
    forget_s: float = 180.0
    lag_s: float = 3.0
    near_bytes: int = 8_000_000
    far_bytes: int = 1_000_000_000
    join_flood_count: int = 256
    false_partners: float = 1e-3

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = RANGES[field.name]
            if not low <= getattr(self, field.name) <= high:
                raise InvalidInputError(field.name, f"must be between {low:g} and {high:g}")
