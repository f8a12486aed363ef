"""Which role may do what by REST. A token without the write flag only reads, whatever the role of its owner."""

from typing import TYPE_CHECKING, ClassVar

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from nfvportal.accounts.access import Role, has_role
from nfvportal.accounts.models import ApiToken

if TYPE_CHECKING:  # rest_framework.views reads its default permissions, this module, while it loads
    from rest_framework.views import APIView


class RolePermission(BasePermission):
    """Reading needs ``reads``, changing needs ``writes`` and, with a token, its write flag."""

    reads: ClassVar[Role] = Role.VIEWER
    writes: ClassVar[Role] = Role.OPERATOR

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Decide before the view runs."""
        if request.method in SAFE_METHODS:
            self.message = f"this needs the role {self.reads.value}"
            return has_role(request.user, self.reads)
        if isinstance(request.auth, ApiToken) and not request.auth.can_write:
            self.message = "this token may only read; create one with the write flag"
            return False
        self.message = f"this needs the role {self.writes.value}"
        return has_role(request.user, self.writes)


class ViewerReadsOperatorWrites(RolePermission):
    """The default."""


class ViewerReadsAdminWrites(RolePermission):
    """For what changes who or what is trusted."""

    writes = Role.ADMIN


class AdminOnly(RolePermission):
    """For what only administrators may see."""

    reads = Role.ADMIN
    writes = Role.ADMIN


class OwnThings(RolePermission):
    """For what every user has of their own."""

    writes = Role.VIEWER
