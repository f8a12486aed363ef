"""Prepare the database of a portal: migrations, first administrator, demo inventory.

``python -m nfvportal.supervise.prepare`` loads Django while the servers start, waits for them, and says as one JSON
object on its standard output what it did: ``{"password": "..." | null, "steps": [[name, seconds], ...]}``.
"""

import argparse
import json
import os
import secrets
import time
from typing import Any

ADMIN_NAME = "admin"
SERVERS_WITHIN_S = 60


def admin_ensure() -> str | None:
    """Make the first administrator; return the one-time password, or None when there is an administrator."""
    from django.contrib.auth.models import Group, User

    users = User.objects
    if users.filter(is_superuser=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    admin = users.create_superuser(ADMIN_NAME, email="", password=password)
    if group := Group.objects.filter(name=ADMIN_NAME).first():
        admin.groups.add(group)
    return password


def migrate() -> None:
    """Bring the tables up to date."""
    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=0, skip_checks=True)


def seed() -> None:
    """Put the demo inventory in; safe to repeat."""
    from django.core.management import call_command

    call_command("seed", demo=True, verbosity=0, skip_checks=True)


def wait_for_servers() -> None:
    """Wait until the database and Valkey of the settings answer."""
    from django.conf import settings

    from nfvportal.supervise import postgres, valkey

    postgres.wait_for_url(settings.DATABASE_URL, SERVERS_WITHIN_S)
    valkey.wait_for_url(settings.VALKEY_URL, SERVERS_WITHIN_S)


def main() -> None:
    """Do all steps and report."""
    parser = argparse.ArgumentParser(description="Prepare the portal's database.")
    parser.add_argument("--no-demo", action="store_true", help="leave the demo inventory out")
    options = parser.parse_args()
    # Standard output carries the report alone; what the steps say goes to the log.
    report_fd = os.dup(1)
    os.dup2(2, 1)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nfvportal.settings")
    import django

    django.setup()
    report: dict[str, Any] = {"password": None, "steps": []}

    def timed(name: str, step: Any) -> Any:
        started_s = time.monotonic()
        outcome = step()
        report["steps"].append([name, round(time.monotonic() - started_s, 2)])
        return outcome

    wait_for_servers()
    timed("migrations", migrate)
    report["password"] = timed("administrator", admin_ensure)
    if not options.no_demo:
        timed("demo inventory", seed)
    with os.fdopen(report_fd, "w") as out:
        json.dump(report, out)


if __name__ == "__main__":
    main()
