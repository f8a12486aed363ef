"""Pytest plugin (``-p tests.support.services``): real PostgreSQL and Valkey for the whole test run.

pytest-django calls ``django.setup()`` before any conftest, so the servers start here, while pytest loads its plugins.
They live in a temporary directory and end with the test run, also when it is killed.
"""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nfvportal.supervise.paths import Paths
from nfvportal.supervise.postgres import postgres_plan
from nfvportal.supervise.tether import tether
from nfvportal.supervise.valkey import valkey_answers, valkey_argv, valkey_find

CHECKOUT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 60
WORKER_NAME = "test-worker"  # what the database calls its connections

# A test database that a crash of the operating system may spoil is no loss.
POSTGRES_TEST_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Servers:
    """The servers of one test run, in one temporary directory."""

    def __init__(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="nfvtest-"))
        self.paths = Paths(state=self.base / "state", run=self.base / "run")
        self.paths.make_directories()
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start both servers and wait until they answer."""
        valkey_url = self.paths.valkey_url
        self._spawn("valkey", valkey_argv(valkey_find({}), self.paths.valkey_socket, self.paths.valkey_data))
        postgres = postgres_plan(self.paths, {})
        postgres.initialise()
        self._spawn("postgres", postgres.argv(POSTGRES_TEST_SETTINGS, "QUIT"), postgres.user_id)
        deadline_s = time.monotonic() + READY_WITHIN_S
        while not (postgres.is_ready() and valkey_answers(valkey_url)):
            if time.monotonic() > deadline_s or any(process.poll() is not None for process in self.processes):
                raise RuntimeError("the test servers did not start:\n" + self._logs())
            time.sleep(0.02)
        os.environ.update(
            DATABASE_URL=postgres.url,
            VALKEY_URL=valkey_url,
            NFV_STATE_DIR=str(self.paths.state),
            NFV_RUN_DIR=str(self.paths.run),
            NFV_PROFILE="test",
        )
        for name in (
            "SECRET_KEY",
            "FIELD_KEYS",
            "LAB_ENABLED",
            "LAB_SOCKET",
            "PORT",
            "DEBUG",
            "NFV_SYSTEM_SERVICES",
        ):
            os.environ.pop(name, None)

    def stop(self) -> None:
        """End the servers at once and remove their files."""
        for process in self.processes:
            process.send_signal(signal.SIGQUIT if "postgres" in str(process.args) else signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.base, ignore_errors=True)

    def _spawn(self, name: str, argv: list[str], user_id: int | None = None) -> None:
        with (self.paths.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd="/",
                user=user_id, extra_groups=None if user_id is None else [],
                preexec_fn=tether(signal.SIGQUIT if name == "postgres" else signal.SIGTERM),
            )  # fmt: skip
        self.processes.append(process)

    def _logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in self.paths.logs.glob("*.log"))


_servers: Servers | None = None


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start the servers before pytest-django sets Django up in its hook of the same name."""
    global _servers
    if _servers is not None or "-h" in sys.argv or "--help" in sys.argv or "--version" in sys.argv:
        return
    if early_config.known_args_namespace.numprocesses and "PYTEST_XDIST_WORKER" not in os.environ:
        return  # this process only hands out tests; each that runs them has servers of its own
    servers = Servers()
    try:
        servers.start()
    except BaseException:
        servers.stop()
        raise
    _servers = servers
    atexit.register(_stop)  # pytest_unconfigure is not called when Django's set-up fails


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the servers after the last test."""
    _stop()


def _stop() -> None:
    global _servers
    if _servers is not None:
        _servers.stop()
        _servers = None


@pytest.fixture(scope="session")
def servers() -> Servers:
    """The running PostgreSQL and Valkey."""
    assert _servers is not None
    return _servers


class Worker:
    """A real Celery worker of all queues on the test database."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.log_path = servers.paths.logs / "worker.log"
        self.process: subprocess.Popen[bytes] | None = None

    def ensure_running(self) -> subprocess.Popen[bytes]:
        """Start the worker unless it runs (a test may have killed it) and return its process."""
        if self.process is not None and self.process.poll() is None:
            return self.process
        offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(
                        sys.executable,
                        "-m",
                        "celery",
                        "-A",
                        "nfvportal.celery",
                        "worker",
                        "-n",
                        "test@localhost",
                    ),
                    *("-Q", "control,engine,telemetry", "-c", "2", "-l", "INFO"),
                    *("--without-gossip", "--without-mingle"),
                ],
                env={
                    **os.environ,
                    "DATABASE_URL": _test_database_url(),
                    "CELERY_SKIP_CHECKS": "1",
                    "PGAPPNAME": WORKER_NAME,
                },
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=tether(signal.SIGKILL),
            )
        _wait_for_line(self.log_path, offset, b"ready.", self.process)
        return self.process

    def end(self) -> None:
        """End the worker and its pool."""
        if self.process is None:
            return
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="session")
def _worker(servers: Servers, django_db_setup: None) -> Iterator[Worker]:
    worker = Worker(servers)
    yield worker
    worker.end()


@pytest.fixture
def celery_worker_process(_worker: Worker, transactional_db: None) -> "subprocess.Popen[bytes]":
    """A running Celery worker for this test; it sees committed rows only, and no message of an earlier test."""
    _forget_messages(_worker.servers)
    return _worker.ensure_running()


def _test_database_url() -> str:
    from django.conf import settings

    database = settings.DATABASES["default"]
    return f"postgresql://nfvportal@/{database['NAME']}?host={database['HOST']}"


def _forget_messages(servers: Servers) -> None:
    """Drop what earlier tests sent to queues that no worker served: it speaks of rows that are gone."""
    import redis

    from nfvportal.celery import QUEUES

    with redis.Redis(unix_socket_path=str(servers.paths.valkey_socket)) as client:
        client.delete(*QUEUES, "unacked", "unacked_index")


def _wait_for_line(path: Path, offset: int, text: bytes, process: "subprocess.Popen[bytes]") -> None:
    deadline_s = time.monotonic() + READY_WITHIN_S
    while True:
        with path.open("rb") as log:
            log.seek(offset)
            said = log.read()
        if text in said:
            return
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError("the Celery worker did not start:\n" + said.decode(errors="replace")[-3000:])
        time.sleep(0.05)
