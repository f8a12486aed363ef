"""A whole portal: what starts in which order, what it says, where others find it."""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nfvportal import __version__
from nfvportal.supervise.children import Child
from nfvportal.supervise.errors import SuperviseError
from nfvportal.supervise.keys import keys_ensure
from nfvportal.supervise.listeners import local_addresses, tcp_listen, unix_listen
from nfvportal.supervise.locks import supervisor_lock
from nfvportal.supervise.paths import Paths
from nfvportal.supervise.postgres import Postgres, postgres_plan
from nfvportal.supervise.processes import (
    beat_spec,
    lab_spec,
    postgres_spec,
    valkey_spec,
    web_spec,
    worker_specs,
)
from nfvportal.supervise.supervisor import Supervisor
from nfvportal.supervise.valkey import valkey_find

CHECKOUT = Path(__file__).resolve().parents[2]
PREPARE_WITHIN_S = 180
LOOPBACK_HOSTS = {"127.0.0.1", "0.0.0.0", "::", "::1"}


@dataclass(frozen=True, slots=True)
class PortalOptions:
    """What the operator chose. ``port`` 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8000
    lab: bool = True
    demo: bool = True
    topology: str = "branch+datacenter"


def child_environment(
    paths: Paths, given: Mapping[str, str], database_url: str, options: PortalOptions, port: int
) -> dict[str, str]:
    """Return the environment of every process of the portal: what was given, our addresses and keys.

    A portal that listens to other machines answers to the names they know it by, unless ALLOWED_HOSTS says which.
    """
    keys = keys_ensure(paths)
    host = options.host
    defaults = {
        "SECRET_KEY": keys["secret_key"],
        "FIELD_KEYS": keys["field_keys"],
        "VALKEY_URL": paths.valkey_url,
    }
    if host not in {"127.0.0.1", "::1", "localhost"}:
        names = [
            "localhost",
            "127.0.0.1",
            "[::1]",
            "nfvportal",
            host,
            socket.gethostname(),
            *local_addresses(),
        ]
        defaults["ALLOWED_HOSTS"] = ",".join(dict.fromkeys(names))
    search = [given.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    return {
        **defaults,
        **{key: value for key, value in given.items() if value and key not in {"PYTHONHOME", "PYTHONPATH"}},
        "DATABASE_URL": database_url,
        "LAB_SOCKET": str(paths.lab_socket),
        "LAB_TOPOLOGY": options.topology,
        "NFV_STATE_DIR": str(paths.state),
        "NFV_RUN_DIR": str(paths.run),
        "PORT": str(port),
        "PATH": os.pathsep.join(part for part in search if part),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": "nfvportal.settings",
    }


class Portal:
    """One starting or running portal; ``running()`` is its life."""

    def __init__(
        self, paths: Paths, options: PortalOptions, given_env: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        self.paths = paths
        self.options = options
        self.say = say
        self.port = options.port
        self.password: str | None = None
        self.supervisor: Supervisor
        self._given_env = given_env
        self._sockets: list[socket.socket] = []
        self._env: dict[str, str] = {}
        self._written: dict[str, object] = {}

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the portal."""
        host = "localhost" if self.options.host in LOOPBACK_HOSTS else self.options.host
        return f"http://{host}:{self.port}/"

    @contextlib.contextmanager
    def running(self) -> Iterator["Portal"]:
        """Start everything; on leaving, end everything.

        Raises:
            SuperviseError: something could not start; all that did start has ended again.
            StopRequested: a stop signal came while starting.
        """
        self.paths.make_directories()
        lock_fd = supervisor_lock(self.paths)
        try:
            tcp = tcp_listen(self.options.host, self.options.port)
            self._sockets.append(tcp)
            self.port = int(tcp.getsockname()[1])
            self._sockets.append(unix_listen(self.paths.web_socket))
            with Supervisor(self.paths.logs, lock_fd, self.say) as supervisor:
                self.supervisor = supervisor
                self._start()
                yield self
        finally:
            for listening in self._sockets:
                listening.close()
            for path in (self.paths.instance, self.paths.web_socket, self.paths.lab_socket):
                path.unlink(missing_ok=True)
            # The lock file stays: removing it would let two waiting supervisors hold two different files.
            os.ftruncate(lock_fd, 0)
            os.close(lock_fd)

    def _start(self) -> None:
        started_s = time.monotonic()
        self.say(f"nfvportal {__version__}: data in {self.paths.state}, logs in {self.paths.logs}")
        start = self.supervisor.start
        postgres = None if self._given_env.get("DATABASE_URL") else postgres_plan(self.paths, self._given_env)
        url = postgres.url if postgres else self._given_env["DATABASE_URL"]
        env = self._env = child_environment(self.paths, self._given_env, url, self.options, self.port)
        servers = []
        if not self._given_env.get("VALKEY_URL"):
            servers.append(start(valkey_spec(valkey_find(self._given_env), self.paths, env)))
        gate_reader, gate_writer = os.pipe()
        try:
            # These load Django while the servers start; web serves once the gate opens.
            no_demo = [] if self.options.demo else ["--no-demo"]
            command = [sys.executable, "-m", "nfvportal.supervise.prepare", *no_demo]
            prepare = self.supervisor.begin_task("prepare", command, env, CHECKOUT)
            fds = tuple(listening.fileno() for listening in self._sockets)
            early = [start(web_spec(env, CHECKOUT, fds, gate_reader, self.paths.web_socket))]
            early += [start(spec) for spec in worker_specs(env, CHECKOUT)]
            if postgres is not None:
                servers.append(self._start_postgres(postgres))
            self.supervisor.wait_ready(servers)
            self._note_prepared(self.supervisor.finish_task("prepare", prepare, PREPARE_WITHIN_S))
        finally:
            os.close(gate_writer)
        late = [start(beat_spec(env, CHECKOUT))]
        if self.options.lab:
            late.append(start(lab_spec(env, CHECKOUT, self.paths, self.options.topology)))
        self.supervisor.wait_ready([*early, *late])
        self.write_instance()
        self._announce(time.monotonic() - started_s)

    def _start_postgres(self, postgres: Postgres) -> Child:
        started_s = time.monotonic()
        if postgres.initialise():
            self.say(f"  {'postgres data made':<18} {time.monotonic() - started_s:5.1f} s")
        return self.supervisor.start(postgres_spec(postgres, self._env))

    def _note_prepared(self, answer: bytes) -> None:
        try:
            report = json.loads(answer)
        except ValueError as error:
            raise SuperviseError(f"prepare gave no report: {answer[:200]!r}") from error
        for name, took_s in report["steps"]:
            self.say(f"  {name:<18} {took_s:5.1f} s")
        self.password = report["password"]

    def _announce(self, took_s: float) -> None:
        self.say(f"Ready in {took_s:.1f} s: {self.url}")
        if self.password is not None:
            self.say(f"Log in as admin with the one-time password {self.password}   (shown only now)")
        else:
            self.say(
                "Log in as admin; the password was shown at the first start. "
                "`.venv/bin/python manage.py changepassword admin` sets a new one."
            )

    def write_instance(self) -> None:
        """Write ``instance.json`` if an address or a process id in it changed."""
        content: dict[str, object] = {
            "database_url": self._env["DATABASE_URL"],
            "valkey_url": self._env["VALKEY_URL"],
            "web_url": self.url,
            "web_socket": str(self.paths.web_socket),
            "lab_socket": str(self.paths.lab_socket),
            "port": self.port,
            "pids": {child.spec.name: child.pid for child in self.supervisor.children},
        }
        if content != self._written:
            fresh = self.paths.instance.with_suffix(".new")
            fresh.write_text(json.dumps(content, indent=1))
            fresh.chmod(0o600)
            fresh.rename(self.paths.instance)
            self._written = content

    def check(self) -> None:
        """Run the scripted round trip against this portal, keeping it alive meanwhile.

        Raises:
            SuperviseError: a step failed (the check has said which), or nobody knows the password.
            StopRequested: a signal came.
        """
        password = self.password or self._given_env.get("NFV_CHECK_PASSWORD", "")
        if not password:
            raise SuperviseError("This portal has its administrator already: give NFV_CHECK_PASSWORD.")
        self.say("Check:")
        command = [sys.executable, "-m", "nfvportal.supervise.check", "--url", self.url]
        env = {**self._env, "NFV_CHECK_PASSWORD": password}
        task = self.supervisor.begin_task("check", command, env, CHECKOUT, answers=False)

        def round_done() -> bool:
            self.write_instance()
            return task.poll() is not None

        self.supervisor.watch(round_done)
        if task.returncode != 0:
            raise SuperviseError(f"The check failed. Logs: {self.paths.logs}\n{self.supervisor.tails()}")

    def serve(self) -> None:
        """Keep everything alive until a stop signal comes.

        Raises:
            StopRequested: a signal came.
        """

        def round_done() -> bool:
            self.write_instance()
            return False

        self.supervisor.watch(round_done)
