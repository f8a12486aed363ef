"""Role ``chains.server``: runs network functions and its share of the paths through them."""

import asyncio
from collections.abc import Mapping
from typing import Any

from apps.chains.agent.foreign_programs import foreign_nfs_check
from apps.chains.agent.plane_process import PlaneProcess
from apps.chains.agent.specs import parse_server_spec
from nfvportal.agent.role import RoleContext


class Server:
    """The role; see nfvportal.agent.role.Role. Packets are moved by a process of its own."""

    def __init__(self, context: RoleContext) -> None:
        self._plane = PlaneProcess("server", context.device, context)

    async def apply(self, spec: Mapping[str, Any]) -> None:
        """Hold exactly these epochs and network functions; what stays is not disturbed.

        Raises:
            InvalidInputError: a field breaks its limit, the interface cannot be used, or a foreign program refuses.
        """
        parsed = parse_server_spec(spec)
        # Asking a foreign program takes time, in which the forwarder must not stand still.
        await asyncio.to_thread(foreign_nfs_check, parsed.nfs)
        await self._plane.apply(spec)

    def snapshot(self) -> Mapping[str, object]:
        """Return epochs, counters and network functions as the forwarder last told."""
        return self._plane.state

    async def close(self) -> None:
        """Stop moving packets."""
        await self._plane.close()
