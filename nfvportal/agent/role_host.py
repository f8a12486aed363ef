"""Keeps the roles of one agent: loads, applies, retries; a broken role never takes the agent down."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TextIO

from nfvportal.agent.backoff import Backoff
from nfvportal.agent.desired import Desired
from nfvportal.agent.outbox import Outbox
from nfvportal.agent.role import Role, RoleContext
from nfvportal.agent.roles import load_role
from nfvportal.lib.errors import InvalidInputError

logger = logging.getLogger(__name__)
RETRY_CAP_S = 30.0
_journal_lock = threading.Lock()  # roles write from threads of their own


@dataclass(frozen=True, slots=True)
class Applied:
    """How applying a revision ended."""

    role: str
    revision: int
    ok: bool
    error: str | None


class HostedContext:
    """The ``RoleContext`` of one role of this agent."""

    def __init__(
        self, device: str, role: str, state_dir: Path, outbox: Outbox, journal: TextIO | None
    ) -> None:
        self.device = device
        self.role = role
        self.state_dir = state_dir
        self._outbox = outbox
        self._journal = journal

    def emit(self, event: str, data: Mapping[str, object], at_s: float | None = None) -> None:
        """Queue an event for the portal."""
        at_s = time.time() if at_s is None else at_s
        self._outbox.add_event(self.role, event, data, at_s)
        self._write({"role": self.role, "event": event, "at_s": at_s, "data": data})

    def sample(self, columns: Mapping[str, Sequence[object]]) -> None:
        """Queue a batch of samples for the portal."""
        self._outbox.add_samples(self.role, columns)
        self._write({"role": self.role, "samples": {name: list(column) for name, column in columns.items()}})

    def _write(self, line: Mapping[str, object]) -> None:
        if self._journal is not None:
            text = json.dumps(line) + "\n"
            with _journal_lock:
                self._journal.write(text)


class RoleHost:
    """All roles of one agent.

    Args:
        context_for: makes the context of a role by its name.
        report: called with the outcome of every application.
        rng: jitter of the retries.
    """

    def __init__(
        self, context_for: Callable[[str], RoleContext], report: Callable[[Applied], None], rng: Random
    ) -> None:
        self._context_for = context_for
        self._report = report
        self._rng = rng
        self._roles: dict[str, Role] = {}
        self._wanted: dict[str, Desired] = {}
        self._applied: dict[str, Desired] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def want(self, role: str, desired: Desired) -> None:
        """Ask for a revision; applied in the background, in order, newest wins. Must run on the event loop."""
        self._wanted[role] = desired
        if role not in self._tasks:
            self._changed[role] = asyncio.Event()
            self._tasks[role] = asyncio.create_task(self._keep(role), name=f"role {role}")
        self._changed[role].set()

    def snapshots(self) -> dict[str, Mapping[str, object]]:
        """Return the state of every role that was ever applied."""
        states: dict[str, Mapping[str, object]] = {}
        for name, role in self._roles.items():
            try:
                states[name] = role.snapshot()
            except Exception:
                logger.exception("role %s could not tell its state", name)
        return states

    async def close(self) -> None:
        """Stop all roles; what they made on the device stays."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for name, role in self._roles.items():
            try:
                await role.close()
            except Exception:
                logger.exception("role %s did not close", name)

    async def _keep(self, name: str) -> None:
        """Apply what is wanted whenever it changes; after a failure, again and again."""
        backoff = Backoff(self._rng, first_s=1.0, cap_s=RETRY_CAP_S)
        delay_s: float | None = None
        while True:
            try:
                await asyncio.wait_for(self._changed[name].wait(), delay_s)
                backoff.reset()
            except TimeoutError:
                pass
            self._changed[name].clear()
            delay_s = None
            outcome = await self._apply(name, self._wanted[name])
            if not outcome.ok:
                delay_s = backoff.next_s()
            self._report(outcome)

    async def _apply(self, name: str, desired: Desired) -> Applied:
        if self._applied.get(name) == desired:
            return Applied(name, desired.revision, ok=True, error=None)
        try:
            if name not in self._roles:
                self._roles[name] = load_role(name, self._context_for(name))
            await self._roles[name].apply(desired.spec)
        except InvalidInputError as error:
            logger.warning("role %s refused revision %d: %s", name, desired.revision, error)
            return Applied(name, desired.revision, ok=False, error=str(error))
        except Exception as error:
            logger.exception("role %s failed to apply revision %d", name, desired.revision)
            return Applied(name, desired.revision, ok=False, error=f"{type(error).__name__}: {error}"[:2000])
        self._applied[name] = desired
        return Applied(name, desired.revision, ok=True, error=None)
