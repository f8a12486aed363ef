"""``manage.py seed --demo``: put the demo inventory in."""

import argparse
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from nfvportal.inventory.seeds import seed_demo


class Command(BaseCommand):
    """Safe to repeat: what exists stays as people changed it."""

    help = "Put demo data in: the devices, links and traffic of the lab's topologies."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""
        parser.add_argument(
            "--demo", action="store_true", help="the only set there is; asked for by name on purpose"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed."""
        if not options["demo"]:
            raise CommandError("say --demo: this writes demo devices and links into the inventory")
        seed_demo(settings.AGENTS_DIR, settings.LAB_TOPOLOGY)
        if options["verbosity"]:
            self.stdout.write("demo inventory is in place")
