"""A role for tests: does what its spec says, and the agent's command with that role in its table."""

import asyncio
import runpy
from collections.abc import Mapping
from typing import Any

from nfvportal.agent.role import RoleContext
from nfvportal.agent.roles import ROLES
from nfvportal.lib.errors import InvalidInputError

ECHO = {"test.echo": f"{__name__ if __name__ != '__main__' else 'tests.nfvportal.agent.echo'}:Echo"}


class Echo:
    """Emits the events of its spec; may be told to refuse, to crash, or to crash a few times."""

    def __init__(self, context: RoleContext) -> None:
        self.context = context
        self.spec: Mapping[str, Any] = {}
        self.failure_count = 0

    async def apply(self, spec: Mapping[str, Any]) -> None:
        if spec.get("refuse"):
            raise InvalidInputError("refuse", "must be false")
        if self.failure_count < spec.get("crashes", 0):
            self.failure_count += 1
            raise ZeroDivisionError("boom")
        await asyncio.sleep(0)
        self.spec = spec
        for index in range(spec.get("events", 0)):
            self.context.emit("test.echoed", {"n": index})
        if "samples" in spec:
            self.context.sample(spec["samples"])

    def snapshot(self) -> Mapping[str, object]:
        return {"spec": dict(self.spec)}

    async def close(self) -> None:
        (self.context.state_dir / "closed").touch()


if __name__ == "__main__":
    ROLES.update(ECHO)
    runpy.run_module("nfvportal.agent", run_name="__main__", alter_sys=True)
