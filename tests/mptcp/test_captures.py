"""Captures over REST: kept, read in a job, listed; garbage, halves and giants are answered and leave nothing."""

import hashlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.mptcp.models import Capture, Connection, Subflow
from apps.mptcp.upload import captures_dir
from nfvportal.jobs.models import Job
from nfvportal.jobs.runner import run_job
from tests.support.mptcp_scene import SceneConnection, capture_of, whole
from tests.support.people import session_client, token_client

pytestmark = pytest.mark.django_db
URL = "/api/v1/mptcp/captures/"
Answer = dict[str, Any]


@pytest.fixture(autouse=True)
def empty_directory() -> Iterator[None]:
    """No file of another test before, none of ours after."""
    _clear()
    yield
    _clear()


def _clear() -> None:
    for path in captures_dir().iterdir():
        path.unlink()


@pytest.fixture
def operator() -> Client:
    return token_client("operator", can_write=True)


def uploaded(client: Client, content: bytes, status: int = 202, **fields: Any) -> Answer:
    file = SimpleUploadedFile("walk.pcap", content)
    answer = client.post(URL, {"file": file, **fields})
    assert answer.status_code == status, answer.content
    return answer.json()


def read(client: Client, content: bytes, **fields: Any) -> Answer:
    """Upload, run the job, return the capture."""
    made = uploaded(client, content, **fields)
    run_job(made["job"])
    return client.get(f"{URL}{made['id']}/").json()


def test_upload_is_kept_and_read_by_a_job(operator: Client) -> None:
    content = capture_of([*whole(1), *whole(2)])
    made = uploaded(operator, content)
    assert made["sha256"] == hashlib.sha256(content).hexdigest()
    assert (made["state"], made["size_bytes"], made["file_name"]) == ("waiting", len(content), "walk.pcap")
    assert [path.read_bytes() for path in captures_dir().iterdir()] == [content]
    run_job(made["job"])
    capture = operator.get(f"{URL}{made['id']}/").json()
    assert capture["state"] == "ready"
    report = capture["report"]
    assert (report["connection_count"], report["subflow_count"], report["multipath_count"]) == (2, 6, 2)
    assert report["packet_count"] == 2 * (3 + 2 + 120)
    job = operator.get(f"/api/v1/jobs/{made['job']}/").json()
    assert (job["state"], job["progress_ratio"]) == ("succeeded", 1.0)
    assert job["result"]["capture"] == made["id"]


def test_connections_of_a_capture_have_their_subflows_evidence_and_picture(operator: Client) -> None:
    scene = SceneConnection(7)
    segments = scene.handshake() + scene.join() + scene.join() + scene.data(90)
    capture = read(operator, capture_of(segments))
    (row,) = operator.get(f"/api/v1/mptcp/connections/?capture={capture['id']}").json()["results"]
    assert row["subflow_count"] == 3
    assert f"{scene.token:08x}" in row["tokens"]
    detail = operator.get(f"/api/v1/mptcp/connections/{row['id']}/").json()
    assert {flow["a"] for flow in detail["subflows"]} == {"10.1.1.8", "10.1.2.8", "10.1.3.8"}
    assert {evidence["kind"] for evidence in detail["evidence"]} == {"token"}
    assert all(evidence["words"] for evidence in detail["evidence"])
    figure = operator.get(f"/api/v1/mptcp/connections/{row['id']}/picture/").json()
    up = [trace for trace in figure["data"] if trace["meta"]["side"] == 0]
    assert len(up) == 3
    heights = sorted(height for trace in up for height in trace["y"])
    assert heights == [pytest.approx(index * 1000 / 1e6) for index in range(90)]
    assert all(trace["y"] == sorted(trace["y"]) for trace in up)


def test_reading_as_if_less_was_seen(operator: Client) -> None:
    content = capture_of(whole(1, data_count=2000))
    everything = read(operator, content)["report"]
    some = read(operator, content, sample="0.1", seed="5", without_tokens="true", width32="true")
    assert some["options"]["sample"] == 0.1
    assert 0 < some["report"]["record_count"] < everything["record_count"] / 5
    late = read(operator, content, start_after_s="2")["report"]
    assert late["record_count"] == everything["record_count"] - 2000
    one_way = read(operator, content, direction="c2s")["report"]
    assert one_way["record_count"] == everything["record_count"] - 2001


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"sample": "0"}, "sample"),
        ({"sample": "nan"}, "sample"),
        ({"seed": "-1"}, "seed"),
        ({"direction": "up"}, "direction"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_options_that_are_none_are_refused_and_nothing_stays(
    operator: Client, fields: dict[str, str], field: str
) -> None:
    problem = uploaded(operator, capture_of(whole()), status=400, **fields)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert list(captures_dir().iterdir()) == []
    assert not Capture.objects.exists()


def test_garbage_is_told_apart_and_loses_nothing(operator: Client) -> None:
    capture = read(operator, b"this is no capture, but a text of some length" * 100)
    assert capture["state"] == "failed"
    assert "neither pcap nor pcapng" in capture["error"]
    job = operator.get(f"/api/v1/jobs/{capture['job']}/").json()
    assert (job["state"], job["error"]) == ("failed", f"{capture['error']}")
    assert len(list(captures_dir().iterdir())) == 1, "the file is still there to look at"


def test_truncated_file_gives_what_it_holds_and_says_so(operator: Client) -> None:
    content = capture_of(whole(1))
    capture = read(operator, content[: len(content) - 37])
    assert capture["state"] == "ready"
    assert capture["report"]["is_cut"] is True
    assert capture["report"]["connection_count"] == 1
    assert capture["report"]["packet_count"] == 124


def test_file_without_packets_says_so(operator: Client) -> None:
    capture = read(operator, capture_of([]))
    assert (capture["state"], "without a packet" in capture["error"]) == ("failed", True)


def test_giant_is_refused_before_it_is_read(operator: Client, settings: Any) -> None:
    class NeverRead(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise AssertionError("the body was read")

    answer = operator.generic(
        "POST", URL, CONTENT_TYPE="multipart/form-data; boundary=x",
        CONTENT_LENGTH=str(5_000_000_000), **{"wsgi.input": NeverRead()},
    )  # fmt: skip
    assert answer.status_code == 413
    assert answer["Content-Type"] == "application/problem+json"
    assert str(settings.MAX_CAPTURE_BYTES) in answer.json()["detail"]
    assert list(captures_dir().iterdir()) == []


def test_file_in_chunks_is_asked_for_its_length(operator: Client) -> None:
    answer = operator.generic(
        "POST", URL, b"", content_type="multipart/form-data; boundary=x", HTTP_TRANSFER_ENCODING="chunked"
    )
    assert answer.status_code == 411
    assert "Content-Length" in answer.json()["detail"]


def test_file_beyond_the_limit_is_refused_and_removed(operator: Client, settings: Any) -> None:
    settings.MAX_CAPTURE_BYTES = 1000
    problem = uploaded(operator, capture_of(whole(1)), status=413)
    assert "1000 bytes" in problem["detail"]
    assert list(captures_dir().iterdir()) == []


def test_connection_that_ends_early_leaves_nothing(operator: Client) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.pcap"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n" + capture_of(whole(1))
    )
    answer = operator.generic(
        "POST", URL, CONTENT_TYPE="multipart/form-data; boundary=x",
        CONTENT_LENGTH=str(len(body) + 500), **{"wsgi.input": BytesIO(body)},
    )  # fmt: skip
    assert answer.status_code == 400
    assert list(captures_dir().iterdir()) == []
    assert not Capture.objects.exists()


def test_disk_without_room_is_told(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.mptcp.upload.DISK_RESERVE_BYTES", 1 << 60)
    problem = uploaded(operator, capture_of(whole(1)), status=507)
    assert "no room" in problem["detail"]
    assert list(captures_dir().iterdir()) == []


def test_browser_uploads_with_its_csrf_token_and_viewers_are_refused_unread() -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = session_client("operator").cookies
    file = SimpleUploadedFile("walk.pcap", capture_of(whole(1)))
    assert strict.post(URL, {"file": file}).status_code == 403
    strict.get("/mptcp/")
    token = next(cookie.value for name, cookie in strict.cookies.items() if "csrf" in name)
    file = SimpleUploadedFile("walk.pcap", capture_of(whole(1)))
    assert strict.post(URL, {"file": file}, headers={"X-CSRFToken": token}).status_code == 202
    viewer = session_client("viewer")
    assert viewer.post(URL, {"file": SimpleUploadedFile("a", b"x")}).status_code == 403


def test_second_run_of_the_job_doubles_nothing(operator: Client) -> None:
    made = uploaded(operator, capture_of(whole(1)))
    run_job(made["job"])
    Job.objects.update(state="queued")
    run_job(made["job"])
    assert (Connection.objects.count(), Subflow.objects.count()) == (1, 3)


def test_delete_takes_file_and_findings_with_it(
    operator: Client, django_capture_on_commit_callbacks: Any
) -> None:
    capture = read(operator, capture_of(whole(1)))
    with django_capture_on_commit_callbacks(execute=True):
        assert operator.delete(f"{URL}{capture['id']}/").status_code == 204
    assert list(captures_dir().iterdir()) == []
    assert not Connection.objects.exists()
