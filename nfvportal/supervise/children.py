"""One supervised process: what it is, starting it, asking after it, ending it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nfvportal.supervise.tether import tether

LOG_TAIL_LINES = 15
RESTART_DELAY_MIN_S = 0.2
RESTART_DELAY_MAX_S = 10.0
# A process that lived this long had no trouble starting: its next crash counts as the first.
STEADY_AFTER_S = 30.0


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process to keep alive.

    ``is_ready`` gets the child and says whether it serves. ``death_signal`` is what it gets when the supervisor is
    killed. ``give_up_code`` is an exit code that means "cannot run on this machine": the portal goes on without it.
    ``is_server`` marks what others need until they have ended.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    is_ready: Callable[["Child"], bool]
    ready_within_s: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_within_s: float = 8.0
    death_signal: signal.Signals = signal.SIGKILL
    before_start: Callable[[], None] = _nothing
    pass_fds: tuple[int, ...] = ()
    user_id: int | None = None
    give_up_code: int | None = None
    is_server: bool = False
    cwd: Path = Path("/")


def restart_delay_s(crash_count: int) -> float:
    """Return how long to wait before start number ``crash_count + 1``: doubling, bounded.

    >>> [restart_delay_s(n) for n in (1, 2, 3, 20)]
    [0.2, 0.4, 0.8, 10.0]
    """
    return min(RESTART_DELAY_MIN_S * 2.0 ** (min(crash_count, 30) - 1), RESTART_DELAY_MAX_S)


@dataclass(slots=True)
class Child:
    """A spec with its process. ``state`` is new, starting, ready, waiting (to restart), gone (given up) or stopped."""

    spec: ProcessSpec
    log_path: Path
    state: str = "new"
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    restart_at_s: float = 0.0
    crash_count: int = 0
    restart_count: int = 0
    log_offset: int = 0
    took_s: float = field(default=0.0)

    @property
    def pid(self) -> int:
        """Process id (0 when it does not run); also the id of its process group."""
        return self.process.pid if self.process is not None else 0

    def start(self) -> None:
        """Start the process in a session of its own, tied to our life, its output appended to its log."""
        self.spec.before_start()
        self.log_offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.spec.argv,
                env=dict(self.spec.env),
                cwd=self.spec.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self.spec.pass_fds,
                user=self.spec.user_id,
                extra_groups=None if self.spec.user_id is None else [],
                preexec_fn=tether(self.spec.death_signal),
            )
        self.state = "starting"
        self.started_s = time.monotonic()

    def exit_code(self) -> int | None:
        """Return the exit code, None while it runs."""
        return None if self.process is None else self.process.poll()

    def check_ready(self) -> bool:
        """Ask once whether it serves now; note how long that took."""
        if self.state == "starting" and self.spec.is_ready(self):
            self.state = "ready"
            self.took_s = time.monotonic() - self.started_s
        return self.state == "ready"

    def note_crash(self, now_s: float) -> None:
        """Plan the restart of a process that ended."""
        if now_s - self.started_s > STEADY_AFTER_S:
            self.crash_count = 0
        self.crash_count += 1
        self.restart_at_s = now_s + restart_delay_s(self.crash_count)
        self.state = "waiting"

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill_group(self) -> None:
        """Kill the process and what it started."""
        if self.pid:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                return

    def end(self) -> None:
        """Kill what is left of it and take its exit code."""
        self.kill_group()
        if self.process is not None:
            self.process.wait()
        self.state = "stopped"

    def said(self) -> str:
        """Return what it wrote to its log since its last start."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(self.log_offset)
                return log.read(1_000_000).decode(errors="replace")
        except OSError:
            return ""

    def tail(self) -> str:
        """Return the last lines it wrote since its last start."""
        return "\n".join(self.said().strip().splitlines()[-LOG_TAIL_LINES:])
