"""Facts about the project that would rot in silence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from nfvportal.jobs.kinds import JOB_KINDS
from nfvportal.reactions import REACTIONS, SAMPLES
from nfvportal.schedule import SCHEDULE

ROOT = Path(__file__).resolve().parents[2]


def _task_names() -> set[str]:
    from nfvportal.celery import app

    app.loader.import_default_modules()
    return set(app.tasks)


def test_tables_name_tasks_that_exist() -> None:
    named = {name for names in REACTIONS.values() for name in names} | set(SAMPLES.values())
    named |= {row.task for row in SCHEDULE}
    assert named <= _task_names()


@pytest.mark.parametrize("kind", sorted(JOB_KINDS))
def test_job_kinds_name_functions_that_exist(kind: str) -> None:
    from nfvportal.jobs.runner import _function

    assert callable(_function(kind))


@pytest.mark.django_db
def test_models_and_migrations_agree() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    executor = MigrationExecutor(connection)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []


def test_production_profile_passes_the_deployment_check() -> None:
    environment = {
        **os.environ,
        "NFV_PROFILE": "production",
        "SECRET_KEY": "k" * 25 + "0123456789abcdefghijklmnopqrstuvwxyz",
        "FIELD_KEYS": "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=",
        "ALLOWED_HOSTS": "portal.example",
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_production_profile_refuses_to_start_without_secrets() -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in {"SECRET_KEY", "FIELD_KEYS"}
    }
    environment |= {"NFV_PROFILE": "production", "NFV_STATE_DIR": "/nonexistent-state"}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "SECRET_KEY" in done.stderr


def test_locks_carry_hashes_and_no_host() -> None:
    locks = [*ROOT.glob("requirements/*.txt"), ROOT / "package-lock.json"]
    assert len(locks) >= 3
    for lock in locks:
        assert "://" not in "".join(line for line in lock.read_text().splitlines() if '"url"' not in line), (
            f"{lock.name} names a host"
        )
    assert all("--hash=sha256:" in lock.read_text() for lock in ROOT.glob("requirements/*.txt"))
