"""``manage.py bench SUITE... [--json]``: run benchmark suites, print a table or JSON."""

import argparse
import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from nfvportal.bench.results import result_write
from nfvportal.bench.rows import BenchOptions, format_table
from nfvportal.bench.suites import SUITES, suite_run
from nfvportal.lib.errors import InvalidInputError


class Command(BaseCommand):
    """Exit code 0 when every figure with a goal meets it, 1 otherwise."""

    help = "Run benchmark suites; each figure is printed beside its goal."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""
        parser.add_argument("suites", nargs="+", metavar="SUITE", help=f"{', '.join(SUITES)}, or all")
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object per suite, a line each"
        )
        parser.add_argument(
            "--quick", action="store_true", help="short runs that only prove that the suite works"
        )
        parser.add_argument("--seed", type=int, default=1, help="seed of every random choice")
        parser.add_argument("--repetitions", type=int, default=None, help="repetitions per case")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the suites one after the other."""
        names = list(SUITES) if options["suites"] == ["all"] else options["suites"]
        bench = BenchOptions(quick=options["quick"], seed=options["seed"], repetitions=options["repetitions"])
        all_met = True
        for name in names:
            try:
                outcome = suite_run(name, bench)
            except InvalidInputError as error:
                raise CommandError(str(error)) from error
            all_met &= all(row.ok is not False for row in outcome["rows"])
            line = json.dumps({**outcome, "rows": [row.as_json() for row in outcome["rows"]]})
            result_write(settings.PATHS.state, name, line)
            if options["json"]:
                self.stdout.write(line)
            else:
                machine = ", ".join(f"{key} {value}" for key, value in outcome["machine"].items())
                self.stdout.write(f"{outcome['title']} ({name}; {machine}; seed {bench.seed})")
                self.stdout.write(format_table(outcome["rows"]) + "\n")
        if not all_met:
            sys.exit(1)
