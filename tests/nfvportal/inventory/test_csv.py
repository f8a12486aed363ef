"""Devices as CSV: out and in is the same, all or nothing, and every fault is told with line and field."""

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nfvportal.audit.models import AuditEntry
from nfvportal.inventory.csv_exchange import COLUMNS, MAX_ERRORS, csv_rows, devices_import, devices_to_csv
from nfvportal.inventory.models import Device, Site
from nfvportal.jobs.models import Job, JobState
from nfvportal.jobs.runner import run_job
from nfvportal.lib.errors import InvalidInputError
from tests.support.people import session_client, token_client

pytestmark = pytest.mark.django_db
HEADER = ",".join(COLUMNS)
patient = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def site() -> Site:
    """The one site of these tests, with one device."""
    site = Site.objects.create(name="hq")
    Device.objects.create(name="old", site=site, kind="host", note="as it was")
    return site


def _import(text: str, *, is_dry_run: bool = False) -> tuple[int, int, int]:
    done = devices_import(text=text, actor="ann", is_dry_run=is_dry_run)
    return done.created, done.updated, done.unchanged


def _content() -> list[tuple[Any, ...]]:
    return list(Device.objects.order_by("name").values_list("name", "site__name", "kind", "roles", "note"))


def test_creates_updates_and_leaves_alone() -> None:
    text = f"{HEADER}\nnew,hq,gateway,wan.gateway,\nold,hq,server,,changed\n"
    assert _import(text) == (1, 1, 0)
    assert _content() == [
        ("new", "hq", "gateway", ["wan.gateway"], ""),
        ("old", "hq", "server", [], "changed"),
    ]
    count = AuditEntry.objects.count()
    assert (count, _import(text)) == (2, (0, 0, 2))
    assert AuditEntry.objects.count() == count
    assert set(AuditEntry.objects.values_list("actor", flat=True)) == {"ann"}


def test_columns_that_are_left_out_stay() -> None:
    assert _import("kind,site,name\nserver,hq,old\n") == (0, 1, 0)
    assert _content() == [("old", "hq", "server", [], "as it was")]


def test_dry_run_counts_and_changes_nothing() -> None:
    before = _content()
    assert _import(f"{HEADER}\nnew,hq,host,,\nold,hq,server,,\n", is_dry_run=True) == (1, 1, 0)
    assert _content() == before
    assert not AuditEntry.objects.exists()


FAULTS: list[tuple[str, str]] = [
    ("", "header: the columns name, site, kind are missing"),
    ("name,site\na,b\n", "header: the columns kind are missing"),
    (f"{HEADER},colour\n", "header: unknown columns 'colour'"),
    (f"{HEADER},name\n", "header: must not name a column twice"),
    (f"{HEADER}\na,hq,host,\n", "line 2: must have 5 columns"),
    (f"{HEADER}\na,hq,host,,,,\n", "line 2: must have 5 columns"),
    (f"{HEADER}\na,nowhere,host,,\n", "line 2 site: 'nowhere' is not a site"),
    (f"{HEADER}\nA b,hq,host,,\n", "line 2 name: must be 1 to 64 of a-z"),
    (f"{HEADER}\n,hq,host,,\n", "line 2 name: "),
    (f"{HEADER}\na,hq,teapot,,\n", "line 2 kind: Value 'teapot' is not a valid choice"),
    (f"{HEADER}\na,hq,host,brew,\n", "line 2 roles: must be a list of these"),
    (f"{HEADER}\na,hq,host,wan.host wan.host,\n", "line 2 roles: must not name a role twice"),
    (f"{HEADER}\na,hq,host,,x\x00y\n", "line 2 note: must be text without NUL"),
    (f"{HEADER}\na,hq,host,,\ud800\n", "line 2 note: must be text without NUL and lone surrogates"),
    (f"{HEADER}\na,hq,host,,{'x' * 4001}\n", "line 2 note: must have at most 4000 characters"),
    (f"{HEADER}\na,hq,host,,{'x' * 140_000}\n", "line 2: is not CSV: field larger"),
    ("x" * 140_000, "line 1: is not CSV: field larger"),
    (f'{HEADER}\na,hq,host,,"two\nlines"\nb,hq,teapot,,\n', "line 4 kind: "),
    (f"{HEADER}\n\n\nb,hq,teapot,,\n", "line 4 kind: "),
]


@pytest.mark.parametrize(("text", "words"), FAULTS)
def test_faults_name_line_and_field_and_change_nothing(text: str, words: str) -> None:
    before = _content()
    with pytest.raises(InvalidInputError, match=re.escape(words)):
        _import(text)
    assert _content() == before


def test_good_rows_beside_a_bad_one_are_not_imported_and_faults_are_listed_together() -> None:
    rows = "".join(f"d{number},hq,{'host' if number % 2 else 'teapot'},,\n" for number in range(60))
    with pytest.raises(InvalidInputError) as refused:
        _import(f"{HEADER}\n{rows}")
    assert len(re.findall(r"line \d+ kind", refused.value.limit)) == MAX_ERRORS
    assert "nothing was changed" in refused.value.limit
    assert [row[0] for row in _content()] == ["old"]
    assert not AuditEntry.objects.exists()


notes = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30
) | st.sampled_from(
    ["=1+1", "'=1", "'", "''", "\ttab", "\rx", "-", "'quoted'", "a\r\nb", 'x"y,z', " ", "@x", "\n"]
)
devices = st.dictionaries(
    st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,8}[a-z0-9]\Z"),
    st.tuples(
        st.sampled_from(["host", "gateway", "switch"]),
        st.lists(st.sampled_from(["wan.host", "wan.gateway", "lab.traffic"]), unique=True),
        notes,
    ),
    max_size=6,
)


@patient
@given(devices)
@example({"one": ("host", [], "'=1"), "two": ("host", [], "\tx")})
def test_export_and_import_is_the_identity(site: Site, fleet: dict[str, tuple[str, list[str], str]]) -> None:
    with transaction.atomic():
        for name, (kind, roles, note) in fleet.items():
            Device.objects.update_or_create(
                name=name, defaults={"site": site, "kind": kind, "roles": roles, "note": note}
            )
        before = _content()
        text = devices_to_csv(Device.objects.select_related("site"))
        assert _import(text) == (0, 0, len(before))
        Device.objects.all().delete()
        assert _import(text) == (len(before), 0, 0)
        assert _content() == before
        transaction.set_rollback(True)


def test_exported_notes_are_no_formulas() -> None:
    Device.objects.update(note="=HYPERLINK(1)")
    assert ",'=HYPERLINK(1)" in devices_to_csv(Device.objects.all())


cells = st.sampled_from(
    ["old", "hq", "host", "gateway", "wan.host", "", '"', "\n", ",", "\x00", "\ud800", "'=", "é"]
) | st.text(max_size=8)
texts = st.text() | st.builds(
    lambda head, rows: "\n".join([head, *(",".join(row) for row in rows)]),
    st.sampled_from([HEADER, "name,site,kind", "kind,name,site,note", f"{HEADER},x"]),
    st.lists(st.lists(cells, min_size=2, max_size=6), max_size=5),
)


@patient
@given(texts)
def test_any_text_is_imported_whole_or_refused_in_words(text: str) -> None:
    with transaction.atomic():
        before = _content()
        try:
            created, updated, unchanged = _import(text)
        except InvalidInputError:
            assert _content() == before
        else:
            assert created + updated + unchanged == len(csv_rows(text))
        transaction.set_rollback(True)


def _job(text: str, *, dry_run: bool = False) -> Job:
    client = token_client("admin", can_write=True)
    body = {"csv": text, "dry_run": dry_run}
    answer = client.post("/api/v1/inventory/devices/import/", body, content_type="application/json")
    assert answer.status_code == 202
    job = Job.objects.get()
    assert answer.headers["Location"] == f"/api/v1/jobs/{job.pk}/"
    run_job(str(job.pk))
    job.refresh_from_db()
    return job


def test_rest_imports_by_a_job_in_the_name_of_who_asked() -> None:
    job = _job(f"{HEADER}\nnew,hq,host,,\n")
    assert (job.state, job.result) == (
        JobState.SUCCEEDED,
        {"created": 1, "updated": 0, "unchanged": 0, "dry_run": False},
    )
    assert AuditEntry.objects.get(action="inventory.device_create").actor == "token-admin-active-True"


def test_job_fails_with_the_faults() -> None:
    job = _job(f"{HEADER}\nnew,hq,teapot,,\n")
    assert job.state == JobState.FAILED
    assert "line 2 kind" in job.error
    assert Device.objects.count() == 1


def test_rest_exports_what_it_imports() -> None:
    answer = token_client("viewer").get("/api/v1/inventory/devices/export/")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert _import(answer.content.decode()) == (0, 0, 1)


def _upload(content: bytes, **fields: Any) -> Any:
    client = session_client("admin", is_staff=True, is_superuser=True)
    return client.post(
        "/admin/inventory/device/import/", {"file": SimpleUploadedFile("d.csv", content), **fields}
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "must be UTF-8 text"),
        (f"{HEADER}\na,hq,teapot,,\n".encode(), "line 2 kind"),
        (b"", "empty"),
    ],
)
def test_admin_page_tells_the_faults(content: bytes, words: str) -> None:
    answer = _upload(content)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert Device.objects.count() == 1


def test_admin_page_imports_with_or_without_a_rehearsal() -> None:
    content = f"\ufeff{HEADER}\nnew,hq,host,,\n".encode()
    assert "Would be 1 created" in _upload(content, dry_run="on").content.decode()
    assert Device.objects.count() == 1
    from django.contrib.auth.models import User

    User.objects.all().delete()
    assert _upload(content).status_code == 302
    assert Device.objects.count() == 2
