"""The event log in the admin: to look at, not to change."""

from django.contrib import admin

from nfvportal.accounts.read_only import ReadOnlyAdmin
from nfvportal.events.models import Event


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """Read-only list of events."""

    list_display = ("at", "type", "severity", "subject", "device_name", "dispatched_at")
    list_filter = ("severity", "type")
    search_fields = ("type", "subject", "device_name")
    date_hierarchy = "at"
