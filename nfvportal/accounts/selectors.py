"""Reads of accounts."""

from typing import Literal, TypedDict, get_args

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils import timezone

from nfvportal.accounts.models import ApiToken

TokenState = Literal["active", "expired", "revoked"]
TOKEN_STATES: tuple[TokenState, ...] = get_args(TokenState)


class TokenData(TypedDict):
    """A token as its owner sees it; never the token itself. Times are epoch seconds."""

    id: int
    name: str
    prefix: str
    can_write: bool
    created_at_s: float
    expires_at_s: float
    last_used_at_s: float | None
    state: TokenState


def token_list(user: User) -> QuerySet[ApiToken]:
    """Return the user's own tokens, newest first."""
    return ApiToken.objects.filter(user=user)


def token_data(token: ApiToken) -> TokenData:
    """Return a token as plain data."""
    state: TokenState = "active"
    if token.revoked_at is not None:
        state = "revoked"
    elif token.expires_at <= timezone.now():
        state = "expired"
    return {
        "id": token.pk,
        "name": token.name,
        "prefix": token.prefix,
        "can_write": token.can_write,
        "created_at_s": token.created_at.timestamp(),
        "expires_at_s": token.expires_at.timestamp(),
        "last_used_at_s": token.last_used_at.timestamp() if token.last_used_at else None,
        "state": state,
    }
