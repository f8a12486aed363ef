"""Keyset pages: walking them all is the whole list, also while rows are added; a cursor can be anything."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from nfvportal.events.models import Event
from nfvportal.jobs.models import Job
from nfvportal.lib.errors import InvalidInputError
from nfvportal.rest.entity_tags import entity_tag
from nfvportal.rest.pagination import MAX_PAGE_SIZE, KeysetPagination
from tests.support.people import token_client

pytestmark = pytest.mark.django_db
START = datetime(2026, 1, 1, tzinfo=UTC)
BY_TIME = ("-created_at", "-id")
patient = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class _View:
    def __init__(self, keyset: tuple[str, ...]) -> None:
        self.keyset = keyset


def _page(rows: Any, keyset: tuple[str, ...], query: dict[str, Any]) -> tuple[list[Any], str | None]:
    """Return a page and the cursor of the next."""
    pages = KeysetPagination()
    request = Request(APIRequestFactory().get("/", query))
    page = pages.paginate_queryset(rows, request, _View(keyset))  # type: ignore[arg-type]
    url = pages.get_paginated_response([]).data["next"]
    return page, parse_qs(urlsplit(url).query)["cursor"][0] if url else None


def _jobs(minutes: list[int]) -> None:
    jobs = Job.objects.bulk_create(Job(kind="lab.fault") for _ in minutes)
    for job, minute in zip(jobs, minutes, strict=True):
        job.created_at = START + timedelta(minutes=minute)
    Job.objects.bulk_update(jobs, ["created_at"])


@patient
@given(st.lists(st.integers(0, 5), max_size=25), st.integers(1, 9), st.lists(st.integers(6, 9), max_size=8))
@example([1] * 10, 3, [9, 9])
def test_all_pages_are_the_whole_list_also_with_newer_rows_in_between(
    minutes: list[int], size: int, newer: list[int]
) -> None:
    """Many rows share a time: the id decides between them."""
    with transaction.atomic():
        _jobs(minutes)
        whole = list(Job.objects.order_by(*BY_TIME))
        seen: list[Job] = []
        cursor: str | None = ""
        while cursor is not None:
            page, cursor = _page(Job.objects.all(), BY_TIME, {"page_size": size, "cursor": cursor})
            assert len(page) == size or cursor is None
            seen += page
            if newer:
                _jobs([newer.pop()])
        assert seen == whole
        transaction.set_rollback(True)


@patient
@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 6))
def test_ascending_lists_go_on_to_what_is_added(count: int, size: int, added: int) -> None:
    with transaction.atomic():
        _events(count)
        seen: list[int] = []
        cursor: str | None = ""
        while cursor is not None:
            page, cursor = _page(Event.objects.all(), ("id",), {"page_size": size, "cursor": cursor})
            seen += [event.pk for event in page]
            if cursor is not None and added:
                _events(1)
                added -= 1
        assert seen == list(Event.objects.order_by("id").values_list("id", flat=True))
        transaction.set_rollback(True)


def _events(count: int) -> None:
    Event.objects.bulk_create(
        Event(type="t", at=START, severity="info", dispatched_at=START) for _ in range(count)
    )


def _encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


ODD_CURSORS = [
    "x", "====", "\x00", "é", _encoded({}), _encoded(5), _encoded([]), _encoded(["1"]), _encoded([1, 2]),
    _encoded(["soon", "1"]), _encoded(["2026-01-01T00:00:00+00:00", "no uuid"]), _encoded(["", ""]), _encoded("ab"),
    _encoded(["2026-01-01T00:00:00", "\x00"]), _encoded([["1"], "2"]), _encoded(None), _encoded(["9" * 5000, "1"]),
    base64.urlsafe_b64encode(b"[" * 20_000).decode(), base64.urlsafe_b64encode(b"\xff").decode(),
]  # fmt: skip
cursors = st.text(max_size=30) | st.recursive(
    st.none() | st.text(max_size=40) | st.integers() | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3),
).map(_encoded)


@patient
@given(cursors)
def test_no_cursor_raises_anything_but_a_clear_refusal(cursor: str) -> None:
    for rows, keyset in ((Job.objects.all(), BY_TIME), (Event.objects.all(), ("-id",))):
        try:
            _page(rows, keyset, {"cursor": cursor})
        except InvalidInputError as error:
            assert (error.field, "answer's next" in error.limit) == ("cursor", True)  # noqa: PT017  may also pass


def test_odd_cursors_are_refused() -> None:
    client = token_client("viewer")
    for cursor in ODD_CURSORS:
        answer = client.get("/api/v1/jobs/", {"cursor": cursor})
        assert answer.status_code == 400, cursor
        assert answer.json()["errors"][0]["field"] == "cursor"


@pytest.mark.parametrize("number", ["9" * 30, "-" + "9" * 30, "0"])
def test_cursor_beyond_the_numbers_of_the_database_is_an_end_not_a_crash(number: str) -> None:
    _events(2)
    answer = token_client("viewer").get("/api/v1/events/", {"cursor": _encoded([number])})
    assert answer.status_code in (200, 400)


@pytest.mark.parametrize("size", ["0", "-1", "501", "1.5", "", "ten", "１", "9" * 30])
def test_page_size_has_limits(size: str) -> None:
    answer = token_client("viewer").get("/api/v1/events/", {"page_size": size})
    assert answer.status_code == 400
    assert str(MAX_PAGE_SIZE) in answer.json()["detail"]


def test_next_keeps_the_filters_and_the_link_header_agrees() -> None:
    _events(3)
    answer = token_client("viewer").get("/api/v1/events/", {"page_size": 2, "type": "t"})
    url = answer.json()["next"]
    assert answer.headers["Link"] == f'<{url}>; rel="next"'
    assert parse_qs(urlsplit(url).query)["type"] == ["t"]
    last = token_client("viewer", name="b").get(f"{urlsplit(url).path}?{urlsplit(url).query}")
    assert (len(last.json()["results"]), last.json()["next"], "Link" in last.headers) == (1, None, False)


LISTS = {
    "audit": "admin", "events": "viewer", "jobs": "viewer", "tokens": "viewer", "inventory/sites": "viewer",
    "inventory/devices": "viewer", "inventory/interfaces": "viewer", "inventory/links": "viewer",
}  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
def test_unknown_filters_are_refused_everywhere(path: str) -> None:
    client = token_client(LISTS[path])
    assert client.get(f"/api/v1/{path}/").status_code == 200
    answer = client.get(f"/api/v1/{path}/?colour=red&page_size=5")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "colour"
    assert "known are" in answer.json()["detail"]


class TestEntityTags:
    """Changes of what several people edit."""

    def _site(self, client: Client) -> tuple[str, str]:
        made = client.post("/api/v1/inventory/sites/", {"name": "a"}, content_type="application/json")
        return f"/api/v1/inventory/sites/{made.json()['id']}/", made.headers["ETag"]

    def _patch(self, client: Client, url: str, tag: str | None, **body: Any) -> Any:
        headers = {"If-Match": tag} if tag is not None else {}
        return client.patch(url, body, content_type="application/json", headers=headers)

    def test_change_needs_the_tag_of_the_newest_version(self) -> None:
        client = token_client("admin", can_write=True)
        url, tag = self._site(client)
        assert client.get(url).headers["ETag"] == tag
        assert self._patch(client, url, None, title="x").status_code == 428
        assert self._patch(client, url, '"other"', title="x").status_code == 412
        changed = self._patch(client, url, tag, title="x")
        assert (changed.status_code, changed.json()["title"]) == (200, "x")
        late = self._patch(client, url, tag, title="y")
        assert (late.status_code, late.json()["current_tag"]) == (412, changed.headers["ETag"])
        assert client.delete(url, headers={"If-Match": tag}).status_code == 412
        assert self._patch(client, url, "*", title="z").status_code == 200
        assert client.delete(url).status_code == 428
        assert client.delete(url, headers={"If-Match": client.get(url).headers["ETag"]}).status_code == 204
        assert client.get(url).status_code == 404

    def test_tag_depends_on_content_not_on_order(self) -> None:
        assert entity_tag({"a": 1, "b": START}) == entity_tag({"b": START, "a": 1})
        assert entity_tag({"a": 1}) != entity_tag({"a": 2})
        assert entity_tag({}).startswith('"')
