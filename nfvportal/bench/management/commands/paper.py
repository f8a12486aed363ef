"""``manage.py paper``: claim, paper, peer, ours, from the last benchmark results."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from nfvportal.bench.claims import CLAIMS
from nfvportal.bench.results import result_read


class Command(BaseCommand):
    """Prints one block per claim; a claim that was never measured here says so."""

    help = "Print what we claim beside what papers and peers report."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the table of claims."""
        for claim in CLAIMS:
            result = result_read(settings.PATHS.state, claim.suite)
            rows = {row["figure"]: row for row in result["rows"]} if result else {}
            row = rows.get(claim.figure)
            ours = f"not measured here yet: make bench ({claim.suite})"
            if row is not None and row["value"] is not None:
                run = "quick run" if result and result["quick"] else "full run"
                ours = f"{row['value']:.4g} {row['unit']} (n={row['n']}, {run})"
            self.stdout.write(claim.claim)
            self.stdout.write(f"  paper  {claim.paper or 'its figures are not at hand'}")
            self.stdout.write(f"  peer   {claim.peer}")
            self.stdout.write(f"  ours   {ours}\n")
