"""The sensor as part of a real agent process: killed, it samples again from its own disk."""

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from apps.mptcp.engine.record_batch import columns_to_records
from nfvportal.lab.node_processes import CHECKOUT
from tests.mptcp.agent.test_packet_filter import DATA, make_wire, send
from tests.nfvportal.agent.in_namespace import in_namespace
from tests.support import mptcp_packets as packets
from tests.support.waiting import wait_until

SPEC = {"interface": "right", "sampling_ratio": 1, "observer": 9}


def start_agent(directory: Path) -> "subprocess.Popen[bytes]":
    """Start an agent without portal."""
    argv = [sys.executable, "-m", "nfvportal.agent", "--device", "t", "--portal", "none", "--journal"]
    argv += ["--state-dir", str(directory), "--roles", "mptcp.sensor"]
    return subprocess.Popen(argv, cwd=CHECKOUT, stderr=subprocess.DEVNULL)


def sequence_numbers(directory: Path) -> set[int]:
    """Return what the agent's journal holds of sampled packets."""
    path = directory / "journal.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    batches: list[dict[str, Any]] = [json.loads(line).get("samples", {}) for line in lines]
    return {seq for batch in batches if batch for seq in columns_to_records(batch).seq.tolist()}


def until_seen(directory: Path, seq: int) -> None:
    """Send a packet again and again until the agent has told of it."""

    def told() -> bool:
        send([packets.frame(DATA.but(seq=seq))])
        return seq in sequence_numbers(directory)

    wait_until(told, f"packet {seq} is in the journal", 30, every_s=0.1)


@in_namespace
def test_a_killed_agent_samples_again_without_being_told() -> None:
    make_wire()
    with tempfile.TemporaryDirectory(prefix="nfvsensor-") as name:
        directory = Path(name)
        (directory / "desired.json").write_text(json.dumps({"mptcp.sensor": {"revision": 1, "spec": SPEC}}))
        first = start_agent(directory)
        until_seen(directory, 1)
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=10)
        second = start_agent(directory)
        until_seen(directory, 2)
        second.terminate()
        assert second.wait(timeout=10) == 0
