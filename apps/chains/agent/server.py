"""Role ``chains.server``: runs network functions and its share of the paths through them."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from apps.chains.agent.foreign_programs import PROGRAMS, foreign_nfs_check
from apps.chains.agent.plane_process import PlaneProcess
from apps.chains.agent.specs import parse_server_spec
from nfvportal.agent.role import RoleContext
from nfvportal.lib.errors import InvalidInputError

PROXIES_WITHIN_S: Final = 10.0
PROXIES_EVERY_S: Final = 0.05


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
        await self._proxies_wait({nf.instance for nf in parsed.nfs if nf.type in PROGRAMS})

    async def _proxies_wait(self, instances: set[str]) -> None:
        """Wait until foreign programs run: packets that come earlier would wait for longer than merges do.

        Raises:
            InvalidInputError: one does not start here.
        """
        try:
            async with asyncio.timeout(PROXIES_WITHIN_S):
                # The forwarder's states arrive in another task, once a second.
                while missing := [name for name in sorted(instances) if not self._is_ready(name)]:  # noqa: ASYNC110
                    await asyncio.sleep(PROXIES_EVERY_S)
        except TimeoutError as error:
            limit = f"must start on this server; {missing[0]} did not within {PROXIES_WITHIN_S:.0f} s, see its log"
            raise InvalidInputError("nfs", limit) from error

    def _is_ready(self, instance: str) -> bool:
        return "drops_known_by" in self._plane.state.get("nfs", {}).get(instance, {})

    def snapshot(self) -> Mapping[str, object]:
        """Return epochs, counters and network functions as the forwarder last told."""
        return self._plane.state

    async def close(self) -> None:
        """Stop moving packets."""
        await self._plane.close()
