"""``manage.py lab``: a thin shell over the lab's process and its control socket."""

import json
import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from nfvportal.lab.client import LabClient, LabRefused, LabUnavailable
from nfvportal.lab.faults import FAULT_KINDS
from nfvportal.lab.topology import list_topologies, load_topology
from nfvportal.lib.errors import InvalidInputError


class Command(BaseCommand):
    """Bring the lab up or ask a running one."""

    help = "The test bed of network namespaces: up, down, status, exec NODE -- CMD, fault, clear, topologies."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One sub-command per operation."""
        parser.add_argument(
            "--socket", type=Path, default=settings.LAB_SOCKET, help="the lab's control socket"
        )
        commands = parser.add_subparsers(dest="operation", required=True)
        up = commands.add_parser("up", help="bring a topology up and stay until Ctrl-C")
        up.add_argument("--topology", default="branch")
        up.add_argument(
            "--portal", default=f"unix:{settings.PATHS.web_socket}", help="unix:/path, ws://host:port, none"
        )
        up.add_argument("--no-agents", action="store_true", help="start no agents")
        commands.add_parser("down", help="end the running lab")
        commands.add_parser("status", help="nodes, links, faults, counters").add_argument(
            "--json", action="store_true"
        )
        execute = commands.add_parser("exec", help="run a command in a node")
        execute.add_argument("node")
        execute.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS")
        execute.add_argument("argv", nargs="+", help="the command, after --")
        fault = commands.add_parser("fault", help="start a fault on a link")
        fault.add_argument("link")
        fault.add_argument("kind", choices=sorted(FAULT_KINDS))
        fault.add_argument(
            "value", type=float, nargs="?", help="ratio for loss, ms for delay, bit/s for rate"
        )
        fault.add_argument(
            "--duration", type=float, metavar="SECONDS", help="restore the link after this time"
        )
        fault.add_argument("--seed", type=int, help="seed of random losses")
        commands.add_parser("clear", help="restore a link").add_argument("link")
        commands.add_parser("topologies", help="list the topologies")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Dispatch to the operation and say errors in one line."""
        try:
            getattr(self, f"_{options['operation']}")(options)
        except InvalidInputError as error:
            raise CommandError(str(error), returncode=2) from error
        except (LabUnavailable, LabRefused) as error:
            raise CommandError(str(error)) from error

    def _up(self, options: dict[str, Any]) -> None:
        if not settings.LAB_ENABLED:
            raise CommandError("the lab is switched off: set LAB_ENABLED=1")
        settings.PATHS.make_directories()
        argv = [sys.executable, "-m", "nfvportal.lab", "up", "--topology", options["topology"]]
        argv += [
            "--socket",
            str(options["socket"]),
            "--agents-dir",
            str(settings.AGENTS_DIR),
            "--portal",
            options["portal"],
        ]
        argv += ["--no-agents"] if options["no_agents"] else []
        # Replaces this process: the lab needs neither Django nor what it has loaded.
        os.chdir(settings.BASE_DIR)
        os.execv(sys.executable, argv)  # noqa: S606  # a list, no shell

    def _client(self, options: dict[str, Any]) -> LabClient:
        return LabClient(options["socket"])

    def _down(self, options: dict[str, Any]) -> None:
        client = self._client(options)
        client.down()
        client.wait_until_down()
        self.stdout.write("lab is down")

    def _status(self, options: dict[str, Any]) -> None:
        status = self._client(options).status()
        self.stdout.write(json.dumps(status, indent=2) if options["json"] else format_status(status))

    def _exec(self, options: dict[str, Any]) -> None:
        result = self._client(options).exec(options["node"], options["argv"], options["timeout"])
        self.stdout.write(result["stdout"], ending="")
        self.stderr.write(result["stderr"], ending="", style_func=str)
        if result["timed_out"]:
            raise CommandError(f"ended after {options['timeout']:g} s", returncode=124)
        if result["exit_code"]:
            sys.exit(result["exit_code"] if result["exit_code"] > 0 else 128 - result["exit_code"])

    def _fault(self, options: dict[str, Any]) -> None:
        client = self._client(options)
        result = client.fault(
            options["link"], options["kind"], options["value"], options["duration"], options["seed"]
        )
        self.stdout.write(json.dumps(result))

    def _clear(self, options: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(self._client(options).clear(options["link"])))

    def _topologies(self, _options: dict[str, Any]) -> None:
        for name in list_topologies():
            self.stdout.write(f"{name}  {load_topology(name).title}")


def format_status(status: dict[str, Any]) -> str:
    """Return the lab's status as text for people."""
    self_test = status["self_test"]
    verdict = "ok" if self_test["ok"] else f"FAILED for {', '.join(self_test['failed'])}"
    scheduling = "real-time" if status["realtime"] else "ordinary"
    lines = [
        f"{status['topology']}: {status['title']}",
        f"reachability {verdict} ({self_test['checked']} directed pairs), {scheduling} scheduling",
    ]
    for node in status["nodes"]:
        agent = node["agent"]
        state = (
            ""
            if agent is None
            else f"agent {'running' if agent['running'] else 'down'}, {agent['restarts']} restarts"
        )
        lines.append(f"  {node['name']:<16}{node['kind']:<10}{node['address'] or '-':<14}{state}".rstrip())
    lines += [_format_link(link) for link in status["links"] if not link["is_wire"]]
    return "\n".join(lines)


def _format_link(link: dict[str, Any]) -> str:
    fault = link["fault"]
    words = "ok"
    if fault is not None:
        value = "" if fault["value"] is None else f" {fault['value']:g} {FAULT_KINDS[fault['kind']].unit}"
        words = f"FAULT {fault['kind']}{value}"
    rate = f"{link['rate_bps'] / 1e6:g} Mbit/s" if link["rate_bps"] else "unlimited"
    return f"  {link['name']:<16}{rate:<14}{link['delay_ms']:g} ms one way  {words}"
