"""``manage.py up`` as a whole, without the lab: start, second start, kill -9, stop, what remains."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nfvportal.supervise.janitor import live_groups
from nfvportal.supervise.locks import supervisor_pid
from nfvportal.supervise.paths import Paths
from nfvportal.supervise.processes import web_lives
from nfvportal.supervise.tether import tether
from tests.support.waiting import wait_until
from tests.support.whole_portal import CHECKOUT, OWN_NAMES

pytestmark = pytest.mark.slow
START_WITHIN_S = 120
ALL_PROCESSES = {"postgres", "valkey", "web", "worker-control", "worker-engine", "beat"}


@dataclass(slots=True)
class Place:
    """A state directory in which portals are started one after the other."""

    base: Path
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def paths(self) -> Paths:
        return Paths(state=self.base / "state", run=self.base / "run")

    def environment(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if name not in OWN_NAMES}
        return env | {"NFV_STATE_DIR": str(self.paths.state), "NFV_RUN_DIR": str(self.paths.run)}

    def up(self, *arguments: str) -> tuple["subprocess.Popen[bytes]", Path]:
        """Start a portal; return its process and the file of what it says."""
        said_path = self.base / f"up.{len(self.started)}"
        with said_path.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--no-lab", "--no-demo", "--port", "0", *arguments],
                cwd=CHECKOUT,
                env=self.environment(),
                stdout=said,
                stderr=subprocess.STDOUT,
                preexec_fn=tether(signal.SIGTERM),
            )
        self.started.append(process)
        return process, said_path

    def up_ready(self, *arguments: str) -> tuple["subprocess.Popen[bytes]", str]:
        """Start a portal, wait until it is ready, return what it said."""
        process, path = self.up(*arguments)
        wait_until(
            lambda: b"Ctrl-C" in path.read_bytes() or process.poll() is not None,
            "portal is ready",
            START_WITHIN_S,
        )
        said = path.read_text()
        assert process.poll() is None, said
        return process, said

    def running(self) -> "subprocess.Popen[bytes]":
        """Return the portal that an earlier test left running, or a new one, ready."""
        if self.started and self.started[-1].poll() is None:
            return self.started[-1]
        return self.up_ready()[0]

    def groups(self) -> dict[str, int]:
        """Return the process groups of the running portal."""
        pids: dict[str, int] = json.loads(self.paths.instance.read_text())["pids"]
        return pids


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    base = Path(tempfile.mkdtemp(prefix="nfvup-"))
    made = Place(base)
    yield made
    for process in made.started:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)
    shutil.rmtree(base, ignore_errors=True)


def test_first_start_says_what_it_starts_and_shows_the_password_once(place: Place) -> None:
    _, said = place.up_ready()
    for name in ALL_PROCESSES | {"migrations"}:
        assert re.search(rf"^  {name} +\d+\.\d s$", said, flags=re.MULTILINE), (name, said)
    assert re.search(r"Ready in \d+\.\d s: http://localhost:\d+/", said)
    assert len(re.findall(r"one-time password \S{16}", said)) == 1
    assert set(place.groups()) == ALL_PROCESSES
    assert web_lives(place.paths.web_socket)


def test_second_start_on_the_same_data_is_refused(place: Place) -> None:
    process = place.running()
    second, second_path = place.up()
    assert second.wait(timeout=60) == 1
    place.started.remove(second)
    assert f"already runs on {place.paths.state} (process {process.pid})" in second_path.read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_next_start_works_at_once_and_keeps_the_data(place: Place, number: signal.Signals) -> None:
    process = place.running()
    groups = set(place.groups().values())
    process.send_signal(number)
    process.wait(timeout=60)
    _, said = place.up_ready()
    assert not live_groups() & groups
    assert "one-time password" not in said
    assert "changepassword admin" in said


def test_ctrl_c_leaves_nothing(place: Place) -> None:
    process = place.running()
    groups = set(place.groups().values())
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    assert not live_groups() & groups
    assert not place.paths.instance.exists()
    assert not place.paths.web_socket.exists()
    assert supervisor_pid(place.paths) is None


def test_port_in_use_stops_before_anything_starts(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process, path = place.up("--port", str(port))
        assert process.wait(timeout=60) == 1
    assert f"Port {port} on 127.0.0.1 is in use" in path.read_text()
    assert not place.paths.postgres_data.exists()
