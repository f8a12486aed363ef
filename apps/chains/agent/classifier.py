"""Role ``chains.classifier``: sends packets along their paths and lets them out again, in order."""

from collections.abc import Mapping
from typing import Any

from apps.chains.agent.plane_process import PlaneProcess
from apps.chains.agent.specs import parse_classifier_spec
from apps.chains.engine.compile import CLASSIFIER
from nfvportal.agent.role import RoleContext


class Classifier:
    """The role; see nfvportal.agent.role.Role. Packets are moved by a process of its own."""

    def __init__(self, context: RoleContext) -> None:
        self._plane = PlaneProcess("classifier", CLASSIFIER, context)

    async def apply(self, spec: Mapping[str, Any]) -> None:
        """Hold these epochs; packets move to an active one when nothing of the one before is in flight.

        Raises:
            InvalidInputError: a field breaks its limit, or an interface cannot be used.
        """
        parse_classifier_spec(spec)
        await self._plane.apply(spec)

    def snapshot(self) -> Mapping[str, object]:
        """Return epochs, what is active, and counters as the forwarder last told."""
        return self._plane.state

    async def close(self) -> None:
        """Stop moving packets."""
        await self._plane.close()
