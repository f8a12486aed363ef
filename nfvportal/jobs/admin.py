"""Jobs in the admin: to look at, not to change."""

from django.contrib import admin

from nfvportal.accounts.read_only import ReadOnlyAdmin
from nfvportal.jobs.models import Job


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
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
