"""``python -m nfvportal.lab up|probe|topologies``: the lab without Django."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nfvportal.lab.bring_up import require_tools
from nfvportal.lab.isolation import EXIT_FORBIDDEN, IsolationForbidden, probe_isolation, run_isolated
from nfvportal.lab.node_processes import AgentSettings
from nfvportal.lab.process import LabSettings, is_socket_answered, run_lab
from nfvportal.lab.topology import list_topologies, load_topology
from nfvportal.lib.errors import InvalidInputError

EXIT_USAGE = 2


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code (78: this machine forbids it; 2: the request is wrong)."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "topologies":
        print("\n".join(f"{name}  {load_topology(name).title}" for name in list_topologies()))
        return 0
    if forbidden := require_tools() or (probe_isolation() if arguments.command == "probe" else None):
        print(f"lab: {forbidden}", file=sys.stderr)
        return EXIT_FORBIDDEN
    if arguments.command == "probe":
        print("lab: this machine allows it")
        return 0
    try:
        settings = _settings(arguments)
        return run_isolated(partial(run_lab, settings))
    except InvalidInputError as error:
        print(f"lab: {error}", file=sys.stderr)
        return EXIT_USAGE
    except IsolationForbidden as error:
        print(f"lab: {error}", file=sys.stderr)
        return EXIT_FORBIDDEN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nfvportal.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring a topology up and stay until ended")
    up.add_argument("--topology", default="branch", help="name of a topology, or path of a .yml file")
    up.add_argument("--socket", type=Path, required=True, help="control socket to listen at")
    up.add_argument("--agents-dir", type=Path, help="one folder per device, with its token")
    up.add_argument("--portal", default="none", help="unix:/path, ws://host:port or none")
    up.add_argument("--no-agents", action="store_true", help="start no agents")
    up.add_argument(
        "--journal", action="store_true", help="agents also write events and samples to journal.jsonl"
    )
    commands.add_parser("probe", help="say whether this machine allows the lab")
    commands.add_parser("topologies", help="list the topologies")
    return parser


def _settings(arguments: argparse.Namespace) -> LabSettings:
    topology = load_topology(arguments.topology)
    socket_path = arguments.socket.absolute()
    if is_socket_answered(socket_path):
        raise InvalidInputError("socket", f"{socket_path} already belongs to a running lab")
    if not socket_path.parent.is_dir():
        raise InvalidInputError("socket", f"the directory {socket_path.parent} must exist")
    if arguments.no_agents:
        return LabSettings(topology, socket_path, None)
    if arguments.agents_dir is None:
        raise InvalidInputError("agents-dir", "is required unless --no-agents is given")
    agents = AgentSettings(arguments.agents_dir.absolute(), arguments.portal, arguments.journal)
    return LabSettings(topology, socket_path, agents)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
