"""Who may ask: a client per kind of person or program, for tests of permissions and REST."""

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from nfvportal.accounts.models import ApiToken
from nfvportal.accounts.services import api_token_create
from tests.support.web import user_make


def session_client(role: str | None, *, name: str = "", **fields: Any) -> Client:
    """Return a logged-in browser of a new user with one of the portal's roles, or none."""
    user = user_make(name or f"session-{role}", role)
    for field, value in fields.items():
        setattr(user, field, value)
    user.save()
    client = Client()
    client.force_login(user)
    return client


def token_client(role: str, *, can_write: bool = False, state: str = "active", name: str = "") -> Client:
    """Return a program with an API token of a new user; ``state`` is active, expired, revoked or unknown."""
    user = user_make(name or f"token-{role}-{state}-{can_write}", role)
    raw = token_make(user, can_write=can_write, state=state)
    return Client(headers={"Authorization": f"Bearer {raw}"})


def token_make(user: User, *, can_write: bool = False, state: str = "active") -> str:
    """Return the text of a new API token that is active, expired, revoked or unknown."""
    token, raw = api_token_create(user=user, name="test", days=1, can_write=can_write)
    now = timezone.now()
    if state == "expired":
        ApiToken.objects.filter(pk=token.pk).update(expires_at=now - timedelta(seconds=1))
    elif state == "revoked":
        ApiToken.objects.filter(pk=token.pk).update(revoked_at=now)
    elif state == "unknown":
        raw = raw[:-1] + ("a" if raw[-1] != "a" else "b")
    return raw
