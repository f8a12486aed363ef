"""The lab's REST where no lab runs, or none may: clear problems, the right roles, jobs that fail in words."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from nfvportal.audit.models import AuditEntry
from nfvportal.events.models import Event
from nfvportal.jobs.kinds import JOB_KINDS
from nfvportal.jobs.models import Job, JobState
from nfvportal.jobs.runner import run_job
from nfvportal.lab.faults import FAULT_KINDS
from nfvportal.lab.topology import list_topologies
from tests.support.people import token_client

pytestmark = pytest.mark.django_db
API = "/api/v1/lab/"
FAULT = {"link": "fiber", "kind": "blackhole", "duration_s": 1}


@pytest.fixture(autouse=True)
def _no_lab(settings: Any, tmp_path: Path) -> None:
    settings.LAB_SOCKET = tmp_path / "nobody.sock"


@pytest.fixture
def client() -> Client:
    """An operator's program."""
    return token_client("operator", can_write=True)


def _post(client: Client, body: Any) -> Any:
    return client.post(f"{API}faults/", body, content_type="application/json")


ADDRESSES = [("get", ""), ("get", "faults/"), ("delete", "faults/fiber/")]


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_lab_that_does_not_run_is_a_503_in_words(method: str, path: str, client: Client) -> None:
    answer = getattr(client, method)(API + path)
    assert answer.status_code == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["title"] == "Not available now"
    assert "lab" in answer.json()["detail"]
    assert not Event.objects.exists()


@pytest.mark.parametrize(("method", "path"), [*ADDRESSES, ("get", "topologies/"), ("post", "faults/")])
def test_lab_that_is_switched_off_is_not_there(method: str, path: str, client: Client, settings: Any) -> None:
    settings.LAB_ENABLED = False
    answer = getattr(client, method)(API + path)
    assert answer.status_code == 404
    assert "LAB_ENABLED" in answer.json()["detail"]
    assert not Job.objects.exists()


def test_topologies_are_known_without_a_lab(client: Client) -> None:
    names = client.get(f"{API}topologies/").json()["topologies"]
    assert names == list(list_topologies())
    assert "branch" in str(names)


def test_fault_is_for_operators() -> None:
    refused = _post(token_client("viewer", can_write=True), FAULT)
    assert (refused.status_code, refused.json()["detail"]) == (403, "this needs the role operator")
    assert _post(token_client("operator"), FAULT).status_code == 403
    assert (
        token_client("viewer", can_write=True, name="other").delete(f"{API}faults/fiber/").status_code == 403
    )
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [({"kind": "blackhole"}, "link"), ({**FAULT, "kind": "earthquake"}, "kind"), ({**FAULT, "link": "x" * 65}, "link"),
     ({**FAULT, "link": None}, "link"), ({**FAULT, "duration_s": 0}, "duration_s"),
     ({**FAULT, "value": "nan"}, "value"),
     ({**FAULT, "duration_s": 3601}, "duration_s"), ({**FAULT, "duration_s": "nan"}, "duration_s"),
     ({**FAULT, "duration_s": "soon"}, "duration_s"), ({**FAULT, "value": "much"}, "value"),
     ({**FAULT, "actor": "eve"}, "actor")],
)  # fmt: skip
def test_odd_faults_are_refused_by_field(body: Any, field: str, client: Client) -> None:
    answer = _post(client, body)
    assert answer.status_code == 400
    assert {error["field"] for error in answer.json()["errors"]} == {field}
    assert not Job.objects.exists()


@pytest.mark.parametrize("kind", sorted(FAULT_KINDS))
def test_fault_is_a_job_that_fails_in_words_without_a_lab(kind: str, client: Client) -> None:
    answer = _post(client, {"link": "fiber", "kind": kind, "value": 0.5})
    assert answer.status_code == 202
    job = Job.objects.get()
    assert answer.headers["Location"] == f"/api/v1/jobs/{job.pk}/"
    assert (job.kind, job.created_by.username) == ("lab.fault", "token-operator-active-True")  # type: ignore[union-attr]
    entry = AuditEntry.objects.get(action="jobs.start")
    assert (entry.after["link"], entry.after["value"]) == ("fiber", 0.5)
    run_job(str(job.pk))
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "lab" in job.error
    assert "Traceback" not in job.error
    assert not Event.objects.exists(), "a fault that did not happen is not told"


def test_viewers_cannot_end_a_fault_and_operators_no_import(client: Client) -> None:
    fault = Job.objects.create(kind="lab.fault", params=FAULT)
    upload = Job.objects.create(kind="inventory.import_csv", params={})
    viewer = token_client("viewer", can_write=True)
    assert viewer.post(f"/api/v1/jobs/{fault.pk}/cancel/").status_code == 403
    refused = client.post(f"/api/v1/jobs/{upload.pk}/cancel/")
    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        f"this needs the role {JOB_KINDS[upload.kind].minimum.value}",
    )
    assert not Job.objects.exclude(cancel_requested_at=None).exists()
    assert client.post(f"/api/v1/jobs/{fault.pk}/cancel/").json()["state"] == "cancelled"
