"""API tokens: shown once, stored as a hash, with an end and a write flag, each user's own."""

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from nfvportal.accounts import services
from nfvportal.accounts.models import ApiToken
from nfvportal.accounts.services import (
    MAX_TOKEN_DAYS,
    MAX_TOKENS_PER_USER,
    api_token_authenticate,
    api_token_create,
)
from nfvportal.audit.models import AuditEntry
from nfvportal.lib.errors import InvalidInputError
from tests.support.people import session_client, token_client
from tests.support.web import user_make

pytestmark = pytest.mark.django_db
API = "/api/v1/tokens/"


def _everything_stored() -> str:
    """Return all rows that could hold a token's text."""
    tables = ("accounts_apitoken", "audit_auditentry", "django_session")
    with connection.cursor() as cursor:
        rows = []
        for table in tables:
            cursor.execute(f"SELECT t::text FROM {table} t")
            rows += cursor.fetchall()
    return str(rows)


def test_only_the_hash_is_stored() -> None:
    token, raw = api_token_create(user=user_make("owner", "viewer"), name=" ci ", days=30, can_write=False)
    assert token.token_hash == hashlib.sha256(raw.encode()).hexdigest()
    assert raw.startswith(token.prefix)
    assert len(raw) > 40
    assert raw not in _everything_stored()
    assert token.name == "ci"
    assert raw not in str(token)


def test_rest_shows_the_text_once() -> None:
    client = session_client("viewer")
    made = client.post(API, {"name": "ci", "days": 7, "can_write": True}, content_type="application/json")
    assert made.status_code == 201
    raw = made.json()["token"]
    listed = client.get(API).json()["results"]
    assert [row["id"] for row in listed] == [made.json()["id"]]
    assert listed[0].keys() == made.json().keys() - {"token"}
    assert listed[0]["expires_at_s"] - listed[0]["created_at_s"] == pytest.approx(7 * 86400, abs=5)
    assert (listed[0]["can_write"], listed[0]["state"], listed[0]["last_used_at_s"]) == (True, "active", None)
    assert raw not in client.get(f"{API}{made.json()['id']}/").content.decode()
    assert raw not in _everything_stored()


def test_page_shows_the_text_once() -> None:
    client = session_client("viewer")
    shown = client.post("/tokens/", {"name": "ci", "days": 7}).content.decode()
    assert services.TOKEN_PREFIX in shown
    raw = services.TOKEN_PREFIX + shown.split(services.TOKEN_PREFIX, 1)[1][:43]
    assert api_token_authenticate(raw) is not None
    assert raw not in client.get("/tokens/").content.decode()


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"name": ""}, "name"), ({"name": "x" * 101}, "name"), ({"name": "x", "days": 0}, "days"), ({}, "name"),
     ({"name": "x", "days": MAX_TOKEN_DAYS + 1}, "days"), ({"name": "x", "days": "soon"}, "days"),
     ({"name": "x", "can_write": "perhaps"}, "can_write"), ({"name": "x", "user": 1}, "user"),
     ({"name": "a\x00b"}, "name")],
)  # fmt: skip
def test_odd_wishes_are_refused_by_field(fields: dict[str, Any], field: str) -> None:
    client = session_client("viewer")
    answer = client.post(API, json.dumps(fields), content_type="application/json")
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not ApiToken.objects.exists()


def test_services_keep_the_limits_too() -> None:
    user = user_make("owner", "viewer")
    for name, days in (("", 1), ("x" * 101, 1), ("x", 0), ("x", MAX_TOKEN_DAYS + 1)):
        with pytest.raises(InvalidInputError):
            api_token_create(user=user, name=name, days=days, can_write=False)
    for _ in range(MAX_TOKENS_PER_USER):
        token, _raw = api_token_create(user=user, name="x", days=1, can_write=False)
    with pytest.raises(InvalidInputError, match="revoke one first"):
        api_token_create(user=user, name="x", days=1, can_write=False)
    services.api_token_revoke(token=token, actor=user)
    api_token_create(user=user, name="x", days=1, can_write=False)


def test_expiry_is_exact_and_told() -> None:
    user = user_make("owner", "viewer")
    token, raw = api_token_create(user=user, name="x", days=1, can_write=False)
    client = Client(headers={"Authorization": f"Bearer {raw}"})
    assert client.get(API).status_code == 200
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(milliseconds=1))
    refused = client.get(API)
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="nfvportal"')
    assert "expired" in refused.json()["detail"]
    owner = Client()
    owner.force_login(user)
    assert owner.get(API).json()["results"][0]["state"] == "expired"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer nfv_api_",
        "Bearer nfv_dev_x",
        "bearer \u00e9",
        "Bearer a b",
        "Bearer " + "x" * 5000,
    ],
)
def test_odd_headers_are_refused_not_crashed(header: str) -> None:
    user_make("owner", "viewer")
    assert Client(headers={"Authorization": header}).get(API).status_code == 401


def test_write_flag_counts_also_for_an_admin() -> None:
    answer = token_client("admin").post(API, {"name": "x"}, content_type="application/json")
    assert answer.status_code == 403
    assert "write flag" in answer.json()["detail"]
    assert (
        token_client("viewer", can_write=True)
        .post(API, {"name": "x"}, content_type="application/json")
        .status_code
        == 201
    )


def test_tokens_of_others_do_not_exist() -> None:
    token, _ = api_token_create(user=user_make("owner", "admin"), name="x", days=1, can_write=False)
    other = session_client("admin")
    assert other.get(API).json()["results"] == []
    assert other.get(f"{API}{token.pk}/").status_code == 404
    assert other.delete(f"{API}{token.pk}/").status_code == 404
    assert other.post(f"/tokens/{token.pk}/revoke/").status_code == 404
    token.refresh_from_db()
    assert token.revoked_at is None


@pytest.mark.parametrize("by_page", [True, False])
def test_revoked_token_ends_at_once_and_revoking_again_is_no_second_entry(by_page: bool) -> None:
    client = session_client("viewer")
    user = User.objects.get()
    token, raw = api_token_create(user=user, name="x", days=1, can_write=False)
    for _ in range(2):
        if by_page:
            assert client.post(f"/tokens/{token.pk}/revoke/").status_code == 302
        else:
            assert client.delete(f"{API}{token.pk}/").status_code == 204
    assert api_token_authenticate(raw) is None
    actions = AuditEntry.objects.order_by("id").values_list("actor", "action", "subject")
    assert list(actions) == [
        (user.username, "accounts.token_create", token.prefix),
        (user.username, "accounts.token_revoke", token.prefix),
    ]


def test_last_use_is_noted_at_most_once_a_minute(django_assert_num_queries: Any) -> None:
    _, raw = api_token_create(user=user_make("owner", "viewer"), name="x", days=1, can_write=False)
    api_token_authenticate(raw)
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    with django_assert_num_queries(1):
        api_token_authenticate(raw)
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    api_token_authenticate(raw)
    assert ApiToken.objects.get().last_used_at > first - timedelta(minutes=1)  # type: ignore[operator]


def test_the_portal_s_roles_are_made_by_the_migrations_and_the_highest_counts() -> None:
    from django.contrib.auth.models import Group

    from nfvportal.accounts.access import Role, role_of

    user = user_make("person", "viewer")
    user.groups.add(Group.objects.get(name="admin"))
    assert role_of(User.objects.get()) is Role.ADMIN
    User.objects.update(is_active=False)
    assert role_of(User.objects.get()) is None
    assert role_of(User(is_superuser=True)) is Role.ADMIN
    assert role_of(user_make("nobody", None)) is None
