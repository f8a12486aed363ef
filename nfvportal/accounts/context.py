"""What every page's template knows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from nfvportal import __version__
from nfvportal.accounts.access import Role, has_role, role_of


def portal(request: HttpRequest) -> dict[str, Any]:
    """Return ``portal``: version, and the role and rights of the user."""
    user = getattr(request, "user", None)
    if user is None:  # an error before the session was read
        return {"portal": {"version": __version__}}
    return {
        "portal": {
            "version": __version__,
            "role": role_of(user),
            "can_operate": has_role(user, Role.OPERATOR),
            "can_administer": has_role(user, Role.ADMIN),
            "lab_enabled": settings.LAB_ENABLED,
        }
    }
