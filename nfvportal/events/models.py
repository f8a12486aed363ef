"""The event log and outbox."""

from django.db import models
from django.db.models.functions import Now


class Severity(models.TextChoices):
    """How much an operator should care."""

    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


class Event(models.Model):
    """Something that happened. Rows are never changed but for ``dispatched_at``.

    ``source_key`` names the event at its source: the same event told twice is stored once. ``dispatched_at`` is when
    the reactions were handed to Celery; empty means they still have to be.
    """

    type = models.CharField(max_length=64)
    at = models.DateTimeField(help_text="when it happened")
    severity = models.CharField(max_length=16, choices=Severity.choices)
    subject = models.CharField(max_length=200, blank=True, default="")
    device_name = models.CharField(max_length=64, blank=True, default="")
    data = models.JSONField(default=dict)
    source_key = models.CharField(max_length=200, unique=True, null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    dispatched_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(fields=["type", "-id"], name="event_by_type"),
            models.Index(fields=["device_name", "-id"], name="event_by_device"),
            models.Index(
                fields=["created_at"], name="event_undispatched", condition=models.Q(dispatched_at=None)
            ),
            models.Index(fields=["-at"], name="event_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.subject}"
