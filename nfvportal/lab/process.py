"""The lab's own process, inside its namespaces: bring up, serve, end."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from nfvportal.lab.bring_up import BringUpError, Network, bring_up
from nfvportal.lab.control import Control
from nfvportal.lab.kernel import schedule_realtime
from nfvportal.lab.links import Links
from nfvportal.lab.node_processes import AgentKeeper, AgentSettings
from nfvportal.lab.self_test import run_self_test
from nfvportal.lab.topology import Topology

# The last answer ("stopping") gets this long to leave before the process ends.
LAST_ANSWER_S = 0.2
REALTIME_PRIORITY = 5


@dataclass(frozen=True, slots=True)
class LabSettings:
    """What the command line asks for; ``agents`` is ``None`` for a lab without agents."""

    topology: Topology
    socket_path: Path
    agents: AgentSettings | None


def is_socket_answered(path: Path) -> bool:
    """Whether some process listens at the socket; a file left by a killed lab is not answered."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


def run_lab(settings: LabSettings) -> int:
    """Bring the topology up, serve until told to end, and return the exit code. Runs isolated."""
    started_s = time.monotonic()
    try:
        network = bring_up(settings.topology)
    except (BringUpError, OSError) as error:
        print(f"lab: could not bring up {settings.topology.name}: {error}", file=sys.stderr)
        return 1
    code = asyncio.run(_serve(settings, network, started_s))
    settings.socket_path.unlink(missing_ok=True)
    return code


async def _serve(settings: LabSettings, network: Network, started_s: float) -> int:
    # Relays are forked first, while this process is small.
    links = Links(network)
    # Below the relays: orders reach them at once also when the machine is busy. Commands and agents do not inherit it.
    schedule_realtime(REALTIME_PRIORITY)
    self_test = run_self_test(network)
    keepers = _make_keepers(settings.agents, network)
    control = Control(network, links, keepers, self_test, is_realtime=_is_realtime(links))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, control.stop_requested.set)
    settings.socket_path.unlink(missing_ok=True)
    server = await control.serve(settings.socket_path)
    keeping = [asyncio.create_task(keeper.keep_running()) for keeper in keepers.values()]
    print(
        f"lab ready topology={settings.topology.name} nodes={len(network.namespace_fds)} agents={len(keepers)} "
        f"self_test={'ok' if not self_test.failed else 'failed:' + ','.join(self_test.failed)} "
        f"seconds={time.monotonic() - started_s:.2f} socket={settings.socket_path}",
        flush=True,
    )
    watching = asyncio.create_task(links.watch())
    stopping = asyncio.create_task(control.stop_requested.wait())
    await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.close()
    for task in keeping:
        task.cancel()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(control.drained(), LAST_ANSWER_S)
    if watching.done():
        print(f"lab: the relay of link {watching.result()} died", file=sys.stderr)
        return 1
    return 0


def _make_keepers(agents: AgentSettings | None, network: Network) -> dict[str, AgentKeeper]:
    if agents is None:
        return {}
    return {
        node.name: AgentKeeper(node, network.namespace_fds[node.name], agents)
        for node in network.topology.nodes
        if node.roles
    }


def _is_realtime(links: Links) -> bool:
    """Whether the kernel granted the relays their scheduling class."""
    policies = [os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK for pid in links.pids]
    return bool(policies) and all(policy == os.SCHED_RR for policy in policies)
