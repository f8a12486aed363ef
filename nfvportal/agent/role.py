"""What a role is and what it may use. A role is the IO shell around an engine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class RoleContext(Protocol):
    """What the agent gives a role. ``emit`` and ``sample`` may be called from any thread and never block."""

    device: str
    role: str
    state_dir: Path

    def emit(self, event: str, data: Mapping[str, object], at_s: float | None = None) -> None:
        """Report that something happened; kept until the portal has it (bounded)."""

    def sample(self, columns: Mapping[str, Sequence[object]]) -> None:
        """Report measurements as columns of equal length; dropped and counted when the portal is away for long."""


class Role(Protocol):
    """A part of the agent that makes the device match a spec."""

    def __init__(self, context: RoleContext) -> None:
        """Take the context; touch nothing on the device yet."""

    async def apply(self, spec: Mapping[str, Any]) -> None:
        """Make the device match ``spec``. Applying twice changes nothing.

        Raises:
            InvalidInputError: the spec breaks a limit; reported to the portal with field and limit.
        """

    def snapshot(self) -> Mapping[str, object]:
        """Return the role's whole state, sent as event ``<role>.state`` on every connect."""

    async def close(self) -> None:
        """Stop threads and sockets; leave the device's kernel state as it is."""
