"""Health for machines and people: what is missing is named, and nothing raises."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from nfvportal.health import heartbeats, selectors
from nfvportal.health.heartbeats import QUEUES, heartbeat_ages_s, heartbeat_write, valkey
from nfvportal.health.selectors import STALE_S, part_health, readiness
from nfvportal.health.tasks import heartbeat_control, heartbeat_engine, heartbeat_telemetry
from nfvportal.inventory.models import Device, Site
from nfvportal.schedule import SCHEDULE
from tests.support.people import session_client, token_client

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_heartbeats() -> Iterator[None]:
    valkey().delete(*(heartbeats.PREFIX + queue for queue in QUEUES))
    yield
    valkey.cache_clear()


@pytest.fixture
def no_valkey(settings: Any, tmp_path: Path) -> None:
    """Valkey where nobody listens."""
    settings.VALKEY_URL = f"unix://{tmp_path}/nobody.sock"
    valkey.cache_clear()


@pytest.fixture
def no_postgres(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A database connection to where nobody listens, beside the one of the test."""
    broken = connections["default"].copy()
    broken.settings_dict = {**broken.settings_dict, "HOST": str(tmp_path)}
    monkeypatch.setattr(selectors, "connection", broken)
    yield
    broken.close()


def _parts() -> dict[str, tuple[str, str]]:
    return {part["name"]: (part["state"], part["detail"]) for part in part_health()}


def test_alive_asks_nobody(django_assert_num_queries: Any, no_valkey: None) -> None:
    with django_assert_num_queries(0):
        answer = Client().get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_when_all_answer() -> None:
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert answer.json()["parts"] == {"postgres": "ok", "valkey": "ok", "migrations": "ok"}


def test_not_ready_names_valkey(no_valkey: None) -> None:
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert answer.json()["parts"] == {
        "postgres": "ok", "valkey": "does not answer: ConnectionError", "migrations": "ok",
    }  # fmt: skip


def test_not_ready_names_postgres(no_postgres: None) -> None:
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    parts = answer.json()["parts"]
    assert (parts["postgres"], parts["valkey"]) == ("does not answer: OperationalError", "ok")


def test_not_ready_while_migrations_are_missing() -> None:
    from django.db.migrations.recorder import MigrationRecorder

    MigrationRecorder.Migration.objects.filter(app="wan").delete()
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert "migrations are not applied: manage.py migrate" in answer.json()["parts"]["migrations"]


@pytest.mark.parametrize("method", ["post", "put", "delete"])
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_only_reading(path: str, method: str) -> None:
    assert getattr(Client(), method)(path).status_code == 405


def test_metrics_for_a_session_or_a_token() -> None:
    session_client("viewer", name="somebody").get("/jobs/")
    for client in (session_client("viewer"), token_client("viewer")):
        answer = client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.content.decode()
        assert 'nfvportal_http_requests_total{method="GET",status="200",view="jobs"}' in text
    assert "nfvportal_" not in Client().get("/metrics").content.decode()


def test_a_scanner_makes_no_metrics_of_its_own() -> None:
    for number in range(3):
        Client().get(f"/wp-admin-{number}.php")
    Client().generic("FROBNICATE", "/livez")
    text = token_client("viewer").get("/metrics").content.decode()
    assert "wp-admin" not in text
    assert "FROBNICATE" not in text


def test_parts_never_raise_and_say_what_is_down(no_valkey: None, no_postgres: None) -> None:
    parts = _parts()
    assert parts["web"][0] == "ok"
    assert parts["valkey"] == ("down", "does not answer: ConnectionError")
    assert parts["postgres"][0] == "down"
    assert {parts[f"worker-{queue}"][0] for queue in QUEUES} <= {"degraded", "down"}


def test_pages_live_without_valkey(no_valkey: None) -> None:
    answer = session_client("viewer").get("/")
    assert answer.status_code == 200
    assert "does not answer" in answer.content.decode()


@pytest.mark.parametrize(("age_s", "state"), [(0.0, "ok"), (STALE_S - 2, "ok"), (STALE_S + 5, "down")])
def test_workers_are_as_old_as_their_last_sign(age_s: float, state: str) -> None:
    for queue in QUEUES:
        valkey().set(heartbeats.PREFIX + queue, time.time() - age_s)
    assert {_parts()[f"worker-{queue}"][0] for queue in QUEUES} == {state}


@pytest.mark.parametrize(("up_s", "state"), [(1.0, "degraded"), (STALE_S + 1, "down")])
def test_silence_after_the_start_is_patience_first(
    up_s: float, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "STARTED_S", time.time() - up_s)
    assert _parts()["worker-control"] == (state, "no sign of life yet")


def test_every_queue_has_a_sign_of_life_in_the_schedule() -> None:
    for task, queue in (
        (heartbeat_control, "control"),
        (heartbeat_engine, "engine"),
        (heartbeat_telemetry, "telemetry"),
    ):
        assert heartbeat_ages_s()[queue] is None
        task()
        age_s = heartbeat_ages_s()[queue]
        assert age_s is not None
        assert age_s < STALE_S
        (row,) = [row for row in SCHEDULE if row.task == task.name]
        assert row.queue == queue
        assert row.every_s * 2 < STALE_S
    heartbeat_write("control")


def _device(name: str, status: str, roles: list[str]) -> None:
    site, _ = Site.objects.get_or_create(name="hq")
    Device.objects.create(
        name=name, site=site, kind="host", roles=roles, status=status, status_since=timezone.now()
    )


@pytest.mark.parametrize(
    ("states", "state", "words"),
    [((), "off", "no device has a role yet"), (("online", "online"), "ok", "all 2 online"),
     (("online", "offline"), "degraded", "1 of 2 online; not: d1"),
     (("offline", "unknown"), "down", "0 of 2 online; not: d0, d1")],
)  # fmt: skip
def test_agents(states: tuple[str, ...], state: str, words: str) -> None:
    _device("without-role", "offline", [])
    for number, status in enumerate(states):
        _device(f"d{number}", status, ["wan.host"])
    assert _parts()["agents"] == (state, words)


@pytest.mark.parametrize(
    ("is_enabled", "words"), [(False, "switched off (LAB_ENABLED)"), (True, "not running")]
)
def test_lab_that_is_off_is_no_fault(is_enabled: bool, words: str, settings: Any) -> None:
    settings.LAB_ENABLED = is_enabled
    state, detail = _parts()["lab"]
    assert state == "off"
    assert words in detail


def test_migrations_of_the_test_database_are_applied() -> None:
    assert readiness()["migrations"] == "ok"
