"""The agent: one per device. Works on its last desired state, with or without a portal."""

import asyncio
import contextlib
import logging
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TextIO

from nfvportal import __version__
from nfvportal.agent.backoff import Backoff
from nfvportal.agent.connection import Connection, Portal, RefusedError
from nfvportal.agent.desired import Desired, DesiredStore
from nfvportal.agent.outbox import Outbox
from nfvportal.agent.role_host import Applied, HostedContext, RoleHost
from nfvportal.lib import wire
from nfvportal.lib.errors import InvalidInputError
from nfvportal.lib.wire import Frame

logger = logging.getLogger(__name__)
RECONNECT_CAP_S = 5.0


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """How an agent was started. ``portal`` is ``None`` offline."""

    device: str
    token_file: Path | None
    portal: Portal | None
    state_dir: Path
    roles: tuple[str, ...]
    journal: bool = False


class Agent:
    """Keeps roles at their desired state and, when there is a portal, the conversation with it."""

    def __init__(self, options: AgentOptions, rng: Random) -> None:
        self._options = options
        self._rng = rng
        self._store = DesiredStore(options.state_dir / "desired.json")
        self._desired: dict[str, Desired] = {}
        self._boot_id = secrets.token_hex(8)
        self._outbox = Outbox(self._boot_id)
        self._connection: Connection | None = None
        self._journal: TextIO | None = None
        self._host: RoleHost | None = None
        self._stop = asyncio.Event()
        self._told_states: set[str] = set()

    async def run(self) -> None:
        """Run until ``stop`` is called."""
        options = self._options
        options.state_dir.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(self._wake)

        self._outbox.wake = wake
        with contextlib.ExitStack() as stack:
            if options.journal:
                # Line buffered: whoever follows the file sees each line when it is written.
                self._journal = stack.enter_context(
                    (options.state_dir / "journal.jsonl").open("a", buffering=1)
                )
            self._host = RoleHost(self._context_for, self._report, self._rng)
            self.reload()
            talk = asyncio.create_task(self._talk()) if options.portal else None
            await self._stop.wait()
            if talk is not None:
                talk.cancel()
                await asyncio.gather(talk, return_exceptions=True)
            self._outbox.wake = lambda: None
            await self._host.close()

    def stop(self) -> None:
        """End ``run``; what the roles made on the device stays."""
        self._stop.set()

    def reload(self) -> None:
        """Read ``desired.json`` again and apply what changed."""
        assert self._host is not None
        try:
            self._desired = self._store.load()
        except InvalidInputError as error:
            logger.error("kept the desired state in memory: %s", error)
            return
        for role, desired in self._desired.items():
            self._host.want(role, desired)

    def _context_for(self, role: str) -> HostedContext:
        state_dir = self._options.state_dir / role
        state_dir.mkdir(parents=True, exist_ok=True)
        return HostedContext(self._options.device, role, state_dir, self._outbox, self._journal)

    def _wake(self) -> None:
        if self._connection is not None:
            self._connection.wake.set()

    def _report(self, outcome: Applied) -> None:
        if outcome.ok and self._connection is not None and outcome.role not in self._told_states:
            self._tell_states()  # a role that was loaded after the welcome
        if self._connection is not None:
            self._connection.reply(
                {
                    "type": "applied",
                    "role": outcome.role,
                    "revision": outcome.revision,
                    "ok": outcome.ok,
                    "error": outcome.error,
                }
            )

    def _on_desired(self, frame: Frame) -> None:
        assert self._host is not None
        if frame["role"] not in self._options.roles:
            error = f"this agent offers {', '.join(self._options.roles) or 'no roles'}"
            self._report(Applied(frame["role"], frame["revision"], ok=False, error=error))
            return
        desired = Desired(frame["revision"], frame["spec"])
        if self._desired.get(frame["role"]) != desired:
            self._desired[frame["role"]] = desired
            try:
                self._store.save(self._desired)
            except OSError as error:
                # A full disk costs the memory across a restart, not the function.
                logger.error("could not keep the desired state on disk: %s", error)
        self._host.want(frame["role"], desired)

    def _on_welcome(self) -> None:
        logger.info("connected to the portal")
        self._tell_states()

    def _tell_states(self) -> None:
        assert self._host is not None
        states = self._host.snapshots()
        self._told_states = set(states)
        for role, state in states.items():
            self._outbox.add_event(role, f"{role}.state", state, time.time())

    async def _talk(self) -> None:
        """Connect again and again: soon after a lost connection, patiently after a refusal."""
        lost = Backoff(self._rng, cap_s=RECONNECT_CAP_S)
        refused = Backoff(self._rng, first_s=1.0)
        while True:
            started_s = time.monotonic()
            error = await self._converse()
            if time.monotonic() - started_s > RECONNECT_CAP_S:
                lost.reset()
                refused.reset()
            delay_s = (refused if isinstance(error, RefusedError) else lost).next_s()
            logger.info(
                "not connected (%s: %s); next attempt in %.1f s", type(error).__name__, error, delay_s
            )
            await asyncio.sleep(delay_s)

    async def _converse(self) -> BaseException:
        """Hold one connection for as long as it lasts; return why it ended."""
        assert self._options.portal is not None
        try:
            async with await self._options.portal.open(self._token()) as socket:
                self._connection = Connection(socket, self._outbox, self._on_desired, self._on_welcome)
                await self._connection.run(self._hello())
        except Exception as error:
            # Whatever broke the conversation, the agent goes on without it and tries again.
            return _cause(error)
        finally:
            self._connection = None
        return ConnectionError("closed")

    def _token(self) -> str:
        if self._options.token_file is None:
            raise InvalidInputError("token-file", "is required to talk to a portal")
        return self._options.token_file.read_text().strip()

    def _hello(self) -> Frame:
        return {
            "type": "hello",
            "protocol": wire.PROTOCOL,
            "device": self._options.device,
            "version": __version__,
            "roles": list(self._options.roles),
            "capabilities": _capabilities(self._outbox),
            "boot_id": self._boot_id,
        }


def _cause(error: BaseException) -> BaseException:
    """Return the first error inside the groups that ``TaskGroup`` makes."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _capabilities(outbox: Outbox) -> dict[str, Any]:
    """Return what this device can do, and what was lost while the portal was away."""
    system = os.uname()
    drops = outbox.drops
    return {
        "kernel": system.release,
        "machine": system.machine,
        "mptcp": Path("/proc/sys/net/mptcp").is_dir(),
        "nexthop_objects": Path("/proc/sys/net/ipv4/nexthop_compat_mode").exists(),
        "realtime": can_schedule_realtime(),
        "cores": len(os.sched_getaffinity(0)),
        "dropped_event_count": drops.event_count,
        "dropped_sample_count": drops.sample_count,
    }


def can_schedule_realtime() -> bool:
    """Whether this process may use SCHED_RR; tried on this thread and undone."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, policy, parameters)  # a role may have chosen one before
    return True
