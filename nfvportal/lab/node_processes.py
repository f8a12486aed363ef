"""Processes inside nodes: one-off commands, and one agent per node that is kept running."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nfvportal.lab.kernel import die_with_parent, enter_network
from nfvportal.lab.topology import Node

CHECKOUT = Path(__file__).resolve().parents[2]
OUTPUT_MAX_BYTES = 1_048_576
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 5.0
# An agent that lived this long was healthy: its next death starts the back-off anew.
HEALTHY_AFTER_S = 10.0
STOP_GRACE_S = 3.0


def inside_node(namespace_fd: int) -> Callable[[], None]:
    """Return what a child does between fork and exec to live in a node and die with the lab."""
    parent_pid = os.getpid()

    def enter() -> None:
        die_with_parent(signal.SIGKILL, parent_pid)
        enter_network(namespace_fd)

    return enter


async def exec_in_node(namespace_fd: int, argv: Sequence[str], timeout_s: float) -> dict[str, Any]:
    """Run a command in a node to its end, or kill its process group when time is up or the caller is cancelled."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=CHECKOUT,
            start_new_session=True,
            preexec_fn=inside_node(namespace_fd),
        )
    except OSError as error:
        return {
            "exit_code": 127,
            "stdout": "",
            "stderr": f"{argv[0]}: {error.strerror}\n",
            "timed_out": False,
        }
    assert process.stdout is not None
    assert process.stderr is not None
    reading = asyncio.gather(_read(process.stdout), _read(process.stderr), process.wait())
    timed_out = False
    try:
        stdout, stderr, _ = await asyncio.wait_for(asyncio.shield(reading), timeout_s)
    except TimeoutError:
        timed_out = True
        _kill_group(process.pid)
        stdout, stderr, _ = await reading
    except asyncio.CancelledError:
        _kill_group(process.pid)
        await reading
        raise
    return {"exit_code": process.returncode, "stdout": stdout, "stderr": stderr, "timed_out": timed_out}


async def _read(stream: asyncio.StreamReader) -> str:
    """Return the output's first megabyte; the rest is read and dropped so that the command can end."""
    kept = b""
    while chunk := await stream.read(65_536):
        kept += chunk[: OUTPUT_MAX_BYTES - len(kept)]
    return kept.decode(errors="replace")


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How agents are started.

    Args:
        directory: one folder per device with its ``token``; the agent's state goes there too.
        portal: ``unix:/path``, ``ws://host:port`` or ``none``.
        has_journal: whether agents also write events and samples to ``journal.jsonl``.
    """

    directory: Path
    portal: str
    has_journal: bool = False

    def argv(self, node: Node) -> list[str]:
        """Return the command of a node's agent."""
        home = self.directory / node.name
        argv = [
            sys.executable,
            "-m",
            "nfvportal.agent",
            "--device",
            node.name,
            "--token-file",
            str(home / "token"),
        ]
        argv += ["--portal", self.portal, "--state-dir", str(home), "--roles", ",".join(node.roles)]
        return [*argv, "--journal"] if self.has_journal else argv


class AgentKeeper:
    """Keeps one node's agent running, with back-off when it keeps dying."""

    def __init__(self, node: Node, namespace_fd: int, settings: AgentSettings) -> None:
        self._node = node
        self._namespace_fd = namespace_fd
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._hurry = asyncio.Event()
        self.restarts = 0
        self.exit_code: int | None = None

    async def keep_running(self) -> None:
        """Start the agent again whenever it ends, until cancelled."""
        backoff_s = BACKOFF_FIRST_S
        while True:
            started_s = time.monotonic()
            self._hurry.clear()
            await self._run_once()
            if time.monotonic() - started_s >= HEALTHY_AFTER_S or self._hurry.is_set():
                backoff_s = BACKOFF_FIRST_S
            if not self._hurry.is_set():
                await self._wait(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
            self.restarts += 1

    async def _wait(self, backoff_s: float) -> None:
        try:
            await asyncio.wait_for(self._hurry.wait(), backoff_s)
        except TimeoutError:
            return

    async def _run_once(self) -> None:
        home = self._settings.directory / self._node.name
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Truncated at each start of the lab's agent: what it says now matters, and it must not fill the disk.
        with (home / "agent.log").open("ab" if self.restarts else "wb") as log:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._settings.argv(self._node),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=CHECKOUT,
                    start_new_session=True,
                    preexec_fn=inside_node(self._namespace_fd),
                )
                self.exit_code = await self._process.wait()
            except OSError as error:
                log.write(f"agent could not start: {error}\n".encode())
                self.exit_code = 127

    def signal(self, number: signal.Signals) -> int | None:
        """Send a signal to the agent; returns its pid, or ``None`` if none is running."""
        if self._process is None or self._process.returncode is not None:
            return None
        self._process.send_signal(number)
        return self._process.pid

    async def restart(self) -> None:
        """End the agent in order (by force after a grace time) and start it again at once."""
        process = self._process
        self._hurry.set()
        if process is None or self.signal(signal.SIGTERM) is None:
            return
        try:
            await asyncio.wait_for(process.wait(), STOP_GRACE_S)
        except TimeoutError:
            process.kill()

    def as_json(self) -> dict[str, Any]:
        """Return the agent as the JSON object of the lab's status."""
        running = self._process is not None and self._process.returncode is None
        pid = self._process.pid if running and self._process is not None else None
        return {"pid": pid, "running": running, "restarts": self.restarts, "exit_code": self.exit_code}
