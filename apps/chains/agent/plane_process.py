"""Keeps the forwarder's process of a device: starts it, tells it what to do, passes on what it says."""

import asyncio
import contextlib
import json
import logging
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nfvportal.agent.role import RoleContext
from nfvportal.lib.errors import InvalidInputError

logger = logging.getLogger(__name__)
CHECKOUT = Path(__file__).resolve().parents[3]
APPLY_WITHIN_S: Final = 20.0
END_WITHIN_S: Final = 2.0
RESTART_PAUSE_S: Final = 0.5
LINE_MAX: Final = 1 << 24


class PlaneProcess:
    """One forwarder; a new one takes its place when it dies, and gets the last spec.

    Args:
        kind: ``server`` or ``classifier``.
        name: this device in operator tables.
        context: of the role.
    """

    def __init__(self, kind: str, name: str, context: RoleContext) -> None:
        self.state: dict[str, Any] = {}
        self._kind = kind
        self._name = name
        self._context = context
        self._spec: Mapping[str, Any] | None = None
        self._number = 0
        self._answers: dict[int, asyncio.Future[list[str] | None]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._is_up = asyncio.Event()

    async def apply(self, spec: Mapping[str, Any]) -> None:
        """Make the forwarder follow a spec.

        Raises:
            InvalidInputError: it refused; field and limit are its own.
            TimeoutError: it did not answer.
        """
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name=f"chains {self._kind}")
        async with asyncio.timeout(APPLY_WITHIN_S):
            await self._is_up.wait()
            error = await self._ask(spec)
        if error is not None:
            raise InvalidInputError(error[0], error[1])
        self._spec = spec
        self._context.emit(f"chains.{self._kind}.state", self.state)

    async def close(self) -> None:
        """End the process and everything it started."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None

    async def _ask(self, spec: Mapping[str, Any]) -> list[str] | None:
        assert self._writer is not None
        self._number += 1
        answer: asyncio.Future[list[str] | None] = asyncio.get_running_loop().create_future()
        self._answers[self._number] = answer
        line = json.dumps({"spec": spec, "number": self._number}).encode() + b"\n"
        try:
            self._writer.write(line)
            await self._writer.drain()
            return await answer
        finally:
            self._answers.pop(self._number, None)

    async def _keep(self) -> None:
        while True:
            try:
                await self._run_once()
            except OSError as error:
                logger.warning("the forwarder could not start: %s", error)
            self._is_up.clear()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(
                        InvalidInputError("", "the forwarder ended while it applied the spec")
                    )
            self._context.emit("chains.forwarder_restarted", {"kind": self._kind})
            await asyncio.sleep(RESTART_PAUSE_S)

    async def _run_once(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            argv = [sys.executable, "-m", "apps.chains.agent.forwarder", self._kind, self._name]
            self._process = await asyncio.create_subprocess_exec(
                *argv, str(theirs.fileno()), pass_fds=(theirs.fileno(),), cwd=CHECKOUT
            )
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=LINE_MAX)
        again = asyncio.create_task(self._apply_again()) if self._spec is not None else None
        self._is_up.set()
        try:
            while line := await reader.readline():
                self._take(json.loads(line))
        finally:
            if again is not None:
                again.cancel()
            self._writer.close()
            await self._end()

    async def _apply_again(self) -> None:
        assert self._spec is not None
        if error := await self._ask(self._spec):
            logger.warning("the new forwarder refused the last spec: %s", error)

    async def _end(self) -> None:
        """Wait until the process ends, since its socket is closed; end it if it does not."""
        assert self._process is not None
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await self._process.wait()
        except (TimeoutError, asyncio.CancelledError):
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def _take(self, message: dict[str, Any]) -> None:
        if "applied" in message:
            answer = self._answers.get(message["applied"])
            if answer is not None and not answer.done():
                answer.set_result(message["error"])
        elif "state" in message:
            self.state = message["state"]
        elif "samples" in message:
            self._context.sample(message["samples"])
        elif "event" in message:
            self._emit(message["event"], message["data"])

    def _emit(self, event: str, data: dict[str, Any]) -> None:
        names = {"restarted": "nf_restarted", "undeclared": "undeclared_write"}
        self._context.emit(f"chains.{names.get(event, event)}", data)
