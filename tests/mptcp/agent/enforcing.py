"""``python -m tests.mptcp.agent.enforcing SPEC_JSON``: what the role does with a spec, once, in this network."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from apps.mptcp.agent.enforcer import Enforcer


class Context:
    """A role's context that tells nobody."""

    device, role, state_dir = "gw", "mptcp.enforcer", Path("/nonexistent")

    def emit(self, event: str, data: Mapping[str, object], at_s: float | None = None) -> None:
        """Nobody listens."""

    def sample(self, columns: Mapping[str, Sequence[object]]) -> None:
        """Nobody listens."""


async def main(spec: str) -> None:
    """Apply the spec, print the state, leave what is in force."""
    role = Enforcer(Context())
    await role.apply(json.loads(spec))
    print(json.dumps(role.snapshot()))
    await role.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
