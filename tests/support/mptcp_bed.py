"""Run two hosts in namespaces: ``python -m tests.support.mptcp_bed DIRECTORY PLAN_JSON``; see ``mptcp_traffic``.

Client and server share three links. The server's one well-known address lies behind all of them; each of the client's
three addresses has its own link, so each subflow has its own. Everything ends with this program.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nfvportal.lab.isolation import run_isolated
from nfvportal.lab.kernel import die_with_parent, inside_network, new_network, offloads_off, write_sysctls
from tests.support import mptcp_peers
from tests.support.mptcp_recorder import merge_captures, record

SERVER = "10.71.0.2"
END_WITHIN_S = 4.0
# The watcher compiles the engine where nobody did before.
READY_WITHIN_S = 120.0
_SYSCTLS = {
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
    "net/ipv4/tcp_no_metrics_save": "1",
    "net/mptcp/enabled": "1",
    "net/mptcp/blackhole_timeout": "0",
}


def run(directory: Path, plan: dict[str, Any]) -> int:
    """Build both hosts, run traffic and recorder, write captures and truth; return the exit code."""
    client_fd, server_fd = new_network(), new_network()
    links = range(len(plan["rates_bps"]))
    connect_hosts(client_fd, server_fd, plan)
    ready_reader, ready_writer = os.pipe()
    names = [f"c{link}" for link in links]
    recorder = forked(client_fd, lambda: record(names, directory, plan["snaplen"], ready_writer))
    server = forked(server_fd, lambda: mptcp_peers.serve(ready_writer))
    helpers = [recorder, server]
    if ratio := plan.get("watch_ratio"):
        from tests.support.mptcp_watch import watch  # only here: it compiles the engine

        helpers.append(forked(client_fd, lambda: watch(names, ratio, directory, ready_writer)))
    for _ in helpers:
        if not select.select([ready_reader], [], [], READY_WITHIN_S)[0]:
            print("a helper of the bed did not start in time", file=sys.stderr)
            return 1
        os.read(ready_reader, 1)
    started_s = time.time()
    changer = forked(client_fd, lambda: change_paths(server_fd, plan)) if plan["has_changes"] else None
    with inside_network(client_fd):
        truth = mptcp_peers.Client(SERVER, plan).run(plan["duration_s"] + END_WITHIN_S)
    codes = [os.waitpid(changer, 0)[1] if changer else 0]
    for pid in helpers:
        os.kill(pid, signal.SIGTERM)
        codes.append(os.waitpid(pid, 0)[1])
    if any(codes):
        print(f"exit codes of changer, recorder, server, watch: {codes}", file=sys.stderr)
        return 1
    facts = json.loads((directory / "recorder.json").read_text())
    merge_captures([directory / f"link{link}.pcap" for link in links], directory / "capture.pcap")
    truth["facts"] |= {"started_s": started_s, "packets": facts, "plan": plan}
    (directory / "truth.json").write_text(json.dumps(truth))
    return 0


def forked(namespace_fd: int, body: Callable[[], None]) -> int:
    """Run ``body`` in a child inside a namespace; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    die_with_parent()
    code = 1
    try:
        with inside_network(namespace_fd):
            body()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def connect_hosts(client_fd: int, server_fd: int, plan: dict[str, Any]) -> None:
    """Give both hosts their links, addresses, routes, queues and what Multipath TCP may use."""
    for fd in (client_fd, server_fd):
        with inside_network(fd):
            write_sysctls(_SYSCTLS)
    links = range(len(plan["rates_bps"]))
    ip(
        [
            f"link add c{n} netns /proc/self/fd/{client_fd} type veth peer name s{n} netns /proc/self/fd/{server_fd}"
            for n in links
        ],
        client_fd,
        server_fd,
    )
    for side, fd in (("c", client_fd), ("s", server_fd)):
        with inside_network(fd):
            ip(["link set lo up", *(line for n in links for line in address_lines(side, n))])
            for number, rate_bps in enumerate(plan["rates_bps"]):
                offloads_off(f"{side}{number}")
                queue_bytes = rate_bps * plan["queue_ms"] // 8000
                shape = f"tbf rate {rate_bps}bit burst 20000 limit {queue_bytes}"
                command(["tc", "qdisc", "add", "dev", f"{side}{number}", "root", *shape.split()])
            ip_mptcp("limits set subflows 8 add_addr_accepted 8")
    with inside_network(server_fd):
        ip([f"address add {SERVER}/32 dev lo"])
    with inside_network(client_fd):
        for number in links[1:]:
            ip_mptcp(f"endpoint add 10.71.{number + 1}.1 dev c{number} id {number + 1} subflow")


def address_lines(side: str, number: int) -> list[str]:
    """Return the commands that give one end of a link its address and, at the client, its route to the server."""
    subnet = f"10.71.{number + 1}"
    if side == "s":
        return [f"address add {subnet}.2/24 dev s{number}", f"link set s{number} up"]
    way = f"{SERVER}/32 via {subnet}.2 dev c{number}"
    return [
        f"address add {subnet}.1/24 dev c{number}",
        f"link set c{number} up",
        f"route add {way} src {subnet}.1 metric {number + 10}",
        f"route add {way} table {number + 100}",
        f"rule add from {subnet}.1 to {SERVER} lookup {number + 100} priority {number + 100}",
    ]


def change_paths(server_fd: int, plan: dict[str, Any]) -> None:
    """Announce, prefer, withdraw and restore addresses at fixed shares of the time."""
    started_s = time.monotonic()
    last = len(plan["rates_bps"])

    def at_server(line: str) -> None:
        with inside_network(server_fd):
            ip_mptcp(line)

    steps: tuple[tuple[float, Callable[[str], None], str], ...] = (
        (0.35, at_server, "endpoint add 10.71.1.2 dev s0 id 21 signal"),
        (0.45, ip_mptcp, "endpoint change id 2 backup"),
        (0.55, ip_mptcp, "endpoint change id 2 nobackup"),
        (0.60, at_server, "endpoint delete id 21"),
        (0.70, ip_mptcp, f"endpoint delete id {last}"),
        (0.80, ip_mptcp, f"endpoint add 10.71.{last}.1 dev c{last - 1} id {last} subflow"),
    )
    for share, act, line in steps:
        time.sleep(max(0.0, started_s + share * plan["duration_s"] - time.monotonic()))
        act(line)


def ip(lines: Sequence[str], *descriptors: int) -> None:
    """Run commands of ``ip`` here, all in one process."""
    command(["ip", "-batch", "-"], "\n".join(lines) + "\n", descriptors)


def ip_mptcp(line: str) -> None:
    """Run one command of ``ip mptcp`` here."""
    command(["ip", "mptcp", *line.split()])


def command(argv: Sequence[str], text: str = "", descriptors: Sequence[int] = ()) -> None:
    """Run a command here; what it says on failure is raised."""
    done = subprocess.run(argv, input=text, text=True, capture_output=True, pass_fds=descriptors, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(run_isolated(lambda: run(Path(sys.argv[1]), json.loads(sys.argv[2]))))
