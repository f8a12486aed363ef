"""The event log in the admin: to look at, not to change."""

from django.contrib import admin
from django.http import HttpRequest

from nfvportal.events.models import Event


@admin.register(Event)
class EventAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only in its stubs
    """Read-only list of events."""

    list_display = ("at", "type", "severity", "subject", "device_name", "dispatched_at")
    list_filter = ("severity", "type")
    search_fields = ("type", "subject", "device_name")
    date_hierarchy = "at"

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Events happen."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Event | None = None) -> bool:
        """What happened stays."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Event | None = None) -> bool:
        """Retention deletes."""
        return False
