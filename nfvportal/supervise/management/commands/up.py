"""``manage.py up``: run the whole portal until Ctrl-C; ``--check`` proves that it works and ends."""

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from typing import Any

from django.core.management.base import BaseCommand

from nfvportal.supervise.errors import StopRequested, SuperviseError
from nfvportal.supervise.paths import Paths
from nfvportal.supervise.portal import CHECKOUT, Portal, PortalOptions


def _port(text: str) -> int:
    if not text.isdigit() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a number from 0 (any free one) to 65535")
    return int(text)


class Command(BaseCommand):
    """Exit code 0 after a wanted stop, 1 when something could not start or the check failed."""

    help = (
        "Start the portal: servers, migrations, web, workers, beat, lab and agents. Ctrl-C stops all of it."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments; the environment gives the defaults."""
        host = os.environ.get("HOST_ADDRESS") or "127.0.0.1"
        parser.add_argument(
            "--host", default=host, help="address to listen on (HOST_ADDRESS; default 127.0.0.1)"
        )
        parser.add_argument(
            "--port", type=_port, default=os.environ.get("PORT") or "8000", help="default PORT or 8000"
        )
        parser.add_argument(
            "--no-lab", action="store_true", help="without the emulated network and its agents"
        )
        parser.add_argument("--no-demo", action="store_true", help="without the demo inventory")
        topology = PortalOptions().topology
        parser.add_argument(
            "--topology", default=topology, help=f"topologies of the lab, joined by + (default {topology})"
        )
        parser.add_argument(
            "--check", action="store_true", help="start in a fresh place, try everything once, end"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until stopped."""
        portal_options = PortalOptions(
            host=options["host"],
            port=options["port"],
            lab=not options["no_lab"],
            demo=not options["no_demo"],
            topology=options["topology"],
        )
        try:
            if options["check"]:
                self._check(portal_options)
            else:
                self._run(portal_options)
        except SuperviseError as error:
            self.stderr.write(str(error))
            sys.exit(1)
        except StopRequested:
            self._say("Stopped.")

    def _run(self, options: PortalOptions) -> None:
        portal = Portal(Paths.from_env(os.environ, CHECKOUT), options, os.environ, self._say)
        with portal.running():
            self._say("Ctrl-C stops it.")
            portal.serve()

    def _check(self, options: PortalOptions) -> None:
        """Run the round trip on a free port, in a temporary place unless NFV_STATE_DIR names one."""
        with tempfile.TemporaryDirectory(prefix="nfvcheck-") as fresh:
            given = (
                {}
                if os.environ.get("NFV_STATE_DIR")
                else {"NFV_STATE_DIR": fresh, "NFV_RUN_DIR": fresh + "/run"}
            )
            env = {**os.environ, **given}
            portal = Portal(Paths.from_env(env, CHECKOUT), replace(options, port=0), env, self._say)
            with portal.running():
                portal.check()
        self._say("Check passed; everything has ended again.")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
