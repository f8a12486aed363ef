"""TABLE: the processes of a portal, as specs for the supervisor."""

import http.client
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from nfvportal.supervise.children import Child, ProcessSpec
from nfvportal.supervise.paths import Paths
from nfvportal.supervise.postgres import Postgres
from nfvportal.supervise.valkey import valkey_answers, valkey_argv

# name, queues, concurrency: failover work never waits behind planning or telemetry.
WORKERS = (
    ("worker-control", "control", 2),
    ("worker-engine", "engine,telemetry", 2),
)
LAB_NOT_POSSIBLE = 78
HTTP_TIMEOUT_S = 5


def _says(text: str) -> Callable[[Child], bool]:
    return lambda child: text in child.said()


def postgres_spec(postgres: Postgres, env: Mapping[str, str]) -> ProcessSpec:
    """Return PostgreSQL; a killed supervisor's server shuts down fast but cleanly."""
    return ProcessSpec(
        name="postgres",
        argv=tuple(postgres.argv({}, "INT")),
        env=env,
        is_ready=lambda _: postgres.is_ready(),
        before_start=postgres.clear_leftovers,
        stop_signal=signal.SIGINT,
        stop_within_s=15,
        death_signal=signal.SIGINT,
        user_id=postgres.user_id,
        is_server=True,
    )


def valkey_spec(program: Path, paths: Paths, env: Mapping[str, str]) -> ProcessSpec:
    """Return Valkey; a killed supervisor's server writes its file and ends."""
    return ProcessSpec(
        name="valkey",
        argv=tuple(valkey_argv(program, paths.valkey_socket, paths.valkey_data)),
        env=env,
        is_ready=lambda _: valkey_answers(paths.valkey_url),
        stop_within_s=10,
        death_signal=signal.SIGTERM,
        is_server=True,
    )


def web_spec(
    env: Mapping[str, str], checkout: Path, fds: tuple[int, ...], gate_fd: int, socket_path: Path
) -> ProcessSpec:
    """Return the web process on inherited listening sockets."""
    listening = [word for fd in fds for word in ("--fd", str(fd))]
    return ProcessSpec(
        name="web",
        argv=(sys.executable, "-m", "nfvportal.supervise.web", *listening, "--gate-fd", str(gate_fd)),
        env=env,
        # First its own word: its sockets are open from the beginning, asking too early would wait.
        is_ready=lambda child: "web ready" in child.said() and web_lives(socket_path),
        pass_fds=(*fds, gate_fd),
        stop_within_s=6,
        cwd=checkout,
    )


def web_lives(socket_path: Path) -> bool:
    """Whether the portal answers on its Unix socket."""
    connection = http.client.HTTPConnection("nfvportal", timeout=HTTP_TIMEOUT_S)
    try:
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(HTTP_TIMEOUT_S)
        connection.sock.connect(os.fspath(socket_path))
        connection.request("GET", "/livez")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def worker_specs(env: Mapping[str, str], checkout: Path) -> list[ProcessSpec]:
    """Return the Celery workers."""
    return [
        ProcessSpec(
            name=name,
            argv=(
                sys.executable, "-m", "celery", "-A", "nfvportal.celery", "worker", "-n", f"{name}@nfvportal",
                "-Q", queues, "-c", str(concurrency), "-l", "INFO", "--without-gossip", "--without-mingle",
            ),
            # Django's checks load every page of the portal: `manage.py check` makes them, in the tests.
            env={**env, "CELERY_SKIP_CHECKS": "1"},
            is_ready=_says("ready."),
            # Unfinished tasks are acknowledged late: whoever comes next does them.
            stop_within_s=5,
            cwd=checkout,
        )
        for name, queues, concurrency in WORKERS
    ]  # fmt: skip


def beat_spec(env: Mapping[str, str], checkout: Path) -> ProcessSpec:
    """Return Celery beat."""
    return ProcessSpec(
        name="beat",
        argv=(sys.executable, "-m", "celery", "-A", "nfvportal.beat", "beat", "-l", "INFO", "--pidfile="),
        env=env,
        is_ready=_says("beat: Starting"),
        stop_within_s=3,
        cwd=checkout,
    )


def lab_spec(env: Mapping[str, str], checkout: Path, paths: Paths, topology: str) -> ProcessSpec:
    """Return the lab with one agent per device; the portal goes on without it where namespaces are forbidden."""
    return ProcessSpec(
        name="lab",
        argv=(
            sys.executable, "-m", "nfvportal.lab", "up", "--topology", topology, "--socket", str(paths.lab_socket),
            "--agents-dir", str(paths.agents), "--portal", f"unix:{paths.web_socket}",
        ),
        env=env,
        is_ready=_says("lab ready"),
        stop_within_s=8,
        give_up_code=LAB_NOT_POSSIBLE,
        cwd=checkout,
    )  # fmt: skip
