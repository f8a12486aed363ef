"""Real Multipath TCP between two hosts in namespaces, recorded, with the truth asked from the sockets.

The kernel's own sockets and path manager do everything; we only decide what is sent when. Captures and truth are
written by a program of their own (``tests.support.mptcp_bed``), since namespaces are for whole processes.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from apps.mptcp.engine.values import FlowKey
from nfvportal.lab.bring_up import require_tools
from nfvportal.lab.isolation import probe_isolation
from nfvportal.lab.node_processes import CHECKOUT


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """What to run. All times in seconds.

    Args:
        connection_count: connections that run at the same time in the middle; a tenth more end early or start late.
        duration_s: how long traffic runs; ends take up to 4 s more.
        rates_bps: of the links between the two hosts, each way; their queues hold ``queue_ms`` of it.
        has_changes: add, remove and prefer addresses while traffic runs.
        snaplen: bytes of each packet that are recorded.
        watch_ratio: sampling of live sensors beside the recorder; 0: none.
    """

    connection_count: int = 64
    duration_s: float = 20.0
    rates_bps: tuple[int, ...] = (60_000_000, 24_000_000, 10_000_000)
    queue_ms: int = 400
    has_changes: bool = True
    snaplen: int = 128
    watch_ratio: float = 0.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class TrueSubflow:
    """A subflow as its socket told: between which times (epoch seconds) the client's kernel listed it."""

    flow: FlowKey
    connection: int
    first_s: float
    last_s: float


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded.

    Args:
        captures: one capture file per link, in the order of the plan's rates.
        capture: all of them in one file, by time.
        subflows: of all connections, by the sockets.
        facts: packet and drop counts, kinds, what the bed says of itself.
    """

    captures: tuple[Path, ...]
    capture: Path
    subflows: tuple[TrueSubflow, ...]
    facts: dict[str, Any] = field(default_factory=dict)


def flow_key(address: str, port: int, other: str, other_port: int) -> FlowKey:
    """Return a 4-tuple with the lower end first."""
    low, high = sorted(((ip_address(address), port), (ip_address(other), other_port)))
    return FlowKey(str(low[0]), low[1], str(high[0]), high[1])


def why_no_traffic() -> str | None:
    """Return why this machine cannot run it, or ``None``."""
    if not Path("/proc/sys/net/mptcp/enabled").exists():
        return "this kernel has no Multipath TCP"
    return require_tools() or probe_isolation()


def record_traffic(directory: Path, plan: TrafficPlan | None = None) -> Recording:
    """Run the traffic of a plan and return what was recorded in ``directory``.

    Raises:
        AssertionError: the bed failed; holds what it said.
    """
    plan = plan or TrafficPlan()
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.mptcp_bed", str(directory), json.dumps(asdict(plan))],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=plan.duration_s + 200,
        check=False,
    )
    assert done.returncode == 0, f"the bed ended with {done.returncode}: {done.stderr[-4000:]}"
    return load_recording(directory)


def load_recording(directory: Path) -> Recording:
    """Return what an earlier run recorded."""
    truth = json.loads((directory / "truth.json").read_text())
    subflows = tuple(
        TrueSubflow(flow_key(*subflow["flow"]), number, subflow["first_s"], subflow["last_s"])
        for number, connection in enumerate(truth["connections"])
        for subflow in connection["subflows"]
    )
    captures = tuple(sorted(directory.glob("link*.pcap")))
    return Recording(captures, directory / "capture.pcap", subflows, truth["facts"])
