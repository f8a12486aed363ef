"""The agent as a process, without a portal: last desired state, SIGHUP, SIGTERM, journal."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WITHIN_S = 15.0
CHECKOUT = Path(__file__).resolve().parents[3]


def _journal(state_dir: Path, count: int) -> list[dict[str, Any]]:
    """Return the journal's lines as soon as there are ``count``."""
    path = state_dir / "journal.jsonl"
    deadline_s = time.monotonic() + WITHIN_S
    while True:
        lines = path.read_text().splitlines() if path.exists() else []
        if len(lines) >= count:
            return [json.loads(line) for line in lines]
        assert time.monotonic() < deadline_s, f"{len(lines)} of {count} lines"
        time.sleep(0.02)


def _want(state_dir: Path, revision: int, spec: dict[str, Any]) -> None:
    (state_dir / "desired.json").write_text(json.dumps({"test.echo": {"revision": revision, "spec": spec}}))


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    _want(tmp_path, 1, {"events": 2, "samples": {"at_s": [1.0]}})
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.nfvportal.agent.echo", "--device", "gw-a", "--portal", "none", "--state-dir",
         str(tmp_path), "--roles", "test.echo", "--journal"], cwd=CHECKOUT,
    )  # fmt: skip
    yield process
    process.kill()
    process.wait()


def test_offline_agent_lives_on_its_last_desired_state(
    agent: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    lines = _journal(tmp_path, 3)
    assert [line.get("event") for line in lines] == ["test.echoed", "test.echoed", None]
    assert lines[2]["samples"] == {"at_s": [1.0]}
    _want(tmp_path, 2, {"events": 1, "crashes": 1})
    os.kill(agent.pid, signal.SIGHUP)
    assert _journal(tmp_path, 4)[3]["data"] == {"n": 0}
    (tmp_path / "desired.json").write_text("{ damaged")
    os.kill(agent.pid, signal.SIGHUP)
    os.kill(agent.pid, signal.SIGTERM)
    assert agent.wait(timeout=WITHIN_S) == 0
    assert (tmp_path / "test.echo" / "closed").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--portal", "unix:/x"], ["--portal", "ftp://x"], ["--portal", "none", "--roles", "wan.gatway"], []],
)
def test_wrong_arguments_are_explained(tmp_path: Path, arguments: list[str]) -> None:
    command = [
        sys.executable,
        "-m",
        "nfvportal.agent",
        "--device",
        "x",
        "--state-dir",
        str(tmp_path),
        *arguments,
    ]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr
