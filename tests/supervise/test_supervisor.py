"""The supervisor on real processes: order, restart, stop, and what remains after kill -9."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nfvportal.supervise.children import Child, ProcessSpec, restart_delay_s
from nfvportal.supervise.errors import StopRequested, SuperviseError
from nfvportal.supervise.janitor import listed_groups, live_groups
from nfvportal.supervise.locks import process_is_alive
from nfvportal.supervise.supervisor import Supervisor
from tests.support.waiting import wait_until

READY = "import sys, time; print('up', flush=True); time.sleep(600)"
FAILS = "import sys; print('no such thing'); sys.exit(3)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
WITH_CHILD = (
    "import subprocess, time; subprocess.Popen(['sleep', '600']); print('up', flush=True); time.sleep(600)"
)


def spec(name: str, code: str, **changes: object) -> ProcessSpec:
    fields: dict[str, object] = {
        "argv": (sys.executable, "-c", code),
        "env": os.environ,
        "is_ready": lambda child: "up" in child.said(),
        **changes,
    }
    return ProcessSpec(name=name, **fields)  # type: ignore[arg-type]  # test fields are right by construction


class Said(list[str]):
    """Collects what the supervisor says."""

    def text(self) -> str:
        return "\n".join(self)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def supervisor(tmp_path: Path, said: Said) -> Iterator[Supervisor]:
    lock_fd = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    with Supervisor(tmp_path, lock_fd, said.append) as made:
        yield made
    os.close(lock_fd)
    assert not [child for child in made.children if process_is_alive(child.pid)]


def tick_until(supervisor: Supervisor, condition: object, what: str) -> None:
    def step() -> bool:
        supervisor.tick(time.monotonic())
        return bool(condition())  # type: ignore[operator]  # a lambda

    wait_until(step, what)


def test_ready_children_are_announced_with_their_time(supervisor: Supervisor, said: Said) -> None:
    child = supervisor.start(spec("one", READY))
    supervisor.wait_ready([child])
    assert child.state == "ready"
    assert said[0].split()[0] == "one"
    assert said[0].endswith(" s")


def test_a_child_that_fails_to_start_is_an_error_with_its_last_words(supervisor: Supervisor) -> None:
    child = supervisor.start(spec("bad", FAILS))
    with pytest.raises(SuperviseError, match=r"(?s)bad ended with exit code 3.*no such thing.*bad\.log"):
        supervisor.wait_ready([child])


def test_a_child_that_never_gets_ready_is_an_error(supervisor: Supervisor) -> None:
    child = supervisor.start(spec("slow", READY, is_ready=lambda _: False, ready_within_s=0.1))
    with pytest.raises(SuperviseError, match="slow is not ready"):
        supervisor.wait_ready([child])


def test_a_child_that_cannot_run_here_is_left_out(supervisor: Supervisor, said: Said) -> None:
    child = supervisor.start(spec("lab", FAILS, give_up_code=3))
    supervisor.wait_ready([child])
    supervisor.tick(time.monotonic())
    assert child.state == "gone"
    assert "no such thing" in said.text()


def test_a_killed_child_comes_back(supervisor: Supervisor, said: Said) -> None:
    child = supervisor.start(spec("one", READY))
    supervisor.wait_ready([child])
    first = child.pid
    os.kill(first, signal.SIGKILL)
    tick_until(supervisor, lambda: child.restart_count == 1 and child.state == "ready", "restart")
    assert child.pid != first
    assert "one ended (SIGKILL)" in said.text()
    assert "one is back" in said.text()


def test_what_a_killed_child_had_started_ends_with_it(supervisor: Supervisor) -> None:
    child = supervisor.start(spec("family", WITH_CHILD))
    supervisor.wait_ready([child])
    group = child.pid
    os.kill(group, signal.SIGKILL)
    tick_until(supervisor, lambda: child.restart_count == 1, "restart")
    wait_until(lambda: group not in live_groups(), "the old process group is gone")


def test_restart_delays_double_up_to_a_bound() -> None:
    delays = [restart_delay_s(count) for count in range(1, 100)]
    assert delays == sorted(delays)
    assert delays[0] == 0.2
    assert max(delays) == 10.0


def test_a_steady_childs_crash_counts_as_the_first() -> None:
    child = Child(spec("one", READY), Path("/nonexistent/one.log"))
    child.started_s = 100.0
    child.crash_count = 7
    child.note_crash(100.0 + 31)
    assert child.crash_count == 1


def test_a_stop_signal_ends_the_watch(supervisor: Supervisor) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(StopRequested):
        supervisor.watch(lambda: False)


def test_a_deaf_child_is_killed_when_its_time_is_up(supervisor: Supervisor) -> None:
    child = supervisor.start(spec("deaf", DEAF, stop_within_s=0.2))
    supervisor.wait_ready([child])
    supervisor.stop()
    assert not process_is_alive(child.pid)


def test_servers_stop_after_those_who_use_them(supervisor: Supervisor) -> None:
    server = supervisor.start(spec("server", READY, is_server=True))
    user = supervisor.start(
        spec(
            "user",
            f"""
import os, signal, sys, time
def leave(*_):
    os.kill({server.pid}, 0)
    print("server still there", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("up", flush=True)
time.sleep(600)
""",
        )
    )
    supervisor.wait_ready([server, user])
    supervisor.stop()
    assert "server still there" in user.said()


def test_large_logs_are_cut(supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfvportal.supervise.supervisor.LOG_SIZE_MAX_BYTES", 10)
    (tmp_path / "big.log").write_text("x" * 11)
    supervisor.tick(time.monotonic())
    assert (tmp_path / "big.log").stat().st_size == 0
    assert (tmp_path / "big.log.1").read_text() == "x" * 11


def test_janitor_reads_who_is_left() -> None:
    assert listed_groups(["+5", "~6", "+7", "-5", "-9"]) == ({7}, {6})


KILLED = """
import os, sys, time
from pathlib import Path
from nfvportal.supervise.children import ProcessSpec
from nfvportal.supervise.supervisor import Supervisor
base = Path(sys.argv[1])
lock_fd = os.open(base / "lock", os.O_RDWR | os.O_CREAT)
with Supervisor(base, lock_fd, lambda text: None) as supervisor:
    children = [
        supervisor.start(ProcessSpec(name=f"c{i}", argv=(sys.executable, "-c", code), env=os.environ,
                                     is_ready=lambda child: "up" in child.said(), stop_within_s=1))
        for i, code in enumerate(sys.argv[2:])
    ]
    supervisor.wait_ready(children)
    print(*[child.pid for child in children], flush=True)
    supervisor.watch(lambda: False)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_remains_however_the_supervisor_ends(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), READY, DEAF, WITH_CHILD],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    groups = {int(word) for word in process.stdout.readline().split()}
    assert len(groups) == 3
    process.send_signal(number)
    process.communicate(timeout=30)
    wait_until(lambda: not (live_groups() & groups), f"all process groups are gone after {number.name}")
