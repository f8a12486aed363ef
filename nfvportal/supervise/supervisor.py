"""Start processes in order, keep them alive, end them in reverse; leave nothing behind."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType, TracebackType

from nfvportal.supervise import janitor
from nfvportal.supervise.children import LOG_TAIL_LINES, Child, ProcessSpec
from nfvportal.supervise.errors import StopRequested, SuperviseError
from nfvportal.supervise.tether import tether

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOG_SIZE_MAX_BYTES = 20_000_000
LOG_CHECK_EVERY_S = 30.0
START_POLL_S = 0.02
WATCH_POLL_S = 0.25


class Supervisor:
    """Owns the children. Use as a context manager: leaving it stops everything.

    All children start from one thread, because a parent-death signal follows the thread that forked.
    """

    def __init__(self, logs: Path, lock_fd: int, say: Callable[[str], None]) -> None:
        self.logs = logs
        self.say = say
        self.children: list[Child] = []
        self.stop_count = 0
        self._tasks: list[subprocess.Popen[bytes]] = []
        self._lock_fd = lock_fd
        self._next_log_check_s = 0.0
        self._old_handlers: dict[
            int, signal.Handlers | int | Callable[[int, FrameType | None], object] | None
        ] = {}

    def __enter__(self) -> "Supervisor":
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        self._old_wakeup_fd = signal.set_wakeup_fd(self._wake_sender.fileno(), warn_on_full_buffer=False)
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            self._old_handlers[number] = signal.signal(number, self._on_signal)
        read_fd, self._janitor_fd = os.pipe()
        try:
            self._janitor = subprocess.Popen(
                [sys.executable, "-I", "-S", janitor.__file__, str(read_fd)],
                pass_fds=(read_fd, self._lock_fd),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                cwd="/",
            )
        finally:
            os.close(read_fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        os.close(self._janitor_fd)
        self._janitor.wait()
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup_fd)
        self._wake_receiver.close()
        self._wake_sender.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number in STOP_SIGNALS:
            self.stop_count += 1

    def _sleep(self, seconds: float) -> None:
        """Wait for a signal (a child ended, someone wants us to stop) or for the time to pass."""
        select.select([self._wake_receiver], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while self._wake_receiver.recv(4096):
                pass

    def start(self, spec: ProcessSpec) -> Child:
        """Start one more process; it may not be ready yet."""
        child = Child(spec, self.logs / f"{spec.name}.log")
        self.children.append(child)
        self._start(child)
        return child

    def _start(self, child: Child) -> None:
        child.start()
        sign = "+" if child.spec.death_signal == signal.SIGKILL else "~"
        self._tell_janitor(f"{sign}{child.pid}\n")

    def _tell_janitor(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._janitor_fd, line.encode())

    def wait_ready(self, children: Iterable[Child]) -> None:
        """Wait until all of these serve; say how long each took.

        Raises:
            SuperviseError: one ended or is not ready in its time; carries the end of its log.
            StopRequested: a signal came.
        """
        waiting = list(children)
        while any(child.state == "starting" for child in waiting):
            self.check_stop()
            self._look_at_starting()
            self._sleep(START_POLL_S)

    def _look_at_starting(self) -> None:
        """Announce each child when it gets ready, not when somebody waits for it; raise when one failed."""
        for child in self.children:
            if child.state == "starting":
                self._settle(child)

    def _settle(self, child: Child) -> None:
        """Note that a starting child is ready or cannot run here; raise when it failed."""
        spec = child.spec
        if child.check_ready():
            self.say(f"  {spec.name:<18} {child.took_s:5.1f} s")
            return
        code = child.exit_code()
        if code is not None and code == spec.give_up_code:
            self._give_up(child)
            return
        if code is not None:
            reason = (
                f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
            )
            raise SuperviseError(
                f"{spec.name} {reason}. It said last:\n{child.tail()}\nLog: {child.log_path}"
            )
        if time.monotonic() - child.started_s > spec.ready_within_s:
            raise SuperviseError(
                f"{spec.name} is not ready after {spec.ready_within_s:.0f} s. It said last:\n"
                f"{child.tail()}\nLog: {child.log_path}"
            )

    def _give_up(self, child: Child) -> None:
        child.state = "gone"
        self._tell_janitor(f"-{child.pid}\n")
        self.say(f"  {child.spec.name:<18} not on this machine:\n{child.tail()}")

    def begin_task(
        self, name: str, argv: list[str], env: Mapping[str, str], cwd: Path, *, answers: bool = True
    ) -> "subprocess.Popen[bytes]":
        """Start a process that does one thing and ends.

        Its standard output is its answer (or, without ``answers``, goes where ours goes), the rest its log.
        """
        with (self.logs / f"{name}.log").open("wb") as log:
            task = subprocess.Popen(
                argv,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if answers else None,
                stderr=log,
                start_new_session=True,
                preexec_fn=tether(signal.SIGKILL),
            )
        self._tell_janitor(f"+{task.pid}\n")
        self._tasks.append(task)
        return task

    def finish_task(self, name: str, task: "subprocess.Popen[bytes]", within_s: float) -> bytes:
        """Wait for a task and return its answer (at most one pipe's worth).

        Raises:
            SuperviseError: it failed or took too long; carries the end of its log.
            StopRequested: a signal came.
        """
        deadline_s = time.monotonic() + within_s
        while task.poll() is None and time.monotonic() < deadline_s:
            self.check_stop()
            self._look_at_starting()
            self._sleep(START_POLL_S)
        if task.poll() != 0:
            log = self.logs / f"{name}.log"
            tail = "\n".join(log.read_text(errors="replace").strip().splitlines()[-LOG_TAIL_LINES:])
            raise SuperviseError(f"{name} failed. It said last:\n{tail}\nLog: {log}")
        self._tell_janitor(f"-{task.pid}\n")
        answer, _ = task.communicate()
        return answer

    def check_stop(self) -> None:
        """Raise StopRequested when a stop signal came."""
        if self.stop_count:
            raise StopRequested

    def tails(self) -> str:
        """Return the end of the log of everything but the servers."""
        shown = [child for child in self.children if not child.spec.is_server]
        return "\n".join(f"--- {child.spec.name}\n{child.tail()}" for child in shown)

    def watch(self, round_done: Callable[[], bool]) -> None:
        """Keep all children alive until ``round_done``, asked after every look, returns true.

        Raises:
            StopRequested: a signal came.
        """
        while True:
            self.check_stop()
            self.tick(time.monotonic())
            if round_done():
                return
            self._sleep(WATCH_POLL_S)

    def tick(self, now_s: float) -> None:
        """Look once after every child: note ends, restart what is due, notice who serves again."""
        for child in self.children:
            if child.state in {"starting", "ready"} and (code := child.exit_code()) is not None:
                self._note_end(child, code, now_s)
            elif child.state == "starting":
                self._check_restarted(child, now_s)
            elif child.state == "waiting" and now_s >= child.restart_at_s:
                child.restart_count += 1
                self._start(child)
        if now_s >= self._next_log_check_s:
            self._next_log_check_s = now_s + LOG_CHECK_EVERY_S
            self._trim_logs()

    def _note_end(self, child: Child, code: int, now_s: float) -> None:
        # What it started must not go on beside its successor.
        child.kill_group()
        if code == child.spec.give_up_code:
            self._give_up(child)
            return
        self._tell_janitor(f"-{child.pid}\n")
        child.note_crash(now_s)
        reason = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        self.say(f"{child.spec.name} ended ({reason}); starts again in {child.restart_at_s - now_s:.1f} s")
        if code >= 0 and (tail := child.tail()):
            self.say("  | " + tail.replace("\n", "\n  | "))

    def _check_restarted(self, child: Child, now_s: float) -> None:
        if child.check_ready():
            self.say(f"{child.spec.name} is back ({child.took_s:.1f} s)")
        elif now_s - child.started_s > child.spec.ready_within_s:
            self.say(f"{child.spec.name} is not ready after {child.spec.ready_within_s:.0f} s; starts again")
            child.kill_group()

    def _trim_logs(self) -> None:
        """Keep each log below its limit: the old part moves to ``.1``; writers append, so truncating is safe."""
        for path in self.logs.glob("*.log"):
            if path.stat().st_size > LOG_SIZE_MAX_BYTES:
                path.with_suffix(".log.1").write_bytes(path.read_bytes())
                os.truncate(path, 0)

    def stop(self) -> None:
        """End all children: first those that use the servers, then the servers; within each, last started first.

        A second stop signal kills what is left at once.
        """
        signals_before = self.stop_count
        for task in self._tasks:
            if task.poll() is None:
                task.kill()
                task.wait()
        for is_server in (False, True):
            group = [child for child in reversed(self.children) if child.spec.is_server is is_server]
            running = [child for child in group if child.process is not None]
            for child in running:
                child.send(child.spec.stop_signal)
            started_s = time.monotonic()
            for child in running:
                deadline_s = started_s + child.spec.stop_within_s
                while child.exit_code() is None and time.monotonic() < deadline_s:
                    if self.stop_count > signals_before + 1:
                        break
                    self._sleep(START_POLL_S)
                child.end()
                self._tell_janitor(f"-{child.pid}\n")
