"""A whole portal of its own: ``manage.py up`` on a free port with a temporary state directory."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from nfvportal.lab.client import LabClient, LabUnavailable
from nfvportal.lab.topology import TOPOLOGIES
from nfvportal.supervise.paths import Paths
from nfvportal.supervise.tether import tether

CHECKOUT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 180.0
STOP_WITHIN_S = 30.0
PASSWORD = re.compile(r"one-time password (\S+)")
# What the surrounding test run has set for its own servers must not leak into this portal.
OWN_NAMES = {
    "DATABASE_URL", "VALKEY_URL", "SECRET_KEY", "FIELD_KEYS", "LAB_ENABLED", "LAB_SOCKET", "LAB_TOPOLOGY", "PORT",
    "DEBUG", "NFV_PROFILE", "NFV_STATE_DIR", "NFV_RUN_DIR", "PORTAL_ORIGINS", "ALLOWED_HOSTS",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class WholePortal:
    """A running portal; ``environment`` is what its commands need to find it."""

    url: str
    password: str
    paths: Paths
    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    output_path: Path

    def instance(self) -> dict[str, Any]:
        """Return what ``instance.json`` says now."""
        content: dict[str, Any] = json.loads(self.paths.instance.read_text())
        return content

    def lab(self) -> LabClient:
        """Return the portal's lab, reached without the portal; the test is skipped where there is none."""
        client = LabClient(self.paths.lab_socket)
        try:
            client.status()
        except LabUnavailable:
            pytest.skip("no lab: this machine forbids its namespaces")
        return client

    def manage(self, *arguments: str, input_text: str | None = None) -> str:
        """Run a management command against this portal and return what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=CHECKOUT, env=self.environment, input=input_text, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


# A machine that runs tests has pauses that 30 ms of patience takes for failures of a link; each would double the wait
# for the next restoration, up to a minute. And 100 probes a second are most of what a quiet branch costs.
PATIENCE = """
from apps.wan.models import SitePair
from apps.wan.services.maps import map_ensure
for pair in SitePair.objects.all():
    pair.probe_interval_ms = 30
    pair.probe_multiplier = 10
    pair.hold_max_s = 2
    pair.save()
    map_ensure(pair)
"""


def _output(path: Path) -> str:
    return path.read_text(errors="replace")


def _wait_ready(process: subprocess.Popen[bytes], paths: Paths, output_path: Path) -> str:
    """Wait for the address and the one-time password; return the password."""
    deadline_s = time.monotonic() + READY_WITHIN_S
    while True:
        found = PASSWORD.search(_output(output_path))
        if found and paths.instance.exists():
            return found[1]
        if process.poll() is not None or time.monotonic() > deadline_s:
            logs = "\n".join(
                f"--- {log.name}\n{_output(log)[-1500:]}" for log in sorted(paths.logs.glob("*.log"))
            )
            raise RuntimeError(f"the portal did not start:\n{_output(output_path)}\n{logs}")
        time.sleep(0.05)


def _slower_branch(folder: Path, rate_ratio: float) -> str:
    """Write the topology ``branch`` with slower links; return its path. Queues keep their delay."""
    tree = yaml.safe_load((TOPOLOGIES / "branch.yml").read_text())
    for link in tree["links"].values():
        for name in {"rate_bps", "queue_bytes"} & link.keys():
            link[name] = int(link[name] * rate_ratio)
    path = folder / "branch.yml"
    path.write_text(yaml.safe_dump(tree))
    return str(path)


@contextlib.contextmanager
def whole_portal(*arguments: str, rate_ratio: float = 1.0) -> Iterator[WholePortal]:
    """Start a portal with ``manage.py up --port 0`` and further arguments; end it and remove its files after.

    Args:
        rate_ratio: of the branch's links: who only looks at traffic leaves the processor to others.

    Raises:
        RuntimeError: it did not come up; the message holds its logs.
    """
    base = Path(tempfile.mkdtemp(prefix="nfvwhole-"))
    base.chmod(0o755)  # Postgres under its own user must reach its data below
    paths = Paths(state=base / "state", run=base / "run")
    environment = {name: value for name, value in os.environ.items() if name not in OWN_NAMES}
    environment |= {"NFV_STATE_DIR": str(paths.state), "NFV_RUN_DIR": str(paths.run)}
    output_path = base / "up.out"
    if "--topology" not in arguments:
        # Half the agents of the demo, and all that most tests look at.
        topology = "branch" if rate_ratio == 1.0 else _slower_branch(base, rate_ratio)
        arguments = (*arguments, "--topology", topology)
    with output_path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--port", "0", *arguments],
            cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=tether(signal.SIGTERM),
        )  # fmt: skip
    try:
        password = _wait_ready(process, paths, output_path)
        url = str(json.loads(paths.instance.read_text())["web_url"])
        yield WholePortal(url, password, paths, process, environment, output_path)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(base, ignore_errors=True)
