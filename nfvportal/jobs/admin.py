"""Jobs in the admin: to look at, not to change."""

from django.contrib import admin
from django.http import HttpRequest

from nfvportal.jobs.models import Job


@admin.register(Job)
class JobAdmin(admin.ModelAdmin[Job]):
    """Read-only list of jobs."""

    list_display = (
        "id",
        "kind",
        "state",
        "progress_ratio",
        "created_by",
        "created_at",
        "finished_at",
        "attempt",
    )
    list_filter = ("state", "kind")
    search_fields = ("id", "message", "error")
    list_select_related = ("created_by",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Jobs are started by their pages and by REST."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        """Jobs change by running."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        """Jobs are history."""
        return False
