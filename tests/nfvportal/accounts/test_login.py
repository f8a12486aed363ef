"""Login by both doors: what is refused, and the brake on guessing."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from nfvportal.accounts.models import LoginAttempt
from nfvportal.accounts.services import ATTEMPT_WINDOW, MAX_ATTEMPTS, login_failed

pytestmark = pytest.mark.django_db
DOORS = ("/login/", "/admin/login/")
PASSWORD = "a long enough secret"


@pytest.fixture(autouse=True)
def _person(settings: Any) -> User:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return User.objects.create_superuser("person", password=PASSWORD)


def _log_in(door: str, password: str = PASSWORD, username: str = "person") -> Any:
    return Client().post(
        f"{door}?next=/jobs/", {"username": username, "password": password, "next": "/jobs/"}
    )


@pytest.mark.parametrize("door", DOORS)
def test_right_password_opens_and_leads_on(door: str) -> None:
    client = Client()
    answer = client.post(door, {"username": "person", "password": PASSWORD, "next": "/jobs/"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/jobs/")
    assert client.get("/jobs/").status_code == 200
    assert client.post("/logout/").headers["Location"] == "/login/"
    assert client.get("/jobs/").status_code == 302


@pytest.mark.parametrize("door", DOORS)
def test_foreign_addresses_are_not_followed(door: str) -> None:
    fields = {"username": "person", "password": PASSWORD, "next": "https://evil.example/"}
    assert Client().post(door, fields).headers["Location"] == "/"


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("person", "wrong"),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("person", ""),
        ("per\x00son", PASSWORD),
        ("x" * 300, "y"),
    ],
)
@pytest.mark.parametrize("door", DOORS)
def test_wrong_words_are_refused_without_saying_which(door: str, username: str, password: str) -> None:
    answer = _log_in(door, password, username)
    assert answer.status_code == 200
    assert "sessionid" not in answer.cookies
    text = answer.content.decode()
    assert "refused" in text
    assert PASSWORD not in text


@pytest.mark.parametrize("guess_at", DOORS)
@pytest.mark.parametrize("enter_at", DOORS)
def test_many_failures_close_both_doors_for_this_name_only(guess_at: str, enter_at: str) -> None:
    User.objects.create_user("other", password=PASSWORD)
    for _ in range(MAX_ATTEMPTS):
        assert "Too many" not in _log_in(guess_at, "wrong").content.decode()
    answer = _log_in(enter_at)
    assert answer.status_code == 200
    assert "Too many failed logins" in answer.content.decode()
    assert _log_in(enter_at, username="other").status_code == 302


def test_brake_lets_go_after_its_window() -> None:
    for _ in range(MAX_ATTEMPTS):
        login_failed(username="person", address="local")
    LoginAttempt.objects.update(at=timezone.now() - ATTEMPT_WINDOW - timedelta(seconds=1))
    assert _log_in("/login/").status_code == 302
    login_failed(username="somebody", address="local")
    assert LoginAttempt.objects.count() == 1, "old failures are forgotten"


def test_success_forgets_the_failures_before() -> None:
    for _ in range(MAX_ATTEMPTS - 1):
        _log_in("/login/", "wrong")
    assert _log_in("/login/").status_code == 302
    assert not LoginAttempt.objects.exists()


def test_who_is_not_staff_is_sent_to_the_login_once_and_not_in_a_circle() -> None:
    client = Client()
    client.force_login(User.objects.create_user("viewer"))
    answer = client.get("/admin/", follow=True)
    assert [address for address, _ in answer.redirect_chain] == ["/admin/login/?next=/admin/"]
    assert answer.status_code == 200


def test_login_form_needs_its_csrf_token() -> None:
    client = Client(enforce_csrf_checks=True)
    for door in DOORS:
        assert client.post(door, {"username": "person", "password": PASSWORD}).status_code == 403
