"""The audit log: nobody changes it, not even by SQL; everybody's changes are in it; admins read it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.test import Client, RequestFactory

from nfvportal.audit.models import AuditEntry
from nfvportal.audit.services import audit_record
from tests.support.people import session_client, token_client

pytestmark = pytest.mark.django_db


def _entry(**fields: Any) -> AuditEntry:
    return audit_record(
        **{"actor": "ann", "action": "test.do", "subject": "x", "before": None, "after": None, **fields}
    )


FORBIDDEN = [
    "UPDATE audit_auditentry SET actor = 'eve'", "DELETE FROM audit_auditentry",
    "UPDATE audit_auditentry SET at = now() WHERE false OR id > 0",
]  # fmt: skip


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_database_refuses_to_change_or_delete(statement: str) -> None:
    entry = _entry()
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert AuditEntry.objects.get() == entry


def test_orm_is_refused_alike() -> None:
    entry = _entry()
    for change in (
        entry.delete,
        entry.save,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(actor="eve"),
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    assert AuditEntry.objects.get().actor == "ann"


def test_entry_outlives_its_user() -> None:
    user = User.objects.create_user("ann")
    _entry(actor=user)
    user.delete()
    assert AuditEntry.objects.get().actor == "ann"


def test_values_become_plain_and_the_address_is_kept() -> None:
    request = RequestFactory(REMOTE_ADDR="192.0.2.7").get("/")
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    entry = _entry(
        actor=None,
        subject="s" * 300,
        after={"cost": Decimal("1.50"), "at": moment, "n": 1, "l": [1]},
        request=request,
    )
    entry.refresh_from_db()
    assert (entry.actor, len(entry.subject), entry.address) == ("", 200, "192.0.2.7")
    assert entry.after == {"cost": "1.50", "at": "2026-01-02T00:00:00Z", "n": 1, "l": [1]}


def test_rolled_back_change_leaves_no_entry() -> None:
    with transaction.atomic():
        _entry()
        transaction.set_rollback(True)
    assert not AuditEntry.objects.exists()


def test_rest_lists_newest_first_with_filters() -> None:
    for number in range(5):
        _entry(actor="ann" if number % 2 else "bob", action=f"test.{number % 3}", subject=f"s{number}")
    client = token_client("admin")
    rows = client.get("/api/v1/audit/?actor=ann").json()["results"]
    assert [(row["subject"], row["action"]) for row in rows] == [("s3", "test.0"), ("s1", "test.1")]
    assert [row["subject"] for row in client.get("/api/v1/audit/?action=test.0").json()["results"]] == [
        "s3",
        "s0",
    ]
    assert client.get("/api/v1/audit/?subject=s2&actor=ann").json()["results"] == []
    assert rows[0].keys() == {"id", "at_s", "actor", "action", "subject", "before", "after", "address"}
    for method in ("post", "put", "patch", "delete"):
        writer = token_client("admin", can_write=True, name=method)
        assert getattr(writer, method)(f"/api/v1/audit/{rows[0]['id']}/").status_code == 405


def test_page_walks_back_by_hundreds_and_bears_odd_filters() -> None:
    for number in range(205):
        _entry(subject=f"s{number}")
    client = session_client("admin")
    seen, url = [], "/audit/?actor=ann"
    while url:
        page = client.get(url)
        seen += [entry["subject"] for entry in page.context["entries"]]
        url = page.context["next_url"] and f"/audit/{page.context['next_url']}"
    assert seen == [f"s{number}" for number in reversed(range(205))]
    for query in (
        "before=x",
        "before=-1",
        "before=" + "9" * 40,
        "actor=%00",
        "actor=" + "x" * 999,
        "before=²",
    ):
        assert client.get(f"/audit/?{query}").status_code == 200


def test_page_escapes_what_people_wrote() -> None:
    _entry(subject="<script>alert(1)</script>", after={"note": "<img src=x>"})
    text = session_client("admin").get("/audit/").content.decode()
    assert "<script>alert(1)" not in text
    assert "<img src=x>" not in text
    assert "&lt;script&gt;" in text


def test_strangers_read_nothing() -> None:
    assert Client().get("/audit/").status_code == 302
