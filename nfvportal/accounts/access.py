"""Roles and the one place that compares them. Django's groups of the same names hold who has which."""

from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

P = ParamSpec("P")
AnyUser = AbstractBaseUser | AnonymousUser


class Role(StrEnum):
    """What a person may do; each role may do all that the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


RANK = {Role.VIEWER: 1, Role.OPERATOR: 2, Role.ADMIN: 3}


def role_of(user: AnyUser) -> Role | None:
    """Return the highest role of a user; ``None`` for strangers and users without a group. One query per object."""
    if not isinstance(user, User) or not user.is_active:
        return None
    if user.is_superuser:
        return Role.ADMIN
    cached: Role | None
    try:
        cached = user._nfv_role  # type: ignore[attr-defined]  # kept for the life of one request
    except AttributeError:
        names = set(user.groups.values_list("name", flat=True))
        cached = max((role for role in Role if role.value in names), key=RANK.__getitem__, default=None)
        user._nfv_role = cached  # type: ignore[attr-defined]
    return cached


def has_role(user: AnyUser, minimum: Role) -> bool:
    """Whether the user's role is ``minimum`` or above."""
    role = role_of(user)
    return role is not None and RANK[role] >= RANK[minimum]


def role_required(
    minimum: Role,
) -> Callable[
    [Callable[Concatenate[HttpRequest, P], HttpResponse]], Callable[Concatenate[HttpRequest, P], HttpResponse]
]:
    """Guard a page: strangers go to the login, users below ``minimum`` get 403."""

    def decorate(
        view: Callable[Concatenate[HttpRequest, P], HttpResponse],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
        @login_required
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if not has_role(request.user, minimum):
                raise PermissionDenied(f"this needs the role {minimum.value}")
            return view(request, *args, **kwargs)

        return guarded  # type: ignore[return-value]  # login_required forgets the parameters

    return decorate
