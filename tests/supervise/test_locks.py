"""One supervisor per state, and clear words for the second."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nfvportal.supervise.errors import SuperviseError
from nfvportal.supervise.listeners import tcp_listen, unix_listen
from nfvportal.supervise.locks import process_is_alive, supervisor_lock, supervisor_pid
from nfvportal.supervise.paths import Paths
from tests.support.waiting import wait_until

HOLDER = """
import sys
from pathlib import Path
from nfvportal.supervise.locks import supervisor_lock
from nfvportal.supervise.paths import Paths
supervisor_lock(Paths(state=Path(sys.argv[1]), run=Path(sys.argv[1])))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(state=tmp_path, run=tmp_path)
    made.make_directories()
    return made


@pytest.fixture
def holder(paths: Paths) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(paths.run)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_second_supervisor_is_told_who_holds_the_state(paths: Paths, holder: "subprocess.Popen[str]") -> None:
    assert supervisor_pid(paths) == holder.pid
    with pytest.raises(SuperviseError, match=f"already runs.*process {holder.pid}"):
        supervisor_lock(paths)


def test_killed_supervisor_leaves_no_lock(paths: Paths, holder: "subprocess.Popen[str]") -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert supervisor_pid(paths) is None
    fd = supervisor_lock(paths)
    assert paths.lock.read_text().strip() == str(os.getpid())
    os.close(fd)


def test_new_supervisor_waits_for_the_leftovers_of_a_killed_one(paths: Paths) -> None:
    # The janitor of a killed supervisor still holds the lock; the process id in the file is dead.
    fd = supervisor_lock(paths)
    dead = subprocess.Popen(["true"])
    dead.wait()
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(dead.pid).encode(), 0)
    with pytest.raises(SuperviseError, match="do not end"):
        supervisor_lock(paths, leftovers_within_s=0.1)
    os.close(fd)
    os.close(supervisor_lock(paths, leftovers_within_s=0.1))


def test_zombies_are_not_alive() -> None:
    process = subprocess.Popen(["true"])
    wait_until(lambda: not process_is_alive(process.pid), "a process that ended, not yet waited for")
    process.wait()
    assert process_is_alive(os.getpid())


def test_port_in_use_names_the_port_and_the_way_out() -> None:
    with tcp_listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SuperviseError, match=rf"(?s)Port {port} .*in use.*PORT=8080 make run"):
            tcp_listen("127.0.0.1", port)


def test_foreign_address_is_a_clear_error() -> None:
    with pytest.raises(SuperviseError, match=r"Cannot listen on 192\.0\.2\.77"):
        tcp_listen("192.0.2.77", 0)


def test_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    unix_listen(path).close()
    assert path.exists()
    with unix_listen(path):
        assert path.stat().st_mode & 0o077 == 0
