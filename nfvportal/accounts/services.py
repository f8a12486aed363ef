"""Writes of accounts: API tokens and the brake on guessed passwords."""

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from nfvportal.accounts.models import ApiToken, LoginAttempt
from nfvportal.audit.services import audit_record
from nfvportal.lib.errors import InvalidInputError

TOKEN_PREFIX = "nfv_api_"  # noqa: S105  names the kind of a token, is none
MAX_TOKEN_DAYS = 365
MAX_TOKENS_PER_USER = 50
LAST_USED_STEP = timedelta(minutes=1)
ATTEMPT_WINDOW = timedelta(minutes=5)
MAX_ATTEMPTS = 8


def token_hash(raw: str) -> str:
    """Return what is stored of a token. Tokens are random and long: a plain hash cannot be guessed backwards."""
    return hashlib.sha256(raw.encode()).hexdigest()


def api_token_create(*, user: User, name: str, days: int, can_write: bool) -> tuple[ApiToken, str]:
    """Create a token and return it with its raw text, which is shown once and never stored.

    Raises:
        InvalidInputError: name, days or the number of tokens is out of bounds.
    """
    if not 1 <= len(name.strip()) <= 100:
        raise InvalidInputError("name", "must have 1 to 100 characters")
    if not 1 <= days <= MAX_TOKEN_DAYS:
        raise InvalidInputError("days", f"must be from 1 to {MAX_TOKEN_DAYS}")
    if ApiToken.objects.filter(user=user, revoked_at=None).count() >= MAX_TOKENS_PER_USER:
        raise InvalidInputError("name", f"at most {MAX_TOKENS_PER_USER} tokens per user; revoke one first")
    raw = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        token = ApiToken.objects.create(
            user=user,
            name=name.strip(),
            prefix=raw[: len(TOKEN_PREFIX) + 4],
            token_hash=token_hash(raw),
            can_write=can_write,
            expires_at=timezone.now() + timedelta(days=days),
        )
        audit_record(
            actor=user,
            action="accounts.token_create",
            subject=token.prefix,
            before=None,
            after={"name": token.name, "can_write": can_write, "expires_at": token.expires_at},
        )
    return token, raw


def api_token_revoke(*, token: ApiToken, actor: User) -> None:
    """End a token; ending it twice changes nothing."""
    with transaction.atomic():
        if ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
            audit_record(
                actor=actor, action="accounts.token_revoke", subject=token.prefix, before=None, after=None
            )


def api_token_authenticate(raw: str) -> ApiToken | None:
    """Return the living token of an active user for its raw text. One query, plus a write a minute."""
    if not raw.startswith(TOKEN_PREFIX):
        return None
    now = timezone.now()
    token = (
        ApiToken.objects.select_related("user")
        .filter(token_hash=token_hash(raw), revoked_at=None, expires_at__gt=now, user__is_active=True)
        .first()
    )
    if token is not None and (token.last_used_at is None or now - token.last_used_at > LAST_USED_STEP):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def user_for_token(raw: str) -> User | None:
    """Return the user of a living API token."""
    token = api_token_authenticate(raw)
    return token.user if token is not None else None


def login_is_throttled(*, username: str) -> bool:
    """Whether this name failed too often in the last minutes."""
    since = timezone.now() - ATTEMPT_WINDOW
    return LoginAttempt.objects.filter(username=username[:150], at__gt=since).count() >= MAX_ATTEMPTS


def login_failed(*, username: str, address: str) -> None:
    """Count a failed login and forget old ones."""
    LoginAttempt.objects.filter(at__lt=timezone.now() - ATTEMPT_WINDOW).delete()
    LoginAttempt.objects.create(username=username[:150].replace("\x00", ""), address=address[:64])


def login_succeeded(*, username: str) -> None:
    """Forget the failures of a name that now logged in."""
    LoginAttempt.objects.filter(username=username[:150]).delete()
