"""``mptcp`` in the admin: to look at. Captures, verdicts and subscriptions are changed where their checks are made."""

from django.contrib import admin

from apps.mptcp.models import (
    Alarm,
    AssociationDomain,
    Capture,
    ChangeLog,
    Connection,
    Observer,
    Subscription,
    Verdict,
)
from nfvportal.accounts.read_only import ReadOnlyAdmin


@admin.register(AssociationDomain)
class AssociationDomainAdmin(ReadOnlyAdmin):
    """Domains: one per site with sensors."""

    list_display = ("site", "subflow_count", "record_count", "dropped_count", "worked_at", "worked_by")
    list_select_related = ("site",)
    exclude = ("snapshot",)


@admin.register(Observer)
class ObserverAdmin(ReadOnlyAdmin):
    """Observation points and what their sensors last said."""

    list_display = ("domain", "number", "device", "interface", "told", "told_at")
    list_select_related = ("domain__site", "device")


@admin.register(Capture)
class CaptureAdmin(ReadOnlyAdmin):
    """Uploaded captures."""

    list_display = ("id", "file_name", "state", "size_bytes", "created_by", "created_at", "error")
    list_filter = ("state",)
    search_fields = ("file_name", "sha256")
    list_select_related = ("created_by",)


@admin.register(Connection)
class ConnectionAdmin(ReadOnlyAdmin):
    """Connections, live and of captures."""

    list_display = ("id", "domain", "capture", "state", "client", "server", "subflow_count", "confidence")
    list_filter = ("state", "is_blockable", "domain")
    search_fields = ("client", "server")
    list_select_related = ("domain__site", "capture")


@admin.register(Alarm)
class AlarmAdmin(ReadOnlyAdmin):
    """Alarms over time."""

    list_display = ("id", "kind", "domain", "connection", "words", "acknowledged_at", "acknowledged_by")
    list_filter = ("kind",)
    list_select_related = ("domain__site", "connection")


@admin.register(ChangeLog)
class ChangeLogAdmin(ReadOnlyAdmin):
    """What subscribers replay."""

    list_display = ("id", "kind", "connection", "data", "created_at")
    list_filter = ("kind",)
    list_select_related = ("connection",)


@admin.register(Verdict)
class VerdictAdmin(ReadOnlyAdmin):
    """Verdicts over time."""

    list_display = (
        "id",
        "connection",
        "reason",
        "is_forced",
        "created_by",
        "expires_at",
        "ended_at",
        "end_reason",
    )
    list_select_related = ("connection",)


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    """Webhooks and how they are doing."""

    list_display = ("url", "kinds", "sent_seq", "is_active", "failure_count", "retry_at", "last_error")
