"""What nobody changes by hand: history, and what the portal makes."""

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """An admin page to look at, for superusers too."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """The portal makes its rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """The portal changes them."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Retention, or what they belong to, deletes them."""
        return False
